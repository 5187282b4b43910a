import Foundation
import Statistics
import TestSupport
import Testing

@Suite struct PairwiseRegressionTests {
    /// Everyone against the first, so that strengths are logits of win rates.
    private static func star() -> (PairwiseRegression, [Double]) {
        var games = PairwiseRegression(playerCount: 3, scale: 2)
        for (player, outcome) in [(1, 1.0), (1, 0), (2, 0), (2, 0.5)] {
            games.append(first: 0, second: player, outcome: outcome)
        }
        return (games, [3, 1, 5, 2])
    }

    @Test func `Without a penalty strengths are logits of win rates, with mean 0`() throws {
        let (games, weights) = Self.star()
        let strengths = try #require(games.minimum(weights: weights, penalty: 0))
        #expect(abs(strengths[0] - strengths[1] - log(3) / 2) < 1e-9)
        #expect(abs(strengths[0] - strengths[2] - log(1.0 / 6) / 2) < 1e-9)
        #expect(abs(strengths.reduce(0, +)) < 1e-9)
    }

    @Test func `With a penalty the gradient of the whole is 0`() throws {
        var games = PairwiseRegression(playerCount: 2, featureCount: 2, scale: 1.5)
        games.append(first: 0, second: 1, outcome: 1, features: [0.3, -1])
        games.append(first: 1, second: 0, outcome: 0.5, features: [1, 0.2])
        games.append(first: 1, second: 1, outcome: 0, features: [-0.4, 2])
        let weights = [1.0, 4, 2]
        let theta = try #require(games.minimum(weights: weights, penalty: 0.7))
        /// Written out, apart from the program.
        func objective(_ t: [Double]) -> Double {
            let logOdds = [
                1.5 * (t[0] - t[1]) + 0.3 * t[2] - t[3], 1.5 * (t[1] - t[0]) + t[2] + 0.2 * t[3],
                -1.5 * t[1] - 0.4 * t[2] + 2 * t[3],
            ]
            var sum = 0.35 * t.reduce(0) { $0 + $1 * $1 }
            for (z, (weight, outcome)) in zip(logOdds, zip(weights, [1, 0.5, 0])) {
                sum += weight * (log(1 + exp(z)) - outcome * z)
            }
            return sum
        }
        for index in theta.indices {
            var (up, down) = (theta, theta)
            up[index] += 1e-5
            down[index] -= 1e-5
            #expect(abs(objective(up) - objective(down)) / 2e-5 < 1e-8, "\(index)")
        }
    }

    @Test func `A player who only wins has no minimum without a penalty`() {
        var games = PairwiseRegression(playerCount: 2)
        games.append(first: 0, second: 1, outcome: 1)
        #expect(games.minimum(weights: [3], penalty: 0) == nil)
        #expect(games.minimum(weights: [3], penalty: 1) != nil)
    }

    @Test func `Steps of limited memory go most of the way to the minimum`() throws {
        let (games, weights) = Self.star()
        let minimum = try #require(games.minimum(weights: weights, penalty: 0))
        let reached = games.limitedMemorySteps(weights: weights)
        // The mean stays where it began.
        for index in minimum.indices { #expect(abs(reached[index] - 0.5 - minimum[index]) < 0.02) }
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/arena/numpy_rng_choice.json")))
    func `Indices are drawn as NumPy draws them`() throws {
        let data = try SharedData.contents("\(SharedData.fixtures)/arena/numpy_rng_choice.json")
        let golden = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        for golden in try #require(golden["cases"] as? [[String: Any]]) {
            let seed = try #require(golden["seed"] as? Int)
            let first = try #require(golden["first20"] as? [Int])
            var generator = MersenneTwister(seed: UInt32(seed))
            #expect(generator.indices(first.count, below: try #require(golden["n"] as? Int)) == first)
        }
    }

    @Test func `What never lost has an interval all the same`() {
        let always = bootstrapMean((0..<30).map { _ in Cluster([1, 1]) }, of: "prompts", resamples: 100, seed: 1)
        #expect(always.lower == 1)
        let honest = always.orWilson(whole: 1, count: 30)
        #expect(honest.upper == 1)
        #expect(abs(honest.lower - 30 / (30 + 3.841458820694124)) < 1e-12)
        let mixed = bootstrapMean((0..<30).map { Cluster([Double($0 % 2)]) }, of: "prompts", resamples: 100, seed: 1)
        #expect(mixed.orWilson(whole: 1, count: 30) == mixed)
    }

    @Test func `A clustered mean draws clusters, so its interval is wider than that of its values`() {
        let clusters = (0..<40).map { Cluster([Double]($0 % 2 == 0 ? [1, 1, 1, 1] : [0, 0, 0, 0])) }
        let clustered = bootstrapMean(clusters, of: "prompts", resamples: 1_000, seed: 1)
        let plain = bootstrapMean((0..<160).map { Double($0 % 2) }, resamples: 1_000, seed: 1)
        #expect(clustered.value == 0.5)
        #expect(clustered.method == "percentile bootstrap over prompts")
        #expect((1.7...2.3).contains(clustered.standardError / plain.standardError))
    }
}
