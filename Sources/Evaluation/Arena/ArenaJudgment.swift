package import Chat

/// What a judge said of one model's answer to one prompt, with the baseline's as A in the first game and as B in the
/// second.
package struct ArenaJudgment: Hashable, Sendable {
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

    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [ArenaJudgment] {
        var judgments: [ArenaJudgment] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            judgments.append(try ArenaJudgment(record, place: "\(path), record \(index + 1)"))
        }
        return judgments
    }
}

/// A model's answers, as far as scores need them.
package struct ArenaAnswers: Hashable, Sendable {
    /// The file's stem.
    package var name: String
    /// What the first record calls the model.
    package var model: String
    /// By prompt.
    package var styles: [String: AnswerStyle]
    /// Mean over the answers, cut to an integer as upstream prints it; nil where an answer has no count.
    package var averageTokens: Int?

    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> ArenaAnswers {
        var answers = ArenaAnswers(name: Files.stem(of: path), model: Files.stem(of: path), styles: [:])
        // The last of several records for a prompt counts.
        var tokens: [String: Int?] = [:]
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let id = record["question_id"]?.identifier ?? record["uid"]?.identifier else {
                throw .badData(
                    "\(path), record \(index + 1) should have a question_id or uid. Is it an answer of Arena-Hard?")
            }
            if tokens.isEmpty { answers.model = record["model_id"]?.string ?? record["model"]?.string ?? answers.name }
            let style = (record["conv_metadata"] ?? record["metadata"]).flatMap(AnswerStyle.init)
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
