package import Chat
internal import Statistics

/// A gate for a terminal, as JSON, and for GitHub.
package struct GateReport: Sendable {
    private let gate: Gate

    package init(_ gate: Gate) { self.gate = gate }

    package var table: TextTable {
        TextTable(
            ["metric", "candidate", "baseline", "difference", "bounds", "margin", "n", "could prove", "verdict"],
            gate.rulings.map { ruling in
                [
                    ruling.rule.metric.rawValue, TextTable.decimal(ruling.values.candidate),
                    TextTable.decimal(ruling.values.baseline), TextTable.signed(ruling.difference.value),
                    TextTable.range(ruling.difference.lower, ruling.difference.upper),
                    TextTable.decimal(ruling.rule.margin), "\(ruling.count)", TextTable.decimal(ruling.detectable),
                    GateReport.words(ruling.verdict),
                ]
            })
    }

    private static func words(_ verdict: Gate.Verdict) -> String {
        switch verdict {
        case .regression: "regression"
        case .withinMargin: "no regression"
        case .inconclusive: "inconclusive"
        }
    }

    static func sentence(_ ruling: Gate.Ruling) -> String {
        let level = TextTable.decimal(100 * (1 - (1 - ruling.difference.level) / 2), 1)
        let bounds = TextTable.range(ruling.difference.lower, ruling.difference.upper)
        let change = "\(ruling.rule.metric.rawValue) changed by \(TextTable.signed(ruling.difference.value)) points"
        let margin = TextTable.decimal(ruling.rule.margin)
        switch ruling.verdict {
        case .regression:
            return "\(change), and is worse by more than \(margin) (bounds at \(level) % each: \(bounds))."
        case .withinMargin:
            return "\(change), and is no worse than \(margin) (bounds at \(level) % each: \(bounds))."
        case .inconclusive where ruling.unseenFall != nil:
            let told = TextTable.decimal(ruling.unseenFall ?? 0)
            return
                "\(change), and no prompt by more than \(margin); but \(ruling.count) prompts rule out a fall of \(told) only, "
                + "since few others may fall by the whole scale. Whether it is worse by more than \(margin) is open."
        case .inconclusive:
            return
                "\(change); whether it is worse by more than \(margin) is open (bounds at \(level) % each: \(bounds)). "
                + "\(ruling.regressionP == nil ? "All" : "\(ruling.count)") prompts could have proved "
                + "\(TextTable.decimal(ruling.detectable)) beyond the margin."
        }
    }

    /// The end of the matter, in a sentence each.
    package var lines: [String] {
        if !gate.faults.isEmpty {
            return gate.faults.map { TextTable.printable("integrity: \($0)") }
        }
        return gate.rulings.map(GateReport.sentence) + [saving].compactMap(\.self)
    }

    private var saving: String? {
        guard let saving = gate.saving else { return nil }
        let money = [saving.cost, saving.allCost].map { $0.map { "$\(TextTable.decimal($0))" } ?? "unknown" }
        return "Judged \(saving.prompts) of \(saving.allPrompts) prompts: \(saving.calls) calls in place of "
            + "\(saving.allCalls), cost \(money[0]) in place of \(money[1])."
    }

    package var outcome: String {
        if !gate.faults.isEmpty { return "The gate refuses to say: the runs cannot be compared." }
        switch gate.verdict {
        case .regression: return "The gate fails: a regression is proved."
        case .withinMargin: return "The gate passes: no regression beyond the margin."
        case .inconclusive:
            switch gate.policy.inconclusive {
            case .report: return "The gate is inconclusive."
            case .pass: return "The gate is inconclusive, which its policy lets pass."
            case .fail: return "The gate is inconclusive, which its policy does not let pass."
            }
        }
    }

    // MARK: GitHub

    /// For `$GITHUB_STEP_SUMMARY`: GitHub drops a summary of more than 1 MiB whole, so this is short.
    package var markdown: String {
        let code = GateReport.fenced(table.text + "\n" + lines.joined(separator: "\n") + "\n")
        let runs = GateReport.fenced(
            "candidate  \(printed(gate.candidate.name))\nbaseline   \(printed(gate.baseline.name))\n")
        return "## evalharness \(gate.policy.benchmark)\n\n**\(outcome)**\n\n\(code)\n\(runs)"
    }

    /// The workflow command that puts the outcome beside the change; nil where the gate passes.
    package var workflowCommand: String? {
        let level = gate.exitCode == 0 ? nil : gate.exitCode == 2 ? "warning" : "error"
        return level.map {
            "::\($0) title=evalharness \(GateReport.escaped(gate.policy.benchmark, isProperty: true))::"
                + GateReport.escaped(([outcome] + lines).joined(separator: "\n"), isProperty: false)
        }
    }

    private func printed(_ name: String) -> String { TextTable.printable(String(name.prefix(200))) }

    /// Text as it is: its fence is longer than any in it.
    private static func fenced(_ text: String) -> String {
        var longest = 0
        var run = 0
        for character in text {
            run = character == "`" ? run + 1 : 0
            longest = max(longest, run)
        }
        let fence = String(repeating: "`", count: max(3, longest + 1))
        return "\(fence)\n\(text)\(fence)\n"
    }

    private static func escaped(_ text: String, isProperty: Bool) -> String {
        var text = text.replacing("%", with: "%25").replacing("\r", with: "%0D").replacing("\n", with: "%0A")
        if isProperty { text = text.replacing(":", with: "%3A").replacing(",", with: "%2C") }
        return text
    }

    // MARK: JSON

    package var json: JSONValue {
        var object: JSONObject = [
            "schema": .string(Gate.schema), "benchmark": .string(gate.policy.benchmark),
            "candidate": .string(gate.candidate.name), "baseline": .string(gate.baseline.name),
            "verdict": .string(gate.faults.isEmpty ? gate.verdict.rawValue : "integrity"),
            "exit_code": .integer(Int(gate.exitCode)), "faults": .array(gate.faults.map(JSONValue.string)),
            "alpha": .number(gate.policy.alpha), "rules": .array(gate.rulings.map(GateReport.json)),
        ]
        object["saving"] = gate.saving.map { saving in
            [
                "prompts": .integer(saving.prompts), "all_prompts": .integer(saving.allPrompts),
                "calls": .integer(saving.calls), "all_calls": .integer(saving.allCalls),
                "usd": JSONValue(saving.cost), "all_usd": JSONValue(saving.allCost),
                "information": .number(saving.information),
            ]
        }
        object["notes"] = .array(gate.notes.map(JSONValue.string))
        return .object(object)
    }

    private static func json(_ ruling: Gate.Ruling) -> JSONValue {
        [
            "metric": .string(ruling.rule.metric.rawValue), "margin": .number(ruling.rule.margin),
            "verdict": .string(ruling.verdict.rawValue), "candidate": .number(ruling.values.candidate),
            "baseline": .number(ruling.values.baseline), "delta": .number(ruling.difference.value),
            "se": .number(ruling.difference.standardError), "lower": .number(ruling.difference.lower),
            "upper": .number(ruling.difference.upper), "method": .string(ruling.difference.method),
            "p_regression_holm": JSONValue(ruling.regressionP), "p_margin": JSONValue(ruling.marginP),
            "detectable": .number(ruling.detectable), "n": .integer(ruling.count),
        ]
    }
}
