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
        var unanswered = MadeRuns.run("new", rate: 60)
        unanswered.unanswered = 10
        var halves = MadeRuns.run("new", rate: 60)
        for place in halves.rows.indices {
            (halves.rows[place].asked, halves.rows[place].lost) = (2, place < 40 ? 1 : 0)
        }
        var longer = MadeRuns.run("new", rate: 60)
        longer.rows[7].baselineLength? += 1
        let cases: [(RunSnapshot, String)] = [
            (MadeRuns.run("new", rate: 60, judge: "k"), "another judge"),
            (MadeRuns.run("new", rate: 60, missing: 10), "10 of 300 verdicts are missing"), (flagged, "constant"),
            (other, "the policy is for alpacaeval"), (fewer, "40 of the 300 prompts"),
            (unanswered, "10 of 310 verdicts are missing"), (halves, "40 of 600 verdicts are missing"),
            (longer, "other outputs of what both were compared to"),
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

    @Test func `A baseline whose verdicts are missing is no baseline`() throws {
        let gate = try gate(MadeRuns.run("new", rate: 50), MadeRuns.run("old", rate: 50, missing: 200))
        #expect(gate.exitCode == 3 && gate.faults.contains { $0.contains("200 of 300 verdicts of the baseline") })
    }

    @Test func `A fact that a policy names and no run says is a fault`() throws {
        let (candidate, baseline) = (MadeRuns.run("new", rate: 50), MadeRuns.run("old", rate: 50))
        #expect(try gate(candidate, baseline, "require_same: [judge]").exitCode == 0)
        let gate = try gate(candidate, baseline, "require_same: [chat template]")
        #expect(gate.exitCode == 3 && gate.faults.contains { $0.contains("neither run says its chat template") })
    }

    @Test func `What so few prompts cannot show is not ruled out`() throws {
        func code(_ count: Int, _ change: (Int) -> Double) throws -> Int32 {
            var (candidate, baseline) = (
                MadeRuns.run("a", rate: 50, prompts: count), MadeRuns.run("a", rate: 50, prompts: count)
            )
            for place in 0..<count {
                let value = 30 + 0.7 * Double(place % 60)
                baseline.rows[place].values = Cluster([value])
                candidate.rows[place].values = Cluster([value + change(place)])
            }
            return try gate(candidate, baseline).exitCode
        }
        // The margin is 3 of 100 points: one in 33 prompts may lose all of it.
        #expect(try code(60) { _ in 0 } == 2)
        #expect(try code(60) { $0 == 7 ? 0.1 : 0 } == 2)
        #expect(try code(98) { _ in 0 } == 2)
        #expect(try code(99) { _ in 0 } == 0)
        #expect(try code(300) { $0 == 7 ? 0.1 : 0 } == 0)
        // After a fall of 2 points by all, one in 98.
        #expect(try code(100) { _ in -2 } == 2)
        #expect(try code(300) { _ in -2 } == 0)
        // A fall by all of 20 points is 3 where 17 of 120 others rise by the whole scale.
        #expect(try code(12) { _ in -20 } == 2)
        #expect(try code(25) { _ in -20 } == 1)
        #expect(try code(25) { $0 % 2 == 0 ? -30 : -10 } == 1)
    }

    @Test func `A gate without a ruling has proved nothing`() throws {
        let run = MadeRuns.run("new", rate: 50)
        let gate = Gate(policy: try policy(), candidate: run, baseline: run, faults: [], rulings: [], saving: nil)
        #expect(gate.exitCode == 2)
        let document = try Document(JUnitReport(gate, timestamp: "2026-01-31T12:00:00").xml)
        #expect(document.elements.count { $0.name == "skipped" } == 1)
        #expect(document.elements.first { $0.name == "testsuite" }?.attributes["tests"] == "2")
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
