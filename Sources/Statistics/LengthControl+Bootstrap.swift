extension LengthControl {
    /// The uncertainty of the win rate, in percent: `resamples` times, prompts are redrawn and the regression refitted.
    ///
    /// Rows with a missing preference are redrawn too. The standard deviation of the length differences is that of the
    /// resample, the gamed rows are constants, C stays the fit's, and the refit is converged: liblinear's early stop
    /// would add noise that is none of the data's.
    ///
    /// - Throws: `LengthControlError` where `fit` would.
    package func bootstrap(
        _ rows: [LengthControlRow], fit: LengthControlFit, resamples: Int, seed: UInt64
    ) throws -> Interval {
        precondition(resamples > 1, "\(resamples) resamples have no spread")
        return Interval(
            value: fit.winRate, estimates: try resampledWinRates(rows, fit: fit, resamples: resamples, seed: seed),
            method: "percentile bootstrap over prompts, refitted at the chosen C")
    }

    /// The win rate of several models on the same prompts, such as a recipe's seeds, by one regression over all their rows
    /// without a penalty to speak of, in percent: every resample draws prompts with the rows of all models.
    ///
    /// Cross-validation, which `fit` follows, often chooses a penalty that leaves 50 of what differs by some points.
    ///
    /// - Parameter models: for each its rows, in one order of the prompts.
    /// - Returns: nil where the regression has no minimum.
    /// - Throws: `LengthControlError` where `fit` would.
    package func bootstrapPooled(_ models: [[LengthControlRow]], resamples: Int, seed: UInt64) throws -> Interval? {
        precondition(Set(models.map(\.count)).count == 1, "\(models.map(\.count)) rows of the same prompts")
        precondition(resamples > 1, "\(resamples) resamples have no spread")
        let refit = try refit(
            models.flatMap(\.self), of: models.count, inverseRegularization: Self.grid[Self.grid.count - 1],
            start: Coefficients())
        guard let value = refit.winRate else { return nil }
        return Interval(
            value: value, estimates: refit.winRates(resamples, seed: seed),
            method: "percentile bootstrap over prompts with all models' rows, refitted without a penalty")
    }

    /// The win rate over each of `resamples` draws of prompts, in percent, refitted; nil where a draw has no fit. Models
    /// with rows of the same prompts in the same order are drawn alike, so that their estimates can be compared one by one.
    ///
    /// - Throws: `LengthControlError` where `fit` would.
    package func resampledWinRates(
        _ rows: [LengthControlRow], fit: LengthControlFit, resamples: Int, seed: UInt64
    ) throws -> [Double?] {
        try refit(rows, of: 1, inverseRegularization: fit.inverseRegularization, start: coefficients(of: fit))
            .winRates(resamples, seed: seed)
    }

    /// How often a difference as large as that of two models comes about where every prompt's rows are exchanged by the
    /// flip of a coin, with both regressions refitted at the weaker of the two penalties: a two-sided p-value.
    ///
    /// - Returns: nil where the rows as they are have no fit.
    /// - Throws: `LengthControlError` where `fit` would.
    package func permutationP(
        _ models: (first: [LengthControlRow], second: [LengthControlRow]),
        fits: (first: LengthControlFit, second: LengthControlFit), permutations: Int, seed: UInt64
    ) throws -> Double? {
        let weaker =
            fits.first.inverseRegularization >= fits.second.inverseRegularization ? fits.first : fits.second
        let refit = try refit(
            models.first + models.second, of: 2, inverseRegularization: weaker.inverseRegularization,
            start: coefficients(of: weaker))
        guard let seen = refit.difference(exchanging: nil) else { return nil }
        let differences = concurrentMap(permutations) { i in
            refit.difference(exchanging: SeededGenerator(seed: ~seed, stream: UInt64(i)))
        }
        let extremes = differences.count { abs($0 ?? 0) >= abs(seen) * (1 - 1e-9) - 1e-9 }
        return Double(1 + extremes) / Double(1 + permutations)
    }

    /// - Parameter models: how many models have rows here, one after the other and each for the same prompts.
    private func refit(
        _ rows: [LengthControlRow], of models: Int, inverseRegularization: Double, start: Coefficients
    ) throws -> Refit {
        Refit(
            loss: LogisticLoss(
                (gamedRows + (try modelRows(rows, keepingMissing: true))).map(\.withoutNegativeWeights)),
            lengthDifference: lanes(rows.map(\.lengthDifference)),
            difficulty: lanes(rows.map(\.difficulty)),
            count: rows.count, models: models,
            regression: LogisticRegression(inverseRegularization: inverseRegularization, columns: design.columns),
            start: start)
    }
}

/// What every resample starts from; the columns hold all rows, those without a preference included.
private struct Refit: Sendable {
    let loss: LogisticLoss
    let lengthDifference: [Lanes]
    let difficulty: [Lanes]
    let count: Int
    let models: Int
    let regression: LogisticRegression
    let start: Coefficients

    /// Of every row once.
    var winRate: Double? { winRate(lanes([Double](repeating: 1, count: count))) }

    func winRates(_ resamples: Int, seed: UInt64) -> [Double?] {
        concurrentMap(resamples) { i in winRate(draws(by: SeededGenerator(seed: seed, stream: UInt64(i)))) }
    }

    /// In percent; nil if a resample has no preference or no difference in length, or its fit does not converge.
    private func winRate(_ draws: [Lanes]) -> Double? {
        guard let deviation = deviation(draws) else { return nil }
        var resampled = loss
        resampled.model.resample(draws, lengthTerms: lengthDifference, dividedBy: deviation)
        guard resampled.model.totalWeight > 0,
            let beta = regression.minimize(resampled, from: start)
        else { return nil }
        return 100 * meanPrediction(beta, draws)
    }

    /// Of two models with one half of the rows each, where a coin decides for each prompt whose row is whose; nil where
    /// one of the halves has no fit.
    func difference(exchanging coins: SeededGenerator?) -> Double? {
        precondition(models == 2, "\(models) models have no halves")
        var coins = coins
        let prompts = count / 2
        var halves = [[Lanes]](repeating: [Lanes](repeating: Lanes(), count: difficulty.count), count: 2)
        for prompt in 0..<prompts {
            let isExchanged = (coins?.next() ?? 0) >> 63 == 1
            for (half, row) in [(0, prompt), (1, prompts + prompt)] {
                let half = isExchanged ? 1 - half : half
                halves[half][row / Lanes.scalarCount][row % Lanes.scalarCount] = 1
            }
        }
        return winRate(halves[0]).flatMap { first in winRate(halves[1]).map { first - $0 } }
    }

    /// How often each row is drawn: prompts, each with the rows of all models.
    private func draws(by generator: SeededGenerator) -> [Lanes] {
        var generator = generator
        var draws = [Lanes](repeating: Lanes(), count: difficulty.count)
        let prompts = count / models
        for _ in 0..<prompts {
            let prompt = generator.index(below: prompts)
            for row in stride(from: prompt, to: count, by: prompts) {
                draws[row / Lanes.scalarCount][row % Lanes.scalarCount] += 1
            }
        }
        return draws
    }

    /// Sample deviation of the drawn length differences; nil if all of them are 0.
    private func deviation(_ draws: [Lanes]) -> Double? {
        var (number, sum, squares) = (Lanes(), Lanes(), Lanes())
        for i in draws.indices {
            number += draws[i]
            sum += draws[i] * lengthDifference[i]
        }
        let drawn = number.sum()
        let mean = sum.sum() / drawn
        for i in draws.indices {
            let distance = lengthDifference[i] - mean
            squares += draws[i] * distance * distance
        }
        guard squares.sum() > 0 || mean != 0 else { return nil }
        return (squares.sum() / (drawn - 1)).squareRoot()
    }

    private func meanPrediction(_ beta: Coefficients, _ draws: [Lanes]) -> Double {
        var (number, sum) = (Lanes(), Lanes())
        for i in draws.indices {
            number += draws[i]
            sum += draws[i] / (1 + Lanes.exp(-(beta[1] * difficulty[i] + beta[2])))
        }
        return sum.sum() / number.sum()
    }
}

extension RowBlock {
    /// Counts each row as often as it was drawn, with length terms on the resample's own scale.
    fileprivate mutating func resample(_ draws: [Lanes], lengthTerms differences: [Lanes], dividedBy deviation: Double)
    {
        // Equal differences make every drawn term ±1, as in the fit; rows not drawn must not become 0 / 0.
        let divisor = max(deviation, .leastNormalMagnitude)
        for i in draws.indices {
            length[i] = Lanes.tanh(differences[i] / divisor)
            weight[i] *= draws[i]
            positive[i] *= draws[i]
        }
    }
}

/// The last vector is filled up with 0.
private func lanes(_ values: [Double]) -> [Lanes] {
    stride(from: 0, to: values.count, by: Lanes.scalarCount).map { start in
        var lanes = Lanes()
        for i in start..<min(start + Lanes.scalarCount, values.count) { lanes[i - start] = values[i] }
        return lanes
    }
}
