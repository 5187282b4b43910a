#if canImport(Glibc)
    import Glibc
#endif

/// What models would score if their outputs were alike in style, whatever the benchmark.
///
/// Preferences are explained by the strengths of two models and the differences in style of their outputs, by logistic
/// regression; ratings by the prompt, the model and the style, by analysis of covariance. Scores are what these say of
/// outputs without a difference in style. Prompts, with all that hangs on them, are what is resampled.
package enum StyleControl {
    /// Weak enough to move no score that has games on both sides by a tenth of a point, and there for those that only win.
    private static let penalty = 0.01

    package struct Game: Hashable, Sendable {
        /// Its place among the prompts.
        package var prompt: Int
        /// Places of models.
        package var first, second: Int
        /// For the first, 0...1.
        package var preference: Double
        package var copies: Int
        /// The first's features less the second's, in any unit.
        package var difference: [Double]

        package init(prompt: Int, first: Int, second: Int, preference: Double, copies: Int = 1, difference: [Double]) {
            self.prompt = prompt
            self.first = first
            self.second = second
            self.preference = preference
            self.copies = copies
            self.difference = difference
        }
    }

    package struct Rating: Hashable, Sendable {
        /// Its place among the prompts.
        package var prompt: Int
        /// What the ratings have in common that are compared with each other, such as a turn of a prompt.
        package var unit: Int
        /// The place of a model.
        package var model: Int
        package var value: Double
        package var style: [Double]

        package init(prompt: Int, unit: Int, model: Int, value: Double, style: [Double]) {
            self.prompt = prompt
            self.unit = unit
            self.model = model
            self.value = value
            self.style = style
        }
    }

    package struct Scores: Hashable, Sendable {
        /// By model; nil for one without a game or a rating, and for the baseline.
        package var values: [Interval?]
        /// Of each feature: in log-odds for the root mean square of its difference, or in points of the rating for its
        /// standard deviation.
        package var effects: [Double]
    }

    /// Win rates over the baseline, or over all others in the mean, 0...1.
    ///
    /// - Parameters:
    ///   - baseline: nil compares all with all.
    ///   - resamples: of the intervals; below 2 none.
    /// - Returns: nil where no minimum is found, or nothing tells style from model: some never meet, not even through
    ///   others, or a difference in style is the same whenever two meet.
    package static func winRates(
        _ games: [Game], models: Int, baseline: Int?, resamples: Int, seed: UInt64
    ) -> Scores? {
        guard let features = games.first?.difference.count else { return nil }
        // Not less their mean: equal style is no difference, whatever the usual one is.
        let rows = scaled(games.map(\.difference))
        var regression = PairwiseRegression(playerCount: models, featureCount: features)
        for (game, row) in zip(games, rows) {
            regression.append(first: game.first, second: game.second, outcome: game.preference, features: row)
        }
        let fitted = regression
        let copies = games.map { Double($0.copies) }
        guard isTold(games, rows, models), let whole = fitted.minimum(weights: copies, penalty: penalty) else {
            return nil
        }
        let players = games.map { ($0.first, $0.second) }
        // A model without a game has no rate, and is nobody's opponent.
        @Sendable func rates(_ parameters: [Double], _ weights: [Double]) -> [Double?] {
            var plays = [Bool](repeating: false, count: models)
            for (pair, weight) in zip(players, weights) where weight > 0 {
                (plays[pair.0], plays[pair.1]) = (true, true)
            }
            return (0..<models).map { model in
                guard plays[model], model != baseline else { return nil }
                let others = baseline.map { [$0] } ?? plays.indices.filter { plays[$0] && $0 != model }
                return mean(others.map { sigmoid(parameters[model] - parameters[$0]) })
            }
        }
        let prompts = games.map(\.prompt)
        let estimates = resampled(prompts, resamples, seed) { draws in
            let weights = zip(copies, prompts).map { $0 * draws[$1] }
            return fitted.minimum(weights: weights, penalty: penalty, from: whole).map { rates($0, weights) }
        }
        return Scores(values: intervals(rates(whole, copies), estimates), effects: Array(whole[models...]))
    }

    /// Whether games say how far models are apart whatever the effects of the features: the penalty would give a number
    /// also where they do not.
    private static func isTold(_ games: [Game], _ rows: [[Double]], _ models: Int) -> Bool {
        let features = rows[0].count
        var products = SymmetricMatrix(models + features)
        var players: Set<Int> = []
        for (game, row) in zip(games, rows) where game.copies > 0 && game.first != game.second {
            players.formUnion([game.first, game.second])
            let places = [game.first, game.second] + (models..<(models + features))
            let values = [1, -1] + row
            for (index, place) in places.enumerated() {
                for other in 0...index { products.add(values[index] * values[other], at: place, places[other]) }
            }
        }
        let rank = products.rank(
            of: players.sorted(), without: models..<(models + features), scale: Double(games.count))
        return rank == players.count - 1
    }

    /// Mean ratings.
    ///
    /// - Parameter resamples: of the intervals; below 2 none.
    /// - Returns: nil where nothing tells style from model: some were never rated for the same prompts, not even through
    ///   others, or their styles differ by the same whenever they were.
    package static func ratings(_ ratings: [Rating], models: Int, resamples: Int, seed: UInt64) -> Scores? {
        guard let features = ratings.first?.style.count else { return nil }
        let styles = standardized(ratings.map(\.style), copies: ratings.map { _ in 1 }).rows
        let prompts = (ratings.map(\.prompt).max() ?? 0) + 1
        var moments = [Moments?](repeating: nil, count: prompts)
        for places in Dictionary(grouping: ratings.indices, by: { ratings[$0].unit }).sorted(by: { $0.key < $1.key })
            .map(\.value)
        {
            let own = Moments(places.map { (ratings[$0].model, ratings[$0].value, styles[$0]) }, models, features)
            let prompt = ratings[places[0]].prompt
            moments[prompt] = moments[prompt].map { $0.adding(own, times: 1) } ?? own
        }
        let byPrompt = moments
        guard let whole = Moments.solve(byPrompt, draws: nil) else { return nil }
        let estimates = resampled(ratings.map(\.prompt), resamples, seed) {
            Moments.solve(byPrompt, draws: $0)?.means
        }
        return Scores(values: intervals(whole.means, estimates), effects: whole.slopes)
    }

    /// - Parameter estimates: by resample and model.
    private static func intervals(_ values: [Double?], _ estimates: [[Double?]?]) -> [Interval?] {
        values.enumerated().map { model, value in
            value.map {
                Interval(
                    value: $0, estimates: estimates.map { $0.flatMap { $0[model] } },
                    method: "style control, percentile bootstrap over prompts")
            }
        }
    }

    /// Prompts are drawn anew, as many as there are: how often each is drawn, by its place.
    private static func resampled(
        _ prompts: [Int], _ resamples: Int, _ seed: UInt64, _ fit: @Sendable ([Double]) -> [Double?]?
    ) -> [[Double?]?] {
        if resamples < 2 { return [] }
        let places = Set(prompts).sorted()
        return concurrentMap(resamples) { resample in
            var generator = SeededGenerator(seed: seed, stream: UInt64(resample))
            var draws = [Double](repeating: 0, count: (places.last ?? 0) + 1)
            for _ in places { draws[places[generator.index(below: places.count)]] += 1 }
            return fit(draws)
        }
    }

    /// Each column over its root mean square; as it is where that is 0.
    private static func scaled(_ rows: [[Double]]) -> [[Double]] {
        let scales = (rows.first ?? []).indices.map { column -> Double in
            let square = (mean(rows.map { $0[column] * $0[column] }) ?? 0).squareRoot()
            return square > 0 ? square : 1
        }
        return rows.map { row in zip(row, scales).map { $0 / $1 } }
    }

    /// Each column less its mean, over its deviation; 0 everywhere in a column that is the same in every row.
    ///
    /// - Parameters:
    ///   - copies: how often each row counts.
    ///   - freedom: what the sum of squares is divided by; nil takes the number of rows.
    package static func standardized(
        _ rows: [[Double]], copies: [Int], freedom: Int? = nil
    ) -> (rows: [[Double]], isConstant: [Bool]) {
        var rows = rows
        let total = Double(copies.reduce(0, +))
        let isConstant = (rows.first ?? []).indices.map { column in
            let mean = zip(rows, copies).reduce(0) { $0 + $1.0[column] * Double($1.1) } / total
            let squares = zip(rows, copies).reduce(0) { sum, row in
                sum + (row.0[column] - mean) * (row.0[column] - mean) * Double(row.1)
            }
            let deviation = (squares / Double(max(freedom ?? Int(total), 1))).squareRoot()
            for row in rows.indices {
                rows[row][column] = deviation == 0 ? 0 : (rows[row][column] - mean) / deviation
            }
            return deviation == 0
        }
        return (rows, isConstant)
    }
}

/// What a prompt's ratings add to the equations of least squares, once the means of its units are taken off, and to the
/// mean of all.
private struct Moments: Sendable {
    /// Of models, then features.
    private var products: SymmetricMatrix
    private var targets: [Double]
    /// Of the rows themselves: their number, ratings and features, and how many are each model's.
    private var count: Double
    private var sum: Double
    private var columns: [Double]
    private let models: Int

    /// - Parameter rows: of one unit.
    init(_ rows: [(model: Int, value: Double, style: [Double])], _ models: Int, _ features: Int) {
        self.models = models
        count = Double(rows.count)
        sum = rows.reduce(0) { $0 + $1.value }
        let full = rows.map { row in (0..<models).map { $0 == row.model ? 1 : 0 } + row.style }
        columns = (0..<(models + features)).map { column in full.reduce(0) { $0 + $1[column] } }
        products = SymmetricMatrix(models + features)
        targets = [Double](repeating: 0, count: models + features)
        for (row, values) in zip(rows, full) {
            let centered = zip(values, columns).map { $0 - $1 / count }
            for (place, value) in centered.enumerated() {
                targets[place] += value * (row.value - sum / count)
                for other in 0...place { products.add(value * centered[other], at: place, other) }
            }
        }
    }

    func adding(_ other: Moments, times: Double) -> Moments {
        var total = self
        total.products.add(other.products, times: times)
        for place in targets.indices { total.targets[place] += times * other.targets[place] }
        total.count += times * other.count
        total.sum += times * other.sum
        for place in columns.indices { total.columns[place] += times * other.columns[place] }
        return total
    }

    /// Adjusted means of the models, nil for one without a rating, and the slopes of the features.
    ///
    /// - Parameter draws: how often each prompt counts; nil for once.
    /// - Returns: nil where the models' means are not told apart whatever the slopes.
    static func solve(_ prompts: [Moments?], draws: [Double]?) -> (means: [Double?], slopes: [Double])? {
        guard let first = prompts.compactMap(\.self).first else { return nil }
        var total = first.adding(first, times: -1)
        for (place, prompt) in prompts.enumerated() {
            let times = draws.map { $0[place] } ?? 1
            if let prompt, times > 0 { total = total.adding(prompt, times: times) }
        }
        let rated = (0..<total.models).filter { total.columns[$0] > 0 }
        let rank = total.products.rank(
            of: rated, without: total.models..<total.targets.count, scale: total.count)
        guard rated.count > 1, rank == rated.count - 1 else { return nil }
        var system = total.products
        // What all models share is the prompts'; a feature without a spread has no slope.
        for row in 0..<total.models {
            for column in 0...row { system.add(1, at: row, column) }
        }
        for place in total.targets.indices { system.add(1e-9, at: place, place) }
        guard let solution = system.solve(total.targets) else { return nil }
        // At the mean style of all, and the mean effect of models.
        let mean = total.sum / total.count
        let shared = (0..<total.models).reduce(0) { $0 + solution[$1] * total.columns[$1] } / total.count
        let means = (0..<total.models).map { total.columns[$0] > 0 ? mean + solution[$0] - shared : nil }
        return (means, Array(solution[total.models...]))
    }
}
