/// What the negative log-likelihood of chosen rows is averaged over.
package enum LikelihoodReduction: String, Codable, CaseIterable, Hashable, Sendable {
    /// −Σ log π / Σ |row|: every target weighs the same, so a long row weighs more. This is cross entropy as
    /// frameworks average it, and what TRL adds to its objectives.
    case tokenMean
    /// −mean of log π / |row|: every row weighs the same.
    case sequenceMean
    /// −mean of log π, as the SimPO paper's Table 3 writes the terms of RRHF and SLiC-HF.
    case sum

    var words: String {
        switch self {
        case .tokenMean: "token mean"
        case .sequenceMean: "sequence mean"
        case .sum: "sum"
        }
    }
}

/// weight · NLL of the chosen rows, the part of a loss that keeps them likely.
struct LikelihoodTerm {
    var weight: Double
    var reduction = LikelihoodReduction.tokenMean
    /// Whether the rows' prompts count like targets.
    var coversPrompt = false

    /// Adds the term's loss and gradients to those of `examples`; a weight of 0 adds nothing.
    func add(to result: inout BatchLoss, _ examples: [PairLogProbs], in batch: BatchSize) {
        if weight == 0 { return }
        var negativeLogLikelihood = 0.0
        for (i, example) in examples.enumerated() {
            guard let chosen = example.chosen else { preconditionFailure("example \(i) has no chosen row") }
            var (sum, count) = (chosen.sum, chosen.count)
            if coversPrompt {
                guard let prompt = chosen.prompt else {
                    preconditionFailure("example \(i) without prompt log-probability")
                }
                sum += prompt.sum
                count += prompt.count
            }
            let share = share(ofRowWith: count, in: batch)
            negativeLogLikelihood -= share * sum
            result.gradients[i].chosen -= weight * share
            if coversPrompt { result.gradients[i].chosenPrompt -= weight * share }
        }
        result.loss += weight * negativeLogLikelihood
        result.negativeLogLikelihood = negativeLogLikelihood
    }

    /// What the row's log-probability is multiplied by in the batch's mean.
    private func share(ofRowWith count: Int, in batch: BatchSize) -> Double {
        switch reduction {
        case .tokenMean: 1 / Double(coversPrompt ? batch.chosenTokens : batch.chosenTargets)
        case .sequenceMean: 1 / Double(batch.examples * count)
        case .sum: 1 / Double(batch.examples)
        }
    }

    /// As a summand, or nothing.
    var summand: String {
        weight == 0 ? "" : " + " + (weight == 1 ? "" : written(weight) + "·") + name
    }

    var name: String {
        coversPrompt ? "NLL(prompt + chosen, \(reduction.words))" : "NLL(chosen, \(reduction.words))"
    }
}
