internal import Chat

/// Anthropic's messages. It reports no log-probabilities: a request for them gets an answer without.
enum AnthropicMessages {
    static func encode(
        _ request: ChatRequest, model: String, adaptation: Adaptation
    ) throws(ModelFailure) -> JSONValue {
        var body: JSONObject = ["model": .string(model), "max_tokens": .integer(request.maxTokens)]
        let system = request.messages.filter { $0.role == .system }.map(\.content).joined(separator: "\n\n")
        if !system.isEmpty { body["system"] = .string(system) }
        body["messages"] = .array(
            request.messages.filter { $0.role != .system }
                .map { ["content": .string($0.content), "role": .string($0.role.rawValue)] })
        switch request.decoding {
        case .greedy: if !adaptation.dropsTemperature { body["temperature"] = 0 }
        case .sampling(let temperature, let topK, let topP, let minP):
            if minP != nil {
                throw .unsupported("\(model) is behind Anthropic's interface, which has no min_p. Leave it out.")
            }
            if !adaptation.dropsTemperature { body["temperature"] = .number(temperature) }
            // 1 means "no nucleus", and newer models take either temperature or top_p, never both.
            if let topP, topP < 1, !adaptation.dropsTopP { body["top_p"] = .number(topP) }
            if let topK { body["top_k"] = .integer(topK) }
        case .beam:
            throw .unsupported("\(model) is behind an endpoint, which has no beam search. Use greedy or sampling.")
        }
        if request.repetitionPenalty != nil {
            throw .unsupported(
                "\(model) is behind Anthropic's interface, which has no repetition penalty. Leave it out.")
        }
        if !request.stop.isEmpty { body["stop_sequences"] = .array(request.stop.map(JSONValue.string)) }
        return .object(body)
    }

    static func decode(_ reply: JSONValue, raw: String) throws(MalformedReply) -> Completion {
        guard let blocks = reply["content"]?.array else { throw MalformedReply("it has no content") }
        let text = blocks.filter { $0["type"]?.string == "text" }.compactMap { $0["text"]?.string }.joined()
        return Completion(
            text: text, finishReason: finishReason(reply["stop_reason"]?.string), usage: usage(reply["usage"]),
            servedModel: reply["model"]?.string, raw: raw)
    }

    private static func finishReason(_ reason: String?) -> Completion.FinishReason {
        switch reason {
        case "end_turn", "stop_sequence": .stop
        case "max_tokens": .length
        case "refusal": .refused
        case "model_context_window_exceeded": .outOfContext
        default: .other
        }
    }

    private static func usage(_ usage: JSONValue?) -> Completion.Usage? {
        guard let input = usage?["input_tokens"]?.integer, let output = usage?["output_tokens"]?.integer else {
            return nil
        }
        return Completion.Usage(inputTokens: input, outputTokens: output)
    }
}
