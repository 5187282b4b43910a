import Chat
import Foundation
import Serving
import Synchronization

/// A client that says exactly the bytes that a test wants. Unchecked: one thread at a time uses it.
final class Client: @unchecked Sendable {
    struct Reply: Sendable {
        var status = 0
        /// Names in lower case.
        var headers: [String: String] = [:]
        var body: [UInt8] = []

        var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }
        var error: JSONValue { json["error"] ?? .null }
        var text: String { String(decoding: body, as: UTF8.self) }

        /// The data of server-sent events.
        var events: [String] {
            text.components(separatedBy: "\n\n").filter { !$0.isEmpty }.map { String($0.dropFirst("data: ".count)) }
        }
        var chunks: [JSONValue] { events.dropLast().compactMap { try? JSONValue(parsing: $0) } }
    }

    private let descriptor: Int32
    private var received: [UInt8] = []

    init(_ address: SocketAddress) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = address.port.bigEndian
        target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        isConnected = withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) == 0 }
        }
        // Longer than all tests together, whose tasks the server's wait among.
        var patience = timeval(tv_sec: 300, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    let isConnected: Bool

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            sent += count
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func post(_ path: String, _ body: String, headers: [String] = [], host: String = "127.0.0.1") {
        var lines = ["POST \(path) HTTP/1.1", "Host: \(host)", "Content-Length: \(body.utf8.count)"]
        lines += headers.isEmpty ? ["Content-Type: application/json"] : headers
        send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }

    func get(_ path: String, host: String = "127.0.0.1") { send("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n") }

    /// False at the end of what the server says.
    @discardableResult
    func receive() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count > 0 { received += chunk[..<count] }
        return count > 0
    }

    /// Waits until so much of a stream's text has arrived.
    func receive(until text: String) -> Bool {
        while !String(decoding: received, as: UTF8.self).contains(text) {
            if !receive() { return false }
        }
        return true
    }

    /// One whole reply; what follows stays for the next call. Nil when the server hangs up before.
    func reply() -> Reply? {
        let mark = Data("\r\n\r\n".utf8)
        while Data(received).range(of: mark) == nil { if !receive() { return nil } }
        let end = Data(received).range(of: mark)!.lowerBound
        let lines = String(decoding: received[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        received.removeFirst(end + 4)
        var reply = Reply()
        reply.status = Int(lines[0].split(separator: " ")[1]) ?? 0
        for line in lines.dropFirst() {
            let parts = line.components(separatedBy: ": ")
            reply.headers[parts[0].lowercased()] = parts.dropFirst().joined(separator: ": ")
        }
        if reply.headers["transfer-encoding"] == "chunked" {
            guard let body = chunkedBody() else { return nil }
            reply.body = body
        } else if let length = reply.headers["content-length"].flatMap({ Int($0) }) {
            while received.count < length { if !receive() { return nil } }
            reply.body = Array(received[..<length])
            received.removeFirst(length)
        } else if reply.status != 100 {
            while receive() {}
            reply.body = received
            received = []
        }
        return reply
    }

    private func chunkedBody() -> [UInt8]? {
        var body: [UInt8] = []
        while true {
            while Data(received).range(of: Data("\r\n".utf8)) == nil { if !receive() { return nil } }
            let end = Data(received).range(of: Data("\r\n".utf8))!.lowerBound
            let length = Int(String(decoding: received[..<end], as: UTF8.self), radix: 16)!
            while received.count < end + 2 + length + 2 { if !receive() { return nil } }
            body += received[end + 2..<end + 2 + length]
            received.removeFirst(end + 2 + length + 2)
            if length == 0 { return body }
        }
    }

    /// Runs a blocking conversation on a thread of its own: the few threads of tasks are the server's.
    static func talk<Value: Sendable>(
        to server: ModelServer, _ body: @escaping @Sendable (Client) -> Value
    ) async -> Value {
        let address = server.address
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body(Client(address))) }
        }
    }

    static func post(_ server: ModelServer, _ path: String, _ body: JSONValue) async throws -> Reply {
        let text = body.text()
        return try await talk(to: server) { client in
            client.post(path, text)
            return client.reply()
        }.required()
    }
}

extension Optional {
    struct Missing: Error {}

    func required() throws -> Wrapped {
        guard let self else { throw Missing() }
        return self
    }
}
