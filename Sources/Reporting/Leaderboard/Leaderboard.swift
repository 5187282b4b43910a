package import Chat
package import Evaluation
internal import Statistics

/// Several runs of one benchmark under one judge, best first.
package struct Leaderboard: Sendable {
    package static let schema = "evalharness.leaderboard/1"

    package private(set) var benchmark: JSONValue
    package private(set) var judge: JSONValue
    /// Score documents (`scores.json`), by length-controlled win rate, then win rate, then name.
    package private(set) var entries: [JSONValue]
    /// Paired differences between entries, as `compare` finds them.
    package private(set) var pairwise: [JSONValue] = []
    /// Whether it ranks runs together that differ in benchmark, data, baseline or judge.
    package private(set) var isMixed = false

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
        for (path, document) in scores.dropFirst() {
            if let what = Leaderboard.difference(first.document, document) {
                isMixed = true
                if allowMixed { break }
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
        var board: JSONObject = [
            "schema": .string(Leaderboard.schema), "benchmark": benchmark, "judge": judge,
            "entries": .array(entries.map(Leaderboard.entry)),
            "pairwise": .array(pairwise),
        ]
        if isMixed { board["mixed"] = true }
        return .object(board)
    }

    /// Keeps what comparisons of the entries found.
    package mutating func add(_ comparisons: [Comparison]) {
        pairwise = comparisons.flatMap { comparison in
            comparison.findings.map { finding in
                [
                    "a": .string(comparison.first.name), "b": .string(comparison.second.name),
                    "metric": .string(finding.metric.rawValue), "delta": .number(finding.difference.value),
                    "ci95": [.number(finding.difference.lower), .number(finding.difference.upper)],
                    "p": .number(finding.p), "p_holm": JSONValue(finding.adjustedP), "n": .integer(finding.count),
                ]
            }
        }
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
        case .string(let text)?: return CSV.cell(text)
        case .integer(let number)?: return String(number)
        case .number(let number)?: return number.description
        default: return ""
        }
    }
}

enum CSV {
    /// As RFC 4180 and Python's writer quote it.
    static func cell(_ text: String) -> String {
        let needsQuotes = text.unicodeScalars.contains { $0 == "," || $0 == "\"" || $0 == "\n" || $0 == "\r" }
        return needsQuotes ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
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
        isMixed = document["mixed"]?.bool ?? false
        pairwise = document["pairwise"]?.array ?? []
        self.entries = entries
    }

    /// One leaderboard of several of the same benchmark and judge; what stands in more than one of them stands in it
    /// once.
    ///
    /// - Parameters:
    ///   - boards: each with the path it came from.
    ///   - allowMixed: whether they may differ in benchmark, data, baseline or judge.
    /// - Throws: `badData` for a board without entries or with one that is no score; `integrity` where boards differ
    ///   in what they may not, or a name has other numbers in another of them.
    package init(
        merging boards: [(path: String, board: Leaderboard)], allowMixed: Bool = false
    ) throws(EvaluationError) {
        var merged: [(path: String, document: JSONValue)] = []
        for (path, board) in boards {
            if board.isMixed, !allowMixed {
                throw .integrity(
                    "\(path) ranks runs together that do not belong in one ranking (--mixed). Build it anew from runs "
                        + "of one benchmark and judge.")
            }
            if board.entries.isEmpty { throw .badData("\(path) has no entries. Leave it out.") }
            for document in board.documents {
                guard let name = document["name"]?.string, document["metrics"]?.object != nil else {
                    throw .badData("An entry of \(path) has no name or no metrics. Build that leaderboard anew.")
                }
                if !allowMixed, let first = merged.first,
                    let what = Leaderboard.difference(first.document, document)
                {
                    throw .integrity(
                        "\(path) has another \(what) than \(first.path): their numbers do not belong in one ranking. "
                            + "Mix them knowingly with --mixed.")
                }
                guard let known = merged.first(where: { $0.document["name"]?.string == name }) else {
                    merged.append((path, document))
                    continue
                }
                let isOther = known.document["fingerprint"] != document["fingerprint"]
                if isOther || known.document["metrics"] != document["metrics"] {
                    throw .integrity(
                        "\(name) has \(isOther ? "another fingerprint" : "other numbers") in \(path) than in "
                            + "\(known.path). Give one of the two runs its own --name and build its leaderboard anew, "
                            + "or leave one out.")
                }
            }
        }
        try self.init(scores: merged, allowMixed: allowMixed)
        for (_, board) in boards {
            isMixed = isMixed || board.isMixed
            pairwise += board.pairwise.filter { !pairwise.contains($0) }
        }
    }

    /// The entries as the score documents that they were made of, with what they have in common.
    private var documents: [JSONValue] {
        entries.map { entry in
            var document = entry.object ?? JSONObject()
            document["schema"] = .string(ScoreRecord.schema)
            document["benchmark"] = benchmark
            document["judge"] = judge
            return .object(document)
        }
    }
}
