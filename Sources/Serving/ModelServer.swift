internal import Chat
internal import Glibc

/// A model behind OpenAI's interface: chat completions, completions, and the list of the one model.
package final class ModelServer: Sendable {
    package struct Settings: Sendable {
        package var host = "127.0.0.1"
        /// 0 takes a free one.
        package var port: UInt16 = 0
        /// The seed of a request that names none.
        package var freshSeed: @Sendable () -> UInt64 = { .random(in: 0 ... .max) }
        var limits = HTTPServer.Limits()

        package init() {}

        /// How long a client may take for a whole request, and to take some of its answer, in seconds.
        package mutating func limitPatience(seconds: Double) {
            limits.requestSeconds = seconds
            limits.stallSeconds = seconds
        }
    }

    private let server: HTTPServer

    /// Listens from now on.
    ///
    /// - Throws: `ServingError.cannotListen`.
    package init(_ model: ServedModel, settings: Settings = Settings()) throws(ServingError) {
        let router = Router(model: model, created: time(nil), freshSeed: settings.freshSeed)
        server = try HTTPServer(host: settings.host, port: settings.port, limits: settings.limits) {
            await router.answer($0, $1, to: $2)
        }
    }

    package var address: SocketAddress { server.address }

    /// Takes no new request, and finishes those in flight.
    package func stopAccepting() { server.stopAccepting() }

    /// Returns when the last connection is closed.
    package func waitUntilFinished() async { await server.waitUntilFinished() }
}

/// From a path to what is there.
struct Router: Sendable {
    let model: ServedModel
    /// When the server started, in seconds since 1970.
    let created: Int
    let freshSeed: @Sendable () -> UInt64

    func answer(_ request: HTTPRequest, _ address: SocketAddress, to reply: HTTPReply) async {
        do {
            if address.isLoopback { try Router.requireLoopback(request.head.headers["host"]) }
            try await route(request, reply)
        } catch let error as ServingError {
            fail(reply, error)
        } catch ModelFailure.unsupported(let reason) {
            fail(reply, .refused(reason))
        } catch is CancellationError {
            fail(reply, .failed("The server is stopping."))
        } catch {
            fail(reply, .failed("\(error)"))
        }
    }

    /// Within a stream, an error is an event, and the word for a whole stream is missing.
    private func fail(_ reply: HTTPReply, _ error: ServingError) {
        if reply.hasBegun {
            reply.stream(error.json)
            reply.finishStream(isWhole: false)
        } else {
            reply.send(error)
        }
    }

    /// A page whose own name was made to point here (DNS rebinding) still sends its own name.
    private static func requireLoopback(_ host: String?) throws(ServingError) {
        guard let host else { return }  // only HTTP/1.0 comes without one, and browsers do not speak it
        let name = host.hasPrefix("[") ? String(host.prefix { $0 != "]" } + "]") : String(host.prefix { $0 != ":" })
        let isLoopback = name.lowercased() == "localhost" || name == "[::1]" || isLoopbackNumber(name)
        if !isLoopback { throw .foreignHost(String(host.prefix(200))) }
    }

    private static func isLoopbackNumber(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    private func route(_ request: HTTPRequest, _ reply: HTTPReply) async throws {
        let path = request.head.path
        switch path {
        case "/health":
            try Router.require("GET", request)
            reply.send(200, ["status": "ok"])
        case "/v1/models":
            try Router.require("GET", request)
            reply.send(200, ["object": "list", "data": [entry]])
        case "/v1/chat/completions":
            var fields = try fields(request)
            let call = try ChatInterface.call(&fields, model: model, freshSeed: freshSeed)
            try await Generating(call: call, interface: .chat, model: model).run(to: reply)
        case "/v1/completions":
            var fields = try fields(request)
            let call = try TextInterface.call(&fields, model: model, freshSeed: freshSeed)
            try await Generating(call: call, interface: .text, model: model).run(to: reply)
        default:
            guard path.hasPrefix("/v1/models/") else { throw ServingError.noSuchPath(String(path.prefix(200))) }
            try Router.require("GET", request)
            try requireModel(String(path.dropFirst("/v1/models/".count)))
            reply.send(200, entry)
        }
    }

    private var entry: JSONValue {
        [
            "id": .string(model.name), "object": "model", "created": .integer(created), "owned_by": "local",
            "max_model_len": .integer(model.contextLength),
        ]
    }

    private static func require(_ method: String, _ request: HTTPRequest) throws(ServingError) {
        if request.head.method != method {
            throw .methodNotAllowed(String(request.head.method.prefix(20)), allowed: method)
        }
    }

    private func requireModel(_ name: String) throws(ServingError) {
        if name != model.name { throw .modelNotFound(String(name.prefix(200))) }
    }

    /// The fields of a POST for this model.
    private func fields(_ request: HTTPRequest) throws(ServingError) -> RequestFields {
        try Router.require("POST", request)
        // A page of another site may send any other type without being asked for permission first.
        let type = request.head.headers["content-type"] ?? "missing"
        guard type.lowercased().prefix(while: { $0 != ";" }).trimmed == "application/json" else {
            throw .notJSON(contentType: String(type.prefix(100)))
        }
        var fields = try RequestFields(request.body)
        guard let name = try fields.string("model") else { throw .invalid(field: "model", reason: "it is missing") }
        try requireModel(name)
        return fields
    }
}
