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

/// The text of a trained model's `README.md`.
package struct ModelCard {
    package var base: String
    package var method: String
    package var formula: String
    /// The recipe as it was read.
    package var recipe: String
    /// Files and the SHA-256 of each.
    package var data: [(path: String, sha256: String)]
    package var examples: Int
    package var steps: Int
    package var precision: String
    /// The last line of the log.
    package var metrics: [(name: String, value: Double)]
    package var heldOut: [(name: String, value: Double)]

    package init(
        base: String, method: String, formula: String, recipe: String, data: [(path: String, sha256: String)],
        examples: Int, steps: Int, precision: String, metrics: [(name: String, value: Double)],
        heldOut: [(name: String, value: Double)]
    ) {
        self.base = base
        self.method = method
        self.formula = formula
        self.recipe = recipe
        self.data = data
        self.examples = examples
        self.steps = steps
        self.precision = precision
        self.metrics = metrics
        self.heldOut = heldOut
    }

    package var text: String {
        func table(_ rows: [(name: String, value: Double)]) -> String {
            rows.map { "| \($0.name) | \($0.value) |\n" }.joined()
        }
        let sources = data.map { "| \($0.path) | `\($0.sha256)` |\n" }.joined()
        return """
            ---
            base_model: \(base)
            library_name: transformers
            tags: [evalharness, \(method)]
            ---

            # \(method) from \(base)

            Trained by evalharness on \(examples) examples in \(steps) steps, products in \(precision), weights and \
            optimizer in f32.

            \(formula)

            | data | SHA-256 |
            |---|---|
            \(sources)
            | last line of the log | |
            |---|---|
            \(table(metrics))
            \(heldOut.isEmpty ? "" : "| held out | |\n|---|---|\n\(table(heldOut))")
            ## Recipe

            ```yaml
            \(recipe)
            ```

            """
    }
}
