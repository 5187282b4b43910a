package import Chat

/// Score documents as a table for a terminal.
package struct ScoreTable: Sendable {
    private let table: TextTable

    static let header = [
        "model", "LC win rate", "95 % CI", "win rate", "95 % CI", "n", "missing", "avg length",
    ]

    package init(_ documents: [JSONValue]) {
        table = TextTable(ScoreTable.header, documents.map(ScoreTable.row))
    }

    package var text: String { table.text }

    static func row(_ document: JSONValue) -> [String] {
        let metrics = document["metrics"]
        let controlled = metrics?["length_controlled_winrate"]
        let raw = metrics?["win_rate"]
        return [
            TextTable.printable(document["name"]?.string ?? "?"),
            TextTable.decimal(controlled?["value"]?.number), range(controlled?["ci95"]),
            TextTable.decimal(raw?["value"]?.number), range(raw?["ci95"]),
            metrics?["n_total"]?.integer.map(String.init) ?? "–",
            raw?["n_missing"]?.integer.map(String.init) ?? "–",
            metrics?["avg_length"]?.integer.map(String.init) ?? "–",
        ]
    }

    private static func range(_ value: JSONValue?) -> String {
        TextTable.range(value?[0]?.number, value?[1]?.number)
    }
}
