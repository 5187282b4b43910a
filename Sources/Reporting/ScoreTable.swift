package import Chat

/// Score documents as a table for a terminal.
package struct ScoreTable: Sendable {
    private let rows: [[String]]

    static let header = [
        "model", "LC win rate", "95 % CI", "win rate", "95 % CI", "n", "missing", "avg length",
    ]

    package init(_ documents: [JSONValue]) {
        rows = [ScoreTable.header] + documents.map(ScoreTable.row)
    }

    package var text: String {
        let widths = ScoreTable.header.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + space : space + cell
            }.joined(separator: "  ") + "\n"
        }.joined()
    }

    static func row(_ document: JSONValue) -> [String] {
        let metrics = document["metrics"]
        let controlled = metrics?["length_controlled_winrate"]
        let raw = metrics?["win_rate"]
        return [
            printable(document["name"]?.string ?? "?"),
            decimal(controlled?["value"]), range(controlled?["ci95"]),
            decimal(raw?["value"]), range(raw?["ci95"]),
            metrics?["n_total"]?.integer.map(String.init) ?? "–",
            raw?["n_missing"]?.integer.map(String.init) ?? "–",
            metrics?["avg_length"]?.integer.map(String.init) ?? "–",
        ]
    }

    private static func range(_ value: JSONValue?) -> String {
        guard let lower = value?[0], let upper = value?[1] else { return "–" }
        return "[\(decimal(lower)), \(decimal(upper))]"
    }

    /// Two decimals, as upstream prints its table.
    private static func decimal(_ value: JSONValue?) -> String {
        guard let number = value?.number else { return "–" }
        let hundredths = Int((abs(number) * 100).rounded())
        let fraction = hundredths % 100
        return "\(number < 0 && hundredths > 0 ? "-" : "")\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }

    /// Names come from files: control and direction characters never reach the terminal.
    package static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}
