import Chat
import Foundation
import Glibc
import LoopbackServer
import Synchronization
import TestSupport
import Testing

/// A recorded run of the official package against a mock judge: the same requests, verdicts and board line from ours.
@Suite(.enabled(if: SharedData.exists("\(SharedData.alpacaEval)/cli_golden"), "needs the shared AlpacaEval data"))
struct OfficialRunTests {
    @Test("The same requests go out, the same annotations and leaderboard line come back")
    func officialRun() async throws {
        let golden = "\(SharedData.alpacaEval)/cli_golden"
        let space = try Workspace()
        #expect(
            try await space.run(
                "dataset", "import", "alpacaeval", "--from", "\(SharedData.alpacaEval)/import", "--unverified"
            ).status
                == 0)
        let model = "FuseChat-Llama-3.1-8B-Instruct"
        try space.folder.write(
            try SharedData.contents("\(SharedData.alpacaEval)/dev/\(model)/model_outputs.json.zst"), "outputs.json")
        let server = JudgeServer(
            rude: { text, asking, connection in
                guard text.contains("Gmail"), text.contains("user story"), asking <= 4 else { return false }
                let error =
                    #"{"error":{"message":"Rate limit reached for gpt-4-1106-preview","code":"rate_limit_exceeded"}}"#
                connection.reply(429, ["Retry-After": "0"], error)
                return true
            }, top: OfficialRunTests.top)
        let run = try await space.run(
            "run", "alpacaeval", "--model", "outputs:outputs.json", "--no-progress", "--resamples", "0",
            "--concurrency", "32",
            environment: ["OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.baseURL])
        #expect(run.status == 0, "\(run.errorText)")

        let recorded = try JSONValue.parseLines(Array(SharedData.contents("\(golden)/requests.jsonl.zst")))
        let official = Set(recorded.compactMap { $0["body"].map(Self.meaning) })
        let ours = Set(server.bodies.map(Self.meaning))
        // One of the 805 pairs has equal outputs and is a tie without a call.
        #expect(official.count == 804)
        #expect(ours.symmetricDifference(official).map { String($0.prefix(300)) } == [])

        let expected = try #require(try JSONValue(parsing: SharedData.contents("\(golden)/annotations.json.zst")).array)
        let annotations = try #require(try space.json("results/alpacaeval/\(model)/annotations.json").array)
        #expect(annotations.count == expected.count)
        for (index, (left, right)) in zip(annotations, expected).enumerated() {
            for key in ["instruction", "output_1", "output_2", "generator_1", "generator_2", "annotator", "dataset"] {
                #expect(left[key] == right[key], "row \(index): \(key)")
            }
            switch (left["preference"]?.number, right["preference"]?.number) {
            // Upstream's file keeps ten decimals.
            case (let preference?, let official?): #expect(abs(preference - official) < 1e-9, "row \(index)")
            case (nil, nil): break
            default: Issue.record("row \(index): one of the two is missing")
            }
        }

        #expect(try await space.run("leaderboard", "build", "results/alpacaeval").status == 0)
        let line = try cells(Data(contentsOf: URL(fileURLWithPath: space.path("leaderboard.csv"))))
        for (name, value) in try cells(Data(contentsOf: URL(fileURLWithPath: "\(golden)/leaderboard.csv"))) {
            if let number = Double(value) {
                #expect(abs((line[name].flatMap(Double.init) ?? .nan) - number) < 1e-9, "\(name)")
            } else {
                #expect(line[name] == value, "\(name)")
            }
        }
    }

    @Test("A checkpoint answers all official prompts, is killed and resumed, and leaves the bytes of one go")
    func localModel() async throws {
        let space = try Workspace()
        let checkpoint = try CheckpointFolder(contextLength: 16_384, storedType: .bf16)
        #expect(
            try await space.run(
                "dataset", "import", "alpacaeval", "--from", "\(SharedData.alpacaEval)/import", "--unverified"
            ).status == 0)
        // While it holds, the judge leaves every call without an answer: the run cannot end before it is killed.
        let isHolding = Mutex(false)
        let server = JudgeServer(rude: { _, _, _ in isHolding.withLock { $0 } }, top: OfficialRunTests.top)
        func run(_ results: String, _ extra: String...) -> Command {
            space.command(
                [
                    "run", "alpacaeval", "--model", checkpoint.path, "--name", "tiny", "--max-tokens", "32",
                    "--temperature", "0.7", "--no-progress", "--resamples", "0", "--results-dir", results, "--evidence",
                    "\(results).sqlite",
                ] + extra, environment: ["OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.baseURL])
        }
        let whole = try await run("whole", "--threads", "1").run()
        #expect(whole.status == 0, "\(whole.errorText)")
        let expected = try space.files("whole/alpacaeval/tiny")
        let outputs = try #require(try space.json("whole/alpacaeval/tiny/model_outputs.json").array)
        #expect(outputs.count == 805)

        isHolding.withLock { $0 = true }
        let killed = run("killed", "--concurrency", "3")
        try killed.start()
        while true {
            let stats = try await space.run("evidence", "stats", "--evidence", "killed.sqlite")
            let numbers = stats.outputText.split { !$0.isNumber }.compactMap { Int($0) }
            if stats.status == 0, numbers.contains(where: { (100...2_000).contains($0) }) { break }
        }
        kill(killed.processID, SIGKILL)
        #expect(await killed.finish().status != 0, "it was to be killed before its end")
        isHolding.withLock { $0 = false }
        let resumed = try await run("killed").run()
        #expect(resumed.status == 0, "\(resumed.errorText)")
        #expect(try space.files("killed/alpacaeval/tiny") == expected)
        #expect(try await space.run("leaderboard", "build", "killed/alpacaeval", "-o", "board.json").status == 0)
        #expect(try space.json("board.json")["entries"]?[0]?["name"]?.string == "tiny")
    }

    /// The request as one text, 1 and 1.0 being one number.
    private static func meaning(_ body: JSONValue) -> String {
        func numbers(_ value: JSONValue) -> JSONValue {
            switch value {
            case .integer(let integer): return .number(Double(integer))
            case .array(let values): return .array(values.map(numbers))
            case .object(let object):
                return .object(object.members.reduce(into: JSONObject()) { $0[$1.key] = numbers($1.value) })
            case .null, .bool, .number, .string: return value
            }
        }
        return numbers(body).canonical.text()
    }

    /// The first row of a leaderboard, by column.
    private func cells(_ csv: Data) -> [String: String] {
        let rows = String(decoding: csv, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        return Dictionary(uniqueKeysWithValues: zip(rows[0], rows[1]))
    }

    /// The mock's answer: a hash of the question, with one question that has no verdict and some with one identifier only.
    @Sendable private static func top(_ text: String) -> [(String, Double)] {
        if text.contains("kickball") {
            return [("Neither", -0.1), ("Both", -3), ("None", -4), ("The", -5), ("A", -6)]
        }
        // The hash as a number modulo 10007, digit by digit.
        let remainder = Digest.sha256(text).reduce(0) { ($0 * 16 + $1.hexDigitValue!) % 10007 }
        let share = Double(remainder) / 10007 * 0.98 + 0.01
        var top = [
            ("M", log(1 - share) - 1e-4), ("m", log(share) - 1e-4), ("Both", -12.5), ("The", -13.25), ("Based", -14),
        ]
        if text.contains("Broadway") { top.removeAll { $0.0 == "m" } }
        return top.sorted { $0.1 > $1.1 }
    }
}
