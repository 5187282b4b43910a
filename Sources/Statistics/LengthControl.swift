#if canImport(Glibc)
    import Glibc
#endif

/// Which terms the length-controlled regression has; raw values are upstream's names.
package enum LengthControlDesign: String, Codable, Hashable, Sendable, CaseIterable {
    /// Length, difficulty and baseline terms, held in place by the gamed rows: the published metric.
    case v1 = "length_controlled_v1"
    /// The same terms without gamed rows.
    case noRegularization = "length_controlled_noreg"
    /// Length and baseline terms only, without gamed rows.
    case minimal = "length_controlled_minimal"
}

/// One annotated pair.
package struct LengthControlRow: Hashable, Sendable {
    /// For the model over the baseline, 0...1; nil is a missing verdict, which is predicted but not fitted.
    package var preference: Double?
    /// Baseline minus model, in Unicode scalars.
    package var lengthDifference: Double
    /// Difficulty of the prompt, from the benchmark's calibration file.
    package var difficulty: Double

    package init(preference: Double?, lengthDifference: Double, difficulty: Double) {
        self.preference = preference
        self.lengthDifference = lengthDifference
        self.difficulty = difficulty
    }
}

/// One pair of the calibration models that were told to be verbose or concise.
package struct GamedRow: Hashable, Sendable {
    /// 0...1
    package var preference: Double
    /// Already divided by its model's standard deviation.
    package var standardizedLengthDifference: Double
    package var difficulty: Double

    package init(preference: Double, standardizedLengthDifference: Double, difficulty: Double) {
        self.preference = preference
        self.standardizedLengthDifference = standardizedLengthDifference
        self.difficulty = difficulty
    }
}

/// What the regression found.
package struct LengthControlFit: Codable, Hashable, Sendable {
    /// Of the length, difficulty and baseline columns, in this order; `minimal` has no difficulty.
    package var coefficients: [Double]
    /// The C that cross-validation chose; 0 where nothing was fitted and every coefficient is 0.
    package var inverseRegularization: Double
    /// Mean held-out log-likelihood, (fold, C): 5 x 10.
    package var crossValidationScores: [[Double]]
    /// The same, averaged over the folds.
    package var meanScores: [Double]
    /// Length-controlled win rate in percent: the mean prediction at equal lengths.
    package var winRate: Double
    /// Official `lc_standard_error` in percent: spread of the predictions over prompts.
    ///
    /// It says nothing of how uncertain the fit is (`minimal` has 0); for that see
    /// ``LengthControl/bootstrap(_:fit:resamples:seed:)``.
    package var standardError: Double

    package init(
        coefficients: [Double], inverseRegularization: Double, crossValidationScores: [[Double]], meanScores: [Double],
        winRate: Double, standardError: Double
    ) {
        self.coefficients = coefficients
        self.inverseRegularization = inverseRegularization
        self.crossValidationScores = crossValidationScores
        self.meanScores = meanScores
        self.winRate = winRate
        self.standardError = standardError
    }

    /// The baseline against itself: 50 by definition, whatever the preferences.
    package static func sameGenerator(_ design: LengthControlDesign) -> LengthControlFit {
        LengthControlFit(
            coefficients: design.columns.map { _ in 0 }, inverseRegularization: 0, crossValidationScores: [],
            meanScores: [], winRate: 50, standardError: 0)
    }
}

package enum LengthControlError: Error, CustomStringConvertible, Hashable {
    case noRows
    case noPreferences(rows: Int)
    /// No length difference at all, or a single row: there is no spread to measure length in.
    case lengthsAllEqual(rows: Int)
    /// Fewer rows with a preference than cross-validation has folds.
    case tooFewRows(rows: Int, needed: Int)

    package var description: String {
        switch self {
        case .noRows:
            "length control needs annotated prompts, found none"
        case .noPreferences(let rows):
            "length control needs preferences, found \(rows) prompts and no verdict on any"
        case .lengthsAllEqual(let rows):
            "length control needs two or more prompts, and outputs longer or shorter than the baseline's; "
                + "the lengths of the \(rows) found have no spread; report the raw win rate"
        case .tooFewRows(let rows, let needed):
            "length control needs \(needed) prompts with a preference, found \(rows); report the raw win rate"
        }
    }
}

/// The length-controlled win rate of AlpacaEval 2: what the win rate would be if outputs were as long as the
/// baseline's.
///
/// Logit of the preference = φ·tanh(z) + γ·difficulty + θ, with z the length difference over its standard deviation;
/// the win rate is the mean of σ(γ·difficulty + θ). Dubois et al. 2024, https://arxiv.org/abs/2404.04475.
package struct LengthControl: Sendable {
    package let design: LengthControlDesign
    let gamedRows: [DesignRow]

    /// - Parameter gamed: in file order; only `v1` uses them.
    package init(design: LengthControlDesign, gamed: [GamedRow]) {
        self.design = design
        gamedRows = design.usesGamedRows ? gamed.map(DesignRow.init(gamed:)) : []
    }

    /// Fits as alpaca_eval 0.6.6 with scikit-learn 1.9.1 does, to 1e-9.
    ///
    /// - Throws: `LengthControlError` where upstream crashes too, or no preference is known.
    package func fit(_ rows: [LengthControlRow]) throws -> LengthControlFit {
        let design = gamedRows + (try modelRows(rows))
        let scores = crossValidationScores(design)
        let meanScores = Self.grid.indices.map { c in scores.reduce(0) { $0 + $1[c] } / Double(scores.count) }
        let best = meanScores.indices.reduce(0) { meanScores[$1] > meanScores[$0] ? $1 : $0 }
        let beta = CoordinateDescent(design)
            .solve(columns: self.design.columns, inverseRegularization: Self.grid[best], seed: Self.solverSeeds[0])

        let coefficients = self.design.columns.map { beta[$0] }
        let predictions = rows.map { prediction(beta, difficulty: $0.difficulty) }
        let spread = sampleStandardDeviation(predictions) ?? 0
        return LengthControlFit(
            coefficients: coefficients, inverseRegularization: Self.grid[best], crossValidationScores: scores,
            meanScores: meanScores, winRate: 100 * (mean(predictions) ?? 0),
            standardError: 100 * spread / Double(rows.count).squareRoot())
    }

    /// The preference at equal lengths that the fit predicts for each row, 0...1.
    package func predictions(_ fit: LengthControlFit, _ rows: [LengthControlRow]) -> [Double] {
        let beta = coefficients(of: fit)
        return rows.map { prediction(beta, difficulty: $0.difficulty) }
    }

    /// C, from strong to weak regularisation: `numpy.logspace(-4, 4, 10)`.
    package static let grid: [Double] = (0..<10).map { pow(10, Double($0) * (8.0 / 9) - 4) }

    /// What scikit-learn seeds liblinear with at each C: `RandomState(123).randint(2**31 - 1)`, one stream a fold.
    package static let solverSeeds: [UInt32] = {
        var generator = MersenneTwister(seed: 123)
        var seeds: [UInt32] = []
        while seeds.count < grid.count {
            let draw = generator.nextUInt32() & 0x7FFF_FFFF
            if draw < 0x7FFF_FFFF { seeds.append(draw) }
        }
        return seeds
    }()

    private static let foldCount = 5
    // A probability clipped to 1e-15 ... 1 − 1e-15, as a logit.
    private static let logitLimit = 34.538776394910684

    /// (fold, C)
    private func crossValidationScores(_ rows: [DesignRow]) -> [[Double]] {
        let folds = (0..<Self.foldCount).map { fold in
            let isHeldOut = rows.indices.map { (rows.count - 1 - $0) % Self.foldCount == fold }
            let heldOut = zip(rows, isHeldOut).filter { $0.1 }.map { $0.0 }
            let training = zip(rows, isHeldOut).filter { !$0.1 }.map { $0.0 }
            return (solver: CoordinateDescent(training), heldOut: LogisticLoss(heldOut), count: Double(heldOut.count))
        }
        // Weak regularisation takes longest, so it goes first.
        let scores = concurrentMap(Self.grid.count * Self.foldCount) { i in
            let (reversed, fold) = i.quotientAndRemainder(dividingBy: Self.foldCount)
            let c = Self.grid.count - 1 - reversed
            let beta = folds[fold].solver
                .solve(columns: design.columns, inverseRegularization: Self.grid[c], seed: Self.solverSeeds[c])
            return -folds[fold].heldOut.loss(at: beta, clampedTo: Self.logitLimit) / folds[fold].count
        }
        return (0..<Self.foldCount).map { fold in
            Self.grid.indices.map { c in scores[(Self.grid.count - 1 - c) * Self.foldCount + fold] }
        }
    }

    /// The model's rows of the design; rows without a preference are dropped, or kept with weight 0.
    func modelRows(_ rows: [LengthControlRow], keepingMissing: Bool = false) throws -> [DesignRow] {
        guard !rows.isEmpty else { throw LengthControlError.noRows }
        let preferred = rows.count { $0.preference != nil }
        guard preferred > 0 else { throw LengthControlError.noPreferences(rows: rows.count) }
        guard let deviation = sampleStandardDeviation(rows.map(\.lengthDifference)),
            rows.contains(where: { $0.lengthDifference != 0 })
        else { throw LengthControlError.lengthsAllEqual(rows: rows.count) }
        guard gamedRows.count + preferred >= Self.foldCount else {
            throw LengthControlError.tooFewRows(rows: preferred, needed: Self.foldCount)
        }
        return rows.compactMap { row in
            guard row.preference != nil || keepingMissing else { return nil }
            return DesignRow(row, deviation: deviation, usesDifficulty: design.usesDifficulty)
        }
    }

    func coefficients(of fit: LengthControlFit) -> Coefficients {
        precondition(
            fit.coefficients.count == design.columns.count,
            "\(design) has \(design.columns.count) coefficients, the fit \(fit.coefficients.count)")
        var beta = Coefficients()
        for (column, value) in zip(design.columns, fit.coefficients) { beta[column] = value }
        return beta
    }
}

extension LengthControlDesign {
    /// Of length, difficulty, baseline.
    var columns: [Int] {
        usesDifficulty ? [0, 1, 2] : [0, 2]
    }

    fileprivate var usesDifficulty: Bool {
        self != .minimal
    }

    fileprivate var usesGamedRows: Bool {
        self == .v1
    }
}

extension DesignRow {
    fileprivate init(gamed row: GamedRow) {
        // Upstream's regularisation weight 0.2, shared by the two gamed models.
        let weight = 0.1
        self.init(
            length: tanh(row.standardizedLengthDifference), difficulty: row.difficulty, isModel: false,
            positive: weight * row.preference, negative: weight * (1 - row.preference))
    }

    /// A deviation of 0 makes every length term ±1, as upstream.
    fileprivate init(_ row: LengthControlRow, deviation: Double, usesDifficulty: Bool) {
        self.init(
            length: tanh(row.lengthDifference / deviation), difficulty: usesDifficulty ? row.difficulty : 0,
            isModel: true, positive: row.preference ?? 0, negative: row.preference.map { 1 - $0 } ?? 0)
    }
}

/// σ(γ·difficulty + θ): the length term is 0 at equal lengths.
private func prediction(_ beta: Coefficients, difficulty: Double) -> Double {
    sigmoid(beta[1] * difficulty + beta[2])
}
