/// What training makes smaller: a loss of a batch's log-probabilities, with its derivatives.
///
/// An objective knows no tensors. The model computes each row's summed log-probability, the objective answers with the
/// loss and d loss / d sum of each row, and the model takes it from there with
/// ∂ sum / ∂ logits[t, v] = 1[v = y_t] − p_t(v).
/// In the formulas π(chosen) and π(rejected) are the probabilities of the rows' targets given what precedes them, |row|
/// is the number of those targets, π₀ is the frozen reference model, and NLL the negative log-likelihood of the chosen
/// rows. Losses are averaged over a batch's examples.
package enum Objective: Hashable, Sendable {
    case sft(SFT)
    case simpo(SimPO)
    case dpo(DPO)
    case ipo(IPO)
    case rdpo(RDPO)
    case cpo(CPO)
    case kto(KTO)
    case orpo(ORPO)
    case slicHF(SLiCHF)
    case rrhf(RRHF)

    /// The loss of `examples` as their share of the batch's, and its derivatives.
    ///
    /// Means are over `batch`, so the parts of a batch add up to it. `klLogRatio` is KTO's mean log-ratio over
    /// mismatched rows in nats, before max(0, ·); see ``KTO/meanLogRatio(ofMismatched:)``. A number that is not finite
    /// among the log-probabilities makes the loss one that is not finite either.
    package func evaluate(
        _ examples: [PairLogProbs], in batch: BatchSize, klLogRatio: Double = 0
    ) -> BatchLoss {
        formulation.evaluate(examples, in: batch, klLogRatio: klLogRatio)
    }

    /// Whether rows must come with their log-probability under the reference model.
    package var needsReference: Bool { formulation.needsReference }

    /// Whether the chosen rows must come with the log-probability of their prompts.
    package var needsPromptLogProbs: Bool { formulation.needsPromptLogProbs }

    /// Whether an example is a pair; otherwise it is a row alone: chosen for SFT, chosen or rejected for KTO.
    package var isPaired: Bool {
        switch self {
        case .sft, .kto: false
        case .simpo, .dpo, .ipo, .rdpo, .cpo, .orpo, .slicHF, .rrhf: true
        }
    }

    /// Whether a batch also needs the log-ratios of prompts joined to other prompts' outputs.
    package var needsMismatchedRows: Bool {
        if case .kto = self { true } else { false }
    }

    /// Whether the logged `logps/chosen` and `logps/rejected` are averages over targets, as TRL logs them for this
    /// objective, and not sums.
    package var lengthNormalizesLogps: Bool { formulation.lengthNormalizesLogps }

    /// The loss and its parameters in one line, for the header of a run.
    package var formula: String { formulation.formula }

    /// - Throws: `TrainingError.configuration` for a parameter with which the formula makes no sense.
    package func checked() throws(TrainingError) {
        try formulation.checked()
    }

    private var formulation: any Formulation {
        switch self {
        case .sft(let sft): sft
        case .simpo(let simpo): simpo
        case .dpo(let dpo): dpo
        case .ipo(let ipo): ipo
        case .rdpo(let rdpo): rdpo
        case .cpo(let cpo): cpo
        case .kto(let kto): kto
        case .orpo(let orpo): orpo
        case .slicHF(let slicHF): slicHF
        case .rrhf(let rrhf): rrhf
        }
    }
}

/// What each objective's parameters answer to.
protocol Formulation {
    func evaluate(_ examples: [PairLogProbs], in batch: BatchSize, klLogRatio: Double) -> BatchLoss
    var needsReference: Bool { get }
    var needsPromptLogProbs: Bool { get }
    var lengthNormalizesLogps: Bool { get }
    var formula: String { get }
    func checked() throws(TrainingError)
}

extension Formulation {
    var needsReference: Bool { false }
    var needsPromptLogProbs: Bool { false }
    var lengthNormalizesLogps: Bool { false }

    func positive(_ value: Double, _ name: String) throws(TrainingError) {
        guard value > 0, value.isFinite else {
            throw .configuration("\(name) is \(value), and must be a finite number above 0: correct the recipe")
        }
    }

    func notNegative(_ value: Double, _ name: String) throws(TrainingError) {
        guard value >= 0, value.isFinite else {
            throw .configuration("\(name) is \(value), and must be a finite number of at least 0: correct the recipe")
        }
    }
}

/// A number and its derivative with respect to what it was computed from.
struct Tangent {
    var value: Double
    var slope: Double
}

extension RowLogProbs {
    /// log π − log π₀ of the row, in nats.
    var logRatio: Double {
        guard let reference else { preconditionFailure("a row of \(count) targets without reference log-probability") }
        return sum - reference
    }
}

/// A parameter as a reader would write it: 2, not 2.0.
func written(_ value: Double) -> String {
    let text = "\(value)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
