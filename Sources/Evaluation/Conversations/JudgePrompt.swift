package import Chat

/// A judge's system prompt and template of FastChat or arena-hard-auto.
package struct JudgePrompt: Hashable, Sendable {
    package var name: String
    package var system: String
    package var template: String

    package init(name: String, system: String, template: String) {
        self.name = name
        self.system = system
        self.template = template
    }

    /// Reads FastChat's `judge_prompts.jsonl`, by name.
    ///
    /// - Throws: `badData` naming the record that is not one of upstream's.
    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [String: JudgePrompt] {
        var prompts: [String: JudgePrompt] = [:]
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let name = record["name"]?.string, let system = record["system_prompt"]?.string,
                let template = record["prompt_template"]?.string
            else { throw .badData("\(path), record \(index + 1) should have name, system_prompt and prompt_template.") }
            prompts[name] = JudgePrompt(name: name, system: system, template: template)
        }
        return prompts
    }

    /// The system's and the user's message. Fields are filled in one pass: what a prompt or an output holds is never taken
    /// for a field.
    package func messages(_ fields: [String: String]) -> [Message] {
        [Message(role: .system, content: system), .user(filled(fields))]
    }

    private func filled(_ fields: [String: String]) -> String {
        var text = ""
        var rest = template[...]
        while let open = rest.firstIndex(of: "{") {
            text += rest[..<open]
            let after = rest[rest.index(after: open)...]
            if let close = after.firstIndex(of: "}"), let value = fields[String(after[..<close])] {
                text += value
                rest = after[after.index(after: close)...]
            } else {
                text += "{"
                rest = after
            }
        }
        return text + rest
    }
}

/// A judge's reply, or why there is none.
package enum JudgeReply: Sendable {
    case text(String)
    case none(Verdict.Reason)

    /// Asks once.
    ///
    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    static func ask(_ model: any ChatModel, _ request: ChatRequest) async throws -> JudgeReply {
        do {
            let completion = try await model.complete(request)
            return completion.finishReason == .refused
                ? .none(.refused("the judge declined to answer")) : .text(completion.text)
        } catch ModelFailure.requestFailed(let reason) {
            return .none(.failed(reason))
        }
    }
}
