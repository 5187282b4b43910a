internal import Statistics

extension ArenaScore {
    /// The flags of arena-hard-auto v2.0.
    package struct RuleV2: Hashable, Sendable {
        package var category: String
        package var baseline: String
        package var features: StyleFeatures = []
        package var weight = 3
        package var rounds = 100
        /// Upstream has none: its reruns differ.
        package var seed: UInt32 = 42
        /// Of our own interval; 0 for none.
        package var resamples = 1_000

        /// - Parameter baseline: upstream's for the category when nil.
        package init(category: String, baseline: String? = nil) {
            self.category = category
            self.baseline = baseline ?? RuleV2.baselines[category] ?? RuleV2.baselines["hard_prompt"] ?? ""
        }

        private static let baselines = [
            "hard_prompt": "o3-mini-2025-01-31", "coding": "o3-mini-2025-01-31", "math": "o3-mini-2025-01-31",
            "creative_writing": "gemini-2.0-flash-001", "arena-hard-v0.1": "gpt-4-0314",
        ]
    }

    /// Scores as arena-hard-auto v2.0 (196f6b8) computes them, with our own intervals beside.
    ///
    /// Where upstream dies of a label that means nothing, of a missing game or of a feature that is the same everywhere, the
    /// record or the feature is left out and said to be.
    ///
    /// - Parameters:
    ///   - judgments: of one judge after the other, files by name, records as they stand.
    ///   - answers: of the baseline and of the models, which style control needs.
    /// - Throws: `badData` where the category has no usable record, or an answer's style is unknown.
    package static func v2(
        _ judgments: [ArenaAnnotation], answers: [ArenaOutputs], rule: RuleV2
    ) throws(EvaluationError) -> ArenaScore {
        let table = try ArenaTableV2(judgments, answers: answers, rule: rule)
        var generator = MersenneTwister(seed: rule.seed)
        var score = ArenaScore(
            entries: [], baseline: rule.baseline, features: rule.features, games: table.gameCount / 2,
            missing: table.missing)
        let rounds: [[Double]]
        let points: [Double]
        if rule.features.isEmpty {
            rounds = (0..<rule.rounds).map { _ in table.resampledMeans(&generator) }
            points = table.models.indices.map { model in rounds.reduce(0) { $0 + $1[model] } / Double(rounds.count) }
        } else {
            let fits = concurrentMap(
                rule.rounds, from: generator, draw: { table.resample(&$0) }, body: { table.fit($0) })
            rounds = fits.map { table.winRates($0) }
            points = table.models.indices.map { model in quantile(0.5, ofSorted: rounds.map { $0[model] }.sorted()) }
            score.effects = rule.features.names.indices.map { feature in
                quantile(0.5, ofSorted: fits.map { $0[table.models.count + feature] }.sorted())
            }
            score.note(constantFeatures: table.constantFeatures)
        }
        let own = table.resampledByPrompt(rule.resamples)
        for (model, name) in table.models.enumerated() {
            let values = rounds.map { $0[model] }.sorted()
            var entry = Entry(
                model: name, score: 100 * points[model], lower: 100 * quantile(0.05, ofSorted: values),
                upper: 100 * quantile(0.95, ofSorted: values), rows: table.rowCounts[model],
                averageTokens: answers.first { $0.name == name }?.averageTokens)
            if name != rule.baseline, rule.resamples > 1 {
                entry.interval = Interval(
                    value: entry.score, estimates: own.map { $0[model].map { 100 * $0 } },
                    method: "percentile bootstrap over prompts"
                ).orWilson(whole: 100, count: table.promptCounts[model])
            }
            score.entries.append(entry)
        }
        // Plain scores list the baseline by itself, also beside its own judgments.
        if rule.features.isEmpty {
            score.entries.append(
                Entry(
                    model: rule.baseline, score: 50, lower: 50, upper: 50, rows: 0,
                    averageTokens: answers.first { $0.name == rule.baseline }?.averageTokens))
        }
        score.entries = ordered(score.entries)
        return score
    }
}

/// The games of one category, a row a game, with how often it counts.
private struct ArenaTableV2: Sendable {
    /// Without style control those with games; with it the baseline too; sorted.
    let models: [String]
    let missing: [String: Int]
    let constantFeatures: [String]
    private let baseline: Int?
    private let isStyled: Bool
    private let modelOfGame: [Int]
    private let promptOfGame: [Int]
    private let promptCount: Int
    private let outcomes: [Double]
    private let copies: [Int]
    /// By expanded row its game.
    private let gameOfRow: [Int]
    private let regression: PairwiseRegression

    private struct Game {
        var id: String
        var model: String
        var outcome: Double
        var copies: Int
    }

    init(
        _ judgments: [ArenaAnnotation], answers: [ArenaOutputs], rule: ArenaScore.RuleV2
    ) throws(EvaluationError) {
        let category = judgments.filter { $0.category == rule.category }
        guard !category.isEmpty else {
            let known = Set(judgments.compactMap(\.category)).sorted().joined(separator: ", ")
            throw .badData(
                "No judgment is of the category \(rule.category); there are: \(known.isEmpty ? "none" : known).")
        }
        let (games, missing) = ArenaTableV2.games(category, weight: rule.weight)
        guard !games.isEmpty else {
            throw .badData("No record of \(rule.category) has a verdict in both games: there is nothing to score.")
        }
        self.missing = missing
        isStyled = !rule.features.isEmpty
        let names = games.map { $0.model.split(separator: "/").last.map(String.init) ?? $0.model }
        models = Set(names + (isStyled ? [rule.baseline] : [])).sorted {
            $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars)
        }
        let places = Dictionary(uniqueKeysWithValues: zip(models, models.indices))
        modelOfGame = names.map { places[$0] ?? 0 }
        baseline = places[rule.baseline]
        outcomes = games.map(\.outcome)
        copies = games.map(\.copies)
        gameOfRow = games.indices.flatMap { [Int](repeating: $0, count: games[$0].copies) }
        var prompts: [String: Int] = [:]
        promptOfGame = games.map { game in
            let place = prompts[game.id] ?? prompts.count
            prompts[game.id] = place
            return place
        }
        promptCount = prompts.count
        let styles =
            isStyled
            ? try ArenaTableV2.styles(games, answers, rule) : (rows: games.map { _ in [] }, constant: [])
        constantFeatures = styles.constant
        var regression = PairwiseRegression(
            playerCount: models.count, featureCount: isStyled ? rule.features.names.count : 0)
        if isStyled, let baseline {
            for game in games.indices {
                regression.append(
                    first: modelOfGame[game], second: baseline, outcome: outcomes[game], features: styles.rows[game])
            }
        }
        self.regression = regression
    }

    /// The second game of each record, then the first; a record counts only with both.
    private static func games(_ judgments: [ArenaAnnotation], weight: Int) -> ([Game], [String: Int]) {
        var games: [Game] = []
        var missing: [String: Int] = [:]
        for judgment in judgments {
            let outcomes = judgment.outcomes(.v2)
            guard outcomes.count == 2, let first = outcomes[0], let second = outcomes[1] else {
                let reason = judgment.labels.prefix(2).compactMap { $0 }.first { ArenaVersion.v2.outcome($0) == nil }
                missing[reason ?? (outcomes.count < 2 ? "missing game" : "no label"), default: 0] += 1
                continue
            }
            for outcome in [second, first] {
                games.append(
                    Game(
                        id: judgment.id, model: judgment.model, outcome: outcome.preference,
                        copies: outcome.isStrong ? weight : 1))
            }
        }
        return (games, missing)
    }

    var gameCount: Int { outcomes.count }

    /// Of each model.
    var promptCounts: [Int] {
        modelOfGame.indices.reduce(into: [Set<Int>](repeating: [], count: models.count)) {
            $0[modelOfGame[$1]].insert(promptOfGame[$1])
        }.map(\.count)
    }

    var rowCounts: [Int] {
        modelOfGame.indices.reduce(into: [Int](repeating: 0, count: models.count)) {
            $0[modelOfGame[$1]] += copies[$1]
        }
    }

    // MARK: Plain scores

    /// Each model's rows redrawn by themselves, models by name.
    func resampledMeans(_ generator: inout MersenneTwister) -> [Double] {
        models.indices.map { model in
            let rows = gameOfRow.filter { modelOfGame[$0] == model }
            let sum = generator.indices(rows.count, below: rows.count).reduce(0) { $0 + outcomes[rows[$1]] }
            return sum / Double(rows.count)
        }
    }

    // MARK: Style control

    /// How often each game counts in a resample of the expanded rows.
    func resample(_ generator: inout MersenneTwister) -> [Double] {
        var counts = [Double](repeating: 0, count: outcomes.count)
        for row in generator.indices(gameOfRow.count, below: gameOfRow.count) { counts[gameOfRow[row]] += 1 }
        return counts
    }

    func fit(_ counts: [Double]) -> [Double] { regression.limitedMemorySteps(weights: counts) }

    /// Over the baseline, 0...1.
    func winRates(_ parameters: [Double]) -> [Double] {
        models.indices.map { sigmoid(parameters[$0] - parameters[baseline ?? 0]) }
    }

    // MARK: Intervals of our own

    /// By resample and model: prompts redrawn with all their games.
    func resampledByPrompt(_ resamples: Int) -> [[Double?]] {
        concurrentMap(resamples) { resample in
            var generator = SeededGenerator(seed: 0, stream: UInt64(resample))
            var draws = [Double](repeating: 0, count: promptCount)
            for _ in 0..<promptCount { draws[generator.index(below: promptCount)] += 1 }
            let counts = copies.indices.map { Double(copies[$0]) * draws[promptOfGame[$0]] }
            var sums = [Double](repeating: 0, count: models.count)
            var totals = sums
            for game in counts.indices {
                sums[modelOfGame[game]] += counts[game] * outcomes[game]
                totals[modelOfGame[game]] += counts[game]
            }
            // Of a model without a game the fit leaves what it started from.
            let rates = isStyled ? winRates(fit(counts)) : zip(sums, totals).map { $0 / $1 }
            return zip(rates, totals).map { $1 > 0 ? $0 : nil }
        }
    }

    // MARK: Style

    /// Standardized over rows, with n − 1 in the deviation; 0 everywhere for a feature that is the same in every game.
    private static func styles(
        _ games: [Game], _ answers: [ArenaOutputs], _ rule: ArenaScore.RuleV2
    ) throws(EvaluationError) -> (rows: [[Double]], constant: [String]) {
        let styles = ArenaStyles(answers, .v2)
        var rows: [[Double]] = []
        for game in games {
            let own = try styles.style(of: game.model, game.id)
            let other = try styles.style(of: rule.baseline, game.id)
            rows.append(own.densityDifference(from: other, rule.features))
        }
        let copies = games.map(\.copies)
        return rule.features.standardized(rows, copies: copies, freedom: copies.reduce(0, +) - 1)
    }
}

extension OutputStyle {
    /// Of tokens (a − b) / (a + b), of markdown the same with one more below, in marks a token. Two empty answers differ in
    /// nothing, where upstream divides by zero.
    fileprivate func densityDifference(from other: OutputStyle, _ features: StyleFeatures) -> [Double] {
        var values: [Double] = []
        if features.contains(.length) {
            let sum = Double(tokens + other.tokens)
            values.append(sum == 0 ? 0 : Double(tokens - other.tokens) / sum)
        }
        if features.contains(.markdown) {
            let densities = [self, other].map { style in style.markdown.map { $0 / Double(style.tokens + 1) } }
            values += zip(densities[0], densities[1]).map { ($0 - $1) / ($0 + $1 + 1) }
        }
        return values
    }
}
