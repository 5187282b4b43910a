extension Objective {
    /// Simple preference optimization: the average log-probability is the reward, with a target margin.
    ///
    /// link(z) + λ·NLL with z = β·(log π(chosen)/|chosen| − log π(rejected)/|rejected|) − γ; dz/d sum is β/|row|,
    /// negated for the rejected row. Meng, Xia and Chen 2024, arXiv 2405.14734, equation 6; the hinge and the
    /// likelihood term are those of the authors' trainer. With a likelihood term this is also what TRL's CPO trainer
    /// computes for `loss_type: simpo` ("CPO-SimPO"), whose `cpo_alpha` is λ.
    package struct SimPO: Hashable, Sendable {
        /// β, the scale of the reward.
        package var beta: Double
        /// γ, the target reward margin itself; where a source states γ/β, this is β times that.
        package var gamma: Double
        /// Whether a row's log-probability is divided by its number of targets. Without that a longer row has more
        /// nats to move, and β is to be some hundred times smaller.
        package var lengthNormalized: Bool
        /// The hinge has its unit margin on top of γ.
        package var link: Link
        /// λ, the weight of the chosen rows' NLL, a token mean.
        package var sftWeight: Double

        package init(
            beta: Double, gamma: Double, lengthNormalized: Bool = true, link: Link = .sigmoid(), sftWeight: Double = 0
        ) {
            self.beta = beta
            self.gamma = gamma
            self.lengthNormalized = lengthNormalized
            self.link = link
            self.sftWeight = sftWeight
        }
    }

    /// Direct preference optimization: the log-ratio to the reference model is the reward.
    ///
    /// link(z) + λ·NLL with z = β·(log π/π₀(chosen) − log π/π₀(rejected)) − γ; dz/d sum is β, negated for the rejected
    /// row. Rafailov et al. 2023, arXiv 2305.18290, equation 7. The margin γ and the division by length are ablations
    /// of the SimPO paper's appendix; the likelihood term is TRL's `loss_type: [sigmoid, sft]`.
    package struct DPO: Hashable, Sendable {
        /// β, the scale of the reward.
        package var beta: Double
        /// γ, the target reward margin; 0 in the paper.
        package var margin: Double
        /// Whether a row's log-ratio is divided by its number of targets; β is then to be some fifty times greater.
        package var lengthNormalized: Bool
        package var link: Link
        /// λ, the weight of the chosen rows' NLL, a token mean.
        package var sftWeight: Double

        package init(
            beta: Double, margin: Double = 0, lengthNormalized: Bool = false, link: Link = .sigmoid(),
            sftWeight: Double = 0
        ) {
            self.beta = beta
            self.margin = margin
            self.lengthNormalized = lengthNormalized
            self.link = link
            self.sftWeight = sftWeight
        }
    }

    /// DPO with length regularized: a longer chosen row is partly explained by its length, and pulls less.
    ///
    /// −log σ(z) with z = β·(log π/π₀(chosen) − log π/π₀(rejected)) + α·(|chosen| − |rejected|); the derivatives are
    /// DPO's. The plus follows from the reward r − α·|row|. Park et al. 2024, arXiv 2403.19159, equation 9.
    package struct RDPO: Hashable, Sendable {
        /// β, the scale of the reward.
        package var beta: Double
        /// α, what a target costs.
        package var alpha: Double

        package init(beta: Double, alpha: Double) {
            self.beta = beta
            self.alpha = alpha
        }
    }

    /// Contrastive preference optimization: DPO with a uniform reference, and a likelihood term.
    ///
    /// link(z) + λ·NLL with z = β·(log π(chosen) − log π(rejected)); dz/d sum is β, negated for the rejected row.
    /// Xu et al. 2024, arXiv 2401.08417. CPO-SimPO is ``SimPO`` with a likelihood term, and TRL's CPO with
    /// `loss_type: ipo` is ``IPO`` without reference.
    package struct CPO: Hashable, Sendable {
        /// β, the scale of the reward.
        package var beta: Double
        /// λ, the weight of the chosen rows' NLL, a token mean; TRL's `cpo_alpha`.
        package var sftWeight: Double
        package var link: Link

        package init(beta: Double, sftWeight: Double = 1, link: Link = .sigmoid()) {
            self.beta = beta
            self.sftWeight = sftWeight
            self.link = link
        }
    }
}

extension Objective.SimPO: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent {
        lengthNormalized
            ? Tangent(value: beta * row.average, slope: beta / Double(row.count))
            : Tangent(value: beta * row.sum, slope: beta)
    }

    func loss(at difference: Double) -> Tangent { link.loss(at: difference - gamma) }
    func reward(_ row: RowLogProbs) -> Double { score(row).value }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: sftWeight) }
    var lengthNormalizesLogps: Bool { lengthNormalized }

    var formula: String {
        let compared =
            lengthNormalized ? "log π(chosen)/|chosen| − log π(rejected)/|rejected|" : "log π(chosen) − log π(rejected)"
        return "SimPO: \(link.formula)\(likelihood.summand), z = β·(\(compared)) − γ, "
            + "β = \(written(beta)), γ = \(written(gamma)) (γ/β = \(written(gamma / beta)))\(link.parameter)"
    }

    func checked() throws(TrainingError) {
        try positive(beta, "SimPO's beta")
        try notNegative(gamma, "SimPO's gamma")
        try notNegative(sftWeight, "SimPO's SFT weight")
        try link.checked("SimPO")
    }
}

extension Objective.DPO: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent {
        let scale = lengthNormalized ? beta / Double(row.count) : beta
        return Tangent(value: scale * row.logRatio, slope: scale)
    }

    func loss(at difference: Double) -> Tangent { link.loss(at: difference - margin) }
    func reward(_ row: RowLogProbs) -> Double { score(row).value }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: sftWeight) }
    var needsReference: Bool { true }

    var formula: String {
        let compared =
            lengthNormalized
            ? "log π/π₀(chosen)/|chosen| − log π/π₀(rejected)/|rejected|" : "log π/π₀(chosen) − log π/π₀(rejected)"
        let (target, value) = margin == 0 ? ("", "") : (" − γ", ", γ = \(written(margin))")
        return "DPO: \(link.formula)\(likelihood.summand), z = β·(\(compared))\(target), "
            + "β = \(written(beta))\(value)\(link.parameter)"
    }

    func checked() throws(TrainingError) {
        try positive(beta, "DPO's beta")
        try notNegative(margin, "DPO's margin")
        try notNegative(sftWeight, "DPO's SFT weight")
        try link.checked("DPO")
    }
}

extension Objective.RDPO: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent {
        Tangent(value: reward(row) + alpha * Double(row.count), slope: beta)
    }

    func loss(at difference: Double) -> Tangent { Objective.Link.sigmoid().loss(at: difference) }
    func reward(_ row: RowLogProbs) -> Double { beta * row.logRatio }
    var needsReference: Bool { true }

    var formula: String {
        "R-DPO: −log σ(z), z = β·(log π/π₀(chosen) − log π/π₀(rejected)) + α·(|chosen| − |rejected|), "
            + "β = \(written(beta)), α = \(written(alpha))"
    }

    func checked() throws(TrainingError) {
        try positive(beta, "R-DPO's beta")
        try notNegative(alpha, "R-DPO's alpha")
    }
}

extension Objective.CPO: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent { Tangent(value: beta * row.sum, slope: beta) }
    func loss(at difference: Double) -> Tangent { link.loss(at: difference) }
    func reward(_ row: RowLogProbs) -> Double { beta * row.sum }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: sftWeight) }

    var formula: String {
        "CPO: \(link.formula)\(likelihood.summand), z = β·(log π(chosen) − log π(rejected)), "
            + "β = \(written(beta))\(link.parameter)"
    }

    func checked() throws(TrainingError) {
        try positive(beta, "CPO's beta")
        try notNegative(sftWeight, "CPO's SFT weight")
        try link.checked("CPO")
    }
}
