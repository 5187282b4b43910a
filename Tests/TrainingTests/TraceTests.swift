import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing
import Training

/// Runs of TRL's trainers, and of a loop verified against them, step by step: losses, gradient norms, final weights, and
/// what else is logged by the same name.
///
/// In f32 losses agree to 5e-5 of themselves and norms and logged means to 1e-4; a weight may differ by 5e-5, and where
/// Adam made a step of a gradient near zero by two steps, in at most a thousandth of all.
@Suite(.enabled(if: !Trace.folders.isEmpty, "needs the golden runs")) struct TraceTests {
    @Test(arguments: Trace.folders)
    func `A run's losses, gradients and weights are the trainer's`(_ folder: String) throws {
        let trace = try Trace(folder)
        let run = try trace.train()
        #expect(run.losses.count == trace.losses.count)
        for (step, (loss, expected)) in zip(run.losses, trace.losses).enumerated() {
            #expect(abs(loss - expected) <= 5e-5 * max(1, abs(expected)), "step \(step + 1): \(loss), not \(expected)")
        }
        for (step, (norm, expected)) in zip(run.norms, trace.norms).enumerated() {
            #expect(abs(norm - expected) <= 1e-4 * max(1, expected), "step \(step + 1): \(norm), not \(expected)")
        }
        try trace.checkWeights(run.weights)
        for (step, (metrics, logged)) in zip(run.metrics, trace.logged).enumerated()
        where trace.logged.count == trace.losses.count {
            for (name, value) in metrics.named where name != "loss" && !trace.differs(name) {
                guard let expected = logged[name]?.number else { continue }
                #expect(
                    abs(value - expected) <= 1e-4 * max(1, abs(expected)),
                    "step \(step + 1): \(name) is \(value), not \(expected)")
            }
            if let expected = logged["num_tokens"]?.number, !run.tokens.isEmpty {
                #expect(Double(run.tokens[step]) == expected)
            }
        }
    }
}

/// One recorded run: its settings, its micro-batches, and what came out.
struct Trace {
    static let base = "\(SharedData.fixtures)/training"
    static let folders = SharedData.fixtures("training/runs").filter { SharedData.exists("\($0)/trace.json") }

    let folder: String
    let name: String
    let config: JSONObject
    let losses: [Double]
    let norms: [Double]
    /// The trainer's own log, a line a step.
    let logged: [JSONValue]
    private let value: JSONValue

    init(_ folder: String) throws {
        self.folder = folder
        value = try JSONValue(parsing: Array(SharedData.contents("\(folder)/trace.json")))
        name = try #require(value["name"]?.string)
        config = try #require(value["config"]?.object)
        losses = (value["step_losses"]?.array ?? []).compactMap(\.number)
        logged = value["logged"]?.array ?? []
        norms =
            (value["grad_norms"]?.array ?? value["logged"]?.array?.compactMap { $0["grad_norm"] } ?? [])
            .compactMap(\.number)
    }

    private func number(_ key: String) -> Double? { config[key]?.number }

    /// IPO compares averages in both stacks, and the newer one logs sums.
    func differs(_ name: String) -> Bool {
        self.name.contains("ipo") && value["stack"]?["trl"]?.string?.hasPrefix("0.9.") == false
            && (name.hasPrefix("rewards") || name.hasPrefix("logps"))
    }

    // MARK: Objective

    private var objective: Objective {
        get throws {
            let loss = config["loss_type"]?.string ?? config["loss_type"]?.array?.first?.string
            let beta = number("beta") ?? 1
            let smoothing = number("label_smoothing") ?? 0
            let link: Objective.Link =
                switch loss {
                case "hinge": .hinge
                case "robust": .robust(labelSmoothing: smoothing)
                default: .sigmoid(labelSmoothing: smoothing)
                }
            let base = name.replacing("trl029_", with: "")
            let weights = config["loss_weights"]?.array?.compactMap(\.number) ?? []
            let reduction: LikelihoodReduction = config["sft_reduction"]?.string == "sum" ? .sum : .tokenMean
            if base.hasPrefix("sft") { return .sft(Objective.SFT()) }
            if base.hasPrefix("kto") {
                return .kto(
                    Objective.KTO(
                        beta: beta, desirableWeight: number("desirable_weight") ?? 1,
                        undesirableWeight: number("undesirable_weight") ?? 1))
            }
            if base.hasPrefix("orpo") {
                return .orpo(
                    Objective.ORPO(
                        lambda: beta,
                        likelihoodOf: config["nll_scope"]?.string == "response" ? .response : .promptAndResponse))
            }
            if base.hasPrefix("rrhf") {
                return .rrhf(Objective.RRHF(lambda: number("lambda")!, reduction: reduction))
            }
            if base.hasPrefix("slic") {
                return .slicHF(
                    Objective.SLiCHF(delta: number("delta")!, lambda: number("lambda")!, reduction: reduction))
            }
            if base.contains("ipo") { return .ipo(Objective.IPO(tau: beta)) }
            if base.hasPrefix("rdpo") { return .rdpo(Objective.RDPO(beta: beta, alpha: number("alpha")!)) }
            if base.hasPrefix("dpo") {
                return .dpo(
                    Objective.DPO(
                        beta: beta, margin: number("margin") ?? 0,
                        lengthNormalized: base.hasSuffix("length_normalised"), link: link,
                        sftWeight: weights.count == 2 ? weights[1] : 0))
            }
            if base == "cpo" {
                return .cpo(Objective.CPO(beta: beta, sftWeight: number("cpo_alpha") ?? 1, link: link))
            }
            // SimPO's own trainer names the ratio, TRL's the margin itself.
            let gamma = number("gamma_beta_ratio").map { $0 * beta } ?? number("simpo_gamma") ?? number("gamma") ?? 0
            return .simpo(
                Objective.SimPO(
                    beta: beta, gamma: gamma, lengthNormalized: !base.hasSuffix("no_ln"), link: link,
                    sftWeight: number("sft_weight") ?? number("cpo_alpha") ?? 0))
        }
    }

    // MARK: Examples

    /// Every micro-batch of the run.
    private func microBatches() throws -> [[TrainingExample]] {
        let size = Int(number("per_device_train_batch_size") ?? number("per_device")!)
        let count = Int(number("steps")! * number("accum")!)
        if let micro = value["micro"]?.array { return try micro.map(examples) }
        if name == "kto" {
            let file = try JSONValue(parsing: Array(SharedData.contents("\(Trace.base)/microbatches_trl096.json")))
            return try #require(file["kto_micro"]?.array).map(examples)
        }
        let file = try JSONValue(parsing: Array(SharedData.contents("\(Trace.base)/examples.json")))
        let all = try #require(file["examples"]?.array).map { example in
            TrainingExample(
                TokenizedPair(
                    chosen: try row(example["chosen_input_ids"], example["chosen_labels"]),
                    rejected: try row(example["rejected_input_ids"], example["rejected_labels"])), source: "")
        }
        return (0..<count).map { batch in
            (0..<size).map { place in
                var example = all[(batch * size + place) % all.count]
                if name.hasPrefix("sft") { example.pair.rejected = nil }
                return example
            }
        }
    }

    /// The rows of a collated micro-batch, padding removed.
    private func examples(_ micro: JSONValue) throws -> [TrainingExample] {
        func rows(_ ids: String, _ labels: String, _ mask: String) throws -> [TokenizedRow] {
            let all = zip(zip(micro[ids]?.array ?? [], micro[labels]?.array ?? []), micro[mask]?.array ?? [])
            return try all.map { pair, mask in
                let count = mask.array?.filter { $0.number == 1 }.count ?? 0
                return try row(pair.0, pair.1, count: count)
            }
        }
        if micro["label"] != nil {
            let own = try rows("completion_input_ids", "completion_labels", "completion_attention_mask")
            let others = try rows("KL_completion_input_ids", "KL_completion_labels", "KL_completion_attention_mask")
            return zip(zip(own, others), micro["label"]?.array ?? []).map { rows, label in
                let isDesirable = label == .bool(true)
                var example = TrainingExample(
                    TokenizedPair(chosen: isDesirable ? rows.0 : nil, rejected: isDesirable ? nil : rows.0), source: "")
                example.mismatched = rows.1
                return example
            }
        }
        if micro["chosen_input_ids"] != nil {
            let chosen = try rows("chosen_input_ids", "chosen_labels", "chosen_attention_mask")
            let rejected = try rows("rejected_input_ids", "rejected_labels", "rejected_attention_mask")
            return zip(chosen, rejected).map { TrainingExample(TokenizedPair(chosen: $0, rejected: $1), source: "") }
        }
        if micro["completion_mask"] != nil {
            let all = try rows("input_ids", "completion_mask", "attention_mask")
            let half = all.count / 2
            return (0..<half).map {
                TrainingExample(TokenizedPair(chosen: all[$0], rejected: all[$0 + half]), source: "")
            }
        }
        return try rows("input_ids", "labels", "attention_mask").map {
            TrainingExample(TokenizedPair(chosen: $0, rejected: nil), source: "")
        }
    }

    /// A row from its ids and its labels (-100) or its mask (0) of what is not trained.
    private func row(_ ids: JSONValue?, _ labels: JSONValue?, count: Int? = nil) throws -> TokenizedRow {
        let ids = try #require(ids?.array).prefix(count ?? .max).map { Int32($0.number!) }
        let labels = try #require(labels?.array).map { Int($0.number!) }
        let isMask = labels.allSatisfy { $0 == 0 || $0 == 1 }
        let trained = ids.indices.filter { isMask ? labels[$0] == 1 : labels[$0] != -100 }
        let first = try #require(trained.first)
        #expect(trained == Array(first...trained.last!))
        return TokenizedRow(ids: ids, targets: [first..<trained.last! + 1])
    }

    // MARK: The run

    struct Run {
        var metrics: [BatchMetrics] = []
        var norms: [Double] = []
        var tokens: [Int] = []
        var weights: ParameterStore

        var losses: [Double] { metrics.map(\.loss) }
    }

    func train() throws -> Run {
        let kernels = try #require(Kernels(pool: ThreadPool(threadCount: 2)))
        let checkpoint = try Checkpoint(folder: "\(Trace.base)/init_model")
        let store = try ParameterStore(checkpoint, isTrained: config["lora"] == nil)
        let adapters = try self.adapters()
        let model = TrainableModel(
            configuration: checkpoint.configuration, weights: store, adapters: adapters, kernels: kernels, format: .f32)
        var settings = TrainerSettings(objective: try objective)
        var examples = try microBatches()
        settings.batchSize = examples[0].count
        settings.accumulation = Int(number("accum")!)
        settings.maxSteps = Int(number("steps")!)
        settings.learningRate = number("learning_rate") ?? number("lr")!
        settings.schedule = config["lr_scheduler_type"]?.string == "linear" ? .linear : .cosine
        settings.warmUp = .ratio(number("warmup_ratio")!)
        settings.optimizer.weightDecay = Float(number("weight_decay") ?? number("wd") ?? 0)
        settings.maxGradientNorm = number("clip")
        settings.order = .sequential
        if settings.objective.needsReference {
            var all = examples.flatMap { $0 }
            try ReferenceLogProbs(model: model, rowsPerPass: 256).fill(&all, cache: nil, fingerprint: "") { _ in }
            examples = stride(from: 0, to: all.count, by: settings.batchSize).map {
                Array(all[$0..<$0 + settings.batchSize])
            }
        }
        if name == "sft_mean_of_means" {
            return try meanOfMeans(settings, model, kernels, examples, store)
        }
        var run = Run(weights: adapters?.store ?? store)
        let trainer = try Trainer(
            settings, model: model, kernels: kernels, training: examples.flatMap { $0 },
            state: TrainerState(fingerprint: ""))
        for step in 0..<trainer.totalSteps {
            run.norms.append(try trainer.step())
            run.metrics.append(BatchMetrics.mean(trainer.state.unlogged.suffix(settings.accumulation)))
            run.tokens.append(trainer.state.tokens)
            #expect(trainer.state.step == step + 1)
        }
        return run
    }

    /// As transformers did before 4.46: each micro-batch's token mean, averaged.
    private func meanOfMeans(
        _ settings: TrainerSettings, _ model: TrainableModel, _ kernels: Kernels, _ batches: [[TrainingExample]],
        _ store: ParameterStore
    ) throws -> Run {
        var run = Run(weights: store)
        let rate = try LearningRate(
            peak: settings.learningRate, shape: settings.schedule, warmUp: settings.warmUp,
            totalSteps: settings.maxSteps!)
        let gradients = BatchGradients(model: model, objective: settings.objective, rowsPerPass: 256)
        for step in 0..<rate.totalSteps {
            store.training!.gradients.clear(kernels.pool)
            let group = batches[step * settings.accumulation..<(step + 1) * settings.accumulation]
            let metrics = try group.map {
                try gradients.add($0, in: BatchSize($0.map(\.pair)), weight: 1 / Double(group.count))
            }
            run.metrics.append(BatchMetrics.mean(metrics))
            run.norms.append(store.training!.gradients.norm(kernels))
            settings.optimizer.update(
                store, step: step + 1, learningRate: rate.rate(at: step),
                gradientScale: min(1, settings.maxGradientNorm! / (run.norms[step] + 1e-6)), kernels: kernels)
        }
        return run
    }

    private func adapters() throws -> (store: ParameterStore, lora: LoRAScale)? {
        guard let lora = config["lora"]?.object else { return nil }
        let rank = Int(lora["r"]!.number!)
        let file = try SafetensorsFile(path: "\(folder)/adapter_init/adapter_model.safetensors")
        let prefix = "base_model.model."
        let store = ParameterStore(
            file.tensors.map { (name: String($0.name.dropFirst(prefix.count)), shape: $0.shape) }, isTrained: true)
        for (index, tensor) in file.tensors.enumerated() { copy(tensor, into: store, index) }
        let scale =
            lora["use_rslora"] == .bool(true)
            ? lora["alpha"]!.number! / Double(rank).squareRoot() : lora["alpha"]!.number! / Double(rank)
        return (store, LoRAScale(rank: rank, scale: Float(scale)))
    }

    private func copy(_ tensor: StoredTensor, into store: ParameterStore, _ index: Int) {
        let parameter = store.parameters[index]
        for row in 0..<parameter.rows {
            tensor.widen(
                first: row * parameter.columns, count: parameter.columns,
                into: store.value(index) + row * parameter.stride)
        }
    }

    // MARK: Weights

    func checkWeights(_ store: ParameterStore) throws {
        let isLoRA = config["lora"] != nil
        let path =
            isLoRA ? "\(folder)/adapter_final/adapter_model.safetensors" : "\(folder)/final.safetensors"
        guard SharedData.exists(path) else { return checkSummary(store) }
        let file = try SafetensorsFile(path: path)
        var farApart = 0
        var count = 0
        let rate = number("learning_rate") ?? number("lr")!
        for tensor in file.tensors {
            let name = isLoRA ? String(tensor.name.dropFirst("base_model.model.".count)) : tensor.name
            let index = try #require(store.index(name), "\(name)")
            let found = values(store, index)
            var expected = [Float](repeating: 0, count: tensor.elementCount)
            expected.withUnsafeMutableBufferPointer {
                tensor.widen(first: 0, count: $0.count, into: $0.baseAddress!)
            }
            for (one, other) in zip(found, expected) {
                let difference = Double(abs(one - other))
                #expect(difference <= 2 * rate, "\(name)")
                if difference > 5e-5 { farApart += 1 }
            }
            count += found.count
        }
        #expect(farApart <= count / 1_000, "\(farApart) of \(count) weights")
        #expect(file.tensors.count == store.parameters.count)
    }

    private func values(_ store: ParameterStore, _ index: Int) -> [Float] {
        let parameter = store.parameters[index]
        let values = store.value(index)
        return (0..<parameter.rows).flatMap { row in
            (0..<parameter.columns).map { values[row * parameter.stride + $0] }
        }
    }

    /// Sums and lengths, where no weights are stored.
    private func checkSummary(_ store: ParameterStore) {
        for member in value["final_summary"]?.object?.members ?? [] {
            let (name, expected) = (member.key, member.value)
            guard let index = store.index(name) else { continue }
            let found = values(store, index).map(Double.init)
            let length = found.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let allowed = 5e-5 * Double(found.count).squareRoot()
            let sum = found.reduce(0, +)
            #expect(abs(length - (expected["l2"]?.number ?? 0)) < allowed, "\(name)")
            #expect(abs(sum - (expected["sum"]?.number ?? 0)) < 5e-5 * Double(found.count), "\(name)")
        }
    }
}
