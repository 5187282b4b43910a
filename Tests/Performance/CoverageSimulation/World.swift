import Foundation
import Statistics

enum Design: String, CaseIterable {
    case fixed = "all prompts"
    case sequential = "sequential"
    case prior = "with a prior run"
}

struct GateOutcome: Sendable {
    var decision: SequentialTest.Decision?
    var judged: Int
}

/// Prompts of different difficulty, models of different strength, a judge with noise: a preference is σ of strength,
/// difficulty and length, pushed towards 0 or 1 as a judge's log-probabilities are.
struct World: Sendable {
    private struct Draw {
        var generator: SeededGenerator

        mutating func uniform() -> Double { Double(generator.next() >> 11) * 0x1p-53 }

        mutating func normal() -> Double {
            let radius = (-2 * log(1 - uniform())).squareRoot()
            return radius * cos(2 * .pi * uniform())
        }
    }

    /// In log-odds: how much prompts differ, and how much one prompt differs for one model.
    private let spread = (prompt: 1.2, model: 1.5)

    /// A preference in percent on a prompt of some difficulty.
    private func preference(_ strength: Double, _ difficulty: Double, _ draw: inout Draw) -> Double {
        100 * sigmoid(3 * (strength + spread.prompt * difficulty + spread.model * draw.normal()))
    }

    /// The mean preference of a strength over all prompts there are, by the sum over a fine grid of normal quantiles.
    private func truth(_ strength: Double) -> Double {
        let deviation = (spread.prompt * spread.prompt + spread.model * spread.model).squareRoot()
        let steps = 4_000
        return (0..<steps).reduce(0) { sum, step in
            let z = normalQuantile((Double(step) + 0.5) / Double(steps))
            return sum + 100 * sigmoid(3 * (strength + deviation * z)) / Double(steps)
        }
    }

    /// The strength whose truth is `rate`.
    private func strength(of rate: Double) -> Double {
        var (low, high) = (-20.0, 20.0)
        for _ in 0..<60 {
            if truth((low + high) / 2) < rate { low = (low + high) / 2 } else { high = (low + high) / 2 }
        }
        return (low + high) / 2
    }

    private let method = "bootstrap by prompt"

    // MARK: Means

    private static let strengths = (first: -0.5, second: -0.9)
    private static let truths = (first: World().truth(strengths.first), second: World().truth(strengths.second))

    private func pairs(_ seed: UInt64, prompts: Int) -> [PairedMeans.Pair] {
        var draw = Draw(generator: SeededGenerator(seed: 1, stream: seed))
        return (0..<prompts).map { _ in
            let difficulty = draw.normal()
            return PairedMeans.Pair(
                first: Cluster([preference(World.strengths.first, difficulty, &draw)]),
                second: Cluster([preference(World.strengths.second, difficulty, &draw)]))
        }
    }

    func pairedMeans(_ seed: UInt64, prompts: Int) -> Trial {
        trial(pairs(seed, prompts: prompts), truth: World.truths.first - World.truths.second, seed)
    }

    private func trial(_ pairs: [PairedMeans.Pair], truth: Double, _ seed: UInt64) -> Trial {
        guard let means = PairedMeans(pairs) else { preconditionFailure("\(pairs.count) prompts") }
        return Trial(truth: truth, interval: means.resampled(1_000, seed: seed).interval(method: method))
    }

    /// Ratings from 1 to 10 of two turns, which hang together; a turn in ten has none.
    func clusteredMeans(_ seed: UInt64, prompts: Int) -> Trial {
        var draw = Draw(generator: SeededGenerator(seed: 2, stream: seed))
        func ratings(_ level: Double, _ shared: Double) -> Cluster {
            let own = draw.normal()
            let values = (0..<2).map { _ in level + shared + 0.8 * own + 0.8 * draw.normal() }
            return Cluster(draw.uniform() < 0.2 ? [values[0]] : values)
        }
        let pairs = (0..<prompts).map { _ in
            let shared = 1.2 * draw.normal()
            return PairedMeans.Pair(first: ratings(7, shared), second: ratings(6.6, shared))
        }
        return trial(pairs, truth: 0.4, seed)
    }

    /// Two games a prompt, a verdict counting three times where it is clear, as Arena-Hard's do.
    func games(_ seed: UInt64, prompts: Int) -> Trial {
        var draw = Draw(generator: SeededGenerator(seed: 3, stream: seed))
        let chances = (first: (0.5, 0.2), second: (0.44, 0.2))
        func rows(_ chance: (Double, Double), _ difficulty: Double) -> Cluster {
            let tendency = sigmoid(log(chance.0 / (1 - chance.0)) * 1.8 + 1.5 * (difficulty + draw.normal()))
            return Cluster(
                (0..<2).flatMap { _ -> [Double] in
                    let isWin = draw.uniform() < tendency
                    let isClear = draw.uniform() < chance.1
                    return [Double](repeating: isWin ? 100 : 0, count: isClear ? 3 : 1)
                })
        }
        let pairs = (0..<prompts).map { _ in
            let difficulty = draw.normal()
            return PairedMeans.Pair(first: rows(chances.first, difficulty), second: rows(chances.second, difficulty))
        }
        func truth(_ chance: Double) -> Double {
            let steps = 4_000
            return (0..<steps).reduce(0) { sum, step in
                let z = normalQuantile((Double(step) + 0.5) / Double(steps)) * 2.0.squareRoot()
                return sum + 100 * sigmoid(log(chance / (1 - chance)) * 1.8 + 1.5 * z) / Double(steps)
            }
        }
        return trial(pairs, truth: truth(chances.first.0) - truth(chances.second.0), seed)
    }

    // MARK: Length control

    /// φ, γ and θ of two models in the regression's own form, and how much longer than the baseline they write.
    private static let models = [
        (phi: -0.6, gamma: 0.8, theta: -0.4, longer: 0.5), (phi: -0.6, gamma: 0.8, theta: -0.9, longer: -0.3),
    ]

    /// The calibration models that were told to be verbose or concise: constants, as in the real metric.
    private static let gamed: [GamedRow] = {
        var draw = Draw(generator: SeededGenerator(seed: 4))
        return (0..<1_610).map { row in
            let difficulty = draw.normal()
            let length = (row < 805 ? -0.8 : 0.6) + draw.normal()
            return GamedRow(
                preference: sigmoid(-0.6 * tanh(length) + 0.8 * difficulty), standardizedLengthDifference: length,
                difficulty: difficulty)
        }
    }()

    private static let lengthTruths: [Double] = models.map { model in
        let steps = 4_000
        return (0..<steps).reduce(0) { sum, step in
            let z = normalQuantile((Double(step) + 0.5) / Double(steps))
            return sum + 100 * sigmoid(model.gamma * z + model.theta) / Double(steps)
        }
    }

    func lengthControlled(_ seed: UInt64, isDifference: Bool) -> Trial {
        var draw = Draw(generator: SeededGenerator(seed: 5, stream: seed))
        let difficulties = (0..<805).map { _ in draw.normal() }
        let control = LengthControl(design: .v1, gamed: World.gamed)
        let rows = World.models.map { model in
            difficulties.map { difficulty in
                // Baseline minus model, in characters.
                let length = -400 * (model.longer + draw.normal())
                let spread = 400.0
                let chance = sigmoid(model.phi * tanh(length / spread) + model.gamma * difficulty + model.theta)
                return LengthControlRow(
                    preference: draw.uniform() < chance ? 1 : 0, lengthDifference: length, difficulty: difficulty)
            }
        }
        do {
            let fits = try rows.map { try control.fit($0) }
            if isDifference {
                let estimates = try zip(rows, fits).map {
                    ($1.winRate, try control.resampledWinRates($0, fit: $1, resamples: 1_000, seed: seed))
                }
                let resampled = Resampled(estimates[0], less: estimates[1], count: 805)
                return Trial(
                    truth: World.lengthTruths[0] - World.lengthTruths[1], interval: resampled.interval(method: method))
            }
            return Trial(
                truth: World.lengthTruths[0],
                interval: try control.bootstrap(rows[0], fit: fits[0], resamples: 1_000, seed: seed))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    // MARK: Gates

    /// Of a change between two models of about the baseline's strength.
    func standardError(prompts: Int) -> Double {
        let pairs = gatePairs(SeededGenerator(seed: 6), shift: 0, prompts: 100_000)
        let differences = pairs.map { $0.candidate - $0.baseline }
        return (sampleStandardDeviation(differences) ?? 0) / Double(prompts).squareRoot()
    }

    /// Two versions of one model share more than two models do, which is what a gate compares.
    private func gatePairs(
        _ generator: SeededGenerator, shift: Double, prompts: Int
    ) -> [(candidate: Double, baseline: Double, prior: Double)] {
        var draw = Draw(generator: generator)
        let shifted = World.shifted(shift)
        return (0..<prompts).map { _ in
            let difficulty = draw.normal()
            let shared = 0.7 * draw.normal()
            func value(_ strength: Double) -> Double {
                100 * sigmoid(3 * (strength + spread.prompt * difficulty + shared + World.own * draw.normal()))
            }
            return (value(shifted), value(0), value(-0.2))
        }
    }

    private static let own = 0.6
    /// Strengths by the change in percent that they make from strength 0.
    private static func shifted(_ shift: Double) -> Double {
        let world = World()
        let deviation = (world.spread.prompt * world.spread.prompt + 0.7 * 0.7 + own * own).squareRoot()
        let steps = 1_000
        let quantiles = (0..<steps).map { normalQuantile((Double($0) + 0.5) / Double(steps)) }
        func rate(_ strength: Double) -> Double {
            quantiles.reduce(0) { $0 + 100 * sigmoid(3 * (strength + deviation * $1)) / Double(steps) }
        }
        var (low, high) = (-10.0, 10.0)
        for _ in 0..<60 {
            if rate((low + high) / 2) < 50 + shift { low = (low + high) / 2 } else { high = (low + high) / 2 }
        }
        return (low + high) / 2
    }

    func gate(_ seed: UInt64, shift: Double, margin: Double, design: Design) -> GateOutcome {
        let pairs = gatePairs(SeededGenerator(seed: 7, stream: seed), shift: shift, prompts: 805)
        if design == .fixed {
            let means = PairedMeans(
                pairs.map { PairedMeans.Pair(first: Cluster([$0.candidate]), second: Cluster([$0.baseline])) })
            guard let means else { preconditionFailure("805 prompts") }
            let resampled = means.resampled(1_000, seed: seed)
            let decision: SequentialTest.Decision? =
                resampled.p(ofAtLeast: -margin) < 0.05
                ? .below : resampled.p(ofAtMost: -margin) < 0.05 ? .above : nil
            return GateOutcome(decision: decision, judged: pairs.count)
        }
        let variates = pairs.map { design == .prior ? [$0.baseline, $0.prior] : [] }
        var test = SequentialTest(threshold: -margin, alpha: 0.05, variates: variates, largest: 100)
        // The prompts are drawn anew, so their order is random already.
        for (place, pair) in pairs.enumerated() {
            test.add(prompt: place, value: pair.candidate - pair.baseline)
            if place >= 49, place % 8 == 0 || place == 804, let decision = test.decision {
                return GateOutcome(decision: decision, judged: place + 1)
            }
        }
        return GateOutcome(decision: nil, judged: pairs.count)
    }
}
