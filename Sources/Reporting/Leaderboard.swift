package import Chat
package import Evaluation

/// Several runs of one benchmark under one judge, best first.
package struct Leaderboard: Sendable {
    package static let schema = "evalharness.leaderboard/1"

    package private(set) var benchmark: JSONValue
    package private(set) var judge: JSONValue
    /// Score documents (`scores.json`), by length-controlled win rate, then win rate, then name.
    package private(set) var entries: [JSONValue]

    /// - Parameter scores: the documents with the path each came from.
    /// - Throws: `badData` for a document of another kind; `integrity` where runs differ in benchmark, data, baseline
    /// or judge,
    ///   unless `allowMixed`: such numbers do not belong in one ranking.
    package init(scores: [(path: String, document: JSONValue)], allowMixed: Bool) throws(EvaluationError) {
        guard let first = scores.first else {
            throw .missingInput(
                "There is no run to build a leaderboard from. Make one with: evalharness run "
                    + "alpacaeval --model …")
        }
        for (path, document) in scores {
            guard document["schema"]?.string == ScoreRecord.schema, document["name"]?.string != nil,
                document["metrics"]?.object != nil
            else { throw .badData("\(path) is no score of evalharness (schema \(ScoreRecord.schema)).") }
        }
        for (path, document) in scores.dropFirst() where !allowMixed {
            if let what = Leaderboard.difference(first.document, document) {
                throw .integrity(
                    "\(path) has another \(what) than \(first.path): their numbers do not belong in one ranking. "
                        + "Build them apart, or "
                        + "mix them knowingly with --mixed.")
            }
        }
        benchmark = first.document["benchmark"] ?? .null
        judge = first.document["judge"] ?? .null
        entries = scores.map(\.document).sorted(by: Leaderboard.isBetter)
    }

    package var json: JSONValue {
        [
            "schema": .string(Leaderboard.schema), "benchmark": benchmark, "judge": judge,
            "entries": .array(entries.map(Leaderboard.entry)), "pairwise": [],
        ]
    }

    /// alpaca_eval's leaderboard CSV: its columns in its order, floats as Python prints them.
    package var csv: String {
        var lines = [
            ",win_rate,standard_error,n_wins,n_wins_base,n_draws,n_total,discrete_win_rate,mode,avg_length,"
                + "length_controlled_winrate,lc_standard_error"
        ]
        for entry in entries {
            let metrics = entry["metrics"] ?? .null
            let cells: [JSONValue?] = [
                entry["name"], metrics["win_rate"]?["value"], metrics["win_rate"]?["official_se"], metrics["n_wins"],
                metrics["n_wins_base"], metrics["n_draws"], metrics["n_total"], metrics["discrete_win_rate"]?["value"],
                "community", metrics["avg_length"], metrics["length_controlled_winrate"]?["value"],
                metrics["length_controlled_winrate"]?["official_se"],
            ]
            lines.append(cells.map(Leaderboard.cell).joined(separator: ","))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func entry(_ document: JSONValue) -> JSONValue {
        var entry = JSONObject()
        for key in [
            "name", "fingerprint", "metrics", "missing", "generation", "integrity", "data", "notes", "usage",
        ] {
            entry[key] = document[key]
        }
        return .object(entry)
    }

    private static func difference(_ left: JSONValue, _ right: JSONValue) -> String? {
        if left["benchmark"]?["id"] != right["benchmark"]?["id"] { return "benchmark" }
        if left["benchmark"]?["dataset_sha256"] != right["benchmark"]?["dataset_sha256"] { return "prompt set" }
        if left["benchmark"]?["baseline_sha256"] != right["benchmark"]?["baseline_sha256"] { return "baseline" }
        if left["benchmark"]?["n"] != right["benchmark"]?["n"] { return "number of prompts" }
        let designs = [left, right].map { $0["metrics"]?["length_controlled_winrate"]?["design"] }
        if let left = designs[0], let right = designs[1] {
            if left["name"] != right["name"] || left["difficulty"] != right["difficulty"] { return "length control" }
        }
        if left["data"] != right["data"] { return "calibration file" }
        if left["judge"]?["id"] != right["judge"]?["id"] { return "judge" }
        if left["judge"]?["fingerprint"] != right["judge"]?["fingerprint"] { return "judge fingerprint" }
        return nil
    }

    private static func isBetter(_ left: JSONValue, _ right: JSONValue) -> Bool {
        for metric in ["length_controlled_winrate", "win_rate"] {
            let values = [left, right].map { $0["metrics"]?[metric]?["value"]?.number ?? -.infinity }
            if values[0] != values[1] { return values[0] > values[1] }
        }
        return (left["name"]?.string ?? "") < (right["name"]?.string ?? "")
    }

    private static func cell(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text)?:
            let needsQuotes = text.unicodeScalars.contains { $0 == "," || $0 == "\"" || $0 == "\n" || $0 == "\r" }
            return needsQuotes ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
        case .integer(let number)?: return String(number)
        case .number(let number)?: return number.description
        default: return ""
        }
    }
}

extension Leaderboard {
    /// Reads back what `json` wrote.
    ///
    /// - Throws: `badData` for another document.
    package init(document: JSONValue, path: String) throws(EvaluationError) {
        guard document["schema"]?.string == Leaderboard.schema, let entries = document["entries"]?.array else {
            throw .badData("\(path) is no leaderboard of evalharness (schema \(Leaderboard.schema)).")
        }
        benchmark = document["benchmark"] ?? .null
        judge = document["judge"] ?? .null
        self.entries = entries
    }
}
