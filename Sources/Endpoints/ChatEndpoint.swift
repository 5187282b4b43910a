package import Chat
internal import Synchronization

/// A model behind an HTTP interface: each request is tried until it is answered, refused, or out of tries.
package final class ChatEndpoint: ChatModel {
    package enum WireFormat: Sendable { case openAIChat, anthropicMessages }

    package struct Configuration: Sendable {
        /// The model's name there.
        package var name: String
        /// What stands before `/chat/completions` or `/v1/messages`.
        package var baseURL: String
        package var wireFormat: WireFormat
        package var key: Secret?
        /// Nil derives it from the format, the name and the address.
        package var fingerprint: String?
        package var maxConcurrentRequests = 16
        package var requestsPerMinute: Int?
        package var tokensPerMinute: Int?
        package var attempts = 6
        package var attemptTimeout: Duration = .seconds(300)
        /// How long one request is tried again after its first fault.
        package var totalTimeout: Duration = .seconds(900)
        /// Lets prompts and key travel in the open to a public host.
        package var allowHTTP = false
        /// The certificates to trust; nil takes `SSL_CERT_FILE`, or the system's.
        package var caFile: String?
        package var time = TimeSource.system

        package init(name: String, baseURL: String, wireFormat: WireFormat, key: Secret?) {
            self.name = name
            self.baseURL = baseURL
            self.wireFormat = wireFormat
            self.key = key
        }
    }

    package let fingerprint: String
    private let configuration: Configuration
    private let format: WireFormat
    private let address: WebAddress
    private let headers: [HTTPRequest.Header]
    private let client: HTTPClient
    private let rateLimit: RateLimit
    private let adaptation: Mutex<Adaptation>

    /// - Throws: `unsupported` for an address that is malformed or would carry prompts over the open network in plain
    ///   text; `credentials` for a key that no header can hold.
    package init(_ configuration: Configuration) throws(ModelFailure) {
        self.configuration = configuration
        format = configuration.wireFormat
        let base: WebAddress
        do { base = try WebAddress(configuration.baseURL) } catch {
            throw .unsupported("The base URL of \(configuration.name) cannot be used. \(error)")
        }
        if base.scheme == "http", !base.isPrivate, !configuration.allowHTTP {
            throw .unsupported(
                "\(base) would carry prompts and key in plain text over a public network. Use https://, or "
                    + "--allow-http.")
        }
        if let key = configuration.key, !key.value.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
            throw .credentials(
                "The key for \(configuration.name) holds white space or other characters that no key has. "
                    + "Set it again.")
        }
        address = format.address(below: base)
        headers =
            [.init("Content-Type", "application/json"), .init("Accept", "application/json")]
            + format.headers(key: configuration.key)
        fingerprint = configuration.fingerprint ?? format.fingerprint(name: configuration.name, base: base)
        adaptation = Mutex(format.knownAdaptation(base: base))
        client = HTTPClient(connections: configuration.maxConcurrentRequests, caFile: configuration.caFile)
        rateLimit = RateLimit(
            requestsPerMinute: configuration.requestsPerMinute, tokensPerMinute: configuration.tokensPerMinute,
            time: configuration.time)
    }

    package var name: String { configuration.name }
    package var maxConcurrentRequests: Int { configuration.maxConcurrentRequests }

    /// What this endpoint was found not to take, as sentences for the record; empty where it takes everything.
    package var adaptations: [String] { adaptation.withLock { $0.sentences } }

    package func complete(_ request: ChatRequest) async throws -> Completion {
        var retry: Retry?
        while true {
            switch try await ask(request, deadline: retry?.deadline) {
            case .answered(let completion): return completion
            case .fault(let fault):
                var current = retry ?? self.retry(for: request)
                switch current.decide(after: fault, now: configuration.time.now()) {
                case .giveUp(let tries): throw ModelFailure.requestFailed(gaveUp(tries, fault))
                case .wait(let wait): try await configuration.time.sleep(wait)
                }
                retry = current
            }
        }
    }

    enum Reply {
        case answered(Completion)
        case fault(Fault)
    }

    /// One try. What the server turns out not to take is left out, and asked again at once.
    ///
    /// - Throws: `ModelFailure` where trying again mends nothing.
    func ask(_ request: ChatRequest, deadline: Duration?) async throws -> Reply {
        let estimate = ChatEndpoint.estimatedTokens(request)
        while true {
            let sentWith = adaptation.withLock { $0 }
            let body = try format.encode(request, model: name, adaptation: sentWith).serialized()
            try await rateLimit.admit(tokens: estimate)
            switch try await attempt(body, deadline: deadline) {
            case .answered(let completion):
                if configuration.tokensPerMinute != nil, let usage = completion.usage {
                    await rateLimit.settle(estimated: estimate, used: usage.inputTokens + usage.outputTokens)
                }
                return .answered(completion)
            case .rejected(let error, let failure):
                if !learn(from: error, sentWith) { throw failure }
            case .failed(let failure): throw failure
            case .fault(let fault): return .fault(fault)
            }
        }
    }

    /// The tries of `request`, none made yet: the same request waits the same times wherever it is sent.
    func retry(for request: ChatRequest) -> Retry {
        Retry(policy: policy, seed: stableHash(request.canonicalText(modelFingerprint: name).utf8))
    }

    /// - Parameter tries: how many, in the words of `Retry`.
    func gaveUp(_ tries: String, _ last: Fault) -> String {
        "\(place) gave no answer \(tries); the last one: \(last.what)."
    }

    private enum Outcome {
        case answered(Completion)
        /// 400: the failure, unless the request can do without what the server dislikes.
        case rejected(ServerError, ModelFailure)
        case fault(Fault)
        case failed(ModelFailure)
    }

    private var policy: RetryPolicy { RetryPolicy(attempts: configuration.attempts, total: configuration.totalTimeout) }

    private var place: String { "\(name) at \(address.origin)" }

    /// Bytes of text by four, as a tokenizer would roughly have it, and the longest answer: what providers count.
    private static func estimatedTokens(_ request: ChatRequest) -> Int {
        request.messages.reduce(request.maxTokens) { $0 + $1.content.utf8.count / 4 + 4 }
    }

    /// Whether the next try differs from the one that was sent: another request may have learned the same meanwhile.
    private func learn(from error: ServerError, _ sentWith: Adaptation) -> Bool {
        adaptation.withLock { current in
            current.formUnion(sentWith.learning(from: error))
            return current != sentWith
        }
    }

    private func attempt(_ body: [UInt8], deadline: Duration?) async throws -> Outcome {
        var timeout = configuration.attemptTimeout
        if let deadline { timeout = min(timeout, deadline - configuration.time.now()) }
        do throws(HTTPError) {
            let response = try await client.send(
                HTTPRequest(address, headers: headers, body: body, timeout: timeout))
            let outcome = outcome(response)
            if case .fault(let fault) = outcome, response.status == 429, let told = fault.told {
                await rateLimit.pause(min(told, configuration.totalTimeout))  // no longer than anyone waits
            }
            return outcome
        } catch {
            let what = redact("\(error)")
            switch error {
            case .cancelled: throw CancellationError()
            case .untrusted:
                return .failed(
                    .providerRefuses(
                        "\(place) is not trusted: \(what). Name your authority's certificate in SSL_CERT_FILE."))
            default:
                if error.isTransient { return .fault(Fault(what: what)) }
                return .failed(.requestFailed("\(place) gave no answer: \(what)."))
            }
        }
    }

    private func outcome(_ response: HTTPResponse) -> Outcome {
        (200...299).contains(response.status) ? success(response) : failure(response, status: response.status)
    }

    private func success(_ response: HTTPResponse) -> Outcome {
        do throws(MalformedReply) {
            if response.body.isEmpty { throw MalformedReply("it is empty") }
            if let type = response.header("content-type"), !type.lowercased().contains("json") {
                throw MalformedReply("its content type is \(type)")
            }
            let (document, raw) = try document(response.body)
            if let error = ServerError(inReply: document) {
                // Some gateways put the status that they should have sent into the error.
                if let status = error.status, status >= 400 { return failure(response, status: status, error) }
                if error.isQuotaSpent { return .failed(.providerRefuses(refusal(error.message))) }
                throw MalformedReply("it is an error: \(error.message)")
            }
            return .answered(try format.decode(document, raw: raw))
        } catch {
            let what = "HTTP \(response.status) with a reply that cannot be used, for \(error.reason)"
            return .fault(Fault(what: excerpt(what), answer: identity(response)))
        }
    }

    private func failure(_ response: HTTPResponse, status: Int, _ known: ServerError? = nil) -> Outcome {
        let error = known ?? ServerError(body: response.body)
        let said = excerpt("HTTP \(status)" + (error.message.isEmpty ? "" : ": \(error.message)"))
        if (400...499).contains(status), error.isQuotaSpent { return .failed(.providerRefuses(refusal(error.message))) }
        switch status {
        case 401, 403:
            return .failed(
                .credentials("\(place) rejects the key (\(said)). Set the right one and run the same command again."))
        case 402, 410: return .failed(.providerRefuses(refusal(error.message)))
        case 404 where error.isModelMissing: return .failed(.providerRefuses(refusal(error.message)))
        case 404:
            return .failed(.requestFailed("\(place) has nothing at \(address.path) (\(said)). Check the base URL."))
        case 408, 409, 425, 429, 503, 504, 529:
            let told = RetryAfter.delay(response, epochSeconds: configuration.time.epochSeconds())
            return .fault(Fault(what: said, told: told))
        case 500...599:
            let told = RetryAfter.delay(response, epochSeconds: configuration.time.epochSeconds())
            return .fault(Fault(what: said, told: told, answer: identity(response)))
        case 400, 422:
            return .rejected(error, .requestFailed("\(place) does not take this request (\(said))."))
        case 300...399:
            return .failed(.requestFailed("\(place) redirects elsewhere (\(said)). Name the address that it leads to."))
        default: return .failed(.requestFailed("\(place) does not take this request (\(said))."))
        }
    }

    private func refusal(_ message: String) -> String {
        "\(place) serves nobody with this account or model any more: \(excerpt(message)). Mend that, and run the "
            + "same command again: it continues."
    }

    /// The reply as JSON and as text, the key blotted out of both: what is kept as evidence never holds it.
    private func document(_ body: [UInt8]) throws(MalformedReply) -> (JSONValue, raw: String) {
        do throws(JSONError) {
            let document = try JSONValue(parsing: body)
            let raw = String(decoding: body, as: UTF8.self)
            let redacted = redact(raw)
            return (redacted == raw ? document : try JSONValue(parsing: redacted), redacted)
        } catch {
            throw MalformedReply("it is not JSON: \(error.description)")
        }
    }

    private func identity(_ response: HTTPResponse) -> Int {
        Int(truncatingIfNeeded: stableHash(response.body) &+ UInt64(response.status))
    }

    private func redact(_ text: String) -> String { configuration.key?.redact(text) ?? text }

    /// What fits into a sentence. The key goes first: half a key is a secret, too.
    private func excerpt(_ text: String) -> String {
        let words = redact(text).split { character in
            character.isWhitespace || character.unicodeScalars.contains { $0.properties.generalCategory == .control }
        }
        let line = words.joined(separator: " ")
        return (line.count > 300 ? line.prefix(300) + "…" : line[...]).description.trimmingSuffix(".")
    }
}

/// Why a reply with a good status holds no answer.
struct MalformedReply: Error {
    var reason: String
    init(_ reason: String) { self.reason = reason }
}
