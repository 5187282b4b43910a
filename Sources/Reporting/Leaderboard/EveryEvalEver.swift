package import Chat
internal import Statistics

/// A leaderboard as records of every_eval_ever 0.3.0 (https://github.com/evaleval/every_eval_ever), one a model: a shared
/// form in which evaluations of any tool are collected. Numbers are in percent; what the form has no place for stands in
/// its `additional_details`, whose values are texts.
package struct EveryEvalEver: Sendable {
    /// A judge as the form asks for it.
    package struct Judge: Sendable {
        /// Who answers, as `provider/name`.
        package var model: String
        /// The very template; the record is no record of a judgment without it.
        package var template: String
        package var temperature: Double?

        package init(model: String, template: String, temperature: Double?) {
            self.model = model
            self.template = template
            self.temperature = temperature
        }
    }

    private let board: Leaderboard
    private let judge: Judge
    private let modelIDs: [String: String]
    private let organization: String
    private let retrieved: String
    private let version: String

    /// - Parameters:
    ///   - modelIDs: by an entry's name who made the model and its name, as `organization/model`.
    ///   - organization: who evaluated.
    ///   - retrieved: seconds since 1970, as text.
    ///   - version: of this program.
    package init(
        _ board: Leaderboard, judge: Judge, modelIDs: [String: String], organization: String, retrieved: String,
        version: String
    ) {
        self.board = board
        self.judge = judge
        self.modelIDs = modelIDs
        self.organization = organization
        self.retrieved = retrieved
        self.version = version
    }

    /// Paths under the datastore's root, each with its record.
    package var records: [(path: String, record: JSONValue)] {
        board.entries.map { entry in
            let name = entry["name"]?.string ?? ""
            let model = EveryEvalEver.modelID(modelIDs[name] ?? name)
            let parts = model.split(separator: "/", maxSplits: 1).map(EveryEvalEver.safe)
            return (
                "data/\(collection)/\(parts[0])/\(parts[1])/\(uuid(entry)).json", record(entry, model)
            )
        }
    }

    private var benchmark: String { board.benchmark["id"]?.string ?? "" }
    private var collection: String { benchmark == "alpacaeval" ? "alpaca_eval_v2" : EveryEvalEver.safe(benchmark[...]) }

    /// An organization stands before the name; of a name alone it is not known.
    private static func modelID(_ name: String) -> String {
        let id = name.split(separator: "/").joined(separator: "/")
        return id.contains("/") ? id : "unknown/\(id.isEmpty ? "model" : id)"
    }

    private static func safe(_ name: Substring) -> String {
        let text = String(
            String.UnicodeScalarView(
                name.unicodeScalars.map { scalar in
                    scalar.isASCII
                        && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                            || "-_.".unicodeScalars.contains(scalar))
                        ? scalar : "_"
                }))
        return text.allSatisfy { $0 == "." } || text == "data" ? "_\(text)" : text
    }

    /// Of version 4 by its form, and drawn from what the record is of: the same run has the same file.
    private func uuid(_ entry: JSONValue) -> String {
        var digits = Array(Digest.sha256(identity(entry).text()).prefix(32))
        digits[12] = "4"
        digits[16] = ["8", "9", "a", "b"][(digits[16].hexDigitValue ?? 0) % 4]
        let ends = [0, 8, 12, 16, 20, 32]
        return zip(ends, ends.dropFirst()).map { String(digits[$0..<$1]) }.joined(separator: "-")
    }

    private func identity(_ entry: JSONValue) -> JSONValue {
        [
            board.benchmark, board.judge, entry["name"] ?? .null, entry["fingerprint"] ?? .null,
            entry["metrics"] ?? .null,
        ]
    }

    private func record(_ entry: JSONValue, _ model: String) -> JSONValue {
        let id = "\(collection)/\(model)/\(Digest.sha256(identity(entry).text()).prefix(12))"
        return [
            "schema_version": "0.3.0", "evaluation_id": .string(id), "retrieved_timestamp": .string(retrieved),
            "source_metadata": [
                "source_name": "evalharness", "source_type": "evaluation_run",
                "source_organization_name": .string(organization), "evaluator_relationship": "other",
                "additional_details": details([
                    ("official_prompts", board.benchmark["official_prompts"]),
                    ("reference_judge", board.judge["reference_judge"]),
                    ("flags", entry["integrity"]?["flags"]), ("notes", entry["notes"]),
                ]),
            ],
            "eval_library": ["name": "evalharness", "version": .string(version)],
            "model_info": [
                "name": entry["name"] ?? .null, "id": .string(model),
                "additional_details": details([
                    ("deployment_type", "unknown"), ("model_availability", "unknown"),
                    ("fingerprint", entry["fingerprint"]),
                ]),
            ],
            "evaluation_results": .array(
                EveryEvalEver.metrics.compactMap { metric in
                    guard let value = entry["metrics"]?[metric.key], let score = value["value"]?.number else {
                        return nil
                    }
                    return result(metric, value, score, entry, id)
                }),
        ]
    }

    // MARK: Results

    private struct Metric {
        var key, id, description: String
    }

    private static let metrics = [
        Metric(
            key: "win_rate", id: "win-rate",
            description: "Mean preference of the judge for the model's output over the baseline's, in percent."),
        Metric(
            key: "length_controlled_winrate", id: "alpaca_eval.length_controlled_win_rate",
            description: "Win rate of a logistic regression of the preferences at no difference in length, in percent."),
        Metric(
            key: "discrete_win_rate", id: "alpaca_eval.discrete_win_rate",
            description: "Share of prompts won, with half of the draws, in percent."),
    ]

    private func result(
        _ metric: Metric, _ value: JSONValue, _ score: Double, _ entry: JSONValue, _ id: String
    ) -> JSONValue {
        var object: JSONObject = [
            "evaluation_result_id": .string("\(id)/\(metric.key)"), "evaluation_name": .string(benchmark),
            "source_data": source,
            "metric_config": [
                "evaluation_description": .string(metric.description), "metric_id": .string(metric.id),
                "metric_name": .string(metric.key), "metric_kind": "win_rate", "metric_unit": "percent",
                "metric_parameters": [
                    "baseline_model": board.benchmark["baseline"] ?? "", "annotator": board.judge["id"] ?? "",
                ],
                "lower_is_better": false, "score_type": "continuous", "min_score": 0, "max_score": 100,
                "llm_scoring": scoring,
            ],
            "score_details": scoreDetails(value, score, entry),
        ]
        if let generation = entry["generation"]?.object { object["generation_config"] = self.generation(generation) }
        return .object(object)
    }

    private var source: JSONValue {
        var source: JSONObject = [
            "dataset_name": .string(collection), "source_type": benchmark == "alpacaeval" ? "hf_dataset" : "other",
        ]
        if benchmark == "alpacaeval" {
            source["hf_repo"] = "tatsu-lab/alpaca_eval"
            source["hf_split"] = "eval"
            source["samples_number"] = board.benchmark["n"]
        }
        source["additional_details"] = details([
            ("baseline_model", board.benchmark["baseline"]), ("dataset_sha256", board.benchmark["dataset_sha256"]),
            ("baseline_sha256", board.benchmark["baseline_sha256"]),
        ])
        return .object(source)
    }

    private var scoring: JSONValue {
        var own: JSONObject = [
            "model_info": [
                "name": .string(judge.model.split(separator: "/").last.map(String.init) ?? judge.model),
                "id": .string(judge.model),
                "additional_details": ["deployment_type": "unknown", "model_availability": "unknown"],
            ]
        ]
        own["temperature"] = judge.temperature.map { .number($0) }
        own["additional_details"] = details([
            ("judge", board.judge["id"]), ("fingerprint", board.judge["fingerprint"]),
        ])
        return ["judges": [.object(own)], "input_prompt": .string(judge.template)]
    }

    private func scoreDetails(_ value: JSONValue, _ score: Double, _ entry: JSONValue) -> JSONValue {
        var object: JSONObject = [
            "score": .number(score),
            "details": details(
                ["n_wins", "n_wins_base", "n_draws", "n_total", "avg_length"].map { ($0, entry["metrics"]?[$0]) }
                    + [("n_missing", value["n_missing"]), ("official_standard_error", value["official_se"])]),
        ]
        if let error = value["se"]?.number, let lower = value["ci95"]?[0]?.number,
            let upper = value["ci95"]?[1]?.number
        {
            let method = value["method"]?.string ?? "bootstrap by prompt"
            var uncertainty: JSONObject = [
                "standard_error": ["value": .number(error), "method": .string(method)],
                "confidence_interval": [
                    "lower": .number(lower), "upper": .number(upper), "confidence_level": 0.95,
                    "method": .string(method),
                ],
            ]
            uncertainty["num_samples"] = value["n"]
            object["uncertainty"] = .object(uncertainty)
        }
        return .object(object)
    }

    private func generation(_ generation: JSONObject) -> JSONValue {
        var arguments = JSONObject()
        let decoding = generation["decoding"]
        for key in ["temperature", "top_p", "top_k"] {
            if let value = decoding?[key], !value.isNull { arguments[key] = value }
        }
        if let most = generation["max_tokens"]?.integer, most > 0 { arguments["max_tokens"] = .integer(most) }
        return [
            "generation_args": .object(arguments),
            "additional_details": details(generation.members.map { ($0.key, $0.value) }),
        ]
    }

    /// Texts only; what is not there is left out.
    private func details(_ pairs: [(String, JSONValue?)]) -> JSONValue {
        var object = JSONObject()
        for (key, value) in pairs {
            guard let value, !value.isNull else { continue }
            object[key] = .string(value.string ?? value.text())
        }
        return .object(object)
    }
}
