package import Statistics

/// A table of Arena-Hard.
package struct ArenaScore: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var model: String
        /// Win rate over the baseline in percent, not rounded.
        package var score: Double
        /// Upstream's interval; nil where a resample of upstream's has no game of the model.
        package var lower, upper: Double?
        /// Upstream's rating, 400 points a factor of ten in the odds; nil for v2.0, which has none.
        package var rating: Double?
        /// By resampled prompts: games of a prompt hang together, which upstream's interval leaves out.
        package var interval: Interval?
        /// Rows that the score was computed from.
        package var rows: Int
        package var averageTokens: Int?
    }

    /// By score, the best first; models of one score by name.
    package var entries: [Entry]
    package var baseline: String
    package var features: StyleFeatures
    /// Those that are scored, each counted once (v2.0: records of two).
    package var games: Int
    /// Of each style feature in standard deviations; empty without style control.
    package var effects: [Double] = []
    /// What was left out and why, by reason.
    package var missing: [String: Int] = [:]
    /// What a reader has to know.
    package var notes: [String] = []

    static func ordered(_ entries: [Entry]) -> [Entry] {
        entries.sorted { ($1.score, $0.model) < ($0.score, $1.model) }
    }
}

extension ArenaScore {
    /// How upstream's v0.1 scripts differ, and what their flags say.
    package struct Rule: Hashable, Sendable {
        package var baseline: String
        package var features: StyleFeatures = []
        package var rounds = 100
        package var seed: UInt32 = 42
        /// The model whose rating is 1000 in the fit; upstream's revisions differ in it.
        package var anchor: String
        /// The same in the resamples: no revision passes the baseline on.
        package var bootstrapAnchor = "gpt-4-0314"
        /// Of our own interval; 0 for none.
        package var resamples = 1_000

        package init(baseline: String, anchor: String? = nil) {
            self.baseline = baseline
            self.anchor = anchor ?? baseline
        }
    }

    /// Scores as arena-hard-auto v0.1 (583728f to 0489bf3) computes them, with our own intervals beside.
    ///
    /// - Parameter answers: of the baseline and of the models, which style control needs.
    /// - Throws: `badData` where no battle is left, the baseline is in none, ratings have no finite solution (only where games
    ///   are not all against one model), or the style of an answer is unknown.
    package static func v01(
        _ battles: ArenaBattles, answers: [ArenaOutputs], rule: Rule
    ) throws(EvaluationError) -> ArenaScore {
        guard let baseline = battles.models.firstIndex(of: rule.baseline) else {
            throw .badData(
                battles.battles.isEmpty
                    ? "No game has a verdict: there is nothing to score."
                    : "The baseline \(rule.baseline) is in no game; the models are "
                        + "\(battles.models.joined(separator: ", ")). Name one of them with --baseline.")
        }
        let fit = try ArenaFit(battles, baseline: baseline, answers: answers, features: rule.features)
        let point = fit.ratings(battles.battles.map { Double($0.copies) }, anchor: rule.anchor)
        let unrated = battles.models.indices.filter { point.values[$0] == nil }.map { battles.models[$0] }
        if !unrated.isEmpty {
            throw .badData(
                "The ratings of \(unrated.joined(separator: ", ")) have no finite solution: some model only wins or only "
                    + "loses\(fit.separated.isEmpty ? "" : " (\(fit.separated.joined(separator: ", ")))"), or some never "
                    + "meet. Leave those out, or score games against one baseline.")
        }
        let battleOfRow = battles.battleOfRow
        let rounds = concurrentMap(
            rule.rounds, from: MersenneTwister(seed: rule.seed), draw: { battles.resample(&$0, battleOfRow) },
            body: { fit.ratings($0, anchor: rule.bootstrapAnchor).values })
        let own = fit.resampledWinRates(rule.resamples)
        func percentile(_ fraction: Double, _ model: Int) -> Double? {
            let values = rounds.compactMap { $0[model] }.sorted()
            return values.isEmpty || values.count < rounds.count ? nil : quantile(fraction, ofSorted: values)
        }
        let rows = battles.battles.reduce(into: [Int](repeating: 0, count: battles.models.count)) {
            $0[$1.second] += $1.copies
            if $1.first != $1.second, $1.first != baseline { $0[$1.first] += $1.copies }
        }
        let prompts = battles.battles.reduce(into: [Set<String>](repeating: [], count: battles.models.count)) {
            $0[$1.second].insert($1.id)
            $0[$1.first].insert($1.id)
        }
        var entries: [Entry] = []
        for (model, name) in battles.models.enumerated() {
            let rating = point.values[model] ?? 0
            var entry = Entry(
                model: name,
                score: model == baseline ? 50 : ArenaFit.winRate(rating, over: point.values[baseline] ?? 0),
                rating: rating, rows: rows[model], averageTokens: answers.first { $0.name == name }?.averageTokens)
            if model == baseline {
                (entry.lower, entry.upper) = (50, 50)
            } else {
                entry.lower = percentile(0.025, model).flatMap { own in
                    percentile(0.025, baseline).map { ArenaFit.winRate(own, over: $0) }
                }
                entry.upper = percentile(0.975, model).flatMap { own in
                    percentile(0.975, baseline).map { ArenaFit.winRate(own, over: $0) }
                }
                let estimates = own.map { $0[model] }
                if estimates.contains(where: { $0 != nil }) {
                    entry.interval = Interval(
                        value: entry.score, estimates: estimates,
                        method: "percentile bootstrap over prompts"
                    ).orWilson(whole: 100, count: prompts[model].count)
                }
            }
            entries.append(entry)
        }
        var score = ArenaScore(
            entries: ordered(entries), baseline: rule.baseline, features: rule.features, games: battles.battles.count,
            effects: point.effects, missing: battles.unusable)
        if !fit.separated.isEmpty, rule.features.isEmpty {
            score.notes.append(
                "\(fit.separated.joined(separator: ", ")): only wins or only losses, so the rating has no bound; 100 or 0 is "
                    + "the win rate that was seen")
        }
        score.note(constantFeatures: fit.constantFeatures)
        if rule.bootstrapAnchor != rule.baseline, rule.features.isEmpty {
            score.notes.append(
                "upstream anchors its resamples at \(rule.bootstrapAnchor) alone: the official interval over "
                    + "\(rule.baseline) holds both models' spread, and may lie beside the score")
        }
        return score
    }

    mutating func note(constantFeatures: [String]) {
        if constantFeatures.isEmpty { return }
        notes.append("no game differs in \(constantFeatures.joined(separator: ", ")): style control leaves it out")
    }
}
