internal import Chat

/// What a model is asked, and the baseline's output where the prompt file carries one.
package struct Prompt: Hashable, Sendable {
    /// Its place in the prompt file, from 0: what `--sample-id` and `--explain` take.
    package var index: Int
    package var instruction: String
    /// The collection that it came from, as upstream names it.
    package var dataset: String?
    /// What a program can decide about its outputs.
    package var checks: CheckList?

    package init(index: Int, instruction: String, dataset: String? = nil, checks: CheckList? = nil) {
        self.index = index
        self.instruction = instruction
        self.dataset = dataset
        self.checks = checks
    }
}

/// The prompts of a run, in the order of their file.
package struct PromptSet: Hashable, Sendable {
    package var prompts: [Prompt]
    package var sha256: String
    /// Whether this is the benchmark's own pinned set, by hash.
    package var isOfficial: Bool
    private var places: [String: Int]

    /// Reads a JSON array, or JSON Lines, of records with an `instruction` each, and `checks` where there are any.
    ///
    /// - Throws: `badData` naming the record: not an array, no instruction, an empty or a repeated one.
    package init(bytes: [UInt8], path: String, isOfficial: Bool) throws(EvaluationError) {
        prompts = []
        places = [:]
        sha256 = Digest.sha256(bytes)
        self.isOfficial = isOfficial
        for (index, record) in try Records.read(bytes, path: path, asked: "The prompts").enumerated() {
            let instruction = try Records.string("instruction", of: record, index, path)
            if let earlier = places[instruction] {
                throw .badData(
                    "\(path), record \(index): its instruction also stands in record \(earlier). Every prompt must "
                        + "be asked once."
                )
            }
            places[instruction] = index
            prompts.append(
                Prompt(
                    index: index, instruction: instruction, dataset: record["dataset"]?.string,
                    checks: try record["checks"].map { value throws(EvaluationError) in
                        try CheckList(value, place: "\(path), record \(index)")
                    }))
        }
        if prompts.isEmpty { throw .badData("\(path) holds no prompts: an empty list.") }
    }

    package func index(of instruction: String) -> Int? { places[instruction] }
}

/// The records of upstream's JSON files.
enum Records {
    static func read(_ bytes: [UInt8], path: String, asked what: String) throws(EvaluationError) -> [JSONValue] {
        let document: JSONValue
        do {
            if path.hasSuffix(".jsonl") { return try JSONValue.parseLines(bytes) }
            document = try JSONValue(parsing: bytes)
        } catch {
            throw .badData(
                "\(what) at \(path) cannot be read as JSON: \(error.description). Repair or regenerate "
                    + "the file.")
        }
        guard let records = document.array else {
            throw .badData("\(what) at \(path) should be a JSON array of records, but is \(document.kind).")
        }
        return records
    }

    /// - Throws: `badData` naming the line that is not JSON.
    static func lines(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [JSONValue] {
        do {
            return try JSONValue.parseLines(bytes)
        } catch {
            throw .badData("\(path) is not JSON Lines: \(error.description).")
        }
    }

    static func string(_ key: String, of record: JSONValue, _ index: Int, _ path: String) throws(EvaluationError)
        -> String
    {
        guard record.object != nil else {
            throw .badData("\(path), record \(index) should be an object, but is \(record.kind).")
        }
        guard let value = record[key] else {
            throw .badData("\(path), record \(index) has no \"\(key)\", which every record needs.")
        }
        guard let text = value.string else {
            throw .badData("\(path), record \(index): \"\(key)\" should be a string, but is \(value.kind).")
        }
        return text
    }
}
