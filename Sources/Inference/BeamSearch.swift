internal import Chat

#if canImport(Glibc)
    internal import Glibc
#endif

/// Beam search with the rules of Hugging Face transformers 4.57.
///
/// Sums and scores are single precision, as there, so near ties fall the same way; of equal candidates, that of the
/// better row and then of the lower token goes first.
struct BeamSearch: DecodingStrategy {
    private let parameters: DecodingParameters
    private let width: Int
    private let lengthPenalty: Double
    private let earlyStopping: Decoding.EarlyStopping
    private let processors: LogitsProcessors
    private let vocabularySize: Int

    /// What is being extended, best first.
    private var live = [Beam()]
    /// The best of what has ended, best first, `width` at most.
    private var finished: [Beam] = []
    private var length = 0
    /// The log-probabilities of one row after the constraints.
    private var scores: [Float]

    private struct Beam {
        var hypothesis = Hypothesis()
        /// The sum of the log-probabilities after the constraints.
        var sum: Float = 0
    }

    init(
        _ parameters: DecodingParameters, width: Int, lengthPenalty: Double,
        earlyStopping: Decoding.EarlyStopping, vocabularySize: Int
    ) {
        self.parameters = parameters
        self.width = width
        self.lengthPenalty = lengthPenalty
        self.earlyStopping = earlyStopping
        self.processors = LogitsProcessors(parameters, vocabularySize: vocabularySize)
        self.vocabularySize = vocabularySize
        scores = Array(repeating: 0, count: vocabularySize)
    }

    var liveCount: Int { live.count }

    mutating func advance(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Continuation] {
        precondition(logits.count == liveCount * vocabularySize, "\(logits.count) logits for \(liveCount) rows")
        let normalizers = try normalizers(logits)
        let candidates = best(candidateCount, of: logits, normalizers)
        if candidates.isEmpty, finished.isEmpty { throw .nothingAllowed(generated: length) }

        var (continuations, next): ([Continuation], [Beam]) = ([], [])
        for (rank, candidate) in candidates.enumerated() {
            let (parent, token) = candidate.index.quotientAndRemainder(dividingBy: vocabularySize)
            let ending = parameters.ending(of: live[parent].hypothesis.tokens + [Int32(token)])
            // Ended candidates of lower rank are lost: they are there for `width` others to remain.
            guard ending == nil ? next.count < width : rank < width else { continue }
            var beam = Beam(hypothesis: live[parent].hypothesis, sum: candidate.value)
            beam.hypothesis.append(
                Int32(token), row: row(parent, of: logits), normalizer: normalizers[parent],
                topCount: parameters.topLogprobs)
            beam.hypothesis.ending = ending
            if ending == nil {
                next.append(beam)
                continuations.append(Continuation(parent: parent, token: Int32(token)))
            } else {
                insert(beam)
            }
        }
        length += 1
        live = canImprove(next) ? next : []
        return live.isEmpty ? [] : continuations
    }

    /// With what is still live, where the search was cut short.
    var hypotheses: [Hypothesis] {
        var search = self
        for beam in live { search.insert(beam) }
        return search.finished.map(\.hypothesis)
    }

    /// So many that `width` of them remain when every row's end tokens are among the best.
    private var candidateCount: Int { max(2, 1 + parameters.endTokens.count) * width }

    private func row(_ index: Int, of logits: UnsafeBufferPointer<Float>) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(rebasing: logits[index * vocabularySize..<(index + 1) * vocabularySize])
    }

    private func normalizers(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Normalizer] {
        var normalizers: [Normalizer] = []
        for index in live.indices {
            guard let normalizer = Normalizer(row(index, of: logits)) else { throw .brokenLogits(generated: length) }
            normalizers.append(normalizer)
        }
        return normalizers
    }

    /// The greatest sums over all rows; an entry's index is row · vocabulary + token.
    private mutating func best(
        _ count: Int, of logits: UnsafeBufferPointer<Float>, _ normalizers: [Normalizer]
    ) -> [Best.Entry] {
        var best = Best(count: count)
        scores.withUnsafeMutableBufferPointer { [processors, live, vocabularySize] scores in
            for (index, beam) in live.enumerated() {
                let row = UnsafeBufferPointer(rebasing: logits[index * vocabularySize..<(index + 1) * vocabularySize])
                normalizers[index].logprobs(of: row, into: scores)
                processors.apply(to: scores, after: beam.hypothesis.tokens)
                best.offer(UnsafeBufferPointer(scores), plus: beam.sum, firstIndex: index * vocabularySize)
            }
        }
        return best.sorted
    }

    /// Among the finished, behind those of equal score.
    private mutating func insert(_ beam: Beam) {
        var beam = beam
        let score = beam.sum / penalty(length: max(1, beam.hypothesis.tokens.count))
        beam.hypothesis.score = Double(score)
        let place = finished.firstIndex { $0.hypothesis.score < Double(score) } ?? finished.count
        finished.insert(beam, at: place)
        if finished.count > width { finished.removeLast() }
    }

    /// Whether what goes on, best first, may yet beat the worst of the finished.
    private func canImprove(_ next: [Beam]) -> Bool {
        guard finished.count == width, let best = next.first, let worst = finished.last else { return true }
        let final: Int
        switch earlyStopping {
        case .always: return false
        case .heuristic: final = length
        case .never: final = lengthPenalty > 0 ? parameters.maxTokens : length
        }
        return Double(best.sum / penalty(length: final)) > worst.hypothesis.score
    }

    private func penalty(length: Int) -> Float {
        Float(pow(Double(length), lengthPenalty))
    }
}
