import Chat
import Foundation
import TestSupport
import Testing

/// The first run of a newcomer: nothing is named, and nothing is fetched.
@Suite struct StarterTests {
    private static let files = ["model_outputs.json", "annotations.json", "scores.json", "run.json", "report.html"]

    private func contents(_ space: Workspace) throws -> [Data] {
        try Self.files.map {
            try Data(contentsOf: URL(fileURLWithPath: space.path("results/alpacaeval/starter-simpo/\($0)")))
        }
    }

    @Test func `Without a word it compares the starter models, and better ones win`() async throws {
        let space = try Workspace()
        let run = try await space.run("run", "alpacaeval")
        #expect(run.status == 0, "\(run.errorText)")
        for words in [
            "starter-simpo against starter-sft on 300 prompts, judged by checks", "80 % power", "report.html", "next: ",
        ] {
            #expect(run.errorText.contains(words), "\(run.errorText)")
        }
        let scores = try space.json("results/alpacaeval/starter-simpo/scores.json")
        for metric in ["win_rate", "length_controlled_winrate"] {
            let lower = try #require(scores["metrics"]?[metric]?["ci95"]?[0]?.number)
            #expect(lower > 50, "\(metric)")
        }
        // Elsewhere, with empty caches and another number of threads: the same bytes.
        let other = try Workspace()
        #expect(try await other.run("run", "alpacaeval", "--threads", "1").status == 0)
        #expect(try contents(other) == contents(space))
    }

    @Test func `A model of one's own is compared to the starter's`() async throws {
        let space = try Workspace()
        let home = SharedData.packageRoot
        let run = try await space.run(
            "run", "alpacaeval", "--prompts", "\(home)/benchmarks/alpacaeval/starter/prompts.jsonl", "--judge",
            "checks",
            "--baseline", "\(home)/recipes/starter/models/starter-sft", "--model",
            "\(home)/recipes/starter/models/starter-dpo", "--limit", "40", "--max-tokens", "96")
        #expect(run.status == 0, "\(run.errorText)")
        #expect(run.errorText.contains("starter-dpo against starter-sft on 40 prompts"), "\(run.errorText)")
    }

    @Test func `A study trains every recipe that is named, and says what came out`() async throws {
        let space = try Workspace()
        for name in ["sft", "simpo", "dpo"] {
            let recipe = try String(
                contentsOfFile: "\(SharedData.packageRoot)/recipes/starter/\(name).yaml", encoding: .utf8)
            try space.folder.write(recipe + "max_steps: 3\n", "recipes/\(name).yaml")
        }
        let arguments = [
            "study", "--output", space.path("study"), "--recipes", space.path("recipes"), "--seeds", "1", "2",
            "--demonstrations", "400", "--sampled", "20", "--json",
        ]
        let first = try await space.command(arguments).run()
        #expect(first.status == 0, "\(first.errorText)")
        let found = try JSONValue(parsing: Array(first.standardOutput))
        #expect(found["methods"]?.array?.map { $0["method"] } == ["sft", "dpo", "simpo"])
        let overDPO = try #require(found["methods"]?[2]?["over_dpo"])
        #expect(overDPO["win_rate_by_seed"]?.array?.count == 2)
        // What is computed here from the files is what each comparison's own score says, seed by seed.
        let values = try ["1", "2"].map { seed in
            let scores = try space.json("study/against-dpo/alpacaeval/simpo-\(seed)/scores.json")
            return try #require(scores["metrics"]?["win_rate"]?["value"]?.number)
        }
        #expect(abs((values[0] + values[1]) / 2 - (overDPO["win_rate"]?["value"]?.number ?? 0)) < 1e-9)
        #expect(overDPO["length_controlled_winrate"]?["ci95"]?.array?.count == 2)
        #expect(found["methods"]?[2]?["analyses"]?.array?.count == 2)
        #expect(found["methods"]?[1]?["seconds"]?.array?.count == 2)
        // What is there is not made again.
        let log = try String(contentsOfFile: space.path("study/logs/sft.log"), encoding: .utf8)
        let second = try await space.command(arguments).run()
        #expect(second.standardOutput == first.standardOutput)
        #expect(!second.errorText.contains("simpo-1"))
        #expect(try String(contentsOfFile: space.path("study/logs/sft.log"), encoding: .utf8) == log)
        // Nor is it taken for what other settings would have made.
        let other = try await space.command(arguments.map { $0 == "400" ? "410" : $0 }).run()
        #expect(other.status == 78)
        #expect(other.errorText.contains("with other settings"), "\(other.errorText)")
        let recipe = try String(contentsOfFile: space.path("recipes/dpo.yaml"), encoding: .utf8)
        try space.folder.write(recipe.replacing("beta: 0.3", with: "beta: 0.4"), "recipes/dpo.yaml")
        let tuned = try await space.command(arguments).run()
        #expect(tuned.status == 78)
        #expect(tuned.errorText.contains("The step dpo-1"), "\(tuned.errorText)")
    }

    @Test func `The judge by checks refuses prompts without any`() async throws {
        let space = try Workspace()
        try space.folder.write(#"{"instruction": "a", "output": "b"}"# + "\n", "prompts.jsonl")
        let run = try await space.run(
            "run", "alpacaeval", "--prompts", "prompts.jsonl", "--judge", "checks", "--baseline", "outputs:none.json",
            "--model", "outputs:none.json", "--name", "x")
        #expect(run.status == 78)
        #expect(run.errorText.contains("needs prompts with checks"), "\(run.errorText)")
    }
}
