internal import Glibc
package import LanguageModel

/// How a run goes, in the words of transformers' `TrainingArguments`.
package struct TrainerSettings: Hashable, Sendable {
    package var objective: Objective
    /// Examples of a micro-batch: means are over these, and then over the micro-batches of a step.
    package var batchSize = 2
    package var accumulation = 16
    package var epochs = 1
    /// Ends the run before its epochs do, or goes on after them.
    package var maxSteps: Int?
    package var learningRate = 1e-6
    package var schedule = LearningRate.Shape.cosine
    package var warmUp = LearningRate.WarmUp.ratio(0.1)
    package var optimizer = AdamW()
    /// Gradients longer than this are made this long; nil leaves them.
    package var maxGradientNorm: Double? = 1
    package var order = ExampleOrder.shuffled(seed: 42)
    /// Rows in memory at once.
    package var rowsPerPass = 1_024
    package var loggingSteps = 5
    package var evaluationSteps: Int?
    package var saveSteps: Int?

    package init(objective: Objective) { self.objective = objective }

    fileprivate func plan(examples: Int) -> StepPlan {
        StepPlan(count: examples, batchSize: batchSize, accumulation: accumulation, order: order)
    }

    /// The learning rate of each step of a run over so many examples.
    ///
    /// - Throws: `TrainingError.configuration` for a rate or a warm-up that makes no sense.
    package func rate(examples: Int) throws(TrainingError) -> LearningRate {
        try LearningRate(
            peak: learningRate, shape: schedule, warmUp: warmUp,
            totalSteps: maxSteps ?? epochs * plan(examples: examples).stepsPerEpoch)
    }
}

/// What a run tells while it goes.
package enum TrainerEvent: Sendable {
    /// Means since the last line: `loss`, `rewards/…`, `grad_norm`, `learning_rate`, `epoch`, tokens and seconds.
    case logged(step: Int, [(name: String, value: Double)])
    case evaluated(step: Int, [(name: String, value: Double)])
    case stepped(step: Int, of: Int)
    case saved(step: Int)
}

/// Takes a model through the steps of a recipe.
///
/// The same settings, data and model give the same weights to the last bit, whatever the number of threads, and whether
/// the run was stopped and taken up again or not.
package final class Trainer {
    package let settings: TrainerSettings
    package let model: TrainableModel
    package private(set) var state: TrainerState
    private let kernels: Kernels
    private let training: [TrainingExample]
    private let heldOut: [TrainingExample]
    private let rate: LearningRate
    private let plan: StepPlan
    private let gradients: BatchGradients

    /// - Parameter reference: the frozen model of an objective that needs one, where examples have no reference yet.
    /// - Throws: `TrainingError` for settings that make no sense, or no example.
    package init(
        _ settings: TrainerSettings, model: TrainableModel, reference: TrainableModel? = nil, kernels: Kernels,
        training: [TrainingExample], heldOut: [TrainingExample] = [], state: TrainerState
    ) throws(TrainingError) {
        try settings.objective.checked()
        guard !training.isEmpty else {
            throw .badData("no example is left to train on. Look at what was dropped, and why")
        }
        guard settings.batchSize > 0, settings.accumulation > 0, settings.epochs > 0, settings.maxSteps ?? 1 > 0 else {
            throw .configuration("batch size, gradient accumulation, epochs and steps must be at least 1")
        }
        self.settings = settings
        self.model = model
        self.kernels = kernels
        self.training = training
        self.heldOut = heldOut
        self.state = state
        plan = settings.plan(examples: training.count)
        rate = try settings.rate(examples: training.count)
        gradients = BatchGradients(
            model: model, objective: settings.objective, rowsPerPass: settings.rowsPerPass, reference: reference)
    }

    package var totalSteps: Int { rate.totalSteps }

    private var store: ParameterStore { model.adapters ?? model.weights }

    /// Takes the steps that are left.
    ///
    /// - Parameters:
    ///   - save: called with the state every `saveSteps`, before a stop, and at the end.
    ///   - shouldStop: asked after each step.
    ///   - observe: told what happens, in order.
    /// - Returns: false where it was stopped before its end.
    /// - Throws: `TrainingError.diverged` with the step and the example, and what `save` and `observe` throw.
    package func run(
        save: (TrainerState) throws -> Void, shouldStop: () -> Bool, observe: (TrainerEvent) throws -> Void
    ) throws -> Bool {
        var clock = LogClock(tokens: state.tokens)
        while state.step < totalSteps {
            let norm = try step()
            let isLast = state.step == totalSteps
            if isDue(settings.loggingSteps) || isLast {
                try observe(.logged(step: state.step, line(norm, clock.lap(state.tokens))))
                state.unlogged = []
            }
            if !heldOut.isEmpty, isLast || settings.evaluationSteps.map(isDue) == true {
                try clock.leavingOut { try observe(.evaluated(step: state.step, evaluate())) }
            }
            try observe(.stepped(step: state.step, of: totalSteps))
            let stops = !isLast && shouldStop()
            if stops || isLast || settings.saveSteps.map(isDue) == true {
                try clock.leavingOut { try save(state) }
                try observe(.saved(step: state.step))
            }
            if stops { return false }
        }
        return true
    }

    private func isDue(_ every: Int) -> Bool { every > 0 && state.step % every == 0 }

    /// One update of the weights.
    ///
    /// - Returns: the norm of the gradients before they were clipped.
    package func step() throws(TrainingError) -> Double {
        guard let regions = store.training else { preconditionFailure("these weights are frozen") }
        regions.gradients.clear(kernels.pool)
        let microBatches = plan.microBatches(of: state.step).map { $0.map { training[$0] } }
        // A token's weight in fine-tuning is the same wherever it falls in the step; pairs are averaged as TRL does, over
        // each micro-batch and then over these.
        var whole = BatchSize(microBatches.joined().map(\.pair))
        // As in transformers, whose count of a step's labels has also those that nothing predicts.
        whole.chosenTargets = microBatches.joined().reduce(0) { sum, example in
            sum + (example.pair.chosen?.targets.reduce(0) { $0 + $1.count } ?? 0)
        }
        for examples in microBatches {
            let isWhole = if case .sft = settings.objective { true } else { false }
            let size = isWhole ? whole : BatchSize(examples.map(\.pair))
            do {
                var metrics = try gradients.add(
                    examples, in: size, weight: isWhole ? 1 : 1 / Double(microBatches.count))
                // Sums over the step's tokens so far: their mean over the micro-batches is to be their sum.
                if isWhole {
                    metrics.loss *= Double(microBatches.count)
                    metrics.negativeLogLikelihood? *= Double(microBatches.count)
                }
                metrics.stepShare = 1 / Double(microBatches.count)
                state.unlogged.append(metrics)
            } catch {
                throw .diverged("step \(state.step + 1): \(error)")
            }
            // A prompt counts with each of its responses, as in TRL.
            state.tokens += examples.reduce(0) { $0 + $1.pair.rows.reduce(0) { $0 + $1.ids.count } }
        }
        let norm = regions.gradients.norm(kernels)
        guard norm.isFinite else {
            throw .diverged(
                "step \(state.step + 1): the norm of the gradients is \(norm) over "
                    + "\(microBatches.joined().map(\.source).prefix(8).joined(separator: ", ")). Lower the learning "
                    + "rate, or compute in f32")
        }
        let scale = settings.maxGradientNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
        settings.optimizer.update(
            store, step: state.step + 1, learningRate: rate.rate(at: state.step), gradientScale: scale,
            kernels: kernels)
        state.step += 1
        return norm
    }

    private func line(_ norm: Double, _ speed: LogClock.Lap) -> [(name: String, value: Double)] {
        BatchMetrics.mean(state.unlogged).named + [
            ("grad_norm", norm), ("learning_rate", rate.rate(at: state.step - 1)),
            ("epoch", Double(state.step) / Double(plan.stepsPerEpoch)), ("num_tokens", Double(state.tokens)),
            ("tokens_per_second", speed.tokensPerSecond),
        ]
    }

    /// The metrics of the held-out examples, by micro-batch, with `eval_` before their names. As in transformers, the loss
    /// is weighted by examples, the others are means of means.
    private func evaluate() throws -> [(name: String, value: Double)] {
        var all: [BatchMetrics] = []
        var loss = 0.0
        for start in stride(from: 0, to: heldOut.count, by: settings.batchSize) {
            let examples = Array(heldOut[start..<min(heldOut.count, start + settings.batchSize)])
            all.append(try gradients.metrics(examples, in: BatchSize(examples.map(\.pair))))
            loss += all[all.count - 1].loss * Double(examples.count) / Double(heldOut.count)
        }
        var metrics = BatchMetrics.mean(all)
        metrics.loss = loss
        return metrics.named.map { ("eval_\($0.name)", $0.value) }
    }
}

/// Which examples each step takes.
///
/// As in transformers' trainer, an epoch's micro-batches are grouped into steps, and the last group of an epoch may be
/// smaller.
struct StepPlan {
    let count: Int
    let batchSize: Int
    let accumulation: Int
    let order: ExampleOrder

    var stepsPerEpoch: Int {
        let microBatches = (count + batchSize - 1) / batchSize
        return (microBatches + accumulation - 1) / accumulation
    }

    /// The examples of a step counted from 0, by micro-batch.
    func microBatches(of step: Int) -> [[Int]] {
        let indices = order.indices(epoch: step / stepsPerEpoch, count: count)
        let first = step % stepsPerEpoch * accumulation * batchSize
        let last = min(count, first + accumulation * batchSize)
        return stride(from: first, to: last, by: batchSize).map { Array(indices[$0..<min($0 + batchSize, last)]) }
    }
}

/// Tokens a second between two lines of the log.
private struct LogClock {
    struct Lap {
        var tokensPerSecond: Double
    }

    private var last = ContinuousClock.now
    private var tokens: Int

    init(tokens: Int) { self.tokens = tokens }

    /// The time of what is no training does not count.
    mutating func leavingOut(_ body: () throws -> Void) rethrows {
        let start = ContinuousClock.now
        defer { last += ContinuousClock.now - start }
        try body()
    }

    mutating func lap(_ tokens: Int) -> Lap {
        let now = ContinuousClock.now
        let elapsed = (now - last).components
        let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
        defer { (last, self.tokens) = (now, tokens) }
        return Lap(tokensPerSecond: seconds > 0 ? Double(tokens - self.tokens) / seconds : 0)
    }
}
