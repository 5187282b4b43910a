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

/// The text of a trained model's `README.md`.
package struct ModelCard {
    package var base: BaseCard
    package var isAdapter: Bool
    package var method: String
    package var formula: String
    /// The recipe as it was read.
    package var recipe: String
    /// Files and the SHA-256 of each, held-out ones too.
    package var data: [(path: String, sha256: String)]
    package var examples: Int
    package var steps: Int
    package var precision: String
    /// The last line of the log.
    package var metrics: [(name: String, value: Double)]
    package var heldOut: [(name: String, value: Double)]

    package init(
        base: BaseCard, isAdapter: Bool, method: String, formula: String, recipe: String,
        data: [(path: String, sha256: String)], examples: Int, steps: Int, precision: String,
        metrics: [(name: String, value: Double)],
        heldOut: [(name: String, value: Double)]
    ) {
        self.base = base
        self.isAdapter = isAdapter
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
            \(base.frontMatter(isAdapter: isAdapter, tags: ["evalharness", method]))

            # \(method) from \(base.name)

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

/// What a base says of itself that a model made from it must say too.
package struct BaseCard: Hashable, Sendable {
    /// The folder's name.
    package var name: String
    /// Its name on the Hub, `owner/name`, where its configuration says one.
    package var hubName: String?
    /// The lines of its own card that say the licence.
    package var license: [String]

    /// Reads what there is: a base may have no card.
    package init(folder: String) {
        name = folder.split(separator: "/").last.map(String.init) ?? folder
        let configuration = (try? TrainingFiles.read("\(folder)/config.json")).flatMap { try? JSONValue(parsing: $0) }
        hubName = configuration?["_name_or_path"]?.string.flatMap { BaseCard.isHubName($0) ? $0 : nil }
        let card = (try? TrainingFiles.read("\(folder)/README.md")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let lines = card.split(separator: "\n", omittingEmptySubsequences: false)
        license =
            lines.first == "---"
            ? lines.dropFirst().prefix { $0 != "---" }.filter { $0.hasPrefix("license") }.map(String.init) : []
    }

    private static func isHubName(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 2
            && parts.allSatisfy { part in
                !part.isEmpty && part.first != "." && part.utf8.allSatisfy(BaseCard.isNamePart)
            }
    }

    private static func isNamePart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// The YAML between the lines of dashes with which a card begins.
    package func frontMatter(isAdapter: Bool, tags: [String]) -> String {
        let base = hubName.map { ["base_model: \"\($0)\""] } ?? []
        let lines =
            base + license + [
                "library_name: \(isAdapter ? "peft" : "transformers")", "tags: [\(tags.joined(separator: ", "))]",
            ]
        return "---\n\(lines.joined(separator: "\n"))\n---"
    }
}
