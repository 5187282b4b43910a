internal import Chat

/// `/v1/completions`: what it reads, and how it writes.
enum TextInterface {
    static func call(
        _ fields: inout RequestFields, model: ServedModel, freshSeed: @Sendable () -> UInt64
    ) throws(ServingError) -> GenerationCall {
        guard let value = fields.take("prompt") else { throw .invalid(field: "prompt", reason: "it is missing") }
        let maxTokens = try fields.integer("max_tokens", in: 0...(.max)) ?? 16
        let topLogprobs = try fields.integer("logprobs", in: 0...GenerationCall.mostAlternatives)
        let echoes = try fields.bool("echo") ?? false
        var call = try GenerationCall(&fields, maxTokens: maxTokens, topLogprobs: topLogprobs, freshSeed: freshSeed)
        try fields.finish()
        call.echoes = echoes
        call.prompts = try prompts(value, model)
        return call
    }

    /// A string, a list of strings, a list of token ids, or a list of such lists.
    private static func prompts(_ value: JSONValue, _ model: ServedModel) throws(ServingError) -> [GenerationCall
        .Prompt]
    {
        let values = value.array.map { $0.first?.integer == nil ? $0 : [value] } ?? [value]
        guard (1...GenerationCall.mostPrompts).contains(values.count) else {
            throw .invalid(
                field: "prompt",
                reason: "it holds \(values.count) prompts, but it must hold 1 to \(GenerationCall.mostPrompts)")
        }
        var prompts: [GenerationCall.Prompt] = []
        for value in values { prompts.append(try prompt(value, model)) }
        return prompts
    }

    private static func prompt(_ value: JSONValue, _ model: ServedModel) throws(ServingError) -> GenerationCall.Prompt {
        if let text = value.string {
            do {
                return GenerationCall.Prompt(ids: try model.textPrompt(text), text: text)
            } catch {
                throw .refused("\(error)")
            }
        }
        guard let entries = value.array else {
            throw RequestFields.mismatch(
                "prompt", value, "a string, a list of strings, a list of token ids or a list of such lists")
        }
        var ids: [Int32] = []
        for entry in entries {
            guard let id = entry.integer, (0..<model.vocabularySize).contains(id) else {
                throw RequestFields.mismatch("a token of the prompt", entry, "an id below \(model.vocabularySize)")
            }
            ids.append(Int32(id))
        }
        return GenerationCall.Prompt(ids: ids)
    }

    // MARK: Replies

    static func choice(
        _ index: Int, _ text: String, _ logprobs: JSONValue, _ reason: Completion.FinishReason?
    ) -> JSONValue {
        [
            "index": .integer(index), "text": .string(text), "logprobs": logprobs,
            "finish_reason": JSONValue(reason?.openAI),
        ]
    }

    /// Parallel lists, one entry a token.
    ///
    /// - Parameter offset: where in the text the first token begins, in characters; moved behind the last
    ///   one. Below 0 for a token that is not in the text.
    static func logprobs(_ tokens: [ServedModel.Token], offset: inout Int) -> JSONValue {
        var offsets: [JSONValue] = []
        for token in tokens {
            offsets.append(.integer(max(0, offset)))
            offset += TokenText.characterCount(token.bytes)
        }
        return [
            "tokens": .array(tokens.map { .string(TokenText.key($0.bytes)) }),
            "token_logprobs": .array(tokens.map { TokenText.number($0.logprob) }),
            "top_logprobs": .array(tokens.map(alternatives)), "text_offset": .array(offsets),
        ]
    }

    /// From token to log-probability, the token itself always among them. Of two that are spelled alike, the better one.
    private static func alternatives(_ token: ServedModel.Token) -> JSONValue {
        guard let logprob = token.logprob else { return .null }
        var object = JSONObject()
        for alternative in token.top + [ServedModel.Alternative(bytes: token.bytes, logprob: logprob)] {
            let key = TokenText.key(alternative.bytes)
            if object[key] == nil { object[key] = TokenText.number(alternative.logprob) }
        }
        return .object(object)
    }
}
