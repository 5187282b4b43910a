internal import Glibc

/// One client's socket with its buffers. Only the server's thread touches it.
final class HTTPConnection {
    enum Stage {
        /// Between requests, or in the middle of one.
        case reading
        /// A task works on the answer.
        case answering(Task<Void, Never>)
        /// The last answer leaves; then the connection closes.
        case closing
        /// Everything has left. What the client still sends is thrown away, or the answer could be lost on its way.
        case draining
        case closed
    }

    let descriptor: Int32
    let limits: HTTPServer.Limits
    private(set) var stage = Stage.reading
    /// When patience with the client ends, in seconds of the steady clock.
    private(set) var deadline: Double
    private var input: [UInt8] = []
    /// The input before it holds no end of a head.
    private var searched = 0
    private var head: HTTPHead?
    private var output: [UInt8] = []
    private var drained = 0

    init(_ descriptor: Int32, limits: HTTPServer.Limits, now: Double) {
        self.descriptor = descriptor
        self.limits = limits
        deadline = now + limits.idleSeconds
    }

    /// Whether nothing has arrived of a next request.
    var isIdle: Bool {
        if case .reading = stage { input.isEmpty && output.isEmpty } else { false }
    }

    var isClosed: Bool {
        if case .closed = stage { true } else { false }
    }

    /// What poll is to look for.
    var events: Int16 {
        var events: Int16 = isReadable ? Int16(POLLIN) : 0
        if !output.isEmpty { events |= Int16(POLLOUT) }
        return events
    }

    /// While an answer is made, only little is read ahead.
    private var isReadable: Bool {
        if case .answering = stage { input.count < limits.headBytes } else { true }
    }

    /// Reads what is there; the client's end of writing is taken for its leaving.
    func receive(now: Double) {
        guard isReadable else { return }
        let isFirst = isIdle
        let size = 1 << 16
        let hasLeft = withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { buffer in
            let count = recv(descriptor, buffer.baseAddress, size, 0)
            if count <= 0 { return count == 0 || errno != EAGAIN && errno != EINTR }
            if isLeaving {
                drained += count
            } else {
                input.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
            return false
        }
        if hasLeft || drained > limits.drainBytes { return close() }
        if isFirst { deadline = now + limits.requestSeconds }
    }

    /// Whether nothing more is asked of this connection.
    private var isLeaving: Bool {
        switch stage {
        case .reading, .answering: false
        case .closing, .draining, .closed: true
        }
    }

    /// The next request when all of it is there.
    ///
    /// - Throws: `ServingError` for what is no request; the connection is of no further use then.
    func takeRequest(now: Double) throws(ServingError) -> HTTPRequest? {
        guard case .reading = stage else { return nil }
        if head == nil, let head = try takeHead() {
            self.head = head
            if head.contentLength > limits.bodyBytes { throw .bodyTooLarge(limit: limits.bodyBytes) }
            if head.expectsContinue, input.count < head.contentLength {
                send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8), now: now)
            }
        }
        guard let head, input.count >= head.contentLength else { return nil }
        let body = Array(input[..<head.contentLength])
        input.removeFirst(head.contentLength)
        self.head = nil
        return HTTPRequest(head: head, body: body)
    }

    private func takeHead() throws(ServingError) -> HTTPHead? {
        // Empty lines before a request are allowed for.
        if searched == 0 { input.removeFirst(input.prefix { $0 == 0x0D || $0 == 0x0A }.count) }
        let mark: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A]
        var position = searched
        while position + mark.count <= input.count {
            if input[position] == 0x0D, input[position..<position + mark.count].elementsEqual(mark) {
                if position > limits.headBytes { throw .headersTooLarge(limit: limits.headBytes) }
                let head = try HTTPHead(input[..<position])
                input.removeFirst(position + mark.count)
                searched = 0
                return head
            }
            position += 1
        }
        searched = position
        if input.count > limits.headBytes { throw .headersTooLarge(limit: limits.headBytes) }
        return nil
    }

    func begin(_ task: Task<Void, Never>) {
        stage = .answering(task)
        deadline = .infinity
    }

    /// Sends an answer's bytes, or as many as the client takes now.
    func send(_ bytes: [UInt8], now: Double) {
        if output.isEmpty { deadline = now + limits.stallSeconds }
        output += bytes
        if output.count > limits.unsentBytes { return close() }
        flush(now: now)
    }

    func finish(_ end: HTTPReply.End, now: Double) {
        if isClosed { return }
        stage = end == .keepAlive ? .reading : .closing
        deadline = now + (output.isEmpty ? limits.idleSeconds : limits.stallSeconds)
        flush(now: now)
    }

    func flush(now: Double) {
        var sent = 0
        while sent < output.count {
            let count = output[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno != EAGAIN { return close() }
            if count <= 0 { break }
            sent += count
        }
        if sent > 0 { deadline = now + limits.stallSeconds }
        output.removeFirst(sent)
        guard output.isEmpty else { return }
        switch stage {
        case .answering: deadline = .infinity
        case .closing:
            stage = .draining
            shutdown(descriptor, Int32(SHUT_WR))
            deadline = now + limits.drainSeconds
        case .reading, .draining, .closed: break
        }
    }

    /// Whether the client was in the middle of a request when patience ended.
    var isHalfway: Bool {
        if case .reading = stage { head != nil || !input.isEmpty } else { false }
    }

    func close() {
        if isClosed { return }
        if case .answering(let task) = stage { task.cancel() }
        stage = .closed
        Glibc.close(descriptor)
    }
}
