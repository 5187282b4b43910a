extension Objective {
    /// Identity preference optimization: the difference of log-ratios is drawn to 1/(2τ), from both sides.
    ///
    /// (h − 1/(2τ))² + λ·NLL with h = log π/π₀(chosen) − log π/π₀(rejected), each log-ratio divided by its row's length
    /// if so asked; dL/d sum is 2·(h − 1/(2τ)) over that length, negated for the rejected row. Azar et al. 2023,
    /// arXiv 2310.12036, equation 17, does not divide; TRL does.
    package struct IPO: Hashable, Sendable {
        /// τ, the strength of the pull to the reference; TRL's `beta`.
        package var tau: Double
        /// Whether a row's log-ratio is divided by its number of targets.
        package var lengthNormalized: Bool
        /// Whether there is a reference model; without one, log π stands for log π/π₀, as in TRL's CPO trainer with
        /// `loss_type: ipo`.
        package var usesReference: Bool
        /// λ, the weight of the chosen rows' NLL, a token mean.
        package var sftWeight: Double

        package init(
            tau: Double, lengthNormalized: Bool = true, usesReference: Bool = true, sftWeight: Double = 0
        ) {
            self.tau = tau
            self.lengthNormalized = lengthNormalized
            self.usesReference = usesReference
            self.sftWeight = sftWeight
        }
    }
}

extension Objective.IPO: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent {
        let scale = lengthNormalized ? 1 / Double(row.count) : 1
        return Tangent(value: scale * (usesReference ? row.logRatio : row.sum), slope: scale)
    }

    func loss(at difference: Double) -> Tangent {
        let gap = difference - 1 / (2 * tau)
        return Tangent(value: gap * gap, slope: 2 * gap)
    }

    func reward(_ row: RowLogProbs) -> Double { tau * score(row).value }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: sftWeight) }
    var needsReference: Bool { usesReference }
    var lengthNormalizesLogps: Bool { lengthNormalized }

    var formula: String {
        let logProbability = usesReference ? "log π/π₀" : "log π"
        let (chosen, rejected) = lengthNormalized ? ("/|chosen|", "/|rejected|") : ("", "")
        return "IPO: (h − 1/(2τ))²\(likelihood.summand), h = \(logProbability)(chosen)\(chosen) − "
            + "\(logProbability)(rejected)\(rejected), τ = \(written(tau))"
    }

    func checked() throws(TrainingError) {
        try positive(tau, "IPO's tau")
        try notNegative(sftWeight, "IPO's SFT weight")
    }
}
