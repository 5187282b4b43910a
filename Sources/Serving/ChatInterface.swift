internal import Chat

/// `/v1/chat/completions`: what it reads, and how it writes.
enum ChatInterface {
    static func call(
        _ fields: inout RequestFields, model: ServedModel, freshSeed: @Sendable () -> UInt64
    ) throws(ServingError) -> GenerationCall {
        let messages = try messages(fields.take("messages"))
        let maxTokens = try maxTokens(&fields)
        let topLogprobs = try topLogprobs(&fields)
        var call = try GenerationCall(&fields, maxTokens: maxTokens, topLogprobs: topLogprobs, freshSeed: freshSeed)
        try fields.finish()
        call.request.messages = messages
        do {
            call.prompts = [GenerationCall.Prompt(ids: try model.chatPrompt(messages))]
        } catch {
            throw .refused("\(error)")
        }
        return call
    }

    private static func maxTokens(_ fields: inout RequestFields) throws(ServingError) -> Int {
        let older = try fields.integer("max_tokens", in: 1...(.max))
        let newer = try fields.integer("max_completion_tokens", in: 1...(.max))
        if let older, let newer, older != newer {
            throw .invalid(field: "max_tokens", reason: "it is \(older), but max_completion_tokens is \(newer)")
        }
        return newer ?? older ?? .max
    }

    private static func topLogprobs(_ fields: inout RequestFields) throws(ServingError) -> Int? {
        let count = try fields.integer("top_logprobs", in: 0...GenerationCall.mostAlternatives)
        if try fields.bool("logprobs") == true { return count ?? 0 }
        if let count, count > 0 {
            throw .invalid(field: "top_logprobs", reason: "it needs logprobs to be true")
        }
        return nil
    }

    // MARK: Messages

    private static func messages(_ value: JSONValue?) throws(ServingError) -> [Message] {
        guard let value else { throw .invalid(field: "messages", reason: "it is missing") }
        guard let turns = value.array, !turns.isEmpty else {
            throw RequestFields.mismatch("messages", value, "a list of one message or more")
        }
        var messages: [Message] = []
        for (index, turn) in turns.enumerated() { messages.append(try message(turn, "messages[\(index)]")) }
        return messages
    }

    private static func message(_ turn: JSONValue, _ name: String) throws(ServingError) -> Message {
        guard let object = turn.object else { throw RequestFields.mismatch(name, turn, "an object") }
        for member in object.members where !["role", "content"].contains(member.key) {
            if member.value.isNull || member.value.array?.isEmpty ?? false { continue }
            throw .invalid(field: "\(name).\(member.key)", reason: "this server does not offer it. Leave it out")
        }
        let role: Message.Role
        switch turn["role"]?.string {
        case "system", "developer": role = .system
        case "user": role = .user
        case "assistant": role = .assistant
        default:
            throw RequestFields.mismatch(
                "\(name).role", turn["role"] ?? .null, "system, developer, user or assistant")
        }
        return Message(role: role, content: try content(turn["content"] ?? .null, "\(name).content"))
    }

    /// Parts of text are joined by newlines, as other open servers join them.
    private static func content(_ value: JSONValue, _ name: String) throws(ServingError) -> String {
        if let text = value.string { return text }
        guard let parts = value.array, !parts.isEmpty else {
            throw RequestFields.mismatch(name, value, "a string or a list of text parts")
        }
        var texts: [String] = []
        for (index, part) in parts.enumerated() {
            guard part["type"]?.string == "text", let text = part["text"]?.string else {
                throw .invalid(
                    field: "\(name)[\(index)]",
                    reason: "only parts of the form {\"type\": \"text\", \"text\": \"…\"} are offered")
            }
            texts.append(text)
        }
        return texts.joined(separator: "\n")
    }

    // MARK: Replies

    static func choice(_ index: Int, _ answer: ServedModel.Answer, logsTokens: Bool) -> JSONValue {
        [
            "index": .integer(index),
            "message": ["role": "assistant", "content": .string(answer.text), "refusal": .null],
            "logprobs": logsTokens ? logprobs(answer.tokens) : .null,
            "finish_reason": .string(answer.finishReason.openAI),
        ]
    }

    /// - Parameter tokens: nil where no log-probabilities were asked for.
    static func delta(_ index: Int, _ text: String, tokens: [ServedModel.Token]?) -> JSONValue {
        delta(index, ["content": .string(text)], logprobs: tokens.map(logprobs) ?? .null)
    }

    static func opening(_ index: Int) -> JSONValue { delta(index, ["role": "assistant", "content": ""]) }

    static func end(_ index: Int, _ reason: Completion.FinishReason) -> JSONValue {
        delta(index, [:], finishReason: .string(reason.openAI))
    }

    private static func delta(
        _ index: Int, _ delta: JSONValue, logprobs: JSONValue = .null, finishReason: JSONValue = .null
    ) -> JSONValue {
        ["index": .integer(index), "delta": delta, "logprobs": logprobs, "finish_reason": finishReason]
    }

    private static func logprobs(_ tokens: [ServedModel.Token]) -> JSONValue {
        let content = tokens.map { token in
            entry(token.bytes, token.logprob, top: token.top.map { entry($0.bytes, $0.logprob, top: nil) })
        }
        return ["content": .array(content), "refusal": .null]
    }

    private static func entry(_ bytes: [UInt8], _ logprob: Double?, top: [JSONValue]?) -> JSONValue {
        var entry: JSONObject = [
            "token": .string(TokenText.shown(bytes)), "logprob": TokenText.number(logprob),
            "bytes": .array(bytes.map { .integer(Int($0)) }),
        ]
        entry["top_logprobs"] = top.map(JSONValue.array)
        return .object(entry)
    }
}
