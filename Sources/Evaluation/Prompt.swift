package import Chat

/// What a model is asked: one turn, or several of which each goes on from the output to the one before.
package struct Prompt: Hashable, Sendable {
    /// Its place in the prompt file, from 0: what `--sample-id` and `--explain` take.
    package var index: Int
    /// Upstream's name for it, a number or a text; nil in a file that knows prompts by their words alone.
    package var id: JSONValue?
    package var turns: [String]
    /// The collection that it came from, or the kind of prompt that it is, as upstream names it.
    package var category: String?
    /// What a program can decide about its outputs, by turn; empty where there is nothing.
    package var checks: [CheckList]
    /// The prompt's own, before its category's.
    package var temperature: Double?
    /// The correct answers that its file brings along, by turn.
    package var reference: [String]

    package init(
        index: Int, id: JSONValue? = nil, turns: [String], category: String? = nil, checks: [CheckList] = [],
        temperature: Double? = nil, reference: [String] = []
    ) {
        self.index = index
        self.id = id
        self.turns = turns
        self.category = category
        self.checks = checks
        self.temperature = temperature
        self.reference = reference
    }

    package init(index: Int, instruction: String, category: String? = nil) {
        self.init(index: index, turns: [instruction], category: category)
    }

    /// The first turn.
    package var instruction: String { turns[0] }

    /// What its file knows it by.
    package var key: String { id?.identifier ?? instruction }
}

/// The prompts of a run, in the order of their file.
package struct PromptSet: Hashable, Sendable {
    package var prompts: [Prompt]
    package var sha256: String
    /// Whether this is the benchmark's own pinned set, by hash.
    package var isOfficial: Bool
    private var places: [String: Int]

    /// Reads a JSON array, or JSON Lines, of records with an `instruction` each as alpaca_eval's, or with an id and turns
    /// as FastChat's and arena-hard-auto's; and `checks` where there are any.
    ///
    /// - Throws: `badData` naming the record: not an array, no instruction, no id or turns, another number of checks than
    ///   turns, an empty or a repeated prompt.
    package init(bytes: [UInt8], path: String, isOfficial: Bool) throws(EvaluationError) {
        prompts = []
        places = [:]
        sha256 = Digest.sha256(bytes)
        self.isOfficial = isOfficial
        for (index, record) in try Records.read(bytes, path: path, asked: "The prompts").enumerated() {
            let prompt = try Prompt(record, index, path)
            if !prompt.checks.isEmpty, prompt.checks.count != prompt.turns.count {
                throw .badData(
                    "\(path), record \(index) has checks for \(prompt.checks.count) of \(prompt.turns.count) turns.")
            }
            if let earlier = places.updateValue(index, forKey: prompt.key) {
                let name = prompt.id == nil ? "instruction" : "question_id \(prompt.key)"
                throw .badData(
                    "\(path), record \(index): its \(name) also stands in record \(earlier). Every prompt must be asked "
                        + "once.")
            }
            prompts.append(prompt)
        }
        if prompts.isEmpty { throw .badData("\(path) holds no prompts: an empty list.") }
    }

    /// - Parameter key: the instruction, or the id where prompts have one.
    package func index(of key: String) -> Int? { places[key] }

    package subscript(key: String) -> Prompt? { places[key].map { prompts[$0] } }

    /// Whether its file names prompts by ids, as those of MT-Bench and Arena-Hard do.
    package var hasIDs: Bool { prompts[0].id != nil }
}

extension Prompt {
    /// By its id where the record has any of the fields of one, by its instruction otherwise.
    fileprivate init(_ record: JSONValue, _ index: Int, _ path: String) throws(EvaluationError) {
        guard ["question_id", "uid", "turns", "prompt"].contains(where: { record[$0] != nil }) else {
            let instruction = try Records.string("instruction", of: record, index, path)
            self.init(
                index: index, turns: [instruction], category: record["dataset"]?.string,
                checks: try Prompt.checks(record, index, path))
            return
        }
        let turns = Prompt.turns(record)
        guard let id = record["question_id"] ?? record["uid"], id.identifier != nil, !turns.isEmpty else {
            throw .badData(
                "\(path), record \(index) should have a question_id (or uid), and turns (or a prompt) of text.")
        }
        self.init(
            index: index, id: id, turns: turns, category: record["category"]?.string,
            checks: try Prompt.checks(record, index, path), temperature: record["required_temperature"]?.number,
            reference: record["reference"]?.array?.compactMap(\.string) ?? [])
    }

    private static func turns(_ record: JSONValue) -> [String] {
        if let prompt = record["prompt"]?.string { return [prompt] }
        let turns = (record["turns"]?.array ?? []).map { $0.string ?? $0["content"]?.string }
        return turns.contains(nil) ? [] : turns.compactMap { $0 }
    }

    /// A list for each turn; for one turn the list itself will do.
    private static func checks(
        _ record: JSONValue, _ index: Int, _ path: String
    ) throws(EvaluationError) -> [CheckList] {
        guard let value = record["checks"] else { return [] }
        let isByTurn = value[0]?.array != nil
        var checks: [CheckList] = []
        for list in isByTurn ? value.array ?? [] : [value] {
            checks.append(try CheckList(list, place: "\(path), record \(index)"))
        }
        return checks
    }
}

extension JSONValue {
    /// A name of a prompt: text, or a whole number.
    package var identifier: String? { string ?? integer.map { "\($0)" } }
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
                "\(what) at \(path) cannot be read as JSON\(path.hasSuffix(".jsonl") ? " Lines" : ""): "
                    + "\(error.description). Repair or regenerate the file.")
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
