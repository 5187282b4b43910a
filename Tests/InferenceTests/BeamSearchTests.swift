import Chat
import Foundation
import Inference
import Statistics
import TestSupport
import Testing

@Suite struct BeamSearchTests {
    @Test func `Greedy and beam search answer what transformers 4.57 answers`() throws {
        let path = "\(SharedData.packageRoot)/Tests/InferenceTests/Fixtures/generation.json"
        let cases = try #require(try JSONValue(parsing: SharedData.contents(path))["cases"]?.array)
        #expect(cases.count >= 150)
        for value in cases {
            let golden = try GoldenGeneration(value)
            let found = try golden.model.run(golden.parameters)
            #expect(found.map(\.tokens) == golden.sequences, "\(value.text())")
            if let scores = golden.scores {
                // Some sixteen roundings of numbers of order 30 on each side.
                for (found, score) in zip(found, scores) {
                    #expect(abs(found.score - score) <= 2e-6 * abs(score) + 1e-6)
                }
            }
        }
    }

    @Test func `A search over every sequence finds the most probable one`() throws {
        for seed in 0..<20 as Range<UInt64> {
            let model = ToyModel(seed: seed, vocabularySize: 4)
            // 4 + 4·3 + … at most 3^3 live rows: nothing is ever cut.
            let found = try model.run(parameters(width: 200, maxTokens: 4, endTokens: [2]))
            let all = sequences(of: model, length: 4, end: 2)
            #expect(found.count == min(200, all.count))
            for (found, expected) in zip(found, all) {
                #expect(found.tokens == expected.tokens)
                #expect(abs(found.score - expected.logprob) < 1e-5)
                #expect(abs(found.logprobs.reduce(0, +) - expected.logprob) < 1e-5)
            }
        }
    }

    @Test func `Every setting agrees with the rules written out without economy`() throws {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<300 {
            var model = ToyModel(seed: generator.next(), vocabularySize: 9 + generator.index(below: 60))
            var parameters = parameters(
                width: 2 + generator.index(below: 5), maxTokens: 1 + generator.index(below: 12),
                endTokens: Set((0..<generator.index(below: 4)).map { Int32($0) }),
                lengthPenalty: [-0.5, 0, 0.7, 1, 2][generator.index(below: 5)],
                earlyStopping: [.never, .heuristic, .always][generator.index(below: 3)])
            parameters.prompt = [1, 2, 3]
            if generator.index(below: 2) == 0 { model.favoured = parameters.endTokens }
            let expected = ExhaustiveSearch(model: model, parameters: parameters).run()
            let found = try model.run(parameters)
            #expect(found.map(\.tokens) == expected.map(\.tokens), "\(parameters)")
            for (found, expected) in zip(found, expected) { #expect(abs(found.score - expected.score) < 1e-4) }
        }
    }

    @Test func `One beam is greedy`() throws {
        let model = ToyModel(seed: 3, vocabularySize: 30)
        var beam = parameters(width: 1, maxTokens: 12, endTokens: [7])
        let found = try model.run(beam)
        beam.decoding = .greedy
        #expect(try found == model.run(beam))
    }

    @Test func `Log-probabilities and alternatives are the model's own, whatever the constraints`() throws {
        let model = ToyModel(seed: 8, vocabularySize: 40)
        var parameters = parameters(width: 3, maxTokens: 6, endTokens: [7])
        parameters.prompt = [4, 5]
        parameters.topLogprobs = 4
        parameters.constraints.repetitionPenalty = 1.5
        parameters.constraints.noRepeatNgramSize = 1
        for hypothesis in try model.run(parameters) {
            for (place, token) in hypothesis.tokens.enumerated() {
                let logprobs = model.logprobs(after: parameters.prompt + hypothesis.tokens.prefix(place))
                let best = logprobs.indices.sorted { logprobs[$0] > logprobs[$1] }.prefix(4)
                #expect(abs(hypothesis.logprobs[place] - logprobs[Int(token)]) < 1e-5)
                #expect(hypothesis.top[place].map(\.token) == best.map { Int32($0) })
                #expect(zip(hypothesis.top[place], best).allSatisfy { abs($0.logprob - logprobs[$1]) < 1e-5 })
            }
        }
    }

    @Test func `A search cut short gives what it has, best first`() throws {
        let model = ToyModel(seed: 21, vocabularySize: 12)
        let parameters = parameters(width: 4, maxTokens: 10, endTokens: [1, 2], lengthPenalty: 1)
        let unstarted = try model.run(parameters, steps: 0)
        #expect(unstarted.map(\.tokens) == [[]] && unstarted[0].score == 0)
        for steps in 1..<10 {
            let found = try model.run(parameters, steps: steps)
            #expect(found.count == 4 || steps == 1)
            #expect(found.map(\.score) == found.map(\.score).sorted(by: >))
            for hypothesis in found {
                #expect((hypothesis.ending == .endToken) == [1, 2].contains(hypothesis.tokens.last))
                #expect(hypothesis.ending != nil || hypothesis.tokens.count == steps)
            }
        }
    }

    @Test func `A stop sequence ends a beam as an end token does`() throws {
        let model = ToyModel(seed: 4, vocabularySize: 10)
        var stopping = parameters(width: 3, maxTokens: 8, endTokens: [])
        stopping.endsInStop = { $0.last == 6 }
        let ending = parameters(width: 3, maxTokens: 8, endTokens: [6])
        let found = try model.run(stopping)
        #expect(try found.map(\.tokens) == model.run(ending).map(\.tokens))
        #expect(found.contains { $0.ending == .stopSequence } && !found.contains { $0.ending == .endToken })
    }

    @Test func `Equal candidates go by row, then by token`() throws {
        var strategy = try parameters(width: 3, maxTokens: 4, endTokens: []).strategy(vocabularySize: 40)
        let flat = [Float](repeating: 0.5, count: 40)
        #expect(try strategy.advance(flat) == (0..<3).map { Continuation(parent: 0, token: $0) })
        #expect(try strategy.advance(flat + flat + flat) == (0..<3).map { Continuation(parent: 0, token: $0) })
    }

    @Test func `Rows that nothing may follow die; broken logits are named`() throws {
        let parameters = parameters(width: 2, maxTokens: 9, endTokens: [])
        var strategy = try parameters.strategy(vocabularySize: 3)
        #expect(try strategy.advance([1, 2, -.infinity]).count == 2)
        #expect(throws: InferenceError.brokenLogits(generated: 1)) { try strategy.advance([0, 0, 0, .nan, 0, 0]) }

        var forbidding = parameters
        forbidding.constraints.suppressTokens = [0, 1, 2]
        strategy = try forbidding.strategy(vocabularySize: 3)
        #expect(throws: InferenceError.nothingAllowed(generated: 0)) { try strategy.advance([0, 0, 0]) }
    }

    private func parameters(
        width: Int, maxTokens: Int, endTokens: Set<Int32>, lengthPenalty: Double = 0,
        earlyStopping: Decoding.EarlyStopping = .never
    ) -> DecodingParameters {
        DecodingParameters(
            decoding: .beam(width: width, lengthPenalty: lengthPenalty, earlyStopping: earlyStopping),
            prompt: [], maxTokens: maxTokens, endTokens: endTokens)
    }

    /// Every sequence up to a length, the most probable first.
    private func sequences(of model: ToyModel, length: Int, end: Int32) -> [(tokens: [Int32], logprob: Double)] {
        var (open, all): ([([Int32], Double)], [([Int32], Double)]) = ([([], 0)], [])
        while let (tokens, logprob) = open.popLast() {
            if tokens.count == length || tokens.last == end {
                all.append((tokens, logprob))
            } else {
                let next = model.logprobs(after: tokens)
                for token in next.indices { open.append((tokens + [Int32(token)], logprob + next[token])) }
            }
        }
        return all.sorted { $0.1 > $1.1 }
    }
}

/// One case of Fixtures/generation.json.
private struct GoldenGeneration {
    var model: ToyModel
    var parameters: DecodingParameters
    var sequences: [[Int32]]
    var scores: [Double]?

    init(_ value: JSONValue) throws {
        model = ToyModel(
            seed: try #require(value["seed"]?.string.flatMap { UInt64($0) }),
            vocabularySize: try #require(value["vocabulary"]?.integer), favoured: Set(tokens(value["favoured"])))
        let width = try #require(value["num_beams"]?.integer)
        let stopping: Decoding.EarlyStopping =
            switch value["early_stopping"] {
            case .bool(true): .always
            case .bool(false): .heuristic
            default: .never
            }
        parameters = DecodingParameters(
            decoding: .beam(
                width: width, lengthPenalty: value["length_penalty"]?.number ?? 1, earlyStopping: stopping),
            prompt: tokens(value["prompt"]), maxTokens: try #require(value["max_new_tokens"]?.integer),
            endTokens: Set(tokens(value["eos_token_id"])))
        parameters.constraints.repetitionPenalty = try #require(value["repetition_penalty"]?.number)
        parameters.constraints.noRepeatNgramSize = try #require(value["no_repeat_ngram_size"]?.integer)
        parameters.constraints.minNewTokens = try #require(value["min_new_tokens"]?.integer)
        parameters.constraints.badWords = (value["bad_words_ids"]?.array ?? []).map(tokens)
        parameters.constraints.suppressTokens = tokens(value["suppress_tokens"])
        sequences = try #require(value["sequences"]?.array).map(tokens)
        scores = value["scores"]?.array?.compactMap(\.number)
    }
}

func tokens(_ value: JSONValue?) -> [Int32] {
    (value?.array ?? []).compactMap(\.integer).map { Int32($0) }
}

/// The rules of beam search one after the other, over whole sorted lists and without a cache.
private struct ExhaustiveSearch {
    let model: ToyModel
    let parameters: DecodingParameters

    struct Path {
        var tokens: [Int32]
        var score: Double
    }

    func run() -> [Path] {
        guard case .beam(let width, let lengthPenalty, let earlyStopping) = parameters.decoding else { return [] }
        var (live, finished) = ([Path(tokens: [], score: 0)], [Path]())
        for length in 1...parameters.maxTokens {
            let ranked = live.flatMap(extensions).sorted { $0.score > $1.score }
            let divisor = pow(Double(length), lengthPenalty)
            for path in ranked.prefix(width) where isDone(path) {
                finished.append(Path(tokens: path.tokens, score: path.score / divisor))
            }
            finished = Array(finished.sorted { $0.score > $1.score }.prefix(width))
            live = Array(ranked.filter { !isDone($0) }.prefix(width))
            guard !live.isEmpty else { break }
            guard finished.count == width else { continue }
            let hoped = earlyStopping == .never && lengthPenalty > 0 ? parameters.maxTokens : length
            if earlyStopping == .always { break }
            if live[0].score / pow(Double(hoped), lengthPenalty) <= finished[width - 1].score { break }
        }
        return finished
    }

    private func extensions(_ path: Path) -> [Path] {
        model.logprobs(after: parameters.prompt + path.tokens).enumerated().map { token, logprob in
            Path(tokens: path.tokens + [Int32(token)], score: path.score + logprob)
        }
    }

    private func isDone(_ path: Path) -> Bool {
        path.tokens.count == parameters.maxTokens || path.tokens.last.map(parameters.endTokens.contains) == true
    }
}
