package import Chat
package import Evaluation
package import Statistics

/// What a run says of each prompt, without its texts: what runs are compared by, and what a gate keeps of its baseline.
package struct RunSnapshot: Hashable, Sendable {
    package static let schema = "evalharness.snapshot/1"

    /// What the values of a run are.
    package enum Scale: String, Hashable, Sendable {
        /// Preferences over the benchmark's baseline, in percent: the mean is the win rate.
        case preference
        /// Numbers on the judge's scale.
        case rating

        package var metric: Metric { self == .preference ? .winRate : .average }
    }

    package struct Row: Hashable, Sendable {
        /// The start of the SHA-256 of what its file knows the prompt by.
        package var prompt: String
        /// Its place in the benchmark's own prompt set; nil for a prompt that is not of it.
        package var place: Int?
        package var category: String?
        /// Of the prompt, in Unicode scalars; nil where it is not known.
        package var promptLength: Int?
        /// Of the output and the baseline's, in Unicode scalars; nil where there are none.
        package var length: Int?
        package var baselineLength: Int?
        /// The start of the SHA-256 of the output.
        package var output: String?
        /// The sum and number of the values on the prompt; nil where no verdict is there.
        package var values: Cluster?
        /// Verdicts that the judge was asked for on the prompt.
        package var asked = 1
        /// Of them, those that are not there beside others that are.
        package var lost = 0
        /// What the judge's calls cost in US dollars; nil where no price is known.
        package var cost: Double?
        package var calls: Int

        package init(key: String, calls: Int = 0) {
            prompt = Row.digest(key)
            self.calls = calls
        }

        /// Of verdicts.
        package var missing: Int { values == nil ? asked : lost }

        static func digest(_ text: String) -> String { String(Digest.sha256(text).prefix(16)) }
    }

    package var name: String
    package var benchmark: String
    package var scale: Scale
    package var rows: [Row]
    /// Prompts that the model gave no output for; they have no row.
    package var unanswered = 0
    /// What numbers depend on, by name, in a fixed order: what must be alike for a comparison to mean anything, and what
    /// `--why` looks through.
    package var provenance: JSONObject
    /// What is suspicious about the outputs.
    package var flags: [String]

    package init(
        name: String, benchmark: String, scale: Scale, rows: [Row], provenance: JSONObject, flags: [String] = []
    ) {
        self.name = name
        self.benchmark = benchmark
        self.scale = scale
        self.rows = rows
        self.provenance = provenance
        self.flags = flags
    }

    /// Of verdicts.
    package var asked: Int { rows.reduce(unanswered) { $0 + $1.asked } }
    package var missing: Int { rows.reduce(unanswered) { $0 + $1.missing } }

    /// Whether the model is the very baseline that it is compared to.
    var isBaseline: Bool { fact("model") != nil && fact("model") == fact("baseline") }

    /// What a person reads of a fact about the run.
    package func fact(_ name: String) -> String? {
        provenance[name].map { $0.string ?? $0.text() }
    }
}

// MARK: - Files

extension RunSnapshot {
    package var json: JSONValue {
        [
            "schema": .string(RunSnapshot.schema), "name": .string(name), "benchmark": .string(benchmark),
            "scale": .string(scale.rawValue), "provenance": .object(provenance),
            "flags": .array(flags.map(JSONValue.string)), "unanswered": .integer(unanswered),
            "rows": .array(rows.map(\.json)),
        ]
    }

    /// Reads back what `json` wrote.
    ///
    /// - Throws: `badData` naming the row that is none.
    package init(_ document: JSONValue, path: String) throws(EvaluationError) {
        guard document["schema"]?.string == RunSnapshot.schema, let name = document["name"]?.string,
            let benchmark = document["benchmark"]?.string,
            let scale = document["scale"]?.string.flatMap(Scale.init), let rows = document["rows"]?.array
        else { throw .badData("\(path) is no snapshot of evalharness (schema \(RunSnapshot.schema)).") }
        self.init(
            name: name, benchmark: benchmark, scale: scale, rows: [],
            provenance: document["provenance"]?.object ?? JSONObject(),
            flags: document["flags"]?.array?.compactMap(\.string) ?? [])
        unanswered = try RunSnapshot.count(of: document["unanswered"], path: path)
        var seen: Set<String> = []
        for (index, row) in rows.enumerated() {
            guard let row = Row(row), seen.insert(row.prompt).inserted,
                scale == .rating || row.values.map({ (0...100).contains($0.mean) }) ?? true
            else {
                throw .badData(
                    "\(path), row \(index) is not one of a snapshot, or its prompt has a row already. Save the snapshot anew."
                )
            }
            self.rows.append(row)
        }
    }
}

extension RunSnapshot {
    /// - Throws: `badData` for a number that is none of prompts; 0 where there is none.
    static func count(of value: JSONValue?, path: String) throws(EvaluationError) -> Int {
        guard let value, value != .null else { return 0 }
        guard let count = value.integer, (0...10_000_000).contains(count) else {
            throw .badData("\(path) should have a number of prompts, not \(TextTable.printable(value.text())).")
        }
        return count
    }
}

extension RunSnapshot.Row {
    fileprivate var json: JSONValue {
        var object: JSONObject = ["prompt": .string(prompt)]
        object["place"] = place.map { .integer($0) }
        object["category"] = category.map { .string($0) }
        object["prompt_length"] = promptLength.map { .integer($0) }
        object["length"] = length.map { .integer($0) }
        object["baseline_length"] = baselineLength.map { .integer($0) }
        object["output"] = output.map { .string($0) }
        object["sum"] = JSONValue(values?.sum)
        object["n"] = .integer(values?.count ?? 0)
        object["asked"] = .integer(asked)
        object["missing"] = .integer(missing)
        object["calls"] = .integer(calls)
        object["usd"] = cost.map { .number($0) }
        return .object(object)
    }

    fileprivate init?(_ json: JSONValue) {
        guard let prompt = json["prompt"]?.string, let count = json["n"]?.integer, (0...10_000).contains(count) else {
            return nil
        }
        self.prompt = prompt
        place = json["place"]?.integer
        category = json["category"]?.string
        promptLength = json["prompt_length"]?.integer
        length = json["length"]?.integer
        baselineLength = json["baseline_length"]?.integer
        output = json["output"]?.string
        calls = json["calls"]?.integer ?? 0
        cost = json["usd"]?.number
        asked = json["asked"]?.integer ?? 1
        guard (1...10_000).contains(asked) else { return nil }
        if count == 0 { return }
        lost = json["missing"]?.integer ?? 0
        guard (0..<asked).contains(lost) else { return nil }
        guard let sum = json["sum"]?.number, sum.isFinite else { return nil }
        values = Cluster(sum: sum, count: count)
    }
}
