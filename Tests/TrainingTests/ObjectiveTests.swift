import Chat
import Foundation
import TestSupport
import Testing
import Training

@Suite struct ObjectiveTests {
    @Test func `Losses and gradients are those of automatic differentiation`() {
        for golden in ownGoldens {
            let examples = golden.objective.isPaired ? pairs : golden.objective.rowsAlone(pairs)
            let found = golden.objective.evaluate(examples, in: size(examples), klLogRatio: 0.75)
            let gradients = found.gradients.reduce(into: ([Double](), [Double](), [Double]())) {
                $0.0.append($1.chosen)
                $0.1.append($1.rejected)
                $0.2.append($1.chosenPrompt)
            }
            let count = golden.chosen.count
            // KTO's examples are the three chosen rows, then the three rejected ones.
            let rejected = golden.objective.needsMismatchedRows ? gradients.1.suffix(count) : gradients.1.prefix(count)
            #expect(agree(found.loss, golden.loss, 1e-13), "\(golden.objective): \(found.loss)")
            #expect(
                agree(Array(gradients.0.prefix(count)), golden.chosen, 1e-13), "\(golden.objective): \(gradients.0)")
            #expect(agree(Array(rejected), golden.rejected, 1e-13), "\(golden.objective): \(gradients.1)")
            #expect(
                agree(Array(gradients.2.prefix(count)), golden.prompt, 1e-13), "\(golden.objective): \(gradients.2)")
        }
    }

    /// The loss of the first two micro-batches of TRL's and the SimPO authors' trainers (TRL 0.9.6 and 0.29.1, single
    /// precision) and a model whose log-probabilities, in double precision, are `tinyModel`.
    @Test func `An untrained model's losses are those that TRL's trainers log`() {
        let goldens: [(Objective, Double, Double)] = [
            (.simpo(.init(beta: 2, gamma: 1)), 1.35736859, 1.62083662),
            (.simpo(.init(beta: 2, gamma: 1, sftWeight: 0.5)), 4.29851723, 4.55701256),
            (.simpo(.init(beta: 2.5, gamma: 1, link: .sigmoid(labelSmoothing: 0.1))), 1.26211166, 1.55312896),
            (.simpo(.init(beta: 2, gamma: 1, link: .hinge)), 2.05669785, 2.39610767),
            (.cpo(.init(beta: 0.1)), 16.106596, 5.87235165),
            (.orpo(.init(lambda: 0.5, likelihoodOf: .promptAndResponse)), 6.20391369, 6.18368816),
        ]
        for (objective, first, second) in goldens {
            for (batch, expected) in [(tinyModel[..<2], first), (tinyModel[2...], second)] {
                let found = objective.evaluate(Array(batch), in: size(Array(batch)))
                #expect(agree(found.loss, expected, 1e-6), "\(objective): \(found.loss)")
            }
        }
    }

    @Test(.enabled(if: !SharedData.fixtures("losses").isEmpty, "needs the golden losses (EVALHARNESS_FIXTURES)"))
    func `Losses, gradients and rewards are those of the published trainers`() throws {
        var count = 0
        for path in SharedData.fixtures("losses") {
            let file = try JSONValue(parsing: SharedData.contents(path))
            let batches = try #require(file["batches"]?.array)
            for golden in try #require(file["results"]?.array) {
                let (name, parameters) = (try #require(golden["objective"]?.string), try #require(golden["params"]))
                let objective = try #require(Objective(name, parameters), "\(name) \(parameters)")
                try compare(objective, golden, batches[try #require(golden["batch"]?.integer)])
                count += 1
            }
        }
        #expect(count > 0)
    }

    private func compare(_ objective: Objective, _ golden: JSONValue, _ batch: JSONValue) throws {
        let pairs = pairs(of: batch)
        let examples = objective.isPaired ? pairs : objective.rowsAlone(pairs)
        let mismatched = zip(numbers(batch["kl_policy_sum"]), numbers(batch["kl_ref_sum"])).map {
            RowLogProbs(sum: $0, count: 1, reference: $1)
        }
        let found = objective.evaluate(
            examples, in: size(examples), klLogRatio: Objective.KTO.meanLogRatio(ofMismatched: mismatched))
        let text = "\(objective) of \(pairs.count) pairs"
        let chosen = zip(examples, found.gradients).filter { $0.0.chosen != nil }.map(\.1.chosen)
        var rejected = zip(examples, found.gradients).filter { $0.0.rejected != nil }.map(\.1.rejected)
        if rejected.isEmpty { rejected = pairs.map { _ in 0 } }
        // The inputs are rounded to 12 digits; differences of log-ratios lose some more.
        #expect(agree(found.loss, golden["loss"]?.number ?? .nan, 1e-7), "\(text): \(found.loss)")
        #expect(agree(chosen, numbers(golden["grad_chosen_sum"]), 1e-7), "\(text): \(chosen)")
        #expect(agree(rejected, numbers(golden["grad_rejected_sum"]), 1e-7), "\(text): \(rejected)")
        let parameters = golden["params"]
        if ["sft_weight", "cpo_alpha", "lambda"].contains(where: { parameters?[$0]?.number == 0 }) {
            #expect(found.negativeLogLikelihood == nil, "\(text)")
        } else if let expected = ["nll_loss", "sft_loss", "nll"].compactMap({ golden[$0]?.number }).first {
            #expect(agree(found.negativeLogLikelihood ?? .nan, expected, 1e-7), "\(text)")
        }
        if case .sft = objective { return }
        let rewards = (found.chosenRewards.compactMap(\.self), found.rejectedRewards.compactMap(\.self))
        #expect(agree(rewards.0, numbers(golden["rewards_chosen"]), 1e-7), "\(text): \(rewards.0)")
        #expect(agree(rewards.1, numbers(golden["rewards_rejected"]), 1e-7), "\(text): \(rewards.1)")
        if case .orpo(let orpo) = objective {
            let odds = pairs.compactMap { pair in
                pair.chosen.flatMap { chosen in
                    pair.rejected.map { orpo.logOddsRatio(chosen: chosen, rejected: $0) }
                }
            }
            #expect(agree(odds.reduce(0, +) / Double(odds.count), golden["log_odds_chosen"]?.number ?? .nan, 1e-7))
        }
    }

    @Test func `Every objective's derivatives are its central differences`() {
        let names = Set(ownGoldens.map { name(of: $0.objective) })
        #expect(names.count == 10)
        for objective in ownGoldens.map(\.objective) {
            let examples = objective.isPaired ? pairs : objective.rowsAlone(pairs)
            let batch = size(examples)
            let gradients = objective.evaluate(examples, in: batch, klLogRatio: 0.3).gradients
            for i in examples.indices {
                for input in Input.allCases {
                    guard let center = input.value(in: examples[i]) else { continue }
                    let losses = [-1e-4, 1e-4].map { step in
                        var moved = examples
                        input.set(center + step, in: &moved[i])
                        return objective.evaluate(moved, in: batch, klLogRatio: 0.3).loss
                    }
                    let difference = (losses[1] - losses[0]) / 2e-4
                    let derivative = input.derivative(in: gradients[i])
                    #expect(abs(derivative - difference) < 1e-7, "\(objective) \(i): \(derivative), \(difference)")
                }
            }
        }
    }

    @Test func `The parts of a batch add up to it`() {
        for objective in ownGoldens.map(\.objective) {
            let examples = objective.isPaired ? pairs + tinyModel : objective.rowsAlone(pairs + tinyModel)
            let batch = size(examples)
            let whole = objective.evaluate(examples, in: batch, klLogRatio: 0.3)
            var sum = BatchLoss()
            for part in [examples[..<1], examples[1..<4], examples[4...]] {
                let loss = objective.evaluate(Array(part), in: batch, klLogRatio: 0.3)
                sum.loss += loss.loss
                sum.gradients += loss.gradients
                sum.chosenRewards += loss.chosenRewards
                sum.rejectedRewards += loss.rejectedRewards
                if let share = loss.negativeLogLikelihood {
                    sum.negativeLogLikelihood = (sum.negativeLogLikelihood ?? 0) + share
                }
            }
            #expect(agree(sum.loss, whole.loss, 1e-14), "\(objective)")
            #expect(sum.gradients == whole.gradients)
            #expect(sum.chosenRewards == whole.chosenRewards && sum.rejectedRewards == whole.rejectedRewards)
            #expect((sum.negativeLogLikelihood == nil) == (whole.negativeLogLikelihood == nil))
            #expect(agree(sum.negativeLogLikelihood ?? 0, whole.negativeLogLikelihood ?? 0, 1e-14))
        }
    }

    @Test func `R-DPO pulls less at a chosen row that is longer, and more at one that is shorter`() {
        let objective = Objective.rdpo(.init(beta: 0.1, alpha: 0.05))
        let pulls = [10, 20, 30].map { length in
            let pair = PairLogProbs(
                chosen: RowLogProbs(sum: -20, count: length, reference: -21),
                rejected: RowLogProbs(sum: -20, count: 20, reference: -21))
            return -objective.evaluate([pair], in: size([pair])).gradients[0].chosen
        }
        #expect(pulls[0] > pulls[1] && pulls[1] > pulls[2])
        // Equal lengths leave DPO at z = 0.
        #expect(agree(pulls[1], 0.05, 1e-15))
    }

    @Test func `The hinge stops at a unit margin beyond gamma, and a smoothed margin where the labels are that sure`() {
        func pull(_ objective: Objective, _ difference: Double) -> Double {
            let pair = PairLogProbs(
                chosen: RowLogProbs(sum: difference - 1, count: 1), rejected: RowLogProbs(sum: -1, count: 1))
            return -objective.evaluate([pair], in: size([pair])).gradients[0].chosen
        }
        let hinge = Objective.simpo(.init(beta: 2, gamma: 0.5, link: .hinge))
        #expect(pull(hinge, 0.749) == 2)
        #expect(pull(hinge, 0.751) == 0)
        let smoothed = Objective.simpo(.init(beta: 1, gamma: 0, link: .sigmoid(labelSmoothing: 0.1)))
        #expect(abs(pull(smoothed, log(9))) < 1e-15)
        #expect(pull(smoothed, 2) > 0 && pull(smoothed, 3) < 0)
    }

    @Test func `KTO takes a mean log-ratio below 0 for 0`() {
        let objective = Objective.kto(.init(beta: 0.1))
        let rows = objective.rowsAlone(pairs)
        let losses = [-3, 0, 3].map { objective.evaluate(rows, in: size(rows), klLogRatio: $0).loss }
        #expect(losses[0] == losses[1] && losses[1] != losses[2])
        #expect(Objective.KTO.meanLogRatio(ofMismatched: []) == 0)
        let mismatched = [RowLogProbs(sum: -5, count: 2, reference: -7), RowLogProbs(sum: -8, count: 2, reference: -7)]
        #expect(Objective.KTO.meanLogRatio(ofMismatched: mismatched) == 0.5)
    }

    @Test func `Extreme log-probabilities leave losses and gradients finite`() {
        let sums = [-1e6, -800, -1, -1e-9, -1e-300, 0, 1e-7]
        for objective in ownGoldens.map(\.objective) {
            for chosen in sums {
                for rejected in sums {
                    for count in [1, 4096] {
                        let pair = PairLogProbs(
                            chosen: RowLogProbs(
                                sum: chosen, count: count, reference: -rejected, prompt: .init(sum: chosen, count: 1)),
                            rejected: RowLogProbs(sum: rejected, count: 1, reference: -1e6))
                        let examples = objective.isPaired ? [pair] : objective.rowsAlone([pair])
                        let found = objective.evaluate(examples, in: size(examples), klLogRatio: 1e6)
                        let gradients = found.gradients.flatMap { [$0.chosen, $0.rejected, $0.chosenPrompt] }
                        #expect(
                            found.loss.isFinite && gradients.allSatisfy(\.isFinite),
                            "\(objective): \(chosen), \(rejected)")
                    }
                }
            }
        }
    }

    @Test func `A log-probability that is NaN is never hidden`() {
        for objective in ownGoldens.map(\.objective) {
            let examples = objective.isPaired ? pairs : objective.rowsAlone(pairs)
            for input in [Input.chosen, .rejected] {
                var broken = examples
                guard let i = broken.firstIndex(where: { input.value(in: $0) != nil }) else { continue }
                input.set(.nan, in: &broken[i])
                #expect(objective.evaluate(broken, in: size(broken)).loss.isNaN, "\(objective)")
            }
            if objective.needsMismatchedRows {
                #expect(objective.evaluate(examples, in: size(examples), klLogRatio: .nan).loss.isNaN)
            }
        }
    }

    @Test func `Each objective states what it needs and what it logs`() {
        func needs(_ objective: Objective) -> String {
            [
                objective.isPaired ? "pairs" : "rows", objective.needsReference ? "reference" : nil,
                objective.needsPromptLogProbs ? "prompts" : nil, objective.needsMismatchedRows ? "mismatched" : nil,
                objective.lengthNormalizesLogps ? "averages" : "sums",
            ].compactMap(\.self).joined(separator: " ")
        }
        #expect(needs(.sft(.init())) == "rows sums")
        #expect(needs(.simpo(.init(beta: 2, gamma: 1))) == "pairs averages")
        #expect(needs(.simpo(.init(beta: 0.1, gamma: 1, lengthNormalized: false))) == "pairs sums")
        #expect(needs(.dpo(.init(beta: 5, lengthNormalized: true))) == "pairs reference sums")
        #expect(needs(.ipo(.init(tau: 0.1))) == "pairs reference averages")
        #expect(needs(.ipo(.init(tau: 0.1, lengthNormalized: false, usesReference: false))) == "pairs sums")
        #expect(needs(.rdpo(.init(beta: 0.1, alpha: 0.1))) == "pairs reference sums")
        #expect(needs(.cpo(.init(beta: 0.1))) == "pairs sums")
        #expect(needs(.kto(.init(beta: 0.1))) == "rows reference mismatched sums")
        #expect(needs(.orpo(.init(lambda: 0.1, likelihoodOf: .response))) == "pairs averages")
        #expect(needs(.orpo(.init(lambda: 0.1, likelihoodOf: .promptAndResponse))) == "pairs prompts averages")
        #expect(needs(.slicHF(.init(delta: 1, lambda: 0.1, reduction: .sum))) == "pairs sums")
        #expect(needs(.rrhf(.init(lambda: 1, reduction: .sum))) == "pairs averages")
    }

    @Test func `The formula shows lengths, margin, reduction and parameters`() {
        #expect(
            Objective.simpo(.init(beta: 2, gamma: 1.6)).formula
                == "SimPO: −log σ(z), z = β·(log π(chosen)/|chosen| − log π(rejected)/|rejected|) − γ, "
                + "β = 2, γ = 1.6 (γ/β = 0.8)")
        #expect(
            Objective.dpo(.init(beta: 0.1, link: .robust(labelSmoothing: 0.1), sftWeight: 0.5)).formula
                == "DPO: [−(1 − ε)·log σ(z) + ε·log σ(−z)] / (1 − 2ε) + 0.5·NLL(chosen, token mean), "
                + "z = β·(log π/π₀(chosen) − log π/π₀(rejected)), β = 0.1, ε = 0.1")
        #expect(
            Objective.orpo(.init(lambda: 0.5, likelihoodOf: .promptAndResponse)).formula
                == "ORPO: NLL(prompt + chosen, token mean) − λ·log σ(logit(chosen) − logit(rejected)), "
                + "logit = a − log(1 − e^a), a = log π(row)/|row|, λ = 0.5")
        #expect(
            Objective.rrhf(.init(lambda: 1, reduction: .sum)).formula
                == "RRHF: max(0, log π(rejected)/|rejected| − log π(chosen)/|chosen|) + NLL(chosen, sum)")
        let formulas = ownGoldens.map(\.objective.formula)
        #expect(Set(formulas).count == formulas.count)
        #expect(formulas.allSatisfy { !$0.contains("\n") })
    }

    @Test func `Parameters that make no sense are refused, each in a sentence`() throws {
        for golden in ownGoldens { try golden.objective.checked() }
        let refused: [(Objective, String)] = [
            (.simpo(.init(beta: 0, gamma: 1)), "SimPO's beta is 0.0, and must be a finite number above 0"),
            (.simpo(.init(beta: 2, gamma: -1)), "SimPO's gamma is -1.0, and must be a finite number of at least 0"),
            (.simpo(.init(beta: 2, gamma: 1, sftWeight: .nan)), "SimPO's SFT weight is nan"),
            (
                .simpo(.init(beta: 2, gamma: 1, link: .sigmoid(labelSmoothing: 0.5))),
                "SimPO's label smoothing is 0.5, and must be at least 0 and below 0.5"
            ),
            (.dpo(.init(beta: .infinity)), "DPO's beta is inf"),
            (.dpo(.init(beta: 0.1, margin: -0.1)), "DPO's margin is -0.1"),
            (.dpo(.init(beta: 0.1, sftWeight: -1)), "DPO's SFT weight is -1.0"),
            (.dpo(.init(beta: 0.1, link: .robust(labelSmoothing: -0.1))), "DPO's label smoothing is -0.1"),
            (.ipo(.init(tau: 0)), "IPO's tau is 0.0"),
            (.ipo(.init(tau: 1, sftWeight: -1)), "IPO's SFT weight is -1.0"),
            (.rdpo(.init(beta: 0.1, alpha: -0.1)), "R-DPO's alpha is -0.1"),
            (.rdpo(.init(beta: -1, alpha: 0.1)), "R-DPO's beta is -1.0"),
            (.cpo(.init(beta: 0)), "CPO's beta is 0.0"),
            (.cpo(.init(beta: 1, sftWeight: -1)), "CPO's SFT weight is -1.0"),
            (.cpo(.init(beta: 1, link: .sigmoid(labelSmoothing: .nan))), "CPO's label smoothing is nan"),
            (.kto(.init(beta: 0)), "KTO's beta is 0.0"),
            (.kto(.init(beta: 1, desirableWeight: -1)), "KTO's desirable weight is -1.0"),
            (.kto(.init(beta: 1, undesirableWeight: -1)), "KTO's undesirable weight is -1.0"),
            (.kto(.init(beta: 1, desirableWeight: 0, undesirableWeight: 0)), "KTO's weights are both 0"),
            (.orpo(.init(lambda: -0.1, likelihoodOf: .response)), "ORPO's lambda is -0.1"),
            (.slicHF(.init(delta: -1, lambda: 0, reduction: .sum)), "SLiC-HF's delta is -1.0"),
            (.slicHF(.init(delta: 1, lambda: -1, reduction: .sum)), "SLiC-HF's lambda is -1.0"),
            (.rrhf(.init(lambda: .infinity, reduction: .sum)), "RRHF's lambda is inf"),
        ]
        for (objective, sentence) in refused {
            let error = #expect(throws: TrainingError.self, "\(objective)") { try objective.checked() }
            #expect(error?.description.hasPrefix(sentence) == true, "\(error?.description ?? "nothing")")
        }
    }
}

/// A switch over all cases: a new one fails to compile here, and is then given golden values.
private func name(of objective: Objective) -> String {
    switch objective {
    case .sft: "SFT"
    case .simpo: "SimPO"
    case .dpo: "DPO"
    case .ipo: "IPO"
    case .rdpo: "R-DPO"
    case .cpo: "CPO"
    case .kto: "KTO"
    case .orpo: "ORPO"
    case .slicHF: "SLiC-HF"
    case .rrhf: "RRHF"
    }
}

/// What an objective's loss is differentiated by.
private enum Input: CaseIterable {
    case chosen, rejected, chosenPrompt

    func value(in example: PairLogProbs) -> Double? {
        switch self {
        case .chosen: example.chosen?.sum
        case .rejected: example.rejected?.sum
        case .chosenPrompt: example.chosen?.prompt?.sum
        }
    }

    func set(_ value: Double, in example: inout PairLogProbs) {
        switch self {
        case .chosen: example.chosen?.sum = value
        case .rejected: example.rejected?.sum = value
        case .chosenPrompt: example.chosen?.prompt?.sum = value
        }
    }

    func derivative(in gradient: PairGradient) -> Double {
        switch self {
        case .chosen: gradient.chosen
        case .rejected: gradient.rejected
        case .chosenPrompt: gradient.chosenPrompt
        }
    }
}

/// Relative to the expected value, and absolute below 1e-3.
private func agree(_ found: Double, _ expected: Double, _ tolerance: Double) -> Bool {
    abs(found - expected) <= tolerance * max(abs(expected), 1e-3)
}

private func agree(_ found: [Double], _ expected: [Double], _ tolerance: Double) -> Bool {
    found.count == expected.count && zip(found, expected).allSatisfy { agree($0, $1, tolerance) }
}

private func size(_ examples: [PairLogProbs]) -> BatchSize {
    BatchSize(
        examples: examples.count, chosenTargets: examples.reduce(0) { $0 + ($1.chosen?.count ?? 0) },
        chosenTokens: examples.reduce(0) { $0 + ($1.chosen?.count ?? 0) + ($1.chosen?.prompt?.count ?? 0) })
}

extension Objective {
    /// Pairs as an objective of rows alone takes them: chosen rows for SFT; for KTO all chosen rows, then all rejected.
    fileprivate func rowsAlone(_ pairs: [PairLogProbs]) -> [PairLogProbs] {
        let chosen = pairs.map { PairLogProbs(chosen: $0.chosen, rejected: nil) }
        return needsMismatchedRows ? chosen + pairs.map { PairLogProbs(chosen: nil, rejected: $0.rejected) } : chosen
    }
}

private func numbers(_ value: JSONValue?) -> [Double] {
    (value?.array ?? []).map { $0.number ?? ["inf": .infinity, "-inf": -.infinity][$0.string ?? ""] ?? .nan }
}

private func pairs(of batch: JSONValue) -> [PairLogProbs] {
    func rows(_ side: String) -> [RowLogProbs] {
        let (sums, references) = (numbers(batch["\(side)_sum"]), numbers(batch["ref_\(side)_sum"]))
        return numbers(batch["\(side)_len"]).indices.map {
            RowLogProbs(sum: sums[$0], count: Int(numbers(batch["\(side)_len"])[$0]), reference: references[$0])
        }
    }
    return zip(rows("chosen"), rows("rejected")).map { PairLogProbs(chosen: $0, rejected: $1) }
}

extension Objective {
    /// As the golden values name objectives and parameters; nil for what is not known.
    fileprivate init?(_ name: String, _ parameters: JSONValue) {
        func number(_ key: String) -> Double { parameters[key]?.number ?? 0 }
        let smoothing = number("label_smoothing")
        let link: Link? =
            switch parameters["loss_type"]?.string {
            case nil, "sigmoid", "simpo": .sigmoid(labelSmoothing: smoothing)
            case "hinge": .hinge
            case "robust": .robust(labelSmoothing: smoothing)
            default: nil
            }
        let reductions: [String: LikelihoodReduction] = [
            "token_mean": .tokenMean, "seq_mean": .sequenceMean, "sum": .sum,
        ]
        let reduction = reductions[parameters["sft_reduction"]?.string ?? parameters["reduction"]?.string ?? ""]
        switch (name, link, parameters["loss_type"]?.string) {
        case ("sft", _, _):
            guard let reduction else { return nil }
            self = .sft(.init(reduction: reduction))
        case ("simpo", let link?, _):
            let gamma = number("beta") * number("gamma_beta_ratio")
            self = .simpo(.init(beta: number("beta"), gamma: gamma, link: link, sftWeight: number("sft_weight")))
        case ("simpo_no_ln", let link?, _):
            self = .simpo(.init(beta: number("beta"), gamma: number("gamma"), lengthNormalized: false, link: link))
        case ("dpo", let link?, _), ("dpo_margin", let link?, _):
            self = .dpo(.init(beta: number("beta"), margin: number("gamma"), link: link))
        case ("dpo_length_normalised", let link?, _):
            self = .dpo(
                .init(beta: number("beta"), margin: number("gamma"), lengthNormalized: true, link: link))
        case ("ipo", _, _):
            self = .ipo(.init(tau: number("tau"), lengthNormalized: parameters["reduction"]?.string == "mean"))
        case ("rdpo", _, _):
            self = .rdpo(.init(beta: number("beta"), alpha: number("alpha")))
        case ("cpo", _, "ipo"):
            self = .ipo(.init(tau: number("beta"), usesReference: false, sftWeight: number("cpo_alpha")))
        case ("cpo", let link?, "simpo"):
            self = .simpo(
                .init(
                    beta: number("beta"), gamma: number("simpo_gamma"), link: link, sftWeight: number("cpo_alpha")))
        case ("cpo", let link?, _):
            self = .cpo(.init(beta: number("beta"), sftWeight: number("cpo_alpha"), link: link))
        case ("kto", _, _):
            self = .kto(
                .init(
                    beta: number("beta"), desirableWeight: number("desirable_weight"),
                    undesirableWeight: number("undesirable_weight")))
        case ("orpo", _, _):
            guard parameters["nll_scope"]?.string == "response_only" else { return nil }
            self = .orpo(.init(lambda: number("lambda"), likelihoodOf: .response))
        case ("slic_hf", _, _):
            guard let reduction else { return nil }
            self = .slicHF(.init(delta: number("delta"), lambda: number("lambda"), reduction: reduction))
        case ("rrhf", _, _):
            guard let reduction else { return nil }
            self = .rrhf(.init(lambda: number("lambda"), reduction: reduction))
        default: return nil
        }
    }
}

private let pairs = [
    PairLogProbs(
        chosen: RowLogProbs(sum: -12.5, count: 10, reference: -13, prompt: .init(sum: -30, count: 12)),
        rejected: RowLogProbs(sum: -14, count: 16, reference: -13.25)),
    PairLogProbs(
        chosen: RowLogProbs(sum: -80.25, count: 64, reference: -78, prompt: .init(sum: -22.5, count: 9)),
        rejected: RowLogProbs(sum: -60.5, count: 40, reference: -61)),
    PairLogProbs(
        chosen: RowLogProbs(sum: -3, count: 4, reference: -3.5, prompt: .init(sum: -41, count: 15)),
        rejected: RowLogProbs(sum: -9.75, count: 7, reference: -8)),
]

/// Log-probabilities of a random Llama of 2 layers of width 16: rows of 50 to 120 tokens, vocabulary 300.
private let tinyModel = [
    PairLogProbs(
        chosen: RowLogProbs(
            sum: -159.2302713535613, count: 27, reference: -160, prompt: .init(sum: -179.3999270290062, count: 31)),
        rejected: RowLogProbs(sum: -353.23901742956826, count: 61, reference: -352)),
    PairLogProbs(
        chosen: RowLogProbs(
            sum: -340.76495041238167, count: 58, reference: -340, prompt: .init(sum: -203.92400976945137, count: 35)),
        rejected: RowLogProbs(sum: -136.27900140555846, count: 23, reference: -136)),
    PairLogProbs(
        chosen: RowLogProbs(
            sum: -145.92812186483383, count: 25, reference: -148, prompt: .init(sum: -285.70125151264233, count: 50)),
        rejected: RowLogProbs(sum: -365.2166152340062, count: 66, reference: -364)),
    PairLogProbs(
        chosen: RowLogProbs(
            sum: -141.81711174840206, count: 24, reference: -141, prompt: .init(sum: -253.7057061494699, count: 44)),
        rejected: RowLogProbs(sum: -366.43814059639664, count: 63, reference: -368)),
]

/// The loss of `pairs` (KTO: its six rows, mean log-ratio 0.75) and its derivatives by the rows' sums, by torch 2.13's
/// automatic differentiation of the papers' formulas in double precision.
private struct OwnGolden {
    var objective: Objective
    var loss: Double
    var chosen, rejected: [Double]
    var prompt: [Double]

    init(_ objective: Objective, loss: Double, chosen: [Double], rejected: [Double], prompt: [Double] = [0, 0, 0]) {
        self.objective = objective
        self.loss = loss
        self.chosen = chosen
        self.rejected = rejected
        self.prompt = prompt
    }
}

private let ownGoldens: [OwnGolden] =
    [
        OwnGolden(
            .sft(.init()), loss: 1.2275641025641026,
            chosen: [-0.01282051282051282, -0.01282051282051282, -0.01282051282051282],
            rejected: [0, 0, 0]),
        OwnGolden(
            .sft(.init(reduction: .sequenceMean)), loss: 1.0846354166666667,
            chosen: [-0.03333333333333333, -0.005208333333333333, -0.08333333333333333],
            rejected: [0, 0, 0]),
        OwnGolden(
            .sft(.init(reduction: .sum)), loss: 31.916666666666668,
            chosen: [-0.3333333333333333, -0.3333333333333333, -0.3333333333333333],
            rejected: [0, 0, 0]),
        OwnGolden(
            .simpo(.init(beta: 2.5, gamma: 1.4)), loss: 1.3879585981952463,
            chosen: [-0.0759946265837937, -0.008853440797299656, -0.09341638828733659],
            rejected: [0.04749664161487106, 0.01416550527567945, 0.05338079330704948]),
        OwnGolden(
            .simpo(.init(beta: 2, gamma: 0.5, link: .sigmoid(labelSmoothing: 0.1), sftWeight: 0.3)),
            loss: 1.2073895924791473,
            chosen: [-0.04899947792446659, -0.007968062500062717, -0.039361093069435096],
            rejected: [0.028220827548945466, 0.006595053846254193, 0.020294250984732143]),
        OwnGolden(
            .simpo(.init(beta: 2, gamma: 1.6, link: .hinge)), loss: 2.2490327380952384,
            chosen: [-0.06666666666666667, -0.010416666666666666, -0.16666666666666666],
            rejected: [0.041666666666666664, 0.016666666666666666, 0.09523809523809523]),
        OwnGolden(
            .simpo(.init(beta: 2, gamma: 1, link: .robust(labelSmoothing: 0.2))), loss: 1.361043237284189,
            chosen: [-0.07901907568677626, -0.009914011653330519, -0.12706445607497785],
            rejected: [0.04938692230423516, 0.015862418645328828, 0.07260826061427306]),
        OwnGolden(
            .simpo(.init(beta: 0.1, gamma: 0.5, lengthNormalized: false)), loss: 1.3495536126041043,
            chosen: [-0.019553919297244333, -0.030745684581450383, -0.01521204375876404],
            rejected: [0.019553919297244333, 0.030745684581450383, 0.01521204375876404]),
        OwnGolden(
            .dpo(.init(beta: 0.1)), loss: 0.6865439016854911,
            chosen: [-0.015626354220874793, -0.018943999449274936, -0.014799536981846002],
            rejected: [0.015626354220874793, 0.018943999449274936, 0.014799536981846002]),
        OwnGolden(
            .dpo(.init(beta: 0.1, margin: 0.5, link: .sigmoid(labelSmoothing: 0.05), sftWeight: 0.5)),
            loss: 1.5540694823437122,
            chosen: [-0.02449914307539207, -0.027563639754370768, -0.023687589192864678],
            rejected: [0.01808888666513566, 0.02115338334411436, 0.01727733278260827]),
        OwnGolden(
            .dpo(.init(beta: 0.3, link: .hinge)), loss: 0.9250000000000002,
            chosen: [-0.09999999999999999, -0.09999999999999999, -0.09999999999999999],
            rejected: [0.09999999999999999, 0.09999999999999999, 0.09999999999999999]),
        OwnGolden(
            .dpo(.init(beta: 0.1, link: .robust(labelSmoothing: 0.1))), loss: 0.6834189016854909,
            chosen: [-0.01979302088754146, -0.023110666115941605, -0.01896620364851267],
            rejected: [0.01979302088754146, 0.023110666115941605, 0.01896620364851267]),
        OwnGolden(
            .dpo(.init(beta: 5, lengthNormalized: true)), loss: 0.4806827202927775,
            chosen: [-0.06353659437602499, -0.014564844973361007, -0.05540176674909551],
            rejected: [0.03971037148501562, 0.023303751957377612, 0.03165815242805458]),
        OwnGolden(
            .ipo(.init(tau: 0.1)), loss: 23.636697794596355,
            chosen: [-0.32687499999999997, -0.05257975260416667, -0.7708333333333333],
            rejected: [0.204296875, 0.08412760416666668, 0.4404761904761904]),
        OwnGolden(
            .ipo(.init(tau: 0.5, lengthNormalized: false)), loss: 5.229166666666667,
            chosen: [0.16666666666666666, -2.5, 0.8333333333333333],
            rejected: [-0.16666666666666666, 2.5, -0.8333333333333333]),
        OwnGolden(
            .ipo(.init(tau: 0.1, usesReference: false, sftWeight: 1)), loss: 24.67964813759413,
            chosen: [-0.3711538461538461, -0.06221016125801282, -0.739010989010989],
            rejected: [0.22395833333333331, 0.07902343749999999, 0.4149659863945579]),
        OwnGolden(
            .rdpo(.init(beta: 0.1, alpha: 0.05)), loss: 0.5916040586941266,
            chosen: [-0.018121289574569294, -0.009464673539476338, -0.01604195947071549],
            rejected: [0.018121289574569294, 0.009464673539476338, 0.01604195947071549]),
        OwnGolden(
            .cpo(.init(beta: 0.1)), loss: 2.2733804306016556,
            chosen: [-0.02823951797572117, -0.04209208446152555, -0.024066451581510072],
            rejected: [0.01541900515520835, 0.02927157164101273, 0.01124593876099725]),
        OwnGolden(
            .cpo(.init(beta: 0.05, sftWeight: 0.5, link: .hinge)), loss: 1.805448717948718,
            chosen: [-0.023076923076923078, -0.023076923076923078, -0.023076923076923078],
            rejected: [0.016666666666666666, 0.016666666666666666, 0.016666666666666666]),
        OwnGolden(
            .kto(.init(beta: 0.1, desirableWeight: 1.33, undesirableWeight: 0.8)), loss: 0.5376579774908262,
            chosen: [-0.005540800871438413, -0.005418825909144867, -0.005540800871438413],
            rejected: [0.00331465342236724, 0.0033328125542486688, 0.003281787769834645]),
        OwnGolden(
            .orpo(.init(lambda: 0.5, likelihoodOf: .response)), loss: 1.5395399333328779,
            chosen: [-0.02777785870949472, -0.014330759564344764, -0.034109711349614005],
            rejected: [0.011438110386850395, 0.002214844784442695, 0.008539774435171007]),
        OwnGolden(
            .orpo(.init(lambda: 0.5, likelihoodOf: .promptAndResponse)), loss: 1.972063550067021,
            chosen: [-0.023729275713543302, -0.010282176568393347, -0.03006112835366259],
            rejected: [0.011438110386850395, 0.002214844784442695, 0.008539774435171007],
            prompt: [-0.008771929824561403, -0.008771929824561403, -0.008771929824561403]),
        OwnGolden(
            .slicHF(.init(delta: 2, lambda: 0.1, reduction: .sum)), loss: 10.608333333333334,
            chosen: [-0.36666666666666664, -0.36666666666666664, -0.03333333333333333],
            rejected: [0.3333333333333333, 0.3333333333333333, 0]),
        OwnGolden(
            .rrhf(.init(lambda: 0.5, reduction: .tokenMean)), loss: 0.7387820512820513,
            chosen: [-0.03974358974358974, -0.00641025641025641, -0.00641025641025641],
            rejected: [0.020833333333333332, 0, 0]),
    ]
