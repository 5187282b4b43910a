import Chat
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// Whatever interrupts a run, the same command finishes it, asks nothing that was answered, and leaves the same bytes.
@Suite struct ResumeTests {
    private let space: Workspace
    private static let parser = "{kind: token_logprobs, first: m, second: M}"

    init() throws {
        space = try Workspace()
        try space.writeStudy(prompts: 60)
        try space.writeJudge(Self.parser, order: "{kind: seeded_random, seed: 0}")
    }

    private func arguments(_ model: String, results: String, evidence: String) -> [String] {
        [
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:outputs.json", "--judge",
            "judges/own",
            "--judge-model", model, "--concurrency", "4", "--results-dir", results, "--evidence", evidence,
            "--no-progress",
            "--resamples", "100",
        ]
    }

    @Test(
        "Killed at several moments and resumed, the files are those of an uninterrupted run", arguments: [1, 9, 30, 55])
    func killed(after threshold: Int) async throws {
        let server = JudgeServer()
        let whole = try await space.command(arguments(server.model, results: "whole", evidence: "whole.sqlite")).run()
        #expect(whole.status == 0, "\(whole.errorText)")
        let expected = try space.files("whole/alpacaeval/own-model", without: server.baseURL)
        #expect(expected.count == 5)

        let dam = Dam(after: threshold)
        let flaky = JudgeServer(rude: { _, _, _ in dam.holdsNext() })
        let killed = space.command(arguments(flaky.model, results: "killed", evidence: "killed.sqlite"))
        try killed.start()
        await dam.isFull()
        kill(killed.processID, SIGKILL)
        #expect(await killed.finish().status != 0)
        dam.open()
        let resumed = try await space.command(arguments(flaky.model, results: "killed", evidence: "killed.sqlite"))
            .run()
        #expect(resumed.status == 0, "\(resumed.errorText)")
        let files = try space.files("killed/alpacaeval/own-model", without: flaky.baseURL)
        for name in ["annotations.json", "model_outputs.json"] { #expect(files[name] == expected[name], "\(name)") }
        #expect(try metrics("killed") == metrics("whole"))
        // Only what was in flight or not yet on the disk at the kill may have been asked twice.
        #expect(flaky.askings.count == 60)
        #expect(flaky.askings.values.reduce(0, +) <= 60 + 8)

        let third = try await space.command(arguments(flaky.model, results: "third", evidence: "killed.sqlite")).run()
        #expect(third.status == 0)
        #expect(
            try space.files("third/alpacaeval/own-model", without: flaky.baseURL) == files,
            "a replay from evidence leaves the same bytes")
        #expect(flaky.askings.values.reduce(0, +) <= 60 + 8, "nothing answered is asked again")
    }

    private func metrics(_ results: String) throws -> JSONValue? {
        try space.json("\(results)/alpacaeval/own-model/scores.json")["metrics"]
    }

    @Test("The order of arrival, the concurrency and the locale change no byte")
    func concurrency() async throws {
        let server = JudgeServer()
        var files: [[String: Data]] = []
        for (concurrency, locale) in [("1", "C"), ("16", "tr_TR.UTF-8"), ("64", "de_DE.UTF-8")] {
            let name = "c\(concurrency)"
            var arguments = arguments(server.model, results: name, evidence: "\(name).sqlite")
            arguments[arguments.firstIndex(of: "--concurrency")! + 1] = concurrency
            let output = try await space.command(arguments, environment: ["LC_ALL": locale, "TZ": "Asia/Kathmandu"])
                .run()
            #expect(output.status == 0, "\(output.errorText)")
            files.append(try space.files("\(name)/alpacaeval/own-model"))
        }
        #expect(files[0] == files[1] && files[1] == files[2])
    }

    @Test("A second process on the same run exits 75 and names the owner; Ctrl-C keeps everything and exits 130")
    func lockAndInterrupt() async throws {
        let gate = DispatchSemaphore(value: 0)
        let dam = Dam(after: 4)
        let server = JudgeServer(rude: { _, _, _ in
            _ = dam.holdsNext()
            gate.wait()
            gate.signal()
            return false
        })
        let arguments = arguments(server.model, results: "r", evidence: "e.sqlite")
        let first = space.command(arguments)
        try first.start()
        await dam.isFull()
        let second = try await space.command(arguments).run()
        #expect(second.status == 75)
        #expect(second.errorText.contains("process \(first.processID)"), "\(second.errorText)")
        kill(first.processID, SIGINT)
        // The signal is on its way before the gate opens: what is launched afterwards shows that it was ignored.
        while !first.hasSaidOnStandardError { sched_yield() }
        gate.signal()
        let output = await first.finish()
        #expect(output.status == 130, "\(output.errorText)")
        #expect(output.errorText.contains("same command"))
        let asked = server.askings.count
        #expect(asked < 60)
        let resumed = try await space.command(arguments).run()
        #expect(resumed.status == 0, "\(resumed.errorText)")
        #expect(server.askings.count == 60)
        #expect(server.askings.values.allSatisfy { $0 == 1 }, "an interrupted run loses no answer")
    }

    @Test("Evidence moves to another machine: offline there, the same files come out")
    func travel() async throws {
        let server = JudgeServer()
        #expect(
            try await space.command(arguments(server.model, results: "here", evidence: "here.sqlite")).run().status == 0
        )
        #expect(try await space.run("evidence", "export", "--evidence", "here.sqlite", "-o", "e.jsonl").status == 0)
        let imported = try await space.run("evidence", "import", "e.jsonl", "--evidence", "there.sqlite")
        #expect(imported.text == "60 records, 60 new\n", "\(imported.errorText)")
        #expect(
            try await space.run("evidence", "verify", "--evidence", "there.sqlite").text == "60 answers are sound\n")
        let before = server.bodies.count
        let offline = try await space.command(
            arguments(server.model, results: "there", evidence: "there.sqlite") + ["--offline"]
        ).run()
        #expect(offline.status == 0, "\(offline.errorText)")
        #expect(server.bodies.count == before)
        #expect(try space.files("there/alpacaeval/own-model") == space.files("here/alpacaeval/own-model"))
        let empty = try await space.command(arguments(server.model, results: "x", evidence: "x.sqlite") + ["--offline"])
            .run()
        #expect(empty.status == 66)
        let replayed = try await space.command(
            arguments("replay:there.sqlite", results: "replayed", evidence: "unused.sqlite")
        ).run()
        #expect(replayed.status == 0, "\(replayed.errorText)")
        let annotations = try space.files("replayed/alpacaeval/own-model")["annotations.json"]
        #expect(try annotations == space.files("here/alpacaeval/own-model")["annotations.json"])
    }

    @Test("A run scored again gives the same bytes")
    func rescoring() async throws {
        let server = JudgeServer(rude: { text, _, connection in
            // One question in ten is never answered usefully.
            guard text.contains("Task 1") && text.contains("0:") else { return false }
            connection.reply(
                200, [:], #"{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"Both"}}]}"#)
            return true
        })
        let run = try await space.command(
            arguments(server.model, results: "results", evidence: "e.sqlite") + ["--missing-limit", "0.5"]
        ).run()
        #expect(run.status == 0, "\(run.errorText)")
        let scores = try space.files("results/alpacaeval/own-model")["scores.json"]
        let again = try await space.run("score", "alpacaeval", "--prompts", "prompts.json", "--resamples", "100")
        #expect(again.status == 0, "\(again.errorText)")
        #expect(try space.files("results/alpacaeval/own-model")["scores.json"] == scores)
        let score = try space.json("results/alpacaeval/own-model/scores.json")
        #expect((score["missing"]?["unparsable"]?.integer ?? 0) > 0)
        let explained = try await space.run("score", "alpacaeval", "--prompts", "prompts.json", "--explain", "3")
        #expect(
            explained.text.contains("first token") && explained.text.contains("at equal length"),
            "\(explained.errorText)")
    }
}
