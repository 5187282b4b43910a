internal import Chat

/// OpenAI's chat completions, which most other servers speak as well.
enum OpenAIChat {
    static let officialHost = "api.openai.com"

    static func encode(
        _ request: ChatRequest, model: String, adaptation: Adaptation
    ) throws(ModelFailure) -> JSONValue {
        var body: JSONObject = ["model": .string(model)]
        body["messages"] = .array(
            request.messages.map { ["content": .string($0.content), "role": .string($0.role.rawValue)] })
        body[adaptation.usesMaxCompletionTokens ? "max_completion_tokens" : "max_tokens"] = .integer(request.maxTokens)
        switch request.decoding {
        case .greedy: if !adaptation.dropsTemperature { body["temperature"] = 0 }
        case .sampling(let temperature, let topK, let topP, let minP):
            if !adaptation.dropsTemperature { body["temperature"] = .number(temperature) }
            if !adaptation.dropsTopP { body["top_p"] = .number(topP ?? 1) }
            if adaptation.lacksTopKAndMinP, topK != nil || minP != nil {
                throw .unsupported(
                    "\(model) is behind OpenAI's interface, which has no top_k and no min_p. Leave them out.")
            }
            if let topK { body["top_k"] = .integer(topK) }
            if let minP { body["min_p"] = .number(minP) }
        case .beam:
            throw .unsupported("\(model) is behind an endpoint, which has no beam search. Use greedy or sampling.")
        }
        if let penalty = request.repetitionPenalty {
            if adaptation.lacksTopKAndMinP {
                throw .unsupported(
                    "\(model) is behind OpenAI's interface, which has no repetition penalty. Leave it out.")
            }
            body["repetition_penalty"] = .number(penalty)
        }
        if !request.stop.isEmpty { body["stop"] = .array(request.stop.map(JSONValue.string)) }
        if let seed = request.seed { body["seed"] = .integer(Int(seed & 0x7FFF_FFFF_FFFF_FFFF)) }  // signed over there
        if let count = request.topLogprobs {
            body["logprobs"] = true
            body["top_logprobs"] = .integer(count)
        }
        return .object(body)
    }

    static func decode(_ reply: JSONValue, raw: String) throws(MalformedReply) -> Completion {
        guard let choice = reply["choices"]?[0] else { throw MalformedReply("it has no choices") }
        guard let message = choice["message"], message.object != nil else {
            throw MalformedReply("its choice has no message")
        }
        let hasRefused = message["refusal"]?.string.map { !$0.isEmpty } ?? false
        return Completion(
            text: try text(message["content"] ?? .null),
            finishReason: hasRefused ? .refused : finishReason(choice["finish_reason"]?.string),
            tokens: try tokens(choice["logprobs"] ?? .null), usage: usage(reply["usage"]),
            servedModel: reply["model"]?.string, raw: raw)
    }

    private static func text(_ content: JSONValue) throws(MalformedReply) -> String {
        if let text = content.string { return text }
        if content.isNull { return "" }
        guard let parts = content.array else { throw MalformedReply("its content is \(content.kind)") }
        return parts.compactMap { $0["text"]?.string }.joined()
    }

    private static func finishReason(_ reason: String?) -> Completion.FinishReason {
        switch reason {
        case "stop": .stop
        case "length": .length
        case "content_filter": .refused
        default: .other
        }
    }

    private static func usage(_ usage: JSONValue?) -> Completion.Usage? {
        guard let input = usage?["prompt_tokens"]?.integer, let output = usage?["completion_tokens"]?.integer else {
            return nil
        }
        return Completion.Usage(inputTokens: input, outputTokens: output)
    }

    private static func tokens(_ logprobs: JSONValue) throws(MalformedReply) -> [Completion.Token] {
        if let content = logprobs["content"]?.array { return try chatTokens(content) }
        if let texts = logprobs["tokens"]?.array { return try completionTokens(texts, logprobs) }
        return []
    }

    private static func chatTokens(_ content: [JSONValue]) throws(MalformedReply) -> [Completion.Token] {
        var tokens: [Completion.Token] = []
        for entry in content {
            guard let text = entry["token"]?.string, let logprob = entry["logprob"]?.number else {
                throw MalformedReply("a token among its logprobs has no text or no number")
            }
            tokens.append(Completion.Token(text: text, logprob: logprob, top: alternatives(entry["top_logprobs"])))
        }
        return tokens
    }

    /// The arrays of the older completions interface, which llama-cpp-python and others put into chat replies.
    private static func completionTokens(
        _ texts: [JSONValue], _ logprobs: JSONValue
    ) throws(MalformedReply) -> [Completion.Token] {
        guard let numbers = logprobs["token_logprobs"]?.array, numbers.count == texts.count else {
            throw MalformedReply("its logprobs have \(texts.count) tokens and not as many numbers")
        }
        var tokens: [Completion.Token] = []
        for place in texts.indices {
            guard let text = texts[place].string, let logprob = numbers[place].number else {
                throw MalformedReply("a token among its logprobs has no text or no number")
            }
            let top = logprobs["top_logprobs"]?[place]
            tokens.append(Completion.Token(text: text, logprob: logprob, top: alternatives(top)))
        }
        return tokens
    }

    /// A list of objects, or one object from token to number; an alternative without a number has no probability.
    private static func alternatives(_ value: JSONValue?) -> [Completion.Alternative] {
        if let members = value?.object?.members {
            return members.compactMap { member in member.value.number.map { .init(text: member.key, logprob: $0) } }
        }
        return (value?.array ?? []).compactMap { entry in
            guard let text = entry["token"]?.string, let logprob = entry["logprob"]?.number else { return nil }
            return Completion.Alternative(text: text, logprob: logprob)
        }
    }
}
