internal import Chat
package import Statistics

/// A row of MT-Bench's pairwise grading: two games, the second with the models in each other's place.
package struct MTBenchPair: Hashable, Sendable {
    package enum Winner: String, Sendable {
        case first = "model_1"
        case second = "model_2"
        case tie
        case error
    }

    /// Its number or name.
    package var prompt: String
    package var turn: Int
    package var first, second: String
    package var games: [Winner]
    package var judge: String?
    /// One of the replies holds several of [[A]], [[B]] and [[C]].
    package var isAmbiguous = false

    package init(prompt: String, turn: Int, first: String, second: String, games: [Winner]) {
        self.prompt = prompt
        self.turn = turn
        self.first = first
        self.second = second
        self.games = games
    }

    /// Reads FastChat's `<judge>_pair.jsonl`.
    ///
    /// - Throws: `badData` naming the record that is not one of upstream's, or whose turn can be none.
    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [MTBenchPair] {
        var pairs: [MTBenchPair] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            let games = ["g1_winner", "g2_winner"].compactMap { record[$0]?.string.flatMap(Winner.init) }
            guard let prompt = record["question_id"]?.identifier, let first = record["model_1"]?.string,
                let second = record["model_2"]?.string, games.count == 2
            else {
                throw .badData(
                    "\(path), record \(index + 1) should have question_id, model_1, model_2, and model_1, model_2, tie or "
                        + "error as g1_winner and g2_winner.")
            }
            let turn = record["turn"]?.integer ?? 1
            guard turn >= 1 else {
                throw .badData(
                    "\(path), record \(index + 1) should have a turn from 1 on, but has turn \(turn). Repair the record, or "
                        + "leave it out.")
            }
            var pair = MTBenchPair(
                prompt: prompt, turn: turn, first: first, second: second, games: games)
            pair.judge = record["judge"]?[0]?.string
            pair.isAmbiguous = ["g1_judgment", "g2_judgment"].contains {
                record[$0]?.string.map(MTBenchReply.holdsSeveralWinners) ?? false
            }
            pairs.append(pair)
        }
        return pairs
    }

    /// For the first model: games that disagree are a tie; nil where one of them has no verdict.
    package var preferenceForFirst: Double? {
        if games.contains(.error) { return nil }
        guard games[0] == games[1] else { return 0.5 }
        return games[0] == .tie ? 0.5 : games[0] == .first ? 1 : 0
    }

    /// The games name different winners.
    var isInconsistent: Bool { games[0] != games[1] && !games.contains(.error) }
}

/// MT-Bench's table of pairwise grading, as FastChat's `show_result.py` (0e6d3e4) computes it.
package struct MTBenchPairScore: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var model: String
        package var wins = 0
        package var losses = 0
        package var ties = 0
        /// Ties whose games named different winners.
        package var inconsistent = 0
        package var missing = 0
        /// Of the adjusted win rate, by resampled prompts with all their games.
        package var interval: Interval?
        /// The adjusted win rate at equal style, 0...1; nil where it was not asked for.
        package var styleControlled: Interval?

        package var count: Int { wins + losses + ties }
        package var winRate: Double { Double(wins) / Double(count) }
        package var lossRate: Double { Double(losses) / Double(count) }
        /// With half a win for a tie.
        package var adjustedWinRate: Double { (Double(wins) + 0.5 * Double(ties)) / Double(count) }
    }

    /// By adjusted win rate, the best first; models without a verdict are left out, and in `unrated`.
    package var entries: [Entry] = []
    package var unrated: [String] = []
    /// Records that are scored, and those without a verdict: each counted once, though it is of two models.
    package var records = 0
    package var missing = 0
    package var features: StyleFeatures = []
    /// Of each style feature in log-odds for the root mean square of its difference; empty where nothing tells style from
    /// model.
    package var effects: [Double] = []

    /// - Parameters:
    ///   - baseline: only its games are counted, for the others; nil for all games.
    ///   - resamples: of the interval; 0 for none.
    package init(_ pairs: [MTBenchPair], baseline: String?, resamples: Int = 1_000, seed: UInt64 = 0) {
        let pairs = pairs.filter { baseline == nil || $0.first == baseline || $0.second == baseline }
        missing = pairs.count { $0.preferenceForFirst == nil }
        records = pairs.count - missing
        var byModel: [String: Entry] = [:]
        // By model and prompt.
        var preferences: [String: [String: [Double]]] = [:]
        for pair in pairs {
            for (model, isFirst) in [(pair.first, true), (pair.second, false)] {
                var entry = byModel[model] ?? Entry(model: model)
                if let preference = pair.preferenceForFirst {
                    let own = isFirst ? preference : 1 - preference
                    switch own {
                    case 1: entry.wins += 1
                    case 0: entry.losses += 1
                    default: entry.ties += 1
                    }
                    if pair.isInconsistent { entry.inconsistent += 1 }
                    preferences[model, default: [:]][pair.prompt, default: []].append(own)
                } else {
                    entry.missing += 1
                }
                byModel[model] = entry
            }
        }
        for (model, var entry) in byModel where model != baseline {
            if entry.count == 0 {
                unrated.append(model)
                continue
            }
            if resamples > 1 {
                let prompts = (preferences[model] ?? [:]).sorted { $0.key < $1.key }
                entry.interval = bootstrapMean(
                    prompts.map { Cluster($0.value) }, of: "prompts", resamples: resamples, seed: seed
                ).orWilson(whole: 1, count: prompts.count)
            }
            entries.append(entry)
        }
        unrated.sort()
        entries.sort { ($1.adjustedWinRate, $0.model) < ($0.adjustedWinRate, $1.model) }
    }

    /// Adds what the adjusted win rates would be at equal style, where that can be told.
    ///
    /// - Parameter baseline: as the score was made with.
    /// - Throws: `badData` where the style of an output is unknown.
    package mutating func control(
        _ styles: MTBenchStyles, _ pairs: [MTBenchPair], baseline: String?, resamples: Int = 1_000, seed: UInt64 = 0
    ) throws(EvaluationError) {
        let pairs = pairs.filter { baseline == nil || $0.first == baseline || $0.second == baseline }
        let controlled = try styles.winRates(pairs, baseline: baseline, resamples: resamples, seed: seed)
        features = styles.features
        effects = controlled?.effects ?? []
        for index in entries.indices { entries[index].styleControlled = controlled?.values[entries[index].model] }
    }
}
