import Chat
import Foundation
import TestSupport
import Testing

/// One clear sentence, the promised exit code, and nothing lost.
@Suite struct BadInputTests {
    private let space: Workspace

    init() throws {
        space = try Workspace()
        try space.writeStudy(prompts: 4)
        try space.writeJudge(Workspace.labels)
    }

    private func expect(
        _ status: Int32, _ words: [String], _ arguments: [String], environment: [String: String] = [:],
        at location: SourceLocation = #_sourceLocation
    ) async throws {
        let output = try await space.command(arguments, environment: environment).run()
        #expect(output.status == status, "\(output.errorText)", sourceLocation: location)
        for word in words {
            #expect(output.errorText.contains(word), "\(word): \(output.errorText)", sourceLocation: location)
        }
        if status != 64 {
            #expect(output.errorText.hasPrefix("evalharness: "), "\(output.errorText)", sourceLocation: location)
            #expect(output.errorText.split(separator: "\n").count == 1, "\(output.errorText)", sourceLocation: location)
        }
        #expect(!SharedData.exists(space.path("results/alpacaeval/own-model/scores.json")), sourceLocation: location)
    }

    private func run(_ extra: String..., outputs: String = "outputs.json", prompts: String = "prompts.json") -> [String]
    {
        [
            "run", "alpacaeval", "--prompts", prompts, "--model", "outputs:\(outputs)", "--judge", "judges/own",
            "--no-progress",
        ]
            + extra
    }

    @Test("A file that is not there is named, with exit 66")
    func absentFiles() async throws {
        try await expect(66, ["none.json", "no such file"], run(outputs: "none.json"))
        try await expect(66, ["none.json", "prompts"], run(prompts: "none.json"))
        try await expect(66, ["folder"], run(outputs: "judges"))
        try await expect(66, ["dataset pull alpacaeval"], ["run", "alpacaeval", "--model", "outputs:outputs.json"])
        try await expect(66, ["replay"], run("--judge-model", "replay:none.sqlite"))
    }

    @Test("What is not JSON, or has wrong fields, is named with its record, with exit 65")
    func malformedFiles() async throws {
        try space.folder.write("[{\"instruction\": \"a\",", "cut.json")
        try space.folder.write("[{\"instruction\": 1, \"output\": \"x\"}]", "types.json")
        try space.folder.write("[{\"instruction\": \"unknown\", \"output\": \"x\"}]", "other.json")
        let first = "Task 0: say something about the number 0."
        let twice = #"[{"instruction":"\#(first)","output":"a"},{"instruction":"\#(first)","output":"b"}]"#
        try space.folder.write(twice, "twice.json")
        try await expect(65, ["cut.json", "JSON", "line 1"], run(outputs: "cut.json"))
        try await expect(65, ["types.json", "record 0", "instruction"], run(outputs: "types.json"))
        try await expect(65, ["other.json", "none of the 4 prompts", "--prompts"], run(outputs: "other.json"))
        try await expect(65, ["twice.json", "record 1", "already"], run(outputs: "twice.json"))
        try await expect(65, ["twice.json", "record 1"], run(prompts: "twice.json"))
    }

    @Test("A flag, a definition or a combination that makes no sense exits 64 or 78")
    func usage() async throws {
        for flag in ["--resamples=1", "--temperature=nan", "--top-p=7", "--max-tokens=-5", "--max-cost=nan"] {
            try await expect(64, [String(flag.prefix { $0 != "=" })], run(flag))
        }
        try await expect(64, ["--limit"], run("--limit", "x"))
        try await expect(64, ["Unknown option"], run("--nonsense"))
        try await expect(64, ["Name the model"], ["run", "alpacaeval", "--judge", "checks"])
        try await expect(64, ["gpt:4"], ["run", "alpacaeval", "--prompts", "prompts.json", "--model", "gpt:4"])
        try await expect(78, ["nobench", "alpacaeval"], ["run", "nobench", "--model", "outputs:outputs.json"])
        try await expect(78, ["nojudge", "known are"], run("--judge", "nojudge"))
        try await expect(78, ["--judge-model"], run())
        try await expect(78, ["--max-cost", "prices"], run("--judge-model", "exec:/bin/cat", "--max-cost", "1"))
        try await expect(77, ["OPENAI_API_KEY"], run("--judge-model", "openai:gpt-x"))
        try await expect(
            78, ["plain text", "--allow-http"], run("--judge-model", "openai-compatible:m@http://example.com/v1"))
    }

    @Test("An empty output is judged, a prompt without an output is missing and counted")
    func partialOutputs() async throws {
        try space.writeStudy(prompts: 6, outputs: 5)
        let judge = try space.writeProgram("[[A]]")
        let output = try await space.command(run("--judge-model", "exec:\(judge)", "--json", "--missing-limit", "0.5"))
            .run()
        #expect(output.status == 0, "\(output.errorText)")
        let score = try JSONValue(parsing: output.standardOutput)
        #expect(score["metrics"]?["n_total"] == 5)
        #expect(score["missing"]?["no_output"] == 1)
        #expect(score["metrics"]?["win_rate"]?["n_missing"] == 1)
        let strict = try await space.command(run("--judge-model", "exec:\(judge)")).run()
        #expect(strict.status == 3)
        #expect(strict.errorText.contains("1 no_output"))
    }

    @Test("A folder that may not be written exits 73 before anything is asked")
    func readOnly() async throws {
        let judge = try space.writeProgram("[[A]]")
        try await expect(73, ["/proc/results"], run("--judge-model", "exec:\(judge)", "--results-dir", "/proc/results"))
        try await expect(
            73, ["evidence"], run("--judge-model", "exec:\(judge)", "--evidence", "/proc/evidence/e.sqlite"))
    }

    @Test("A full disk exits 74, and the same command finishes when there is space again")
    func fullDisk() async throws {
        let disk = space.path("disk")
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        let mount = try await Command("/usr/bin/env", ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk]).run()
        guard mount.status == 0 else {
            // Mounting needs root; where it is not allowed, this case is not tried, and says so.
            Issue.record("skipped: a small disk cannot be mounted here", severity: .warning)
            return
        }
        defer { _ = try? Command("/usr/bin/env", ["umount", "-l", disk]).runBlocking() }
        try space.writeStudy(prompts: 40)
        let judge = try space.writeProgram("[[A]]")
        let filler = Data(count: 40 << 10)
        try filler.write(to: URL(fileURLWithPath: "\(disk)/filler"))
        let arguments = run("--judge-model", "exec:\(judge)", "--results-dir", "\(disk)/results")
        let full = try await space.command(arguments).run()
        #expect(full.status == 74, "\(full.errorText)")
        #expect(full.errorText.contains("disk is full"))
        #expect(SharedData.names("\(disk)/results/alpacaeval/own-model").allSatisfy { !$0.contains("partial") })
        try FileManager.default.removeItem(atPath: "\(disk)/filler")
        #expect(try await Command("/usr/bin/env", ["mount", "-o", "remount,size=4m", disk]).run().status == 0)
        let again = try await space.command(arguments).run()
        #expect(again.status == 0, "\(again.errorText)")
    }

    @Test("Results of another judge or model are not written over, unless told")
    func otherRun() async throws {
        let judge = try space.writeProgram("[[A]]")
        #expect(try await space.command(run("--judge-model", "exec:\(judge)")).run().status == 0)
        let before = try space.files("results/alpacaeval/own-model")
        let other = try space.writeProgram("[[B]]", name: "other.sh")
        let refused = try await space.command(run("--judge-model", "exec:\(other)")).run()
        #expect(refused.status == 3)
        #expect(refused.errorText.contains("another judge") && refused.errorText.contains("--overwrite"))
        #expect(try space.files("results/alpacaeval/own-model") == before)
        #expect(try await space.command(run("--judge-model", "exec:\(other)", "--overwrite")).run().status == 0)
        #expect(try space.files("results/alpacaeval/own-model") != before)
    }
}
