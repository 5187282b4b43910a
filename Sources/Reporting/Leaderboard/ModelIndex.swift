package import Chat
package import Evaluation

/// One model's entry as the `model-index` of a Hugging Face model card, in JSON, which is YAML too. What the form has no
/// place for stands in the `args` of a metric.
package struct ModelIndex: Sendable {
    package let json: JSONValue

    /// - Parameter name: of the entry; nil takes the only one.
    /// - Throws: `configuration` where there are several entries and no name, or none of the name.
    package init(_ board: Leaderboard, name: String?) throws(EvaluationError) {
        let found = board.entries.filter { name == nil || $0["name"]?.string == name }
        guard found.count == 1, let name = found[0]["name"] else {
            let known = board.entries.compactMap { $0["name"]?.string }.prefix(8).joined(separator: ", ")
            throw .configuration("A model card is of one model: name it with --name, one of \(known).")
        }
        let id = board.benchmark["id"]?.string ?? ""
        var dataset: JSONObject = [
            "type": .string(id == "alpacaeval" ? "tatsu-lab/alpaca_eval" : id),
            "name": .string(id == "alpacaeval" ? "AlpacaEval 2" : id),
        ]
        if id == "alpacaeval" {
            dataset["config"] = "alpaca_eval_gpt4_baseline"
            dataset["split"] = "eval"
        }
        json = [
            "model-index": [
                [
                    "name": name,
                    "results": [
                        [
                            "task": ["type": "text-generation", "name": "Instruction following"],
                            "dataset": .object(dataset), "metrics": .array(ModelIndex.metrics(found[0], board)),
                        ]
                    ],
                ]
            ]
        ]
    }

    private static func metrics(_ entry: JSONValue, _ board: Leaderboard) -> [JSONValue] {
        let names = [
            ("length_controlled_winrate", "Length-controlled win rate, %"), ("win_rate", "Win rate, %"),
            ("discrete_win_rate", "Discrete win rate, %"),
        ]
        return names.compactMap { key, title in
            guard let metric = entry["metrics"]?[key], let value = metric["value"]?.number else { return nil }
            var details = JSONObject()
            details["judge"] = board.judge["id"]
            details["baseline"] = board.benchmark["baseline"]
            details["n"] = metric["n"]
            details["n_missing"] = metric["n_missing"]
            if let error = metric["se"], !error.isNull { details["standard_error"] = error }
            if let interval = metric["ci95"], !interval.isNull { details["ci95"] = interval }
            if let flags = entry["integrity"]?["flags"]?.array, !flags.isEmpty { details["flags"] = .array(flags) }
            return [
                "type": .string(key), "value": .number(value), "name": .string(title), "args": .object(details),
            ]
        }
    }
}
