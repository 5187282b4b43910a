import Chat
import Endpoints
import Evaluation
import Evidence

/// What a model is wanted for.
enum ModelRole {
    case candidate
    case baseline
    case judge(JudgeDefinition.Limits)

    var fileWords: String {
        switch self {
        case .candidate: "The model's outputs"
        case .baseline: "The baseline's outputs"
        case .judge: "The judge"
        }
    }
}

/// The one place where a spelling becomes a model.
enum OpenModel {
    static func open(_ source: ModelSource, role: ModelRole, options: AskingOptions) throws -> any ChatModel {
        switch source {
        case .openAI(let name):
            let base = Environment.value("OPENAI_BASE_URL") ?? Environment.value("OPENAI_API_BASE")
            let key = try key(role, options, variable: "OPENAI_API_KEY")
            let url = base ?? "https://api.openai.com/v1"
            return try ChatEndpoint(
                configuration(fingerprint("openai:\(name)", base), name, url, .openAIChat, key, role, options))
        case .anthropic(let name):
            let base = Environment.value("ANTHROPIC_BASE_URL")
            let key = try key(role, options, variable: "ANTHROPIC_API_KEY")
            let url = base ?? "https://api.anthropic.com"
            return try ChatEndpoint(
                configuration(
                    fingerprint("anthropic:\(name)", base), name, url, .anthropicMessages, key, role, options))
        case .openAICompatible(let name, _):
            let servers = source.baseURLs.map { url in
                configuration(
                    source.fingerprint, name, url, .openAIChat, compatibleKey(role, options, url), role, options)
            }
            if servers.count == 1 { return try ChatEndpoint(servers[0]) }
            return try ReplicatedChatModel(servers, fingerprint: source.fingerprint)
        case .exec(let program):
            return try ExecChatModel(program: program, maxConcurrentRequests: options.concurrency ?? 4)
        case .local(let path):
            return try options.engine.open(path, concurrency: options.concurrency)
        case .outputs, .annotations, .replay:
            throw EvaluationError.configuration("\(source) cannot answer here: name a model that can be asked.")
        }
    }

    /// Replays a store: the answers of the judge's own model, or of the only model that it holds.
    static func replay(_ text: String, ownModel: ModelSource?, options: AskingOptions) async throws -> any ChatModel {
        let parts = text.split(separator: "#", maxSplits: 1).map(String.init)
        guard Files.exists(parts[0]) else {
            throw EvaluationError.missingInput(
                "There is no evidence store at \(parts[0]). Check the path after "
                    + "replay:.")
        }
        let store = try EvidenceStore(path: parts[0])
        let models = try await store.counts().models.keys.sorted()
        let wanted = parts.count == 2 ? parts[1] : ownModel?.fingerprint
        guard
            let fingerprint = models.first(where: { $0 == wanted })
                ?? (parts.count == 1 && models.count == 1 ? models[0] : nil)
        else {
            throw EvaluationError.configuration(
                "\(parts[0]) holds answers of \(models.isEmpty ? "nobody" : models.joined(separator: ", ")). Say "
                    + "whose to replay: "
                    + "replay:\(parts[0])#MODEL.")
        }
        return ReplayChatModel(name: fingerprint, fingerprint: fingerprint, store: store)
    }

    /// `model`, asked only what evidence does not answer.
    static func recorded(
        _ model: any ChatModel, store: EvidenceStore, spending: Spending? = nil, options: AskingOptions
    ) -> any ChatModel {
        if options.offline { return ReplayChatModel(name: model.name, fingerprint: model.fingerprint, store: store) }
        return RecordingChatModel(
            model, store: store, spending: spending, isStopping: { Interruption.shared.stop.wasRaised })
    }

    private static func configuration(
        _ fingerprint: String, _ name: String, _ baseURL: String, _ format: ChatEndpoint.WireFormat, _ key: Secret?,
        _ role: ModelRole, _ options: AskingOptions
    ) -> ChatEndpoint.Configuration {
        var configuration = ChatEndpoint.Configuration(name: name, baseURL: baseURL, wireFormat: format, key: key)
        configuration.fingerprint = fingerprint
        configuration.maxConcurrentRequests = options.concurrency ?? 16
        configuration.attempts = options.attempts
        configuration.allowHTTP = options.allowHTTP
        if case .judge(let limits) = role {
            configuration.requestsPerMinute = limits.requestsPerMinute
            configuration.tokensPerMinute = limits.tokensPerMinute
        }
        return configuration
    }

    /// A provider's name behind another address is another model.
    private static func fingerprint(_ model: String, _ base: String?) -> String {
        base.map { "\(model)@\($0)" } ?? model
    }

    private static func key(_ role: ModelRole, _ options: AskingOptions, variable: String) throws -> Secret? {
        let name = keyVariable(role, options) ?? variable
        if let key = Environment.secret(name) { return key }
        if options.offline || options.dryRun { return nil }
        throw ModelFailure.credentials(
            "The environment variable \(name) holds no key. Set it, and run the same "
                + "command again.")
    }

    /// A key goes to another host only when the user says so: by naming its variable, or by naming that host in
    /// OPENAI_BASE_URL.
    private static func compatibleKey(_ role: ModelRole, _ options: AskingOptions, _ baseURL: String) -> Secret? {
        if let name = keyVariable(role, options) { return Environment.secret(name) }
        if let key = Environment.secret("EVALHARNESS_API_KEY") { return key }
        return Environment.value("OPENAI_BASE_URL") == baseURL ? Environment.secret("OPENAI_API_KEY") : nil
    }

    private static func keyVariable(_ role: ModelRole, _ options: AskingOptions) -> String? {
        if case .judge = role { options.judgeApiKeyEnv } else { options.apiKeyEnv }
    }
}
