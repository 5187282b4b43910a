internal import Chat
internal import Glibc
package import LanguageModel

/// How low-rank adapters are made: W' = W + scale · B A (Hu et al. 2021, arXiv 2106.09685, section 4.1), in the field
/// names of PEFT.
package struct LoRASettings: Codable, Hashable, Sendable {
    /// Rows of A and columns of B.
    package var rank: Int
    package var alpha: Double
    /// The chance that an input of A is left out of a step, which means nothing afterwards; only with 0 is trained here.
    package var dropout: Double
    /// The last components of the names of the layers that are adapted (`q_proj`), or more of them; empty means every
    /// linear layer but the output projection.
    package var targetModules: [String]
    /// Divides alpha by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732) instead of the rank.
    package var usesRSLoRA: Bool

    package init(
        rank: Int, alpha: Double, dropout: Double = 0, targetModules: [String] = [], usesRSLoRA: Bool = false
    ) {
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targetModules = targetModules
        self.usesRSLoRA = usesRSLoRA
    }

    enum CodingKeys: String, CodingKey {
        case rank = "r"
        case alpha = "lora_alpha"
        case dropout = "lora_dropout"
        case targetModules = "target_modules"
        case usesRSLoRA = "use_rslora"
    }

    /// What B A is multiplied by.
    package var scale: Double { alpha / (usesRSLoRA ? Double(rank).squareRoot() : Double(rank)) }

    /// - Throws: `TrainingError.configuration` naming the first field that makes no sense.
    package func checked() throws(TrainingError) {
        guard (1...LoRASettings.largestRank).contains(rank) else {
            throw .configuration("r is \(rank): the rank of an adapter is 1 to \(LoRASettings.largestRank), often 16")
        }
        guard alpha.isFinite, alpha > 0 else {
            throw .configuration("lora_alpha is \(alpha): it should be above 0, often once or twice r")
        }
    }

    /// The same, of an adapter that is to be trained.
    package func checkedForTraining() throws(TrainingError) {
        try checked()
        guard dropout == 0 else {
            throw .configuration("lora_dropout is \(dropout): adapters are trained without dropout here; set it to 0")
        }
    }

    static let largestRank = 65_536

    /// The adapters' tensors in order of name, called after the layer they adapt: `lora_A` (rank, inputs) and `lora_B`
    /// (outputs, rank).
    ///
    /// - Throws: `TrainingError.configuration` for a target that the model does not have, or that cannot have an
    ///   adapter.
    package func shapes(for model: ModelConfiguration) throws(TrainingError) -> [(name: String, shape: [Int])] {
        let layers = LinearLayer.all(of: model)
        for target in targetModules where !layers.contains(where: { $0.isNamed(target) }) {
            let known = Set(layers.map(\.kind)).sorted().joined(separator: ", ")
            throw .configuration(
                "target_modules names \"\(target)\", which is no layer of this model that can have an adapter; "
                    + "it has \(known)")
        }
        let targets = layers.filter { layer in
            targetModules.isEmpty || targetModules.contains { layer.isNamed($0) }
        }
        let both = targets.flatMap { layer in
            [
                (name: "\(layer.name).lora_A.weight", shape: [rank, layer.inputs]),
                (name: "\(layer.name).lora_B.weight", shape: [layer.outputs, rank]),
            ]
        }
        return both.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

extension LoRASettings {
    /// Reads PEFT's fields; those that have a default there may be missing.
    package init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            rank: try fields.decode(Int.self, forKey: .rank), alpha: try fields.decode(Double.self, forKey: .alpha),
            dropout: try fields.decodeIfPresent(Double.self, forKey: .dropout) ?? 0,
            targetModules: try fields.decodeIfPresent([String].self, forKey: .targetModules) ?? [],
            usesRSLoRA: try fields.decodeIfPresent(Bool.self, forKey: .usesRSLoRA) ?? false)
    }
}

/// A matrix of a model's layers that can have an adapter.
private struct LinearLayer {
    /// As the rest of the program names it, without `.weight`.
    var name: String
    var inputs: Int
    var outputs: Int

    var kind: String { name.split(separator: ".").last.map(String.init) ?? name }

    /// Whether a target of PEFT means this layer: its name, or the end of it after a point.
    func isNamed(_ target: String) -> Bool { name == target || name.hasSuffix(".\(target)") }

    static func all(of model: ModelConfiguration) -> [LinearLayer] {
        // Embeddings and the output projection stand outside the layers.
        let isInLayer = { (name: String) in
            name.hasPrefix("model.layers.") || LoRAAdapterFile.isGPT2(name)
        }
        let suffix = ".weight"
        return model.expectedShapes.filter { isInLayer($0.key) && $0.value.count == 2 && $0.key.hasSuffix(suffix) }.map
        {
            let isTransposed = model.weightNames == .gpt2
            return LinearLayer(
                name: String($0.key.dropLast(suffix.count)), inputs: $0.value[isTransposed ? 0 : 1],
                outputs: $0.value[isTransposed ? 1 : 0])
        }
    }
}

/// Adapters in PEFT's layout: a folder with `adapter_config.json` and `adapter_model.safetensors`.
package struct LoRAAdapterFile: Hashable, Sendable {
    package var settings: LoRASettings
    /// In the order of `LoRASettings.shapes`.
    package var tensors: [Tensor]

    package struct Tensor: Hashable, Sendable {
        /// After the layer, as the rest of the program names it: `model.layers.0.self_attn.q_proj.lora_A.weight`.
        package var name: String
        package var shape: [Int]
        /// Row after row.
        package var values: [Float]
    }

    /// Reads the adapters of a model.
    ///
    /// - Throws: `TrainingError.missingInput` where a file is not there; `.badData` where one is damaged, has fields
    ///   that ask for what is not computed here, or does not fit the model.
    package init(folder: String, for model: ModelConfiguration) throws(TrainingError) {
        settings = try LoRASettings(file: "\(folder)/adapter_config.json")
        tensors = try LoRAAdapterFile.tensors("\(folder)/adapter_model.safetensors", settings, model)
    }

    private static func tensors(
        _ path: String, _ settings: LoRASettings, _ model: ModelConfiguration
    ) throws(TrainingError) -> [Tensor] {
        let expected: [(name: String, shape: [Int])]
        do {
            expected = try settings.shapes(for: model)
        } catch {
            throw .badData("\(path): \(error)")
        }
        let file: SafetensorsFile
        do {
            file = try SafetensorsFile(path: path)
        } catch {
            throw TrainingFiles.exists(path) ? .badData("\(error)") : .missingInput("\(error)")
        }
        var stored = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
        var tensors: [Tensor] = []
        for (name, shape) in expected {
            guard let tensor = stored.removeValue(forKey: storedName(name)) else {
                throw .badData("\(path) has no tensor \"\(storedName(name))\", which adapter_config.json asks for")
            }
            guard tensor.shape == shape, tensor.dataType.isWeight else {
                throw .badData(
                    "\(path): \"\(tensor.name)\" has the shape \(tensor.shape) and the type "
                        + "\(tensor.dataType.rawValue), but r and this base model ask for \(shape) in F32, BF16 or "
                        + "F16. Was the adapter made for another base?")
            }
            let values = [Float](unsafeUninitializedCapacity: tensor.elementCount) { buffer, count in
                count = tensor.elementCount
                if let start = buffer.baseAddress { tensor.widen(first: 0, count: count, into: start) }
            }
            tensors.append(Tensor(name: name, shape: shape, values: values))
        }
        if let other = stored.values.map(\.name).min() {
            throw .badData("\(path) has the tensor \"\(other)\", which is no adapter of a layer in target_modules")
        }
        return tensors
    }

    /// Writes the adapters of a store, in f32; the configuration comes last, so that a folder that looks like an
    /// adapter is one.
    ///
    /// - Parameters:
    ///   - adapters: the tensors that `LoRASettings.shapes` names.
    ///   - base: the checkpoint that the adapters belong to.
    /// - Throws: `TrainingError.inputOutput`.
    package static func write(
        _ adapters: ParameterStore, _ settings: LoRASettings, base: String, to folder: String
    ) throws(TrainingError) {
        let tensors = adapters.parameters.enumerated().map { index, parameter in
            SafetensorsWriter.Tensor(
                name: storedName(parameter.name), shape: parameter.shape, dataType: .f32,
                rows: UnsafePointer(adapters.value(index)), rowStride: parameter.stride)
        }
        try TrainingFiles.makeFolder(folder)
        do {
            try SafetensorsWriter.write(tensors, to: "\(folder)/adapter_model.safetensors")
        } catch {
            throw .inputOutput("\(error)")
        }
        let text = settings.peft(base: base, names: adapters.parameters.map(\.name)).serialized(.indented(2))
        try TrainingFiles.write(text, to: "\(folder)/adapter_config.json")
    }

    /// The same, of the tensors read or made here.
    package func write(base: String, to folder: String) throws(TrainingError) {
        try LoRAAdapterFile.write(store, settings, base: base, to: folder)
    }

    /// The tensors side by side, frozen.
    package var store: ParameterStore {
        let store = ParameterStore(tensors.map { (name: $0.name, shape: $0.shape) }, isTrained: false)
        for (index, tensor) in tensors.enumerated() { store.fill(index, from: tensor.values) }
        return store
    }

    /// Whether the folder holds an adapter and no model.
    package static func isAdapter(_ folder: String) -> Bool {
        TrainingFiles.exists("\(folder)/adapter_config.json") && !TrainingFiles.exists("\(folder)/config.json")
    }

    /// The checkpoint that the adapter in the folder says it belongs to; nil where it says none.
    package static func base(of folder: String) throws(TrainingError) -> String? {
        try LoRASettings.object("\(folder)/adapter_config.json")["base_model_name_or_path"]?.string
    }

    /// PEFT wraps a model, and GPT-2's is wrapped with its head.
    private static func storedName(_ name: String) -> String {
        "base_model.model." + (isGPT2(name) ? "transformer." : "") + name
    }

    /// By the name of a layer or of its tensor.
    static func isGPT2(_ name: some StringProtocol) -> Bool { name.hasPrefix("h.") }
}

extension ParameterStore {
    /// Sets a tensor from its elements, row after row.
    package func fill(_ index: Int, from values: [Float]) {
        let parameter = parameters[index]
        precondition(values.count == parameter.rows * parameter.columns, "\(values.count) values for \(parameter)")
        values.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            for row in 0..<parameter.rows {
                (value(index) + row * parameter.stride).update(
                    from: start + row * parameter.columns, count: parameter.columns)
            }
        }
    }
}

// MARK: adapter_config.json

extension LoRASettings {
    /// Fields that change what is computed where they hold anything.
    private static let refused = [
        "alpha_pattern", "rank_pattern", "layers_to_transform", "layers_pattern", "layer_replication",
        "modules_to_save",
        "exclude_modules", "target_parameters", "trainable_token_indices", "use_dora", "use_qalora", "lora_bias",
        "alora_invocation_tokens",
    ]

    /// Reads `adapter_config.json`.
    fileprivate init(file path: String) throws(TrainingError) {
        let object = try LoRASettings.object(path)
        func field(_ key: CodingKeys) -> JSONValue? { object[key.rawValue] }
        func wrong(_ key: CodingKeys, _ expected: String) -> TrainingError {
            .badData("\(path): \(key.rawValue) is \(field(key)?.text() ?? "missing"); \(expected) is expected")
        }
        guard let rank = field(.rank)?.integer else { throw wrong(.rank, "a whole number") }
        guard let alpha = field(.alpha)?.number else { throw wrong(.alpha, "a number") }
        guard let dropout = (field(.dropout) ?? 0).number else { throw wrong(.dropout, "0") }
        guard let usesRSLoRA = (field(.usesRSLoRA) ?? false).bool else { throw wrong(.usesRSLoRA, "true or false") }
        guard let targets = LoRASettings.targets(field(.targetModules)) else {
            throw wrong(.targetModules, "a list of layer names")
        }
        self.init(rank: rank, alpha: alpha, dropout: dropout, targetModules: targets, usesRSLoRA: usesRSLoRA)
        do {
            try checked()
        } catch {
            throw .badData("\(path): \(error)")
        }
    }

    /// The object in the file, where it asks for plain LoRA.
    fileprivate static func object(_ path: String) throws(TrainingError) -> JSONObject {
        let bytes = try TrainingFiles.read(path)
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw .badData("\(path) is not valid JSON: \(error.description)")
        }
        guard let object = value.object else { throw .badData("\(path): an object is expected, not \(value.kind)") }
        guard object["peft_type"]?.string == "LORA" else {
            throw .badData("\(path): peft_type is \(object["peft_type"]?.text() ?? "missing"); LORA alone is read here")
        }
        for key in refused where !isNothing(object[key]) {
            throw .badData("\(path): \(key) is \(object[key]?.text() ?? ""), which is not computed here; plain LoRA is")
        }
        if let bias = object["bias"], bias != "none" {
            throw .badData("\(path): bias is \(bias.text()); adapters with trained biases are not computed here")
        }
        // Others (pissa, olora, loftq …) mean a base whose weights were changed.
        if let method = object["init_lora_weights"], method.bool == nil, method != "gaussian" {
            throw .badData(
                "\(path): init_lora_weights is \(method.text()), whose adapters need a changed base; convert it to plain "
                    + "LoRA with PEFT's save_pretrained(path_initial_model_for_weight_conversion=…)")
        }
        return object
    }

    private static func isNothing(_ value: JSONValue?) -> Bool {
        switch value {
        case nil, .null?, .bool(false)?: true
        case .array(let values)?: values.isEmpty
        case .object(let object)?: object.members.isEmpty
        case .string(let text)?: text.isEmpty
        case .bool(true)?, .integer?, .number?: false
        }
    }

    /// Nil where they are not a list of names: PEFT takes a text for a regular expression, but for this one.
    private static func targets(_ value: JSONValue?) -> [String]? {
        if value == "all-linear" { return [] }
        guard let values = value?.array, !values.isEmpty else { return nil }
        let names = values.compactMap(\.string)
        return names.count == values.count ? names : nil
    }

    /// What PEFT writes for plain LoRA.
    fileprivate func peft(base: String, names: [String]) -> JSONValue {
        let kinds = Set(names.compactMap { $0.split(separator: ".").dropLast(2).last.map(String.init) })
        let targets = targetModules.isEmpty ? kinds.sorted() : targetModules
        return [
            "alpha_pattern": [:], "auto_mapping": .null, "base_model_name_or_path": .string(base), "bias": "none",
            "fan_in_fan_out": .bool(names.contains { LoRAAdapterFile.isGPT2($0) }), "inference_mode": true,
            "init_lora_weights": true, "layer_replication": .null, "layers_pattern": .null,
            "layers_to_transform": .null, "loftq_config": [:],
            CodingKeys.alpha.rawValue: Int(exactly: alpha).map { .integer($0) } ?? .number(alpha),
            CodingKeys.dropout.rawValue: .number(dropout), "megatron_config": .null,
            "megatron_core": "megatron.core", "modules_to_save": .null, "peft_type": "LORA",
            CodingKeys.rank.rawValue: .integer(rank), "rank_pattern": [:], "revision": .null,
            CodingKeys.targetModules.rawValue: .array(targets.map { .string($0) }), "task_type": "CAUSAL_LM",
            "use_dora": false, CodingKeys.usesRSLoRA.rawValue: .bool(usesRSLoRA),
        ]
    }
}
