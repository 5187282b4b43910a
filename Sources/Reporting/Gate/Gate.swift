package import Evaluation
internal import Foundation
package import Statistics

/// A candidate against a baseline under a policy: proved worse, proved no worse than the margin, or neither.
package struct Gate: Sendable {
    package static let schema = "evalharness.gate/1"

    package enum Verdict: String, Hashable, Sendable {
        case regression
        case withinMargin = "no_regression"
        case inconclusive
    }

    /// One rule and what came of it.
    package struct Ruling: Sendable {
        package var rule: GatePolicy.Rule
        package var verdict: Verdict
        /// The candidate's value and the baseline's.
        package var values: (candidate: Double, baseline: Double)
        /// The candidate less the baseline, with both one-sided bounds.
        package var difference: Interval
        /// One-sided, of "no worse than the margin": adjusted by Holm over the rules. Nil of a sequential test, which has
        /// bounds for all its looks instead.
        package var regressionP: Double?
        /// One-sided, of "worse than the margin".
        package var marginP: Double?
        /// Of prompts.
        package var count: Int
        /// The smallest regression beyond the margin that this would prove in four of five cases; of a sequential test, that
        /// all prompts would.
        package var detectable: Double
        /// Where no prompt fell by more than the margin, and they are too few to rule out one that others make: the fall
        /// that they do rule out.
        package var unseenFall: Double?
    }

    /// What judging in random order took.
    package struct Saving: Hashable, Sendable {
        /// Of the judge's calls, for the prompts looked at and for all.
        package var calls, allCalls: Int
        package var prompts, allPrompts: Int
        /// US dollars for the calls made, and for all at the mean price of those; nil where no price is known.
        package var cost, allCost: Double?
        /// The share of the judge's evidence that was needed, in information.
        package var information: Double

        package init(
            calls: Int, allCalls: Int, prompts: Int, allPrompts: Int, cost: Double?, allCost: Double?,
            information: Double
        ) {
            self.calls = calls
            self.allCalls = allCalls
            self.prompts = prompts
            self.allPrompts = allPrompts
            self.cost = cost
            self.allCost = allCost
            self.information = information
        }
    }

    package let policy: GatePolicy
    package let candidate: RunSnapshot
    package let baseline: RunSnapshot
    package private(set) var rulings: [Ruling] = []
    /// Why no number counts; empty where both runs can be compared.
    package let faults: [String]
    package private(set) var notes: [String] = []
    package var saving: Saving?

    /// Over all prompts.
    ///
    /// - Throws: `configuration` where a rule's metric is not one of these runs; `badData` without common prompts.
    package init(
        policy: GatePolicy, candidate: RunSnapshot, baseline: RunSnapshot, rule: Comparison.Rule
    ) throws(EvaluationError) {
        self.policy = policy
        self.candidate = candidate
        self.baseline = baseline
        faults = Gate.faults(policy, candidate, baseline, prompts: Set(candidate.rows.map(\.prompt)))
        if !faults.isEmpty { return }
        let comparison = try Comparison(candidate, baseline, rule: rule)
        notes = comparison.notes + comparison.leftOut
        for rule in policy.rules {
            guard let finding = comparison.findings.first(where: { $0.metric == rule.metric }) else {
                throw Gate.noMetric(rule.metric, candidate, comparison.notes)
            }
            rulings.append(Ruling(rule, finding, alpha: policy.alpha))
        }
        for (place, p) in holmAdjusted(rulings.map(\.regressionP)).enumerated() {
            rulings[place].regressionP = p
            rulings[place].decide(alpha: policy.alpha)
        }
    }

    /// Of a sequential test that has ended.
    ///
    /// - Parameter faults: as found before anything was judged.
    package init(
        policy: GatePolicy, candidate: RunSnapshot, baseline: RunSnapshot, faults: [String], rulings: [Ruling],
        saving: Saving?
    ) {
        self.policy = policy
        self.candidate = candidate
        self.baseline = baseline
        self.faults = faults
        self.rulings = faults.isEmpty ? rulings : []
        self.saving = saving
    }

    /// The worst of its rulings.
    package var verdict: Verdict {
        if rulings.contains(where: { $0.verdict == .regression }) { return .regression }
        // A rule without a ruling is an open question.
        let passed = rulings.count { $0.verdict == .withinMargin }
        return passed == policy.rules.count ? .withinMargin : .inconclusive
    }

    /// As a shell sees it.
    package var exitCode: Int32 {
        if !faults.isEmpty { return 3 }
        switch (verdict, policy.inconclusive) {
        case (.withinMargin, _), (.inconclusive, .pass): return 0
        case (.regression, _), (.inconclusive, .fail): return 1
        case (.inconclusive, .report): return 2
        }
    }

    // MARK: What must hold before any number counts

    /// - Parameters:
    ///   - prompts: of the candidate, judged or to be judged, by their digests.
    ///   - tolerated: of the candidate's verdicts so many may be missing, however few there are.
    package static func faults(
        _ policy: GatePolicy, _ candidate: RunSnapshot, _ baseline: RunSnapshot, prompts: Set<String>,
        tolerated: Int = 0
    ) -> [String] {
        var faults: [String] = []
        for run in [candidate, baseline] where run.benchmark != policy.benchmark {
            faults.append("\(run.name) is a run of \(run.benchmark), and the policy is for \(policy.benchmark)")
        }
        if candidate.scale != baseline.scale {
            faults.append("the candidate has \(candidate.scale.rawValue)s, the baseline \(baseline.scale.rawValue)s")
        }
        for name in policy.required {
            let (own, other) = (candidate.fact(name), baseline.fact(name))
            if own != other {
                faults.append("another \(name): \(own ?? "not said") and, of the baseline, \(other ?? "not said")")
            } else if own == nil, policy.namesRequired {
                faults.append("neither run says its \(name): require_same takes the names that compare --why prints")
            }
        }
        if policy.required.contains("baseline outputs"),
            let prompt = RunDifferences.otherBaseline(candidate, baseline)
        {
            faults.append("other outputs of what both were compared to (prompt \(prompt) for one)")
        }
        for (run, whose, tolerated) in [(candidate, "", tolerated), (baseline, " of the baseline", 0)] {
            let limit = max(policy.missingLimit * Double(max(1, run.asked)), Double(tolerated))
            if Double(run.missing) > limit {
                faults.append(
                    "\(run.missing) of \(run.asked) verdicts\(whose) are missing, more than missing_limit "
                        + "\(policy.missingLimit) allows")
            }
        }
        // Leaving out the hard ones must not pass.
        let judged = baseline.rows.filter { $0.values != nil }
        let absent = judged.count { !prompts.contains($0.prompt) }
        if Double(absent) > policy.missingLimit * Double(max(1, judged.count)) {
            faults.append(
                "\(absent) of the \(judged.count) prompts that the baseline was judged on are not in the candidate's run, more "
                    + "than missing_limit \(policy.missingLimit) allows")
        }
        if policy.refusesFlags { faults += candidate.flags.map { "the audit of the candidate's outputs: \($0)" } }
        return faults
    }

    private static func noMetric(_ metric: Metric, _ run: RunSnapshot, _ notes: [String]) -> EvaluationError {
        .configuration(
            "The policy asks for \(metric.rawValue), which runs of \(run.benchmark) do not have here"
                + (notes.first.map { " (\($0))" } ?? "") + ". \(run.scale.metric.rawValue) is there.")
    }
}

extension Gate.Ruling {
    fileprivate init(_ rule: GatePolicy.Rule, _ finding: Comparison.Finding, alpha: Double) {
        let unseen = UnseenChanges(finding, margin: rule.margin)
        self.init(
            rule: rule, verdict: .inconclusive,
            values: (finding.values.first, finding.values.second),
            difference: finding.resampled.interval(level: 1 - 2 * alpha, method: finding.difference.method),
            regressionP: max(finding.resampled.p(ofAtLeast: -rule.margin), unseen.riseChance),
            marginP: max(finding.resampled.p(ofAtMost: -rule.margin), unseen.fallChance), count: finding.count,
            // One-sided: a two-sided test at twice the level.
            detectable: smallestDetectableDifference(
                standardError: finding.difference.standardError, alpha: 2 * alpha),
            unseenFall: unseen.fallChance < alpha ? nil : unseen.fallTold(alpha: alpha))
    }

    fileprivate mutating func decide(alpha: Double) {
        if let regressionP, regressionP < alpha {
            verdict = .regression
        } else if let marginP, marginP < alpha {
            verdict = .withinMargin
        }
    }

    /// Of a sequential test.
    package init(
        _ rule: GatePolicy.Rule, _ test: SequentialTest, _ state: SequentialTest.State, baseline: Double
    ) {
        let verdict: Gate.Verdict =
            switch test.decision {
            case .above: .withinMargin
            case .below: .regression
            case nil: .inconclusive
            }
        self.init(
            rule: rule, verdict: verdict, values: (baseline + state.estimate, baseline),
            difference: Interval(
                value: state.estimate, standardError: state.standardError, lower: state.lower, upper: state.upper,
                level: 1 - 2 * test.alpha, resamples: 0, failed: 0, method: "sequential bound, valid at every look"),
            count: state.count, detectable: state.detectable)
    }
}

/// Changes that no prompt shows, and resamples therefore know nothing of: rare ones, as far as the scale reaches.
private struct UnseenChanges {
    private let value, margin, span: Double
    private let count: Int
    private let changes: ClosedRange<Double>

    init(_ finding: Comparison.Finding, margin: Double) {
        (value, self.margin, span) = (finding.difference.value, margin, finding.metric.span)
        (count, changes) = (finding.count, finding.changes)
    }

    /// The chance that a model that is worse by the margin, since it falls by the whole scale on some prompts, shows none
    /// of these; 0 where prompts did fall by more than the margin.
    var fallChance: Double {
        changes.lowerBound < -margin ? 0 : chance(ofNone: (margin + value) / (span + value))
    }

    /// Likewise that one that is not worse by it shows none of its rises.
    var riseChance: Double {
        changes.upperBound >= -margin ? 0 : chance(ofNone: (-margin - value) / (span - value))
    }

    /// The smallest fall that so many prompts without one rule out.
    func fallTold(alpha: Double) -> Double { (span + value) * (1 - pow(alpha, 1 / Double(count))) - value }

    private func chance(ofNone share: Double) -> Double { pow(1 - min(1, max(0, share)), Double(count)) }
}
