import Chat
import Inference
import Testing

@Suite struct GreedyTests {
    @Test func `Greedy takes the most probable token, of equal ones the first`() throws {
        var strategy = try parameters().strategy(vocabularySize: 5)
        #expect(try strategy.advance([0, 3, 1, 3, -.infinity]) == [Continuation(parent: 0, token: 1)])
        #expect(try strategy.advance([-7, -8, -9, -7, -7.5]) == [Continuation(parent: 0, token: 0)])
        #expect(strategy.liveCount == 1)
        #expect(strategy.hypotheses[0].tokens == [1, 0] && strategy.hypotheses[0].ending == nil)
    }

    @Test func `An end token, a stop and the length end an answer, in this order`() throws {
        let model = ToyModel(seed: 1, vocabularySize: 50)
        var parameters = parameters(maxTokens: 12)
        let whole = try model.run(parameters)[0]
        #expect(whole.tokens.count == 12 && whole.ending == .length)

        parameters.endsInStop = { $0.count == 5 }
        #expect(try model.run(parameters)[0].tokens == Array(whole.tokens.prefix(5)))
        #expect(try model.run(parameters)[0].ending == .stopSequence)

        parameters.endTokens = [whole.tokens[4]]
        let ended = try model.run(parameters)[0]
        #expect(ended.tokens.last == whole.tokens[4] && ended.ending == .endToken)
        #expect(abs(ended.score - ended.logprobs.reduce(0, +)) < 1e-12)
    }

    @Test func `Logits that are no distribution are an error, and token 0 is not an answer`() throws {
        for decoding in [Decoding.greedy, .sampling(temperature: 0.7, topK: 2, topP: 0.9, minP: nil)] {
            for broken in [[Float.nan, 1, 2], [1, .infinity, 2], [Float](repeating: -.infinity, count: 3)] {
                var strategy = try parameters(decoding).strategy(vocabularySize: 3)
                #expect(throws: InferenceError.brokenLogits(generated: 0)) { try strategy.advance(broken) }
                // In a vocabulary of many lanes too, wherever the fault lies.
                strategy = try parameters(decoding).strategy(vocabularySize: 3000)
                let long = [Float](repeating: -1, count: 2990) + (broken + broken + broken + broken).prefix(10)
                if broken[1] != -.infinity {
                    #expect(throws: InferenceError.brokenLogits(generated: 0)) { try strategy.advance(long) }
                }
            }
            var forbidding = parameters(decoding)
            forbidding.constraints.suppressTokens = [0, 1]
            var strategy = try forbidding.strategy(vocabularySize: 3)
            #expect(throws: InferenceError.nothingAllowed(generated: 0)) { try strategy.advance([1, 2, -.infinity]) }
            #expect(try strategy.advance([1, 2, -90]) == [Continuation(parent: 0, token: 2)])
        }
    }

    @Test func `Settings outside their range are named`() throws {
        func fault(_ change: (inout DecodingParameters) -> Void) -> String? {
            var parameters = parameters()
            change(&parameters)
            do {
                _ = try parameters.strategy(vocabularySize: 10)
                return nil
            } catch {
                return error.description
            }
        }
        func sampling(_ t: Double, _ k: Int? = nil, _ p: Double? = nil, _ m: Double? = nil) -> Decoding {
            .sampling(temperature: t, topK: k, topP: p, minP: m)
        }
        func beam(_ width: Int, _ penalty: Double) -> Decoding {
            .beam(width: width, lengthPenalty: penalty, earlyStopping: .never)
        }
        #expect(fault { $0.maxTokens = 0 } == "max_tokens is 0, but it must be at least 1")
        #expect(fault { $0.topLogprobs = -1 } != nil)
        for decoding in [
            sampling(-1), sampling(.nan), sampling(.infinity), sampling(1, 0), sampling(1, nil, 1.1),
            sampling(1, nil, .nan), sampling(1, nil, nil, -0.1), beam(0, 1), beam(257, 1), beam(4, .nan), beam(4, 1e3),
        ] {
            #expect(fault { $0.decoding = decoding } != nil, "\(decoding)")
        }
        for decoding in [sampling(0), sampling(1e-9), sampling(2, 1, 0, 1), beam(256, -1)] {
            #expect(fault { $0.decoding = decoding } == nil, "\(decoding)")
        }
        for penalty in [0, -1, .nan, .infinity, 1e-50] {
            #expect(fault { $0.constraints.repetitionPenalty = penalty } != nil)
        }
        #expect(fault { $0.constraints.noRepeatNgramSize = -1 } != nil)
        #expect(fault { $0.constraints.minNewTokens = -1 } != nil)
        #expect(fault { $0.constraints.badWords = [[]] } != nil)
        #expect(fault { $0.constraints.badWords = [[1, 10]] } != nil)
        #expect(fault { $0.constraints.suppressTokens = [-1] } != nil)
        #expect(fault { $0.prompt = [10] } == "a token of the prompt is 10, but it must be in 0..<10")
        #expect(fault { $0.endTokens = [99] } == nil)
    }

    private func parameters(_ decoding: Decoding = .greedy, maxTokens: Int = 8) -> DecodingParameters {
        DecodingParameters(decoding: decoding, prompt: [], maxTokens: maxTokens, endTokens: [])
    }
}
