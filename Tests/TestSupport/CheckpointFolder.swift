import Foundation

/// A small Llama of random weights with a byte-level tokenizer and a chat template, written to a folder of its own.
package struct CheckpointFolder: Sendable {
    package let folder: TemporaryFolder
    package var path: String { folder.path }

    package static let vocabularySize = 272
    package static let beginToken: Int32 = 256
    package static let endToken: Int32 = 257

    package static let chatTemplate = """
        {{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>
        {{ message['content'] }}{{ eos_token }}
        {% endfor %}{% if add_generation_prompt %}<|assistant|>
        {% endif %}
        """

    package init(contextLength: Int = 1_024, layerCount: Int = 2, storedType: StoredType = .f32) throws {
        folder = try TemporaryFolder()
        try folder.write(JSONSerialization.data(withJSONObject: Self.config(contextLength, layerCount)), "config.json")
        try folder.write(Self.safetensors(storedType, layerCount), "model.safetensors")
        try folder.write(JSONSerialization.data(withJSONObject: Self.tokenizer()), "tokenizer.json")
        let names: [String: Any] = [
            "bos_token": "<s>", "eos_token": "</s>", "chat_template": Self.chatTemplate,
            "tokenizer_class": "PreTrainedTokenizerFast",
        ]
        try folder.write(JSONSerialization.data(withJSONObject: names), "tokenizer_config.json")
    }

    package enum StoredType: String, Sendable {
        case f32 = "F32"
        case bf16 = "BF16"
    }

    private static func config(_ contextLength: Int, _ layerCount: Int) -> [String: Any] {
        [
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 48,
            "num_hidden_layers": layerCount, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12,
            "intermediate_size": 80,
            "vocab_size": vocabularySize, "max_position_embeddings": contextLength, "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": beginToken,
            "eos_token_id": endToken,
        ]
    }

    private static func safetensors(_ type: StoredType, _ layerCount: Int) throws -> Data {
        var shapes: [(String, [Int])] = [("model.embed_tokens.weight", [vocabularySize, 48])]
        for layer in 0..<layerCount {
            let name = "model.layers.\(layer)"
            shapes += [
                ("\(name).self_attn.q_proj.weight", [48, 48]), ("\(name).self_attn.k_proj.weight", [24, 48]),
                ("\(name).self_attn.v_proj.weight", [24, 48]), ("\(name).self_attn.o_proj.weight", [48, 48]),
                ("\(name).mlp.gate_proj.weight", [80, 48]), ("\(name).mlp.up_proj.weight", [80, 48]),
                ("\(name).mlp.down_proj.weight", [48, 80]), ("\(name).input_layernorm.weight", [48]),
                ("\(name).post_attention_layernorm.weight", [48]),
            ]
        }
        shapes.append(("model.norm.weight", [48]))
        var header: [String: Any] = [:]
        var data = Data()
        var state: UInt64 = 3
        for (name, shape) in shapes {
            let start = data.count
            for _ in 0..<shape.reduce(1, *) {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let uniform = Float(Int32(truncatingIfNeeded: state >> 33)) / Float(1 << 30) - 1
                let value = shape.count == 1 ? 1 + 0.1 * uniform : 0.4 * uniform
                switch type {
                case .f32: withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
                case .bf16:
                    let half = UInt16(value.bitPattern >> 16)
                    withUnsafeBytes(of: half.littleEndian) { data.append(contentsOf: $0) }
                }
            }
            header[name] = ["dtype": type.rawValue, "shape": shape, "data_offsets": [start, data.count]]
        }
        let text = try JSONSerialization.data(withJSONObject: header)
        var file = Data()
        withUnsafeBytes(of: UInt64(text.count).littleEndian) { file.append(contentsOf: $0) }
        return file + text + data
    }

    /// A token for every byte, and the special ones behind.
    private static func tokenizer() -> [String: Any] {
        var vocabulary: [String: Int] = [:]
        let printable = Set(Array(33...126) + Array(161...172) + Array(174...255))
        var next = 0
        for byte in 0..<256 {
            let scalar = printable.contains(byte) ? byte : 256 + next
            if !printable.contains(byte) { next += 1 }
            vocabulary[String(Unicode.Scalar(UInt32(scalar))!)] = byte
        }
        let special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
        for (place, text) in special.enumerated() { vocabulary[text] = 256 + place }
        let added = special.map { text in
            [
                "id": vocabulary[text]!, "content": text, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false,
            ] as [String: Any]
        }
        let byteLevel: [String: Any] = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        return [
            "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "added_tokens": added,
            "normalizer": NSNull(), "pre_tokenizer": byteLevel, "post_processor": NSNull(), "decoder": byteLevel,
            "model": [
                "type": "BPE", "dropout": NSNull(), "unk_token": NSNull(), "continuing_subword_prefix": NSNull(),
                "end_of_word_suffix": NSNull(), "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": [String](),
            ] as [String: Any],
        ]
    }
}
