import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing

struct CheckpointTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static let llama: JSONObject = [
        "model_type": "llama", "vocab_size": 6, "hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "max_position_embeddings": 16,
        "eos_token_id": 2,
    ]

    private typealias Tensor = (name: String, shape: [Int], values: [Float])

    private func tensors(_ config: JSONObject) throws -> [Tensor] {
        let shapes = try ModelConfiguration(config, path: "config.json").expectedShapes
        return shapes.sorted { $0.key < $1.key }.map { name, shape in
            (name, shape, (0..<shape.reduce(1, *)).map { Float($0) / 8 })
        }
    }

    private func write(_ config: JSONObject, _ tensors: [Tensor]) throws {
        try folder.write(JSONValue.object(config).text(), "config.json")
        try folder.write(safetensors(tensors), "model.safetensors")
    }

    private func writeShards(_ parts: [[Tensor]], map: (String, String) -> String? = { $1 }) throws {
        try folder.write(JSONValue.object(Self.llama).text(), "config.json")
        var weights = JSONObject()
        for (index, part) in parts.enumerated() {
            let name = "model-\(index).safetensors"
            try folder.write(safetensors(part), name)
            for tensor in part {
                if let place = map(tensor.name, name) { weights[tensor.name] = .string(place) }
            }
        }
        try folder.write(JSONValue.object(["weight_map": .object(weights)]).text(), "model.safetensors.index.json")
    }

    private func open() throws -> Checkpoint { try Checkpoint(folder: folder.path) }

    private func expectError(_ told: String, _ location: SourceLocation = #_sourceLocation) {
        let error = #expect(throws: CheckpointError.self, sourceLocation: location) { try open() }
        #expect(error?.description.contains(told) == true, "\(error?.description ?? "")", sourceLocation: location)
    }

    @Test func `A checkpoint of one file opens`() throws {
        try write(Self.llama, try tensors(Self.llama))
        let checkpoint = try open()
        #expect(try checkpoint.tensor("model.norm.weight", shape: [4]).floats == [0, 0.125, 0.25, 0.375])
        #expect(throws: CheckpointError.self) { try checkpoint.tensor("model.norm.weight", shape: [2, 2]) }
        #expect(throws: CheckpointError.self) { try checkpoint.tensor("model.norm.bias", shape: [4]) }
        #expect(checkpoint.storedDataType == .f32)
        #expect(checkpoint.generationEndTokens == [2])
        #expect(checkpoint.comparison.isSound)
    }

    @Test func `A checkpoint of several files opens`() throws {
        let all = try tensors(Self.llama)
        try writeShards([Array(all[..<4]), Array(all[4...])])
        let checkpoint = try open()
        #expect(checkpoint.tensors.count == all.count)
        #expect(checkpoint.files.count == 2)
    }

    @Test func `An index that does not fit its files is refused`() throws {
        let all = try tensors(Self.llama)
        let parts = [Array(all[..<4]), Array(all[4...])]
        try writeShards(parts) { name, place in name == "lm_head.weight" ? nil : place }
        expectError("lm_head.weight")
        try writeShards(parts) { name, place in name == "lm_head.weight" ? "model-1.safetensors" : place }
        expectError("lm_head.weight")
        try writeShards(parts) { name, place in name == "lm_head.weight" ? "absent.safetensors" : place }
        expectError("absent.safetensors")
        for place in [
            "../model-0.safetensors", "/etc/passwd", "", "..", "model-0.safetensors\u{0}", "\u{0}.safetensors",
        ] {
            try writeShards(parts) { name, own in name == "lm_head.weight" ? place : own }
            expectError("lm_head.weight")
        }
        try folder.write("{\"weight_map\": []}", "model.safetensors.index.json")
        expectError("weight_map")
    }

    @Test func `A tensor in two files is refused`() throws {
        let all = try tensors(Self.llama)
        try writeShards([all, [all[0]]])
        expectError(all[0].name)
    }

    @Test func `Missing, misshapen, unexpected and integer tensors are refused by name`() throws {
        var all = try tensors(Self.llama)
        let norm = try #require(all.firstIndex { $0.name == "model.norm.weight" })
        let removed = all.remove(at: norm)
        try write(Self.llama, all)
        expectError("\"model.norm.weight\" is missing")
        try write(Self.llama, all + [(removed.name, [2, 2], removed.values)])
        expectError("[2, 2], config.json asks for [4]")
        try write(Self.llama, all + [removed, ("model.layers.0.self_attn.q_proj.bias", [4], [0, 0, 0, 0])])
        expectError("q_proj.bias")
        try folder.write(safetensors(try tensors(Self.llama)).replacing("F32", with: "I32"), "model.safetensors")
        expectError("type")
        let inspection = try ModelInspection(folder: folder.path)
        #expect(inspection.comparison.mistyped.count == inspection.checkpoint.tensors.count)
    }

    @Test func `What changes nothing is ignored and listed`() throws {
        var tied = Self.llama
        tied["tie_word_embeddings"] = true
        let extra: [Tensor] = [
            ("lm_head.weight", [1], [0]), ("model.layers.0.self_attn.rotary_emb.inv_freq", [1], [0]),
        ]
        try write(tied, try tensors(tied) + extra)
        #expect(try open().comparison.ignored == extra.map(\.name))
    }

    @Test func `GPT-2 opens with and without the prefix of its names`() throws {
        let config: JSONObject = [
            "model_type": "gpt2", "vocab_size": 6, "n_embd": 4, "n_head": 2, "n_layer": 1, "n_positions": 8,
        ]
        let all = try tensors(config)
        try write(config, all + [("h.0.attn.bias", [1], [0])])
        #expect(try open().comparison.ignored == ["h.0.attn.bias"])
        try write(config, all.map { ("transformer.\($0.name)", $0.shape, $0.values) })
        #expect(try open().tensor("h.0.attn.c_attn.weight", shape: [4, 12]).floats?.count == 48)
        try write(config, all + all.map { ("transformer.\($0.name)", $0.shape, $0.values) })
        expectError("twice")
    }

    @Test func `End tokens of both files are united`() throws {
        try write(Self.llama, try tensors(Self.llama))
        try folder.write("{\"eos_token_id\": [4, 3, 77]}", "generation_config.json")
        #expect(try open().generationEndTokens == [4, 3, 2])
        try folder.write("{\"eos_token_id\": 2}", "generation_config.json")
        #expect(try open().generationEndTokens == [2])
        try folder.write("{\"eos_token_id\": {}}", "generation_config.json")
        expectError("eos_token_id")
    }

    @Test func `Pickled weights are refused with the command that converts them`() throws {
        try folder.write(JSONValue.object(Self.llama).text(), "config.json")
        expectError("model.safetensors")
        for name in ["pytorch_model.bin", "model.pt", "consolidated.00.pth"] {
            let path = try folder.write("x", name)
            expectError("safetensors.torch")
            try FileManager.default.removeItem(atPath: path)
        }
    }

    @Test func `Missing and damaged configurations are refused`() throws {
        expectError("config.json")
        try folder.write(safetensors(try tensors(Self.llama)), "model.safetensors")
        for text in ["", "[]", "{\"model_type\": \"llama\",", "{\"a\": 1, \"a\": 2}"] {
            try folder.write(text, "config.json")
            expectError("config.json is damaged")
        }
        try folder.write(String(repeating: " ", count: 5 << 20) + "{}", "config.json")
        expectError("bytes")
        #expect(throws: CheckpointError.self) { try Checkpoint(folder: "\(folder.path)/absent") }
        #expect(throws: CheckpointError.self) { try Checkpoint(folder: "\(folder.path)/config.json") }
    }

    @Test func `The fingerprint follows weights, configuration and tokenizer`() throws {
        var all = try tensors(Self.llama)
        try write(Self.llama, all)
        let first = try open().fingerprint
        #expect(try open().fingerprint == first)
        all[3].values[0] += 1
        try write(Self.llama, all)
        let second = try open().fingerprint
        try folder.write("{}", "tokenizer.json")
        let third = try open().fingerprint
        try folder.write("notes", "README.md")
        #expect(try open().fingerprint == third)
        #expect(Set([first, second, third]).count == 3)
    }

    @Test(arguments: [
        ("F32", [0x7F80_0000, 0x7FC0_0001, 0xFF80_0000], [0x7F7F_FFFF, 0xFF7F_FFFF, 0x0000_0001, 0x8000_0000]),
        ("BF16", [0x7F80, 0x7F81, 0xFFFF], [0x7F7F, 0xFF7F, 0x0001, 0x8000]),
        ("F16", [0x7C00, 0x7E01, 0xFC00], [0x7BFF, 0xFBFF, 0x0001, 0x8000]),
    ])
    func `Values that are no numbers are found wherever they lie`(type: String, bad: [Int], good: [Int]) throws {
        let width = type == "F32" ? 4 : 2
        for count in [1, 3, 4, 7, 2050] {
            for place in Set([0, count / 2, count - 1]) {
                let sound = (0..<count).map { good[$0 % good.count] }
                for value in bad {
                    var elements = sound
                    elements[place] = value
                    #expect(try scan(elements, type, width)?.index == place)
                    #expect(try scan(elements, type, width)?.value.isFinite == false)
                }
                #expect(try scan(sound, type, width) == nil)
                #expect(try scan(sound + [bad[0], good[0], bad[1]], type, width)?.count == 2)
            }
        }
    }

    private func scan(_ elements: [Int], _ type: String, _ width: Int) throws -> NonFinite? {
        // One byte before it, so that no word is aligned.
        var data: [UInt8] = [0]
        for element in elements { data += (0..<width).map { UInt8(truncatingIfNeeded: element >> ($0 * 8)) } }
        let header = """
            {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},\
            "x":{"dtype":"\(type)","shape":[\(elements.count)],"data_offsets":[1,\(data.count)]}}
            """
        let path = try folder.write(safetensors(header, data: data), "scanned.safetensors")
        return try SafetensorsFile(path: path).tensors[1].nonFinite(named: "x")
    }

    @Test func `Verification hashes each file and finds what is no number`() throws {
        var all = try tensors(Self.llama)
        all[2].values[1] = -.infinity
        try write(Self.llama, all)
        let verification = try ModelInspection(folder: folder.path).verify()
        #expect(verification.nonFinite.map(\.tensor) == [all[2].name])
        #expect(verification.nonFinite.map(\.index) == [1] && verification.nonFinite.map(\.value) == [-.infinity])
        #expect(verification.files.map(\.sha256) == [Digest.sha256(safetensors(all))])
    }
}

extension Data {
    fileprivate func replacing(_ old: String, with new: String) -> Data {
        Data([UInt8](self).replacing(Array(old.utf8), with: Array(new.utf8)))
    }
}

@Suite(.enabled(if: !SharedData.fixtures("models").isEmpty, "needs the shared golden values (EVALHARNESS_FIXTURES)"))
struct FixtureCheckpointTests {
    static let folders = SharedData.fixtures("models").filter { SharedData.exists("\($0)/config.json") }

    @Test(arguments: folders)
    func `Every model opens, with the parameters and the type that its maker counted`(folder: String) throws {
        let expected = try JSONValue(parsing: SharedData.contents("\(folder)/expected.json"))
        let inspection = try ModelInspection(folder: folder)
        let checkpoint = try Checkpoint(folder: folder)
        #expect(checkpoint.configuration.parameterCount == expected["n_params"]?.integer)
        let names: [StoredDataType: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        #expect(names[checkpoint.storedDataType] == expected["stored_dtype"]?.string)
        #expect(inspection.comparison.isSound && inspection.comparison.ignored.isEmpty)
        #expect(inspection.verify().nonFinite.isEmpty)
        for (name, shape) in checkpoint.configuration.expectedShapes {
            #expect(try checkpoint.tensor(name, shape: shape).floats?.count == shape.reduce(1, *))
        }
    }
}
