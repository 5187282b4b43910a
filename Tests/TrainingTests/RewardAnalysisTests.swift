import Chat
import Foundation
import TestSupport
import Testing
import Training

@Suite struct RewardAnalysisTests {
    /// (chosen sum and length, rejected sum and length, chosen reward, rejected reward)
    private let pairs = [
        pair((-10, 10), (-30, 20), 1, 0.5),
        pair((-40, 20), (-10, 10), 2, -1),
        pair((-30, 30), (-20, 20), 0.25, 0.25),
        pair((-45, 30), (-8, 10), -1, 1),
    ]

    @Test func `Accuracies are strict, and ties stand apart`() throws {
        let analysis = try RewardAnalysis(pairs)
        #expect(analysis.rewardAccuracy.correct == 2)
        #expect(analysis.rewardAccuracy.ties == 1)
        #expect(analysis.rewardAccuracy.count == 4)
        #expect(analysis.rewardAccuracy.fraction == 0.5)
        #expect(analysis.likelihoodAccuracy.correct == 1)
        #expect(analysis.likelihoodAccuracy.ties == 1)
        #expect(counts(analysis.contingency) == [1, 1, 0, 2])
    }

    @Test func `The interval of an accuracy is Wilson's`() throws {
        func interval(_ correct: Int, of count: Int) throws -> [Double] {
            let accuracy = try RewardAnalysis(
                (0..<count).map { pair((-1, 1), (-2, 1), $0 < correct ? 1 : 0, 0.5) }
            ).rewardAccuracy
            return [accuracy.lower, accuracy.upper]
        }
        // scipy 1.17.1, binomtest(k, n).proportion_ci(0.95, "wilson").
        #expect(agree(try interval(2, of: 4), [0.15003898915214953, 0.8499610108478505]))
        #expect(agree(try interval(0, of: 5), [0.0, 0.43448246478317476]))
        #expect(agree(try interval(5, of: 5), [0.5655175352168251, 1.0]))
        #expect(agree(try interval(83, of: 120), [0.6041700227619933, 0.767272630110837]))
    }

    @Test func `Margins, rewards, likelihoods and lengths are summed up`() throws {
        let analysis = try RewardAnalysis(pairs)
        // Margins 0.5, 3, 0, −2.
        #expect(analysis.margins.mean == 0.375)
        #expect(agree([analysis.margins.standardDeviation ?? .nan], [2.056493779875511]))
        #expect([analysis.margins.minimum, analysis.margins.maximum, analysis.margins.median] == [-2, 3, 0.25])
        #expect(agree([analysis.margins.percentile25, analysis.margins.percentile75], [-0.5, 1.125]))
        #expect(agree([analysis.margins.percentile5, analysis.margins.percentile95], [-1.7, 2.625]))
        #expect(analysis.chosenRewards.mean == 0.5625)
        #expect(analysis.rejectedRewards.maximum == 1)
        #expect(analysis.chosenLikelihoods.mean == -1.375)
        #expect(analysis.rejectedLikelihoods.minimum == -1.5)
        #expect([analysis.chosenLengths.mean, analysis.rejectedLengths.mean] == [22.5, 15])
    }

    @Test func `Margins are averaged by length difference, and no bin mixes signs`() throws {
        let analysis = try RewardAnalysis(pairs)
        // Differences −10, 10, 10, 20: bins two targets wide.
        let bins = analysis.marginsByLengthDifference
        #expect(bins.map(\.lower) == Array(stride(from: -10.0, through: 20, by: 2)))
        #expect(zip(bins, bins.dropFirst()).allSatisfy { $0.upper == $1.lower })
        #expect(bins.filter { $0.count > 0 }.map(\.lower) == [-10, 10, 20])
        #expect(bins.compactMap(\.meanMargin) == [0.5, 1.5, -2])
        let histogram = analysis.marginHistogram
        #expect(histogram.reduce(0) { $0 + $1.count } == 4)
        #expect(histogram.contains { $0.lower == 0 })
        #expect(histogram.allSatisfy { $0.upper <= 0 || $0.lower >= 0 })
        #expect(agree([histogram[0].lower, histogram[1].lower], [-2, -1.75]))
    }

    @Test func `A single pair, and pairs that are all alike, are one bin`() throws {
        let analysis = try RewardAnalysis([pair((-10, 10), (-30, 20), 1, 0.5)])
        let (histogram, lengths) = (analysis.marginHistogram, analysis.marginsByLengthDifference)
        #expect(histogram.map { [$0.lower, $0.upper, $0.meanMargin] } == [[0.5, 0.5, 0.5]])
        #expect(lengths.map { [$0.lower, $0.upper, $0.meanMargin] } == [[-10, -9, 0.5]])
        #expect(analysis.margins.standardDeviation == nil)
        #expect(analysis.likelihoodLengthCorrelation == -1)
        let alike = try RewardAnalysis([pair((-5, 5), (-5, 5), 0, 0), pair((-5, 5), (-5, 5), 0, 0)])
        #expect(alike.likelihoodLengthCorrelation == nil)
        #expect(alike.rewardAccuracy.ties == 2)
    }

    @Test func `Under SimPO reward and likelihood rank every pair alike`() throws {
        let objective = Objective.simpo(.init(beta: 2.5, gamma: 1))
        let analysis = try RewardAnalysis(
            pairs.map { pair in
                let example = PairLogProbs(chosen: pair.chosen, rejected: pair.rejected)
                let size = BatchSize(examples: 1, chosenTargets: pair.chosen.count, chosenTokens: pair.chosen.count)
                let loss = objective.evaluate([example], in: size)
                return EvaluatedPair(
                    chosen: pair.chosen, rejected: pair.rejected, chosenReward: try #require(loss.chosenRewards[0]),
                    rejectedReward: try #require(loss.rejectedRewards[0]))
            })
        #expect(counts(analysis.contingency) == [1, 0, 0, 3])
        #expect(analysis.rewardAccuracy == analysis.likelihoodAccuracy)
    }

    @Test func `An analysis can be written and read again`() throws {
        let analysis = try RewardAnalysis(pairs)
        let data = try JSONEncoder().encode(analysis)
        #expect(try JSONDecoder().decode(RewardAnalysis.self, from: data) == analysis)
    }

    @Test func `No pairs, and rewards that are not finite, are refused`() {
        let none = #expect(throws: TrainingError.self) { try RewardAnalysis([]) }
        #expect(none?.description.hasPrefix("there are no held-out pairs") == true)
        for broken in [
            pair((-1, 1), (-1, 1), .nan, 0), pair((0, 0), (-1, 1), 0, 0), pair((-1, 1), (-.infinity, 1), 0, 0),
        ] {
            let error = #expect(throws: TrainingError.self) { try RewardAnalysis(pairs + [broken]) }
            #expect(error?.description.contains("held-out pair 4 are") == true)
        }
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/misc/analysis_end_to_end.json")))
    func `Trained models' figures are the golden ones`() throws {
        let path = "\(SharedData.fixtures)/misc/analysis_end_to_end.json"
        let runs = try #require(try JSONValue(parsing: SharedData.contents(path)).object)
        #expect(!runs.members.isEmpty)
        for (name, golden) in runs.members.map({ ($0.key, $0.value) }) {
            let objective = try #require(self.objective(golden), "\(name)")
            let analysis = try RewardAnalysis(evaluated(golden, objective))
            func number(_ key: String) -> Double { golden[key]?.number ?? .nan }
            // The log-probabilities have nine digits, and rewards lose some in the difference to the reference.
            #expect(abs(analysis.margins.mean - number("mean_margin")) <= 1e-6, "\(name)")
            #expect(agree([analysis.rewardAccuracy.fraction], [number("reward_accuracy")], 1e-8), "\(name)")
            #expect(agree([analysis.likelihoodAccuracy.fraction], [number("likelihood_accuracy")], 1e-8), "\(name)")
            let correlation = try #require(analysis.likelihoodLengthCorrelation)
            #expect(agree([correlation], [number("spearman_avglogp_length")], 1e-8), "\(name)")
            let table = golden["contingency_rows_reward_gt_le_cols_avglogp_gt_le"]
            let expected = (table?.array ?? []).flatMap { ($0.array ?? []).compactMap(\.integer) }
            #expect(counts(analysis.contingency) == expected, "\(name)")
        }
    }

    private func objective(_ golden: JSONValue) -> Objective? {
        guard let beta = golden["beta"]?.number else { return nil }
        return switch golden["reward_kind"]?.string {
        case "simpo": .simpo(.init(beta: beta, gamma: 0))
        case "noln": .simpo(.init(beta: beta, gamma: 0, lengthNormalized: false))
        case "dpo": .dpo(.init(beta: beta))
        default: nil
        }
    }

    private func evaluated(_ golden: JSONValue, _ objective: Objective) throws -> [EvaluatedPair] {
        func rows(_ side: String) throws -> [RowLogProbs] {
            let sums = try #require(golden["\(side)_sum"]?.array).compactMap(\.number)
            let counts = try #require(golden["\(side)_len"]?.array).compactMap(\.integer)
            let references = try #require(golden["ref_\(side)_sum"]?.array).compactMap(\.number)
            return sums.indices.map { RowLogProbs(sum: sums[$0], count: counts[$0], reference: references[$0]) }
        }
        let examples = try zip(rows("chosen"), rows("rejected")).map { PairLogProbs(chosen: $0, rejected: $1) }
        let loss = objective.evaluate(
            examples, in: BatchSize(examples: examples.count, chosenTargets: 1, chosenTokens: 1))
        return try examples.indices.map { i in
            EvaluatedPair(
                chosen: try #require(examples[i].chosen), rejected: try #require(examples[i].rejected),
                chosenReward: try #require(loss.chosenRewards[i]), rejectedReward: try #require(loss.rejectedRewards[i])
            )
        }
    }
}

private func pair(
    _ chosen: (sum: Double, count: Int), _ rejected: (sum: Double, count: Int), _ chosenReward: Double,
    _ rejectedReward: Double
) -> EvaluatedPair {
    EvaluatedPair(
        chosen: RowLogProbs(sum: chosen.sum, count: chosen.count),
        rejected: RowLogProbs(sum: rejected.sum, count: rejected.count), chosenReward: chosenReward,
        rejectedReward: rejectedReward)
}

private func counts(_ contingency: RewardAnalysis.Contingency) -> [Int] {
    [contingency.both, contingency.rewardOnly, contingency.likelihoodOnly, contingency.neither]
}

private func agree(_ found: [Double], _ expected: [Double], _ tolerance: Double = 1e-12) -> Bool {
    found.count == expected.count && zip(found, expected).allSatisfy { abs($0 - $1) <= tolerance }
}
