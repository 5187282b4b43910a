internal import Statistics

extension Objective {
    /// Kahneman–Tversky optimization: rows alone, each only called desirable (chosen) or undesirable (rejected).
    ///
    /// With x = β·(log π/π₀(row) − z₀): λ_D·(1 − σ(x)) for a desirable row, derivative −λ_D·β·σ(x)·σ(−x), and
    /// λ_U·(1 − σ(−x)) for an undesirable one, derivative λ_U·β·σ(x)·σ(−x). z₀ estimates KL(π‖π₀) from prompts joined
    /// to other prompts' outputs and takes no gradient. Ethayarajh et al. 2024, arXiv 2402.01306, whose loss is this up
    /// to a constant; z₀ stays in nats, as in TRL, and is scaled by β with the rest.
    package struct KTO: Hashable, Sendable {
        /// β, the scale of the reward.
        package var beta: Double
        /// λ_D, the weight of desirable rows.
        package var desirableWeight: Double
        /// λ_U, the weight of undesirable rows.
        package var undesirableWeight: Double

        package init(beta: Double, desirableWeight: Double = 1, undesirableWeight: Double = 1) {
            self.beta = beta
            self.desirableWeight = desirableWeight
            self.undesirableWeight = undesirableWeight
        }

        /// Mean of log π − log π₀ in nats over rows whose output belongs to another prompt; 0 for no rows.
        package static func meanLogRatio(ofMismatched rows: [RowLogProbs]) -> Double {
            rows.isEmpty ? 0 : rows.reduce(0) { $0 + $1.logRatio } / Double(rows.count)
        }
    }
}

extension Objective.KTO: Formulation {
    func evaluate(_ examples: [PairLogProbs], in batch: BatchSize, klLogRatio: Double) -> BatchLoss {
        // Not `max(0, _)`, which would turn NaN into 0 and hide it.
        let divergence = klLogRatio < 0 ? 0 : klLogRatio
        let share = 1 / Double(batch.examples)
        var result = BatchLoss()
        for (i, example) in examples.enumerated() {
            var gradient = PairGradient()
            switch (example.chosen, example.rejected) {
            case (let desirable?, nil):
                let x = beta * (desirable.logRatio - divergence)
                result.loss += share * desirableWeight * sigmoid(-x)
                gradient.chosen = -share * desirableWeight * beta * sigmoid(x) * sigmoid(-x)
            case (nil, let undesirable?):
                let x = beta * (undesirable.logRatio - divergence)
                result.loss += share * undesirableWeight * sigmoid(x)
                gradient.rejected = share * undesirableWeight * beta * sigmoid(x) * sigmoid(-x)
            case (nil, nil), (_?, _?):
                preconditionFailure("example \(i) is no row alone")
            }
            result.gradients.append(gradient)
            result.chosenRewards.append(example.chosen.map { beta * $0.logRatio })
            result.rejectedRewards.append(example.rejected.map { beta * $0.logRatio })
        }
        return result
    }

    var needsReference: Bool { true }

    var formula: String {
        "KTO: λ_D·(1 − σ(x)) for chosen, λ_U·(1 − σ(−x)) for rejected rows, x = β·(log π/π₀(row) − z₀), "
            + "z₀ = max(0, mean log π/π₀(mismatched)), β = \(written(beta)), λ_D = \(written(desirableWeight)), "
            + "λ_U = \(written(undesirableWeight))"
    }

    func checked() throws(TrainingError) {
        try positive(beta, "KTO's beta")
        try notNegative(desirableWeight, "KTO's desirable weight")
        try notNegative(undesirableWeight, "KTO's undesirable weight")
        guard desirableWeight + undesirableWeight > 0 else {
            throw .configuration("KTO's weights are both 0, so that nothing is trained: correct the recipe")
        }
    }
}
