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
    package var rule: ScoringRule
    package var data: [DatasetCache.Provenance]
    /// How the outputs were generated; null where they were made elsewhere.
    package var generation: JSONValue
    package var integrity: Integrity
    package var usage: Usage

    package init(
        subject: Subject, score: Score, rule: ScoringRule, data: [DatasetCache.Provenance], generation: JSONValue,
        integrity: Integrity,
        usage: Usage
    ) {
        self.subject = subject
        self.score = score
        self.rule = rule
        self.data = data
        self.generation = generation
        self.integrity = integrity
        self.usage = usage
    }

    /// What the judge took: the answers behind the verdicts, whenever they were received.
    package struct Usage: Hashable, Sendable {
        package var judgeCalls: Int
        package var inputTokens: Int
        package var outputTokens: Int
        /// US dollars; nil where no price is known.
        package var cost: Double?

        /// - Parameter isPriced: whether the judge's definition has prices.
        package init(_ annotations: [Annotation], isPriced: Bool) {
            let answers = annotations.flatMap(\.games).compactMap(\.completion)
            judgeCalls = answers.count
            inputTokens = answers.reduce(0) { $0 + ($1.usage?.inputTokens ?? 0) }
            outputTokens = answers.reduce(0) { $0 + ($1.usage?.outputTokens ?? 0) }
            cost = isPriced ? annotations.compactMap(\.cost).reduce(0, +) : nil
        }

        /// Reads back what `json` wrote; a score of files made elsewhere has none.
        package init(_ json: JSONValue?) {
            judgeCalls = json?["judge_calls"]?.integer ?? 0
            inputTokens = json?["input_tokens"]?.integer ?? 0
            outputTokens = json?["output_tokens"]?.integer ?? 0
            cost = json?["usd"]?.number
        }

        var json: JSONValue {
            [
                "judge_calls": .integer(judgeCalls), "input_tokens": .integer(inputTokens),
                "output_tokens": .integer(outputTokens), "usd": JSONValue(cost),
            ]
        }
    }

    /// - Parameter otherData: entries of an earlier document, of files that scoring again does not open.
    package func json(otherData: [JSONValue]) -> JSONValue {
        let opened = Set(data.map(\.name))
        var record = self
        record.data =
            otherData.compactMap(DatasetCache.Provenance.init).filter { !opened.contains($0.name) } + data
        return record.json
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
            "scoring": scoring,
            "metrics": metrics,
            "missing": missing,
            "data": .array(data.map(\.json)),
            "notes": .array(notes.map(JSONValue.string)),
            "generation": generation,
            "integrity": integrity.json,
            "usage": usage.json,
        ]
    }

    private var scoring: JSONValue {
        var scoring: JSONObject = [
            "length_control": JSONValue(rule.design?.rawValue), "difficulty": .string(rule.difficulty.rawValue),
            "resamples": .integer(rule.resamples), "seed": .string("\(rule.seed)"),
        ]
        if !rule.style.isEmpty { scoring["style_control"] = .array(rule.style.plainNames.map(JSONValue.string)) }
        return .object(scoring)
    }

    private var metrics: JSONValue {
        var metrics = JSONObject()
        metrics["length_controlled_winrate"] = lengthControlled(score.lengthControlled)
        if let right = score.lengthControlledByInstruction {
            metrics["length_controlled_winrate_by_instruction"] = lengthControlled(right)
        }
        if let controlled = score.styleControlled { metrics["style_controlled_winrate"] = styleControlled(controlled) }
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

    private func styleControlled(_ result: Score.StyleControlled) -> JSONValue {
        var object = interval(rule.resamples > 0 ? result.winRate : nil, method: "refit bootstrap by prompt")
        object["value"] = .number(result.winRate.value)
        var effects = JSONObject()
        for (name, effect) in zip(result.features.plainNames, result.effects) { effects[name] = .number(effect) }
        object["effects"] = .object(effects)
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
        let order = [
            "value", "official_se", "se", "ci95", "method", "n", "n_missing", "bounds_if_missing", "design", "effects",
        ]
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
        var notes = data.filter { !$0.isPinned }.map {
            "made with \($0.name) that is not the official file (SHA-256 \($0.sha256))"
        }
        if score.lengthControlled?.design == .v1, subject.baselineSHA256 != subject.datasetSHA256 {
            notes.append(
                "the baseline is \(subject.baseline), but difficulty and gamed rows are the official baseline's, as in alpaca_eval"
            )
        }
        return notes + score.notes
    }
}
