internal import Chat
package import LanguageModel

/// A run handed to TRL: the rows that this engine made, in the order and at the learning rates of its steps.
package struct TRLHandover {
    package var settings: TrainerSettings
    package var examples: [TrainingExample]
    /// The checkpoint to begin from, and where the trained one goes: absolute paths.
    package var model: String
    package var output: String
    /// PEFT's folder of the adapters to begin from.
    package var adapter: String?
    package var isBrainFloat: Bool
    package var recomputesActivations: Bool
    package var savedCheckpoints: Int
    /// What the weights are stored as at the end.
    package var savedType: StoredDataType
    package var mergesAdapter: Bool

    package init(
        settings: TrainerSettings, examples: [TrainingExample], model: String, output: String, adapter: String?,
        isBrainFloat: Bool, recomputesActivations: Bool, savedCheckpoints: Int, savedType: StoredDataType,
        mergesAdapter: Bool
    ) {
        self.settings = settings
        self.examples = examples
        self.model = model
        self.output = output
        self.adapter = adapter
        self.isBrainFloat = isBrainFloat
        self.recomputesActivations = recomputesActivations
        self.savedCheckpoints = savedCheckpoints
        self.savedType = savedType
        self.mergesAdapter = mergesAdapter
    }

    /// Writes `train_trl.py`, `rows.jsonl` and `run.json`.
    ///
    /// - Returns: the paths of the program and of the run.
    /// - Throws: `TrainingError`.
    package func write(to folder: String) throws(TrainingError) -> (program: String, run: String) {
        try TrainingFiles.makeFolder(folder)
        let rows = examples.flatMap { example in
            JSONValue.object(TRLHandover.row(example)).serialized() + [UInt8(ascii: "\n")]
        }
        try TrainingFiles.write(rows, to: "\(folder)/rows.jsonl")
        try TrainingFiles.write(Array(TRLScript.text.utf8), to: "\(folder)/train_trl.py")
        let run = JSONValue.object(try description(rows: "\(folder)/rows.jsonl"))
        try TrainingFiles.write(run.serialized(.indented(1)), to: "\(folder)/run.json")
        return ("\(folder)/train_trl.py", "\(folder)/run.json")
    }

    private static func row(_ example: TrainingExample) -> JSONObject {
        func object(_ row: TokenizedRow) -> JSONValue {
            [
                "ids": .array(row.ids.map { .integer(Int($0)) }),
                "targets": .array(row.targets.map { [.integer($0.lowerBound), .integer($0.upperBound)] }),
            ]
        }
        var line = JSONObject()
        line["chosen"] = example.pair.chosen.map(object)
        line["rejected"] = example.pair.rejected.map(object)
        line["mismatched"] = example.mismatched.map(object)
        return line
    }

    private func description(rows: String) throws(TrainingError) -> JSONObject {
        let plan = StepPlan(
            count: examples.count, batchSize: settings.batchSize, accumulation: settings.accumulation,
            order: settings.order)
        let total = settings.maxSteps ?? settings.epochs * plan.stepsPerEpoch
        let rate = try LearningRate(
            peak: settings.learningRate, shape: settings.schedule, warmUp: settings.warmUp, totalSteps: total)
        let steps = (0..<total).map { step -> JSONValue in
            .array(plan.microBatches(of: step).map { .array($0.map(JSONValue.integer)) })
        }
        func optional(_ value: Int?) -> JSONValue { value.map(JSONValue.integer) ?? .null }
        return [
            "model": .string(model), "adapter": adapter.map(JSONValue.string) ?? .null, "output": .string(output),
            "rows": .string(rows), "objective": .object(settings.objective.handover), "steps": .array(steps),
            "steps_per_epoch": .integer(plan.stepsPerEpoch), "accumulation": .integer(settings.accumulation),
            "learning_rates": .array((0..<total).map { .number(rate.rate(at: $0)) }),
            "weight_decay": .number(Double(settings.optimizer.weightDecay)),
            "max_gradient_norm": settings.maxGradientNorm.map(JSONValue.number) ?? .null,
            "adam_beta1": .number(Double(settings.optimizer.beta1)),
            "adam_beta2": .number(Double(settings.optimizer.beta2)),
            "adam_epsilon": .number(Double(settings.optimizer.epsilon)),
            "precision": isBrainFloat ? "bf16" : "f32", "recompute": .bool(recomputesActivations),
            "logging_steps": .integer(settings.loggingSteps), "save_steps": optional(settings.saveSteps),
            "save_total_limit": .integer(savedCheckpoints),
            "save_dtype": savedType == .bf16 ? "bfloat16" : "float32", "merge_adapter": .bool(mergesAdapter),
        ]
    }
}

extension Objective {
    /// As the program reads it.
    fileprivate var handover: JSONObject {
        func link(_ link: Link) -> JSONObject {
            switch link {
            case .sigmoid(let smoothing): ["link": "sigmoid", "label_smoothing": .number(smoothing)]
            case .hinge: ["link": "hinge", "label_smoothing": 0]
            case .robust(let smoothing): ["link": "robust", "label_smoothing": .number(smoothing)]
            }
        }
        func with(_ method: JSONValue, _ members: JSONObject, _ more: JSONObject = [:]) -> JSONObject {
            var object: JSONObject = ["method": method]
            for member in members.members + more.members { object[member.key] = member.value }
            return object
        }
        switch self {
        case .sft(let one): return with("sft", ["reduction": .string(one.reduction.rawValue)])
        case .simpo(let one):
            return with(
                "simpo",
                [
                    "beta": .number(one.beta), "gamma": .number(one.gamma),
                    "length_normalized": .bool(one.lengthNormalized), "sft_weight": .number(one.sftWeight),
                ], link(one.link))
        case .dpo(let one):
            return with(
                "dpo",
                [
                    "beta": .number(one.beta), "margin": .number(one.margin),
                    "length_normalized": .bool(one.lengthNormalized), "sft_weight": .number(one.sftWeight),
                ], link(one.link))
        case .ipo(let one):
            return with(
                "ipo",
                [
                    "tau": .number(one.tau), "length_normalized": .bool(one.lengthNormalized),
                    "uses_reference": .bool(one.usesReference), "sft_weight": .number(one.sftWeight),
                ])
        case .cpo(let one):
            return with("cpo", ["beta": .number(one.beta), "sft_weight": .number(one.sftWeight)], link(one.link))
        case .kto(let one):
            return with(
                "kto",
                [
                    "beta": .number(one.beta), "desirable_weight": .number(one.desirableWeight),
                    "undesirable_weight": .number(one.undesirableWeight),
                ])
        case .orpo(let one):
            return with(
                "orpo", ["lambda": .number(one.lambda), "likelihood_of": .string(one.likelihoodOf.rawValue)])
        case .rdpo: return ["method": "rdpo"]
        case .slicHF: return ["method": "slic_hf"]
        case .rrhf: return ["method": "rrhf"]
        }
    }
}
