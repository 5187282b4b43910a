package import Chat
internal import Glibc

/// One family of models: which fields of its `config.json` decide what is computed, and what they default to.
struct Family: Sendable {
    enum Bias: Sendable {
        case never, always
        case field(String)
    }

    /// Which layers slide where the file has no list of its own (`layer_types`).
    enum Windows: Sendable {
        case never
        /// All layers, where `sliding_window` is set.
        case everywhere
        /// Layers from `max_window_layers` on, where `use_sliding_window` is true.
        case fromMaxWindowLayers
        /// The even ones.
        case alternating
        /// All but every n-th, n being `sliding_window_pattern`.
        case pattern
    }

    /// The fields that are read besides the sizes, with their defaults.
    var defaults: [String: JSONValue]
    /// What the family calls a field that others call otherwise.
    var spelling: [String: String] = [:]
    var norm: ModelConfiguration.Norm.Kind = .rms
    var isGated = true
    var qkvBias = Bias.never
    var outputBias = Bias.never
    var mlpBias = Bias.never
    var hasQueryKeyNorm = false
    var hasPostNorms = false
    var scalesEmbeddings = false
    /// Attention's scale comes from `query_pre_attn_scalar`, not from the size of a head.
    var hasQueryScalar = false
    var windows = Windows.never
    /// Whether the file's own list of layer types decides; elsewhere it is ignored upstream and must agree.
    var obeysLayerTypes = false
    /// The activation's field, then others that must agree with it.
    var activationFields = ["hidden_act"]
    var scalings: Set<RotaryScaling.Kind> = [.none, .linear, .llama3, .yarn]
    var weightNames = ModelConfiguration.WeightNames.separate

    /// Every `model_type` that is computed here.
    static var names: [String] { all.keys.sorted() }

    /// The table of families; the defaults are those of transformers 4.57.
    static let all: [String: Family] = [
        "llama": Family(
            defaults: rotaryDefaults.adding([
                "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "attention_bias": false, "mlp_bias": false,
                "num_key_value_heads": .null, "bos_token_id": 1, "eos_token_id": 2,
            ]),
            qkvBias: .field("attention_bias"), outputBias: .field("attention_bias"), mlpBias: .field("mlp_bias")),
        "mistral": Family(
            defaults: rotaryDefaults.adding([
                "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6, "num_key_value_heads": 8,
                "sliding_window": 4096, "bos_token_id": 1, "eos_token_id": 2,
            ]),
            windows: .everywhere),
        "qwen2": Family(
            defaults: rotaryDefaults.adding(qwenDefaults),
            qkvBias: .always, windows: .fromMaxWindowLayers, obeysLayerTypes: true),
        "qwen3": Family(
            defaults: rotaryDefaults.adding(qwenDefaults).adding(["head_dim": 128, "attention_bias": false]),
            qkvBias: .field("attention_bias"), outputBias: .field("attention_bias"), hasQueryKeyNorm: true,
            windows: .fromMaxWindowLayers, obeysLayerTypes: true),
        "gemma": Family(
            defaults: rotaryDefaults.adding(gemmaDefaults).adding([
                "max_position_embeddings": 8192, "num_key_value_heads": 16, "hidden_act": "gelu_pytorch_tanh",
                "hidden_activation": .null,
            ]),
            norm: .rmsPlusOne, qkvBias: .field("attention_bias"), outputBias: .field("attention_bias"),
            scalesEmbeddings: true, activationFields: ["hidden_act", "hidden_activation"]),
        "gemma2": Family(
            defaults: rotaryDefaults.adding(gemmaDefaults).adding([
                "max_position_embeddings": 8192, "num_key_value_heads": 4, "hidden_activation": "gelu_pytorch_tanh",
                "hidden_act": .null, "query_pre_attn_scalar": 256, "sliding_window": 4096,
                "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0,
            ]),
            norm: .rmsPlusOne, qkvBias: .field("attention_bias"), outputBias: .field("attention_bias"),
            hasPostNorms: true, scalesEmbeddings: true, hasQueryScalar: true, windows: .alternating,
            obeysLayerTypes: true, activationFields: ["hidden_activation", "hidden_act"]),
        "gemma3_text": Family(
            defaults: rotaryDefaults.adding(gemmaDefaults).adding([
                "max_position_embeddings": 131_072, "num_key_value_heads": 4, "hidden_activation": "gelu_pytorch_tanh",
                "hidden_act": .null, "query_pre_attn_scalar": 256, "sliding_window": 4096,
                "sliding_window_pattern": 6, "_sliding_window_pattern": .null, "final_logit_softcapping": .null,
                "attn_logit_softcapping": .null, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
            ]),
            norm: .rmsPlusOne, qkvBias: .field("attention_bias"), outputBias: .field("attention_bias"),
            hasQueryKeyNorm: true, hasPostNorms: true, scalesEmbeddings: true, hasQueryScalar: true,
            windows: .pattern, obeysLayerTypes: true, activationFields: ["hidden_activation", "hidden_act"]),
        "phi3": Family(
            defaults: rotaryDefaults.adding([
                "max_position_embeddings": 4096, "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
                "num_key_value_heads": .null, "sliding_window": .null, "partial_rotary_factor": 1.0,
                "bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000,
            ]),
            windows: .everywhere, scalings: [.none, .longRope], weightNames: .fused),
        "gpt2": Family(
            defaults: [
                "n_positions": 1024, "n_inner": .null, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
                "scale_attn_weights": true, "tie_word_embeddings": true, "bos_token_id": 50256, "eos_token_id": 50256,
                "pad_token_id": .null,
            ],
            spelling: [
                "hidden_size": "n_embd", "intermediate_size": "n_inner", "num_attention_heads": "n_head",
                "num_hidden_layers": "n_layer", "max_position_embeddings": "n_positions",
                "hidden_act": "activation_function", "rms_norm_eps": "layer_norm_epsilon",
            ],
            norm: .layer, isGated: false, qkvBias: .always, outputBias: .always, mlpBias: .always,
            scalings: [], weightNames: .gpt2),
    ]

    private static let rotaryDefaults: [String: JSONValue] = [
        "hidden_act": "silu", "head_dim": .null, "rope_theta": 10_000.0, "rope_scaling": .null,
        "rope_parameters": .null, "layer_types": .null, "tie_word_embeddings": false, "bos_token_id": .null,
        "eos_token_id": .null, "pad_token_id": .null,
    ]
    private static let qwenDefaults: [String: JSONValue] = [
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "num_key_value_heads": 32,
        "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 28,
    ]
    private static let gemmaDefaults: [String: JSONValue] = [
        "rms_norm_eps": 1e-6, "head_dim": 256, "attention_bias": false, "tie_word_embeddings": true,
        "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
    ]

    /// Sizes have no defaults: a file that lacks one is incomplete.
    static let sizes = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]

    /// Fields that no number depends on: bookkeeping, training, and decoding, which each request states itself.
    static let harmless: Set<String> = [
        "model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path", "name_or_path",
        "_commit_hash", "_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "auto_map",
        "use_cache", "cache_implementation", "initializer_range", "return_dict", "output_hidden_states",
        "output_attentions", "torchscript", "use_bfloat16", "chunk_size_feed_forward", "is_decoder", "tf_legacy_loss",
        "tie_encoder_decoder", "task_specific_params", "problem_type", "finetuning_task", "tokenizer_class", "prefix",
        "sep_token_id", "decoder_start_token_id", "num_labels", "_num_labels", "id2label", "label2id", "n_ctx",
        "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
        "summary_type", "summary_use_proj", "gradient_checkpointing", "is_llama_config", "transformers.js_config",
        "unsloth_fixed", "unsloth_version", "max_sequence_length", "attention_dropout", "hidden_dropout", "resid_pdrop",
        "embd_pdrop",
        "attn_pdrop", "dropout", "max_length", "min_length", "do_sample", "early_stopping", "num_beams",
        "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
        "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
        "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id",
        "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens",
        "begin_suppress_tokens",
    ]

    /// Fields that may change the arithmetic, with the one value that does not.
    static let neutral: [String: JSONValue] = [
        "pretraining_tp": 1, "partial_rotary_factor": 1, "rope_interleaved": false, "is_encoder_decoder": false,
        "add_cross_attention": false, "pruned_heads": [:], "scale_attn_by_inverse_layer_idx": false,
        "use_bidirectional_attention": false, "attention_bias": false, "mlp_bias": false, "lm_head_bias": false,
        "use_sliding_window": false, "use_mrope": false, "full_attn_mod": 1, "interpolate_factor": 1,
    ]
}

extension Dictionary {
    fileprivate func adding(_ other: Self) -> Self { merging(other) { $1 } }
}

/// The fields of one `config.json`, read by the rules of its family.
struct ConfigurationFields {
    let path: String
    let modelType: String
    let family: Family
    private let given: [String: JSONValue]

    /// - Throws: `unsupported` naming an unknown family or a field whose effect is not known.
    init(_ object: JSONObject, path: String) throws(CheckpointError) {
        self.path = path
        guard let modelType = object["model_type"]?.string else {
            throw .unsupported(path: path, field: "model_type", problem: "is missing; it names the family of the model")
        }
        guard let family = Family.all[modelType] else {
            let known = Family.all.keys.sorted().joined(separator: ", ")
            throw .unsupported(
                path: path, field: "model_type",
                problem: "is \"\(modelType.abridged)\", which is not computed here. The families are: \(known)")
        }
        self.modelType = modelType
        self.family = family
        given = Dictionary(uniqueKeysWithValues: object.members.map { ($0.key, $0.value) })
        for member in object.members { try checkKnown(member) }
        try checkArchitectures()
    }

    private func checkKnown(_ member: JSONObject.Member) throws(CheckpointError) {
        let (key, value) = (member.key, member.value)
        let isRead = family.defaults[key] != nil || Family.sizes.contains { spelled($0) == key }
        if isRead || Family.harmless.contains(key) || value.isNull { return }
        if let neutral = Family.neutral[key] {
            if value == neutral || (value.number != nil && value.number == neutral.number) { return }
            throw fault(key, "is \(text(value)), and only \(text(neutral)) is computed for \(modelType) models")
        }
        if key == "quantization_config" {
            throw fault(
                key,
                "says that the weights are quantized. Take the original checkpoint, or save this one dequantized "
                    + "in bfloat16")
        }
        throw fault(
            key,
            "is not a field that is known for \(modelType) models, and it may change what they compute. If it "
                + "does not, remove it from a copy of the file")
    }

    private func checkArchitectures() throws(CheckpointError) {
        guard let value = given["architectures"], !value.isNull else { return }
        let names = (value.array ?? []).compactMap(\.string)
        guard names.contains(where: { $0.hasSuffix("ForCausalLM") || $0.hasSuffix("LMHeadModel") }) else {
            throw fault(
                "architectures", "is \(text(value)); a model that writes text (…ForCausalLM) is expected")
        }
    }

    private func spelled(_ field: String) -> String { family.spelling[field] ?? field }

    /// What the file says, or else the family's default; null where there is neither.
    private func value(_ field: String) -> JSONValue {
        let name = spelled(field)
        return given[name] ?? family.defaults[name] ?? .null
    }

    func fault(_ field: String, _ problem: String) -> CheckpointError {
        .unsupported(path: path, field: spelled(field).abridged, problem: problem)
    }

    func text(_ value: JSONValue) -> String { value.text().abridged }

    /// Whether the file itself has the field, with a value.
    func states(_ field: String) -> Bool { given[spelled(field)].map { !$0.isNull } ?? false }

    func optionalInteger(_ field: String, _ range: ClosedRange<Int>) throws(CheckpointError) -> Int? {
        let value = value(field)
        if value.isNull { return nil }
        guard case .integer(let number) = value, range.contains(number) else {
            throw fault(
                field, "is \(text(value)); a whole number from \(range.lowerBound) to \(range.upperBound) is expected")
        }
        return number
    }

    func integer(_ field: String, _ range: ClosedRange<Int>) throws(CheckpointError) -> Int {
        guard let number = try optionalInteger(field, range) else {
            throw fault(field, "is missing; a \(modelType) model cannot be read without it")
        }
        return number
    }

    func optionalNumber(_ field: String, _ range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
        let value = value(field)
        if value.isNull { return nil }
        guard let number = value.number, range.contains(number) else {
            throw fault(
                field, "is \(text(value)); a number from \(range.lowerBound) to \(range.upperBound) is expected")
        }
        return number
    }

    func number(_ field: String, _ range: ClosedRange<Double>) throws(CheckpointError) -> Double {
        guard let number = try optionalNumber(field, range) else { throw fault(field, "is null; a number is expected") }
        return number
    }

    func bool(_ field: String) throws(CheckpointError) -> Bool {
        let value = value(field)
        guard let bool = value.bool else { throw fault(field, "is \(text(value)); true or false is expected") }
        return bool
    }

    func optionalObject(_ field: String) throws(CheckpointError) -> JSONObject? {
        let value = value(field)
        if value.isNull { return nil }
        guard let object = value.object else { throw fault(field, "is \(text(value)); an object is expected") }
        return object
    }

    func optionalTexts(_ field: String) throws(CheckpointError) -> [String]? {
        let value = value(field)
        if value.isNull { return nil }
        let texts = value.array?.compactMap(\.string)
        guard let texts, texts.count == value.array?.count else {
            throw fault(field, "is \(text(value)); a list of texts is expected")
        }
        return texts
    }

    func activation() throws(CheckpointError) -> ModelConfiguration.Activation {
        var first: ModelConfiguration.Activation?
        for field in family.activationFields {
            let value = value(field)
            if value.isNull { continue }
            let activation: ModelConfiguration.Activation
            switch value.string {
            case "silu", "swish": activation = .silu
            case "gelu_pytorch_tanh", "gelu_new", "gelu_fast": activation = .geluTanh
            default:
                throw fault(
                    field, "is \(text(value)); silu and the tanh forms of gelu (gelu_pytorch_tanh) are computed")
            }
            if let first, first != activation {
                throw fault(field, "contradicts \"\(spelled(family.activationFields[0]))\"")
            }
            first = activation
        }
        guard let first else { throw fault(family.activationFields[0], "is missing; it names the activation") }
        return first
    }

    func has(_ bias: Family.Bias) throws(CheckpointError) -> Bool {
        switch bias {
        case .never: false
        case .always: true
        case .field(let field): try bool(field)
        }
    }

    /// Token ids, one or a list; those outside the vocabulary, which can be neither read nor written, are left out.
    func tokens(_ field: String, vocabularySize: Int) throws(CheckpointError) -> [Int32] {
        do {
            return try TokenIDs.parse(value(field)).filter { $0 >= 0 && $0 < vocabularySize }
        } catch {
            throw fault(field, error.problem)
        }
    }
}

/// Ids as the configuration files write them.
enum TokenIDs {
    struct Fault: Error { let problem: String }

    /// None, one, or a list.
    static func parse(_ value: JSONValue) throws(Fault) -> [Int32] {
        if value.isNull { return [] }
        var ids: [Int32] = []
        for item in value.array ?? [value] {
            guard case .integer(let number) = item, let id = Int32(exactly: number) else {
                throw Fault(problem: "is not a token id or a list of token ids")
            }
            if !ids.contains(id) { ids.append(id) }
        }
        return ids
    }
}

extension ModelConfiguration {
    static let mostLayers = 1024
    static let longestContext = 1 << 24

    /// Reads a `config.json`.
    ///
    /// Gemma's embedding scale is the plain root here; in bfloat16 arithmetic the reference implementation rounds it
    /// to that type first.
    ///
    /// - Parameter path: for error messages.
    /// - Throws: `unsupported` naming the field: a family or a setting that is not computed here, a field that is not
    ///   known, a size that is missing or out of bounds.
    package init(_ object: JSONObject, path: String) throws(CheckpointError) {
        let fields = try ConfigurationFields(object, path: path)
        let family = fields.family
        modelType = fields.modelType
        weightNames = family.weightNames
        vocabularySize = try fields.integer("vocab_size", 1...1 << 24)
        hiddenSize = try fields.integer("hidden_size", 2...1 << 17)
        headCount = try fields.integer("num_attention_heads", 1...1 << 12)
        keyValueHeadCount = try fields.optionalInteger("num_key_value_heads", 1...headCount) ?? headCount
        headSize = try Self.headSize(fields, hiddenSize: hiddenSize, headCount: headCount)
        contextLength = try fields.integer("max_position_embeddings", 1...Self.longestContext)
        intermediateSize = try Self.intermediateSize(fields, hiddenSize: hiddenSize)
        try Self.checkSizes(fields, hiddenSize, intermediateSize, headCount, keyValueHeadCount)

        norm = Norm(kind: family.norm, epsilon: Float(try fields.number("rms_norm_eps", 0...1)))
        activation = try fields.activation()
        isGated = family.isGated
        hasQKVBias = try fields.has(family.qkvBias)
        hasOutputBias = try fields.has(family.outputBias)
        hasMLPBias = try fields.has(family.mlpBias)
        hasQueryKeyNorm = family.hasQueryKeyNorm
        hasPostNorms = family.hasPostNorms
        embeddingScale = family.scalesEmbeddings ? Float(Double(hiddenSize).squareRoot()) : 1
        attentionScale = try Self.attentionScale(fields, headSize: headSize)
        attentionSoftcap = try fields.optionalNumber("attn_logit_softcapping", 1e-3...1e6).map { Float($0) }
        finalSoftcap = try fields.optionalNumber("final_logit_softcapping", 1e-3...1e6).map { Float($0) }
        isTied = try fields.bool("tie_word_embeddings")

        layers = try Self.layers(fields, count: try fields.integer("num_hidden_layers", 1...Self.mostLayers))
        if family.scalings.isEmpty {
            positions = .learned
            positionLimit = contextLength
        } else {
            let reader = RotaryReader(fields: fields, headSize: headSize, contextLength: contextLength)
            positions = .rotary(try reader.tables())
            positionLimit = try reader.positionLimit()
            contextLength = positionLimit ?? contextLength
        }

        beginToken = try fields.tokens("bos_token_id", vocabularySize: vocabularySize).first
        endTokens = try fields.tokens("eos_token_id", vocabularySize: vocabularySize)
        padToken = try fields.tokens("pad_token_id", vocabularySize: vocabularySize).first
    }

    private static func headSize(
        _ fields: ConfigurationFields, hiddenSize: Int, headCount: Int
    ) throws(CheckpointError) -> Int {
        if let size = try fields.optionalInteger("head_dim", 2...1 << 14) {
            guard size % 2 == 0 else { throw fields.fault("head_dim", "is \(size); an even number is expected") }
            return size
        }
        guard hiddenSize % headCount == 0, hiddenSize / headCount % 2 == 0 else {
            throw fields.fault(
                "hidden_size", "is \(hiddenSize), which \(headCount) heads do not divide into even sizes")
        }
        return hiddenSize / headCount
    }

    private static func intermediateSize(
        _ fields: ConfigurationFields, hiddenSize: Int
    ) throws(CheckpointError) -> Int {
        // GPT-2 alone leaves it to be derived; the others must state it.
        if !fields.family.isGated, !fields.states("intermediate_size") { return 4 * hiddenSize }
        return try fields.integer("intermediate_size", 2...1 << 20)
    }

    private static func checkSizes(
        _ fields: ConfigurationFields, _ hidden: Int, _ intermediate: Int, _ heads: Int, _ keyValueHeads: Int
    ) throws(CheckpointError) {
        for (field, size) in [("hidden_size", hidden), ("intermediate_size", intermediate)] where size % 2 != 0 {
            throw fields.fault(field, "is \(size); an even number is expected")
        }
        guard heads % keyValueHeads == 0 else {
            throw fields.fault("num_key_value_heads", "is \(keyValueHeads), which does not divide \(heads) heads")
        }
    }

    private static func attentionScale(
        _ fields: ConfigurationFields, headSize: Int
    ) throws(CheckpointError) -> Float {
        if fields.family.weightNames == .gpt2, !(try fields.bool("scale_attn_weights")) { return 1 }
        let scalar = fields.family.hasQueryScalar ? try fields.number("query_pre_attn_scalar", 1e-6...1e9) : nil
        return Float(pow(scalar ?? Double(headSize), -0.5))
    }

    private static func layers(_ fields: ConfigurationFields, count: Int) throws(CheckpointError) -> [Layer] {
        let window = try slidingWindow(fields)
        let derived = try slidingLayers(fields, count: count, hasWindow: window != nil)
        let slides = try listedLayers(fields, derived: derived) ?? derived
        if window == nil, slides.contains(true) {
            throw fields.fault("layer_types", "names sliding layers, but no sliding window is set")
        }
        let hasLocalTable = fields.family.defaults["rope_local_base_freq"] != nil
        return slides.map { Layer(window: $0 ? window : nil, rotary: $0 && hasLocalTable ? 1 : 0) }
    }

    private static func slidingWindow(_ fields: ConfigurationFields) throws(CheckpointError) -> Int? {
        let isUsed: Bool
        switch fields.family.windows {
        case .never: isUsed = false
        case .everywhere, .alternating, .pattern: isUsed = true
        case .fromMaxWindowLayers: isUsed = try fields.bool("use_sliding_window")
        }
        return isUsed ? try fields.optionalInteger("sliding_window", 1...longestContext) : nil
    }

    private static func slidingLayers(
        _ fields: ConfigurationFields, count: Int, hasWindow: Bool
    ) throws(CheckpointError) -> [Bool] {
        switch fields.family.windows {
        case .never: return [Bool](repeating: false, count: count)
        case .everywhere: return [Bool](repeating: hasWindow, count: count)
        case .fromMaxWindowLayers:
            let first = try fields.integer("max_window_layers", 0...Int(Int32.max))
            return (0..<count).map { hasWindow && $0 >= first }
        case .alternating: return (0..<count).map { $0 % 2 == 0 }
        case .pattern:
            let stride = try fields.integer("sliding_window_pattern", 1...Int(Int32.max))
            return (0..<count).map { ($0 + 1) % stride != 0 }
        }
    }

    private static func listedLayers(
        _ fields: ConfigurationFields, derived: [Bool]
    ) throws(CheckpointError) -> [Bool]? {
        guard let types = try fields.optionalTexts("layer_types") else { return nil }
        guard types.count == derived.count else {
            throw fields.fault("layer_types", "has \(types.count) entries for \(derived.count) layers")
        }
        var slides: [Bool] = []
        for type in types {
            guard type == "sliding_attention" || type == "full_attention" else {
                throw fields.fault(
                    "layer_types", "has \"\(type.abridged)\"; full_attention and sliding_attention are computed")
            }
            slides.append(type == "sliding_attention")
        }
        guard slides == derived || fields.family.obeysLayerTypes else {
            throw fields.fault("layer_types", "contradicts \"sliding_window\"")
        }
        return slides
    }
}

extension ModelConfiguration {
    /// Every `model_type` that is computed here, in order of name.
    package static var knownTypes: [String] { Family.names }
}
