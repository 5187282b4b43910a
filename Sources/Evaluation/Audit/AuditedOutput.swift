internal import Chat

/// An output, with its prompt where that is known.
package struct AuditedOutput: Hashable, Sendable {
    /// What its file knows the prompt by.
    package var key: String
    package var prompt: String?
    package var text: String

    package init(key: String, prompt: String?, text: String) {
        self.key = key
        self.prompt = prompt
        self.text = text
    }

    package init(_ output: ModelOutput) {
        self.init(
            key: output.prompt.id == nil ? "\(output.prompt.index)" : output.prompt.key,
            prompt: output.prompt.turns.joined(separator: "\n"), text: output.turns.joined(separator: "\n"))
    }

    /// How many of the prompt's words stand in the output, 0...1; 1 for a prompt without any.
    var promptOverlap: Double {
        let words = Set(AuditText.words(prompt ?? "").filter { $0.count >= 4 })
        if words.isEmpty { return 1 }
        return Double(words.intersection(AuditText.words(text)).count) / Double(words.count)
    }

    var isEcho: Bool {
        guard let prompt, prompt.utf8.count >= 20 else { return false }
        return text.utf8.count * 10 < prompt.utf8.count * 13 && text.contains(prompt)
    }
}

extension AuditedOutput {
    /// Reads anyone's outputs: alpaca_eval's `model_outputs.json` or `annotations.json`, or FastChat's and
    /// arena-hard-auto's JSON Lines, whose prompts stand in a file of their own.
    ///
    /// - Parameter prompts: of the second form; nil leaves out what needs them.
    /// - Throws: `badData` naming the record.
    package static func read(
        _ bytes: [UInt8], path: String, prompts: PromptSet?
    ) throws(EvaluationError) -> [AuditedOutput] {
        let records = try Records.read(bytes, path: path, asked: "The outputs")
        if records.isEmpty { throw .badData("\(path) holds no outputs: an empty list.") }
        if records[0]["question_id"] != nil || records[0]["uid"] != nil {
            return try ConversationOutputs.read(bytes, path: path).map { key, turns in
                AuditedOutput(
                    key: key, prompt: prompts?[key]?.turns.joined(separator: "\n"), text: turns.joined(separator: "\n"))
            }
        }
        var outputs: [AuditedOutput] = []
        for (index, record) in records.enumerated() {
            let instruction = try Records.string("instruction", of: record, index, path)
            let field = record["output"] == nil && record["output_2"] != nil ? "output_2" : "output"
            outputs.append(
                AuditedOutput(
                    key: "\(index)", prompt: instruction, text: try Records.string(field, of: record, index, path)))
        }
        return outputs
    }
}
