internal import Statistics

#if canImport(Glibc)
    internal import Glibc
#endif

/// A loss of the difference between two rows' scores, averaged over pairs, plus a likelihood term.
///
/// With d = score(chosen) − score(rejected) the derivatives are dL/d sum = loss′(d) · score′(row), negated for the
/// rejected row.
protocol PairwiseFormulation: Formulation {
    /// What the loss compares of two rows, and its derivative by the row's summed log-probability.
    func score(_ row: RowLogProbs) -> Tangent
    /// The loss of a pair, and its derivative, where the chosen row's score is greater by `difference`.
    func loss(at difference: Double) -> Tangent
    /// What TRL logs as the row's reward.
    func reward(_ row: RowLogProbs) -> Double
    var likelihood: LikelihoodTerm { get }
}

extension PairwiseFormulation {
    func evaluate(_ examples: [PairLogProbs], in batch: BatchSize, klLogRatio _: Double) -> BatchLoss {
        var result = BatchLoss()
        let share = 1 / Double(batch.examples)
        for (i, example) in examples.enumerated() {
            guard let chosen = example.chosen, let rejected = example.rejected else {
                preconditionFailure("example \(i) is no pair")
            }
            let (above, below) = (score(chosen), score(rejected))
            let loss = loss(at: above.value - below.value)
            result.loss += share * loss.value
            result.gradients.append(
                PairGradient(
                    chosen: share * loss.slope * above.slope, rejected: -share * loss.slope * below.slope))
            result.chosenRewards.append(reward(chosen))
            result.rejectedRewards.append(reward(rejected))
        }
        likelihood.add(to: &result, examples, in: batch)
        return result
    }

    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: 0) }
    var needsPromptLogProbs: Bool { likelihood.coversPrompt }
}

extension Objective {
    /// What a Bradley–Terry loss makes of z, by how much a pair's scores exceed the target margin.
    package enum Link: Hashable, Sendable {
        /// −(1 − ε)·log σ(z) − ε·log σ(−z), with slope −(1 − ε)·σ(−z) + ε·σ(z).
        ///
        /// ε > 0 expects that fraction of labels to be wrong: the gradient vanishes at σ(z) = 1 − ε, so margins stop
        /// growing there.
        case sigmoid(labelSmoothing: Double = 0)
        /// max(0, 1 − z), with slope −1 where z < 1.
        case hinge
        /// [−(1 − ε)·log σ(z) + ε·log σ(−z)] / (1 − 2ε), with slope [−(1 − ε)·σ(−z) − ε·σ(z)] / (1 − 2ε).
        ///
        /// An unbiased estimate of the loss under true labels where a fraction ε was flipped; it can be negative.
        /// Chowdhury, Kini and Natarajan 2024, arXiv 2403.00409.
        case robust(labelSmoothing: Double)

        func loss(at z: Double) -> Tangent {
            let (given, flipped) = (logisticLoss(at: z), logisticLoss(at: -z))
            switch self {
            case .sigmoid(let smoothing):
                return Tangent(
                    value: (1 - smoothing) * given.value + smoothing * flipped.value,
                    slope: (1 - smoothing) * given.slope - smoothing * flipped.slope)
            case .hinge:
                return hingeLoss(at: z, margin: 1)
            case .robust(let smoothing):
                let scale = 1 / (1 - 2 * smoothing)
                return Tangent(
                    value: scale * ((1 - smoothing) * given.value - smoothing * flipped.value),
                    slope: scale * ((1 - smoothing) * given.slope + smoothing * flipped.slope))
            }
        }

        var formula: String {
            switch self {
            case .sigmoid(0): "−log σ(z)"
            case .sigmoid: "−(1 − ε)·log σ(z) − ε·log σ(−z)"
            case .hinge: "max(0, 1 − z)"
            case .robust: "[−(1 − ε)·log σ(z) + ε·log σ(−z)] / (1 − 2ε)"
            }
        }

        /// As the last of a list of parameters, or nothing.
        var parameter: String {
            switch self {
            case .sigmoid(0), .hinge: ""
            case .sigmoid(let smoothing), .robust(let smoothing): ", ε = \(written(smoothing))"
            }
        }

        func checked(_ name: String) throws(TrainingError) {
            switch self {
            case .hinge: break
            case .sigmoid(let smoothing), .robust(let smoothing):
                guard 0 <= smoothing, smoothing < 0.5 else {
                    throw .configuration(
                        "\(name)'s label smoothing is \(smoothing), and must be at least 0 and below 0.5, the fraction "
                            + "at which labels say nothing: correct the recipe")
                }
            }
        }
    }
}

/// −log σ(x) = softplus(−x), without overflow at either end; its slope is −σ(−x).
func logisticLoss(at x: Double) -> Tangent {
    Tangent(value: x >= 0 ? log1p(exp(-x)) : log1p(exp(x)) - x, slope: -sigmoid(-x))
}

/// max(0, margin − x); not `max`, which would turn NaN into 0 and hide it.
func hingeLoss(at x: Double, margin: Double) -> Tangent {
    x >= margin ? Tangent(value: 0, slope: 0) : Tangent(value: margin - x, slope: -1)
}
