internal import Statistics

/// Several judges of the same games, or one: how steady each is, and how far they agree.
package struct ArenaPanel: Hashable, Sendable {
    package struct Judge: Hashable, Sendable {
        package var name: String
        /// Records with a label in both games.
        package var records: Int
        /// The share of them whose games prefer the same answer, though it stood in another place; nil without any.
        package var positionConsistency: Double?
        /// Mean preference for the answer in place A, 0...1: 0.5 where places do not matter.
        package var preferenceForA: Double?
    }

    /// By name.
    package var judges: [Judge]
    /// Krippendorff's α of the judges' mean preferences for the model, as intervals; nil below two judges.
    package var alpha: Double?
    /// Records that two judges or more have judged.
    package var sharedRecords: Int

    package init(_ judgments: [ArenaAnnotation], version: ArenaVersion) {
        var preferences: [String: [String: Double]] = [:]
        var games: [String: [(first: Double, second: Double)]] = [:]
        for judgment in judgments {
            let outcomes = judgment.labels.prefix(2).map { $0.flatMap(version.outcome)?.preferenceForA }
            guard outcomes.count == 2, let first = outcomes[0], let second = outcomes[1] else { continue }
            let judge = judgment.judge ?? "unnamed"
            games[judge, default: []].append((first, second))
            preferences[judge, default: [:]]["\(judgment.model)\0\(judgment.id)"] = (1 - first + second) / 2
        }
        judges = games.sorted { $0.key < $1.key }.map { name, games in
            let consistent = games.count { $0.first == 1 - $0.second }
            return Judge(
                name: name, records: games.count,
                positionConsistency: games.isEmpty ? nil : Double(consistent) / Double(games.count),
                preferenceForA: mean(games.flatMap { [$0.first, $0.second] }))
        }
        let keys = Set(preferences.values.flatMap(\.keys)).sorted()
        let ratings = judges.map { judge in keys.map { preferences[judge.name]?[$0] } }
        sharedRecords = keys.indices.count { place in ratings.count { $0[place] != nil } > 1 }
        alpha = judges.count > 1 ? krippendorffAlpha(ratings, metric: .interval) : nil
    }
}
