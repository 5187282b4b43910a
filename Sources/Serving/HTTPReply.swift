internal import Chat
internal import Synchronization

/// The way back to one client. Everything may be called from any thread, never waits, and does nothing once the client
/// is gone.
final class HTTPReply: Sendable {
    private enum Stage { case waiting, streaming, done }

    private let head: HTTPHead
    private let isLast: Bool
    private let write: @Sendable (_ bytes: [UInt8], _ end: End?) -> Void
    private let stage = Mutex(Stage.waiting)

    /// What becomes of the connection behind the last byte.
    enum End { case keepAlive, close }

    /// - Parameter isLast: whether the connection is to be closed whatever the client wants.
    init(to head: HTTPHead, isLast: Bool, write: @escaping @Sendable ([UInt8], End?) -> Void) {
        self.head = head
        self.isLast = isLast
        self.write = write
    }

    private var end: End { head.keepsAlive && !isLast ? .keepAlive : .close }

    var hasBegun: Bool { stage.withLock { $0 != .waiting } }

    func send(_ status: Int, _ body: JSONValue, headers: [String: String] = [:]) {
        stage.withLock { stage in
            guard stage == .waiting else { return }
            stage = .done
            write(HTTPReply.whole(status, body, headers: headers, end: end, isHeadOnly: head.method == "HEAD"), end)
        }
    }

    func send(_ error: ServingError) {
        var headers: [String: String] = [:]
        if case .methodNotAllowed(_, let allowed) = error { headers["Allow"] = allowed }
        send(error.status, error.json, headers: headers)
    }

    /// One server-sent event; the first one opens the stream.
    func stream(_ event: JSONValue) { stream(event.serialized()) }

    /// Ends the stream, with the word that tells clients that it is whole.
    func finishStream(isWhole: Bool) {
        if isWhole { stream(Array("[DONE]".utf8)) }
        stage.withLock { stage in
            guard stage == .streaming else { return }
            stage = .done
            write(head.isModern ? Array("0\r\n\r\n".utf8) : [], streamEnd)
        }
    }

    private func stream(_ data: [UInt8]) {
        stage.withLock { stage in
            guard stage != .done else { return }
            var bytes: [UInt8] = []
            if stage == .waiting {
                stage = .streaming
                let framing = head.isModern ? ["Transfer-Encoding": "chunked"] : [:]
                bytes += HTTPReply.head(
                    200, framing.merging(["Content-Type": "text/event-stream", "X-Accel-Buffering": "no"]) { $1 },
                    streamEnd)
            }
            let event = Array("data: ".utf8) + data + Array("\n\n".utf8)
            bytes += head.isModern ? "\(String(event.count, radix: 16))\r\n".utf8 + event + "\r\n".utf8 : event
            write(bytes, nil)
        }
    }

    /// A client of HTTP/1.0 learns from the closing where a stream ends.
    private var streamEnd: End { head.isModern ? end : .close }

    static func whole(
        _ status: Int, _ body: JSONValue, headers: [String: String] = [:], end: End, isHeadOnly: Bool = false
    ) -> [UInt8] {
        let bytes = body.serialized() + [0x0A]
        let own = ["Content-Type": "application/json", "Content-Length": "\(bytes.count)"]
        return head(status, own.merging(headers) { $1 }, end) + (isHeadOnly ? [] : bytes)
    }

    private static func head(_ status: Int, _ headers: [String: String], _ end: End) -> [UInt8] {
        var lines = ["HTTP/1.1 \(status) \(reasons[status] ?? "Unknown")"]
        let own = ["Cache-Control": "no-store", "Connection": end == .close ? "close" : "keep-alive"]
        for (name, value) in headers.merging(own, uniquingKeysWith: { $1 }).sorted(by: { $0.key < $1.key }) {
            lines.append("\(name): \(value)")
        }
        return Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
    }

    private static let reasons = [
        200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
        408: "Request Timeout", 411: "Length Required", 413: "Content Too Large", 415: "Unsupported Media Type",
        431: "Request Header Fields Too Large", 500: "Internal Server Error",
    ]
}
