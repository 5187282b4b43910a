import Chat
import Evaluation
import Foundation
import TestSupport
import Testing

/// Vectors recorded from the official package, on upstream's own prompts.
@Suite(.enabled(if: SharedData.hasAlpacaEval, "needs the shared AlpacaEval data (EVALHARNESS_DATA)"))
struct UpstreamVectorTests {
    @Test("The order of every pair is the one that alpaca_eval draws")
    func orderSwitch() throws {
        let set = try JSONValue(parsing: SharedData.contents("\(SharedData.alpacaEval)/baseline/eval_set.json"))
        let vector = try JSONValue(parsing: SharedData.contents("\(SharedData.alpacaEval)/vectors/switch_seed0.json"))
        let switched = Set(try #require(vector["switched_indices"]?.array).compactMap(\.integer))
        let rule = OrderRule.seededRandom(seed: 0)
        let prompts = try #require(set.array)
        #expect(!prompts.isEmpty)
        for (index, prompt) in prompts.enumerated() {
            let order = rule.orders(instruction: try #require(prompt["instruction"]?.string))
            #expect(order == [switched.contains(index) ? .modelFirst : .baselineFirst], "prompt \(index)")
        }
    }

    @Test("Recorded log-probabilities give the recorded preferences")
    func logprobs() throws {
        let samples = try JSONValue(
            parsing: SharedData.contents("\(SharedData.alpacaEval)/vectors/logprob_to_preference.json"))
        let set = try JSONValue(parsing: SharedData.contents("\(SharedData.alpacaEval)/baseline/eval_set.json"))
        let parser = VerdictParser.tokenLogprobs(first: "m", second: "M", place: .first, binarize: false)
        var compared = 0
        for sample in try #require(samples.array) {
            let top = try #require(sample["top_logprobs"]?.array).map {
                Completion.Alternative(text: $0["token"]!.string!, logprob: $0["logprob"]!.number!)
            }
            let token = Completion.Token(text: sample["text"]?.string ?? "", logprob: 0, top: top)
            let completion = Completion(text: token.text, finishReason: .length, tokens: [token], raw: "")
            let index = try #require(sample["index"]?.integer)
            let instruction = try #require(set[index]?["instruction"]?.string)
            let isSwitched = OrderRule.seededRandom(seed: 0).orders(instruction: instruction) == [.modelFirst]
            switch (parser.parse(completion), sample["preference"]?.number) {
            case (.preferenceForFirst(let first), let expected?):
                let preference = isSwitched ? 1 + first : 2 - first
                #expect(abs(preference - expected) < 1e-9, "row \(sample["row"]?.integer ?? -1)")
                compared += 1
            case (.unparsable, nil): compared += 1
            case (let outcome, let expected):
                Issue.record(
                    "\(outcome), upstream \(String(describing: expected))")
            }
        }
        #expect(compared > 0)
    }
}
