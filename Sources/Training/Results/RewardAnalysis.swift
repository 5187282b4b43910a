internal import Statistics

/// A held-out pair and what a model and an objective make of it.
package struct EvaluatedPair: Hashable, Sendable {
    package var chosen: RowLogProbs
    package var rejected: RowLogProbs
    /// The objective's reward of each row. An objective that defines none, SFT, is analysed with the average
    /// log-probability as reward.
    package var chosenReward: Double
    package var rejectedReward: Double

    package init(chosen: RowLogProbs, rejected: RowLogProbs, chosenReward: Double, rejectedReward: Double) {
        self.chosen = chosen
        self.rejected = rejected
        self.chosenReward = chosenReward
        self.rejectedReward = rejectedReward
    }

    /// The chosen row's reward minus the rejected row's.
    package var margin: Double { chosenReward - rejectedReward }
    /// The chosen row's targets minus the rejected row's.
    package var lengthDifference: Int { chosen.count - rejected.count }
}

/// What the rewards and likelihoods of held-out pairs say of a model, after the analyses of the SimPO paper (Meng, Xia
/// and Chen 2024, arXiv 2405.14734, figures 2 to 4).
///
/// A likelihood is a row's average log-probability in nats, a length its number of targets, a margin the chosen row's
/// reward minus the rejected row's.
package struct RewardAnalysis: Codable, Hashable, Sendable {
    /// How often the reward is higher for the chosen row.
    package var rewardAccuracy: Accuracy
    /// How often the likelihood is higher for the chosen row.
    package var likelihoodAccuracy: Accuracy
    package var contingency: Contingency
    /// Spearman's ρ between likelihood and length over all rows, chosen and rejected: how far the model was made to
    /// prefer long rows. nil where either is the same for all rows.
    package var likelihoodLengthCorrelation: Double?
    package var margins: Distribution
    package var chosenRewards: Distribution
    package var rejectedRewards: Distribution
    package var chosenLikelihoods: Distribution
    package var rejectedLikelihoods: Distribution
    package var chosenLengths: Distribution
    package var rejectedLengths: Distribution
    /// Pairs by their margin.
    package var marginHistogram: [Bin]
    /// Pairs by the chosen row's length minus the rejected row's: a reward without length bias has positive mean
    /// margins in all bins.
    package var marginsByLengthDifference: [Bin]

    /// - Throws: `TrainingError.badData` for no pairs, `.diverged` for a number that is not finite.
    package init(_ pairs: [EvaluatedPair]) throws(TrainingError) {
        guard !pairs.isEmpty else {
            throw .badData("there are no held-out pairs to analyse: state a data set with at least one pair")
        }
        for (i, pair) in pairs.enumerated() {
            let numbers = [pair.chosenReward, pair.rejectedReward, pair.chosen.average, pair.rejected.average]
            guard numbers.allSatisfy(\.isFinite) else {
                throw .diverged(
                    "the rewards and average log-probabilities of held-out pair \(i) are \(numbers), which are not all "
                        + "finite: the model has diverged, or a row of the pair has no targets")
            }
        }
        rewardAccuracy = Accuracy(pairs.map { ($0.chosenReward, $0.rejectedReward) })
        likelihoodAccuracy = Accuracy(pairs.map { ($0.chosen.average, $0.rejected.average) })
        contingency = Contingency(pairs)
        let rows = pairs.map(\.chosen) + pairs.map(\.rejected)
        likelihoodLengthCorrelation = spearmanCorrelation(rows.map(\.average), rows.map { Double($0.count) })
        margins = Distribution(pairs.map(\.margin))
        chosenRewards = Distribution(pairs.map(\.chosenReward))
        rejectedRewards = Distribution(pairs.map(\.rejectedReward))
        chosenLikelihoods = Distribution(pairs.map(\.chosen.average))
        rejectedLikelihoods = Distribution(pairs.map(\.rejected.average))
        chosenLengths = Distribution(pairs.map { Double($0.chosen.count) })
        rejectedLengths = Distribution(pairs.map { Double($0.rejected.count) })
        let binWidth = (margins.maximum - margins.minimum) / Self.binCount
        marginHistogram = Bin.bins(pairs, by: \.margin, width: binWidth)
        let differences = pairs.map(\.lengthDifference)
        let spread = Double((differences.max() ?? 0) - (differences.min() ?? 0))
        marginsByLengthDifference = Bin.bins(
            pairs, by: { Double($0.lengthDifference) }, width: max(1, (spread / Self.binCount).rounded(.up)))
    }

    /// Into about how many bins pairs are sorted.
    private static let binCount = 20.0
}

extension RewardAnalysis {
    /// How often a pair is ranked as its annotator did.
    package struct Accuracy: Codable, Hashable, Sendable {
        /// Pairs with a strictly higher value for the chosen row.
        package var correct: Int
        /// Pairs with equal values, which are not correct.
        package var ties: Int
        package var count: Int
        /// correct / count
        package var fraction: Double
        /// The 95 % interval of `fraction` after Wilson 1927.
        package var lower: Double
        package var upper: Double

        init(_ values: [(chosen: Double, rejected: Double)]) {
            correct = values.count { $0.chosen > $0.rejected }
            ties = values.count { $0.chosen == $0.rejected }
            count = values.count
            fraction = Double(correct) / Double(count)
            (lower, upper) = wilsonInterval(fraction, of: count)
        }
    }

    /// Whether reward and likelihood rank a pair alike: pairs by which of the two is strictly higher for the chosen
    /// row. For SimPO only the first and the last can be other than 0.
    package struct Contingency: Codable, Hashable, Sendable {
        package var both = 0
        package var rewardOnly = 0
        package var likelihoodOnly = 0
        package var neither = 0

        init(_ pairs: [EvaluatedPair]) {
            for pair in pairs {
                switch (pair.chosenReward > pair.rejectedReward, pair.chosen.average > pair.rejected.average) {
                case (true, true): both += 1
                case (true, false): rewardOnly += 1
                case (false, true): likelihoodOnly += 1
                case (false, false): neither += 1
                }
            }
        }
    }

    package struct Distribution: Codable, Hashable, Sendable {
        package var mean: Double
        /// With n − 1 in the denominator; nil for one value.
        package var standardDeviation: Double?
        package var minimum, percentile5, percentile25, median, percentile75, percentile95, maximum: Double

        init(_ values: [Double]) {
            let ascending = values.sorted()
            mean = ascending.reduce(0, +) / Double(ascending.count)
            standardDeviation = sampleStandardDeviation(ascending)
            minimum = quantile(0, ofSorted: ascending)
            percentile5 = quantile(0.05, ofSorted: ascending)
            percentile25 = quantile(0.25, ofSorted: ascending)
            median = quantile(0.5, ofSorted: ascending)
            percentile75 = quantile(0.75, ofSorted: ascending)
            percentile95 = quantile(0.95, ofSorted: ascending)
            maximum = quantile(1, ofSorted: ascending)
        }
    }

    /// The pairs whose key lies in lower..<upper.
    package struct Bin: Codable, Hashable, Sendable {
        package var lower: Double
        package var upper: Double
        package var count: Int
        /// nil in an empty bin.
        package var meanMargin: Double?

        /// Neighbouring bins from the lowest to the highest key, one edge at 0, so that no bin mixes signs; a single
        /// bin for a width of 0.
        fileprivate static func bins(
            _ pairs: [EvaluatedPair], by key: (EvaluatedPair) -> Double, width: Double
        ) -> [Bin] {
            let places = pairs.map { width > 0 ? Int((key($0) / width).rounded(.down)) : 0 }
            guard let first = places.min(), let last = places.max(), let lowest = pairs.map(key).min() else {
                return []
            }
            var margins = [[Double]](repeating: [], count: last - first + 1)
            for (pair, place) in zip(pairs, places) { margins[place - first].append(pair.margin) }
            return margins.enumerated().map { i, margins in
                Bin(
                    lower: width > 0 ? Double(first + i) * width : lowest,
                    upper: width > 0 ? Double(first + i + 1) * width : lowest,
                    count: margins.count, meanMargin: mean(margins))
            }
        }
    }
}
