import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing
import Training

private let targets = ["gate_proj", "down_proj", "q_proj"]

struct LoRAAdapterFileTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static let llama: JSONObject = [
        "model_type": "llama", "vocab_size": 6, "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "max_position_embeddings": 16,
        "eos_token_id": 2,
    ]
    private static let gpt2: JSONObject = [
        "model_type": "gpt2", "vocab_size": 6, "n_embd": 4, "n_layer": 1, "n_head": 2, "n_positions": 16,
        "eos_token_id": 2,
    ]

    private func model(_ object: JSONObject = Self.llama) throws -> ModelConfiguration {
        let path = try folder.write(JSONValue.object(object).text(), "config.json")
        return try ModelConfiguration(object, path: path)
    }

    /// Adapters of counted values.
    private func store(_ settings: LoRASettings, _ model: ModelConfiguration) throws -> ParameterStore {
        let store = ParameterStore(try settings.shapes(for: model), isTrained: false)
        for (index, parameter) in store.parameters.enumerated() {
            let count = parameter.rows * parameter.columns
            store.fill(index, from: (0..<count).map { Float(index) + Float($0) / 64 })
        }
        return store
    }

    private func edit(_ name: String, _ edit: (inout JSONObject) -> Void) throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(name)"))
        var object = try #require(try JSONValue(parsing: Array(bytes)).object)
        edit(&object)
        try folder.write(JSONValue.object(object).text(), name)
    }

    @Test func `The scale is alpha over the rank, or over its root`() {
        #expect(LoRASettings(rank: 16, alpha: 32).scale == 2)
        #expect(LoRASettings(rank: 16, alpha: 32, usesRSLoRA: true).scale == 8)
    }

    @Test func `Every linear layer has an adapter where no target is named`() throws {
        let shapes = try LoRASettings(rank: 3, alpha: 1).shapes(for: try model())
        #expect(shapes.count == 2 * 2 * 7)
        #expect(shapes.map(\.name) == shapes.map(\.name).sorted())
        let byName = Dictionary(uniqueKeysWithValues: shapes.map { ($0.name, $0.shape) })
        #expect(byName["model.layers.1.self_attn.k_proj.lora_A.weight"] == [3, 4])
        #expect(byName["model.layers.1.self_attn.k_proj.lora_B.weight"] == [2, 3])
        #expect(byName["model.layers.0.mlp.down_proj.lora_A.weight"] == [3, 8])
        #expect(byName["model.layers.0.mlp.down_proj.lora_B.weight"] == [4, 3])
        #expect(!byName.keys.contains { $0.contains("lm_head") || $0.contains("embed") })
    }

    @Test func `GPT-2's matrices are stored the other way round and PEFT names them with its head's prefix`() throws {
        let model = try model(Self.gpt2)
        let settings = LoRASettings(rank: 2, alpha: 4, targetModules: ["c_attn", "mlp.c_proj"])
        let shapes = try settings.shapes(for: model)
        #expect(shapes.map(\.name).allSatisfy { $0.hasPrefix("h.0.attn.c_attn") || $0.hasPrefix("h.0.mlp.c_proj") })
        #expect(shapes.map(\.shape) == [[2, 4], [12, 2], [2, 16], [4, 2]])
        try LoRAAdapterFile.write(try store(settings, model), settings, base: "base", to: folder.path)
        let stored = try SafetensorsFile(path: "\(folder.path)/adapter_model.safetensors").tensors
        #expect(stored.first?.name == "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight")
        let text = try String(contentsOfFile: "\(folder.path)/adapter_config.json", encoding: .utf8)
        #expect(text.contains(#""fan_in_fan_out": true"#))
        #expect(try LoRAAdapterFile(folder: folder.path, for: model).tensors.map(\.shape) == shapes.map(\.shape))
    }

    @Test func `What is written is read back, and written again the same`() throws {
        let model = try model()
        for settings in [
            LoRASettings(rank: 3, alpha: 6.5, targetModules: targets, usesRSLoRA: true),
            LoRASettings(rank: 1, alpha: 2, targetModules: ["self_attn.q_proj"]),
        ] {
            let store = try store(settings, model)
            try LoRAAdapterFile.write(store, settings, base: "models/base", to: folder.path)
            let read = try LoRAAdapterFile(folder: folder.path, for: model)
            #expect(read.settings == settings)
            try #require(read.tensors.map(\.name) == store.parameters.map(\.name))
            let found = read.tensors[1].values
            let expected = found.indices.map { 1 + Float($0) / 64 }
            #expect(found == expected)
            try read.write(base: "models/base", to: "\(folder.path)/again/deeper")
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                #expect(
                    try SharedData.contents("\(folder.path)/again/deeper/\(name)")
                        == SharedData.contents("\(folder.path)/\(name)"))
            }
        }
    }

    @Test func `The names of the layers stand in the file where no target was named`() throws {
        let model = try model()
        let settings = LoRASettings(rank: 1, alpha: 1)
        try LoRAAdapterFile.write(try store(settings, model), settings, base: "b", to: folder.path)
        let read = try LoRAAdapterFile(folder: folder.path, for: model)
        #expect(
            read.settings.targetModules == [
                "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
            ])
        #expect(read.settings.alpha == 1)
    }

    @Test func `Settings are Codable in PEFT's field names`() throws {
        let settings = LoRASettings(rank: 8, alpha: 16, targetModules: ["q_proj"], usesRSLoRA: true)
        let data = try JSONEncoder().encode(settings)
        let object = try #require(try JSONValue(parsing: Array(data)).object)
        #expect(
            Set(object.keys) == ["r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora"])
        #expect(try JSONDecoder().decode(LoRASettings.self, from: data) == settings)
        let short = try JSONDecoder().decode(LoRASettings.self, from: Data(#"{"r": 4, "lora_alpha": 8}"#.utf8))
        #expect(short == LoRASettings(rank: 4, alpha: 8))
    }

    @Test(arguments: [
        (LoRASettings(rank: 0, alpha: 1), "r is 0"), (LoRASettings(rank: 1 << 20, alpha: 1), "r is 1048576"),
        (LoRASettings(rank: 1, alpha: 0), "lora_alpha is 0.0"),
        (LoRASettings(rank: 1, alpha: .nan), "lora_alpha is nan"),
        (LoRASettings(rank: 1, alpha: 1, dropout: 0.05), "lora_dropout is 0.05"),
    ])
    func `Settings that make no sense are named`(_ settings: LoRASettings, _ told: String) throws {
        let error = try #require(throws: TrainingError.self) { try settings.checkedForTraining() }
        #expect(error.description.hasPrefix(told), "\(error)")
    }

    @Test func `A target that the model has not is named with those it has`() throws {
        for target in ["query", "lm_head", "embed_tokens", "proj", "norm", ""] {
            let settings = LoRASettings(rank: 1, alpha: 1, targetModules: ["q_proj", target])
            let model = try model()
            let error = try #require(throws: TrainingError.self) { try settings.shapes(for: model) }
            #expect(error.description.contains("names \"\(target)\""), "\(error)")
            #expect(error.description.contains("it has down_proj, gate_proj, k_proj"), "\(error)")
        }
    }

    @Test(
        arguments: [
            ("peft_type", "IA3", "peft_type is \"IA3\""), ("r", "4", "r is \"4\""), ("r", 0, "r is 0"),
            ("lora_alpha", .null, "lora_alpha is null"),
            ("lora_dropout", "no", "lora_dropout is \"no\""), ("use_rslora", 1, "use_rslora is 1"),
            ("use_dora", true, "use_dora is true"), ("bias", "all", "bias is \"all\""),
            ("rank_pattern", ["q_proj": 2], "rank_pattern is {\"q_proj\":2}"),
            ("layers_to_transform", [0], "layers_to_transform"),
            ("modules_to_save", ["embed_tokens"], "modules_to_save is [\"embed_tokens\"]"),
            ("init_lora_weights", "pissa", "init_lora_weights is \"pissa\""),
            ("target_modules", ".*_proj", "target_modules is \".*_proj\""),
            ("target_modules", [], "target_modules is []"),
            ("target_modules", ["query"], "names \"query\""), ("target_modules", ["up_proj"], "has no tensor"),
            ("target_modules", ["q_proj"], "is no adapter of a layer in target_modules"),
            ("r", 2, "has the shape [3, 8]"),
        ] as [(String, JSONValue, String)])
    func `A field that is not computed here is a sentence`(_ key: String, _ value: JSONValue, _ told: String) throws {
        let model = try model()
        let settings = LoRASettings(rank: 3, alpha: 6, targetModules: targets)
        try LoRAAdapterFile.write(try store(settings, model), settings, base: "b", to: folder.path)
        try edit("adapter_config.json") { $0[key] = value }
        let error = try #require(throws: TrainingError.self) { try LoRAAdapterFile(folder: folder.path, for: model) }
        guard case .badData(let sentence) = error else { return #expect(Bool(false), "\(error)") }
        #expect(sentence.contains(told), "\(sentence)")
        #expect(sentence.contains(folder.path))
    }

    @Test func `Fields that PEFT may leave out, and those it adds, do no harm`() throws {
        let model = try model()
        let settings = LoRASettings(rank: 3, alpha: 6)
        try LoRAAdapterFile.write(try store(settings, model), settings, base: "b", to: folder.path)
        try edit("adapter_config.json") { object in
            for key in object.keys where !["peft_type", "r", "lora_alpha", "target_modules"].contains(key) {
                object[key] = nil
            }
            object["target_modules"] = "all-linear"
            object["peft_version"] = "0.18.0"
            object["qalora_group_size"] = 16
            object["init_lora_weights"] = "gaussian"
            object["lora_dropout"] = 0.05
        }
        var expected = settings
        expected.dropout = 0.05
        #expect(try LoRAAdapterFile(folder: folder.path, for: model).settings == expected)
        #expect(throws: TrainingError.self) { try expected.checkedForTraining() }
    }

    @Test func `Files that are not there or damaged are told apart`() throws {
        let model = try model()
        let settings = LoRASettings(rank: 1, alpha: 1)
        func error() throws -> TrainingError {
            try #require(throws: TrainingError.self) { try LoRAAdapterFile(folder: folder.path, for: model) }
        }
        guard case .missingInput = try error() else { return #expect(Bool(false)) }
        try LoRAAdapterFile.write(try store(settings, model), settings, base: "b", to: folder.path)
        try FileManager.default.removeItem(atPath: "\(folder.path)/adapter_model.safetensors")
        guard case .missingInput = try error() else { return #expect(Bool(false)) }
        try folder.write("{", "adapter_model.safetensors")
        guard case .badData = try error() else { return #expect(Bool(false)) }
        try folder.write("[]", "adapter_config.json")
        #expect(try error().description.contains("an object is expected, not an array"))
        try folder.write("{", "adapter_config.json")
        #expect(try error().description.contains("not valid JSON"))
    }
}

/// Adapters that PEFT wrote.
@Suite(.enabled(if: !adapters.isEmpty, "needs the golden runs")) struct LoRAGoldenTests {
    @Test(arguments: adapters)
    func `PEFT's adapter is read, and written again to the byte`(_ path: String) throws {
        let model = try Checkpoint.configuration(in: "\(SharedData.fixtures)/training/init_model")
        let adapter = try LoRAAdapterFile(folder: path, for: model)
        let bytes = try SharedData.contents("\(path)/adapter_config.json")
        let object = try #require(try JSONValue(parsing: Array(bytes)).object)
        #expect(adapter.settings.rank == object["r"]?.integer)
        #expect(adapter.settings.alpha == object["lora_alpha"]?.number)
        #expect(adapter.settings.usesRSLoRA == object["use_rslora"]?.bool)
        #expect(adapter.tensors.count == 2 * 7 * model.layers.count)
        let folder = try TemporaryFolder()
        try adapter.write(base: try #require(object["base_model_name_or_path"]?.string), to: folder.path)
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            #expect(
                try SharedData.contents("\(folder.path)/\(name)") == SharedData.contents("\(path)/\(name)"), "\(name)")
        }
    }
}

private let adapters = SharedData.fixtures("training/runs").flatMap { ["\($0)/adapter_init", "\($0)/adapter_final"] }
    .filter { SharedData.exists("\($0)/adapter_config.json") }
