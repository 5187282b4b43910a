package import Chat

/// The form of upstream's files of outputs.
package enum ConversationForm: Hashable, Sendable {
    /// FastChat's: turns as texts.
    case mtBench
    /// arena-hard-auto's up to v0.1: turns as objects.
    case arenaV01
    /// arena-hard-auto's of v2.0: messages.
    case arenaV2
}

/// The records of upstream's files of outputs, whatever prompts they are for.
package enum ConversationOutputs {
    /// By record what its file knows the prompt by, and what was written, a text a turn.
    ///
    /// - Throws: `badData` naming the record without id, or with a turn that is no text.
    package static func read(
        _ bytes: [UInt8], path: String
    ) throws(EvaluationError) -> [(key: String, turns: [String])] {
        var outputs: [(key: String, turns: [String])] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let key = record["question_id"]?.identifier ?? record["uid"]?.identifier else {
                throw .badData("\(path), record \(index + 1) should have a question_id or uid.")
            }
            let turns = turns(record)
            if let place = turns.firstIndex(of: nil) {
                throw .badData(
                    "\(path), record \(index + 1) should have text as each turn of prompt \(key), but turn \(place + 1) has "
                        + "none. Generate it again, or leave the record out.")
            }
            outputs.append((key, turns.compactMap(\.self)))
        }
        return outputs
    }

    private static func turns(_ record: JSONValue) -> [String?] {
        if let messages = record["messages"]?.array {
            return messages.filter { $0["role"]?.string == "assistant" }.map { message in
                message["content"]?.string ?? message["content"]?["answer"]?.string
            }
        }
        let turns = record["choices"]?[0]?["turns"]?.array ?? []
        return turns.map { $0.string ?? $0["content"]?.string }
    }
}

extension ModelOutputs {
    /// Reads FastChat's `model_answer/<model>.jsonl`, and both forms of arena-hard-auto's. Of several records for a prompt
    /// the last counts, as upstream reads it; those of other prompts are left out.
    ///
    /// - Parameter name: nil takes the file's stem, as upstream does.
    /// - Throws: `badData` naming the record without id or with too few turns, or where no prompt has an output.
    init(conversations bytes: [UInt8], path: String, prompts: PromptSet, name: String?) throws(EvaluationError) {
        let name = name ?? Files.stem(of: path)
        var outputs: [Int: ModelOutput] = [:]
        for (index, (key, turns)) in try ConversationOutputs.read(bytes, path: path).enumerated() {
            guard let prompt = prompts[key] else { continue }
            guard turns.count >= prompt.turns.count else {
                throw .badData(
                    "\(path), record \(index + 1) answers \(turns.count) of the \(prompt.turns.count) turns of prompt "
                        + "\(key).")
            }
            outputs[prompt.index] = ModelOutput(
                prompt: prompt, turns: Array(turns.prefix(prompt.turns.count)), generator: name)
        }
        if outputs.isEmpty { throw .badData("\(path) answers none of the \(prompts.prompts.count) prompts.") }
        self.init(
            name: name, outputs: prompts.prompts.compactMap { outputs[$0.index] }, sha256: Digest.sha256(bytes))
    }

    /// The correct answers that the prompts' own file gives, as a set of references.
    package static func references(of prompts: PromptSet) -> ModelOutputs {
        let known = prompts.prompts.filter { $0.reference.count == $0.turns.count }
        return ModelOutputs(
            name: "the prompts' file",
            outputs: known.map { ModelOutput(prompt: $0, turns: $0.reference, generator: "reference") },
            sha256: prompts.sha256)
    }

    /// Upstream's records. There is no clock in them.
    ///
    /// - Parameter metadata: of the outputs, by the prompt's key.
    package func records(_ form: ConversationForm, metadata: [String: OutputMetadata] = [:]) -> [JSONValue] {
        outputs.map { output in
            let id = JSONValue.string(output.identifier)
            let metadata = metadata[output.prompt.key]
            if form == .arenaV2 {
                var record: JSONObject = [
                    "uid": output.prompt.id ?? .null, "ans_id": id, "model": .string(output.generator),
                    "messages": [
                        ["role": "user", "content": .string(output.prompt.instruction)],
                        ["role": "assistant", "content": ["answer": .string(output.output)]],
                    ], "tstamp": 0,
                ]
                record["metadata"] = metadata.map { .object($0.json) }
                return .object(record)
            }
            let turns = output.turns.map { text -> JSONValue in
                if form == .mtBench { return .string(text) }
                var turn: JSONObject = ["content": .string(text)]
                turn["token_len"] = metadata.map { .integer($0.tokens) }
                return .object(turn)
            }
            var record: JSONObject = [
                "question_id": output.prompt.id ?? .null, "answer_id": id, "model_id": .string(output.generator),
                "choices": [["index": 0, "turns": .array(turns)]], "tstamp": 0,
            ]
            record["conv_metadata"] = metadata.map { .object($0.json) }
            return .object(record)
        }
    }
}

extension ModelOutput {
    /// Upstream draws 22 characters at random.
    fileprivate var identifier: String {
        String(Digest.sha256(([generator, prompt.key] + turns).joined(separator: "\0")).prefix(22))
    }
}
