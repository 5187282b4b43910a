package import Chat
internal import Statistics

/// A score with what it is a score of: the content of `scores.json`.
package struct ScoreRecord: Sendable {
    package struct Subject: Sendable {
        package var benchmark: String
        package var datasetSHA256: String
        package var isOfficialPromptSet: Bool
        package var baseline: String
        package var baselineSHA256: String
        package var model: String
        package var modelFingerprint: String
        package var judge: String
        package var judgeFingerprint: String
        /// Whether this is the judge that the benchmark's board was made with.
        package var isReferenceJudge: Bool

        package init(
            benchmark: String, datasetSHA256: String, isOfficialPromptSet: Bool, baseline: String,
            baselineSHA256: String,
            model: String, modelFingerprint: String, judge: String, judgeFingerprint: String, isReferenceJudge: Bool
        ) {
            self.benchmark = benchmark
            self.datasetSHA256 = datasetSHA256
            self.isOfficialPromptSet = isOfficialPromptSet
            self.baseline = baseline
            self.baselineSHA256 = baselineSHA256
            self.model = model
            self.modelFingerprint = modelFingerprint
            self.judge = judge
            self.judgeFingerprint = judgeFingerprint
            self.isReferenceJudge = isReferenceJudge
        }
    }

    package static let schema = "evalharness.score/1"

    package var subject: Subject
    package var score: Score
    package var data: [DatasetCache.Provenance]
    package var cost: Double?

    package init(subject: Subject, score: Score, data: [DatasetCache.Provenance], cost: Double?) {
        self.subject = subject
        self.score = score
        self.data = data
        self.cost = cost
    }

    package var json: JSONValue {
        [
            "schema": .string(ScoreRecord.schema),
            "benchmark": [
                "id": .string(subject.benchmark), "dataset_sha256": .string(subject.datasetSHA256),
                "n": .integer(score.promptCount), "official_prompts": .bool(subject.isOfficialPromptSet),
                "baseline": .string(subject.baseline), "baseline_sha256": .string(subject.baselineSHA256),
            ],
            "judge": [
                "id": .string(subject.judge), "fingerprint": .string(subject.judgeFingerprint),
                "reference_judge": .bool(subject.isReferenceJudge),
            ],
            "name": .string(subject.model),
            "fingerprint": .string(subject.modelFingerprint),
            "metrics": metrics,
            "missing": missing,
            "data": .array(data.map(\.json)),
            "notes": .array(notes.map(JSONValue.string)),
            "usage": ["usd": JSONValue(cost)],
        ]
    }

    private var metrics: JSONValue {
        var metrics = JSONObject()
        metrics["length_controlled_winrate"] = lengthControlled(score.lengthControlled)
        if let right = score.lengthControlledByInstruction {
            metrics["length_controlled_winrate_by_instruction"] = lengthControlled(right)
        }
        var winRate = interval(score.winRateInterval, method: "bootstrap by prompt")
        winRate["value"] = JSONValue(score.winRate.winRate)
        winRate["official_se"] = JSONValue(score.winRate.standardError)
        if let bounds = score.winRateBounds {
            winRate["bounds_if_missing"] = [.number(bounds.lowerBound), .number(bounds.upperBound)]
        }
        metrics["win_rate"] = ordered(winRate)
        metrics["discrete_win_rate"] = ["value": JSONValue(score.winRate.discreteWinRate)]
        metrics["n_wins"] = .integer(score.winRate.wins)
        metrics["n_wins_base"] = .integer(score.winRate.baselineWins)
        metrics["n_draws"] = .integer(score.winRate.draws)
        metrics["n_total"] = .integer(score.winRate.count)
        metrics["avg_length"] = .integer(score.averageLength)
        return .object(metrics)
    }

    private func lengthControlled(_ result: Score.LengthControlled?) -> JSONValue {
        guard let result else { return .null }
        var object = interval(result.interval, method: "refit bootstrap by prompt")
        object["value"] = .number(result.fit.winRate)
        object["official_se"] = .number(result.fit.standardError)
        var design: JSONObject = [
            "name": .string(result.design.rawValue), "difficulty": .string(result.difficulty.rawValue),
            "c": JSONValue(result.fit.inverseRegularization),
            "coefficients": .array(result.fit.coefficients.map(JSONValue.number)),
        ]
        if result.design == .minimal { design["difficulty"] = nil }
        object["design"] = .object(design)
        return ordered(object)
    }

    private func interval(_ interval: Interval?, method: String) -> JSONObject {
        var object: JSONObject = ["n": .integer(score.winRate.count), "n_missing": .integer(score.missingCount)]
        guard let interval else { return object }
        object["se"] = JSONValue(interval.standardError)
        object["ci95"] = [JSONValue(interval.lower), JSONValue(interval.upper)]
        object["method"] = .string("\(method), \(interval.resamples) resamples")
        return object
    }

    /// The value first, its error bars next, the counts last.
    private func ordered(_ object: JSONObject) -> JSONValue {
        let order = ["value", "official_se", "se", "ci95", "method", "n", "n_missing", "bounds_if_missing", "design"]
        var result = JSONObject()
        for key in order { if let value = object[key] { result[key] = value } }
        return .object(result)
    }

    private var missing: JSONValue {
        var object = JSONObject()
        for (category, count) in score.missing.sorted(by: { $0.key < $1.key }) { object[category] = .integer(count) }
        return .object(object)
    }

    private var notes: [String] {
        data.filter { !$0.isPinned }.map { "made with \($0.name) that is not the official file (SHA-256 \($0.sha256))" }
            + score.notes
    }
}
