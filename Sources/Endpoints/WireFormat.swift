internal import Chat

/// What differs between the providers' interfaces.
extension ChatEndpoint.WireFormat {
    func address(below base: WebAddress) -> WebAddress {
        switch self {
        case .openAIChat: base.appending("/chat/completions")
        case .anthropicMessages:
            base.appending(base.path.trimmingSuffix("/").hasSuffix("/v1") ? "/messages" : "/v1/messages")
        }
    }

    func headers(key: Secret?) -> [HTTPRequest.Header] {
        switch self {
        case .openAIChat: key.map { [.init("Authorization", "Bearer \($0.value)")] } ?? []
        case .anthropicMessages:
            [.init("anthropic-version", "2023-06-01")] + (key.map { [.init("x-api-key", $0.value)] } ?? [])
        }
    }

    func fingerprint(name: String, base: WebAddress) -> String {
        switch self {
        case .openAIChat: base.host == OpenAIChat.officialHost ? "openai:\(name)" : "openai-compatible:\(name)@\(base)"
        case .anthropicMessages: "anthropic:\(name)"
        }
    }

    /// What is known before the first request.
    func knownAdaptation(base: WebAddress) -> Adaptation {
        switch self {
        case .openAIChat: Adaptation(lacksTopKAndMinP: base.host == OpenAIChat.officialHost)
        case .anthropicMessages: Adaptation()
        }
    }

    func encode(_ request: ChatRequest, model: String, adaptation: Adaptation) throws(ModelFailure) -> JSONValue {
        switch self {
        case .openAIChat: try OpenAIChat.encode(request, model: model, adaptation: adaptation)
        case .anthropicMessages: try AnthropicMessages.encode(request, model: model, adaptation: adaptation)
        }
    }

    func decode(_ reply: JSONValue, raw: String) throws(MalformedReply) -> Completion {
        switch self {
        case .openAIChat: try OpenAIChat.decode(reply, raw: raw)
        case .anthropicMessages: try AnthropicMessages.decode(reply, raw: raw)
        }
    }
}
