import Foundation
import Statistics
import Testing

@Suite struct StyleControlTests {
    private func games(
        _ count: Int, strength: Double, effect: Double, spread: Double, shift: Double, seed: UInt64
    ) -> [StyleControl.Game] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { prompt in
            let difference = shift + spread * (Double.random(in: 0..<1, using: &generator) - 0.5)
            let isWin = Double.random(in: 0..<1, using: &generator) < sigmoid(strength + effect * difference)
            return StyleControl.Game(
                prompt: prompt, first: 0, second: 1, preference: isWin ? 1 : 0, difference: [difference])
        }
    }

    @Test func `Without a difference in style the score is the plain win rate`() throws {
        let games = (0..<50).map { prompt in
            StyleControl.Game(
                prompt: prompt, first: 0, second: 1, preference: [1, 0.5, 0][prompt % 3], copies: 1 + prompt % 2,
                difference: [0, 0])
        }
        let plain =
            games.reduce(0) { $0 + $1.preference * Double($1.copies) }
            / Double(games.reduce(0) { $0 + $1.copies })
        let scores = try #require(StyleControl.winRates(games, models: 2, baseline: 1, resamples: 0, seed: 0))
        let value = try #require(scores.values[0]?.value)
        #expect(abs(value - plain) < 1e-4)
        #expect(scores.values[1] == nil)
        #expect(scores.effects.allSatisfy { abs($0) < 1e-9 })
    }

    @Test func `What the judge gives for length is taken off`() throws {
        // The mean difference must count too: equal style is no difference, not the usual one.
        let games = games(20_000, strength: 0.2, effect: 2, spread: 1, shift: 0.5, seed: 3)
        let plain = mean(games.map(\.preference)) ?? 0
        let scores = try #require(StyleControl.winRates(games, models: 2, baseline: 1, resamples: 200, seed: 1))
        let interval = try #require(scores.values[0])
        let truth = sigmoid(0.2)
        #expect(plain > truth + 0.1)
        #expect(abs(interval.value - truth) < 0.02, "\(interval)")
        #expect(interval.lower < truth && truth < interval.upper)
    }

    @Test func `One that only wins has a rate below 1, and an order of the rows changes nothing`() throws {
        let games = games(60, strength: 30, effect: 0, spread: 1, shift: 0, seed: 5)
        let scores = try #require(StyleControl.winRates(games, models: 2, baseline: 1, resamples: 100, seed: 1))
        let value = try #require(scores.values[0]?.value)
        #expect(value > 0.9 && value < 1)
        let mixed = self.games(60, strength: 0.3, effect: 1, spread: 1, shift: 0, seed: 6)
        let one = try #require(StyleControl.winRates(mixed, models: 2, baseline: 1, resamples: 100, seed: 1)?.values[0])
        let other = try #require(
            StyleControl.winRates(mixed.reversed(), models: 2, baseline: 1, resamples: 100, seed: 1)?.values[0])
        #expect(abs(one.value - other.value) < 1e-9)
        #expect(abs(one.lower - other.lower) < 1e-9)
    }

    @Test func `Among several models each is scored over all others`() throws {
        var generator = SeededGenerator(seed: 8)
        let strengths = [0.0, 1.0, -0.5]
        var games: [StyleControl.Game] = []
        for prompt in 0..<6_000 {
            for (first, second) in [(0, 1), (0, 2), (1, 2)] {
                let difference = Double.random(in: 0..<1, using: &generator) - 0.5
                let odds = strengths[first] - strengths[second] + difference
                games.append(
                    StyleControl.Game(
                        prompt: prompt, first: first, second: second,
                        preference: Double.random(in: 0..<1, using: &generator) < sigmoid(odds) ? 1 : 0,
                        difference: [difference]))
            }
        }
        let scores = try #require(StyleControl.winRates(games, models: 3, baseline: nil, resamples: 0, seed: 0))
        for model in 0..<3 {
            let truth = mean((0..<3).filter { $0 != model }.map { sigmoid(strengths[model] - strengths[$0]) }) ?? 0
            #expect(abs((scores.values[model]?.value ?? 0) - truth) < 0.02)
        }
    }

    // MARK: Ratings

    private func ratings(_ missing: Set<Int> = []) -> [StyleControl.Rating] {
        var generator = SeededGenerator(seed: 4)
        var ratings: [StyleControl.Rating] = []
        for unit in 0..<400 {
            let hardness = 4 * Double.random(in: 0..<1, using: &generator)
            for model in 0..<3 {
                // The second writes more, and harder prompts get more from all.
                let length = hardness + 2 * Double(model == 1 ? 1 : 0) + Double.random(in: 0..<1, using: &generator)
                let value = 5 + [0, 0.5, 1][model] - 2 * hardness + 0.75 * length
                if missing.contains(3 * unit + model) { continue }
                ratings.append(
                    StyleControl.Rating(prompt: unit / 2, unit: unit, model: model, value: value, style: [length]))
            }
        }
        return ratings
    }

    @Test(arguments: [Set<Int>(), Set((0..<100).map { 7 * $0 })])
    func `Ratings without noise give back how far the models are apart`(_ missing: Set<Int>) throws {
        let scores = try #require(StyleControl.ratings(ratings(missing), models: 3, resamples: 50, seed: 1))
        let values = try scores.values.map { try #require($0).value }
        #expect(abs(values[1] - values[0] - 0.5) < 1e-6)
        #expect(abs(values[2] - values[0] - 1) < 1e-6)
        // A standard deviation of length is worth 0.75 of its unit.
        let lengths = ratings(missing).map(\.style[0])
        let center = mean(lengths) ?? 0
        let deviation = (mean(lengths.map { ($0 - center) * ($0 - center) }) ?? 0).squareRoot()
        #expect(abs(scores.effects[0] - 0.75 * deviation) < 1e-6)
        let interval = try #require(scores.values[2])
        #expect(interval.lower < interval.value && interval.value < interval.upper)
    }

    @Test func `The means of all stay where they were, and one model cannot be told from its style`() throws {
        let all = ratings()
        let scores = try #require(StyleControl.ratings(all, models: 3, resamples: 0, seed: 0))
        let adjusted = mean(scores.values.compactMap { $0?.value }) ?? 0
        #expect(abs(adjusted - (mean(all.map(\.value)) ?? 0)) < 1e-9)
        #expect(
            StyleControl.ratings(all.filter { $0.model == 0 }, models: 3, resamples: 0, seed: 0) == nil)
        #expect(StyleControl.ratings([], models: 3, resamples: 0, seed: 0) == nil)
        #expect(StyleControl.winRates([], models: 2, baseline: 1, resamples: 0, seed: 0) == nil)
    }
}
