/// The most probable token at every step; of equal ones, that of the lowest id.
struct Greedy: DecodingStrategy {
    private let parameters: DecodingParameters
    private let processors: LogitsProcessors
    private let vocabularySize: Int
    private var hypothesis = Hypothesis()
    /// The logits after the constraints, where there are any.
    private var scores: [Float] = []

    init(_ parameters: DecodingParameters, vocabularySize: Int) {
        self.parameters = parameters
        self.processors = LogitsProcessors(parameters, vocabularySize: vocabularySize)
        self.vocabularySize = vocabularySize
    }

    var liveCount: Int { hypothesis.ending == nil ? 1 : 0 }
    var hypotheses: [Hypothesis] { [hypothesis] }

    mutating func advance(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Continuation] {
        precondition(logits.count == liveCount * vocabularySize, "\(logits.count) logits for \(liveCount) rows")
        let generated = hypothesis.tokens.count
        guard let normalizer = Normalizer(logits) else { throw .brokenLogits(generated: generated) }
        guard let token = choice(logits, normalizer) else { throw .nothingAllowed(generated: generated) }
        return hypothesis.extend(with: token, row: logits, normalizer: normalizer, parameters)
    }

    /// Nil where every token is forbidden.
    private mutating func choice(_ logits: UnsafeBufferPointer<Float>, _ normalizer: Normalizer) -> Int32? {
        guard processors.areActive else { return logits.firstIndex(of: normalizer.maximum).map { Int32($0) } }
        scores.replaceSubrange(0..., with: logits)
        return scores.withUnsafeMutableBufferPointer { [processors, hypothesis] scores in
            processors.apply(to: scores, after: hypothesis.tokens)
            let scores = UnsafeBufferPointer(scores)
            let maximum = scores.maximum()
            return maximum > -.infinity ? scores.firstIndex(of: maximum).map { Int32($0) } : nil
        }
    }
}

extension Hypothesis {
    /// One step of a request with a single row.
    mutating func extend(
        with token: Int32, row: UnsafeBufferPointer<Float>, normalizer: Normalizer, _ parameters: DecodingParameters
    ) -> [Continuation] {
        append(token, row: row, normalizer: normalizer, topCount: parameters.topLogprobs)
        score += logprobs[logprobs.count - 1]
        ending = parameters.ending(of: tokens)
        return ending == nil ? [Continuation(parent: 0, token: token)] : []
    }
}
