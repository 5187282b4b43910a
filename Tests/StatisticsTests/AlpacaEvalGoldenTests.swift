import Foundation
import Statistics
import Testing

/// Our numbers against alpaca_eval 0.6.6 with scikit-learn 1.9.1 on the same inputs.
@Suite("AlpacaEval's official results", .enabled(if: GoldenData.isPresent, "\(GoldenData.whenAbsent)"))
struct AlpacaEvalGoldenTests {
    // Both sides sum some 3,000 numbers of order 1 in different orders, some ten times over. We see 2e-12 at most.
    static let tolerance = 1e-9

    @Test("Every model's win rate, counts and length-controlled fits are the official ones")
    func models() throws {
        let cases = try GoldenCase.models()
        #expect(cases.count > 20)
        try check(cases, fits: 3)
    }

    @Test("Simulated preferences on real lengths give the official results")
    func synthetic() throws {
        let cases = try GoldenCase.synthetic()
        #expect(cases.count >= 12)
        try check(cases, fits: 1)
    }

    @Test("Edge cases give the official results, or an error where the official package crashes")
    func edges() throws {
        let cases = try GoldenCase.edges()
        #expect(cases.count == 21)
        try check(cases.filter { $0.metrics != nil }, fits: 1)

        let calibration = try Calibration()
        let crashes = cases.filter { $0.metrics == nil }
        #expect(crashes.map(\.name) == ["806_rows", "equal_lengths", "first_1"])
        for crash in crashes where crash.lengthDifferences.count <= calibration.difficulty.count {
            let control = LengthControl(design: .v1, gamed: calibration.gamed)
            let rows = crash.rows(calibration.difficulty)
            #expect(throws: LengthControlError.lengthsAllEqual(rows: rows.count)) { try control.fit(rows) }
        }
    }

    @Test("The grid of C, the solver's seeds and its random draws are scikit-learn's")
    func generator() throws {
        let vectors = try GoldenData.json("vectors/liblinear_rng.json")
        let grid = try #require(vectors["Cs"] as? [Double])
        #expect(grid.count == LengthControl.grid.count)
        #expect(zip(grid, LengthControl.grid).allSatisfy { isSameC($0, $1) })
        #expect((vectors["seeds_for_C_grid"] as? [Int])?.map(UInt32.init) == LengthControl.solverSeeds)

        // "seed0" is the first of the seeds above.
        var generator = MersenneTwister(seed: LengthControl.solverSeeds[0])
        let draws = (0..<8).map { _ in Int(generator.nextUInt32()) }
        #expect(vectors["mt19937_first8_seed0"] as? [Int] == draws)

        var bounded = MersenneTwister(seed: LengthControl.solverSeeds[0])
        let triples = (0..<8).map { _ in [3, 2, 1].map { Int(bounded.bounded($0)) } }
        #expect(vectors["bounded_3_2_1_seed0"] as? [[Int]] == triples)
    }

    private func check(_ cases: [GoldenCase], fits count: Int) throws {
        let calibration = try Calibration()
        var worst: [String: Double] = [:]
        for golden in cases {
            compare(WinRate(preferences: golden.preferences), golden, &worst)
            #expect(golden.fits.count == count, "\(golden.name)")
            for (design, expected) in golden.fits {
                let control = LengthControl(design: design, gamed: calibration.gamed)
                let fit =
                    golden.sameGenerator
                    ? LengthControlFit.sameGenerator(design) : try control.fit(golden.rows(calibration.difficulty))
                compare(fit, expected, name: "\(golden.name) \(design.rawValue)", &worst)
            }
        }
        print("largest differences:", worst.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" })
    }

    private func compare(_ ours: WinRate, _ golden: GoldenCase, _ worst: inout [String: Double]) {
        guard let metrics = golden.metrics else { return }
        let name = golden.name
        expectEqual([ours.winRate], [metrics.winRate], "win_rate", name, &worst)
        expectEqual([ours.standardError], [metrics.standardError], "standard_error", name, &worst)
        expectEqual([ours.discreteWinRate], [metrics.discreteWinRate], "discrete_win_rate", name, &worst)
        #expect(ours.wins == metrics.wins, "\(name)")
        #expect(ours.baselineWins == metrics.baselineWins, "\(name)")
        #expect(ours.draws == metrics.draws, "\(name)")
        #expect(ours.count == metrics.count, "\(name)")
    }

    private func compare(
        _ ours: LengthControlFit, _ expected: GoldenCase.Fit, name: String, _ worst: inout [String: Double]
    ) {
        expectEqual([ours.winRate], [expected.winRate], "length_controlled_winrate", name, &worst)
        expectEqual([ours.standardError], [expected.standardError], "lc_standard_error", name, &worst)
        if let c = expected.inverseRegularization { #expect(isSameC(ours.inverseRegularization, c), "\(name)") }
        if let coefficients = expected.coefficients {
            expectEqual(ours.coefficients, coefficients, "coefficient", name, &worst)
        }
        if let scores = expected.scores {
            #expect(ours.crossValidationScores.map(\.count) == scores.map(\.count), "\(name)")
            expectEqual(ours.crossValidationScores.flatMap(\.self), scores.flatMap(\.self), "cv_score", name, &worst)
        }
        if let means = expected.meanScores { expectEqual(ours.meanScores, means, "cv_mean_score", name, &worst) }
    }

    /// Foundation's JSON reader is an ulp off for some of the ten.
    private func isSameC(_ a: Double, _ b: Double) -> Bool {
        abs(a / b - 1) < 1e-15
    }

    private func expectEqual(
        _ ours: [Double?], _ expected: [Double], _ quantity: String, _ name: String, _ worst: inout [String: Double]
    ) {
        #expect(ours.count == expected.count, "\(quantity) of \(name)")
        for (a, b) in zip(ours, expected) {
            let difference = a.map { abs($0 - b) } ?? .infinity
            #expect(difference <= Self.tolerance, "\(quantity) of \(name): \(String(describing: a)), official \(b)")
            worst[quantity] = max(worst[quantity] ?? 0, difference)
        }
    }
}
