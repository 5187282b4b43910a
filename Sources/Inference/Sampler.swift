internal import Statistics

/// A draw from the model's distribution at every step, after constraints, temperature and truncation.
///
/// The draws depend on the seed, the sample and the logits alone, one number of the random stream for each token.
package struct Sampler: DecodingStrategy {
    private let parameters: DecodingParameters
    private let processors: LogitsProcessors
    private let warpers: Warpers
    private let vocabularySize: Int
    private var generator: SeededGenerator
    private var hypothesis = Hypothesis()
    private var distribution: WarpedDistribution

    package init(_ parameters: DecodingParameters, warpers: Warpers, vocabularySize: Int) {
        self.parameters = parameters
        self.processors = LogitsProcessors(parameters, vocabularySize: vocabularySize)
        self.warpers = warpers
        self.vocabularySize = vocabularySize
        generator = SeededGenerator(seed: parameters.seed, stream: parameters.sample)
        distribution = WarpedDistribution(vocabularySize: vocabularySize)
    }

    package var liveCount: Int { hypothesis.ending == nil ? 1 : 0 }
    package var hypotheses: [Hypothesis] { [hypothesis] }

    package mutating func advance(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Continuation] {
        precondition(logits.count == liveCount * vocabularySize, "\(logits.count) logits for \(liveCount) rows")
        let normalizer = try warp(logits)
        let token = distribution.token(at: uniform(generator.next()))
        return hypothesis.extend(with: token, row: logits, normalizer: normalizer, parameters)
    }

    /// The probabilities (vocabulary) from which the next token would be drawn.
    package mutating func probabilities(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Float] {
        _ = try warp(logits)
        return distribution.probabilities
    }

    private mutating func warp(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> Normalizer {
        let tokens = hypothesis.tokens
        guard let normalizer = Normalizer(logits) else { throw .brokenLogits(generated: tokens.count) }
        distribution.load(logits) { [processors] scores in
            if processors.areActive { processors.apply(to: scores, after: tokens) }
        }
        guard distribution.apply(warpers) else { throw .nothingAllowed(generated: tokens.count) }
        return normalizer
    }

    /// 53 random bits as a number in 0..<1.
    private func uniform(_ bits: UInt64) -> Double {
        Double(bits >> 11) * 0x1p-53
    }
}
