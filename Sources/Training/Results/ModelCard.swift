internal import Chat

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
