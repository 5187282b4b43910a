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

    @Test func `A model without a game in a resample has no estimate from it, and is nobody's opponent`() throws {
        let games = (0..<20).flatMap { prompt in
            let often = StyleControl.Game(
                prompt: prompt, first: 0, second: 1, preference: prompt % 3 == 0 ? 0 : 1,
                difference: [Double(prompt % 5) - 2])
            let once = StyleControl.Game(prompt: 0, first: 2, second: 1, preference: 0, difference: [1])
            return prompt == 0 ? [often, once] : [often]
        }
        for baseline in [1, nil] {
            let scores = try #require(
                StyleControl.winRates(games, models: 3, baseline: baseline, resamples: 200, seed: 1))
            #expect(scores.values[0]?.failed == 0)
            // (19 / 20)^20 of the resamples are without the prompt.
            let failed = try #require(scores.values[2]?.failed)
            #expect(40...110 ~= failed, "\(failed)")
            #expect(scores.values[2]?.upper ?? 1 < 0.4)
        }
    }

    @Test func `Where outputs differ in style by the same always, or models never meet, there is no score`() {
        let games = (0..<40).map { prompt in
            StyleControl.Game(
                prompt: prompt, first: 0, second: 1, preference: prompt % 3 == 0 ? 1 : 0, difference: [0.8, 0])
        }
        #expect(StyleControl.winRates(games, models: 2, baseline: 1, resamples: 0, seed: 0) == nil)
        let apart = (0..<40).map { prompt in
            let place = prompt % 2 * 2
            return StyleControl.Game(
                prompt: prompt, first: place, second: place + 1, preference: prompt % 3 == 0 ? 1 : 0,
                difference: [Double(prompt % 7) - 3])
        }
        #expect(StyleControl.winRates(apart, models: 4, baseline: nil, resamples: 0, seed: 0) == nil)
    }

    // MARK: Ratings

    /// Of prompts that differ in hardness: a model's ratings for some of them.
    private func ratings(_ model: Int, _ prompts: Range<Int>, length: (Int) -> Double) -> [StyleControl.Rating] {
        prompts.map { prompt in
            StyleControl.Rating(
                prompt: prompt, unit: prompt, model: model, value: Double(prompt % 4 + model + prompt % (model + 3)),
                style: [length(prompt)])
        }
    }

    @Test func `Models that share no prompt, or that only their style tells apart, have no score at equal style`() {
        func scores(_ ratings: [StyleControl.Rating]) -> StyleControl.Scores? {
            StyleControl.ratings(ratings, models: 3, resamples: 10, seed: 1)
        }
        func varied(_ prompt: Int) -> Double { Double(prompt * prompt % 11) }
        let first = ratings(0, 0..<10, length: varied)
        #expect(scores(first + ratings(1, 10..<20, length: { Double($0 % 3) })) == nil)
        #expect(scores(first + ratings(1, 0..<10, length: { varied($0) + 90 })) == nil)
        #expect(scores(ratings(0, 0..<10, length: { _ in 10 }) + ratings(1, 0..<10, length: { _ in 100 })) == nil)
        #expect(scores(first + ratings(1, 0..<10, length: varied)) != nil)
        // Through the second, which shares prompts with both.
        let chained = first + ratings(1, 5..<15, length: { Double($0 % 3) }) + ratings(2, 10..<20, length: varied)
        #expect(scores(chained)?.values.allSatisfy { $0 != nil } == true)
    }

    @Test func `A model that a resample has no rating of has no estimate from it`() throws {
        let all =
            ratings(0, 0..<20, length: { Double($0 * $0 % 11) }) + ratings(1, 0..<20, length: { Double($0 % 3) })
            + ratings(2, 0..<1, length: { _ in 4 })
        let scores = try #require(StyleControl.ratings(all, models: 3, resamples: 200, seed: 1))
        #expect(scores.values[0]?.failed == 0)
        let failed = try #require(scores.values[2]?.failed)
        #expect(40...110 ~= failed, "\(failed)")
    }

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
