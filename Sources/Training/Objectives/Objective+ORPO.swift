#if canImport(Glibc)
    internal import Glibc
#endif

extension Objective {
    /// Odds ratio preference optimization: supervised training with a penalty on the odds of the rejected row.
    ///
    /// NLL − λ·log σ(o) with o = logit(chosen) − logit(rejected), where logit = a − log(1 − e^a) for the average
    /// log-probability a of a row's targets; do/d sum is 1/((1 − e^a)·|row|), negated for the rejected row. Hong, Lee
    /// and Thorne 2024, arXiv 2403.07691, equations 4, 6 and 7.
    package struct ORPO: Hashable, Sendable {
        /// Which tokens of the chosen rows the NLL, a token mean, is of.
        package enum Likelihood: String, Codable, CaseIterable, Hashable, Sendable {
            /// The targets, as in the paper.
            case response
            /// All tokens but the first, as in TRL.
            case promptAndResponse
        }

        /// λ, the weight of the odds ratio; TRL's `beta`.
        package var lambda: Double
        package var likelihoodOf: Likelihood

        package init(lambda: Double, likelihoodOf: Likelihood) {
            self.lambda = lambda
            self.likelihoodOf = likelihoodOf
        }

        /// o, by how much the log-odds of the chosen row's average target exceed the rejected one's; TRL logs its mean
        /// as `log_odds_chosen` and that of log σ(o) as `log_odds_ratio`.
        package func logOddsRatio(chosen: RowLogProbs, rejected: RowLogProbs) -> Double {
            score(chosen).value - score(rejected).value
        }
    }
}

extension Objective.ORPO: PairwiseFormulation {
    /// The odds of a row that is certain are infinite, and rounding can make log π 0 or more: from 2^−52 below 0 on the
    /// average counts as that.
    func score(_ row: RowLogProbs) -> Tangent {
        let average = min(row.average, -Double.ulpOfOne)
        return Tangent(
            value: average - logOfOneMinusExp(average), slope: -1 / (expm1(average) * Double(row.count)))
    }

    func loss(at difference: Double) -> Tangent {
        let loss = logisticLoss(at: difference)
        return Tangent(value: lambda * loss.value, slope: lambda * loss.slope)
    }

    func reward(_ row: RowLogProbs) -> Double { lambda * row.average }

    var likelihood: LikelihoodTerm {
        LikelihoodTerm(weight: 1, coversPrompt: likelihoodOf == .promptAndResponse)
    }

    var lengthNormalizesLogps: Bool { true }

    var formula: String {
        "ORPO: \(likelihood.name) − λ·log σ(logit(chosen) − logit(rejected)), logit = a − log(1 − e^a), "
            + "a = log π(row)/|row|, λ = \(written(lambda))"
    }

    func checked() throws(TrainingError) {
        try notNegative(lambda, "ORPO's lambda")
    }
}

/// log(1 − e^a) for a < 0, by whichever of the two forms keeps its digits (Mächler 2012).
private func logOfOneMinusExp(_ a: Double) -> Double {
    a > -0.6931471805599453 ? log(-expm1(a)) : log1p(-exp(a))
}
