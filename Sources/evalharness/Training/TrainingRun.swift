import Chat
import Evaluation
import LanguageModel
import Training

/// One run of a recipe, from its files to the folder that it leaves.
struct TrainingRun {
    private let recipe: Recipe
    private let base: Base
    private let training: PreparedData
    private let heldOut: PreparedData?
    private let adapterShapes: [[Int]]?
    private let kernels: Kernels
    private let showsProgress: Bool

    /// - Throws: what the recipe, the checkpoint or the data lack, each in a sentence.
    init(_ recipe: Recipe, threads: Int?, showsProgress: Bool) throws {
        self.recipe = recipe
        self.showsProgress = showsProgress
        guard let kernels = Kernels(pool: ThreadPool(threadCount: threads)) else {
            preconditionFailure("plain C runs everywhere")
        }
        self.kernels = kernels
        base = try Base(recipe)
        guard !recipe.trainingFiles.isEmpty else {
            throw EvaluationError.configuration(
                "\(recipe.path) has no train_files. Name the data there, or with --train-files.")
        }
        training = try PreparedData(files: recipe.trainingFiles, folder: base.folder, settings: recipe.data)
        heldOut =
            recipe.heldOutFiles.isEmpty
            ? nil : try PreparedData(files: recipe.heldOutFiles, folder: base.folder, settings: recipe.data)
        Console.note(training.report.text)
        if let heldOut { Console.note("Held out: \(heldOut.report.text)") }
        for data in [training, heldOut].compactMap(\.self) { try data.check(for: base.configuration, in: base.folder) }
        _ = try recipe.settings.rate(examples: training.pairs.count)
        adapterShapes = try recipe.lora?.shapes(for: base.configuration).map(\.shape)
        warnOfRate()
        warnOfBeta()
    }

    /// As the SimPO repository's README has it: rates of 1e-5 make whole models of this size degenerate.
    private func warnOfRate() {
        if case .sft = recipe.objective { return }
        let rate = recipe.settings.learningRate
        guard recipe.lora == nil, rate > 2e-6, base.configuration.parameterCount >= 1_000_000_000 else { return }
        Console.note(
            "learning_rate \(rate) is above 2e-6: the published rates for whole models of this size are 3e-7 to 1e-6, and "
                + "ten times these make them repeat themselves.")
    }

    private func warnOfBeta() {
        guard case .simpo(let simpo) = recipe.objective, simpo.lengthNormalized, simpo.beta < 1 else { return }
        Console.note(
            "beta \(simpo.beta) is a value for DPO: SimPO's average log-probabilities are small numbers, and the published "
                + "values are 2 to 10.")
    }

    /// The checkpoint that a run begins from.
    private struct Base {
        let folder: String
        let configuration: ModelConfiguration
        /// Nil where the weights are random.
        let checkpoint: Checkpoint?
        let fingerprint: String

        init(_ recipe: Recipe) throws {
            guard let folder = recipe.model else {
                throw EvaluationError.configuration(
                    "\(recipe.path) has no model_name_or_path. Name a checkpoint folder there, or with --model.")
            }
            guard Files.isFolder(folder) else {
                throw EvaluationError.missingInput("There is no checkpoint folder \(folder). Name one with --model.")
            }
            self.folder = folder
            guard let seed = recipe.initializationSeed else {
                let checkpoint = try Checkpoint(folder: folder)
                self.checkpoint = checkpoint
                configuration = checkpoint.configuration
                fingerprint = checkpoint.fingerprint
                return
            }
            checkpoint = nil
            configuration = try Checkpoint.configuration(in: folder)
            let files = try ["config.json", "tokenizer.json", "tokenizer_config.json"].map {
                Digest.sha256(try TrainingFiles.read("\(folder)/\($0)"))
            }
            fingerprint = "random \(seed) \(files.joined(separator: " "))"
        }
    }

    // MARK: The plan

    /// What would be done, and the memory that it takes.
    var plan: String {
        let c = base.configuration
        let weights = c.parameterCount
        let trained = adapterCount ?? weights
        // A pass holds as many examples as fit, and at least one.
        let rows = max(longest, min(recipe.settings.rowsPerPass, longest * recipe.settings.batchSize))
        let segment = recipe.recomputation.segment(of: c.layers.count)
        let kept =
            switch recipe.recomputation {
            case .none: (attentionPerRow + feedForwardPerRow) * c.layers.count
            case .mlp: attentionPerRow * c.layers.count
            case .layers, .segments: c.hiddenSize * (segment + c.layers.count / segment)
            }
        let reference = recipe.keepsReference && recipe.lora == nil ? bytesPerFrozenWeight * weights : 0
        let logits = max(
            4 * rows * min(TrainableModel.vocabularyBlock, c.vocabularySize),
            min(recipe.recomputation.logitBytes, 4 * rows * c.vocabularySize))
        let bytesPerTrained = recipe.gradients == .bf16 ? 10 : 12
        let bytes =
            4 * weights + bytesPerTrained * trained + reference
            + 4 * rows * (kept + 4 * (attentionPerRow + feedForwardPerRow)) + logits
        return """
            \(recipe.objective.formula)
            \(training.pairs.count) examples, \(stepCount) steps of \(recipe.settings.batchSize) x \
            \(recipe.settings.accumulation)
            \(weights) weights, \(trained) of them trained, products in \(recipe.precision.rawValue)
            about \(bytes >> 20) MiB of memory

            """
    }

    private var bytesPerFrozenWeight: Int { base.checkpoint?.storedDataType == .bf16 ? 2 : 4 }

    /// Floats that a layer keeps of a row before its MLP.
    private var attentionPerRow: Int {
        let c = base.configuration
        return 2 * c.hiddenSize + 2 * c.headCount * c.headSize + 2 * c.keyValueHeadCount * c.headSize
    }

    private var feedForwardPerRow: Int {
        (base.configuration.isGated ? 2 : 1) * base.configuration.intermediateSize
    }

    private var longest: Int { training.pairs.map { TrainingPass.rowCount(of: $0) }.max() ?? 0 }

    /// Weights of the adapters; nil where there are none.
    private var adapterCount: Int? {
        adapterShapes?.reduce(0) { $0 + $1.reduce(1, *) }
    }

    private var stepCount: Int {
        let settings = recipe.settings
        if let steps = settings.maxSteps { return steps }
        let microBatches = (training.pairs.count + settings.batchSize - 1) / settings.batchSize
        return settings.epochs * ((microBatches + settings.accumulation - 1) / settings.accumulation)
    }

    // MARK: The run

    /// Trains, or goes on training, and writes the folder.
    ///
    /// - Returns: the last line of the log, and the held-out metrics.
    func start() throws -> [(name: String, value: Double)] {
        guard let output = recipe.output else {
            throw EvaluationError.configuration(
                "\(recipe.path) has no output_dir. Name the trained model's folder there, or with --output.")
        }
        try checkOutput(output)
        try TrainingFiles.makeFolder(output)
        let clock = ContinuousClock.now
        let model = try makeModel()
        let store = model.adapters ?? model.weights
        let checkpoints = TrainerCheckpoints(folder: output, limit: recipe.savedCheckpoints)
        var (examples, heldOutExamples) = (examples(training), heldOut.map(examples) ?? [])
        var reference: TrainableModel?
        if recipe.keepsReference {
            // With adapters the weights themselves stay what they were.
            let weights = recipe.lora == nil ? ParameterStore(frozen: model.weights) : model.weights
            reference = TrainableModel(model, weights: weights)
        } else if recipe.settings.objective.needsReference {
            try fillReferences(&examples, training, model, "Reference")
            if let heldOut { try fillReferences(&heldOutExamples, heldOut, model, "Reference, held out") }
        }
        let state =
            try checkpoints.load(into: store, fingerprint: fingerprint) { path, reason in
                Console.note("\(path) is passed over: \(reason).")
            } ?? TrainerState(fingerprint: fingerprint)
        let trainer = try Trainer(
            recipe.settings, model: model, reference: reference, kernels: kernels, training: examples,
            heldOut: heldOutExamples, state: state)
        Console.note(
            "\(recipe.objective.formula)\n\(state.step > 0 ? "Goes on after step \(state.step). " : "")"
                + "\(examples.count) examples, \(trainer.totalSteps) steps.")
        let first = state.step
        let log = try MetricsLog(folder: output, resumingAt: state.step > 0 ? state.step : nil)
        let bar = ProgressBar("Training", total: trainer.totalSteps, isEnabled: showsProgress)
        let isDone = try trainer.run(
            save: { try checkpoints.save($0, store) }, shouldStop: { Interruption.shared.stop.wasRaised },
            observe: { event in
                switch event {
                case .logged(let step, let line), .evaluated(let step, let line): try log.log(step: step, line)
                case .stepped(let step, _): bar.update(step)
                case .saved: break
                }
            })
        guard isDone else { throw Interrupted(done: trainer.state.step, total: trainer.totalSteps) }
        if trainer.totalSteps > first {
            let seconds = (ContinuousClock.now - clock) / .seconds(1)
            try TrainingCost(seconds: seconds, steps: trainer.totalSteps - first).write(to: output)
        }
        let metrics = try log.ends()
        noteFall(from: metrics.first, to: metrics.last)
        try write(model, to: output, metrics.last, metrics.heldOut, steps: trainer.totalSteps)
        return metrics.last + metrics.heldOut
    }

    private func checkOutput(_ output: String) throws {
        let leavesAdapter = recipe.lora != nil && !recipe.mergesAdapter
        try ModelFolder.check(output, takes: leavesAdapter ? .adapter : .model, inputs: [base.folder])
    }

    /// Chosen responses that became less likely: by the reference where there is one, else by averages a token. Sums of
    /// different rows say nothing.
    private func noteFall(from first: [(name: String, value: Double)], to last: [(name: String, value: Double)]) {
        func value(_ name: String, _ line: [(name: String, value: Double)]) -> Double? {
            line.first { $0.name == name }?.value
        }
        let fall: String
        if recipe.objective.needsReference {
            guard let reward = value("rewards/chosen", last), reward < 0 else { return }
            fall = "rewards/chosen is \(reward) at the end"
        } else {
            guard recipe.objective.lengthNormalizesLogps, let before = value("logps/chosen", first),
                let after = value("logps/chosen", last), after < before
            else { return }
            fall = "logps/chosen fell from \(before) to \(after)"
        }
        Console.note(
            "\(fall): chosen responses became less likely. That is usual where the loss is of differences; if outputs "
                + "repeat themselves, lower the learning rate, raise beta, or add an SFT term.")
    }

    /// Writes what TRL needs to take the same steps.
    func handOver() throws -> (program: String, run: String) {
        guard let output = recipe.output, base.checkpoint != nil else {
            throw EvaluationError.configuration(
                "TRL begins from a checkpoint with weights and leaves an output_dir: \(recipe.path) lacks one of them.")
        }
        try checkOutput(output)
        try TrainingFiles.makeFolder(output)
        if recipe.gradients == .bf16 {
            Console.note("gradient_dtype is for training here: TRL sums gradients in its weights' type.")
        }
        if heldOut != nil {
            Console.note("eval_files are not handed to TRL: evalharness analyze takes them when it is done.")
        }
        var adapter: String?
        if let lora = recipe.lora {
            adapter = absolute("\(output)/trl/adapter")
            try LoRAAdapterFile.write(
                try lora.makeStore(for: base.configuration, seed: recipe.seed), lora,
                base: absolute(base.folder), to: "\(output)/trl/adapter")
        }
        return try TRLHandover(
            settings: recipe.settings, examples: examples(training), model: absolute(base.folder),
            output: absolute(output), adapter: adapter, isBrainFloat: recipe.precision == .bf16,
            recomputesActivations: recipe.recomputation != .none, savedCheckpoints: recipe.savedCheckpoints,
            savedType: storedType, mergesAdapter: recipe.mergesAdapter
        ).write(to: absolute("\(output)/trl"))
    }

    /// The recipe's, or the base's where that is bf16.
    private var storedType: StoredDataType {
        (recipe.savedType ?? base.checkpoint?.storedDataType) == .bf16 ? .bf16 : .f32
    }

    private func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(Environment.currentFolder())/\(path)"
    }

    private func makeModel() throws -> TrainableModel {
        let isTrained = recipe.lora == nil
        let weights: ParameterStore
        if let checkpoint = base.checkpoint {
            weights = try ParameterStore(checkpoint, isTrained: isTrained, gradients: recipe.gradients)
        } else {
            guard isTrained else {
                throw TrainingError.configuration(
                    "\(recipe.path) asks for adapters on random weights. Remove lora, or random_initialization")
            }
            weights = ParameterStore(
                random: base.configuration, deviation: 0.02,
                seed: UInt64(bitPattern: Int64(recipe.initializationSeed ?? 0)), gradients: recipe.gradients)
        }
        let adapters = try recipe.lora.map { lora in
            (
                store: try lora.makeStore(for: base.configuration, seed: recipe.seed),
                lora: LoRAScale(rank: lora.rank, scale: Float(lora.scale))
            )
        }
        return TrainableModel(
            configuration: base.configuration, weights: weights, adapters: adapters, kernels: kernels,
            format: recipe.precision, recomputation: recipe.recomputation)
    }

    private func examples(_ data: PreparedData) -> [TrainingExample] {
        var examples = zip(data.pairs, data.lines).map { TrainingExample($0, source: $1) }
        if recipe.settings.objective.needsMismatchedRows {
            TrainingExample.mismatch(
                &examples, block: recipe.settings.batchSize, longest: longestMismatched)
        }
        return examples
    }

    private var longestMismatched: Int {
        min(recipe.data.truncation.maxLength, base.configuration.positionLimit ?? .max)
    }

    /// What mismatched rows depend on besides the data.
    private var mismatch: String {
        recipe.settings.objective.needsMismatchedRows
            ? "mismatched \(recipe.settings.batchSize) to \(longestMismatched)" : "0"
    }

    private func fillReferences(
        _ examples: inout [TrainingExample], _ data: PreparedData, _ model: TrainableModel, _ label: String
    ) throws {
        let key = Digest.sha256(
            "\(TrainableModel.arithmetic) \(base.fingerprint) \(data.fingerprint) \(recipe.precision.rawValue) "
                + "\(kernels.name) \(mismatch)")
        let folder = Environment.cacheHome + "/evalharness/reference"
        try TrainingFiles.makeFolder(folder)
        let bar = ProgressBar(label, total: examples.count, isEnabled: showsProgress)
        try ReferenceLogProbs(model: model, rowsPerPass: recipe.settings.rowsPerPass).fill(
            &examples, cache: "\(folder)/\(key.prefix(32)).json", fingerprint: key
        ) { done in
            bar.update(done)
            if Interruption.shared.stop.wasRaised { throw Interrupted(done: 0, total: stepCount) }
        }
    }

    /// Everything that the weights depend on.
    private var fingerprint: String {
        var settings = recipe.settings
        (settings.loggingSteps, settings.evaluationSteps, settings.saveSteps) = (1, nil, nil)
        return Digest.sha256(
            "\(TrainableModel.arithmetic) \(settings) \(recipe.precision) \(String(describing: recipe.lora)) "
                + "\(base.fingerprint) \(training.fingerprint) \(kernels.name)"
                + (recipe.gradients == .bf16 ? " gradients in bf16" : "")
                + (recipe.settings.objective.needsMismatchedRows ? " \(mismatch)" : "")
                + (recipe.lora == nil ? "" : " adapters of seed \(recipe.seed)"))
    }

    private func write(
        _ model: TrainableModel, to output: String, _ line: [(name: String, value: Double)],
        _ heldOutLine: [(name: String, value: Double)], steps: Int
    ) throws {
        let sources =
            training.files.map { (Files.name(of: $0.path), $0.sha256) }
            + (heldOut?.files ?? []).map { ("\(Files.name(of: $0.path)), held out", $0.sha256) }
        let card = ModelCard(
            base: BaseCard(folder: base.folder), isAdapter: recipe.lora != nil && !recipe.mergesAdapter,
            method: recipe.method, formula: recipe.objective.formula, recipe: recipe.text, data: sources,
            examples: training.pairs.count, steps: steps, precision: recipe.precision.rawValue, metrics: line,
            heldOut: heldOutLine)
        try TrainingFiles.write(Array(recipe.text.utf8), to: "\(output)/recipe.yaml")
        var report = training.report.json
        report["held_out"] = heldOut.map { .object($0.report.json) }
        try TrainingFiles.write(JSONValue.object(report).serialized(.indented(2)), to: "\(output)/data_report.json")
        if let adapters = model.adapters, let lora = recipe.lora, !recipe.mergesAdapter {
            try LoRAAdapterFile.write(adapters, lora, base: absolute(base.folder), to: output)
            try TrainingFiles.write(Array(card.text.utf8), to: "\(output)/README.md")
            return
        }
        if let adapters = model.adapters, let lora = recipe.lora {
            lora.merge(adapters, into: model.weights, pool: kernels.pool)
        }
        try ModelFolder(path: output, base: base.folder).write(
            model.weights, as: storedType, storedNames: base.checkpoint?.storedNames ?? [:],
            endTokens: base.checkpoint?.generationEndTokens ?? base.configuration.endTokens, card: card.text)
    }
}
