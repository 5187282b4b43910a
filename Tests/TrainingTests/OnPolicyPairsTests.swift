import Chat
import Foundation
import TestSupport
import Testing
import Training

/// Pairs of a model's own outputs, beside those of the SimPO repository's scripts.
@Suite struct OnPolicyPairsTests {
    @Test(.enabled(if: OnPolicyGoldens.value != nil, "needs the golden pairs"))
    func `Pairs are those of the SimPO repository's scripts`() throws {
        let golden = try #require(OnPolicyGoldens.value)
        let binarised = try #require(golden["binarised"]?.array)
        var candidates: [OnPolicyPairs.Candidates] = []
        let runs = try (golden["seeds"]?.array ?? []).map { seed in
            let key = try #require(seed.integer)
            return try #require(golden["generations"]?["\(key)"]?.array)
        }
        for place in try #require(runs.first).indices {
            let prompt = try #require(runs[0][place]["prompt"]?.string)
            let scored = binarised.first { $0["prompt"]?.string == prompt }
            // The scores go with upstream's order of the texts, whichever that was.
            let outputs =
                scored?["all_generated_responses"]?.array ?? runs.map { $0[place]["generated_text"]! }
            #expect(
                outputs.compactMap(\.string).sorted()
                    == runs.compactMap { $0[place]["generated_text"]?.string }.sorted())
            let scores =
                scored?["all_rm_scores"]?.array?.compactMap(\.number) ?? outputs.indices.map(Double.init)
            candidates.append(
                .init(
                    prompt: .init(messages: [.user(prompt)]), outputs: outputs.compactMap(\.string),
                    scores: scores))
        }
        let pairs = OnPolicyPairs(candidates)
        #expect(
            pairs.identical.map { $0.messages[0].content }
                == golden["dropped_identical"]?.array?.compactMap(\.string))
        #expect(pairs.pairs.map(\.chosen) == binarised.compactMap { $0["chosen_idx"]?.integer })
        #expect(pairs.pairs.map(\.rejected) == binarised.compactMap { $0["rejected_idx"]?.integer })
        let lines = try JSONValue.parseLines(Array(pairs.lines.utf8))
        #expect(lines.count == binarised.count)
        for (line, expected) in zip(lines, binarised) {
            for member in line.object?.members ?? [] { #expect(expected[member.key] == member.value) }
            #expect(line.object?.members.count == 5)
        }
    }

    private func candidates(_ outputs: [String], _ scores: [Double]?) -> OnPolicyPairs.Candidates {
        .init(prompt: .init(messages: [.user("p")]), outputs: outputs, scores: scores)
    }

    @Test func `The first of equals is taken, best and worst`() throws {
        let pair = try #require(
            OnPolicyPairs([candidates(["a", "b", "c", "d", "e"], [0, 1, -2, 1, -2])]).pairs.first)
        #expect(pair.chosen == 1)
        #expect(pair.rejected == 2)
    }

    @Test func `Prompts without a difference make no pair, and are counted`() {
        let pairs = OnPolicyPairs([
            candidates(["a", "a"], [1, 2]), candidates(["a", "b"], [1, 1]),
            candidates(["a", "b"], [1, 2]),
            candidates(["a", "b", "a"], [1, 1.5, 2]),
            // Two spellings of one letter are two texts.
            candidates(["\u{E9}", "e\u{301}"], [1, 2]),
            candidates(["a", "b"], nil),
        ])
        #expect(pairs.pairs.count == 3)
        #expect(pairs.identical.count == 1)
        #expect(pairs.equallyGood.count == 1)
        #expect(pairs.incomplete.count == 1)
        #expect(
            pairs.summary == "3 pairs; of which 1 have the same text twice, which training drops; "
                + "1 prompts without a pair: all outputs are the same; "
                + "1 prompts without a pair: all scores are the same; "
                + "1 prompts without a pair: an output or a score could not be had."
        )
    }

    @Test func `Prompts come each once, by code point`() throws {
        let folder = try TemporaryFolder()
        let prompts = ["b", "a", "\u{1F600}", "\u{FFFD}", "b", "e\u{301}", "\u{E9}", "Z", ""]
        let path = try folder.write(
            prompts.map { JSONValue.object(["prompt": .string($0)]).text() }.joined(separator: "\n"),
            "prompts.jsonl")
        let found = try OnPolicyPairs.prompts(file: path).map {
            Array($0.messages[0].content.unicodeScalars)
        }
        // What Python's sorted(set(prompts)) gives.
        let sorted = ["", "Z", "a", "b", "e\u{301}", "\u{E9}", "\u{FFFD}", "\u{1F600}"]
        #expect(found == sorted.map { Array($0.unicodeScalars) })
    }

    @Test func `A longer conversation stays a list, and its pair is read back`() throws {
        let folder = try TemporaryFolder()
        let turns: JSONValue = [.turn("system", "s"), .turn("user", "u")]
        let path = try folder.write(JSONValue.object(["prompt": turns]).text(), "prompts.jsonl")
        let prompts = try OnPolicyPairs.prompts(file: path)
        #expect(prompts == [.init(messages: [Message(role: .system, content: "s"), .user("u")])])
        let pairs = OnPolicyPairs([.init(prompt: prompts[0], outputs: ["x", "y"], scores: [0, 1])])
        let examples = try PreferenceExample.read(try folder.write(pairs.lines, "pairs.jsonl"))
        let example = try #require(examples.first)
        let prompt = try #require(turns.array)
        #expect(
            example.content
                == .pair(
                    chosen: .messages(prompt: prompt, response: [.turn("assistant", "y")]),
                    rejected: .messages(prompt: prompt, response: [.turn("assistant", "x")])))
    }

    @Test func `A pair of one turn is read back`() throws {
        let folder = try TemporaryFolder()
        let pairs = OnPolicyPairs([candidates(["x", "y"], [0, 1])])
        let examples = try PreferenceExample.read(try folder.write(pairs.lines, "pairs.jsonl"))
        let example = try #require(examples.first)
        #expect(
            example.content
                == .pair(
                    chosen: .messages(prompt: [.turn("user", "p")], response: [.turn("assistant", "y")]),
                    rejected: .messages(prompt: [.turn("user", "p")], response: [.turn("assistant", "x")])))
    }

    @Test func `A file with conversations has every prompt as a list`() throws {
        let conversation = OnPolicyPairs.Prompt(messages: [Message(role: .system, content: "s"), .user("u")])
        let pairs = OnPolicyPairs([
            candidates(["x", "y"], [0, 1]), .init(prompt: conversation, outputs: ["x", "y"], scores: [0, 1]),
        ])
        let lines = try JSONValue.parseLines(Array(pairs.lines.utf8))
        #expect(lines.map { $0["prompt"]?.array?.count } == [1, 2])
        #expect(lines.map { $0["chosen"] } == [[.turn("assistant", "y")], [.turn("assistant", "y")]])
        let folder = try TemporaryFolder()
        let examples = try PreferenceExample.read(try folder.write(pairs.lines, "pairs.jsonl"))
        #expect(
            examples.first?.content
                == .pair(
                    chosen: .messages(prompt: [.turn("user", "p")], response: [.turn("assistant", "y")]),
                    rejected: .messages(prompt: [.turn("user", "p")], response: [.turn("assistant", "x")])))
    }

    @Test(arguments: [
        (
            #"{"text": "a"}"#, #"line 1: "prompt" should be a text or a list of messages, and is missing"#
        ),
        (#"{"prompt": []}"#, #""prompt" should be a text or a list of messages, and is an array"#),
        (#"{"prompt": 3}"#, "and is a number"),
        (#"{"prompt": [{"role": "gpt", "content": "a"}]}"#, #"message 1 of "prompt" needs a role"#),
    ])
    func `A line without a prompt is refused`(_ line: String, _ sentence: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(line, "prompts.jsonl")
        let error = #expect(throws: TrainingError.self) { try OnPolicyPairs.prompts(file: path) }
        #expect(error?.description.contains(sentence) == true, "\(String(describing: error))")
    }
}

private enum OnPolicyGoldens {
    static let value = RenderingGoldens.value("data/on_policy_pipeline.json")
}
