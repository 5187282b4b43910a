import Chat
import Foundation
import LoopbackServer
import TestSupport
import Testing

/// A judge's endpoint that fails in every way: what fails for good is missing with its reason, and never a guessed score.
@Suite struct FaultTests {
    private let space: Workspace

    init() throws {
        space = try Workspace()
        try space.writeStudy(prompts: 12)
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}", order: "{kind: seeded_random, seed: 0}")
    }

    private func run(_ server: JudgeServer, _ extra: String..., environment: [String: String] = [:]) async throws
        -> Command.Output
    {
        try await space.command(
            [
                "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:outputs.json", "--judge",
                "judges/own",
                "--judge-model", server.model, "--no-progress", "--attempts", "2", "--resamples", "0", "--json",
            ] + extra, environment: environment
        ).run()
    }

    private static func task(_ text: String) -> Int? {
        guard let range = text.range(of: "Task ") else { return nil }
        return Int(text[range.upperBound...].prefix { $0.isNumber })
    }

    @Test("Each fault leaves its own prompt missing, and the others scored")
    func persistentFaults() async throws {
        let whole = String(
            decoding: JudgeServer.completion(["model": "m"], [("m", -0.1), ("M", -2.4)]).serialized(), as: UTF8.self)
        let server = JudgeServer(rude: { text, _, connection in
            switch Self.task(text) {
            case 0: connection.reply(200, ["Content-Type": "text/html"], "<html>busy m</html>")
            case 1: connection.reply(200, [:], String(whole.dropLast(20)))
            case 2: connection.reply(200, [:], "{\"choices\":[],\(whole.dropFirst())")
            case 3: connection.reset()
            case 4:
                connection.reply(400, [:], #"{"error":{"message":"context too long","type":"invalid_request_error"}}"#)
            case 5: connection.reply(200, [:], #"{"error":{"message":"overloaded"}}"#)
            case 6:
                let refusal = #"{"choices":[{"index":0,"finish_reason":"content_filter","message":{"content":""}}]}"#
                connection.reply(200, [:], refusal)
            case 7: connection.reply(503, [:], "no")
            case 8: connection.reply(200, [:], "")
            default: return false
            }
            return true
        })
        let output = try await run(server, "--missing-limit", "1")
        #expect(output.status == 0, "\(output.errorText)")
        let score = try JSONValue(parsing: output.standardOutput)
        #expect(score["metrics"]?["n_total"] == 3)
        #expect(score["missing"] == ["failed": 8, "refused": 1])
        #expect(score["metrics"]?["win_rate"]?["bounds_if_missing"]?.array?.count == 2)
        let annotations = try #require(try space.json("results/alpacaeval/own-model/annotations.json").array)
        for (index, annotation) in annotations.enumerated() {
            #expect((annotation["preference"]?.isNull == true) == (index < 9), "prompt \(index)")
            #expect(
                (annotation["missing_reason"]?["detail"]?.string?.isEmpty == false) == (index < 9), "prompt \(index)")
        }
        #expect(server.askings.first { Self.task($0.key) == 4 }?.value == 1, "a request that is wrong is not repeated")
        let strict = try await run(server)
        #expect(strict.status == 3)
        #expect(strict.errorText.contains("9 of 12 verdicts are missing"))
    }

    @Test("A fault that passes leaves no trace in the results")
    func passingFaults() async throws {
        let kind = JudgeServer()
        let calm = try await run(kind)
        let rude = JudgeServer(rude: { text, asking, connection in
            guard asking == 1, let task = Self.task(text) else { return false }
            switch task % 6 {
            case 0: connection.reply(429, ["Retry-After": "0"], #"{"error":{"message":"Rate limit reached"}}"#)
            case 1: connection.reply(529, [:], "overloaded")
            case 2: connection.reset()
            case 3: connection.reply(500, [:], "")
            case 4:
                connection.reply(200, ["Content-Length": "400"], "{\"choices\":")
                connection.close()
            default: return false
            }
            return true
        })
        let output = try await run(rude, "--results-dir", "rude", "--concurrency", "12")
        #expect(calm.status == 0 && output.status == 0, "\(output.errorText)")
        let left = try space.files("results/alpacaeval/own-model", without: kind.baseURL)["annotations.json"]
        #expect(try space.files("rude/alpacaeval/own-model", without: rude.baseURL)["annotations.json"] == left)
    }

    @Test("Spent quota stops at once with 69, a rejected key with 77, and nothing is scored")
    func refusals() async throws {
        let quota = JudgeServer(rude: { _, _, connection in
            connection.reply(
                429, [:], #"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#)
            return true
        })
        let spent = try await run(quota, "--concurrency", "1")
        #expect(spent.status == 69, "\(spent.errorText)")
        #expect(quota.bodies.count == 1)
        let locked = JudgeServer(rude: { _, _, connection in
            connection.reply(401, [:], #"{"error":{"message":"bad key"}}"#)
            return true
        })
        #expect(try await run(locked, "--concurrency", "1").status == 77)
        #expect(!SharedData.exists(space.path("results/alpacaeval/own-model/scores.json")))
    }

    @Test("A key appears in no file, log or error, raw or in base64, even when the server echoes it")
    func canary() async throws {
        let canary = "sk-canary-4f2a9c7e81"
        let encoded = Data(canary.utf8).base64EncodedString()
        let server = JudgeServer(rude: { text, _, connection in
            guard let task = Self.task(text), task < 4 else { return false }
            let echo = #"{"error":{"message":"Incorrect API key: \#(canary) (\#(encoded))","type":"x"}}"#
            connection.reply(task == 0 ? 400 : task == 1 ? 500 : 200, [:], echo)
            return true
        })
        let environment = ["MY_KEY": canary, "HF_TOKEN": canary]
        for extra in [
            ["--judge-api-key-env", "MY_KEY", "--missing-limit", "1"], ["--judge-api-key-env", "MY_KEY", "--dry-run"],
        ] {
            let output = try await space.command(
                [
                    "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:outputs.json", "--judge",
                    "judges/own", "--judge-model", server.model, "--attempts", "2", "--evidence", "e.sqlite",
                ] + extra, environment: environment
            ).run()
            #expect(output.status == 0, "\(output.errorText)")
            for text in [output.text, output.errorText] { #expect(!text.contains(canary) && !text.contains(encoded)) }
        }
        #expect(server.headers.contains { $0["authorization"] == "Bearer \(canary)" }, "the key did travel")
        var searched = 0
        for case let file as URL in FileManager.default.enumerator(
            at: URL(fileURLWithPath: space.folder.path), includingPropertiesForKeys: nil)!
        {
            guard let data = try? Data(contentsOf: file) else { continue }
            searched += 1
            #expect(data.range(of: Data(canary.utf8)) == nil, "\(file.lastPathComponent)")
            #expect(data.range(of: Data(encoded.utf8)) == nil, "\(file.lastPathComponent)")
        }
        #expect(searched > 6)
    }

    @Test("A dry run asks nothing and says how much it would; the spend limit stops before it is passed")
    func spending() async throws {
        let server = JudgeServer()
        let dry = try await run(server, "--dry-run")
        #expect(try JSONValue(parsing: dry.standardOutput)["judge_calls"] == 12)
        #expect(server.bodies.isEmpty)
        try space.writeJudge(
            "{kind: token_logprobs, first: m, second: M}", order: "{kind: seeded_random, seed: 0}",
            extra:
                "model: \(server.model)\nprices: {input_per_million: 1000, output_per_million: 1000, date: \"2026-01-01\"}"
        )
        let command = [
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:outputs.json", "--judge",
            "judges/own",
            "--no-progress", "--resamples", "0", "--concurrency", "1", "--max-cost",
        ]
        let stopped = try await space.command(command + ["0.6"]).run()
        #expect(stopped.status == 75, "\(stopped.errorText)")
        #expect(server.bodies.count < 12)
        let done = try await space.command(command + ["9"]).run()
        #expect(done.status == 0, "\(done.errorText)")
        #expect(server.bodies.count == 12, "nothing was asked twice")
        let score = try space.json("results/alpacaeval/own-model/scores.json")
        #expect(abs((score["usage"]?["usd"]?.number ?? 0) - 12 * 101e-3) < 1e-9)
    }

    @Test("A reply without a verdict is asked for again as often as told, and never twice for the same draw")
    func retryingUnparsable() async throws {
        let server = JudgeServer(rude: { text, asking, connection in
            guard Self.task(text) == 3, asking < 3 else { return false }
            let both = #"{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"Both"}}]}"#
            connection.reply(200, [:], both)
            return true
        })
        let once = try await run(server, "--missing-limit", "1")
        #expect(try JSONValue(parsing: once.standardOutput)["missing"] == ["unparsable": 1])
        let again = try await run(server, "--retry-unparsable", "4")
        #expect(again.status == 0, "\(again.errorText)")
        #expect(try JSONValue(parsing: again.standardOutput)["missing"] == [:])
        #expect(server.askings.first { Self.task($0.key) == 3 }?.value == 3)
    }

    @Test("A dry run of a model that would be asked asks nothing")
    func dryGeneration() async throws {
        let server = JudgeServer()
        let output = try await space.command([
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", server.model, "--judge", "judges/own",
            "--judge-model", server.model, "--dry-run",
        ]).run()
        #expect(try JSONValue(parsing: output.standardOutput)["generation_calls_at_most"] == 12)
        #expect(server.bodies.isEmpty)
    }

    @Test("Outputs are generated through an endpoint with the benchmark's decoding, and judged by a program")
    func generation() async throws {
        let server = JudgeServer()
        let judge = try space.writeProgram("[[B]]")
        try space.writeJudge(Workspace.labels, order: "{kind: baseline_first}")
        let output = try await space.command(
            [
                "run", "alpacaeval", "--prompts", "prompts.json", "--model", server.model, "--name", "served",
                "--judge",
                "judges/own", "--judge-model", "exec:\(judge)", "--no-progress", "--json", "--resamples", "0",
                "--temperature", "0.3", "--max-tokens", "77",
            ]
        ).run()
        #expect(output.status == 0, "\(output.errorText)")
        #expect(try JSONValue(parsing: output.standardOutput)["metrics"]?["win_rate"]?["value"] == 100.0)
        let body = try #require(server.bodies.first)
        #expect(body["temperature"] == 0.3 && body["max_tokens"] == 77 && body["top_p"]?.number == 1)
        #expect(try space.json("results/alpacaeval/served/run.json")["generation"]?["max_tokens"] == 77)
        #expect(try space.json("results/alpacaeval/served/model_outputs.json").array?.count == 12)
    }
}
