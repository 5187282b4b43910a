/// The log-probability of one row's targets.
package struct RowLogProbs: Hashable, Sendable {
    /// Σ log π over the targets, in nats.
    package var sum: Double
    /// How many targets.
    package var count: Int
    /// The same sum under the frozen reference model, where the objective has one.
    package var reference: Double?
    /// Σ log π over the row's other tokens but the first, and their number: only for an objective whose likelihood
    /// term covers the prompt.
    package var prompt: Prompt?

    package struct Prompt: Hashable, Sendable {
        package var sum: Double
        package var count: Int

        package init(sum: Double, count: Int) {
            self.sum = sum
            self.count = count
        }
    }

    package init(sum: Double, count: Int, reference: Double? = nil, prompt: Prompt? = nil) {
        self.sum = sum
        self.count = count
        self.reference = reference
        self.prompt = prompt
    }

    /// The average log-probability of a target, in nats.
    package var average: Double { sum / Double(count) }
}

/// What an objective knows of one example.
package struct PairLogProbs: Hashable, Sendable {
    package var chosen: RowLogProbs?
    package var rejected: RowLogProbs?

    package init(chosen: RowLogProbs?, rejected: RowLogProbs?) {
        self.chosen = chosen
        self.rejected = rejected
    }
}

/// The sizes of the batch that a mean is taken over. A batch may be computed in several parts; their losses and
/// gradients add up to the batch's.
package struct BatchSize: Hashable, Sendable {
    /// Examples: pairs, or rows alone.
    package var examples: Int
    /// Targets of all chosen rows.
    package var chosenTargets: Int
    /// All tokens of the chosen rows but each first one.
    package var chosenTokens: Int

    package init(examples: Int, chosenTargets: Int, chosenTokens: Int) {
        self.examples = examples
        self.chosenTargets = chosenTargets
        self.chosenTokens = chosenTokens
    }
}

/// d loss / d summed log-probability of one example's rows.
package struct PairGradient: Hashable, Sendable {
    package var chosen = 0.0
    package var rejected = 0.0
    /// With respect to the chosen row's `prompt.sum`.
    package var chosenPrompt = 0.0

    package init(chosen: Double = 0, rejected: Double = 0, chosenPrompt: Double = 0) {
        self.chosen = chosen
        self.rejected = rejected
        self.chosenPrompt = chosenPrompt
    }
}

/// What an objective makes of some examples of a batch.
package struct BatchLoss: Hashable, Sendable {
    /// The examples' share of the batch's loss.
    package var loss = 0.0
    /// One for each example.
    package var gradients: [PairGradient] = []
    /// The implicit reward of each row, as the objective defines it; nil where there is no such row, or none is defined.
    package var chosenRewards: [Double?] = []
    package var rejectedRewards: [Double?] = []
    /// The share of the negative log-likelihood term, where the objective has one, before its weight.
    package var negativeLogLikelihood: Double?

    package init() {}
}
