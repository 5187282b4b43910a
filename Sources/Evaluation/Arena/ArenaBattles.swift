internal import Chat
internal import Statistics

/// The rows that arena-hard-auto v0.1 fits its ratings to: a game each, a strong verdict as often as its weight says.
package struct ArenaBattles: Hashable, Sendable {
    package struct Battle: Hashable, Sendable {
        package var id: String
        /// Places in `models`; `first` is the baseline where the rows come from judgments.
        package var first, second: Int
        /// 1 where the first won, 0 where the second did, 0.5 for a tie.
        package var outcome: Double
        /// How many rows it is.
        package var copies: Int
    }

    /// In the order in which upstream's fit meets them: those that come first in a row, then those that come second.
    package private(set) var models: [String]
    package private(set) var battles: [Battle]
    /// Games without a label that upstream gives a meaning, by what stands in its place: left out, and counted.
    package private(set) var unusable: [String: Int] = [:]

    /// - Parameters:
    ///   - judgments: in the order of upstream: files by name, records as they stand.
    ///   - weight: of a strong verdict.
    ///   - firstGameOnly: leaves the second game of each record out.
    package init(_ judgments: [ArenaAnnotation], baseline: String, weight: Int, firstGameOnly: Bool = false) {
        var rows: [(id: String, model: String, outcome: Double, copies: Int)] = []
        for judgment in judgments {
            let outcomes = judgment.outcomes(.v01)
            for game in 0..<(firstGameOnly ? 1 : 2) {
                guard game < outcomes.count else {
                    unusable["missing game", default: 0] += 1
                    continue
                }
                guard let outcome = outcomes[game] else {
                    unusable[judgment.labels[game] ?? "no label", default: 0] += 1
                    continue
                }
                rows.append((judgment.id, judgment.model, 1 - outcome.preference, outcome.isStrong ? weight : 1))
            }
        }
        rows.removeAll { $0.copies == 0 }
        models = rows.isEmpty ? [] : [baseline]
        var places = [baseline: 0]
        battles = []
        for row in rows {
            let place = places[row.model] ?? models.count
            if places.updateValue(place, forKey: row.model) == nil { models.append(row.model) }
            battles.append(
                Battle(id: row.id, first: 0, second: place, outcome: row.outcome, copies: row.copies))
        }
    }

    /// Reads upstream's `arena_hard_battles.jsonl`: a row a line.
    ///
    /// - Throws: `badData` naming the row that is not one of upstream's.
    package init(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        var rows: [(id: String, first: String, second: String, outcome: Double)] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let id = record["question_id"]?.identifier, let first = record["model_a"]?.string,
                let second = record["model_b"]?.string, let winner = record["winner"]?.string,
                let outcome = ["model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5][winner]
            else {
                throw .badData(
                    "\(path), record \(index + 1) should have question_id, model_a, model_b, and model_a, model_b or tie as "
                        + "winner.")
            }
            rows.append((id, first, second, outcome))
        }
        var places: [String: Int] = [:]
        models = []
        for name in rows.map(\.first) + rows.map(\.second) where places[name] == nil {
            places[name] = models.count
            models.append(name)
        }
        battles = []
        for row in rows {
            let battle = Battle(
                id: row.id, first: places[row.first] ?? 0, second: places[row.second] ?? 0, outcome: row.outcome,
                copies: 1)
            if battles.last.map({ $0.id == battle.id && $0.first == battle.first && $0.second == battle.second })
                == true, battles.last?.outcome == battle.outcome
            {
                battles[battles.count - 1].copies += 1
            } else {
                battles.append(battle)
            }
        }
    }

    package var rowCount: Int { battles.reduce(0) { $0 + $1.copies } }

    /// The model that every row names first; nil where there is none.
    var center: Int? {
        guard let first = battles.first?.first else { return nil }
        return battles.allSatisfy { $0.first == first } ? first : nil
    }

    /// By row the battle that it is a copy of.
    var battleOfRow: [Int] {
        battles.indices.flatMap { [Int](repeating: $0, count: battles[$0].copies) }
    }

    /// How often each battle is drawn when rows are drawn as pandas' `sample(frac=1, replace=True)` does.
    func resample(_ generator: inout MersenneTwister, _ battleOfRow: [Int]) -> [Double] {
        var counts = [Double](repeating: 0, count: battles.count)
        for row in generator.indices(battleOfRow.count, below: battleOfRow.count) { counts[battleOfRow[row]] += 1 }
        return counts
    }
}
