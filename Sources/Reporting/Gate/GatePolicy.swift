package import Evaluation

/// What a candidate must show before it may replace its baseline, as a YAML file says it.
package struct GatePolicy: Hashable, Sendable {
    /// A candidate passes where its metric is proved to lie no more than `margin` below the baseline's.
    package struct Rule: Hashable, Sendable {
        package var metric: Metric
        /// In points of the metric, 0 or more.
        package var margin: Double
    }

    /// What a verdict that could not be reached means for the exit code.
    package enum Inconclusive: String, Hashable, Sendable, CaseIterable { case report, pass, fail }

    /// Prompts are judged in random order until the verdict is there.
    package struct Sequential: Hashable, Sendable {
        /// Of the order.
        package var seed: UInt64
        /// How many prompts are judged between two looks.
        package var batch: Int
    }

    package var benchmark: String
    package var rules: [Rule]
    /// The chance of a false alarm in any of the rules where nothing got worse than its margin, and of a wrong pass.
    package var alpha = 0.05
    /// The largest share of prompts without a verdict.
    package var missingLimit = 0.01
    /// Facts about the runs that must be the same in both.
    package var required: [String]
    /// Whether the policy names them itself: then a run must say each.
    package var namesRequired: Bool
    package var inconclusive = Inconclusive.report
    /// Whether a flag of the audit stops the gate.
    package var refusesFlags = true
    /// Nil judges every prompt.
    package var sequential: Sequential?

    /// - Throws: `missingInput`, or `configuration` naming the field.
    package init(path: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: path)
        benchmark = try fields.requiredString("benchmark")
        rules = []
        for var rule in try fields.objects("rules") {
            let name = try rule.requiredString("metric")
            guard let metric = Metric(rawValue: name) else {
                let known = Metric.allCases.map(\.rawValue).joined(separator: ", ")
                throw rule.unusable("metric", "should be one of \(known), not \(name)")
            }
            let margin = try rule.number("margin")
            try rule.refuseUnknown()
            self.rules.append(Rule(metric: metric, margin: try rule.required("margin", margin)))
            if (margin ?? 0) < 0 { throw rule.unusable("margin", "should be 0 or more points") }
        }
        if rules.isEmpty { throw fields.unusable("rules", "should name at least one metric with its margin") }
        if Set(rules.map(\.metric)).count < rules.count {
            throw fields.unusable("rules", "should name each metric once")
        }
        alpha = try fields.number("alpha") ?? alpha
        if !(alpha > 0 && alpha < 0.5) { throw fields.unusable("alpha", "should be more than 0, and less than 0.5") }
        missingLimit = try fields.number("missing_limit") ?? missingLimit
        if !(0...1).contains(missingLimit) { throw fields.unusable("missing_limit", "should be 0 to 1") }
        required = try fields.strings("require_same")
        namesRequired = !required.isEmpty
        if required.isEmpty { required = RunDifferences.necessary }
        if let text = try fields.string("on_inconclusive") {
            guard let meaning = Inconclusive(rawValue: text) else {
                throw fields.unusable("on_inconclusive", "should be report (exit 2), pass or fail")
            }
            inconclusive = meaning
        }
        refusesFlags = try fields.bool("refuse_flags") ?? refusesFlags
        if var options = try fields.object("sequential") {
            let seed = try options.integer("seed") ?? 0
            let batch = try options.positive("batch") ?? 16
            try options.refuseUnknown()
            if seed < 0 { throw options.unusable("seed", "should be 0 or more") }
            sequential = Sequential(seed: UInt64(seed), batch: batch)
        }
        try fields.refuseUnknown()
        if sequential != nil, rules.contains(where: { $0.metric == .lengthControlled }) {
            throw fields.unusable(
                "sequential",
                "decides means, and \(Metric.lengthControlled.rawValue) is a fit over all prompts: leave one of the two out"
            )
        }
    }
}
