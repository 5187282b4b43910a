import Chat
import Inference
import TestSupport
import Testing

@Suite struct ConstraintTests {
    @Test func `What would repeat an n-gram is forbidden`() throws {
        #expect(try forbidden(history: [1, 3, 2, 1, 2, 0, 3, 0, 0]) { $0.noRepeatNgramSize = 1 } == [0, 1, 2, 3])
        #expect(try forbidden(history: [1, 3, 2, 1, 2, 0, 3, 0, 0]) { $0.noRepeatNgramSize = 2 } == [0, 3])
        #expect(try forbidden(history: [1, 2, 3, 1, 2]) { $0.noRepeatNgramSize = 3 } == [3])
        #expect(try forbidden(history: [1, 2]) { $0.noRepeatNgramSize = 3 } == [])
        #expect(try forbidden(history: [1, 1]) { $0.noRepeatNgramSize = 2 } == [1])
        #expect(try forbidden(history: []) { $0.noRepeatNgramSize = 1 } == [])
    }

    @Test func `Bad words are forbidden where they would be completed`() throws {
        let words: [[Int32]] = [[1], [2, 3], [0, 1, 4], [11]]
        #expect(try forbidden(history: [5, 2]) { $0.badWords = words } == [1, 3, 11])
        #expect(try forbidden(history: [5, 0, 1]) { $0.badWords = words } == [1, 4, 11])
        #expect(try forbidden(history: [0, 1]) { $0.badWords = words } == [1, 11])
        #expect(try forbidden(history: [5], endTokens: [11]) { $0.badWords = words } == [1])
    }

    @Test func `End tokens wait for the smallest length`() throws {
        for generated in 0..<5 {
            let expected: [Int32] = generated < 3 ? [3, 4] : []
            #expect(try forbidden(generated: generated, endTokens: [3, 4, 99]) { $0.minNewTokens = 3 } == expected)
        }
    }

    @Test func `The repetition penalty counts a token once, in prompt and answer`() throws {
        var parameters = parameters(history: [1, 1, 2], endTokens: [])
        parameters.constraints.repetitionPenalty = 2
        var sampler = Sampler(parameters, warpers: Warpers(), vocabularySize: 4)
        // Logits 1, 4, −2, 0 become 1, 2, −4, 0.
        let expected = softmax([1, 2, -4, 0])
        let found = try sampler.probabilities([1, 4, -2, 0])
        #expect(zip(found, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 })
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/samplers/constraints.json")))
    func `Constraints forbid what transformers forbids`() throws {
        let file = try SharedData.contents("\(SharedData.fixtures)/samplers/constraints.json")
        let cases = try #require(try JSONValue(parsing: file)["cases"]?.array)
        #expect(!cases.isEmpty)
        for value in cases {
            let kind = try #require(value["kind"]?.string)
            let found: [Int32]
            switch kind {
            case "no_repeat_ngram":
                found = try forbidden(history: tokens(value["history"])) {
                    $0.noRepeatNgramSize = value["size"]?.integer ?? 0
                }
            case "bad_words":
                found = try forbidden(history: tokens(value["history"]), endTokens: [11]) {
                    $0.badWords = (value["words"]?.array ?? []).map(tokens)
                }
            case "min_new_tokens":
                let length = try #require(value["cur_len"]?.integer)
                let generated = length - (try #require(value["prompt_len"]?.integer))
                found = try forbidden(generated: generated, endTokens: Set(tokens(value["eos"]))) {
                    $0.minNewTokens = value["min_new_tokens"]?.integer ?? 0
                }
            default:
                Issue.record("a case of kind \(kind), which this test does not know")
                continue
            }
            #expect(found == tokens(value["banned"]), "\(value.text())")
        }
    }

    /// The tokens, of twelve, that cannot come after a prompt, or after so many generated tokens.
    private func forbidden(
        history: [Int32] = [], generated: Int = 0, endTokens: Set<Int32> = [],
        _ constrain: (inout DecodingParameters.Constraints) -> Void
    ) throws -> [Int32] {
        var parameters = parameters(history: history, endTokens: endTokens)
        constrain(&parameters.constraints)
        var sampler = Sampler(parameters, warpers: Warpers(), vocabularySize: 12)
        for _ in 0..<generated { _ = try sampler.advance([9, 9, 9, -9, -9, 9, 9, 9, 9, 9, 9, 9]) }
        let probabilities = try sampler.probabilities([Float](repeating: 0, count: 12))
        return probabilities.indices.filter { probabilities[$0] == 0 }.map { Int32($0) }
    }

    private func parameters(history: [Int32], endTokens: Set<Int32>) -> DecodingParameters {
        DecodingParameters(
            decoding: .sampling(temperature: 1, topK: nil, topP: nil, minP: nil), prompt: history, maxTokens: 100,
            endTokens: endTokens)
    }
}
