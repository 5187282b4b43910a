package import Chat

/// Why the server does not start, or does not do what a request asks.
package enum ServingError: Error, Hashable, Sendable, CustomStringConvertible {
    case cannotListen(address: String, reason: String)
    /// A field that is missing, malformed, or asks for what is not offered.
    case invalid(field: String, reason: String)
    case malformed(String)
    /// What the model's own rules (a chat template's, say) forbid.
    case refused(String)
    case contextLengthExceeded(field: String, limit: Int, found: Int)
    case modelNotFound(String)
    case noSuchPath(String)
    case methodNotAllowed(String, allowed: String)
    case foreignHost(String)
    case notJSON(contentType: String)
    case lengthRequired
    case bodyTooLarge(limit: Int)
    case headersTooLarge(limit: Int)
    case tooSlow
    /// The model failed, not the request.
    case failed(String)

    package var status: Int {
        switch self {
        case .invalid, .malformed, .refused, .contextLengthExceeded: 400
        case .foreignHost: 403
        case .modelNotFound, .noSuchPath: 404
        case .methodNotAllowed: 405
        case .tooSlow: 408
        case .lengthRequired: 411
        case .bodyTooLarge: 413
        case .notJSON: 415
        case .headersTooLarge: 431
        case .failed, .cannotListen: 500
        }
    }

    /// OpenAI's word for the fault, where clients look for one.
    var code: String? {
        switch self {
        case .contextLengthExceeded: "context_length_exceeded"
        case .modelNotFound: "model_not_found"
        default: nil
        }
    }

    private var field: String? {
        switch self {
        case .invalid(let field, _): field
        case .contextLengthExceeded(let field, _, _): field
        case .modelNotFound: "model"
        default: nil
        }
    }

    /// The body of the reply, as OpenAI writes it.
    package var json: JSONValue {
        [
            "error": [
                "message": .string(description),
                "type": .string(status >= 500 ? "server_error" : "invalid_request_error"),
                "param": JSONValue(field), "code": JSONValue(code),
            ]
        ]
    }

    package var description: String {
        switch self {
        case .cannotListen(let address, let reason):
            "The server cannot listen on \(address): \(reason). Choose another --port or --host."
        case .invalid(let field, let reason): "\(field): \(reason)."
        case .malformed(let reason): "The request cannot be read: \(reason)."
        case .contextLengthExceeded(_, let limit, let found):
            "This model's maximum context length is \(limit) tokens. However, your prompt has \(found) tokens. Please "
                + "reduce the length of the prompt."
        case .modelNotFound(let name):
            "The model `\(name)` does not exist here. GET /v1/models names the one that does."
        case .noSuchPath(let path):
            "There is nothing at \(path). This server has /v1/chat/completions, /v1/completions, /v1/models and /health."
        case .methodNotAllowed(let method, let allowed): "\(method) is not allowed here. Use \(allowed)."
        case .foreignHost(let host):
            "The Host header names \(host), and this server answers to loopback names alone: a page of another site must "
                + "not reach it. Use http://127.0.0.1, or bind another address with --host."
        case .notJSON(let type): "The body must be application/json, and its Content-Type is \(type)."
        case .lengthRequired: "A body must come with its Content-Length; Transfer-Encoding is not read here."
        case .bodyTooLarge(let limit): "The body is larger than \(limit >> 20) MB."
        case .headersTooLarge(let limit): "The request's head is larger than \(limit >> 10) KB."
        case .tooSlow: "The request did not arrive in time."
        case .refused(let reason), .failed(let reason): reason
        }
    }
}
