import Chat
import Foundation
import Inference
import Statistics
import TestSupport
import Testing

@Suite struct SamplerTests {
    @Test func `Truncation keeps what its definition keeps`() throws {
        // Probabilities 0.4, 0.3, 0.2, 0.1, in another order.
        let logits = [0.1, 0.4, 0.2, 0.3].map { Float(log($0)) }
        #expect(try kept(logits, Warpers(topK: 2)) == [1, 3])
        #expect(try kept(logits, Warpers(topP: 0.65)) == [1, 3])
        #expect(try kept(logits, Warpers(topP: 0.75)) == [1, 2, 3])
        #expect(try kept(logits, Warpers(topP: 0)) == [1])
        #expect(try kept(logits, Warpers(topP: 1)) == [0, 1, 2, 3])
        #expect(try kept(logits, Warpers(minP: 0.6)) == [1, 3])
        #expect(try kept(logits, Warpers(topK: 3, topP: 0.7)) == [1, 3])
        var epsilon = Warpers()
        epsilon.epsilonCutoff = 0.15
        #expect(try kept(logits, epsilon) == [1, 2, 3])
        epsilon.epsilonCutoff = 0.9
        #expect(try kept(logits, epsilon) == [1])
    }

    @Test func `Ties stay together in top-k; in the nucleus the lower ids go first`() throws {
        #expect(try kept([2, 2, 1, 2], Warpers(topK: 2)) == [0, 1, 3])
        #expect(try kept([2, 2, 2, 2], Warpers(topP: 0.3)) == [2, 3])
        #expect(try kept([Float](repeating: 1, count: 4000), Warpers(topP: 0.25)) == Array(3000..<4000))
    }

    @Test func `Large vocabularies are truncated as a full sort would`() throws {
        var generator = SeededGenerator(seed: 77)
        for count in [1000, 4096, 40_001] {
            for spread in [0.01, 1.0, 3.0, 12.0] {
                let logits = (0..<count).map { _ in Float(normal(&generator) * spread) }
                for warpers in [
                    Warpers(temperature: 0.7, topP: 0.9), Warpers(topP: 0.5), Warpers(topK: 50), Warpers(topP: 0.999),
                    Warpers(temperature: 1.3, topK: 900, topP: 0.95, minP: 0.01),
                ] {
                    let found = try probabilities(logits, warpers)
                    let expected = sortedReference(logits, warpers)
                    #expect(zip(found, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 }, "\(count) \(warpers)")
                    let (sizes) = (found.count { $0 > 0 }, expected.count { $0 > 0 })
                    // A sum within rounding of the threshold may take or leave one token, or several of 0.1 % of it.
                    #expect(abs(sizes.0 - sizes.1) <= 2, "\(count) \(spread) \(warpers)")
                }
            }
        }
    }

    @Test func `Probabilities are exponentials to the last digits of single precision`() throws {
        for step in 0...870 {
            let difference = Float(step) / 10
            let found = try probabilities([3, 3 - difference], Warpers())
            let expected = exp(Double((3 - difference) - 3))
            #expect(abs(Double(found[1]) / Double(found[0]) / expected - 1) < 3e-7, "\(difference)")
        }
    }

    @Test func `Draws come as often as their probabilities say`() throws {
        let logits: [Float] = [0.3, -1, 2, 1.5, -.infinity, 0, 1.2, -4]
        let decoding = Decoding.sampling(temperature: 0.8, topK: 6, topP: 0.97, minP: nil)
        let expected = try probabilities(logits, Warpers(temperature: 0.8, topK: 6, topP: 0.97))
        let counts = try draws(logits, decoding, seed: 1, count: 40_000).reduce(into: [Int](repeating: 0, count: 8)) {
            $0[Int($1)] += 1
        }
        for (count, probability) in zip(counts, expected) {
            let mean = 40_000 * Double(probability)
            #expect(abs(Double(count) - mean) <= 4 * mean.squareRoot(), "\(counts)")
        }
        #expect(counts.reduce(0, +) == 40_000)
    }

    @Test func `A draw far into a large vocabulary is where the cumulative sum says`() throws {
        let logits = (0..<100_000).map { Float($0 % 7) / 3 }
        let found = try draws(logits, .sampling(temperature: 1, topK: nil, topP: nil, minP: nil), seed: 6, count: 50)
        let weights = logits.map { exp(Double($0)) }
        let total = weights.reduce(0, +)
        var generator = SeededGenerator(seed: 6, stream: 0)
        for token in found {
            let target = Double(generator.next() >> 11) * 0x1p-53 * total
            let before = weights.prefix(Int(token)).reduce(0, +)
            #expect(before - 1e-6 * total <= target && target <= before + weights[Int(token)] + 1e-6 * total)
        }
    }

    @Test func `Seed and sample decide the draws`() throws {
        let logits = (0..<50).map { Float($0 % 11) / 4 }
        let decoding = Decoding.sampling(temperature: 0.9, topK: nil, topP: 0.9, minP: nil)
        let first = try draws(logits, decoding, seed: 3, count: 40)
        #expect(try draws(logits, decoding, seed: 3, count: 40) == first)
        #expect(try draws(logits, decoding, seed: 4, count: 40) != first)
        #expect(try draws(logits, decoding, seed: 3, sample: 1, count: 40) != first)
    }

    @Test func `Temperature 0 is greedy`() throws {
        let logits: [Float] = [1, 3, 3, 2]
        let decoding = Decoding.sampling(temperature: 0, topK: nil, topP: nil, minP: nil)
        #expect(try draws(logits, decoding, seed: 1, count: 5) == [1, 1, 1, 1, 1])
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/samplers/warpers.json")))
    func `Distributions are those of transformers' warpers`() throws {
        let file = try JSONValue(parsing: SharedData.contents("\(SharedData.fixtures)/samplers/warpers.json"))
        let vectors = try #require(file["vectors"]?.array).map { vector in
            (vector.array ?? []).map { Float($0.number ?? ($0.string == "-inf" ? -.infinity : .nan)) }
        }
        let cases = try #require(file["cases"]?.array)
        #expect(!cases.isEmpty)
        for value in cases {
            let (warpers, parameters) = try settings(value)
            let logits = vectors[try #require(value["vec"]?.integer)]
            var sampler = Sampler(parameters, warpers: warpers, vocabularySize: logits.count)
            var found = try sampler.probabilities(logits)
            var expected = [Float](repeating: 0, count: logits.count)
            for (token, probability) in zip(tokens(value["kept"]), value["probs"]?.array ?? []) {
                expected[Int(token)] = Float(try #require(probability.number))
            }
            if value["ambiguous_tie"]?.bool == true {
                found.sort()
                expected.sort()
            }
            // Both sides are single precision; probabilities are at most 1.
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-6 }, "case \(value["id"]?.text() ?? "")")
            // Where single precision runs out, one side may have kept a last denormal number.
            #expect(zip(found, expected).allSatisfy { ($0 > 0) == ($1 > 0) || max($0, $1) < 1e-30 })
        }
    }

    private func settings(_ value: JSONValue) throws -> (Warpers, DecodingParameters) {
        let settings = try #require(value["cfg"]?.object)
        var parameters = parameters(.greedy)
        parameters.prompt = tokens(value["history"])
        var warpers = Warpers()
        for key in settings.keys {
            let number = settings[key]?.number
            switch key {
            case "temperature": warpers.temperature = number ?? 1
            case "top_k": warpers.topK = settings[key]?.integer
            case "top_p": warpers.topP = number
            case "min_p": warpers.minP = number
            case "typical_p": warpers.typicalP = number
            case "epsilon_cutoff": warpers.epsilonCutoff = number
            case "eta_cutoff": warpers.etaCutoff = number
            case "repetition_penalty": parameters.constraints.repetitionPenalty = number ?? 1
            default: Issue.record("a case with \(key), which this test does not know")
            }
        }
        return (warpers, parameters)
    }

    private func parameters(_ decoding: Decoding) -> DecodingParameters {
        DecodingParameters(decoding: decoding, prompt: [], maxTokens: 100_000, endTokens: [])
    }

    private func probabilities(_ logits: [Float], _ warpers: Warpers) throws -> [Float] {
        var sampler = Sampler(parameters(.greedy), warpers: warpers, vocabularySize: logits.count)
        return try sampler.probabilities(logits)
    }

    private func kept(_ logits: [Float], _ warpers: Warpers) throws -> [Int] {
        let probabilities = try probabilities(logits, warpers)
        return probabilities.indices.filter { probabilities[$0] > 0 }
    }

    private func draws(
        _ logits: [Float], _ decoding: Decoding, seed: UInt64, sample: UInt64 = 0, count: Int
    ) throws -> [Int32] {
        var parameters = parameters(decoding)
        parameters.seed = seed
        parameters.sample = sample
        var strategy = try parameters.strategy(vocabularySize: logits.count)
        return try (0..<count).map { _ in try strategy.advance(logits)[0].token }
    }

    /// Temperature, top-k, nucleus and min-p over one sorted list, in double precision.
    private func sortedReference(_ logits: [Float], _ warpers: Warpers) -> [Double] {
        let scores = logits.map { Double($0 / Float(warpers.temperature)) }
        var order = scores.indices.sorted { scores[$0] > scores[$1] }
        if let topK = warpers.topK { order = Array(order.prefix(topK)) }
        let greatest = scores[order[0]]
        if let topP = warpers.topP {
            let total = order.reduce(0) { $0 + exp(scores[$1] - greatest) }
            var (sum, size) = (0.0, 0)
            while sum < topP * total {
                sum += exp(scores[order[size]] - greatest)
                size += 1
            }
            order = Array(order.prefix(size))
        }
        if let minP = warpers.minP { order = order.filter { exp(scores[$0] - greatest) >= minP } }
        let total = order.reduce(0) { $0 + exp(scores[$1] - greatest) }
        var probabilities = [Double](repeating: 0, count: logits.count)
        for token in order { probabilities[token] = exp(scores[token] - greatest) / total }
        return probabilities
    }

    private func normal(_ generator: inout SeededGenerator) -> Double {
        let (u, v) = (Double.random(in: 0x1p-53..<1, using: &generator), Double.random(in: 0..<1, using: &generator))
        return (-2 * log(u)).squareRoot() * cos(2 * .pi * v)
    }
}

func softmax(_ logits: [Double]) -> [Double] {
    let sum = logits.reduce(0) { $0 + exp($1) }
    return logits.map { exp($0) / sum }
}
