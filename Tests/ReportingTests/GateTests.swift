import Chat
import Evaluation
import Foundation
import Reporting
import Statistics
import TestSupport
import Testing

/// Runs made of numbers alone.
struct MadeRuns {
    /// Win rates about `rate`, the same prompts and the same noise in each run of a seed.
    static func run(
        _ name: String, rate: Double, prompts: Int = 300, seed: UInt64 = 1, judge: String = "j", missing: Int = 0
    ) -> RunSnapshot {
        var generator = SeededGenerator(seed: seed)
        let rows = (0..<prompts).map { index -> RunSnapshot.Row in
            var row = RunSnapshot.Row(key: "prompt \(index)", calls: 1)
            let noise = 30 * (Double(generator.next() >> 11) * 0x1p-53 - 0.5)
            // Runs whose names begin evenly and oddly differ by 10 up and down, and by nothing on average.
            let own = (index + Int(name.unicodeScalars.first?.value ?? 0)) % 2 == 0 ? 5.0 : -5
            row.place = index
            row.category = index % 2 == 0 ? "even" : "odd"
            row.promptLength = 10 + index % 50
            row.length = 100 + (index * 37) % 90
            row.baselineLength = 120 + (index * 53) % 70
            row.output = "o"
            row.values = index < missing ? nil : Cluster([rate + noise + own])
            return row
        }
        return RunSnapshot(
            name: name, benchmark: "alpacaeval", scale: .preference, rows: rows,
            provenance: ["judge": .string(judge), "model": .string(name), "baseline": "b"])
    }
}

struct GateTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func policy(_ text: String = "") throws -> GatePolicy {
        try GatePolicy(
            path: folder.write(
                "benchmark: alpacaeval\nrules: [{metric: win_rate, margin: 3}]\n\(text)\n", "gate.yaml"))
    }

    private func gate(_ candidate: RunSnapshot, _ baseline: RunSnapshot, _ policy: String = "") throws -> Gate {
        var rule = Comparison.Rule()
        rule.permutations = 0
        return try Gate(policy: try self.policy(policy), candidate: candidate, baseline: baseline, rule: rule)
    }

    @Test func `A regression beyond the margin fails, none passes, and what is open is neither`() throws {
        let baseline = MadeRuns.run("old", rate: 50)
        #expect(try gate(MadeRuns.run("new", rate: 50), baseline).exitCode == 0)
        #expect(try gate(MadeRuns.run("new", rate: 48.5), baseline).exitCode == 0)
        #expect(try gate(MadeRuns.run("new", rate: 45), baseline).exitCode == 1)
        let open = MadeRuns.run("new", rate: 47)
        #expect(try gate(open, baseline).exitCode == 2)
        #expect(try gate(open, baseline, "on_inconclusive: pass").exitCode == 0)
        #expect(try gate(open, baseline, "on_inconclusive: fail").exitCode == 1)
    }

    @Test func `Runs that cannot be compared are refused before any number`() throws {
        let baseline = MadeRuns.run("old", rate: 50)
        var flagged = MadeRuns.run("new", rate: 60)
        flagged.flags = ["constant (all alike)"]
        var fewer = MadeRuns.run("new", rate: 60)
        fewer.rows.removeLast(40)
        var other = MadeRuns.run("new", rate: 60)
        other.benchmark = "mt-bench"
        let cases: [(RunSnapshot, String)] = [
            (MadeRuns.run("new", rate: 60, judge: "k"), "another judge"),
            (MadeRuns.run("new", rate: 60, missing: 10), "10 of 300 verdicts are missing"), (flagged, "constant"),
            (other, "the policy is for alpacaeval"), (fewer, "40 of the 300 prompts"),
        ]
        for (candidate, words) in cases {
            let gate = try gate(candidate, baseline)
            #expect(gate.exitCode == 3 && gate.rulings.isEmpty)
            #expect(gate.faults.contains { $0.contains(words) }, "\(gate.faults)")
            let xml = try Document(JUnitReport(gate, timestamp: "2026-01-31T12:00:00").xml)
            #expect(xml.elements.count { $0.name == "error" } == 1)
        }
        #expect(try gate(flagged, baseline, "refuse_flags: false").exitCode == 0)
        #expect(try gate(MadeRuns.run("new", rate: 60, missing: 10), baseline, "missing_limit: 0.05").exitCode == 0)
    }

    @Test func `A gate without a ruling has proved nothing`() throws {
        let run = MadeRuns.run("new", rate: 50)
        let gate = Gate(policy: try policy(), candidate: run, baseline: run, faults: [], rulings: [], saving: nil)
        #expect(gate.exitCode == 2)
    }

    @Test func `A policy that makes no sense is refused by its field`() throws {
        let cases = [
            ("rules: [{metric: speed, margin: 1}]", "metric"), ("rules: [{metric: win_rate}]", "margin"),
            ("rules: [{metric: win_rate, margin: -1}]", "margin"), ("rules: []", "rules"), ("alpha: 0.7", "alpha"),
            ("missing_limit: 2", "missing_limit"), ("on_inconclusive: perhaps", "on_inconclusive"),
            ("magin: 3", "magin"), ("sequential: {batch: 0}", "batch"),
            ("rules: [{metric: length_controlled_winrate, margin: 3}]\nsequential: {seed: 1}", "sequential"),
        ]
        for (text, field) in cases {
            let path = try folder.write(
                "benchmark: alpacaeval\n\(text.contains("rules") ? "" : "rules: [{metric: win_rate, margin: 3}]\n")\(text)\n",
                "wrong.yaml")
            let error = #expect(throws: EvaluationError.self) { try GatePolicy(path: path) }
            #expect("\(error as Any)".contains(field), "\(text): \(error as Any)")
        }
    }

    @Test func `JUnit has a failure, a skip or nothing for each rule`() throws {
        let baseline = MadeRuns.run("old", rate: 50)
        for (rate, policy, element) in [
            (45.0, "", "failure"), (47, "", "skipped"), (47, "on_inconclusive: fail", "failure"), (50, "", nil),
        ] {
            let gate = try gate(MadeRuns.run("new", rate: rate), baseline, policy)
            let document = try Document(JUnitReport(gate, timestamp: "2026-01-31T12:00:00").xml)
            let cases = document.elements.filter { $0.name == "testcase" }
            #expect(cases.count == 2)
            #expect(cases[1].children.map(\.name) == [element].compactMap { $0 })
            let suite = try #require(document.elements.first { $0.name == "testsuite" })
            #expect(suite.attributes["tests"] == "2")
            #expect(suite.attributes["failures"] == (element == "failure" ? "1" : "0"))
            #expect(suite.children.map(\.name) == ["properties", "testcase", "testcase", "system-out", "system-err"])
        }
    }

    @Test func `Ten thousand documents of random Unicode stay well-formed`() throws {
        var generator = SeededGenerator(seed: 9)
        func text() -> String {
            var scalars = String.UnicodeScalarView()
            for _ in 0..<(1 + generator.index(below: 24)) {
                let bound: UInt32 = [0x20, 0x80, 0x300, 0x3000, 0x110000][generator.index(below: 5)]
                if let scalar = Unicode.Scalar(UInt32(generator.index(below: Int(bound)))) { scalars.append(scalar) }
            }
            return String(scalars) + ["", "]]>", "<![CDATA[", "&#27;", "--", "\u{0}"][generator.index(below: 6)]
        }
        var (candidate, baseline) = (MadeRuns.run("c", rate: 40, prompts: 3), MadeRuns.run("b", rate: 50, prompts: 3))
        candidate.rows[0].values = nil
        let policy = try policy("missing_limit: 1")
        for _ in 0..<10_000 {
            candidate.name = text()
            baseline.name = text()
            candidate.flags = [text()]
            candidate.provenance = JSONObject()
            candidate.provenance[text()] = .string(text())
            let gate = Gate(
                policy: policy, candidate: candidate, baseline: baseline, faults: [text()], rulings: [], saving: nil)
            _ = try Document(JUnitReport(gate, timestamp: "2026-01-31T12:00:00").xml)
        }
    }

    @Test func `A summary for GitHub keeps what it quotes in its fence, and commands on one line`() throws {
        var candidate = MadeRuns.run("new", rate: 45)
        candidate.name = "a```b\n# heading ````` ::error::x%"
        let report = GateReport(try gate(candidate, MadeRuns.run("old", rate: 50)))
        #expect(report.markdown.contains("``````"))
        let command = try #require(report.workflowCommand)
        #expect(command.hasPrefix("::error title=evalharness alpacaeval::") && !command.contains("\n"))
    }

    @Test func `A snapshot is read back as it was`() throws {
        let run = MadeRuns.run("new", rate: 45, missing: 3)
        #expect(try RunSnapshot(run.json, path: "s.json") == run)
        var twice = run
        twice.rows.append(twice.rows[0])
        var beyond = run
        beyond.rows[5].values = Cluster([101])
        for wrong: JSONValue in [
            [:], ["schema": "evalharness.snapshot/1"], .array([run.json]), twice.json, beyond.json,
        ] {
            #expect(throws: EvaluationError.self) { try RunSnapshot(wrong, path: "s.json") }
        }
    }
}
