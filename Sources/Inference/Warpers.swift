#if canImport(Glibc)
    internal import Glibc
#endif

/// What reshapes a distribution before a draw, in the order of Hugging Face's warpers; nil leaves one out.
package struct Warpers: Hashable, Sendable {
    package var temperature: Double
    /// The so many most probable tokens stay, and those as probable as the last of them.
    package var topK: Int?
    /// The smallest set of most probable tokens stays whose probabilities sum to so much.
    package var topP: Double?
    /// What has so large a part of the greatest probability stays.
    package var minP: Double?
    /// Locally typical sampling: Meister et al. 2023, https://doi.org/10.1162/tacl_a_00536.
    package var typicalP: Double?
    /// What has so much probability stays.
    package var epsilonCutoff: Double?
    /// Eta sampling: Hewitt et al. 2022, https://doi.org/10.18653/v1/2022.findings-emnlp.249.
    package var etaCutoff: Double?

    package init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, minP: Double? = nil) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
    }
}

/// A distribution over the vocabulary that can be truncated and drawn from.
///
/// Arithmetic is in single precision where Hugging Face's is, for the same tokens to stay at each threshold.
struct WarpedDistribution: Sendable {
    private let vocabularySize: Int
    /// Logits after constraints and temperature; minus infinity after the last token, up to whole lanes.
    private var scores: [Float]
    /// exp(score − greatest score); 0 for what is cut off. The greatest is 1 and always stays.
    private var weights: [Float]

    init(vocabularySize: Int) {
        self.vocabularySize = vocabularySize
        let width = FloatLanes.scalarCount
        let padded = (vocabularySize + width - 1) / width * width
        scores = Array(repeating: -.infinity, count: padded)
        weights = Array(repeating: 0, count: padded)
    }

    mutating func load(
        _ logits: UnsafeBufferPointer<Float>, constrain: (UnsafeMutableBufferPointer<Float>) -> Void
    ) {
        scores.withUnsafeMutableBufferPointer { scores in
            _ = scores.update(fromContentsOf: logits)
            constrain(scores)
        }
    }

    /// False where no token is left to choose.
    mutating func apply(_ warpers: Warpers) -> Bool {
        guard weigh(temperature: Float(warpers.temperature)) else { return false }
        if let topK = warpers.topK, topK < vocabularySize { keepTop(topK) }
        if let topP = warpers.topP, topP < 1 { keepNucleus(topP) }
        if let minP = warpers.minP { drop(below: Float(minP)) }
        if let mass = warpers.typicalP, mass < 1 { keepTypical(mass) }
        if let epsilon = warpers.epsilonCutoff { drop(belowProbability: epsilon) }
        if let epsilon = warpers.etaCutoff {
            drop(belowProbability: min(epsilon, epsilon.squareRoot() * exp(-entropy)))
        }
        return true
    }

    var probabilities: [Float] {
        let total = Float(total)
        return weights.prefix(vocabularySize).map { $0 / total }
    }

    /// The token at which the cumulative probability, in order of ids, passes `fraction` (0..<1).
    func token(at fraction: Double) -> Int32 {
        let chunks = weights.withUnsafeBufferPointer { weights in
            stride(from: 0, to: weights.count, by: chunkSize).map { weights.sum(ofChunk: $0) }
        }
        var rest = fraction * chunks.reduce(0, +)
        var chunk = 0
        while chunk < chunks.count, rest >= chunks[chunk] {
            rest -= chunks[chunk]
            chunk += 1
        }
        for i in min(chunk * chunkSize, weights.count)..<weights.count where weights[i] > 0 {
            rest -= Double(weights[i])
            if rest < 0 { return Int32(i) }
        }
        // The sums above are rounded, so the last token may end just before they do.
        return Int32(weights.lastIndex { $0 > 0 } ?? 0)
    }

    /// False where every score is minus infinity.
    private mutating func weigh(temperature: Float) -> Bool {
        if temperature != 1 { scores.updateLanes { $1 / temperature } }
        let maximum = scores.withUnsafeBufferPointer { $0.maximum() }
        guard maximum.isFinite else { return false }
        scores.withUnsafeBufferPointer { scores in
            weights.withUnsafeMutableBufferPointer { weights in
                for start in stride(from: 0, to: scores.count, by: 8) {
                    weights.store(FloatLanes.exponential(scores.lanes(start) - maximum), at: start)
                }
            }
        }
        return true
    }

    private mutating func keepTop(_ count: Int) {
        let threshold = scores.withUnsafeBufferPointer { scores in
            var best = Best(count: count)
            best.offer(scores)
            return best.last?.value ?? -.infinity
        }
        scores.withUnsafeBufferPointer { scores in
            weights.updateLanes { start, weights in
                weights.replacing(with: 0, where: scores.lanes(start) .< threshold)
            }
        }
    }

    /// In ascending order, tokens go as long as the probabilities so far sum to 1 − `mass` at most.
    ///
    /// No sort: the weight at which they stop going is bracketed by bisection, on bit patterns because those of
    /// positive numbers are in the numbers' order, until few enough tokens lie within to be sorted.
    private mutating func keepNucleus(_ mass: Double) {
        let (total, limit) = (total, Float(1 - mass))
        func mayGo(_ sum: Double) -> Bool { Float(sum / total) <= limit }
        // All tokens together stay below the limit if each has less than its equal part of it.
        var low = below((0.999 * limit * Float(total) / Float(vocabularySize)).bitPattern)
        var high = Below(bits: Float(1).nextUp.bitPattern, sum: total, count: weights.count)
        if !mayGo(low.sum) { low = Below(bits: 0, sum: 0, count: 0) }
        while high.count - low.count > 512, high.bits - low.bits > 1 {
            let middle = below(low.bits + (high.bits - low.bits) / 2)
            if mayGo(middle.sum) { low = middle } else { high = middle }
        }
        let bracket = Float(bitPattern: low.bits)..<Float(bitPattern: high.bits)
        let undecided = weights.withUnsafeBufferPointer { $0.indices(of: bracket) }
            .sorted { (weights[$0], $0) < (weights[$1], $1) }
        drop(below: bracket.lowerBound)
        // The last token of all stays, whatever the limit.
        let holdsLast = bracket.upperBound > 1
        var sum = low.sum
        for token in undecided.dropLast(holdsLast ? 1 : 0) {
            sum += Double(weights[token])
            guard mayGo(sum) else { return }
            weights[token] = 0
        }
    }

    private struct Below {
        var bits: UInt32
        /// Of the weights less than the number of these bits.
        var sum: Double
        var count: Int
    }

    private func below(_ bits: UInt32) -> Below {
        let (sum, count) = weights.withUnsafeBufferPointer { $0.sumAndCount(below: Float(bitPattern: bits)) }
        return Below(bits: bits, sum: sum, count: count)
    }

    private mutating func drop(below bound: Float) {
        weights.updateLanes { _, weights in weights.replacing(with: 0, where: weights .< bound) }
    }

    /// The most probable stays.
    private mutating func drop(belowProbability bound: Double) {
        let (total, bound) = (Float(total), Float(bound))
        weights.updateLanes { _, weights in
            weights.replacing(with: 0, where: (weights / total .< bound) .& (weights .< 1))
        }
    }

    /// Those stay whose surprise is nearest to the expected one.
    private mutating func keepTypical(_ mass: Double) {
        let (total, entropy) = (total, entropy)
        let tokens = weights.indices.filter { weights[$0] > 0 }
        let deviations = tokens.map { Float(abs(-log(Double(weights[$0]) / total) - entropy)) }
        let order = tokens.indices.sorted { (deviations[$0], $0) < (deviations[$1], $1) }
        var sum = 0.0
        let last = order.first { place in
            sum += Double(weights[tokens[place]])
            return Float(sum / total) >= Float(mass)
        }
        guard let last else { return }
        for place in order where deviations[place] > deviations[last] { weights[tokens[place]] = 0 }
    }

    /// −Σ p ln p, in nats.
    private var entropy: Double {
        let total = total
        return weights.reduce(0) { sum, weight in
            let p = Double(weight) / total
            return p > 0 ? sum - p * log(p) : sum
        }
    }

    private var total: Double {
        weights.withUnsafeBufferPointer { weights in
            stride(from: 0, to: weights.count, by: chunkSize).reduce(0) { $0 + weights.sum(ofChunk: $1) }
        }
    }
}

extension [Float] {
    /// Replaces eight values at once, given where they start; for a count of whole lanes.
    @inline(__always)
    fileprivate mutating func updateLanes(_ body: (Int, FloatLanes) -> FloatLanes) {
        withUnsafeMutableBufferPointer { values in
            for start in stride(from: 0, to: values.count, by: 8) {
                values.store(body(start, UnsafeBufferPointer(values).lanes(start)), at: start)
            }
        }
    }
}

extension UnsafeMutableBufferPointer<Float> {
    @inline(__always)
    fileprivate func store(_ lanes: FloatLanes, at start: Int) {
        UnsafeMutableRawPointer(baseAddress.unsafelyUnwrapped + start).storeBytes(of: lanes, as: FloatLanes.self)
    }
}
