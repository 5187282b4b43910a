package import Chat

/// What a judge said of one model's output for one prompt, with the baseline's as A in the first game and as B in the
/// second.
package struct ArenaAnnotation: Hashable, Sendable {
    /// Upstream's `question_id` (v0.1) or `uid` (v2.0).
    package var id: String
    package var model: String
    package var category: String?
    package var judge: String?
    package var baseline: String?
    /// The labels of the games; nil for a game or a label that is null. Fewer than two where games are missing.
    package var labels: [String?]

    package init(
        id: String, model: String, category: String? = nil, judge: String? = nil, baseline: String? = nil,
        labels: [String?]
    ) {
        self.id = id
        self.model = model
        self.category = category
        self.judge = judge
        self.baseline = baseline
        self.labels = labels
    }

    /// - Throws: `badData` naming the place where the record is not one of upstream's.
    package init(_ record: JSONValue, place: String) throws(EvaluationError) {
        guard let id = record["question_id"]?.identifier ?? record["uid"]?.identifier,
            let model = record["model"]?.string
        else {
            throw .badData("\(place) should have a question_id (or uid) and a model. Is it a judgment of Arena-Hard?")
        }
        guard let games = record["games"]?.array else {
            throw .badData("\(place) should have its games as a list, but has \(record["games"]?.kind ?? "none").")
        }
        self.init(
            id: id, model: model, category: record["category"]?.string, judge: record["judge"]?.string,
            baseline: record["baseline"]?.string, labels: games.map { $0["score"]?.string })
    }

    /// What each game says of the model, 0...1, and how clearly; nil where a game has no label with a meaning.
    func outcomes(_ version: ArenaVersion) -> [(preference: Double, isStrong: Bool)?] {
        labels.prefix(2).enumerated().map { game, label in
            label.flatMap(version.outcome).map {
                (game == 0 ? 1 - $0.preferenceForA : $0.preferenceForA, $0.isStrong)
            }
        }
    }

    /// The rows that the score is the mean of: one a game, a strong verdict three times. v2.0 counts a record with both
    /// games only.
    package func preferences(_ version: ArenaVersion) -> [Double] {
        let outcomes = outcomes(version)
        if version == .v2, outcomes.count < 2 || outcomes.contains(where: { $0 == nil }) { return [] }
        return outcomes.compactMap(\.self).flatMap { [Double](repeating: $0.preference, count: $0.isStrong ? 3 : 1) }
    }

    /// Of the two games, those without a verdict that counts.
    package func missing(_ version: ArenaVersion) -> Int {
        preferences(version).isEmpty ? 2 : 2 - outcomes(version).count { $0 != nil }
    }

    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [ArenaAnnotation] {
        var judgments: [ArenaAnnotation] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            judgments.append(try ArenaAnnotation(record, place: "\(path), record \(index + 1)"))
        }
        return judgments
    }
}

/// The styles of models' answers, which style control looks up.
struct ArenaStyles {
    private var byModel: [String: [String: OutputStyle]] = [:]
    private let version: ArenaVersion

    init(_ answers: [ArenaOutputs], _ version: ArenaVersion) {
        self.version = version
        for answer in answers { byModel[answer.model] = answer.styles }
    }

    /// - Throws: `badData` where it is unknown.
    func style(of model: String, _ prompt: String) throws(EvaluationError) -> OutputStyle {
        guard let style = byModel[model]?[prompt] else {
            throw .badData(
                "Style control needs the token and markdown counts of \(model)'s answer to \(prompt), and its answers have "
                    + "none. Add \(version == .v01 ? "conv_metadata" : "metadata"), or score without style control.")
        }
        return style
    }
}

/// A model's outputs, as far as scores need them.
package struct ArenaOutputs: Hashable, Sendable {
    /// The file's stem.
    package var name: String
    /// What the first record calls the model.
    package var model: String
    /// By prompt.
    package var styles: [String: OutputStyle]
    /// Mean over the answers, cut to an integer as upstream prints it; nil where an answer has no count.
    package var averageTokens: Int?

    /// Those of `outputs` by who wrote them, since baselines may differ by category; none without metadata.
    ///
    /// - Parameter metadata: by prompt.
    package static func byGenerator(_ outputs: ModelOutputs, _ metadata: [String: OutputMetadata]) -> [ArenaOutputs] {
        if metadata.isEmpty { return [] }
        return Dictionary(grouping: outputs.outputs, by: \.generator).sorted { $0.key < $1.key }.map { name, outputs in
            var own = ArenaOutputs(name: name, model: name, styles: [:])
            for output in outputs { own.styles[output.prompt.key] = metadata[output.prompt.key]?.style }
            own.averageTokens = own.styles.values.reduce(0) { $0 + $1.tokens } / max(1, own.styles.count)
            return own
        }
    }

    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> ArenaOutputs {
        var answers = ArenaOutputs(name: Files.stem(of: path), model: Files.stem(of: path), styles: [:])
        // The last of several records for a prompt counts.
        var tokens: [String: Int?] = [:]
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let id = record["question_id"]?.identifier ?? record["uid"]?.identifier else {
                throw .badData(
                    "\(path), record \(index + 1) should have a question_id or uid. Is it an answer of Arena-Hard?")
            }
            if tokens.isEmpty { answers.model = record["model_id"]?.string ?? record["model"]?.string ?? answers.name }
            let style = (record["conv_metadata"] ?? record["metadata"]).flatMap(OutputStyle.init)
            answers.styles[id] = style
            let count = record["choices"]?[0]?["turns"]?[0]?["token_len"]?.integer ?? style?.tokens
            tokens[id] = count.flatMap { (0...1_000_000_000).contains($0) ? $0 : nil }
        }
        let counts = tokens.values.compactMap { $0 }
        if !counts.isEmpty, counts.count == tokens.count {
            answers.averageTokens = counts.reduce(0, +) / counts.count
        }
        return answers
    }
}
