import Glibc
import Synchronization

/// An HTTP/1.1 server on 127.0.0.1 that is as rude as its handler wants: a thread a connection, raw bytes out.
package final class LoopbackServer: Sendable {
    package struct Request: Sendable {
        package var method: String
        package var target: String
        /// Names in lower case.
        package var headers: [String: String]
        package var body: [UInt8]

        package var bodyText: String { String(decoding: body, as: UTF8.self) }
    }

    package struct Counts: Hashable, Sendable {
        package var connections = 0
        package var requests = 0
        package var inFlight = 0
        package var mostInFlight = 0
    }

    package typealias Handler = @Sendable (Request, Connection) -> Void

    package let port: UInt16
    private let core: Core

    /// - Parameter handler: called on the connection's thread for each request; the connection is kept alive afterwards
    ///   unless the handler has ended it.
    package convenience init(_ handler: @escaping Handler) { self.init(isListening: true, handler) }

    /// Holds a port, so that nobody else gets it, and refuses every connection.
    package static func deaf() -> LoopbackServer { LoopbackServer(isListening: false) { _, _ in } }

    private init(isListening: Bool, _ handler: @escaping Handler) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && (!isListening || listen(listener, 512) == 0)
                    && getsockname(listener, $0, &size) == 0
            }
        }
        precondition(isBound, "no socket on loopback: error \(errno)")
        port = UInt16(bigEndian: address.sin_port)
        core = Core(listener: listener, handler: handler)
        let core = core
        if isListening { Thread.start { core.acceptAll() } }
    }

    deinit { core.stop() }

    package var url: String { "http://127.0.0.1:\(port)" }
    package var counts: Counts { core.state.withLock { $0.counts } }

    fileprivate final class Core: Sendable {
        struct State {
            var counts = Counts()
            var open: Set<Int32> = []
            var isStopped = false
        }

        let listener: Int32
        let handler: Handler
        let state = Mutex(State())

        init(listener: Int32, handler: @escaping Handler) {
            self.listener = listener
            self.handler = handler
        }

        deinit { close(listener) }

        func stop() {
            state.withLock { state in
                state.isStopped = true
                for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
            }
            shutdown(listener, Int32(SHUT_RDWR))
        }

        func acceptAll() {
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0, errno == EINTR || errno == ECONNABORTED { continue }
                if descriptor < 0 { return }
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                let isWelcome = state.withLock { state in
                    if state.isStopped { return false }
                    state.open.insert(descriptor)
                    state.counts.connections += 1
                    return true
                }
                let connection = Connection(
                    descriptor, onReply: { self.state.withLock { $0.counts.inFlight -= 1 } },
                    onClose: { _ = self.state.withLock { $0.open.remove(descriptor) } })
                if isWelcome { Thread.start { self.serve(connection) } }
            }
        }

        private func serve(_ connection: Connection) {
            while !connection.isEnded, let request = connection.nextRequest() {
                state.withLock { state in
                    state.counts.requests += 1
                    state.counts.inFlight += 1
                    state.counts.mostInFlight = max(state.counts.mostInFlight, state.counts.inFlight)
                }
                connection.isAsked = true
                handler(request, connection)
                connection.answered()
            }
            connection.close()
        }
    }

    /// One client's connection. Unchecked: its own thread alone uses it.
    package final class Connection: @unchecked Sendable {
        private let descriptor: Int32
        private let onReply: @Sendable () -> Void
        private let onClose: @Sendable () -> Void
        private var received: [UInt8] = []
        package private(set) var isEnded = false
        fileprivate var isAsked = false

        fileprivate init(
            _ descriptor: Int32, onReply: @escaping @Sendable () -> Void, onClose: @escaping @Sendable () -> Void
        ) {
            self.descriptor = descriptor
            self.onReply = onReply
            self.onClose = onClose
        }

        deinit { close() }

        /// False when the client is gone.
        @discardableResult
        package func write(_ bytes: [UInt8]) -> Bool {
            var offset = 0
            while offset < bytes.count, !isEnded {
                let count = bytes.withUnsafeBytes {
                    send(descriptor, $0.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
                }
                if count < 0 { return false }
                offset += count
            }
            return !isEnded
        }

        @discardableResult
        package func write(_ text: String) -> Bool { write(Array(text.utf8)) }

        package func reply(_ status: Int, _ headers: [String: String], _ body: [UInt8]) {
            var head = "HTTP/1.1 \(status) Said\r\n"
            var headers = headers
            if headers["Content-Type"] == nil { headers["Content-Type"] = "application/json" }
            if headers["Content-Length"] == nil { headers["Content-Length"] = "\(body.count)" }
            for (name, value) in headers where !value.isEmpty { head += "\(name): \(value)\r\n" }
            answered()
            write(Array("\(head)\r\n".utf8) + body)
        }

        /// Before the last byte leaves: the client may send its next request before this thread goes on.
        fileprivate func answered() {
            if isAsked { onReply() }
            isAsked = false
        }

        package func reply(_ status: Int, _ headers: [String: String], _ body: String) {
            reply(status, headers, Array(body.utf8))
        }

        package func reply(_ status: Int, _ body: String) { reply(status, [:], body) }

        /// Waits until the client hangs up, or so many milliseconds; true when it hung up.
        @discardableResult
        package func waitForHangUp(milliseconds: Int32) -> Bool {
            var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, milliseconds) > 0 else { return false }
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, Int32(MSG_PEEK)) <= 0
        }

        /// One byte every so many milliseconds, until they are all sent or the client hangs up.
        package func drip(_ bytes: [UInt8], every milliseconds: Int32) {
            for byte in bytes {
                if !write([byte]) || waitForHangUp(milliseconds: milliseconds) { return }
            }
        }

        /// Says that nothing more comes, and still listens.
        package func halfClose() { shutdown(descriptor, Int32(SHUT_WR)) }

        package func close() {
            if isEnded { return }
            isEnded = true
            onClose()
            Glibc.close(descriptor)
        }

        /// Ends the connection with a reset instead of a farewell.
        package func reset() {
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
            close()
        }

        fileprivate func nextRequest() -> Request? {
            while true {
                if let request = takeRequest() { return request }
                var chunk = [UInt8](repeating: 0, count: 1 << 16)
                let count = recv(descriptor, &chunk, chunk.count, 0)
                if count <= 0 { return nil }
                received += chunk[..<count]
            }
        }

        private func takeRequest() -> Request? {
            let end = Array("\r\n\r\n".utf8)
            guard let head = received.indices.first(where: { received[$0...].starts(with: end) }) else { return nil }
            let lines = String(decoding: received[..<head], as: UTF8.self).split(separator: "\r\n")
            var headers: [String: String] = [:]
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                headers[parts[0].lowercased()] = parts.count > 1 ? String(parts[1].drop { $0 == " " }) : ""
            }
            let start = head + end.count
            let length = Int(headers["content-length"] ?? "0") ?? 0
            guard received.count >= start + length else { return nil }
            let words = lines[0].split(separator: " ").map(String.init)
            let body = Array(received[start..<(start + length)])
            received.removeFirst(start + length)
            return Request(method: words[0], target: words[1], headers: headers, body: body)
        }
    }
}

private enum Thread {
    static func start(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        pthread_create(
            &thread, &attributes,
            { context in
                Unmanaged<Box>.fromOpaque(context!).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(Box(body)).toOpaque())
        pthread_attr_destroy(&attributes)
    }
}
