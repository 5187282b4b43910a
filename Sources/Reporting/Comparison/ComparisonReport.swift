package import Chat
internal import Statistics

/// Comparisons for a terminal, and as JSON.
package struct ComparisonReport: Sendable {
    package static let schema = "evalharness.comparison/1"

    private let comparisons: [Comparison]

    package init(_ comparisons: [Comparison]) { self.comparisons = comparisons }

    /// Of two runs their metrics with all that is known, of more a line a pair and metric.
    package var table: TextTable { comparisons.count == 1 ? detail(comparisons[0]) : overview }

    private func detail(_ comparison: Comparison) -> TextTable {
        TextTable(
            [
                "metric", comparison.first.name, comparison.second.name, "difference", "95 % CI", "p", "p, exchanging",
                "p, Holm", "could see", "would settle",
            ].map(TextTable.printable),
            comparison.findings.map { finding in
                [
                    finding.metric.rawValue, TextTable.decimal(finding.values.first),
                    TextTable.decimal(finding.values.second), TextTable.signed(finding.difference.value),
                    TextTable.range(finding.difference.lower, finding.difference.upper), ComparisonReport.p(finding.p),
                    finding.permutationP.map(ComparisonReport.p) ?? "–",
                    finding.adjustedP.map(ComparisonReport.p) ?? "–", TextTable.decimal(finding.detectable),
                    finding.promptsNeeded.map { "\($0) prompts" } ?? "–",
                ]
            })
    }

    private var overview: TextTable {
        TextTable(
            ["first", "second", "metric", "difference", "95 % CI", "could see", "p", "p, Holm", "better"],
            comparisons.flatMap { comparison in
                comparison.findings.map { finding in
                    [
                        TextTable.printable(comparison.first.name), TextTable.printable(comparison.second.name),
                        finding.metric.rawValue, TextTable.signed(finding.difference.value),
                        TextTable.range(finding.difference.lower, finding.difference.upper),
                        TextTable.decimal(finding.detectable), ComparisonReport.p(finding.p),
                        finding.adjustedP.map(ComparisonReport.p) ?? "–",
                        ComparisonReport.better(comparison, finding).map(TextTable.printable) ?? "inconclusive",
                    ]
                }
            })
    }

    /// A matrix a metric: the difference of a row's run less the column's, with a star where it is decided.
    var matrices: [HTMLPage.Table] {
        var names: [String] = []
        for name in comparisons.flatMap({ [$0.first.name, $0.second.name] }) where !names.contains(name) {
            names.append(name)
        }
        return Metric.allCases.compactMap { metric in
            var cells: [String: [String: String]] = [:]
            for comparison in comparisons {
                guard let finding = comparison.findings.first(where: { $0.metric == metric }) else { continue }
                let star = finding.isDecided ? " *" : ""
                let value = finding.difference.value
                cells[comparison.first.name, default: [:]][comparison.second.name] = TextTable.signed(value) + star
                cells[comparison.second.name, default: [:]][comparison.first.name] = TextTable.signed(-value) + star
            }
            if cells.isEmpty { return nil }
            return HTMLPage.Table(
                ["\(metric.rawValue), points"] + names,
                names.map { row in [row] + names.map { cells[row]?[$0] ?? "" } })
        }
    }

    /// Of a comparison's slices; nil without any.
    package var slices: TextTable? {
        guard comparisons.count == 1, !comparisons[0].slices.isEmpty else { return nil }
        let comparison = comparisons[0]
        return TextTable(
            ["by", "kind", "n", comparison.first.name, comparison.second.name, "difference", "95 % CI", "p, Holm"]
                .map(TextTable.printable),
            comparison.slices.map { slice in
                [
                    slice.dimension, TextTable.printable(slice.name), "\(slice.finding.count)",
                    TextTable.decimal(slice.finding.values.first), TextTable.decimal(slice.finding.values.second),
                    TextTable.signed(slice.finding.difference.value),
                    TextTable.range(slice.finding.difference.lower, slice.finding.difference.upper),
                    slice.finding.adjustedP.map(ComparisonReport.p) ?? "–",
                ]
            })
    }

    /// What was found, a sentence a metric of two runs; a count of more.
    package var lines: [String] {
        guard comparisons.count == 1 else {
            let findings = comparisons.flatMap(\.findings)
            return [
                "\(findings.count { $0.isDecided }) of \(findings.count) differences of \(comparisons.count) pairs are decided, the "
                    + "rest is inconclusive (Holm over all of them)."
            ]
        }
        return comparisons[0].findings.map { ComparisonReport.sentence(comparisons[0], $0) }
    }

    package var notes: [String] {
        var said: Set<String> = []
        return (comparisons.flatMap(\.notes) + leftOut).filter { said.insert($0).inserted }.map(TextTable.printable)
    }

    private var leftOut: [String] {
        guard comparisons.count == 1 else {
            let isAny = comparisons.contains { $0.unshared != (0, 0) || $0.missing != (0, 0) }
            return isAny ? ["prompts that one of a pair lacks, or has no verdict on, are left out of that pair"] : []
        }
        return comparisons[0].leftOut
    }

    private static func sentence(_ comparison: Comparison, _ finding: Comparison.Finding) -> String {
        let difference = "\(TextTable.decimal(abs(finding.difference.value))) points"
        let unit = finding.metric.rawValue
        guard let better = better(comparison, finding) else {
            let needed = finding.promptsNeeded.map { "; \($0) prompts like these would settle it" } ?? ""
            return "\(unit): inconclusive. \(difference) apart on \(finding.count) prompts, which could have shown "
                + "\(TextTable.decimal(finding.detectable))\(needed)."
        }
        return
            "\(unit): \(TextTable.printable(better)) is better by \(difference) (p = \(p(finding.adjustedP ?? finding.p)))."
    }

    /// Who is better, where that is decided.
    private static func better(_ comparison: Comparison, _ finding: Comparison.Finding) -> String? {
        guard finding.isDecided else { return nil }
        return finding.difference.value > 0 ? comparison.first.name : comparison.second.name
    }

    static func p(_ value: Double) -> String { value < 0.0001 ? "<0.0001" : TextTable.decimal(value, 4) }

    // MARK: JSON

    package var json: JSONValue {
        [
            "schema": .string(ComparisonReport.schema),
            "comparisons": .array(comparisons.map(ComparisonReport.json)),
        ]
    }

    private static func json(_ comparison: Comparison) -> JSONValue {
        [
            "first": .string(comparison.first.name), "second": .string(comparison.second.name),
            "benchmark": .string(comparison.first.benchmark),
            "judge": JSONValue(comparison.first.fact("judge")),
            "metrics": .array(comparison.findings.map { json(comparison, $0) }),
            "slices": .array(
                comparison.slices.map { slice in
                    var object: JSONObject = ["by": .string(slice.dimension), "kind": .string(slice.name)]
                    for member in json(comparison, slice.finding).object?.members ?? [] {
                        object[member.key] = member.value
                    }
                    return .object(object)
                }), "notes": .array(comparison.notes.map(JSONValue.string)),
        ]
    }

    private static func json(_ comparison: Comparison, _ finding: Comparison.Finding) -> JSONValue {
        let difference = finding.difference
        return [
            "metric": .string(finding.metric.rawValue), "first": .number(finding.values.first),
            "second": .number(finding.values.second), "delta": .number(difference.value),
            "se": .number(difference.standardError),
            "ci95": [.number(difference.lower), .number(difference.upper)],
            "method": .string("\(difference.method), \(difference.resamples) resamples"), "p": .number(finding.p),
            "p_permutation": JSONValue(finding.permutationP), "p_holm": JSONValue(finding.adjustedP),
            "detectable": .number(finding.detectable),
            "prompts_needed": finding.promptsNeeded.map { .integer($0) } ?? .null,
            "n": .integer(finding.count),
            "verdict": .string(
                finding.isDecided ? (difference.value > 0 ? "first" : "second") : "inconclusive"),
        ]
    }
}
