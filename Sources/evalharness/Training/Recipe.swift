import Chat
import Evaluation
import LanguageModel
import Training

/// A training run as its YAML file says it, in the field names of TRL and of the SimPO repository.
///
/// A relative path is taken from the recipe's folder.
struct Recipe {
    /// The file, and what it said when it was read.
    let path: String
    let text: String
    let objective: Objective
    let settings: TrainerSettings
    /// The objective's name in the recipe.
    let method: String
    let seed: UInt64
    /// The checkpoint to begin from.
    private(set) var model: String?
    /// Begins from random weights of this seed: the checkpoint has a configuration and a tokenizer alone.
    let initializationSeed: Int?
    private(set) var trainingFiles: [String]
    private(set) var heldOutFiles: [String]
    /// How examples become tokens.
    let data: DataSettings
    /// What products compute with.
    let precision: PackedMatrix.Format
    /// What the weights are stored as at the end; nil is the checkpoint's own type.
    let savedType: StoredDataType?
    let recomputation: Recomputation
    /// What gradients are summed up in.
    let gradients: Gradients.Format
    /// Whether the reference model is asked before the first step, and not kept beside the one that is trained.
    let precomputesReferences: Bool
    let lora: LoRASettings?
    let mergesAdapter: Bool
    let savedCheckpoints: Int
    private(set) var output: String?

    /// - Throws: `EvaluationError` and `TrainingError` for a field that is missing, unknown or makes no sense.
    init(path: String) throws {
        self.path = path
        let folder = Files.parent(of: path)
        text = try Files.readText(path, asked: "The recipe")
        var fields = try Fields(yaml: text, place: path)
        func resolve(_ name: String) -> String { name.hasPrefix("/") || folder.isEmpty ? name : "\(folder)/\(name)" }

        method = try fields.requiredString("method")
        objective = try Recipe.objective(method, &fields)
        try objective.checked()
        seed = UInt64(bitPattern: Int64(try fields.integer("seed") ?? 42))
        settings = try Recipe.settings(&fields, objective, seed)
        model = try fields.string("model_name_or_path").map(resolve)
        initializationSeed = try fields.integer("random_initialization")
        trainingFiles = try fields.strings("train_files").map(resolve)
        heldOutFiles = try fields.strings("eval_files").map(resolve)
        data = try Recipe.data(&fields, objective)
        precision = try fields.bool("bf16") ?? true ? .bf16 : .f32
        savedType = try fields.choice("save_dtype", ["float32": StoredDataType.f32, "bfloat16": .bf16])
        recomputation = try Recipe.recomputation(&fields)
        gradients = try fields.choice("gradient_dtype", ["float32": Gradients.Format.f32, "bfloat16": .bf16]) ?? .f32
        precomputesReferences = try fields.bool("precompute_ref_log_probs") ?? true
        lora = try Recipe.lora(&fields)
        if lora != nil, gradients == .bf16 {
            throw fields.unusable("gradient_dtype", "is for training without lora; an adapter's gradients are small")
        }
        mergesAdapter = try fields.bool("merge_adapter") ?? false
        savedCheckpoints = try fields.positive("save_total_limit") ?? 1
        output = try fields.string("output_dir").map(resolve)
        try fields.refuseUnknown()
    }

    /// Whether a frozen model stays in memory beside the one that is trained.
    var keepsReference: Bool { objective.needsReference && !precomputesReferences }

    /// What flags name goes before what the file names.
    mutating func override(model: String?, output: String?, trainFiles: [String], evalFiles: [String]) {
        self.model = model ?? self.model
        self.output = output ?? self.output
        if !trainFiles.isEmpty { trainingFiles = trainFiles }
        if !evalFiles.isEmpty { heldOutFiles = evalFiles }
    }

    private static func data(_ fields: inout Fields, _ objective: Objective) throws -> DataSettings {
        let use: ExampleUse =
            switch objective {
            case .sft: .demonstrations(try fields.choice("train_on", TrainedTokens.allCases) ?? .assistant)
            case .kto: .judged
            case .simpo, .dpo, .ipo, .rdpo, .cpo, .orpo, .slicHF, .rrhf: .pairs
            }
        var rules = DataRules()
        if try fields.bool("drop_duplicates") == false { rules.dropped.remove(.duplicate) }
        let style = try fields.choice("rendering", RenderingStyle.allCases) ?? .trl
        // The SimPO repository keeps the end, TRL of today the start.
        let truncation = RowTruncation(
            maxLength: try fields.count("max_length") ?? 1_024,
            maxPromptLength: try fields.count("max_prompt_length"),
            kept: try fields.choice("truncation_mode", [RowTruncation.Kept.end, .start])
                ?? (style == .simpo ? .end : .start))
        try truncation.checked()
        return DataSettings(use: use, style: style, truncation: truncation, rules: rules)
    }

    private static func settings(_ fields: inout Fields, _ objective: Objective, _ seed: UInt64) throws
        -> TrainerSettings
    {
        var settings = TrainerSettings(objective: objective)
        settings.learningRate = try fields.required("learning_rate", try fields.number("learning_rate"))
        settings.batchSize = try fields.count("per_device_train_batch_size") ?? 2
        if case .kto = objective, settings.batchSize == 1 {
            throw fields.unusable(
                "per_device_train_batch_size",
                "should be 2 or more: KTO compares each answer to those of other prompts")
        }
        settings.accumulation = try fields.count("gradient_accumulation_steps") ?? 1
        settings.epochs = try fields.count("num_train_epochs") ?? 1
        settings.maxSteps = try fields.count("max_steps")
        settings.schedule =
            try fields.choice("lr_scheduler_type", LearningRate.Shape.allCases) ?? .cosine
        // As in transformers, 0 steps leave it to the ratio.
        let warmUpSteps = try fields.integer("warmup_steps") ?? 0
        let warmUpRatio = try fields.number("warmup_ratio") ?? 0
        settings.warmUp = warmUpSteps == 0 ? .ratio(warmUpRatio) : .steps(warmUpSteps)
        settings.optimizer.weightDecay = Float(try fields.number("weight_decay", 0, from: 0, below: 1e4))
        settings.optimizer.beta1 = Float(try fields.number("adam_beta1", 0.9, from: 0, below: 1))
        settings.optimizer.beta2 = Float(try fields.number("adam_beta2", 0.999, from: 0, below: 1))
        settings.optimizer.epsilon = Float(try fields.number("adam_epsilon", 1e-8, from: 1e-30, below: 1))
        let norm = try fields.number("max_grad_norm") ?? 1
        settings.maxGradientNorm = norm > 0 ? norm : nil
        let seed = try fields.integer("seed") ?? 42
        settings.order =
            try fields.bool("shuffle") ?? true ? .shuffled(seed: UInt64(bitPattern: Int64(seed))) : .sequential
        settings.rowsPerPass = try fields.count("tokens_per_pass") ?? 1_024
        settings.loggingSteps = try fields.positive("logging_steps") ?? 5
        settings.evaluationSteps = try fields.positive("eval_steps")
        settings.saveSteps = try fields.positive("save_steps")
        return settings
    }

    private static func lora(_ fields: inout Fields) throws -> LoRASettings? {
        guard var lora = try fields.object("lora") else { return nil }
        let result = LoRASettings(
            rank: try lora.required("r", try lora.positive("r")),
            alpha: try lora.required("lora_alpha", try lora.number("lora_alpha")),
            dropout: try lora.number("lora_dropout") ?? 0,
            targetModules: try lora.strings("target_modules").filter { $0 != "all-linear" },
            usesRSLoRA: try lora.bool("use_rslora") ?? false)
        try lora.refuseUnknown()
        try result.checkedForTraining()
        return result
    }

    private static func recomputation(_ fields: inout Fields) throws -> Recomputation {
        let name = "gradient_checkpointing"
        switch fields.value(name) {
        case nil, .bool(false)?: return .none
        case .bool(true)?: return .layers
        case .string("mlp")?: return .mlp
        case .string("segments")?: return .segments
        default: throw fields.unusable(name, "should be true, false, mlp or segments")
        }
    }
}

// MARK: Objectives

extension Recipe {
    private static func objective(_ method: String, _ fields: inout Fields) throws -> Objective {
        switch method {
        case "sft": return .sft(Objective.SFT())
        case "simpo": return .simpo(try simpo(&fields))
        case "dpo":
            return .dpo(
                Objective.DPO(
                    beta: try fields.number("beta") ?? 0.1, margin: try fields.number("margin") ?? 0,
                    lengthNormalized: try fields.bool("length_normalization") ?? false, link: try link(&fields),
                    sftWeight: try fields.number("sft_weight") ?? 0))
        case "ipo":
            return .ipo(
                Objective.IPO(
                    // TRL calls it beta.
                    tau: try fields.required("tau", try fields.number("tau") ?? fields.number("beta")),
                    lengthNormalized: try fields.bool("length_normalization") ?? true))
        case "kto":
            return .kto(
                Objective.KTO(
                    beta: try fields.number("beta") ?? 0.1,
                    desirableWeight: try fields.number("desirable_weight") ?? 1,
                    undesirableWeight: try fields.number("undesirable_weight") ?? 1))
        case "orpo":
            return .orpo(
                Objective.ORPO(
                    // TRL calls it beta.
                    lambda: try fields.number("lambda") ?? fields.number("beta") ?? 0.1,
                    likelihoodOf: try fields.choice(
                        "likelihood", ["response": .response, "prompt_and_response": .promptAndResponse]) ?? .response))
        case "cpo" where try fields.string("loss_type") == "simpo":
            // CPO-SimPO, as TRL spells it.
            return .simpo(
                Objective.SimPO(
                    beta: try fields.number("beta") ?? 0.1, gamma: try fields.number("simpo_gamma") ?? 0.5,
                    sftWeight: try fields.number("cpo_alpha") ?? 1))
        case "cpo":
            return .cpo(
                Objective.CPO(
                    beta: try fields.number("beta") ?? 0.1, sftWeight: try fields.number("cpo_alpha") ?? 1,
                    link: try link(&fields)))
        case "rdpo":
            return .rdpo(
                Objective.RDPO(
                    beta: try fields.number("beta") ?? 0.1,
                    alpha: try fields.required("alpha", try fields.number("alpha"))))
        case "slic_hf":
            return .slicHF(
                Objective.SLiCHF(
                    delta: try fields.required("delta", try fields.number("delta")),
                    lambda: try fields.required("lambda", try fields.number("lambda")),
                    reduction: try reduction(&fields)))
        case "rrhf":
            return .rrhf(
                Objective.RRHF(
                    lambda: try fields.required("lambda", try fields.number("lambda")),
                    reduction: try reduction(&fields)))
        default:
            throw fields.unusable(
                "method", "is \(method); known are sft, simpo, dpo, ipo, kto, orpo, cpo, rdpo, slic_hf and rrhf")
        }
    }

    /// The margin is given by itself (`simpo_gamma`, as in TRL) or over β (`gamma_beta_ratio`, as in the SimPO repository).
    private static func simpo(_ fields: inout Fields) throws -> Objective.SimPO {
        let beta = try fields.number("beta") ?? 2
        let ratio = try fields.number("gamma_beta_ratio")
        let gamma = try fields.number("simpo_gamma")
        if ratio != nil, gamma != nil {
            throw fields.unusable("gamma_beta_ratio", "and simpo_gamma both say the margin: give one")
        }
        let isNormalized = try fields.bool("length_normalization") ?? true
        return Objective.SimPO(
            beta: beta, gamma: gamma ?? (ratio ?? 0.25) * beta, lengthNormalized: isNormalized,
            link: try link(&fields), sftWeight: try fields.number("sft_weight") ?? 0)
    }

    private static func link(_ fields: inout Fields) throws -> Objective.Link {
        let smoothing = try fields.number("label_smoothing") ?? 0
        switch try fields.string("loss_type") ?? "sigmoid" {
        case "sigmoid": return .sigmoid(labelSmoothing: smoothing)
        case "hinge":
            if smoothing != 0 { throw fields.unusable("label_smoothing", "means nothing to the hinge: remove it") }
            return .hinge
        case "robust": return .robust(labelSmoothing: smoothing)
        case let other: throw fields.unusable("loss_type", "is \(other); known are sigmoid, hinge and robust")
        }
    }

    private static func reduction(_ fields: inout Fields) throws -> LikelihoodReduction {
        try fields.choice(
            "sft_reduction", ["token_mean": .tokenMean, "sequence_mean": .sequenceMean, "sum": .sum]) ?? .tokenMean
    }
}

extension Fields {
    /// A number of things that fit in a memory.
    fileprivate mutating func count(_ key: String) throws -> Int? {
        let count = try positive(key)
        if let count, count > 1 << 31 { throw unusable(key, "should be at most \(1 << 31)") }
        return count
    }

    fileprivate mutating func number(_ key: String, _ usual: Double, from least: Double, below end: Double) throws
        -> Double
    {
        let number = try number(key) ?? usual
        if !(least..<end).contains(number) {
            throw unusable(key, "is \(number), and should be from \(least) to below \(end)")
        }
        return number
    }

    fileprivate mutating func choice<Value>(_ key: String, _ values: [String: Value]) throws -> Value? {
        guard let text = try string(key) else { return nil }
        guard let value = values[text] else {
            throw unusable(key, "is \(text); known are \(values.keys.sorted().joined(separator: ", "))")
        }
        return value
    }

    fileprivate mutating func choice<Value: RawRepresentable<String>>(_ key: String, _ values: [Value]) throws -> Value?
    {
        try choice(key, Dictionary(uniqueKeysWithValues: values.map { ($0.rawValue, $0) }))
    }
}
