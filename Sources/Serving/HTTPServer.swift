internal import Glibc
internal import Synchronization

/// An HTTP/1.1 server: one thread waits on every socket, a task makes each answer.
///
/// The thread sees a client leave while its answer is made, and cancels the task.
final class HTTPServer: Sendable {
    struct Limits: Sendable {
        var headBytes = 64 << 10
        var bodyBytes = 16 << 20
        /// What a client that reads slowly may leave in memory.
        var unsentBytes = 64 << 20
        var drainBytes = 64 << 20
        var connections = 512
        var idleSeconds = 75.0
        /// For a whole request to arrive.
        var requestSeconds = 60.0
        /// For a client to take some of what waits for it.
        var stallSeconds = 30.0
        var drainSeconds = 5.0
    }

    private let loop: ServerLoop
    let address: SocketAddress

    /// Listens from now on.
    ///
    /// - Parameter port: 0 takes a free one.
    /// - Throws: `ServingError.cannotListen`.
    init(
        host: String, port: UInt16, limits: Limits,
        handler: @escaping @Sendable (HTTPRequest, SocketAddress, HTTPReply) async -> Void
    ) throws(ServingError) {
        let listener = try Listener(host: host, port: port)
        let address = listener.address
        self.address = address
        loop = ServerLoop(listener: listener.descriptor, limits: limits) { await handler($0, address, $1) }
        loop.start()
    }

    deinit { loop.stop(.now) }

    /// Takes no new request, and ends when those in flight are answered.
    func stopAccepting() { loop.stop(.whenAnswered) }

    /// Returns when the last connection is closed.
    func waitUntilFinished() async { await loop.waitUntilFinished() }
}

/// The loop on the server's thread.
private final class ServerLoop: @unchecked Sendable {
    // `connections` and `listener` belong to the loop's thread; the others are guarded or constant.
    typealias Handler = @Sendable (HTTPRequest, HTTPReply) async -> Void

    enum Stop { case whenAnswered, now }

    private enum Command {
        case send(Int, [UInt8], HTTPReply.End?)
        case stop(Stop)
    }

    private struct Shared {
        var commands: [Command] = []
        var isFinished = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private var listener: Int32
    /// A byte in this pipe ends the loop's sleep.
    private let wake: (read: Int32, write: Int32)
    private let limits: HTTPServer.Limits
    private let handler: Handler
    private let shared = Mutex(Shared())
    private var connections: [Int: HTTPConnection] = [:]
    private var nextNumber = 0
    private var stopping: Stop?
    private var now = 0.0

    init(listener: Int32, limits: HTTPServer.Limits, handler: @escaping Handler) {
        self.listener = listener
        self.limits = limits
        self.handler = handler
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "no pipe: error \(errno)")
        for end in ends { Listener.prepare(end) }
        wake = (ends[0], ends[1])
    }

    deinit {
        close(wake.read)
        close(wake.write)
    }

    func start() {
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ServerLoop>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "a thread could not be started: \(status)")
        pthread_detach(thread)
    }

    func stop(_ stop: Stop) { tell(.stop(stop)) }

    func waitUntilFinished() async {
        await withCheckedContinuation { continuation in
            let isFinished = shared.withLock { shared in
                if !shared.isFinished { shared.waiters.append(continuation) }
                return shared.isFinished
            }
            if isFinished { continuation.resume() }
        }
    }

    private func tell(_ command: Command) {
        let isFirst = shared.withLock { shared in
            shared.commands.append(command)
            return shared.commands.count == 1
        }
        if isFirst {
            var byte: UInt8 = 1
            _ = write(wake.write, &byte, 1)
        }
    }

    // MARK: On the thread

    private func run() {
        while stopping == nil || !connections.isEmpty {
            wait()
            obey()
            for (number, connection) in connections where connection.deadline < now { expire(number, connection) }
            for (number, connection) in connections where connection.isClosed || (stopping != nil && connection.isIdle)
            {
                connection.close()
                connections[number] = nil
            }
        }
        closeListener()
        let waiters = shared.withLock { shared in
            shared.isFinished = true
            return shared.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Sleeps until a socket or a task has something, and serves the sockets.
    private func wait() {
        let numbers = Array(connections.keys)
        var polled = [pollfd(fd: wake.read, events: Int16(POLLIN), revents: 0)]
        polled += numbers.map { pollfd(fd: connections[$0]!.descriptor, events: connections[$0]!.events, revents: 0) }
        if listener >= 0, connections.count < limits.connections {
            polled.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0))
        }
        _ = poll(&polled, nfds_t(polled.count), milliseconds)
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        now = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        for (entry, number) in zip(polled.dropFirst(), numbers) where entry.revents != 0 {
            serve(number, connections[number]!, entry.revents)
        }
        if polled[0].revents != 0 {
            var bytes: (UInt64, UInt64) = (0, 0)
            _ = read(wake.read, &bytes, 16)
        }
        if polled.count > numbers.count + 1, polled[numbers.count + 1].revents != 0 { acceptAll() }
    }

    private var milliseconds: Int32 {
        let first = connections.values.map(\.deadline).min() ?? .infinity
        return first == .infinity ? -1 : Int32(max(0, min(60_000, (first - now) * 1_000 + 1)))
    }

    private func acceptAll() {
        while connections.count < limits.connections {
            let descriptor = accept(listener, nil, nil)
            if descriptor < 0, errno == EINTR || errno == ECONNABORTED { continue }
            if descriptor < 0 {
                // Without descriptors left, the socket stays ready: do not spin on it.
                if errno != EAGAIN { poll(nil, 0, 10) }
                return
            }
            Listener.prepare(descriptor)
            var yes: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
            connections[nextNumber] = HTTPConnection(descriptor, limits: limits, now: now)
            nextNumber += 1
        }
    }

    private func serve(_ number: Int, _ connection: HTTPConnection, _ events: Int16) {
        let gone = Int16(POLLHUP | POLLERR | POLLNVAL)
        if events & Int16(POLLOUT) != 0 { connection.flush(now: now) }
        if events & Int16(POLLIN) != 0 { connection.receive(now: now) }
        if events & gone != 0 { connection.close() }
        answer(number, connection)
    }

    /// Starts on the connection's next request when it is there.
    private func answer(_ number: Int, _ connection: HTTPConnection) {
        do throws(ServingError) {
            guard stopping != .now, let request = try connection.takeRequest(now: now) else { return }
            let reply = HTTPReply(to: request.head, isLast: stopping != nil) { [weak self] bytes, end in
                self?.tell(.send(number, bytes, end))
            }
            let handler = handler
            connection.begin(Task { await handler(request, reply) })
        } catch {
            refuse(connection, error)
        }
    }

    private func refuse(_ connection: HTTPConnection, _ error: ServingError) {
        connection.send(HTTPReply.whole(error.status, error.json, end: .close), now: now)
        connection.finish(.close, now: now)
    }

    private func expire(_ number: Int, _ connection: HTTPConnection) {
        if connection.isHalfway {
            refuse(connection, .tooSlow)
        } else {
            connection.close()
        }
    }

    private func obey() {
        let commands = shared.withLock { shared in
            defer { shared.commands = [] }
            return shared.commands
        }
        for command in commands {
            switch command {
            case .send(let number, let bytes, let end):
                guard let connection = connections[number], !connection.isClosed else { continue }
                connection.send(bytes, now: now)
                if let end {
                    connection.finish(end, now: now)
                    answer(number, connection)
                }
            case .stop(let stop):
                stopping = stop
                closeListener()
                if stop == .now { for connection in connections.values { connection.close() } }
            }
        }
    }

    private func closeListener() {
        if listener >= 0 { close(listener) }
        listener = -1
    }
}
