import Chat
import Evaluation
import StarterTasks
import Tokenization

/// What a study begins from: tasks, and an untrained model whose tokenizer was learned from them.
struct StarterFiles {
    private static let specialTokens = ["<s>", "</s>", "<|user|>", "<|assistant|>"]
    private static let vocabularySize = 768

    private let training: StarterSet
    private let sampling: StarterSet

    /// - Parameters:
    ///   - demonstrations: conversations to fine-tune on, one of ten with two turns.
    ///   - sampled: prompts to sample pairs for, likewise.
    init(demonstrations: Int, sampled: Int) {
        training = StarterSet(.training, count: demonstrations, twoTurns: demonstrations / 10, seed: 1)
        sampling = StarterSet(.training, count: sampled, twoTurns: sampled / 10, seed: 2)
    }

    /// Writes `data/`, with the starter prompts of each benchmark, and `base/` below `folder`.
    func write(to folder: String) throws {
        for name in ["data", "base"] { try Files.makeFolder("\(folder)/\(name)") }
        let demonstrations = training.demonstrations(good: 0.7, seed: 1)
        try write(demonstrations, to: "\(folder)/data/sft.jsonl")
        try write(sampling.samplingPrompts(), to: "\(folder)/data/to-sample.jsonl")
        for (benchmark, lines) in StarterSet.benchmarks { try write(lines, to: "\(folder)/data/\(benchmark).jsonl") }
        let texts = demonstrations.lazy.flatMap { $0["messages"]?.array ?? [] }.compactMap { $0["content"]?.string }
        let trained = try BytePairTrainer(
            texts, vocabularySize: Self.vocabularySize, specialTokens: Self.specialTokens)
        _ = try Files.write(trained.json.serialized(), to: "\(folder)/base/tokenizer.json")
        _ = try Files.write(Self.tokenizerConfiguration, to: "\(folder)/base/tokenizer_config.json")
        _ = try Files.write(Self.configuration(trained.vocabularySize), to: "\(folder)/base/config.json")
    }

    private func write(_ records: [JSONValue], to path: String) throws {
        _ = try Files.write(Array(records.map { $0.text() + "\n" }.joined().utf8), to: path)
    }

    private static let tokenizerConfiguration: JSONValue = [
        "bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": """
        {{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{{ eos_token }}\
        {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}
        """,
    ]

    /// A Llama of 0.9 million weights.
    private static func configuration(_ vocabularySize: Int) -> JSONValue {
        [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 384,
            "vocab_size": .integer(vocabularySize), "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 0,
            "eos_token_id": 1, "initializer_range": 0.02, "torch_dtype": "float32",
        ]
    }
}
