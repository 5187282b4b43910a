import Foundation
import Inference
import Testing

/// A model whose logits are a hash of all tokens so far: exact numbers, the same as in Fixtures/make_generation.py.
struct ToyModel {
    var seed: UInt64
    var vocabularySize: Int
    /// These tokens' logits are greater by 2.
    var favoured: Set<Int32> = []

    func logits(after tokens: [Int32]) -> [Float] {
        var state = seed
        for token in tokens {
            state = (state ^ UInt64(token + 1)) &* 0x1_0000_0001_B3
            state ^= state >> 29
        }
        return (1...vocabularySize).map { id in
            let logit = Float(mixed(state &+ UInt64(id) &* 0x9E37_79B9_7F4A_7C15) >> 40) / 0x1p21 - 4
            return favoured.contains(Int32(id - 1)) ? logit + 2 : logit
        }
    }

    /// The log-softmax of the logits, straight from its definition.
    func logprobs(after tokens: [Int32]) -> [Double] {
        let logits = logits(after: tokens).map { Double($0) }
        let sum = log(logits.reduce(0) { $0 + exp($1) })
        return logits.map { $0 - sum }
    }

    /// What the engine does, without a cache: forwards the rows, and extends them as the strategy says.
    func run(_ parameters: DecodingParameters, steps: Int = .max) throws -> [Hypothesis] {
        var strategy = try parameters.strategy(vocabularySize: vocabularySize)
        var rows = [parameters.prompt]
        var step = 0
        while !rows.isEmpty, step < steps {
            let continuations = try strategy.advance(rows.flatMap(logits(after:)))
            rows = continuations.map { rows[$0.parent] + [$0.token] }
            #expect(strategy.liveCount == rows.count)
            step += 1
        }
        return strategy.hypotheses
    }

    private func mixed(_ x: UInt64) -> UInt64 {
        var z = x
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension DecodingStrategy {
    mutating func advance(_ logits: [Float]) throws(InferenceError) -> [Continuation] {
        let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: logits.count)
        defer { buffer.deallocate() }
        _ = buffer.initialize(from: logits)
        return try advance(UnsafeBufferPointer(buffer))
    }
}

extension Sampler {
    mutating func probabilities(_ logits: [Float]) throws(InferenceError) -> [Float] {
        let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: logits.count)
        defer { buffer.deallocate() }
        _ = buffer.initialize(from: logits)
        return try probabilities(UnsafeBufferPointer(buffer))
    }
}
