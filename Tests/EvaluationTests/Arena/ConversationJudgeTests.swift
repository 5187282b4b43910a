import Chat
import Evaluation
import Foundation
import Synchronization
import TestSupport
import Testing

/// Says what it is told to, one reply after the other, and keeps what it was asked.
private final class ScriptedJudge: ChatModel {
    let name = "gpt-4"
    let fingerprint = "scripted"
    let maxConcurrentRequests = 1
    private let state: Mutex<(replies: [String?], asked: [ChatRequest])>

    /// - Parameter replies: nil where the request fails.
    init(_ replies: [String?]) { state = Mutex((replies, [])) }

    var asked: [ChatRequest] { state.withLock { $0.asked } }

    func complete(_ request: ChatRequest) async throws -> Completion {
        try state.withLock { state in
            state.asked.append(request)
            guard !state.replies.isEmpty, let reply = state.replies.removeFirst() else {
                throw ModelFailure.requestFailed("nothing more to say")
            }
            return Completion(text: reply, finishReason: .stop, tokens: [], raw: "")
        }
    }
}

@Suite struct ConversationJudgeTests {
    private static func lines(_ path: String) throws -> [UInt8] { Array(try SharedData.contents(path)) }

    private static func output(_ record: JSONValue, _ prompts: PromptSet, _ name: String) throws -> ModelOutput {
        let set = try ModelOutputs(bytes: record.serialized(), path: "a.jsonl", prompts: prompts, name: name)
        return try #require(set.outputs.first)
    }

    private static func expect(_ asked: [ChatRequest], _ official: JSONValue?) throws {
        let calls = try #require(official?.array)
        #expect(asked.count == calls.count)
        for (own, call) in zip(asked, calls) {
            let messages = own.messages.map {
                ["role": .string($0.role.rawValue), "content": .string($0.content)] as JSONValue
            }
            #expect(.array(messages) == call["messages"])
            #expect(own.maxTokens == call["max_tokens"]?.integer)
            #expect(own.decoding == .greedy)
        }
    }

    private static let data = "\(SharedData.folder)/mt_bench"

    @Test(
        .enabled(if: SharedData.exists(data) && !SharedData.fixtures("arena").isEmpty), arguments: ["single", "pair"])
    func `MT-Bench's judge is asked as llm_judge asks it, and leaves its records`(_ kind: String) async throws {
        let cases = try JSONValue(parsing: Self.lines("\(SharedData.fixtures)/arena/mtbench_judge/cases.json"))
        let path = "\(Self.data)/mt_bench/question.jsonl"
        let prompts = try PromptSet(bytes: Self.lines(path), path: path, isOfficial: true)
        let judgePrompts = try JudgePrompt.read(
            Self.lines("\(Self.data)/judge_prompts.jsonl"), path: "judge_prompts.jsonl")
        let references = try ModelOutputs(
            bytes: Self.lines("\(Self.data)/mt_bench/reference_answer/gpt-4.jsonl"), path: "gpt-4.jsonl",
            prompts: prompts, name: nil)
        var compared = 0
        for golden in cases["records"]?.array ?? [] where golden["kind"]?.string == kind {
            let replies = golden["canned"]?.array?.compactMap(\.string) ?? []
            guard golden["error"]?.isNull != false, !replies.contains("$ERROR$") else { continue }
            let model = ScriptedJudge(replies)
            let answers = kind == "single" ? ["answer"] : ["answer_1", "answer_2"]
            let outputs = try zip(answers, ["model-one", "model-two"]).map {
                try Self.output(try #require(golden[$0]), prompts, $1)
            }
            let judge = try MTBenchJudge(
                kind == "single" ? .single : .pairwiseAll, judgePrompts: judgePrompts, references: references,
                model: model, retries: 0, prompts: [outputs[0].prompt])
            let turn = golden["multi_turn"]?.bool == true ? 1 : 0
            let record =
                kind == "single"
                ? try await judge.rate(outputs[0], turn: turn).json(judge: "gpt-4")
                : try await judge.compare(outputs[0], outputs[1], turn: turn).json(judge: "gpt-4")
            try Self.expect(model.asked, golden["api_calls"])
            for member in golden["record"]?.object?.members ?? [] where member.key != "score" && member.key != "model" {
                #expect(record[member.key] == member.value || member.key == "tstamp", "\(member.key)")
            }
            #expect(record["score"]?.number == golden["record"]?["score"]?.number)
            compared += 1
        }
        #expect(compared > 0)
    }

    private static let arenaData = "\(SharedData.folder)/arena_hard"

    @Test(.enabled(if: SharedData.exists(arenaData) && !SharedData.fixtures("arena").isEmpty))
    func `Arena-Hard's judge plays both games as upstream does, and asks on`() async throws {
        let cases = try JSONValue(parsing: Self.lines("\(SharedData.fixtures)/arena/ah_judge/cases.json"))
        let procedure = try ArenaJudge.Procedure(v01: "\(Self.arenaData)/v0.1_0489bf3_config_judge_config.yaml")
        var compared = 0
        for golden in cases["records_v01"]?.array ?? [] {
            let replies = golden["canned"]?.array?.compactMap(\.string) ?? []
            guard golden["error"]?.isNull != false, golden["attempts"]?.integer == 2, !replies.contains("$ERROR$")
            else { continue }
            let pair = try Self.pair(golden, baseline: "baseline_answer")
            let model = ScriptedJudge(replies)
            let judge = try ArenaJudge(procedure, model: model, prompts: [pair.prompt])
            let record = try await judge.judge(pair).json(judge: "gpt-4-1106-preview", version: .v01)
            try Self.expect(model.asked, golden["api_calls"])
            let games = record["games"]?.array ?? []
            for (own, official) in zip(games, golden["record"]?["games"]?.array ?? []) {
                for key in ["user_prompt", "judgment", "score"] { #expect(own[key] == official[key], "\(key)") }
            }
            #expect(games.count == 2)
            compared += 1
        }
        #expect(compared > 0)
    }

    /// Upstream's settings in the Python file that upstream keeps them in.
    private static func settings() throws -> [UInt8] {
        let settings = try JSONValue(parsing: Self.lines("\(arenaData)/v2.0_judge_settings.json"))
        return Array("JUDGE_SETTINGS = \(settings.text())".utf8)
    }

    @Test(.enabled(if: SharedData.exists(arenaData) && !SharedData.fixtures("arena").isEmpty))
    func `Arena-Hard 2.0's judge has a prompt for each category, and a failed game is null`() async throws {
        let cases = try JSONValue(parsing: Self.lines("\(SharedData.fixtures)/arena/ah_judge/cases.json"))
        var compared = 0
        for golden in cases["records_v2"]?.array ?? [] where golden["error"]?.isNull != false {
            let name = golden["config"]?["judge_model"]?.string ?? ""
            let procedure = try ArenaJudge.Procedure(
                v2: "\(Self.arenaData)/v2.0_config_arena-hard-v\(name == "gpt-4.1" ? "2.0" : "0.1").yaml",
                settings: try Self.settings(), settingsPath: "judge_utils.py")
            let pair = try Self.pair(golden, baseline: "baseline")
            let model = ScriptedJudge(golden["canned"]?.array?.map(\.string) ?? [])
            let judge = try ArenaJudge(procedure, model: model, prompts: [pair.prompt])
            let record = try await judge.judge(pair).json(judge: name, version: .v2)
            try Self.expect(model.asked, golden["api_calls"])
            for member in golden["record"]?.object?.members ?? [] {
                #expect(record[member.key] == member.value, "\(member.key)")
            }
            compared += 1
        }
        #expect(compared > 0)
    }

    private static func pair(_ golden: JSONValue, baseline: String) throws -> OutputPair {
        let prompts = try PromptSet(
            bytes: try #require(golden["question"]).serialized(), path: "q.jsonl", isOfficial: false)
        return OutputPair(
            prompt: prompts.prompts[0],
            baseline: try output(
                try #require(golden[baseline]), prompts, golden["record"]?["baseline"]?.string ?? "gpt-4-0314"),
            output: try output(try #require(golden["answer"]), prompts, "model-x"))
    }

    // MARK: Without upstream's data

    private static let two = try? PromptSet(
        bytes: Array(
            """
            {"question_id": 1, "category": "math", "turns": ["one {answer}", "two"]}
            {"uid": "b", "category": "c", "prompt": "only"}
            """.utf8), path: "q.jsonl", isOfficial: false)

    @Test func `Prompts of every form are read, and an output fills no field`() async throws {
        let prompts = try #require(Self.two).prompts
        #expect(prompts.map(\.turns) == [["one {answer}", "two"], ["only"]])
        let prompt = JudgePrompt(
            name: "single-math-v1-multi-turn", system: "s",
            template: "{question_1} {answer_1} {question_2} {answer_2} {ref_answer_2} {other}")
        let first = JudgePrompt(name: "single-math-v1", system: "s", template: "{question}|{answer}|{ref_answer_1}")
        let references = ModelOutputs(
            name: "r", outputs: [ModelOutput(prompt: prompts[0], turns: ["r1", "r2"], generator: "r")], sha256: "")
        let model = ScriptedJudge(["[[8]]", "none", "[[3]]"])
        let judge = try MTBenchJudge(
            .single, judgePrompts: [prompt.name: prompt, first.name: first], references: references, model: model,
            retries: 1, prompts: [prompts[0]])
        let output = ModelOutput(prompt: prompts[0], turns: ["{ref_answer_1}", "b"], generator: "m")
        #expect(try await judge.rate(output, turn: 0).verdict == .rating(8))
        #expect(try await judge.rate(output, turn: 1).verdict == .rating(3))
        #expect(
            model.asked.map { $0.messages[1].content } == [
                "one {answer}|{ref_answer_1}|r1", "one {answer} {ref_answer_1} two b r2 {other}",
                "one {answer} {ref_answer_1} two b r2 {other}",
            ])
        #expect(model.asked.map(\.sample) == [0, 0, 1])
        // Nothing is left to say: the verdict is missing, and the record says why.
        let row = try await judge.rate(output, turn: 0)
        #expect(row.json(judge: "j")["score"]?.integer == -1)
        #expect(row.json(judge: "j")["missing"]?.string?.hasPrefix("failed") == true)
        #expect(throws: EvaluationError.self) {
            try MTBenchJudge(
                .single, judgePrompts: [prompt.name: prompt, first.name: first], references: nil, model: model,
                retries: 0, prompts: [prompts[0]])
        }
    }

    @Test func `A game without a label is asked to go on once, and two labels are none`() async throws {
        let prompt = try #require(Self.two).prompts[1]
        let model = ScriptedJudge(["hm", "still", "[[A>B]] or [[B>A]]"])
        let judge = try ArenaJudge(
            .v01(JudgePrompt(name: "p", system: "s", template: "{question_1} {answer_1} {answer_2}")), model: model,
            prompts: [prompt])
        let row = try await judge.judge(
            OutputPair(
                prompt: prompt, baseline: ModelOutput(prompt: prompt, output: "base", generator: "b"),
                output: ModelOutput(prompt: prompt, output: "mine", generator: "m")))
        #expect(row.games.map(\.label) == [nil, nil])
        #expect(row.games[0].judgment == "\nhm\nstill")
        #expect(model.asked.map { $0.messages[1].content } == ["only base mine", "only base mine", "only mine base"])
        #expect(model.asked[1].messages.count == 4)
        #expect(row.annotation.labels == [nil, nil])
    }

    @Test(arguments: [
        (#"{"turns": ["a"]}"#, "question_id"), (#"{"question_id": 1, "turns": []}"#, "turns"),
        (#"{"question_id": 1, "turns": [3]}"#, "turns"),
        (
            "{\"question_id\": 1, \"turns\": [\"a\"]}\n{\"question_id\": 1, \"turns\": [\"b\"]}",
            "also stands in record 0"
        ),
        (#"{"question_id": 1, "turns": ["a"], "checks": []}"# + "\n[", "JSON Lines"), ("", "no prompts"),
    ])
    func `Prompts that cannot be used are refused with their place`(_ text: String, _ words: String) {
        let error = #expect(throws: EvaluationError.self) {
            try PromptSet(bytes: Array(text.utf8), path: "q.jsonl", isOfficial: false)
        }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test func `A winner is named by the model, wherever it stood, and two winners are no verdict`() async throws {
        let prompt = try #require(Self.two).prompts[1]
        let names = ["pair-v2"]
        let judgePrompts = Dictionary(
            uniqueKeysWithValues: names.map {
                ($0, JudgePrompt(name: $0, system: "s", template: "{question}: {answer_a} or {answer_b}"))
            })
        let model = ScriptedJudge(["[[A]]", "[[A]]", "[[B]]", "hm", "[[C]]", nil])
        let judge = try MTBenchJudge(
            .pairwiseBaseline, judgePrompts: judgePrompts, references: nil, model: model, retries: 0, prompts: [prompt])
        let first = ModelOutput(prompt: prompt, output: "one", generator: "m")
        let second = ModelOutput(prompt: prompt, output: "two", generator: "b")
        #expect(try await judge.compare(first, second, turn: 0).games.map(\.winner) == [.first, .second])
        #expect(model.asked.map { $0.messages[1].content } == ["only: one or two", "only: two or one"])
        let unclear = try await judge.compare(first, second, turn: 0)
        #expect(unclear.games.map(\.winner) == [.second, .error])
        #expect(unclear.annotation.preferenceForFirst == nil)
        let failed = try await judge.compare(first, second, turn: 0)
        #expect(failed.json(judge: "j")["g2_judgment"]?.string == "$ERROR$")
        #expect(failed.json(judge: "j")["missing"]?[1]?.string?.hasPrefix("failed") == true)
    }

    @Test func `What is judged and what is read back say alike which replies are ambiguous`() async throws {
        let prompt = try #require(Self.two).prompts[1]
        let prompts = Dictionary(
            uniqueKeysWithValues: ["single-v1", "pair-v2"].map {
                ($0, JudgePrompt(name: $0, system: "s", template: "{question}"))
            })
        func judge(_ mode: MTBenchJudge.Mode, _ replies: [String]) throws -> MTBenchJudge {
            try MTBenchJudge(
                mode, judgePrompts: prompts, references: nil, model: ScriptedJudge(replies), retries: 0,
                prompts: [prompt])
        }
        let output = ModelOutput(prompt: prompt, output: "one", generator: "m")
        for (reply, isAmbiguous) in [("[[2]] or [[9]]", true), ("[[2]] and again [[2]]", false)] {
            let row = try await judge(.single, [reply]).rate(output, turn: 0)
            #expect(row.annotation.isAmbiguous == isAmbiguous)
            let read = try MTBenchAnnotation.read(row.json(judge: "j").serialized(), path: "j.jsonl")
            #expect(read.map(\.isAmbiguous) == [isAmbiguous])
        }
        for (reply, isAmbiguous) in [("[[A]] or [[B]]", true), ("[[C]], yes [[C]]", false)] {
            let row = try await judge(.pairwiseAll, ["[[A]]", reply]).compare(output, output, turn: 0)
            #expect(row.annotation.isAmbiguous == isAmbiguous)
            let read = try MTBenchPair.read(row.json(judge: "j").serialized(), path: "j.jsonl")
            #expect(read.map(\.isAmbiguous) == [isAmbiguous])
        }
    }

    @Test func `A turn without text is refused, and none is taken for another`() throws {
        let prompts = try #require(Self.two)
        for text in [
            #"{"question_id": 1, "choices": [{"turns": [null, "a", "b"]}]}"#,
            #"{"uid": "b", "messages": [{"role": "assistant", "content": null}, {"role": "assistant", "content": "x"}]}"#,
        ] {
            let error = #expect(throws: EvaluationError.self) {
                try ModelOutputs(bytes: Array(text.utf8), path: "a.jsonl", prompts: prompts, name: nil)
            }
            #expect(error?.description.contains("record 1") == true, "\(String(describing: error))")
            var styles = MTBenchStyles(features: .length)
            #expect(throws: EvaluationError.self) { try styles.add(Array(text.utf8), path: "a.jsonl") }
        }
    }

    @Test(arguments: [
        ("A = 'x'\nJUDGE_SETTINGS = {\"c\": {'system_prompt': A, }, # one\n}", "x"),
        ("JUDGE_SETTINGS = {'c': {'system_prompt': \"a\\n\\\"b\\\"\"}}", "a\n\"b\""),
        ("JUDGE_SETTINGS = {'c': {'system_prompt': open('x')}}", nil), ("import os", nil), ("A = 'x", nil),
        ("JUDGE_SETTINGS = {'c': {}}", nil), ("JUDGE_SETTINGS = {'c': {'system_prompt': 'a\\x41'}}", nil), ("", nil),
    ])
    func `Upstream's Python settings are read as texts, and nothing else`(_ text: String, _ system: String?) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            "temperature: 0.0\nmax_tokens: 16\nprompt_template: \"{QUESTION}\"\n", "c.yaml")
        let procedure = try? ArenaJudge.Procedure(v2: path, settings: Array(text.utf8), settingsPath: "s.py")
        guard let system else {
            #expect(procedure == nil)
            return
        }
        let prompt = JudgePrompt(name: "c", system: system, template: "{QUESTION}")
        #expect(procedure == .v2(["c": prompt], temperature: 0, maxTokens: 16))
    }
}
