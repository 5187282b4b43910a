import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing

/// The least that a `config.json` of a family with rotary embeddings must say, and changes to it; nil removes a field.
func configuration(_ modelType: String, _ changes: [String: JSONValue?] = [:]) throws -> ModelConfiguration {
    var object: JSONObject = [
        "model_type": .string(modelType), "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
        "head_dim": 8,
    ]
    for (key, value) in changes { object[key] = value }
    return try ModelConfiguration(object, path: "config.json")
}

struct ConfigurationTests {
    @Test func `Llama's fields and defaults`() throws {
        let plain = try configuration("llama", ["num_key_value_heads": nil, "head_dim": nil])
        #expect(plain.keyValueHeadCount == 4)
        #expect(plain.headSize == 8)
        #expect(plain.norm.kind == .rms && plain.norm.epsilon == 1e-6)
        #expect(plain.activation == .silu)
        #expect(plain.attentionScale == 0.35355338)
        #expect(plain.embeddingScale == 1)
        #expect(!plain.hasQKVBias && !plain.hasOutputBias && !plain.hasMLPBias && !plain.isTied && plain.isGated)
        #expect(plain.layers.map(\.window) == [nil, nil, nil, nil] && plain.layers.map(\.rotary) == [0, 0, 0, 0])
        #expect(plain.beginToken == 1 && plain.endTokens == [2] && plain.padToken == nil)

        let biased = try configuration(
            "llama",
            [
                "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true, "head_dim": 16,
                "eos_token_id": [5, 6, 5, 900], "pad_token_id": -1, "rms_norm_eps": 1e-5, "pretraining_tp": 1,
                "torch_dtype": "bfloat16", "attention_dropout": 0.5, "rope_interleaved": false, "a_new_field": .null,
            ])
        #expect(biased.hasQKVBias && biased.hasOutputBias && biased.hasMLPBias && biased.isTied)
        #expect(biased.headSize == 16 && biased.attentionScale == 0.25)
        #expect(biased.endTokens == [5, 6] && biased.padToken == nil)
    }

    @Test func `Windows of every family`() throws {
        func windows(_ family: String, _ changes: [String: JSONValue?]) throws -> [Int?] {
            try configuration(family, changes).layers.map(\.window)
        }
        #expect(try windows("mistral", ["sliding_window": 8]) == [8, 8, 8, 8])
        #expect(try windows("mistral", ["sliding_window": .null]) == [nil, nil, nil, nil])
        #expect(try windows("mistral", [:]) == [4096, 4096, 4096, 4096])
        #expect(try windows("phi3", ["sliding_window": 10]) == [10, 10, 10, 10])
        #expect(try windows("phi3", [:]) == [nil, nil, nil, nil])
        #expect(try windows("qwen2", ["sliding_window": 6]) == [nil, nil, nil, nil])
        for family in ["qwen2", "qwen3"] {
            let on: [String: JSONValue?] = ["use_sliding_window": true, "sliding_window": 6, "max_window_layers": 3]
            #expect(try windows(family, on) == [nil, nil, nil, 6])
            let list: [JSONValue] = ["sliding_attention", "full_attention", "full_attention", "full_attention"]
            #expect(try windows(family, on.merging(["layer_types": .array(list)]) { $1 }) == [6, nil, nil, nil])
        }
        #expect(try windows("gemma2", ["sliding_window": 5]) == [5, nil, 5, nil])
        #expect(try windows("gemma3_text", ["sliding_window": 5, "sliding_window_pattern": 3]) == [5, 5, nil, 5])
        #expect(try windows("gemma3_text", ["sliding_window": 5]) == [5, 5, 5, 5])
        #expect(try windows("gemma", [:]) == [nil, nil, nil, nil])
    }

    @Test func `Gemma's own numbers`() throws {
        let first = try configuration("gemma", ["head_dim": nil])
        #expect(first.headSize == 256 && first.attentionScale == 0.0625 && first.isTied)
        #expect(first.norm.kind == .rmsPlusOne && first.activation == .geluTanh && !first.hasPostNorms)
        #expect(first.embeddingScale == 5.656854 && first.attentionSoftcap == nil && first.finalSoftcap == nil)

        let second = try configuration("gemma2", ["query_pre_attn_scalar": 24])
        #expect(second.attentionScale == 0.20412415)
        #expect(second.attentionSoftcap == 50 && second.finalSoftcap == 30)
        #expect(second.hasPostNorms && !second.hasQueryKeyNorm && second.isTied)
        let uncapped = try configuration("gemma2", ["attn_logit_softcapping": .null, "final_logit_softcapping": .null])
        #expect(uncapped.attentionSoftcap == nil && uncapped.finalSoftcap == nil)

        let third = try configuration(
            "gemma3_text",
            [
                "sliding_window_pattern": 2, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
                "rope_scaling": ["rope_type": "linear", "factor": 8.0],
            ])
        #expect(third.hasPostNorms && third.hasQueryKeyNorm && third.finalSoftcap == nil)
        #expect(third.layers.map(\.rotary) == [1, 0, 1, 0])
        guard case .rotary(let tables) = third.positions else { return #expect(Bool(false), "no tables") }
        #expect(tables.map(\.inverseFrequencies[1]) == [0.0316227786 / 8, 0.1])
    }

    @Test func `GPT-2 in its own spelling`() throws {
        let object: JSONObject = [
            "model_type": "gpt2", "vocab_size": 128, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64,
            "n_inner": .null, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_ctx": 64,
            "scale_attn_weights": true, "resid_pdrop": 0.1,
        ]
        let plain = try ModelConfiguration(object, path: "config.json")
        #expect(plain.intermediateSize == 128 && plain.headSize == 8 && plain.keyValueHeadCount == 4)
        #expect(plain.positions == .learned && plain.weightNames == .gpt2 && plain.norm.kind == .layer && plain.isTied)
        #expect(plain.hasQKVBias && plain.hasOutputBias && plain.hasMLPBias && !plain.isGated)
        #expect(plain.beginToken == nil && plain.endTokens.isEmpty)  // 50256 is outside this vocabulary
        var changed = object
        changed["n_inner"] = 48
        changed["scale_attn_weights"] = false
        #expect(try ModelConfiguration(changed, path: "config.json").intermediateSize == 48)
        #expect(try ModelConfiguration(changed, path: "config.json").attentionScale == 1)
        changed["scale_attn_by_inverse_layer_idx"] = true
        #expect(throws: CheckpointError.self) { try ModelConfiguration(changed, path: "config.json") }
    }

    /// From transformers 4.57.6 with torch 2.15 (`ROPE_INIT_FUNCTIONS`), in nine digits.
    @Test(
        arguments: [
            ([:], [1, 0.100000001, 0.00999999978, 0.00100000005], 1),
            (
                ["rope_scaling": ["type": "linear", "factor": 2.0]],
                [0.5, 0.0500000007, 0.00499999989, 0.000500000024], 1
            ),
            (
                [
                    "rope_theta": 500_000,
                    "rope_scaling": [
                        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 64,
                    ],
                ],
                [1, 0.00470075384, 0.000176776681, 6.64786967e-06], 1
            ),
            (
                [
                    "head_dim": 16,
                    "rope_scaling": [
                        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 128,
                    ],
                ],
                [
                    1, 0.316227764, 0.0427511781, 0.00395284733, 0.00124999997, 0.000395284733, 0.000125000006,
                    3.95284733e-05,
                ], 1
            ),
            (
                [
                    "head_dim": 16,
                    "rope_scaling": [
                        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048,
                        "truncate": false, "attention_factor": 1.5,
                    ],
                ],
                [
                    1, 0.316227764, 0.100000001, 0.0238701962, 0.00505697168, 0.000811290462, 0.000250000012,
                    7.90569466e-05,
                ], 1.5
            ),
            (
                ["rope_scaling": ["rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32]],
                [1, 0.0250000004, 0.00249999994, 0.000250000012], 1.138629436111989
            ),
            (
                [
                    "rope_theta": 1e6, "head_dim": 16, "max_position_embeddings": 32768,
                    "rope_scaling": [
                        "rope_type": "yarn", "factor": 4.0, "beta_fast": 24, "beta_slow": 2, "mscale": 1.0,
                        "mscale_all_dim": 0.8, "original_max_position_embeddings": 8192,
                    ],
                ],
                [
                    1, 0.177827939, 0.0316227786, 0.00351463328, 0.000250000012, 4.44569851e-05, 7.90569356e-06,
                    1.40585337e-06,
                ], 1.0249579607969668
            ),
        ] as [([String: JSONValue], [Float], Float)])
    func `Inverse frequencies are the reference's`(
        changes: [String: JSONValue], frequencies: [Float], factor: Float
    ) throws {
        let rotary = try rotary(try configuration("llama", changes))
        #expect(rotary.attentionFactor == factor)
        #expect(rotary.rotatedSize == 2 * frequencies.count)
        // Two units in the last place: the reference's power function is not exactly rounded.
        for (own, reference) in zip(rotary.inverseFrequencies, frequencies) {
            #expect(abs(own - reference) <= 2 * reference.ulp)
        }
        // The spelling of transformers 5 means the same.
        var parameters = changes["rope_scaling"]?.object ?? ["rope_type": "default"]
        parameters["rope_theta"] = changes["rope_theta"] ?? 10_000
        var renamed = changes
        renamed["rope_scaling"] = nil
        renamed["rope_theta"] = nil
        renamed["rope_parameters"] = .object(parameters)
        #expect(try self.rotary(try configuration("llama", renamed)) == rotary)
    }

    @Test func `LongRoPE is held to its original length, where the short factors are exact`() throws {
        let longRope = try configuration(
            "phi3",
            [
                "original_max_position_embeddings": 32,
                "rope_scaling": [
                    "type": "su", "short_factor": [1.0, 1.05, 1.1, 1.15], "long_factor": [1.5, 2.25, 3.0, 3.75],
                ],
            ])
        let rotary = try rotary(longRope)
        #expect(longRope.contextLength == 32 && longRope.positionLimit == 32)
        #expect(try configuration("llama", [:]).positionLimit == nil)
        #expect(rotary.attentionFactor == 1.1832159566199232)
        for (own, reference) in zip(
            rotary.inverseFrequencies, [1, 0.095238097, 0.0090909088, 0.000869565236] as [Float])
        {
            #expect(abs(own - reference) <= 2 * reference.ulp)
        }
    }

    @Test func `A part of each head turns in Phi-3 alone`() throws {
        #expect(
            try rotary(try configuration("phi3", ["partial_rotary_factor": 0.75, "head_dim": 16])).rotatedSize == 12)
        #expect(throws: CheckpointError.self) { try configuration("llama", ["partial_rotary_factor": 0.5]) }
    }

    @Test func `Gemma 3's two tables in the spelling of transformers 5`() throws {
        let old = try configuration("gemma3_text", ["rope_scaling": ["rope_type": "linear", "factor": 8.0]])
        let new = try configuration(
            "gemma3_text",
            [
                "rope_parameters": [
                    "full_attention": ["rope_type": "linear", "factor": 8.0, "rope_theta": 1e6],
                    "sliding_attention": ["rope_type": "default", "rope_theta": 1e4],
                ]
            ])
        #expect(old == new)
    }

    private func rotary(_ configuration: ModelConfiguration) throws -> ModelConfiguration.Rotary {
        guard case .rotary(let tables) = configuration.positions else { throw CocoaError(.featureUnsupported) }
        return try #require(tables.first)
    }

    @Test(
        arguments: [
            ("llama", ["model_type": "mamba"], "mamba"),
            ("llama", ["model_type": nil], "model_type"),
            ("llama", ["hidden_size": nil], "hidden_size"),
            ("llama", ["vocab_size": -1], "vocab_size"),
            ("llama", ["vocab_size": 1_152_921_504_606_846_976], "vocab_size"),
            ("llama", ["hidden_size": 1_099_511_627_776], "hidden_size"),
            ("llama", ["hidden_size": 33], "hidden_size"),
            ("llama", ["hidden_size": 32.5], "hidden_size"),
            ("llama", ["head_dim": 7], "head_dim"),
            ("llama", ["head_dim": 0], "head_dim"),
            ("llama", ["head_dim": nil, "num_attention_heads": 12], "hidden_size"),
            ("llama", ["num_hidden_layers": 1_000_000_000], "num_hidden_layers"),
            ("llama", ["num_hidden_layers": 0], "num_hidden_layers"),
            ("llama", ["num_key_value_heads": 3], "num_key_value_heads"),
            ("llama", ["num_key_value_heads": 8], "num_key_value_heads"),
            ("llama", ["intermediate_size": "64"], "intermediate_size"),
            ("llama", ["max_position_embeddings": 1_125_899_906_842_624], "max_position_embeddings"),
            ("llama", ["rms_norm_eps": .null], "rms_norm_eps"),
            ("llama", ["rms_norm_eps": -1e-6], "rms_norm_eps"),
            ("llama", ["hidden_act": "relu"], "relu"),
            ("llama", ["attention_bias": "yes"], "attention_bias"),
            ("llama", ["tie_word_embeddings": .null], "tie_word_embeddings"),
            ("llama", ["rope_theta": 0], "rope_theta"),
            ("llama", ["rope_theta": 1e300], "rope_theta"),
            ("llama", ["sliding_window": 8], "sliding_window"),
            ("llama", ["pretraining_tp": 2], "pretraining_tp"),
            ("llama", ["residual_multiplier": 0.5], "residual_multiplier"),
            ("llama", ["quantization_config": ["bits": 4]], "dequantized"),
            ("llama", ["architectures": ["LlamaForSequenceClassification"]], "architectures"),
            ("llama", ["eos_token_id": "</s>"], "eos_token_id"),
            ("llama", ["eos_token_id": [2, 1_099_511_627_776]], "eos_token_id"),
            ("llama", ["layer_types": ["full_attention"]], "layer_types"),
            ("llama", ["rope_scaling": [:]], "rope_scaling"),
            ("llama", ["rope_scaling": ["type": "dynamic", "factor": 2.0]], "dynamic"),
            ("llama", ["rope_scaling": ["type": "longrope"]], "longrope"),
            ("llama", ["rope_scaling": ["type": "linear"]], "factor"),
            ("llama", ["rope_scaling": ["type": "linear", "factor": 0]], "factor"),
            ("llama", ["rope_scaling": ["type": "linear", "rope_type": "yarn", "factor": 2]], "differ"),
            ("llama", ["rope_scaling": ["type": "linear", "factor": 2, "alpha": 1]], "alpha"),
            (
                "llama",
                ["rope_scaling": ["type": "linear", "factor": 2], "rope_parameters": ["rope_type": "default"]], "beside"
            ),
            ("llama", ["rope_parameters": ["rope_type": "default"]], "rope_theta"),
            (
                "llama", ["rope_parameters": ["rope_type": "default", "rope_theta": 5.0], "rope_theta": 7.0],
                "contradicts"
            ),
            ("mistral", ["attention_bias": true], "attention_bias"),
            (
                "mistral", ["layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"]],
                "contradicts"
            ),
            ("mistral", ["sliding_window": 0], "sliding_window"),
            ("qwen2", ["layer_types": ["sliding_attention", "x", "y", "z"]], "\"x\""),
            (
                "qwen2",
                ["layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention"]],
                "no sliding window"
            ),
            ("gemma", ["hidden_act": "gelu"], "gelu"),
            ("gemma2", ["hidden_act": "silu"], "contradicts"),
            ("gemma3_text", ["use_bidirectional_attention": true], "use_bidirectional_attention"),
            (
                "gemma3_text", ["rope_parameters": ["full_attention": ["rope_type": "default", "rope_theta": 5.0]]],
                "sliding_attention"
            ),
            (
                "phi3", ["rope_scaling": ["type": "longrope", "short_factor": [1.0], "long_factor": [1.0]]],
                "short_factor"
            ),
            ("phi3", ["rope_scaling": ["type": "linear", "factor": 2]], "linear"),
        ] as [(String, [String: JSONValue?], String)])
    func `A field that is not understood is refused by name`(
        family: String, changes: [String: JSONValue?], told: String
    ) throws {
        let error = #expect(throws: CheckpointError.self) { try configuration(family, changes) }
        #expect(error?.description.contains(told) == true, "\(error?.description ?? "")")
    }

    @Test func `Numbers of any size and kind give an error or a configuration`() throws {
        let fields = [
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim",
            "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling",
            "layer_types",
            "sliding_window", "sliding_window_pattern", "query_pre_attn_scalar", "final_logit_softcapping",
            "max_window_layers", "use_sliding_window", "partial_rotary_factor", "eos_token_id", "architectures",
            "original_max_position_embeddings", "rope_local_base_freq", "rope_parameters", "n_embd", "model_type",
        ]
        let values: [JSONValue] = [
            .null, true, 0, 1, 2, -1, 3, 64, .integer(.max), .integer(.min), 1e308, -0.5, 1e-300, "", "silu", [], [1],
            [:], ["rope_type": "yarn", "factor": 1e-3, "original_max_position_embeddings": 1], ["type": "default"],
            ["rope_type": "llama3", "factor": 1e6, "low_freq_factor": 1e-3, "high_freq_factor": 1e6],
            ["full_attention": ["rope_type": "yarn", "rope_theta": 2, "factor": 1], "sliding_attention": [:]],
        ]
        var accepted = 0
        for family in ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2"] {
            for field in fields {
                for value in values {
                    guard let read = try? configuration(family, [field: value]) else { continue }
                    accepted += 1
                    #expect(read.parameterCount > 0)
                    guard case .rotary(let tables) = read.positions else { continue }
                    #expect(tables.allSatisfy { $0.inverseFrequencies.allSatisfy(\.isFinite) })
                }
            }
        }
        #expect(accepted > 100)
    }
}
