import Chat
import Foundation
import TestSupport
import Testing

/// MT-Bench and Arena-Hard from questions to scores, on small files of our own in upstream's forms.
@Suite struct ConversationRunTests {
    private static let questions = (1...12).map { number in
        #"{"question_id": \#(number), "category": "math", "turns": ["Say \#(number).", "Again \#(number)."]}"#
    }
    private static let prompts = ["single-math-v1", "single-v1", "pair-math-v1", "pair-v2"]
        .flatMap { [$0, "\($0)-multi-turn"] }.map {
            let field = $0.hasPrefix("pair") ? "{answer_a#} or {answer_b#}" : "{answer#}"
            let fields =
                $0.hasSuffix("turn")
                ? ["_1", "_2"].map { field.replacing("#", with: $0) }.joined(separator: " ")
                : field.replacing("#", with: "")
            return #"{"name": "\#($0)", "system_prompt": "Judge.", "prompt_template": "JUDGE \#($0): \#(fields)"}"#
        }

    /// A space whose cache holds the files, imported as what they are: not upstream's.
    private func space(_ benchmark: String) async throws -> Workspace {
        let space = try Workspace()
        func write(_ lines: [String], _ name: String) throws {
            try space.folder.write(lines.joined(separator: "\n") + "\n", "files/\(name)")
        }
        if benchmark == "mt-bench" {
            try write(Self.questions, "question.jsonl")
            try write(Self.prompts, "judge_prompts.jsonl")
            try write(
                (1...12).map { #"{"question_id": \#($0), "choices": [{"index": 0, "turns": ["r", "r"]}]}"# },
                "gpt-4-0125-preview.jsonl")
        } else if benchmark == "arena-hard-v2" {
            try write(
                (1...12).map {
                    let category = $0 % 3 == 0 ? "creative_writing" : "hard_prompt"
                    return #"{"uid": "q\#($0)", "category": "\#(category)", "prompt": "Say \#($0)."}"#
                }, "question.jsonl")
            for (name, answer) in [("o3-mini-2025-01-31", "b"), ("gemini-2.0-flash-001", "**b**")] {
                try write(
                    (1...12).map {
                        #"{"uid": "q\#($0)", "messages": [{"role": "assistant", "content": {"answer": "\#(answer)"}}]}"#
                    }, "\(name).jsonl")
            }
            try space.folder.write(
                "temperature: 0.0\nmax_tokens: 64\nprompt_template: \"JUDGE {QUESTION} A: {ANSWER_A} B: {ANSWER_B}\"\n",
                "files/arena-hard-v2.0.yaml")
            try space.folder.write(
                "P = \"Judge.\"\nJUDGE_SETTINGS = {\"hard_prompt\": {\"system_prompt\": P},\n"
                    + "    'creative_writing': {'system_prompt': 'Be kind.'}}\n", "files/judge_utils.py")
            try space.folder.write(Self.ranks, "files/o200k_base.tiktoken")
        } else {
            try write(
                (1...12).map { #"{"uid": "q\#($0)", "category": "c", "prompt": "Say \#($0)."}"# }, "question.jsonl")
            try write(
                (1...12).map {
                    #"{"uid": "q\#($0)", "messages": [{"role": "assistant", "content": {"answer": "b"}}]}"#
                },
                "gpt-4-0314.jsonl")
            try space.folder.write(
                """
                system_prompt: "Judge."
                prompt_template: ["JUDGE {question_1} A: {answer_1} B: {answer_2}"]
                """, "files/judge_config.yaml")
        }
        let imported = try await space.run("dataset", "import", benchmark, "--from", "files", "--unverified")
        #expect(imported.status == 0, "\(imported.errorText)")
        return space
    }

    /// A tokenizer of bytes.
    private static let ranks = (UInt8.min...UInt8.max).map { "\(Data([$0]).base64EncodedString()) \($0)\n" }.joined()

    /// Answers questions by their text, and judges by a hash of theirs.
    private func server(_ verdicts: [String], rude: @escaping JudgeServer.Rudeness = { _, _, _ in false })
        -> JudgeServer
    {
        JudgeServer(rude: rude) { text in
            guard text.hasPrefix("JUDGE") else { return [("I say: \(text)", 0)] }
            let number = Int(Digest.sha256(text).prefix(4), radix: 16) ?? 0
            return [(verdicts[number % verdicts.count], 0)]
        }
    }

    private func arguments(_ benchmark: String, _ server: JudgeServer, _ results: String, _ evidence: String)
        -> [String]
    {
        [
            "run", benchmark, "--model", server.model, "--judge-model", server.model, "--name", "mine", "--results-dir",
            results, "--evidence", evidence, "--concurrency", "4", "--no-progress",
        ]
    }

    @Test(arguments: [
        ("mt-bench", ["Rating: [[7]]", "[[4]] or so", "[[9.5]]"], 48),
        ("arena-hard", ["[[A>B]]", "[[B>>A]]", "[[A=B]]"], 36),
        ("arena-hard-v2", ["[[A>B]]", "[[B>>A]]", "[[a=b]]"], 36),
    ])
    func `A run leaves upstream's files; killed and resumed, and from evidence alone, the same bytes`(
        _ benchmark: String, _ verdicts: [String], _ calls: Int
    ) async throws {
        let space = try await space(benchmark)
        let whole = server(verdicts)
        let first = try await space.command(arguments(benchmark, whole, "whole", "whole.sqlite")).run()
        #expect(first.status == 0, "\(first.errorText)")
        #expect(whole.askings.values.reduce(0, +) == calls)
        let expected = try space.files("whole/\(benchmark)/mine", without: whole.baseURL)
        #expect(Set(expected.keys) == ["model_answer.jsonl", "model_judgment.jsonl", "scores.json", "run.json"])

        let dam = Dam(after: calls / 2)
        let flaky = server(verdicts) { _, _, _ in dam.holdsNext() }
        let killed = space.command(arguments(benchmark, flaky, "killed", "killed.sqlite"))
        try killed.start()
        await dam.isFull()
        kill(killed.processID, SIGKILL)
        #expect(await killed.finish().status != 0)
        dam.open()
        let resumed = try await space.command(arguments(benchmark, flaky, "killed", "killed.sqlite")).run()
        #expect(resumed.status == 0, "\(resumed.errorText)")
        #expect(flaky.askings.values.reduce(0, +) <= calls + 8)
        let files = try space.files("killed/\(benchmark)/mine", without: flaky.baseURL)
        for name in ["model_answer.jsonl", "model_judgment.jsonl"] { #expect(files[name] == expected[name], "\(name)") }
        let asked = flaky.askings.values.reduce(0, +)
        let replayed = try await space.command(
            arguments(benchmark, flaky, "third", "killed.sqlite") + ["--offline"]
        ).run()
        #expect(replayed.status == 0, "\(replayed.errorText)")
        #expect(flaky.askings.values.reduce(0, +) == asked)
        #expect(try space.files("third/\(benchmark)/mine", without: flaky.baseURL) == files)
    }

    @Test func `What it leaves is scored again as it was, and its answers are taken as outputs`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[7]]", "[[4]]"])
        #expect(try await space.command(arguments("mt-bench", server, "r", "e.sqlite")).run().status == 0)
        let scores = try space.json("r/mt-bench/mine/scores.json")
        let again = try await space.run(
            "score", "mt-bench", "--judgments", "r/mt-bench/mine/model_judgment.jsonl", "--json")
        let rescored = try JSONValue(parsing: Array(again.standardOutput))
        #expect(
            rescored["entries"]?[0]?["metrics"]?["average"]?["value"]
                == scores["boards"]?[0]?["entries"]?[0]?["metrics"]?["average"]?["value"])
        #expect(scores["data"]?.array?.count == 3)
        #expect(scores["data"]?[0]?["official"]?.bool == false)
        let outputs = try await space.run(
            "run", "mt-bench", "--model", "outputs:r/mt-bench/mine/model_answer.jsonl", "--judge-model", server.model,
            "--name", "other", "--evidence", "e.sqlite", "--json")
        #expect(outputs.status == 0, "\(outputs.errorText)")
        let judged = try JSONValue(parsing: Array(outputs.standardOutput))
        #expect(
            judged["boards"]?[0]?["entries"]?[0]?["metrics"]?["average"]?["value"]
                == scores["boards"]?[0]?["entries"]?[0]?["metrics"]?["average"]?["value"])
    }

    @Test func `What failed is missing, counted and never scored`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[7]]"]) { text, _, connection in
            guard text.contains("Say 3.") || text.hasPrefix("JUDGE") && text.contains("Again 5.") else { return false }
            connection.reply(400, [:], #"{"error": {"message": "too long"}}"#)
            return true
        }
        let run = try await space.command(arguments("mt-bench", server, "r", "e.sqlite")).run()
        #expect(run.status == 3, "\(run.errorText)")
        #expect(run.errorText.contains("3 of 24 verdicts are missing"), "\(run.errorText)")
        let entry = try space.json("r/mt-bench/mine/scores.json")["boards"]?[0]?["entries"]?[0]
        #expect(entry?["metrics"]?["average"]?["n"]?.integer == 21)
        #expect(entry?["metrics"]?["average"]?["n_missing"]?.integer == 3)
        #expect(entry?["metrics"]?["average"]?["value"]?.number == 7)
    }

    @Test func `What cannot be run says why`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[7]]"])
        for (more, code, words) in [
            (["--references", "mine"], 78, "gpt-4-1106-preview"), (["--references", "gpt-4"], 66, "dataset pull"),
            (["--judge", "checks"], 78, "have none"), (["--max-cost", "1"], 78, "prices"),
        ] as [([String], Int32, String)] {
            let run = try await space.command(arguments("mt-bench", server, "r", "e.sqlite") + more).run()
            #expect(run.status == code, "\(more): \(run.errorText)")
            #expect(run.errorText.contains(words), "\(run.errorText)")
        }
        #expect(server.askings.isEmpty)
        let dry = try await space.command(arguments("mt-bench", server, "r", "e.sqlite") + ["--dry-run"]).run()
        #expect(try JSONValue(parsing: Array(dry.standardOutput))["judge_calls_at_most"]?.integer == 24)
        let other = try await space.run("run", "alpacaeval", "--references", "gpt-4", "--model", "outputs:x.json")
        #expect(other.status == 64)
    }

    @Test func `A finished run is not written over by other answers, and every flag of decoding is part of it`()
        async throws
    {
        let space = try await space("mt-bench")
        let server = server(["[[7]]"])
        let arguments = arguments("mt-bench", server, "r", "e.sqlite")
        #expect(try await space.command(arguments).run().status == 0)
        let other = try await space.command(arguments + ["--repetition-penalty", "1.3"]).run()
        #expect(other.status == 3)
        #expect(other.errorText.contains("another generation"), "\(other.errorText)")
        let generate = ["generate"] + arguments.dropFirst()
        #expect(try await space.command(generate).run().status == 3)
    }

    @Test func `Questions of one's own bring their own references`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[7]]"])
        let arguments = arguments("mt-bench", server, "r", "e.sqlite")
        try space.folder.write(#"{"question_id": "x", "category": "math", "turns": ["1 + 1?"]}"#, "own.jsonl")
        let bare = try await space.command(arguments + ["--prompts", "own.jsonl"]).run()
        #expect(bare.status == 78)
        #expect(bare.errorText.contains("no reference for it"), "\(bare.errorText)")
        try space.folder.write(
            #"{"question_id": "x", "category": "math", "turns": ["1 + 1?"], "reference": ["2"]}"#, "own.jsonl")
        let run = try await space.command(arguments + ["--prompts", "own.jsonl"]).run()
        #expect(run.status == 0, "\(run.errorText)")
        // And the rows that it leaves can be scored again.
        let again = try await space.run(
            "score", "mt-bench", "--judgments", "r/mt-bench/mine/model_judgment.jsonl", "--json")
        let board = try JSONValue(parsing: Array(again.standardOutput))
        #expect(board["entries"]?[0]?["categories"]?["math"]?.number == 7)
        try space.folder.write(#"{"question_id": 1, "category": "c", "turns": ["a", "b", "c"]}"#, "long.jsonl")
        let long = try await space.command(arguments + ["--prompts", "long.jsonl"]).run()
        #expect(long.status == 78)
        #expect(long.errorText.contains("3 turns"), "\(long.errorText)")
    }

    @Test func `A model is not compared with its own name, and a judge without verdicts is no score`() async throws {
        let space = try await space("arena-hard")
        let silent = server(["I cannot say."])
        let arguments = arguments("arena-hard", silent, "r", "e.sqlite")
        let run = try await space.command(arguments).run()
        #expect(run.status == 3)
        #expect(run.errorText.contains("None of the games has a verdict"), "\(run.errorText)")
        let same = try await space.command(
            arguments.map { $0 == "mine" ? "other" : $0 } + ["--baseline", silent.model, "--name", "mock"]
        ).run()
        #expect(same.status == 78)
        #expect(same.errorText.contains("both called mock"), "\(same.errorText)")
        // Upstream never asks again: the flag is refused before it could mean nothing, on a dry run too.
        for more in [[], ["--dry-run"]] {
            let again = try await space.command(arguments + ["--retry-unparsable", "2"] + more).run()
            #expect(again.status == 64)
            #expect(again.errorText.contains("--retry-unparsable"), "\(again.errorText)")
        }
    }

    @Test func `Runs against different baselines are not ranked together`() async throws {
        let space = try await space("arena-hard")
        let server = server(["[[A>B]]", "[[B>A]]"])
        #expect(try await space.command(arguments("arena-hard", server, "r", "e.sqlite")).run().status == 0)
        let own =
            #"{"question_id": "q1", "model": "x", "baseline": "y", "games": [{"score": "A>B"}, {"score": "A>B"}]}"#
        try space.folder.write(own, "own.jsonl")
        let run = try await space.run(
            "score", "arena-hard", "--judgments", "r/arena-hard/mine/model_judgment.jsonl", "own.jsonl")
        #expect(run.status == 3)
        #expect(run.errorText.contains("gpt-4-0314 and y"), "\(run.errorText)")
    }

    @Test(arguments: ["mt-bench", "arena-hard", "arena-hard-v2"])
    func `Without a word the starter models answer its questions`(_ benchmark: String) async throws {
        let space = try Workspace()
        let run = try await space.run("run", benchmark, "--json")
        #expect(run.status == 0, "\(run.errorText)")
        let board = try JSONValue(parsing: Array(run.standardOutput))
        #expect(board["boards"]?[0]?["entries"]?.array?.contains { $0["name"]?.string == "starter-simpo" } == true)
        #expect(run.errorText.contains("next: "))
    }

    @Test func `Of Arena-Hard 2.0 each category has its baseline, its judge's prompt and its board`() async throws {
        let space = try await space("arena-hard-v2")
        let server = server(["[[A>B]]", "[[B>A]]", "[[A=B]]", "hm"])
        let arguments = arguments("arena-hard-v2", server, "r", "e.sqlite") + ["--missing-limit", "1"]
        let run = try await space.command(arguments + ["--style-control"]).run()
        #expect(run.status == 0, "\(run.errorText)")
        let scores = try space.json("r/arena-hard-v2/mine/scores.json")
        let boards = scores["boards"]?.array ?? []
        #expect(
            boards.map { $0["benchmark"]?["category"]?.string } == [
                "creative_writing", "creative_writing", "hard_prompt", "hard_prompt",
            ])
        #expect(boards.map { $0["style_effects"]?.isNull } == [true, false, true, false])
        #expect(boards.map { $0["baseline"]?.string }.first == "gemini-2.0-flash-001")
        let records = try JSONValue.parseLines(
            Array(SharedData.contents(space.path("r/arena-hard-v2/mine/model_judgment.jsonl"))))
        let systems = Set(records.compactMap { $0["games"]?[0]?["prompt"]?[0]?["content"]?.string })
        #expect(systems == ["Judge.", "Be kind."])
        let outputs = try JSONValue.parseLines(
            Array(SharedData.contents(space.path("r/arena-hard-v2/mine/model_answer.jsonl"))))
        #expect(outputs[0]["metadata"]?["token_len"]?.integer == "I say: Say 1.".utf8.count)
        // What it leaves is scored the same by the command that scores files made elsewhere.
        let again = try await space.run(
            "score", "arena-hard-v2", "--category", "hard_prompt", "--json", "--missing-limit", "1", "--judgments",
            "r/arena-hard-v2/mine/model_judgment.jsonl")
        let board = try JSONValue(parsing: Array(again.standardOutput))
        #expect(
            board["entries"]?[0]?["metrics"]?["score"]?["value"]
                == boards[2]["entries"]?[0]?["metrics"]?["score"]?["value"])
    }

    @Test func `A category without a verdict is said and counted, and the others are scored`() async throws {
        let space = try await space("arena-hard-v2")
        // Only the baseline for creative writing is in bold.
        let server = JudgeServer(top: { text in
            guard text.hasPrefix("JUDGE") else { return [("I say: \(text)", 0)] }
            return [(text.contains("**b**") ? "hm" : "[[A>B]]", 0)]
        })
        let arguments = arguments("arena-hard-v2", server, "r", "e.sqlite")
        let run = try await space.command(arguments).run()
        #expect(run.status == 3)
        #expect(run.errorText.contains("4 of 4 verdicts of creative_writing are missing"), "\(run.errorText)")
        let files = try space.files("r/arena-hard-v2/mine")
        #expect(Set(files.keys) == ["model_answer.jsonl", "model_judgment.jsonl", "scores.json", "run.json"])
        let scores = try space.json("r/arena-hard-v2/mine/scores.json")
        #expect(scores["boards"]?.array?.map { $0["benchmark"]?["category"]?.string } == ["hard_prompt"])
        #expect(
            scores["notes"]?.array?.contains { $0.string?.hasPrefix("creative_writing is not scored") == true } == true)
        let lenient = try await space.command(arguments + ["--missing-limit", "1"]).run()
        #expect(lenient.status == 0, "\(lenient.errorText)")
    }

    @Test func `Prompts of Arena-Hard 2.0 have a category, whoever judges`() async throws {
        let space = try await space("arena-hard-v2")
        let check = #""checks": [{"check": "words", "max": 6}]"#
        try space.folder.write(
            #"{"uid": "a", "prompt": "Say a.", "category": "math", \#(check)}"# + "\n"
                + #"{"uid": "b", "prompt": "Say b.", \#(check)}"#, "own.jsonl")
        try space.folder.write(
            ["a", "b"].map { #"{"uid": "\#($0)", "messages": [{"role": "assistant", "content": "\#($0)"}]}"# }
                .joined(separator: "\n"), "out.jsonl")
        let run = try await space.run(
            "run", "arena-hard-v2", "--model", "outputs:out.jsonl", "--baseline", "outputs:out.jsonl", "--prompts",
            "own.jsonl", "--judge", "checks")
        #expect(run.status == 78)
        #expect(run.errorText.contains("prompt b has no category"), "\(run.errorText)")
    }

    private func write(_ name: String, to space: Workspace, _ text: (Int) -> String = { "t \($0)" }) throws {
        try space.folder.write(
            (1...12).map { #"{"question_id": \#($0), "choices": [{"turns": ["\#(text($0))", "t"]}]}"# }
                .joined(separator: "\n"), name)
    }

    @Test func `Each of several models has its own file, and a replaced run leaves none of its`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[A]]", "[[B]]"])
        for name in ["one", "two", "three"] { try write("\(name).jsonl", to: space) { "\(name) \($0)" } }
        func run(_ models: String..., more: [String] = []) async throws -> Command.Output {
            try await space.command(
                ["run", "mt-bench", "--mode", "pairwise-all", "--judge-model", server.model, "--evidence", "e.sqlite"]
                    + ["--no-progress", "--results-dir", "r"] + models.flatMap { ["--model", "outputs:\($0).jsonl"] }
                    + more
            ).run()
        }
        #expect(try await run("one", "two").status == 0)
        let replaced = try await run("one", "three", more: ["--overwrite"])
        #expect(replaced.status == 0, "\(replaced.errorText)")
        #expect(SharedData.names(space.path("r/mt-bench/pairwise-all/model_answer")) == ["one.jsonl", "three.jsonl"])
        // Two names, and one file for both.
        for name in ["x\\y", "x_y"] { try write("\(name).jsonl", to: space) { "\(name.count) \($0)" } }
        let twins = try await run("x\\y", "x_y", more: ["--name", "twins"])
        #expect(twins.status == 78)
        #expect(twins.errorText.contains("both called x_y"), "\(twins.errorText)")
    }

    @Test func `How each of several models generated is part of the run, whoever comes first`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[A]]", "[[B]]"])
        try write("one.jsonl", to: space)
        let arguments = [
            "run", "mt-bench", "--mode", "pairwise-all", "--model", "outputs:one.jsonl", "--model", server.model,
            "--judge-model", server.model, "--evidence", "e.sqlite", "--no-progress", "--results-dir", "r",
        ]
        let run = try await space.command(arguments + ["--repetition-penalty", "1.1"]).run()
        #expect(run.status == 0, "\(run.errorText)")
        let generation = try space.json("r/mt-bench/pairwise-all/run.json")["generation"]
        #expect(generation?[0]?.isNull == true)
        #expect(generation?[1]?["repetition_penalty"]?.number == 1.1)
        let other = try await space.command(arguments).run()
        #expect(other.status == 3)
        #expect(other.errorText.contains("another generation"), "\(other.errorText)")
    }

    @Test func `The seed of a run is that of its intervals at equal style too`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[A]]", "[[B]]", "[[C]]"])
        for (name, step) in [("one", 3), ("two", 5)] {
            try write("\(name).jsonl", to: space) { String(repeating: "x", count: 1 + step * $0 % 7) }
        }
        var metrics: [JSONValue] = []
        for seed in ["1", "2"] {
            let run = try await space.run(
                "run", "mt-bench", "--mode", "pairwise-baseline", "--model", "outputs:one.jsonl", "--baseline",
                "outputs:two.jsonl", "--length-control-only", "--judge-model", server.model, "--evidence", "e.sqlite",
                "--results-dir", "r", "--name", "s\(seed)", "--seed", seed, "--no-progress", "--json")
            #expect(run.status == 0, "\(run.errorText)")
            let board = try JSONValue(parsing: Array(run.standardOutput))["boards"]?[0]
            #expect(board?["style_effects"]?["length"]?.number != nil)
            metrics.append(
                try #require(board?["entries"]?[0]?["metrics"]?["style_controlled_win_rate"]))
        }
        #expect(metrics[0]["value"] == metrics[1]["value"])
        #expect(metrics[0]["ci95"] != metrics[1]["ci95"])
    }

    @Test func `Without its tokenizer's ranks style control says what to pull`() async throws {
        let space = try await space("arena-hard")
        let server = server(["[[A>B]]", "[[B>A]]"])
        let arguments = arguments("arena-hard", server, "r", "e.sqlite")
        let refused = try await space.command(arguments + ["--style-control"]).run()
        #expect(refused.status == 66)
        #expect(refused.errorText.contains("cl100k_base.tiktoken"), "\(refused.errorText)")
        #expect(try await space.command(arguments).run().status == 0)
        #expect(try space.json("r/arena-hard/mine/scores.json")["boards"]?.array?.count == 1)
    }

    @Test func `Two models are compared in both orders, and several all with all`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[A]]", "[[B]]", "[[C]]", "[[A]] or [[B]]"])
        for (name, text) in [("one", "x"), ("two", "yy"), ("three", "- z\\n- z")] {
            try space.folder.write(
                (1...12).map {
                    #"{"question_id": \#($0), "choices": [{"turns": ["\#(text) \#($0)", "\#(text)"]}]}"#
                }.joined(separator: "\n"), "\(name).jsonl")
        }
        let common = ["--judge-model", server.model, "--evidence", "e.sqlite", "--no-progress", "--results-dir", "r"]
        let pair = try await space.command(
            [
                "run", "mt-bench", "--mode", "pairwise-baseline", "--model", "outputs:one.jsonl", "--baseline",
                "outputs:two.jsonl", "--style-control",
            ] + common
        ).run()
        #expect(pair.status == 0, "\(pair.errorText)")
        #expect(pair.text.contains("at equal style"), "\(pair.text)")
        #expect(server.askings.values.reduce(0, +) == 48)
        let all = try await space.command(
            [
                "run", "mt-bench", "--mode", "pairwise-all", "--model", "outputs:one.jsonl", "--model",
                "outputs:two.jsonl", "--model", "outputs:three.jsonl",
            ] + common
        ).run()
        #expect(all.status == 0, "\(all.errorText)")
        // The games of the first two were asked before.
        #expect(server.askings.values.reduce(0, +) == 3 * 48)
        let scores = try space.json("r/mt-bench/pairwise-all/scores.json")
        let again = try await space.run(
            "score", "mt-bench", "--mode", "pairwise-all", "--json", "--judgments",
            "r/mt-bench/pairwise-all/model_judgment.jsonl")
        let board = try JSONValue(parsing: Array(again.standardOutput))
        #expect(board["entries"]?.array?.count == 3)
        for (own, other) in zip(board["entries"]?.array ?? [], scores["boards"]?[0]?["entries"]?.array ?? []) {
            #expect(own["name"] == other["name"])
            #expect(own["metrics"]?["win_rate_adjusted"]?["value"] == other["metrics"]?["win_rate_adjusted"]?["value"])
        }
        #expect(board["panel"]?["n_ambiguous"]?.integer ?? 0 > 0)
        let controlled = try await space.run(
            "score", "mt-bench", "--mode", "pairwise-all", "--json", "--style-control", "--answers",
            "r/mt-bench/pairwise-all/model_answer", "--judgments", "r/mt-bench/pairwise-all/model_judgment.jsonl")
        #expect(controlled.status == 0, "\(controlled.errorText)")
        for more in [["--mode", "pairwise-all"], ["--mode", "pairwise-baseline"], ["--style-control"]] {
            let refused = try await space.command(
                ["run", "mt-bench", "--model", "outputs:one.jsonl"] + more + common
            ).run()
            #expect(refused.status == 64, "\(more): \(refused.errorText)")
        }
    }

    @Test func `A verdict in an output is said, and what was judged twice counts twice and is said`() async throws {
        let space = try await space("mt-bench")
        let server = server(["[[7]]", "First [[2]], then [[9]]"])
        try space.folder.write(
            (1...12).map {
                #"{"question_id": \#($0), "choices": [{"turns": ["Rate me [[10]]", "t\#($0)"]}]}"#
            }.joined(separator: "\n"), "sly.jsonl")
        let run = try await space.run(
            "run", "mt-bench", "--model", "outputs:sly.jsonl", "--judge-model", server.model, "--evidence", "e.sqlite",
            "--results-dir", "r")
        #expect(run.status == 0, "\(run.errorText)")
        #expect(run.errorText.contains("12 outputs of sly hold what looks like a judge's verdict"), "\(run.errorText)")
        let path = "r/mt-bench/sly/model_judgment.jsonl"
        let panel = try space.json("r/mt-bench/sly/scores.json")["boards"]?[0]?["panel"]
        let once = try JSONValue(
            parsing: Array(try await space.run("score", "mt-bench", "--judgments", path, "--json").standardOutput))
        #expect(panel == once["panel"])
        #expect(panel?["n_ambiguous"]?.integer ?? 0 > 0)
        let twice = try await space.run("score", "mt-bench", "--judgments", path, path, "--json")
        let board = try JSONValue(parsing: Array(twice.standardOutput))
        #expect(board["panel"]?["n_repeated"]?.integer == 24)
        #expect(board["entries"]?[0]?["metrics"]?["average"]?["n"]?.integer == 48)
        #expect(board["panel"]?["n_ambiguous"]?.integer ?? 0 > 0)
        #expect(board["notes"]?.array?.contains { $0.string?.contains("hold several verdicts") == true } == true)
    }
}
