internal import Chat
internal import Glibc
package import LanguageModel

/// The folder that a run leaves: a checkpoint that `--model` takes, and transformers loads.
///
/// The tokenizer's files are the base's, byte for byte; the weights come last, so that a folder that looks like a
/// checkpoint is one.
package struct ModelFolder {
    package let path: String
    /// The checkpoint that the run began from.
    package let base: String

    package init(path: String, base: String) {
        self.path = path
        self.base = base
    }

    package enum Contents: Sendable { case model, adapter }

    /// Looks, before any work, whether a folder may take what a run will leave.
    ///
    /// - Parameter inputs: the folders that the run reads, which it must not write over.
    /// - Throws: `TrainingError.configuration` where it is one of these, or holds what would be taken for the run's own: a
    ///   model beside an adapter, or an adapter beside a model.
    package static func check(_ path: String, takes contents: Contents, inputs: [String]) throws(TrainingError) {
        if let input = inputs.first(where: { TrainingFiles.areSame($0, path) }) {
            throw .configuration(
                "\(path) is where \(input) is, which would be written over. Name another output folder")
        }
        let (file, name) =
            switch contents {
            case .model: ("adapter_config.json", "an adapter")
            case .adapter: ("config.json", "a whole model")
            }
        if TrainingFiles.exists("\(path)/\(file)") {
            throw .configuration(
                "\(path) holds \(name) of another run, which would be taken for this one's. Name another output folder, or "
                    + "remove it")
        }
    }

    /// - Parameters:
    ///   - storedNames: what the base's file calls a tensor, where that is not the store's name.
    ///   - endTokens: every id that ends a text, for a base without a generation configuration.
    ///   - card: the text of `README.md`.
    /// - Throws: `TrainingError`, `CheckpointError`, `UnwritableFile`.
    package func write(
        _ store: ParameterStore, as type: StoredDataType, storedNames: [String: String], endTokens: [Int32],
        card: String
    ) throws {
        try TrainingFiles.makeFolder(path)
        for name in ModelFolder.copied where TrainingFiles.exists("\(base)/\(name)") {
            try TrainingFiles.write(try TrainingFiles.read("\(base)/\(name)"), to: "\(path)/\(name)")
        }
        try TrainingFiles.write(try configuration(type), to: "\(path)/config.json")
        if !TrainingFiles.exists("\(base)/generation_config.json") {
            let object: JSONObject = ["eos_token_id": .array(endTokens.map { .integer(Int($0)) })]
            try TrainingFiles.write(
                JSONValue.object(object).serialized(.indented(2)), to: "\(path)/generation_config.json")
        }
        try TrainingFiles.write(Array(card.utf8), to: "\(path)/README.md")
        let tensors = store.parameters.enumerated().map { index, parameter in
            SafetensorsWriter.Tensor(
                name: storedNames[parameter.name] ?? parameter.name, shape: parameter.shape, dataType: type,
                rows: UnsafePointer(store.value(index)), rowStride: parameter.stride)
        }
        try SafetensorsWriter.write(tensors, toFolder: path)
    }

    /// The base's configuration, with the type that the weights have now.
    private func configuration(_ type: StoredDataType) throws -> [UInt8] {
        let path = "\(base)/config.json"
        guard var object = try JSONValue(parsing: try TrainingFiles.read(path)).object else {
            throw TrainingError.badData("\(path) is not an object")
        }
        let name: JSONValue = type == .bf16 ? "bfloat16" : "float32"
        object["torch_dtype"] = name
        if object["dtype"] != nil { object["dtype"] = name }
        object["use_cache"] = true
        return JSONValue.object(object).serialized(.indented(2))
    }

    private static let copied = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json", "generation_config.json",
    ]
}
