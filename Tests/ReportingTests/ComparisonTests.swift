import Chat
import Evaluation
import Reporting
import Statistics
import Testing

struct ComparisonTests {
    private func compared(_ first: RunSnapshot, _ second: RunSnapshot) throws -> Comparison {
        var rule = Comparison.Rule()
        rule.lengthControl = Comparison.Equalizer(LengthControl(design: .minimal, gamed: []), difficulty: [])
        return try Comparison(first, second, rule: rule)
    }

    @Test func `What is far apart is decided, what is close is inconclusive, and both say what could be seen`() throws {
        let far = try compared(MadeRuns.run("a", rate: 55), MadeRuns.run("b", rate: 50))
        let close = try compared(MadeRuns.run("a", rate: 50.2), MadeRuns.run("b", rate: 50))
        let (decided, open) = (far.findings[0], close.findings[0])
        #expect(decided.isDecided && decided.difference.value > decided.detectable)
        #expect(!open.isDecided && abs(open.difference.value) < open.detectable)
        #expect((open.promptsNeeded ?? 0) > 300 && (decided.promptsNeeded ?? 999) < 300)
        #expect(far.findings.map(\.metric) == [.winRate, .lengthControlled])
        #expect(ComparisonReport([far]).lines[0].contains("a is better by"))
        #expect(ComparisonReport([close]).lines[0].contains("inconclusive"))
        #expect(Set(far.slices.map(\.dimension)) == ["category", "prompt length"])
    }

    @Test func `Only prompts with verdicts in both count, and the rest is said`() throws {
        var second = MadeRuns.run("b", rate: 50, missing: 7)
        second.rows.removeLast(5)
        let comparison = try compared(MadeRuns.run("a", rate: 55, missing: 3), second)
        #expect(comparison.findings[0].count == 288)
        #expect(comparison.unshared == (5, 0) && comparison.missing == (3, 7))
        #expect(ComparisonReport([comparison]).notes.count == 2)
        #expect(throws: EvaluationError.self) {
            try compared(MadeRuns.run("a", rate: 55, prompts: 4, missing: 3), MadeRuns.run("b", rate: 5, prompts: 4))
        }
    }

    @Test func `All pairs are compared as they are alone, but for Holm's adjustment`() throws {
        let runs = [("a", 55.0), ("b", 50), ("c", 50.3)].map { MadeRuns.run($0.0, rate: $0.1) }
        var rule = Comparison.Rule()
        rule.permutations = 0
        let all = try Comparison.all(runs, rule: rule)
        #expect(all.map { "\($0.first.name)\($0.second.name)" } == ["ab", "ac", "bc"])
        let alone = try Comparison(runs[1], runs[2], rule: rule)
        #expect(all[2].findings[0].difference == alone.findings[0].difference)
        #expect((all[0].findings[0].adjustedP ?? 0) >= all[0].findings[0].p)
        #expect(
            ComparisonReport(all).lines == [
                "2 of 3 differences of 3 pairs are decided, the rest is inconclusive (Holm over all of them)."
            ])
    }

    @Test func `Runs of another judge or baseline are refused, and why they differ is listed`() throws {
        let (first, second) = (MadeRuns.run("a", rate: 50), MadeRuns.run("b", rate: 50, judge: "k"))
        let error = #expect(throws: EvaluationError.self) { try RunDifferences.refuse(first, second) }
        #expect("\(error as Any)".contains("judge"))
        var other = MadeRuns.run("b", rate: 50)
        other.rows[4].baselineLength = 7
        #expect(throws: EvaluationError.self) { try RunDifferences.refuse(first, other) }
        try RunDifferences.refuse(first, MadeRuns.run("b", rate: 50))

        var changed = second
        changed.rows[0].output = "another"
        changed.rows[1].values = Cluster([1])
        changed.provenance["chat template sha256"] = "f00"
        let differences = RunDifferences(second, changed)
        #expect(differences.facts.map(\.name) == ["chat template sha256"])
        #expect(differences.otherOutputs == 1 && differences.otherVerdicts == 1)
    }
}
