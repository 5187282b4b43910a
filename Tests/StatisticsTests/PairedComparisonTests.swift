import Statistics
import Testing

struct PairedComparisonTests {
    private func pairs(_ first: [Double], _ second: [Double]) -> [PairedMeans.Pair] {
        zip(first, second).map { PairedMeans.Pair(first: Cluster([$0]), second: Cluster([$1])) }
    }

    private func draws(_ count: Int, seed: UInt64) -> [Double] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in Double(generator.next() >> 11) * 0x1p-53 }
    }

    @Test func `The permutation test of few prompts agrees with all exchanges there are`() throws {
        let first = [3.0, 5, 2, 8, 7, 6, 9, 4]
        let second = [2.0, 6, 1, 5, 5, 6, 7, 1]
        let differences = zip(first, second).map { $0 - $1 }
        let seen = abs(differences.reduce(0, +))
        let extreme = (0..<256).count { flips in
            let sum = differences.enumerated().reduce(0.0) { $0 + (flips >> $1.offset & 1 == 1 ? -1 : 1) * $1.element }
            return abs(sum) >= seen - 1e-9
        }
        let means = try #require(PairedMeans(pairs(first, second)))
        #expect(abs(means.permutationP(40_000, seed: 3) - Double(extreme) / 256) < 0.005)
    }

    @Test func `The interval of a difference is the t interval within the noise of resampling`() throws {
        let (first, second) = (draws(40, seed: 1), draws(40, seed: 2).map { $0 * 0.8 })
        let differences = zip(first, second).map { $0 - $1 }
        let error = (sampleStandardDeviation(differences) ?? 0) / 40.0.squareRoot()
        let means = try #require(PairedMeans(pairs(first, second)))
        let resampled = means.resampled(20_000, seed: 1)
        let interval = resampled.interval(method: "m")
        let reach = studentQuantile(0.975, degrees: 39) * error
        #expect(abs(interval.value - differences.reduce(0, +) / 40) < 1e-12)
        #expect(abs(interval.standardError / error - 1) < 0.02)
        #expect(abs((interval.upper - interval.lower) / (2 * reach) - 1) < 0.03)
        // The level at which the interval touches 0 is 1 − p.
        let touching = resampled.interval(level: 1 - resampled.p, method: "m")
        #expect(min(abs(touching.lower), abs(touching.upper)) < 0.02 * error)
    }

    @Test func `A p-value goes on where resamples end`() throws {
        let first = draws(200, seed: 5).map { $0 + 2 }
        let second = draws(200, seed: 6)
        let means = try #require(PairedMeans(pairs(first, second)))
        let p = means.resampled(500, seed: 1).p
        #expect(p < 1e-20 && p >= 0)
    }

    @Test func `Prompts with several values are means of all values, whichever side has more`() throws {
        let pairs = [
            PairedMeans.Pair(first: Cluster([1, 2, 3]), second: Cluster([4])),
            PairedMeans.Pair(first: Cluster([6]), second: Cluster([0, 2])),
        ]
        let means = try #require(PairedMeans(pairs))
        #expect(means.means.first == 3 && means.means.second == 2 && means.difference == 1)
        #expect(PairedMeans([pairs[0]]) == nil)
    }

    @Test func `Two models at equal lengths differ as their own win rates do, resample by resample`() throws {
        let lengths = draws(120, seed: 7).map { 400 * ($0 - 0.5) }
        func rows(_ shift: Double, seed: UInt64) -> [LengthControlRow] {
            zip(lengths, draws(120, seed: seed)).map {
                LengthControlRow(preference: $1 < shift ? 1 : 0, lengthDifference: $0, difficulty: 0)
            }
        }
        let control = LengthControl(design: .minimal, gamed: [])
        let models = (first: rows(0.9, seed: 8), second: rows(0.2, seed: 9))
        let fits = (first: try control.fit(models.first), second: try control.fit(models.second))
        let own = try control.resampledWinRates(models.first, fit: fits.first, resamples: 300, seed: 1)
        let other = try control.resampledWinRates(models.second, fit: fits.second, resamples: 300, seed: 1)
        let resampled = Resampled((fits.first.winRate, own), less: (fits.second.winRate, other), count: 120)
        #expect(resampled.value == fits.first.winRate - fits.second.winRate)
        #expect(resampled.estimates.count == 300)
        let bootstrap = try control.bootstrap(models.first, fit: fits.first, resamples: 300, seed: 1)
        #expect(bootstrap == Interval(value: fits.first.winRate, estimates: own, method: bootstrap.method))
        // Each prompt's two sides are exchanged, so the order of the two models does not matter.
        let p = try #require(try control.permutationP(models, fits: fits, permutations: 400, seed: 1))
        let swapped = try #require(
            try control.permutationP(
                (models.second, models.first), fits: (fits.second, fits.first), permutations: 400, seed: 1))
        #expect(abs(p - swapped) < 0.02 && p < 0.05, "\(p) \(swapped) \(fits)")
        let same = try #require(
            try control.permutationP(
                (models.first, models.first), fits: (fits.first, fits.first), permutations: 100, seed: 1))
        #expect(same == 1)
    }
}
