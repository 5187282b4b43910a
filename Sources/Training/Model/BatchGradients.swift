internal import Glibc
internal import LanguageModel

/// One example to train on, with what the frozen reference model says of it.
package struct TrainingExample: Hashable, Sendable {
    package var pair: TokenizedPair
    /// Σ log π₀ of the rows, in nats.
    package var reference: Reference?
    /// The prompt joined to another example's response (KTO), and that row's Σ log π₀.
    package var mismatched: TokenizedRow?
    package var mismatchedReference: Double?
    /// Where the example comes from, for sentences.
    package var source: String

    package struct Reference: Hashable, Sendable {
        package var chosen: Double?
        package var rejected: Double?

        package init(chosen: Double?, rejected: Double?) {
            self.chosen = chosen
            self.rejected = rejected
        }
    }

    package init(_ pair: TokenizedPair, source: String) {
        self.pair = pair
        self.source = source
    }
}

extension BatchSize {
    package init(_ examples: some Sequence<TokenizedPair>) {
        self.init(examples: 0, chosenTargets: 0, chosenTokens: 0)
        for example in examples {
            self.examples += 1
            guard let chosen = example.chosen else { continue }
            chosenTargets += chosen.targetCount
            chosenTokens += chosen.ids.count - 1
        }
    }
}

/// What is logged of a micro-batch, by the names that TRL gives it; means, or nil where there is nothing to average.
package struct BatchMetrics: Codable, Hashable, Sendable {
    package var loss = 0.0
    /// The micro-batch's share of its step: losses are means over steps, as transformers logs them.
    package var stepShare = 1.0
    package var chosenReward: Double?
    package var rejectedReward: Double?
    /// The fraction of pairs whose chosen reward is the higher one.
    package var accuracy: Double?
    package var margin: Double?
    package var chosenLogProb: Double?
    package var rejectedLogProb: Double?
    package var negativeLogLikelihood: Double?
    package var klDivergence: Double?
    /// ORPO's log σ(o) and o.
    package var logOddsRatio: Double?
    package var logOddsChosen: Double?
    /// The rows of each side, where they come one by one and not in pairs (KTO): of micro-batches their means are over
    /// rows then, as TRL's.
    var chosenRows: Int?
    var rejectedRows: Int?

    /// The mean of each over several micro-batches, as transformers' trainer logs them.
    package static func mean(_ all: [BatchMetrics]) -> BatchMetrics {
        func mean(_ field: (BatchMetrics) -> Double?, weight: (BatchMetrics) -> Double = { _ in 1 }) -> Double? {
            var (sum, weights) = (0.0, 0.0)
            for metrics in all {
                guard let value = field(metrics) else { continue }
                sum += weight(metrics) * value
                weights += weight(metrics)
            }
            return weights == 0 ? nil : sum / weights
        }
        func chosenRows(_ metrics: BatchMetrics) -> Double { Double(metrics.chosenRows ?? 1) }
        func rejectedRows(_ metrics: BatchMetrics) -> Double { Double(metrics.rejectedRows ?? 1) }
        var result = BatchMetrics()
        result.loss = mean({ $0.loss }, weight: \.stepShare) ?? 0
        result.chosenReward = mean({ $0.chosenReward }, weight: chosenRows)
        result.rejectedReward = mean({ $0.rejectedReward }, weight: rejectedRows)
        result.accuracy = mean { $0.accuracy }
        result.margin = mean { $0.margin }
        if all.contains(where: { $0.chosenRows != nil }) {
            result.margin = difference(result.chosenReward, result.rejectedReward)
        }
        result.chosenLogProb = mean({ $0.chosenLogProb }, weight: chosenRows)
        result.rejectedLogProb = mean({ $0.rejectedLogProb }, weight: rejectedRows)
        result.negativeLogLikelihood = mean { $0.negativeLogLikelihood }
        result.klDivergence = mean { $0.klDivergence }
        result.logOddsRatio = mean { $0.logOddsRatio }
        result.logOddsChosen = mean { $0.logOddsChosen }
        return result
    }

    fileprivate static func difference(_ chosen: Double?, _ rejected: Double?) -> Double? {
        chosen.flatMap { chosen in rejected.map { chosen - $0 } }
    }

    /// (`rewards/chosen`, …), in the order of a log.
    package var named: [(name: String, value: Double)] {
        let values: [(String, Double?)] = [
            ("loss", loss), ("rewards/chosen", chosenReward), ("rewards/rejected", rejectedReward),
            ("rewards/accuracies", accuracy), ("rewards/margins", margin), ("logps/chosen", chosenLogProb),
            ("logps/rejected", rejectedLogProb), ("nll_loss", negativeLogLikelihood), ("kl", klDivergence),
            ("log_odds_ratio", logOddsRatio), ("log_odds_chosen", logOddsChosen),
        ]
        return values.compactMap { name, value in value.map { (name, $0) } }
    }
}

/// The objective over a micro-batch: its loss and metrics, and its gradients added to the model's.
package struct BatchGradients {
    package let model: TrainableModel
    package let objective: Objective
    /// Rows of a pass: what of a micro-batch is in memory at once.
    package let rowsPerPass: Int
    /// The frozen model that is asked for a micro-batch's references; nil where examples have them, or none is needed.
    private let reference: ReferenceLogProbs?

    package init(model: TrainableModel, objective: Objective, rowsPerPass: Int, reference: TrainableModel? = nil) {
        self.model = model
        self.objective = objective
        self.rowsPerPass = rowsPerPass
        self.reference = reference.map { ReferenceLogProbs(model: $0, rowsPerPass: rowsPerPass) }
    }

    /// Adds the gradients of `weight` times the loss of `examples`, whose means are over a batch of `size`.
    ///
    /// - Throws: `TrainingError.diverged` naming the first example whose log-probability or gradient is not finite.
    package func add(
        _ examples: [TrainingExample], in size: BatchSize, weight: Double
    ) throws(TrainingError) -> BatchMetrics {
        try evaluate(examples, in: size) { pass, result in
            let scaled = result.gradients.map {
                PairGradient(
                    chosen: $0.chosen * weight, rejected: $0.rejected * weight, chosenPrompt: $0.chosenPrompt * weight)
            }
            model.backward(pass, scaled)
        }
    }

    /// The loss and metrics alone.
    package func metrics(_ examples: [TrainingExample], in size: BatchSize) throws(TrainingError) -> BatchMetrics {
        try evaluate(examples, in: size, backward: nil)
    }

    private func evaluate(
        _ examples: [TrainingExample], in size: BatchSize, backward: ((TrainingPass, BatchLoss) -> Void)?
    ) throws(TrainingError) -> BatchMetrics {
        var examples = examples
        reference?.fill(&examples)
        let klLogRatio = self.klLogRatio(examples)
        var summary = MetricsSummary(objective)
        var done = 0
        let passes = TrainingPass.passes(
            examples.map(\.pair), limit: rowsPerPass, withPrompts: objective.needsPromptLogProbs)
        for pass in passes {
            var logProbs = backward == nil ? model.logProbs(pass) : model.forward(pass)
            let part = Array(examples[done..<done + logProbs.count])
            done += logProbs.count
            for (place, example) in part.enumerated() {
                logProbs[place].chosen?.reference = example.reference?.chosen
                logProbs[place].rejected?.reference = example.reference?.rejected
            }
            let result = objective.evaluate(logProbs, in: size, klLogRatio: klLogRatio)
            try check(result, logProbs, part)
            summary.add(result, logProbs)
            backward?(pass, result)
        }
        return summary.metrics(klDivergence: objective.needsMismatchedRows ? max(0, klLogRatio) : nil)
    }

    /// KTO's estimate over the rows whose response belongs to another prompt.
    private func klLogRatio(_ examples: [TrainingExample]) -> Double {
        if !objective.needsMismatchedRows { return 0 }
        let rows = examples.compactMap(\.mismatched).map { TokenizedPair(chosen: $0, rejected: nil) }
        let references = examples.filter { $0.mismatched != nil }.map(\.mismatchedReference)
        let logProbs = TrainingPass.passes(rows, limit: rowsPerPass, withPrompts: false).flatMap(model.logProbs)
        return Objective.KTO.meanLogRatio(
            ofMismatched: zip(logProbs, references).compactMap { pair, reference in
                var row = pair.chosen
                row?.reference = reference
                return row
            })
    }

    private func check(
        _ result: BatchLoss, _ logProbs: [PairLogProbs], _ examples: [TrainingExample]
    ) throws(TrainingError) {
        for (place, example) in examples.enumerated() {
            let rows = [logProbs[place].chosen, logProbs[place].rejected].compactMap { $0 }
            let gradient = result.gradients[place]
            let numbers = rows.map(\.sum) + [gradient.chosen, gradient.rejected, gradient.chosenPrompt]
            guard let bad = numbers.first(where: { !$0.isFinite }) else { continue }
            let isLogProb = rows.contains { !$0.sum.isFinite }
            throw .diverged(
                "the \(isLogProb ? "log-probability" : "gradient") of \(example.source) is \(bad). "
                    + "Lower the learning rate, raise the warm-up, or look at that example")
        }
        if !result.loss.isFinite {
            throw .diverged("the loss is \(result.loss) at \(examples[0].source). Lower the learning rate")
        }
    }
}

/// Sums on the way to a micro-batch's metrics.
private struct MetricsSummary {
    private struct Mean {
        private var sum = 0.0
        private(set) var count = 0

        mutating func add(_ value: Double?) {
            guard let value else { return }
            sum += value
            count += 1
        }

        var value: Double? { count == 0 ? nil : sum / Double(count) }
    }

    private let objective: Objective
    private var loss = 0.0
    private var negativeLogLikelihood: Double?
    private var chosen = Mean()
    private var rejected = Mean()
    private var accuracy = Mean()
    private var chosenLogProb = Mean()
    private var rejectedLogProb = Mean()
    private var logOddsRatio = Mean()
    private var logOddsChosen = Mean()

    init(_ objective: Objective) { self.objective = objective }

    mutating func add(_ result: BatchLoss, _ logProbs: [PairLogProbs]) {
        loss += result.loss
        if let likelihood = result.negativeLogLikelihood {
            negativeLogLikelihood = (negativeLogLikelihood ?? 0) + likelihood
        }
        for (place, pair) in logProbs.enumerated() {
            let (better, worse) = (result.chosenRewards[place], result.rejectedRewards[place])
            chosen.add(better)
            rejected.add(worse)
            if let better, let worse { accuracy.add(better > worse ? 1 : 0) }
            chosenLogProb.add(pair.chosen.map { objective.lengthNormalizesLogps ? $0.average : $0.sum })
            rejectedLogProb.add(pair.rejected.map { objective.lengthNormalizesLogps ? $0.average : $0.sum })
            if case .orpo(let orpo) = objective, let chosen = pair.chosen, let rejected = pair.rejected {
                let odds = orpo.logOddsRatio(chosen: chosen, rejected: rejected)
                logOddsRatio.add(-logisticLoss(at: odds).value)
                logOddsChosen.add(odds)
            }
        }
    }

    func metrics(klDivergence: Double?) -> BatchMetrics {
        var metrics = BatchMetrics()
        metrics.loss = loss
        metrics.chosenReward = chosen.value
        metrics.rejectedReward = rejected.value
        metrics.accuracy = accuracy.value
        metrics.margin = BatchMetrics.difference(chosen.value, rejected.value)
        metrics.chosenLogProb = chosenLogProb.value
        metrics.rejectedLogProb = rejectedLogProb.value
        metrics.negativeLogLikelihood = negativeLogLikelihood
        metrics.klDivergence = klDivergence
        metrics.logOddsRatio = logOddsRatio.value
        metrics.logOddsChosen = logOddsChosen.value
        if objective.needsMismatchedRows { (metrics.chosenRows, metrics.rejectedRows) = (chosen.count, rejected.count) }
        return metrics
    }
}
