import Chat
import Foundation
import TestSupport
import Testing

/// What one machine began, or several did at once, comes out as if one had done it all.
@Suite struct ScaleTests {
    private let space: Workspace

    init() throws {
        space = try Workspace()
        try space.writeStudy(prompts: 60)
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}", order: "{kind: seeded_random, seed: 0}")
    }

    private func run(_ model: String, judge: String, results: String, _ more: String...) async throws -> Command.Output
    {
        try await space.command(
            [
                "run", "alpacaeval", "--prompts", "prompts.json", "--model", model, "--judge", "judges/own",
                "--judge-model", judge, "--results-dir", results, "--no-progress", "--resamples", "100",
            ] + more
        ).run()
    }

    @Test(
        "Shares that ran apart, their evidence imported into one store, give the files of a run that was never shared")
    func shards() async throws {
        let server = JudgeServer()
        let model = "exec:\(try space.writeProgram("An answer of the program."))"
        let whole = try await run(model, judge: server.model, results: "whole", "--evidence", "whole.sqlite")
        #expect(whole.status == 0, "\(whole.errorText)")
        #expect(server.bodies.count == 60)

        for share in 1...3 {
            let evidence = ["--evidence", "share\(share).sqlite"]
            let part = try await space.command(
                [
                    "run", "alpacaeval", "--prompts", "prompts.json", "--model", model, "--judge", "judges/own",
                    "--judge-model", server.model, "--results-dir", "share\(share)", "--no-progress",
                    "--resamples", "0", "--shard", "\(share)/3",
                ] + evidence
            ).run()
            #expect(part.status == 0, "\(part.errorText)")
            let export = try await space.command(["evidence", "export", "-o", "share\(share).jsonl"] + evidence).run()
            #expect(export.status == 0, "\(export.errorText)")
        }
        #expect(server.bodies.count == 120, "each prompt was in one share")

        let imported = try await space.run(
            "evidence", "import", "share1.jsonl", "share2.jsonl", "share3.jsonl", "--evidence", "merged.sqlite")
        #expect(
            imported.text == (1...3).map { "share\($0).jsonl: 40 records, 40 new\n" }.joined(), "\(imported.errorText)")
        let merged = try await run(
            model, judge: server.model, results: "merged", "--evidence", "merged.sqlite", "--offline")
        #expect(merged.status == 0, "\(merged.errorText)")
        #expect(server.bodies.count == 120, "nothing is asked again")
        let files = try space.files("merged/alpacaeval/judge.sh")
        #expect(try files.count == 5 && files == space.files("whole/alpacaeval/judge.sh"))
    }

    @Test("A share's results are not taken for the whole run's")
    func sharesAreNotTheWhole() async throws {
        let server = JudgeServer()
        let share = try await run("outputs:outputs.json", judge: server.model, results: "r", "--shard", "2/3")
        #expect(share.status == 0, "\(share.errorText)")
        let whole = try await run("outputs:outputs.json", judge: server.model, results: "r")
        #expect(whole.status == 3 && whole.errorText.contains("another selection of prompts"), "\(whole.errorText)")
        #expect(try await run("outputs:outputs.json", judge: server.model, results: "r", "--overwrite").status == 0)
    }

    @Test("A run goes on with other servers of the same model: nothing is asked again, the bytes are the same")
    func replicas() async throws {
        // The first answers nothing before the second was asked; the time only ends a failing test.
        let secondWasAsked = DispatchSemaphore(value: 0)
        let first = JudgeServer(rude: { _, _, _ in
            if secondWasAsked.wait(timeout: .now() + 60) == .success { secondWasAsked.signal() }
            return false
        })
        let second = JudgeServer(rude: { _, _, _ in
            secondWasAsked.signal()
            return false
        })
        let list = [first.baseURL, second.baseURL]
        let judge = "openai-compatible:mock@"
        let outputs = "outputs:outputs.json"
        let both = try await run(outputs, judge: judge + list.joined(separator: ","), results: "both")
        #expect(both.status == 0, "\(both.errorText)")
        #expect(first.bodies.count + second.bodies.count == 60)
        #expect(!first.bodies.isEmpty && !second.bodies.isEmpty, "both had their part")
        let files = try space.files("both/alpacaeval/own-model")
        #expect(files.count == 5)

        for (name, urls) in [
            ("reversed", list.reversed()), ("third", ["http://127.0.0.1:1/v1"] + list), ("one", [list[1], list[1]]),
        ] {
            let again = try await run(outputs, judge: judge + urls.joined(separator: ","), results: name)
            #expect(again.status == 0, "\(again.errorText)")
            #expect(try space.files("\(name)/alpacaeval/own-model") == files)
        }
        #expect(first.bodies.count + second.bodies.count == 60, "nothing is asked again")
        let single = try await run(outputs, judge: judge + list[0], results: "single", "--offline")
        #expect(single.status == 66, "one address alone is a model of its own")
    }

    @Test("A run whose second server is down from the start lacks nothing")
    func oneServerDown() async throws {
        let server = JudgeServer()
        let output = try await run(
            "outputs:outputs.json", judge: "openai-compatible:mock@http://127.0.0.1:1/v1,\(server.baseURL)",
            results: "results", "--attempts", "1")
        #expect(output.status == 0, "\(output.errorText)")
        #expect(server.askings.count == 60)
        let score = try space.json("results/alpacaeval/own-model/scores.json")
        #expect(score["missing"]?.object?.members.allSatisfy { $0.value.integer == 0 } == true)
    }

    @Test("Leaderboards of several machines merge into the one that a single machine would have built")
    func leaderboards() async throws {
        let server = JudgeServer()
        for (name, folder) in [("first", "here"), ("second", "here"), ("third", "there")] {
            try space.writeStudy(prompts: 60, outputs: name == "second" ? 58 : 60)
            let output = try await run(
                "outputs:outputs.json", judge: server.model, results: folder, "--name", name)
            #expect(output.status == 0, "\(output.errorText)")
        }
        let limit = ["--missing-limit", "0.5"]
        for (folders, file) in [(["here"], "here"), (["there"], "there"), (["here", "there"], "all")] {
            let built = try await space.command(
                ["leaderboard", "build", "--no-pairwise"] + folders.map { "\($0)/alpacaeval" }
                    + ["-o", "\(file).json"] + limit
            ).run()
            #expect(built.status == 0, "\(built.errorText)")
        }
        let merged = try await space.run("leaderboard", "merge", "there.json", "here.json", "-o", "merged.json")
        #expect(merged.status == 0 && merged.text.contains("third"), "\(merged.errorText)")
        for kind in ["json", "csv"] {
            #expect(bytes("merged.\(kind)") != nil && bytes("merged.\(kind)") == bytes("all.\(kind)"))
        }

        let other = try await run("outputs:outputs.json", judge: server.model, results: "other", "--limit", "30")
        #expect(other.status == 0, "\(other.errorText)")
        #expect(try await space.run("leaderboard", "build", "other/alpacaeval", "-o", "other.json").status == 0)
        let refused = try await space.run("leaderboard", "merge", "here.json", "other.json", "-o", "wrong.json")
        #expect(refused.status == 3 && refused.errorText.contains("number of prompts"), "\(refused.errorText)")
        #expect(bytes("wrong.json") == nil)
        #expect(try await space.run("leaderboard", "merge", "here.json", "nowhere.json").status == 66)
        #expect(try await space.run("leaderboard", "merge", "here.json", "prompts.json").status == 65)
    }

    private func bytes(_ name: String) -> Data? { FileManager.default.contents(atPath: space.path(name)) }
}
