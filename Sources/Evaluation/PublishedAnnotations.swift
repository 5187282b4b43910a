package import Chat

/// A file of annotations that someone published, replayed as a judge.
///
/// The rows keep the order of the file: upstream's length control takes the difficulty by row (see `DifficultyRule`).
package struct PublishedAnnotations: Hashable, Sendable {
    package struct Row: Hashable, Sendable {
        package var instruction: String
        package var dataset: String?
        package var baselineOutput: String
        package var baselineGenerator: String
        package var modelOutput: String
        package var modelGenerator: String
        package var annotator: String
        /// Who answered as the judge, where the file says so.
        package var judgeModel: String?
        package var verdict: Verdict
        /// The judge's raw reply, under the name of its version of alpaca_eval.
        package var reply: JSONValue?
        /// Of annotations of ours; empty in others'.
        package var games: [Annotation.Game]
        /// What it cost in US dollars; nil where the file does not say.
        package var cost: Double?
    }

    package var rows: [Row]
    package var sha256: String

    /// Reads alpaca_eval's `annotations.json`, of any version.
    ///
    /// - Throws: `badData` naming the record: wrong fields, or a preference that is neither 0 (a tie of old files),
    /// 1...2 nor
    ///   null. Upstream leaves such a value out of the win rate and feeds it to the length control all the same.
    package init(bytes: [UInt8], path: String) throws(EvaluationError) {
        rows = []
        sha256 = Digest.sha256(bytes)
        var places: [String: Int] = [:]
        for (index, record) in try Records.read(bytes, path: path, asked: "The annotations").enumerated() {
            let row = try Row(record, index, path)
            if let earlier = places.updateValue(index, forKey: row.instruction) {
                throw .badData(
                    "\(path), record \(index): its instruction is also annotated in record \(earlier). Keep one of the two."
                )
            }
            rows.append(row)
        }
        if rows.isEmpty { throw .badData("\(path) holds no annotations: an empty list.") }
    }

    /// As they stand in the file, with prompts numbered by row.
    package var annotations: [Annotation] {
        rows.enumerated().map { index, row in
            let prompt = Prompt(index: index, instruction: row.instruction, category: row.dataset)
            return Annotation(row, prompt)
        }
    }

    /// The model's outputs, for an audit.
    package var auditedOutputs: [AuditedOutput] {
        rows.enumerated().map { AuditedOutput(key: "\($0)", prompt: $1.instruction, text: $1.modelOutput) }
    }

    /// Who judged: the annotators' names, and the models that answered for them where these are not `official`.
    ///
    /// - Parameter official: the fingerprint of the model that the benchmark's own judge has.
    package func judge(official: String?) -> String {
        let annotators = Set(rows.map(\.annotator)).sorted().joined(separator: "+")
        let others = Set(rows.compactMap(\.judgeModel)).subtracting([official].compactMap { $0 }).sorted()
        return others.isEmpty ? annotators : "\(annotators)/\(others.joined(separator: "+"))"
    }
}

extension PublishedAnnotations.Row {
    fileprivate init(_ record: JSONValue, _ index: Int, _ path: String) throws(EvaluationError) {
        instruction = try Records.string("instruction", of: record, index, path)
        dataset = record["dataset"]?.string
        baselineOutput = try Records.string("output_1", of: record, index, path)
        baselineGenerator = try Records.string("generator_1", of: record, index, path)
        modelOutput = try Records.string("output_2", of: record, index, path)
        modelGenerator = try Records.string("generator_2", of: record, index, path)
        annotator = record["annotator"]?.string ?? "unknown"
        judgeModel = record["judge_model"]?.string
        reply = record["preference_raw_completion"] ?? record["raw_completion"]
        games = record["games"]?.array?.compactMap(Annotation.Game.init) ?? []
        cost = record["preference_price_per_example"]?.number ?? record["price_per_example"]?.number
        switch record["preference"] {
        case nil, .null?: verdict = .missing(Self.reason(record["missing_reason"]))
        case let value?:
            guard let number = value.number, number == 0 || (1...2).contains(number) else {
                throw .badData(
                    "\(path), record \(index): preference should be 1 (baseline) to 2 (model), 0 for a tie or null "
                        + "for none, but "
                        + "is \(value.number.map { "\($0)" } ?? value.kind). Repair the record or set it to null.")
            }
            verdict = .preference(number == 0 ? 0.5 : number - 1, weight: 1)
        }
    }

    private static func reason(_ value: JSONValue?) -> Verdict.Reason {
        let detail = value?["detail"]?.string ?? "the published annotation is null"
        switch value?["kind"]?.string {
        case "refused": return .refused(detail)
        case "failed": return .failed(detail)
        case "no_output": return .noOutput
        default: return .unparsable(detail)
        }
    }
}

extension Annotation {
    /// What a row says of a prompt.
    init(_ row: PublishedAnnotations.Row, _ prompt: Prompt) {
        self.init(
            prompt: prompt,
            baseline: ModelOutput(prompt: prompt, output: row.baselineOutput, generator: row.baselineGenerator),
            output: ModelOutput(prompt: prompt, output: row.modelOutput, generator: row.modelGenerator),
            judge: row.annotator, verdict: row.verdict, games: row.games, cost: row.cost)
        judgeModel = row.judgeModel
        publishedReply = row.reply
    }
}
