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
    private let state: Mutex<(replies: [String], asked: [ChatRequest])>

    init(_ replies: [String]) { state = Mutex((replies, [])) }

    var asked: [ChatRequest] { state.withLock { $0.asked } }

    func complete(_ request: ChatRequest) async throws -> Completion {
        try state.withLock { state in
            state.asked.append(request)
            if state.replies.isEmpty { throw ModelFailure.requestFailed("nothing more to say") }
            return Completion(text: state.replies.removeFirst(), finishReason: .stop, tokens: [], raw: "")
        }
    }
}

@Suite struct QuestionJudgeTests {
    private static func lines(_ path: String) throws -> [UInt8] { Array(try SharedData.contents(path)) }

    private static func answer(_ record: JSONValue, _ questions: QuestionSet) throws -> Answer {
        let set = try AnswerSet(bytes: record.serialized(), path: "a.jsonl", questions: questions, name: "x")
        return try #require(set.answers.first)
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

    @Test(.enabled(if: SharedData.exists(data) && !SharedData.fixtures("arena").isEmpty))
    func `MT-Bench's judge is asked as llm_judge asks it, and leaves its records`() async throws {
        let cases = try JSONValue(parsing: Self.lines("\(SharedData.fixtures)/arena/mtbench_judge/cases.json"))
        let path = "\(Self.data)/mt_bench/question.jsonl"
        let questions = try QuestionSet(bytes: Self.lines(path), path: path, isOfficial: true)
        let prompts = try JudgePrompt.read(Self.lines("\(Self.data)/judge_prompts.jsonl"), path: "judge_prompts.jsonl")
        let references = try AnswerSet(
            bytes: Self.lines("\(Self.data)/mt_bench/reference_answer/gpt-4.jsonl"), path: "gpt-4.jsonl",
            questions: questions, name: nil)
        var compared = 0
        for golden in cases["records"]?.array ?? [] where golden["kind"]?.string == "single" {
            let replies = golden["canned"]?.array?.compactMap(\.string) ?? []
            guard golden["error"]?.isNull != false, !replies.contains("$ERROR$") else { continue }
            let model = ScriptedJudge(replies)
            let answer = try Self.answer(try #require(golden["answer"]), questions)
            let judge = try MTBenchJudge(
                prompts: prompts, references: references, model: model, retries: 0, questions: [answer.question])
            let turn = golden["multi_turn"]?.bool == true ? 1 : 0
            let row = try await judge.grade(answer, of: "model-one", turn: turn).json(judge: "gpt-4")
            try Self.expect(model.asked, golden["api_calls"])
            for key in ["question_id", "judge", "user_prompt", "judgment", "turn"] {
                #expect(row[key] == golden["record"]?[key], "\(key)")
            }
            #expect(row["score"]?.number == golden["record"]?["score"]?.number)
            compared += 1
        }
        #expect(compared > 0)
    }

    @Test(
        .enabled(
            if: SharedData.exists("\(SharedData.folder)/arena_hard") && !SharedData.fixtures("arena").isEmpty))
    func `Arena-Hard's judge plays both games as upstream does, and asks on`() async throws {
        let cases = try JSONValue(parsing: Self.lines("\(SharedData.fixtures)/arena/ah_judge/cases.json"))
        let prompt = try JudgePrompt.arenaHard(
            yamlFile: "\(SharedData.folder)/arena_hard/v0.1_0489bf3_config_judge_config.yaml")
        var compared = 0
        for golden in cases["records_v01"]?.array ?? [] {
            let replies = golden["canned"]?.array?.compactMap(\.string) ?? []
            guard golden["error"]?.isNull != false, golden["attempts"]?.integer == 2, !replies.contains("$ERROR$")
            else { continue }
            let questions = try QuestionSet(
                bytes: try #require(golden["question"]).serialized(), path: "q.jsonl", isOfficial: false)
            let model = ScriptedJudge(replies)
            let row = try await ArenaJudge(prompt: prompt, model: model).judge(
                Self.answer(try #require(golden["answer"]), questions), of: "model-x",
                baseline: Self.answer(try #require(golden["baseline_answer"]), questions), of: "gpt-4-0314")
            try Self.expect(model.asked, golden["api_calls"])
            let games = row.json(judge: "gpt-4-1106-preview")["games"]?.array ?? []
            for (own, official) in zip(games, golden["record"]?["games"]?.array ?? []) {
                for key in ["user_prompt", "judgment", "score"] { #expect(own[key] == official[key], "\(key)") }
            }
            #expect(games.count == 2)
            compared += 1
        }
        #expect(compared > 0)
    }

    // MARK: Without upstream's data

    private static let two = try? QuestionSet(
        bytes: Array(
            """
            {"question_id": 1, "category": "math", "turns": ["one {answer}", "two"]}
            {"uid": "b", "category": "c", "prompt": "only"}
            """.utf8), path: "q.jsonl", isOfficial: false)

    @Test func `Questions of every form are read, and an answer fills no field`() async throws {
        let questions = try #require(Self.two)
        #expect(questions.questions.map(\.turns) == [["one {answer}", "two"], ["only"]])
        let prompt = JudgePrompt(
            name: "single-math-v1-multi-turn", system: "s",
            template: "{question_1} {answer_1} {question_2} {answer_2} {ref_answer_2} {other}")
        let first = JudgePrompt(name: "single-math-v1", system: "s", template: "{question}|{answer}|{ref_answer_1}")
        let references = AnswerSet(
            name: "r", answers: [Answer(question: questions.questions[0], turns: ["r1", "r2"])], sha256: "")
        let model = ScriptedJudge(["[[8]]", "none", "[[3]]"])
        let judge = try MTBenchJudge(
            prompts: [prompt.name: prompt, first.name: first], references: references, model: model, retries: 1,
            questions: [questions.questions[0]])
        let answer = Answer(question: questions.questions[0], turns: ["{ref_answer_1}", "b"])
        #expect(try await judge.grade(answer, of: "m", turn: 0).verdict == .rating(8))
        #expect(try await judge.grade(answer, of: "m", turn: 1).verdict == .rating(3))
        #expect(
            model.asked.map { $0.messages[1].content } == [
                "one {answer}|{ref_answer_1}|r1", "one {answer} {ref_answer_1} two b r2 {other}",
                "one {answer} {ref_answer_1} two b r2 {other}",
            ])
        #expect(model.asked.map(\.sample) == [0, 0, 1])
        // Nothing is left to say: the verdict is missing, and the record says why.
        let row = try await judge.grade(answer, of: "m", turn: 0)
        #expect(row.json(judge: "j")["score"]?.integer == -1)
        #expect(row.json(judge: "j")["missing"]?.string?.hasPrefix("failed") == true)
        #expect(throws: EvaluationError.self) {
            try MTBenchJudge(
                prompts: [prompt.name: prompt, first.name: first], references: nil, model: model, retries: 0,
                questions: [questions.questions[0]])
        }
    }

    @Test func `A game without a label is asked to go on once, and two labels are none`() async throws {
        let question = try #require(Self.two).questions[1]
        let model = ScriptedJudge(["hm", "still", "[[A>B]] or [[B>A]]"])
        let judge = ArenaJudge(
            prompt: JudgePrompt(name: "p", system: "s", template: "{question_1} {answer_1} {answer_2}"), model: model)
        let row = try await judge.judge(
            Answer(question: question, turns: ["mine"]), of: "m",
            baseline: Answer(question: question, turns: ["base"]), of: "b")
        #expect(row.games.map(\.label) == [nil, nil])
        #expect(row.games[0].judgment == "\nhm\nstill")
        #expect(model.asked.map { $0.messages[1].content } == ["only base mine", "only base mine", "only mine base"])
        #expect(model.asked[1].messages.count == 4)
        #expect(row.judgment.labels == [nil, nil])
    }

    @Test(arguments: [
        (#"{"turns": ["a"]}"#, "question_id"), (#"{"question_id": 1, "turns": []}"#, "turns"),
        (#"{"question_id": 1, "turns": [3]}"#, "turns"),
        (
            "{\"question_id\": 1, \"turns\": [\"a\"]}\n{\"question_id\": 1, \"turns\": [\"b\"]}",
            "also stands in record 0"
        ),
        (#"{"question_id": 1, "turns": ["a"], "checks": []}"# + "\n[", "JSON Lines"), ("", "no questions"),
    ])
    func `Questions that cannot be used are refused with their place`(_ text: String, _ words: String) {
        let error = #expect(throws: EvaluationError.self) {
            try QuestionSet(bytes: Array(text.utf8), path: "q.jsonl", isOfficial: false)
        }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
}
