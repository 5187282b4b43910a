extension Objective {
    /// The negative log-likelihood of the chosen rows; dL/d sum is −1 over what the reduction divides by.
    package struct SFT: Hashable, Sendable {
        /// Over what the likelihood is averaged.
        package var reduction: LikelihoodReduction

        package init(reduction: LikelihoodReduction = .tokenMean) {
            self.reduction = reduction
        }
    }
}

extension Objective.SFT: Formulation {
    func evaluate(_ examples: [PairLogProbs], in batch: BatchSize, klLogRatio _: Double) -> BatchLoss {
        var result = BatchLoss()
        result.gradients = examples.map { _ in PairGradient() }
        result.chosenRewards = examples.map { _ in nil }
        result.rejectedRewards = result.chosenRewards
        likelihood.add(to: &result, examples, in: batch)
        return result
    }

    private var likelihood: LikelihoodTerm { LikelihoodTerm(weight: 1, reduction: reduction) }

    var formula: String { "SFT: \(likelihood.name)" }

    func checked() throws(TrainingError) {}
}
