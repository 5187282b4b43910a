extension Objective {
    /// Rank responses to align with human feedback: a rejected row must not be likelier than the chosen one.
    ///
    /// max(0, log π(rejected)/|rejected| − log π(chosen)/|chosen|) + λ·NLL; dL/d sum is −1/|chosen| and +1/|rejected|
    /// where the maximum is not 0. Yuan et al. 2023, arXiv 2304.05302.
    package struct RRHF: Hashable, Sendable {
        /// λ, the weight of the chosen rows' NLL.
        package var lambda: Double
        /// Over what the NLL is averaged.
        package var reduction: LikelihoodReduction

        package init(lambda: Double, reduction: LikelihoodReduction) {
            self.lambda = lambda
            self.reduction = reduction
        }
    }

    /// Sequence likelihood calibration: the chosen row is to be likelier than the rejected one by δ nats.
    ///
    /// max(0, δ − log π(chosen) + log π(rejected)) + λ·NLL; dL/d sum is −1 and +1 where the maximum is not 0. Zhao et
    /// al. 2023, arXiv 2305.10425.
    package struct SLiCHF: Hashable, Sendable {
        /// δ, the margin of log-probability, in nats.
        package var delta: Double
        /// λ, the weight of the chosen rows' NLL.
        package var lambda: Double
        /// Over what the NLL is averaged.
        package var reduction: LikelihoodReduction

        package init(delta: Double, lambda: Double, reduction: LikelihoodReduction) {
            self.delta = delta
            self.lambda = lambda
            self.reduction = reduction
        }
    }
}

extension Objective.RRHF: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent { Tangent(value: row.average, slope: 1 / Double(row.count)) }
    func loss(at difference: Double) -> Tangent { hingeLoss(at: difference, margin: 0) }
    func reward(_ row: RowLogProbs) -> Double { row.average }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: lambda, reduction: reduction) }
    var lengthNormalizesLogps: Bool { true }

    var formula: String {
        "RRHF: max(0, log π(rejected)/|rejected| − log π(chosen)/|chosen|)\(likelihood.summand)"
    }

    func checked() throws(TrainingError) {
        try notNegative(lambda, "RRHF's lambda")
    }
}

extension Objective.SLiCHF: PairwiseFormulation {
    func score(_ row: RowLogProbs) -> Tangent { Tangent(value: row.sum, slope: 1) }
    func loss(at difference: Double) -> Tangent { hingeLoss(at: difference, margin: delta) }
    func reward(_ row: RowLogProbs) -> Double { row.sum }
    var likelihood: LikelihoodTerm { LikelihoodTerm(weight: lambda, reduction: reduction) }

    var formula: String {
        "SLiC-HF: max(0, δ − log π(chosen) + log π(rejected))\(likelihood.summand), δ = \(written(delta))"
    }

    func checked() throws(TrainingError) {
        try notNegative(delta, "SLiC-HF's delta")
        try notNegative(lambda, "SLiC-HF's lambda")
    }
}
