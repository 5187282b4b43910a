package import Chat
internal import Glibc
internal import Synchronization

/// A program as a model: one request a line on its standard input, one reply a line on its standard output, in any
/// order.
///
/// A request is `{"id", "messages", "max_tokens", "temperature", …}`, a reply `{"id", "text", "finish_reason"?,
/// "logprobs"?: [{"token", "logprob", "top": [{"token", "logprob"}]}]}` or `{"id", "error"}`. The program is started at
/// the first request, without a shell, and sees PATH, HOME, LANG and TMPDIR of the environment: never a key.
package final class ExecChatModel: ChatModel {
    package let name: String
    package let fingerprint: String
    package let maxConcurrentRequests: Int
    private let loop: ExecLoop

    /// - Parameter program: the program and its arguments, split at spaces.
    /// - Throws: `unsupported` where there is no such program.
    package init(
        program: String, maxConcurrentRequests: Int = 4, timeout: Duration = .seconds(600)
    ) throws(ModelFailure) {
        let arguments = program.split(separator: " ").map(String.init)
        guard let first = arguments.first, let path = ChildProcess.executablePath(first) else {
            throw .unsupported(
                "\(program) is no program that can be started. Check its path and that it is executable.")
        }
        name = "exec:\(program)"
        // An interpreter's script among the arguments decides the answers as much as the program does.
        let hashes = ([path] + arguments.dropFirst()).compactMap(sha256OfFile)
        fingerprint = ([name] + hashes.map { "sha256:\($0)" }).joined(separator: "@")
        self.maxConcurrentRequests = maxConcurrentRequests
        loop = ExecLoop(path: path, arguments: arguments, limit: maxConcurrentRequests, timeout: timeout)
    }

    deinit { loop.stop() }

    /// Kills the program; requests in flight fail, and later ones do, too.
    package func close() { loop.stop() }

    package func complete(_ request: ChatRequest) async throws -> Completion {
        let ask = ExecAsk(try ExecChatModel.encode(request))
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ask.continuation = continuation
                loop.start(ask)
            }
        } onCancel: {
            ask.isCancelled.store(true, ordering: .releasing)
            loop.cancel(ask)
        }
        switch result {
        case .answered(let completion): return completion
        case .failed(let failure): throw failure
        case .cancelled: throw CancellationError()
        }
    }

    /// The members of the request line behind its id.
    private static func encode(_ request: ChatRequest) throws(ModelFailure) -> JSONObject {
        var line: JSONObject = [
            "messages": .array(
                request.messages.map { ["role": .string($0.role.rawValue), "content": .string($0.content)] }),
            "max_tokens": .integer(request.maxTokens),
        ]
        switch request.decoding {
        case .greedy: line["temperature"] = 0
        case .sampling(let temperature, let topK, let topP, let minP):
            line["temperature"] = .number(temperature)
            line["top_k"] = topK.map(JSONValue.integer)
            line["top_p"] = topP.map(JSONValue.number)
            line["min_p"] = minP.map(JSONValue.number)
        case .beam: throw .unsupported("A program answers without beam search. Use greedy or sampling.")
        }
        line["repetition_penalty"] = request.repetitionPenalty.map(JSONValue.number)
        if !request.stop.isEmpty { line["stop"] = .array(request.stop.map(JSONValue.string)) }
        line["seed"] = request.seed.map { .integer(Int($0 & 0x7FFF_FFFF_FFFF_FFFF)) }
        line["top_logprobs"] = request.topLogprobs.map(JSONValue.integer)
        if request.sample != 0 { line["sample"] = .integer(request.sample) }
        return line
    }
}

private enum ExecResult {
    case answered(Completion)
    case failed(ModelFailure)
    case cancelled
}

/// One request to the program. Unchecked: the task writes `continuation` before the loop's lock passes it on, and from
/// then on only the loop's thread touches it; `isCancelled` is atomic.
private final class ExecAsk: @unchecked Sendable {
    enum Stage { case new, queued, running, done }

    let members: JSONObject
    let isCancelled = Atomic(false)
    var continuation: CheckedContinuation<ExecResult, Never>?
    var stage = Stage.new
    var sentAt: Duration = .zero

    init(_ members: JSONObject) { self.members = members }

    func finish(_ result: ExecResult) {
        if stage == .done { return }
        stage = .done
        continuation?.resume(returning: result)
        continuation = nil
    }
}

/// The thread that owns the program. Unchecked: `inbox` has its lock, and everything else is the thread's alone.
private final class ExecLoop: @unchecked Sendable {
    private struct Inbox {
        var started: [ExecAsk] = []
        var cancelled: [ExecAsk] = []
        var isRunning = false
        var isStopped = false
        /// The program's, while it may be killed.
        var group: pid_t?
    }

    /// Deaths in a row, without an answer between them, after which the program is not started again.
    private static let mostDeaths = 4
    private static let lineLimit = 8 << 20

    private let path: String
    private let arguments: [String]
    private let limit: Int
    private let timeout: Duration
    /// A byte in it ends the thread's poll.
    private let wake: (read: Int32, write: Int32)
    private let inbox = Mutex(Inbox())
    private var queue: [ExecAsk] = []
    private var pending: [Int: ExecAsk] = [:]
    private var nextID = 1
    private var child: ChildProcess?
    private var deaths = 0
    private var lastReplyAt: Duration = .zero

    init(path: String, arguments: [String], limit: Int, timeout: Duration) {
        precondition(limit > 0, "a program needs a request at a time, not \(limit)")
        self.path = path
        self.arguments = arguments
        self.limit = limit
        self.timeout = timeout
        guard let ends = makePipe() else { preconditionFailure("no pipe: error \(errno)") }
        for end in [ends.read, ends.write] { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        wake = ends
    }

    deinit {
        Glibc.close(wake.read)
        Glibc.close(wake.write)
    }

    func start(_ ask: ExecAsk) {
        inbox.withLock { inbox in
            inbox.started.append(ask)
            if !inbox.isRunning {
                inbox.isRunning = true
                spawnThread { self.run() }
            }
        }
        wakeUp()
    }

    func cancel(_ ask: ExecAsk) {
        inbox.withLock { $0.cancelled.append(ask) }
        wakeUp()
    }

    /// The program is gone when this returns: this process may end before its thread has run again.
    func stop() {
        inbox.withLock { inbox in
            inbox.isStopped = true
            if let group = inbox.group { kill(-group, SIGKILL) }
        }
        wakeUp()
    }

    private func wakeUp() { _ = write(wake.write, "!", 1) }

    private func run() {
        while takeInbox() {
            expire()
            admit()
            wait()
        }
        endChild()
        repeat {
            _ = takeInbox()
            let closed = ModelFailure.requestFailed("\(arguments[0]) was closed.")
            for ask in Array(pending.values) + queue { ask.finish(.failed(closed)) }
            pending.removeAll()
            queue.removeAll()
        } while !leave()
    }

    /// Whether nothing came meanwhile; then the next request starts a thread that turns it away.
    private func leave() -> Bool {
        inbox.withLock { inbox in
            inbox.isRunning = !inbox.started.isEmpty
            return !inbox.isRunning
        }
    }

    private func takeInbox() -> Bool {
        let (started, cancelled, isStopped) = inbox.withLock { inbox in
            defer {
                inbox.started.removeAll()
                inbox.cancelled.removeAll()
            }
            return (inbox.started, inbox.cancelled, inbox.isStopped)
        }
        for ask in started {
            if ask.isCancelled.load(ordering: .acquiring) {  // its cancellation may have come before it
                ask.finish(.cancelled)
            } else {
                ask.stage = .queued
                queue.append(ask)
            }
        }
        for ask in cancelled where ask.stage == .queued || ask.stage == .running { ask.finish(.cancelled) }
        return !isStopped
    }

    private func admit() {
        while pending.count < limit, !queue.isEmpty {
            let ask = queue.removeFirst()
            if ask.stage == .done { continue }
            if child == nil, let failure = startChild() {
                ask.finish(.failed(failure))
                continue
            }
            ask.stage = .running
            ask.sentAt = TimeSource.system.now()
            var line: JSONObject = ["id": .integer(nextID)]
            for member in ask.members.members { line[member.key] = member.value }
            pending[nextID] = ask
            nextID += 1
            child?.outgoing += JSONValue.object(line).serialized() + [UInt8(ascii: "\n")]
        }
    }

    private func startChild() -> ModelFailure? {
        if deaths >= ExecLoop.mostDeaths {
            return .providerRefuses(
                "\(arguments[0]) ended \(deaths) times in a row without an answer. Run it by hand with a "
                    + "request line, and mend it.")
        }
        do throws(ChildProcess.Failure) {
            let started = try ChildProcess(path: path, arguments: arguments)
            inbox.withLock { $0.group = started.process }
            child = started
            lastReplyAt = TimeSource.system.now()
            return nil
        } catch {
            deaths += 1
            return .requestFailed("\(arguments[0]) cannot be started: \(error.reason). Check that it runs by hand.")
        }
    }

    /// A request that takes too long fails alone; where the program said nothing since it was sent, the program hangs.
    private func expire() {
        let now = TimeSource.system.now()
        let late = pending.filter { now - $0.value.sentAt >= timeout }
        let hangs = late.contains { $0.value.sentAt >= lastReplyAt }
        if hangs { endChild() }  // first: whoever waits may end this process when it hears of it
        for (id, ask) in late {
            pending[id] = nil
            ask.finish(.failed(.requestFailed("\(arguments[0]) did not answer within \(timeout.inSeconds) s.")))
        }
        if hangs { lose("hangs") }
    }

    private func wait() {
        let now = TimeSource.system.now()
        let due = pending.values.map { $0.sentAt + timeout - now }.min()
        var polled = [pollfd(fd: wake.read, events: Int16(POLLIN), revents: 0)]
        if let child {
            polled.append(pollfd(fd: child.output, events: Int16(POLLIN), revents: 0))
            if !child.outgoing.isEmpty { polled.append(pollfd(fd: child.input, events: Int16(POLLOUT), revents: 0)) }
        }
        poll(&polled, UInt(polled.count), due.map { Int32(clamping: $0.milliseconds) } ?? -1)
        if polled[0].revents != 0 {
            var bytes: UInt64 = 0
            while read(wake.read, &bytes, 8) > 0 {}
        }
        if polled.count > 2, polled[2].revents != 0 { child?.flush() }
        if polled.count > 1, polled[1].revents != 0 { receive() }
    }

    private func receive() {
        guard let child else { return }
        let isOpen = child.fill()
        while let line = child.nextLine() {
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }) { continue }
            if let complaint = deliver(line) {
                lose(complaint)
                return
            }
        }
        if child.incoming.count > ExecLoop.lineLimit {
            lose("wrote a line of more than \(ExecLoop.lineLimit) bytes")
        } else if !isOpen {
            lose(nil)
        }
    }

    /// - Returns: what is wrong with `line`, where it is no reply to anything that was asked.
    private func deliver(_ line: ArraySlice<UInt8>) -> String? {
        let reply: JSONValue
        do { reply = try JSONValue(parsing: line) } catch {
            return "wrote a line that is not JSON: \(error.description)"
        }
        guard let id = reply["id"]?.integer, (1..<nextID).contains(id) else {
            return "answered a request that was never made"
        }
        lastReplyAt = TimeSource.system.now()
        deaths = 0
        guard let ask = pending.removeValue(forKey: id) else { return nil }  // late, or answered twice
        do throws(MalformedReply) {
            ask.finish(.answered(try ExecReply.completion(reply, raw: String(decoding: line, as: UTF8.self))))
        } catch {
            ask.finish(.failed(.requestFailed("\(arguments[0]) gave no answer: \(error.reason).")))
        }
        return nil
    }

    /// The program is gone or of no use: what it has not answered fails, and the next request starts it anew.
    private func lose(_ complaint: String?) {
        let end = endChild()
        deaths += 1
        let failure = ModelFailure.requestFailed("\(arguments[0]) \(complaint ?? end) before it answered.")
        for ask in pending.values { ask.finish(.failed(failure)) }
        pending.removeAll()
    }

    @discardableResult
    private func endChild() -> String {
        defer { child = nil }
        inbox.withLock { $0.group = nil }  // once it is waited for, the number may be another's
        return child?.end() ?? "was not running"
    }
}

private enum ExecReply {
    static func completion(_ reply: JSONValue, raw: String) throws(MalformedReply) -> Completion {
        if let error = reply["error"], !error.isNull { throw MalformedReply(error.string ?? error.text()) }
        guard let text = reply["text"]?.string else { throw MalformedReply("its reply has no text") }
        let reason = reply["finish_reason"]?.string.map { Completion.FinishReason(rawValue: $0) ?? .other }
        return Completion(
            text: text, finishReason: reason ?? .stop, tokens: try tokens(reply["logprobs"]?.array ?? []), raw: raw)
    }

    private static func tokens(_ entries: [JSONValue]) throws(MalformedReply) -> [Completion.Token] {
        var tokens: [Completion.Token] = []
        for entry in entries {
            guard let text = entry["token"]?.string, let logprob = entry["logprob"]?.number else {
                throw MalformedReply("a token among its logprobs has no text or no number")
            }
            let top = (entry["top"]?.array ?? []).compactMap { alternative -> Completion.Alternative? in
                guard let text = alternative["token"]?.string, let logprob = alternative["logprob"]?.number else {
                    return nil
                }
                return Completion.Alternative(text: text, logprob: logprob)
            }
            tokens.append(Completion.Token(text: text, logprob: logprob, top: top))
        }
        return tokens
    }
}

/// Nil where `path` is no regular file that can be read.
private func sha256OfFile(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    guard let bytes = readAll(descriptor) else { return nil }
    return Digest.sha256(bytes)
}

/// The rest of a file, or nil when reading fails.
func readAll(_ descriptor: Int32) -> [UInt8]? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 18)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count == 0 { return bytes }
        if count > 0 { bytes.append(contentsOf: chunk[..<count]) } else if errno != EINTR { return nil }
    }
}
