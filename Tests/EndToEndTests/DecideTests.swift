import Chat
import Foundation
import TestSupport
import Testing

/// From runs to decisions, by the built program: compare, gate, audit, report, leaderboard, estimate.
struct DecideTests {
    private let space: Workspace

    /// Two runs of one judge, who prefers what is longer.
    init() async throws {
        space = try Workspace()
        try space.writeStudy(prompts: 60)
        try write("short") { "\($0)" }
        try write("long") {
            "The subject number \($0) is described here at some length\(String(repeating: ", and on", count: $0 % 9))."
        }
        for name in ["short", "long"] { #expect(try await run(name).status == 0) }
    }

    private func write(_ name: String, _ output: (Int) -> String) throws {
        let records = (0..<60).map { index -> JSONValue in
            [
                "instruction": .string("Task \(index): say something about the number \(index)."),
                "output": .string(output(index)), "generator": .string(name),
            ]
        }
        try space.folder.write(JSONValue.array(records).text(), "\(name).json")
        let annotations = (0..<60).map { index -> JSONValue in
            let preference = name == "long" ? 1.55 + 0.4 * Double(index % 2) : 1.1 + 0.3 * Double(index % 3)
            return [
                "instruction": .string("Task \(index): say something about the number \(index)."),
                "output_1": .string("The number \(index)\(String(repeating: " is a number", count: index % 7))."),
                "generator_1": "own-baseline", "output_2": .string(output(index)), "generator_2": .string(name),
                "annotator": "a", "preference": .number(preference),
            ]
        }
        try space.folder.write(JSONValue.array(annotations).text(), "\(name).annotations.json")
    }

    private func run(_ name: String, _ more: String...) async throws -> Command.Output {
        try await space.command(
            [
                "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:\(name).json", "--judge",
                "annotations:\(name).annotations.json", "--resamples", "200",
            ] + more
        ).run()
    }

    private func runs(_ names: String...) -> [String] { names.map { "results/alpacaeval/\($0)" } }

    @Test func `Two runs are compared, from folders or from annotations alike`() async throws {
        let own = try await space.command(["compare"] + runs("long", "short") + ["--json"]).run()
        #expect(own.status == 0, "\(own.errorText)")
        let found = try #require(try JSONValue(parsing: own.standardOutput)["comparisons"]?[0])
        #expect(found["metrics"]?[0]?["verdict"] == "first")
        #expect((found["metrics"]?[0]?["delta"]?.number ?? 0) > 30)
        let files = try await space.run(
            "compare", "long.annotations.json", "short.annotations.json", "--json", "--no-length-control")
        #expect(files.status == 0, "\(files.errorText)")
        let other = try JSONValue(parsing: files.standardOutput)["comparisons"]?[0]
        for key in ["first", "second", "delta", "ci95", "p", "p_permutation", "n"] {
            #expect(other?["metrics"]?[0]?[key] == found["metrics"]?[0]?[key], "\(key)")
        }
        let why = try await space.command(["compare", "--why"] + runs("long", "short")).run()
        #expect(why.outputText.contains("model fingerprint") && why.errorText.contains("60 of 60 common prompts"))
    }

    @Test func `Runs of other judges are not compared`() async throws {
        let text = try String(contentsOfFile: space.path("short.annotations.json"), encoding: .utf8)
        try space.folder.write(
            text.replacing("\"annotator\":\"a\"", with: "\"annotator\":\"b\""), "other.annotations.json")
        let refused = try await space.run("compare", "long.annotations.json", "other.annotations.json")
        #expect(refused.status == 3 && refused.errorText.contains("judge"), "\(refused.errorText)")
        #expect(
            try await space.run("compare", "long.annotations.json", "other.annotations.json", "--mixed").status == 0)
        #expect(try await space.run("compare", "long.annotations.json").status == 64)
        #expect(try await space.run("compare", "long.annotations.json", "nowhere.json").status == 66)
    }

    @Test func `A gate passes, fails and refuses by its exit code, and leaves its reports`() async throws {
        let policy = "benchmark: alpacaeval\nrules: [{metric: win_rate, margin: 3}]\nrefuse_flags: false\n"
        try space.folder.write(policy, "gate.yaml")
        for (candidate, baseline, code) in [("long", "short", Int32(0)), ("short", "long", 1), ("long", "long", 2)] {
            let saved = try await space.run("gate", "save", "results/alpacaeval/\(baseline)", "-o", "baseline.json")
            #expect(saved.status == 0, "\(saved.errorText)")
            let gate = try await space.command(
                [
                    "gate", "results/alpacaeval/\(candidate)", "--policy", "gate.yaml", "--against", "baseline.json",
                    "--junit", "junit.xml", "--outcome", "gate.json",
                ], environment: ["GITHUB_STEP_SUMMARY": space.path("summary.md"), "GITHUB_ACTIONS": "true"]
            ).run()
            #expect(gate.status == code, "\(gate.errorText)")
            #expect(try space.json("gate.json")["exit_code"]?.integer == Int(code))
            #expect(gate.errorText.contains("::error") == (code == 1))
            // A run against itself: 60 prompts are too few to rule out rare and great falls.
            let isOpen = gate.errorText.contains("60 prompts rule out a fall of 4.87 only")
            #expect(isOpen == (code == 2), "\(gate.errorText)")
        }
        let summary = try String(contentsOfFile: space.path("summary.md"), encoding: .utf8)
        #expect(summary.components(separatedBy: "## evalharness alpacaeval").count == 4)
        #expect(SharedData.exists(space.path("junit.xml")))
        try space.folder.write(policy.replacing("alpacaeval", with: "mt-bench"), "other.yaml")
        let refused = try await space.run(
            "gate", "results/alpacaeval/long", "--policy", "other.yaml", "--against", "baseline.json")
        #expect(refused.status == 3, "\(refused.errorText)")
    }

    @Test func `A sequential gate asks no more than it must, and in the order of its seed`() async throws {
        try space.folder.write(
            "benchmark: alpacaeval\nrules: [{metric: win_rate, margin: 3}]\nrequire_same: [prompts]\nrefuse_flags: false\n"
                + "sequential: {seed: 3, batch: 5}\n", "gate.yaml")
        let server = JudgeServer()
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}")
        let arguments = [
            "gate", "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:short.json", "--judge",
            "judges/own", "--judge-model", server.model, "--policy", "gate.yaml", "--against",
            "results/alpacaeval/long",
            "--json",
        ]
        let estimate = try await space.command(arguments + ["--dry-run"]).run()
        #expect(estimate.status == 0 && server.bodies.isEmpty, "\(estimate.errorText)")
        let gate = try await space.command(arguments).run()
        #expect([0, 1, 2].contains(gate.status), "\(gate.errorText)")
        let saving = try #require(try JSONValue(parsing: gate.standardOutput)["saving"])
        let prompts = try #require(saving["prompts"]?.integer)
        #expect(prompts >= 50 && prompts <= 60)
        #expect(server.bodies.count == 2 * prompts)
        // The same again costs nothing.
        #expect(try await space.command(arguments).run().standardOutput == gate.standardOutput)
        #expect(server.bodies.count == 2 * prompts)
    }

    @Test func `A gate that runs the whole benchmark has its own limit of missing verdicts, and prints one document`()
        async throws
    {
        // About every fourth reply is no verdict.
        let server = JudgeServer(top: { text in
            Digest.sha256(text).utf8.first! % 4 == 0 ? [("neither", 1)] : JudgeServer.weights(text)
        })
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}")
        for (limit, code) in [("0.9", [Int32(0), 1, 2]), ("0.01", [3])] {
            try space.folder.write(
                "benchmark: alpacaeval\nrules: [{metric: win_rate, margin: 3}]\nrequire_same: [prompts]\nrefuse_flags: false\n"
                    + "missing_limit: \(limit)\n", "gate.yaml")
            let gate = try await space.run(
                "gate", "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:short.json", "--judge",
                "judges/own", "--judge-model", server.model, "--name", "gated", "--policy", "gate.yaml", "--against",
                "results/alpacaeval/long", "--json", "--junit", "junit.xml")
            #expect(code.contains(gate.status), "\(gate.errorText)")
            #expect(try JSONValue(parsing: gate.standardOutput)["schema"]?.string == "evalharness.gate/1")
            #expect(SharedData.exists(space.path("junit.xml")))
        }
    }

    @Test func `An audit flags a constant model by its exit code`() async throws {
        try write("constant") { _ in "I am the best answer to whatever was asked, and nobody can say otherwise." }
        #expect(try await space.run("audit", "constant.json").status == 3)
        let fine = try await space.run("audit", "long.json", "results/alpacaeval/long", "--json")
        #expect(try JSONValue(parsing: fine.standardOutput)["audits"]?.array?.count == 2)
        #expect(try await space.run("audit", "prompts.yaml").status == 66)
        #expect(try await run("constant").errorText.contains("flag: constant"))
        #expect(try space.json("results/alpacaeval/constant/scores.json")["integrity"]?["flags"]?[0] != nil)
    }

    @Test func `A report is one file that holds every prompt, and its runs side by side`() async throws {
        let report = try await space.command(
            ["report", "results/alpacaeval/long", "--compare", "results/alpacaeval/short", "-o", "r.html"]
        ).run()
        #expect(report.status == 0, "\(report.errorText)")
        let html = try String(contentsOfFile: space.path("r.html"), encoding: .utf8)
        #expect(html.components(separatedBy: "<details>").count == 61)
        #expect(html.contains("Pairwise") && html.contains("Provenance") && !html.contains("<script"))
    }

    @Test func `A leaderboard has its pairs, and goes out in every format`() async throws {
        let built = try await space.run("leaderboard", "build", "results/alpacaeval", "-o", "l.json")
        #expect(built.status == 0, "\(built.errorText)")
        let pairs = try #require(try space.json("l.json")["pairwise"]?.array)
        #expect(pairs.contains { $0["metric"] == "win_rate" && $0["a"] == "long" && $0["b"] == "short" })
        for (format, words) in [
            ("alpaca-csv", "length_controlled_winrate"), ("html", "Leaderboard of alpacaeval"),
        ] {
            let exported = try await space.run("leaderboard", "export", "l.json", "--as", format)
            #expect(exported.outputText.contains(words), "\(format): \(exported.errorText)")
        }
        #expect(try await space.run("leaderboard", "export", "l.json", "--as", "model-index").status == 78)
        let card = try await space.run("leaderboard", "export", "l.json", "--as", "model-index", "--name", "long")
        let index = try JSONValue(parsing: card.standardOutput)["model-index"]?[0]
        #expect(index?["results"]?[0]?["metrics"]?.array?.isEmpty == false)
        for _ in 0..<2 {
            let records = try await space.run("leaderboard", "export", "l.json", "--as", "every-eval-ever", "-o", "eee")
            #expect(records.status == 0, "\(records.errorText)")
        }
        let folder = "eee/data/alpaca_eval_v2/unknown/long"
        let files = SharedData.names(space.path(folder))
        #expect(files.count == 1, "the same run has the same file")
        let record = try space.json("\(folder)/\(files[0])")
        #expect(record["schema_version"] == "0.3.0" && record["evaluation_results"]?.array?.isEmpty == false)
    }

    @Test func `An estimate asks nobody, and knows no price that nobody told it`() async throws {
        let server = JudgeServer()
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}")
        func estimate(_ more: String...) async throws -> JSONValue {
            let output = try await space.command(
                [
                    "estimate", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:long.json", "--judge",
                    "judges/own", "--judge-model", server.model, "--json",
                ] + more
            ).run()
            #expect(output.status == 0, "\(output.errorText)")
            return try JSONValue(parsing: output.standardOutput)
        }
        let unknown = try await estimate()
        #expect(unknown["judge_calls"]?.integer == 120 && unknown["usd_at_most"]?.isNull == true)
        try space.folder.write(
            "as_of: \"2026-01-01\"\nmodels:\n  \(server.model): {input_per_million: 1, output_per_million: 2}\n",
            "prices.yaml")
        let known = try await estimate("--prices", "prices.yaml", "--canary", "0.1")
        #expect(known["judge_calls"]?.integer == 132)
        let bytes = try #require(known["parts"]?[0]?["input_bytes"]?.integer)
        let cost = (Double(bytes) + 2 * Double(132 * 8)) / 1e6
        #expect(abs((known["usd_at_most"]?.number ?? 0) - cost) < 1e-9)
        #expect(server.bodies.isEmpty)
    }

    @Test func `The spend limit holds for the model under test and its judge together`() async throws {
        let server = JudgeServer()
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}")
        try space.folder.write(
            "as_of: \"2026-01-01\"\nmodels:\n  \(server.model): {input_per_million: 1, output_per_million: 1}\n",
            "prices.yaml")
        func run(_ limit: String, _ more: String...) async throws -> Command.Output {
            try await space.command(
                [
                    "run", "alpacaeval", "--prompts", "prompts.json", "--model", server.model, "--judge", "judges/own",
                    "--judge-model", server.model, "--name", "spent", "--max-tokens", "4", "--missing-limit", "1",
                    "--resamples", "0", "--max-cost", limit,
                ] + more
            ).run()
        }
        // No price, no limit to keep.
        #expect(try await run("1").status == 78)
        #expect(server.bodies.isEmpty)
        // A limit in the middle of the judging: the outputs are paid for, and count.
        let stopped = try await run("0.006", "--prices", "prices.yaml")
        #expect(stopped.status == 75, "\(stopped.errorText)")
        let asked = server.bodies.count
        #expect(asked > 0 && asked < 180)
        let whole = try await run("1", "--prices", "prices.yaml")
        #expect(whole.status == 0, "\(whole.errorText)")
        #expect(server.bodies.count == 180)
    }

    @Test func `The doctor names what is missing and the command that mends it`() async throws {
        let found = try await space.command(["doctor"], environment: ["OPENAI_API_KEY": "sk-secret"]).run()
        #expect(found.status == 0, "\(found.errorText)")
        #expect(found.outputText.contains("evalharness dataset pull alpacaeval"))
        #expect(found.outputText.contains("ok       OPENAI_API_KEY") && !found.outputText.contains("sk-secret"))
    }

    @Test func `A canary is judged beside the run, and its share of wins stands in the scores`() async throws {
        let server = JudgeServer()
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}")
        let run = try await space.command([
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:long.json", "--judge", "judges/own",
            "--judge-model", server.model, "--canary", "0.2", "--name", "canary", "--resamples", "0",
            "--missing-limit", "1",
        ]).run()
        #expect(run.status == 0, "\(run.errorText)")
        let canary = try space.json("results/alpacaeval/canary/scores.json")["integrity"]?["shuffle_canary"]
        #expect((canary?["n"]?.integer ?? 0) + (canary?["n_missing"]?.integer ?? 0) == 12)
        #expect(server.bodies.count == 144)
        #expect(try await self.run("long", "--canary", "0.2", "--name", "other").status == 78)
    }
}

/// The same of benchmarks whose scores are upstream's own.
struct DecideConversationsTests {
    private let space: Workspace

    init() async throws { space = try Workspace() }

    @Test(arguments: [("mt-bench", "average"), ("arena-hard", "win_rate")])
    func `Runs of MT-Bench and Arena-Hard are compared, gated and reported as any other`(
        benchmark: String, metric: String
    ) async throws {
        for (name, seed) in [("one", "1"), ("two", "2")] {
            let run = try await space.run("run", benchmark, "--name", name, "--seed", seed, "--limit", "60")
            #expect(run.status == 0, "\(run.errorText)")
        }
        let folders = ["one", "two"].map { "results/\(benchmark)/\($0)" }
        let compared = try await space.command(["compare"] + folders + ["--json"]).run()
        #expect(compared.status == 0, "\(compared.errorText)")
        let found = try JSONValue(parsing: compared.standardOutput)["comparisons"]?[0]?["metrics"]?[0]
        #expect(found?["metric"]?.string == metric && found?["n"]?.integer == 60)
        try space.folder.write(
            "benchmark: \(benchmark)\nrules: [{metric: \(metric), margin: 50}]\n", "gate.yaml")
        let gate = try await space.run("gate", folders[0], "--policy", "gate.yaml", "--against", folders[1])
        #expect(gate.status == 0, "\(gate.errorText)")
        let report = try await space.run("report", folders[0], "-o", "r.html")
        #expect(report.status == 0, "\(report.errorText)")
        let html = try String(contentsOfFile: space.path("r.html"), encoding: .utf8)
        #expect(html.components(separatedBy: "<details>").count > 60)
    }
}
