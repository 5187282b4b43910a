import Foundation
import Statistics
import Testing

/// Cases that scikit-learn computed on pairs of our own; see Fixtures/make_length_control.py.
private struct Fixture: Decodable {
    var gamed: [[Double]]
    var cases: [Case]

    struct Case: Decodable {
        var name: String
        /// preference or nil, length difference, difficulty
        var rows: [[Double?]]
        var fits: [Fit]
    }

    struct Fit: Decodable {
        var design: LengthControlDesign
        var coefficients: [Double]
        var inverseRegularization: Double
        var crossValidationScores: [[Double]]
        var winRate: Double
        var standardError: Double
    }

    static func load() throws -> Fixture {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/length_control.json")
        return try decoder.decode(Fixture.self, from: Data(contentsOf: url))
    }

    var gamedRows: [GamedRow] {
        gamed.map { GamedRow(preference: $0[0], standardizedLengthDifference: $0[1], difficulty: $0[2]) }
    }

    func rows(_ name: String) throws -> [LengthControlRow] {
        try #require(cases.first { $0.name == name }).lengthControlRows
    }
}

extension Fixture.Case {
    fileprivate var lengthControlRows: [LengthControlRow] {
        rows.map { LengthControlRow(preference: $0[0], lengthDifference: $0[1] ?? .nan, difficulty: $0[2] ?? .nan) }
    }
}

@Suite("Length control")
struct LengthControlTests {
    @Test("Small cases give what scikit-learn gives")
    func golden() throws {
        let fixture = try Fixture.load()
        #expect(fixture.cases.count == 5)
        for golden in fixture.cases {
            for expected in golden.fits {
                let name: Comment = "\(golden.name), \(expected.design.rawValue)"
                let control = LengthControl(design: expected.design, gamed: fixture.gamedRows)
                let fit = try control.fit(golden.lengthControlRows)
                #expect(fit.inverseRegularization == expected.inverseRegularization, name)
                // Sums of some hundred numbers of order 1, in another order than scikit-learn's.
                #expect(difference(fit.coefficients, expected.coefficients) < 1e-10, name)
                let scores = fit.crossValidationScores.flatMap(\.self)
                #expect(difference(scores, expected.crossValidationScores.flatMap(\.self)) < 1e-10, name)
                #expect(abs(fit.winRate - expected.winRate) < 1e-9, name)
                #expect(abs(fit.standardError - expected.standardError) < 1e-9, name)
            }
        }
    }

    @Test func `A model and its copy are as uncertain as the model: prompts are drawn with the rows of both`() throws {
        let rows = try Fixture.load().rows("strong with missing verdicts")
        let control = LengthControl(design: .minimal, gamed: [])
        let one = try #require(try control.bootstrapPooled([rows], resamples: 400, seed: 3))
        let penalized = try control.bootstrap(rows, fit: try control.fit(rows), resamples: 400, seed: 3)
        #expect(abs(one.value - penalized.value) < 2)
        let two = try #require(try control.bootstrapPooled([rows, rows], resamples: 400, seed: 3))
        #expect(abs(two.value - one.value) < 1)
        #expect((0.9...1.1).contains(two.standardError / one.standardError))
        // Its mirror image wins where it loses: prompts say nothing of their mean.
        let mirrored = rows.map { row in
            LengthControlRow(
                preference: row.preference.map { 1 - $0 }, lengthDifference: -row.lengthDifference,
                difficulty: row.difficulty)
        }
        let mean = try #require(try control.bootstrapPooled([rows, mirrored], resamples: 400, seed: 3))
        #expect(abs(mean.value - 50) < 0.1)
        #expect(mean.standardError < one.standardError / 10)
    }

    @Test("The win rate is the mean of the predictions")
    func predictions() throws {
        let fixture = try Fixture.load()
        let rows = try fixture.rows("strong with missing verdicts")
        for design in LengthControlDesign.allCases {
            let control = LengthControl(design: design, gamed: fixture.gamedRows)
            let fit = try control.fit(rows)
            let predictions = control.predictions(fit, rows)
            #expect(predictions.count == rows.count)
            #expect(abs(100 * predictions.reduce(0, +) / Double(rows.count) - fit.winRate) < 1e-10)
        }
    }

    @Test("Fitting again gives the same bits")
    func repeatable() throws {
        let fixture = try Fixture.load()
        let rows = try fixture.rows("weak")
        let control = LengthControl(design: .v1, gamed: fixture.gamedRows)
        let first = try control.fit(rows)
        let others = concurrentMap(8) { _ in try? control.fit(rows) }
        #expect(others.allSatisfy { $0 == first })
    }

    @Test("Data that cannot be fitted throw an error that says so")
    func errors() throws {
        let control = LengthControl(design: .v1, gamed: try Fixture.load().gamedRows)
        let plain = LengthControl(design: .noRegularization, gamed: [])
        let row = LengthControlRow(preference: 0.7, lengthDifference: 12, difficulty: 0)
        let equal = LengthControlRow(preference: 0.7, lengthDifference: 0, difficulty: 0)
        let missing = LengthControlRow(preference: nil, lengthDifference: -3, difficulty: 0)
        #expect(throws: LengthControlError.noRows) { try control.fit([]) }
        #expect(throws: LengthControlError.lengthsAllEqual(rows: 1)) { try control.fit([row]) }
        #expect(throws: LengthControlError.lengthsAllEqual(rows: 3)) { try control.fit([equal, equal, equal]) }
        #expect(throws: LengthControlError.noPreferences(rows: 2)) { try control.fit([missing, missing]) }
        #expect(throws: LengthControlError.tooFewRows(rows: 1, needed: 5)) { try plain.fit([row, missing]) }
        #expect("\(LengthControlError.tooFewRows(rows: 1, needed: 5))".contains("needs 5 prompts"))
    }

    @Test("The baseline against itself is at 50 with no spread")
    func sameGenerator() {
        #expect(LengthControlFit.sameGenerator(.v1).coefficients == [0, 0, 0])
        #expect(LengthControlFit.sameGenerator(.minimal).coefficients == [0, 0])
        #expect(LengthControlFit.sameGenerator(.v1).winRate == 50)
        #expect(LengthControlFit.sameGenerator(.v1).standardError == 0)
    }

    @Test("The bootstrap depends on its seed and on nothing else")
    func bootstrapSeed() throws {
        let fixture = try Fixture.load()
        let rows = try fixture.rows("strong with missing verdicts")
        let control = LengthControl(design: .v1, gamed: fixture.gamedRows)
        let fit = try control.fit(rows)
        let first = try control.bootstrap(rows, fit: fit, resamples: 100, seed: 1)
        let contended = concurrentMap(8) { _ in try? control.bootstrap(rows, fit: fit, resamples: 100, seed: 1) }
        #expect(contended.allSatisfy { $0 == first })
        #expect(try control.bootstrap(rows, fit: fit, resamples: 100, seed: 2) != first)
        #expect(first.value == fit.winRate)
        #expect(first.lower < fit.winRate && fit.winRate < first.upper)
    }

    @Test("A bootstrap replicate is the fit of the rows that it drew")
    func bootstrapReplicate() throws {
        let fixture = try Fixture.load()
        let rows = try fixture.rows("discrete verdicts")
        for design in LengthControlDesign.allCases {
            let control = LengthControl(design: design, gamed: fixture.gamedRows)
            let fit = try control.fit(rows)
            let interval = try control.bootstrap(rows, fit: fit, resamples: 2, seed: 5)
            let replicates = try (0..<2).map { stream in
                var generator = SeededGenerator(seed: 5, stream: UInt64(stream))
                let drawn = rows.map { _ in rows[generator.index(below: rows.count)] }
                return try converged(control, drawn, gamed: fixture.gamedRows, like: fit)
            }
            // Two estimates a and b have standard deviation |a − b| / √2.
            let deviation = abs(replicates[0] - replicates[1]) / 2.0.squareRoot()
            #expect(abs(interval.standardError - deviation) < 1e-7, "\(design)")
        }
    }

    @Test("A resample without any length difference or verdict is counted as failed")
    func bootstrapFailures() throws {
        let control = LengthControl(design: .v1, gamed: try Fixture.load().gamedRows)
        var rows = [LengthControlRow](
            repeating: LengthControlRow(preference: 0.25, lengthDifference: 0, difficulty: 0.1), count: 3)
        rows[0].lengthDifference = 40
        let interval = try control.bootstrap(rows, fit: try control.fit(rows), resamples: 500, seed: 3)
        // All three draws miss row 0 with probability (2/3)³ = 0.296.
        #expect((110...190).contains(interval.failed))
        #expect(interval.resamples == 500)
        #expect(interval.standardError.isFinite)

        var unjudged = rows.map { LengthControlRow(preference: nil, lengthDifference: 9, difficulty: $0.difficulty) }
        unjudged[0].preference = 0.9
        let rare = try control.bootstrap(unjudged, fit: try control.fit(unjudged), resamples: 500, seed: 3)
        #expect((110...190).contains(rare.failed))
    }

    @Test("Nineteen in twenty bootstrap intervals hold the truth, or nearly")
    func coverage() throws {
        let control = LengthControl(design: .noRegularization, gamed: [])
        var generator = SeededGenerator(seed: 11)
        // θ = 0.4 and γ = 0.6 over difficulties uniform in −2..<2: (1/4γ)·∫σ dη over η = θ ± 2γ, and ∫σ = softplus.
        let truth = 100 * (log1p(exp(1.6)) - log1p(exp(-0.8))) / 2.4
        var hits = 0
        for dataset in 0..<40 {
            let rows = (0..<100).map { _ in pair(using: &generator) }
            let fit = try control.fit(rows)
            let interval = try control.bootstrap(rows, fit: fit, resamples: 100, seed: UInt64(dataset))
            hits += interval.lower < truth && truth < interval.upper ? 1 : 0
        }
        // Binomial(40, 0.93): percentile intervals of 100 pairs run a little short. Below 32 once in a thousand.
        #expect(hits >= 32)
    }

    private func pair(using generator: inout SeededGenerator) -> LengthControlRow {
        let difficulty = Double.random(in: -2..<2, using: &generator)
        let length = Double.random(in: -1000..<1000, using: &generator)
        // The deviation of a uniform number in ±1000.
        let logit = 0.4 + 0.6 * difficulty - 1.0 * tanh(length / (1000 / 3.0.squareRoot()))
        let wins = Double.random(in: 0..<1, using: &generator) < 1 / (1 + exp(-logit))
        return LengthControlRow(preference: wins ? 1 : 0, lengthDifference: length, difficulty: difficulty)
    }

    /// The slow way: one design row a drawn row, glibc's tanh, from β = 0.
    private func converged(
        _ control: LengthControl, _ rows: [LengthControlRow], gamed: [GamedRow], like fit: LengthControlFit
    ) throws -> Double {
        let center = rows.reduce(0) { $0 + $1.lengthDifference } / Double(rows.count)
        let squares = rows.reduce(0) { $0 + pow($1.lengthDifference - center, 2) }
        let deviation = (squares / Double(rows.count - 1)).squareRoot()
        var design = rows.compactMap { row in
            row.preference.map {
                DesignRow(
                    length: tanh(row.lengthDifference / deviation),
                    difficulty: control.design == .minimal ? 0 : row.difficulty, isModel: true, positive: $0,
                    negative: 1 - $0)
            }
        }
        if control.design == .v1 {
            design += gamed.map {
                DesignRow(
                    length: tanh($0.standardizedLengthDifference), difficulty: $0.difficulty, isModel: false,
                    positive: 0.1 * $0.preference, negative: 0.1 * (1 - $0.preference))
            }
        }
        let columns = control.design == .minimal ? [0, 2] : [0, 1, 2]
        let regression = LogisticRegression(inverseRegularization: fit.inverseRegularization, columns: columns)
        let beta = try #require(regression.minimize(LogisticLoss(design), from: Coefficients()))
        let sum = rows.reduce(0) { $0 + 1 / (1 + exp(-(beta[1] * $1.difficulty + beta[2]))) }
        return 100 * sum / Double(rows.count)
    }

    private func difference(_ a: [Double], _ b: [Double]) -> Double {
        a.count == b.count ? zip(a, b).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }
}
