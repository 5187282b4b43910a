internal import Glibc
internal import Statistics

/// The Bradley-Terry fit of arena-hard-auto v0.1: in closed form where every game is against one model and nothing else
/// counts, by logistic regression otherwise.
struct ArenaFit: Sendable {
    struct Ratings: Sendable {
        /// By model; nil for one without a game.
        var values: [Double?]
        var effects: [Double] = []
    }

    private let battles: ArenaBattles
    /// Of each battle who plays it: copying a battle would cost a reference count.
    private let players: [(first: Int, second: Int)]
    private let baseline: Int
    private let regression: PairwiseRegression
    private let isStyled: Bool
    /// The model that every game is against; nil where there is none.
    private let center: Int?
    /// The minimum over all games, where style counts: those of resamples lie near.
    private var start: [Double]?
    /// Style features that are the same in every game, so that nothing can be said of their effect.
    let constantFeatures: [String]

    /// Of a model that only wins upstream's optimizer stops somewhere near; its win rate is 100 % to all digits.
    private static let unboundedStrength = 10.0

    /// - Throws: `badData` where the style of an answer is unknown.
    init(
        _ battles: ArenaBattles, baseline: Int, answers: [ArenaOutputs], features: StyleFeatures
    ) throws(EvaluationError) {
        self.battles = battles
        players = battles.battles.map { ($0.first, $0.second) }
        self.baseline = baseline
        isStyled = !features.isEmpty
        center = battles.center
        let styles =
            isStyled
            ? try ArenaFit.styles(battles, answers, features) : (rows: battles.battles.map { _ in [] }, constant: [])
        constantFeatures = styles.constant
        var regression = PairwiseRegression(
            playerCount: battles.models.count, featureCount: features.names.count, scale: log(10))
        for (battle, style) in zip(battles.battles, styles.rows) {
            regression.append(first: battle.first, second: battle.second, outcome: battle.outcome, features: style)
        }
        self.regression = regression
        if isStyled { start = regression.minimum(weights: battles.battles.map { Double(2 * $0.copies) }, penalty: 1) }
    }

    /// Models that only win, or only lose.
    var separated: [String] {
        battles.models.indices.compactMap { model in
            let outcomes = battles.battles.filter { ($0.first == model) != ($0.second == model) }.map { battle in
                battle.first == model ? battle.outcome : 1 - battle.outcome
            }
            let isBound = outcomes.isEmpty || outcomes.contains { $0 != outcomes[0] } || outcomes[0] == 0.5
            return isBound || model == baseline ? nil : battles.models[model]
        }
    }

    /// - Parameters:
    ///   - counts: how often each battle counts.
    ///   - anchor: the model that gets 1000; where it is in no game, the mean is 1000. With style control the baseline has
    ///     1114 whatever the anchor.
    ///   - isUpstreams: where a model is in no game, upstream gives the styled ratings of those after it to their
    ///     predecessors.
    func ratings(_ counts: [Double], anchor: String, isUpstreams: Bool = true) -> Ratings {
        let present = presence(counts)
        if isStyled { return styledRatings(counts, present, isUpstreams) }
        let fitted = center.map { starStrengths(counts, $0) } ?? generalStrengths(counts, present)
        guard let strengths = fitted else { return Ratings(values: battles.models.map { _ in nil }) }
        var shift = 0.0
        if let place = battles.models.firstIndex(of: anchor), present[place] { shift = -strengths[place] }
        return Ratings(
            values: strengths.indices.map { present[$0] ? 400 * (strengths[$0] + shift) + 1000 : nil })
    }

    private func presence(_ counts: [Double]) -> [Bool] {
        var present = [Bool](repeating: false, count: battles.models.count)
        for (pair, count) in zip(players, counts) where count > 0 {
            present[pair.first] = true
            present[pair.second] = true
        }
        return present
    }

    /// Nil where there is no finite minimum, or models that play never meet, not even through others.
    private func generalStrengths(_ counts: [Double], _ present: [Bool]) -> [Double]? {
        var group = Array(battles.models.indices)
        func root(_ model: Int) -> Int { group[model] == model ? model : root(group[model]) }
        for (battle, count) in zip(battles.battles, counts) where count > 0 {
            group[root(battle.first)] = root(battle.second)
        }
        let groups = Set(battles.models.indices.filter { present[$0] }.map(root))
        return groups.count > 1 ? nil : regression.minimum(weights: counts, penalty: 0)
    }

    /// The regression's own minimum, in factors of ten: logits of the win rates over the center, moved to a mean of 0 over
    /// the models that play; games of the center against itself say where it stands instead.
    private func starStrengths(_ counts: [Double], _ center: Int) -> [Double] {
        var wins = [Double](repeating: 0, count: battles.models.count)
        var totals = wins
        for (battle, count) in zip(battles.battles, counts) {
            wins[battle.second] += count * (1 - battle.outcome)
            totals[battle.second] += count
        }
        func strength(_ model: Int) -> Double {
            if totals[model] == 0 { return 0 }
            let rate = wins[model] / totals[model]
            if rate <= 0 { return -ArenaFit.unboundedStrength }
            return rate >= 1 ? ArenaFit.unboundedStrength : log10(rate / (1 - rate))
        }
        if totals[center] > 0 {
            let own = strength(center)
            return totals.indices.map { $0 == center ? own : own + strength($0) }
        }
        let strengths = totals.indices.map { $0 == center ? 0 : strength($0) }
        let playing = totals.indices.filter { $0 == center || totals[$0] > 0 }
        let mean = playing.reduce(0) { $0 + strengths[$1] } / Double(playing.count)
        return strengths.map { $0 - mean }
    }

    /// scikit-learn's default: a penalty of ½‖θ‖² beside the losses of every row twice.
    private func styledRatings(_ counts: [Double], _ present: [Bool], _ isUpstreams: Bool) -> Ratings {
        guard let parameters = regression.minimum(weights: counts.map { 2 * $0 }, penalty: 1, from: start) else {
            return Ratings(values: battles.models.map { _ in nil })
        }
        let models = battles.models.count
        let shift = 1114 - 400 * parameters[baseline]
        var values = [Double?](repeating: nil, count: models)
        for (column, model) in present.indices.filter({ present[$0] }).enumerated() {
            values[model] = 400 * parameters[isUpstreams ? column : model] + shift
        }
        return Ratings(values: values, effects: Array(parameters[models...]))
    }

    /// Of one rating over another, in percent.
    static func winRate(_ rating: Double, over other: Double) -> Double { 100 / (1 + pow(10, (other - rating) / 400)) }

    // MARK: Intervals of our own

    /// By resample and model the win rate over the baseline in percent, prompts redrawn with all their games.
    func resampledWinRates(_ resamples: Int) -> [[Double?]] {
        var places: [String: Int] = [:]
        let promptOfBattle = battles.battles.map { battle in
            let place = places[battle.id] ?? places.count
            places[battle.id] = place
            return place
        }
        let prompts = places.count
        return concurrentMap(resamples) { resample in
            var generator = SeededGenerator(seed: 0, stream: UInt64(resample))
            var draws = [Double](repeating: 0, count: prompts)
            for _ in 0..<prompts { draws[generator.index(below: prompts)] += 1 }
            let counts = zip(battles.battles, promptOfBattle).map { Double($0.copies) * draws[$1] }
            let values = ratings(counts, anchor: battles.models[baseline], isUpstreams: false).values
            guard let base = values[baseline] else { return values.map { _ in nil } }
            return values.map { $0.map { ArenaFit.winRate($0, over: base) } }
        }
    }

    // MARK: Style

    /// (first − second) / (first + second + 1) of each feature, standardized over rows; 0 everywhere for those that are the
    /// same in every game.
    private static func styles(
        _ battles: ArenaBattles, _ answers: [ArenaOutputs], _ features: StyleFeatures
    ) throws(EvaluationError) -> (rows: [[Double]], constant: [String]) {
        let styles = ArenaStyles(answers, .v01)
        var rows: [[Double]] = []
        for battle in battles.battles {
            let first = try styles.style(of: battles.models[battle.first], battle.id)
            let second = try styles.style(of: battles.models[battle.second], battle.id)
            rows.append(first.difference(from: second, features))
        }
        return features.standardized(rows, copies: battles.battles.map(\.copies), freedom: battles.rowCount)
    }
}

extension StyleFeatures {
    /// Each column of differences standardized, and the features that are the same in every game.
    ///
    /// - Parameters:
    ///   - copies: how often each row counts.
    ///   - freedom: what the sum of squares is divided by.
    func standardized(
        _ rows: [[Double]], copies: [Int], freedom: Int
    ) -> (rows: [[Double]], constant: [String]) {
        let (rows, isConstant) = StyleControl.standardized(rows, copies: copies, freedom: freedom)
        return (rows, zip(names, isConstant).filter(\.1).map(\.0))
    }
}
