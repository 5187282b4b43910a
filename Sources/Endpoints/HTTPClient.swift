internal import CCurl
internal import Glibc
internal import Synchronization

/// HTTP over one libcurl multi handle on one thread: at most `connections` transfers are in flight, the others wait in
/// the order they came.
package final class HTTPClient: Sendable {
    private let loop: TransferLoop

    /// - Parameter caFile: the certificates to trust; nil takes `SSL_CERT_FILE`, or the system's where that is unset.
    package init(connections: Int, caFile: String? = nil) {
        loop = TransferLoop(limit: connections, caFile: caFile ?? environment("SSL_CERT_FILE"))
    }

    deinit { loop.stop() }

    /// - Throws: `HTTPError`; `cancelled` when the task was cancelled, which stops the transfer.
    package func send(_ request: HTTPRequest) async throws(HTTPError) -> HTTPResponse {
        let transfer = Transfer(request)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                transfer.continuation = continuation
                loop.start(transfer)
            }
        } onCancel: {
            transfer.isCancelled.store(true, ordering: .releasing)
            loop.cancel(transfer)
        }
        return try result.get()
    }
}

func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// One request on its way. Unchecked: the task writes `continuation` before the loop's lock passes the transfer on, and
/// from then on only the loop's thread touches it; `isCancelled` is atomic.
private final class Transfer: @unchecked Sendable {
    enum Stage { case new, queued, running, done }

    static let headersLimit = 64 << 10

    let request: HTTPRequest
    let isCancelled = Atomic(false)
    var continuation: CheckedContinuation<Result<HTTPResponse, HTTPError>, Never>?
    var stage = Stage.new
    var handle: UnsafeMutableRawPointer?
    var headerList: UnsafeMutablePointer<curl_slist>?
    let message = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    var response = HTTPResponse(status: 0)
    var headerBytes = 0
    var fault: HTTPError?

    init(_ request: HTTPRequest) { self.request = request }

    deinit { message.deallocate() }

    func receive(header line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        if headerBytes > Transfer.headersLimit {
            fault = .headersTooLarge(limit: Transfer.headersLimit)
            return false
        }
        if line.starts(with: "HTTP/".utf8) {  // an interim response may have come before
            response.headers = []
            return true
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return true }
        let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
        response.headers.append(.init(name, String(decoding: line[(colon + 1)...], as: UTF8.self).trimmed))
        return true
    }

    func receive(body bytes: UnsafeRawBufferPointer) -> Bool {
        if response.status == 0 { response.status = status }
        if let receiver = request.receiver, response.status == 200 || response.status == 206 {
            if receiver(response, bytes) { return true }
            fault = .refusedByReceiver
            return false
        }
        if response.body.count + bytes.count > request.bodyLimit {
            fault = .bodyTooLarge(limit: request.bodyLimit)
            return false
        }
        response.body.append(contentsOf: bytes)
        return true
    }

    var status: Int {
        var code = 0
        ccurl_get_long(handle, CURLINFO_RESPONSE_CODE, &code)
        return code
    }
}

extension String {
    /// Without white space at either end.
    var trimmed: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text.drop { $0.isWhitespace })
    }
}

/// The thread that owns the multi handle. Unchecked: `inbox` has its lock, and everything else is the thread's alone.
private final class TransferLoop: @unchecked Sendable {
    private struct Inbox {
        var started: [Transfer] = []
        var cancelled: [Transfer] = []
        var isRunning = false
        var isStopped = false
    }

    private static let initialized: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let limit: Int
    private let caFile: String?
    private let multi: UnsafeMutableRawPointer
    private let inbox = Mutex(Inbox())
    private var queue: [Transfer] = []
    private var queueStart = 0
    private var running: [UnsafeMutableRawPointer: Transfer] = [:]
    private var idleHandles: [UnsafeMutableRawPointer] = []

    init(limit: Int, caFile: String?) {
        precondition(limit > 0, "a client needs a connection, not \(limit)")
        precondition(TransferLoop.initialized, "libcurl does not start")
        self.limit = limit
        self.caFile = caFile
        multi = curl_multi_init()!
        ccurl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, limit)
        // One request at a time on a connection, HTTP/2 too: with many at once curl 7.88 sends one in a thousand twice
        // (counted at the server), and each costs money.
        ccurl_multi_set_long(multi, CURLMOPT_PIPELINING, Int(CURLPIPE_NOTHING))
    }

    deinit {
        for handle in idleHandles { curl_easy_cleanup(handle) }
        curl_multi_cleanup(multi)
    }

    func start(_ transfer: Transfer) {
        inbox.withLock { inbox in
            inbox.started.append(transfer)
            if !inbox.isRunning {
                inbox.isRunning = true
                spawnThread { self.run() }
            }
        }
        curl_multi_wakeup(multi)
    }

    func cancel(_ transfer: Transfer) {
        inbox.withLock { $0.cancelled.append(transfer) }
        curl_multi_wakeup(multi)
    }

    func stop() {
        inbox.withLock { $0.isStopped = true }
        curl_multi_wakeup(multi)
    }

    private func run() {
        while takeInbox() {
            admit()
            var count: Int32 = 0
            curl_multi_perform(multi, &count)
            collect()
            if queueStart < queue.count, running.count < limit { continue }
            curl_multi_poll(multi, nil, 0, 10_000, nil)
        }
        for transfer in Array(running.values) + queue[queueStart...] { finish(transfer, .failure(.cancelled)) }
    }

    private func takeInbox() -> Bool {
        let (started, cancelled, isStopped) = inbox.withLock { inbox in
            defer {
                inbox.started.removeAll()
                inbox.cancelled.removeAll()
            }
            return (inbox.started, inbox.cancelled, inbox.isStopped)
        }
        for transfer in started {
            if transfer.isCancelled.load(ordering: .acquiring) {  // its cancellation may have come before it
                finish(transfer, .failure(.cancelled))
            } else {
                transfer.stage = .queued
                queue.append(transfer)
            }
        }
        for transfer in cancelled where transfer.stage == .queued || transfer.stage == .running {
            finish(transfer, .failure(.cancelled))
        }
        return !isStopped
    }

    private func admit() {
        while running.count < limit, queueStart < queue.count {
            let transfer = queue[queueStart]
            queueStart += 1
            if transfer.stage == .queued { begin(transfer) }
        }
        if queueStart * 2 >= queue.count {  // half of it is history: each transfer is moved once or twice at most
            queue.removeFirst(queueStart)
            queueStart = 0
        }
    }

    private func begin(_ transfer: Transfer) {
        guard let handle = idleHandles.popLast() ?? curl_easy_init() else {
            finish(transfer, .failure(.other("out of memory")))
            return
        }
        transfer.stage = .running
        transfer.handle = handle
        running[handle] = transfer
        configure(handle, transfer)
        let code = curl_multi_add_handle(multi, handle)
        if code != CURLM_OK { finish(transfer, .failure(.other(String(cString: curl_multi_strerror(code))))) }
    }

    private func collect() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let transfer = running[message.pointee.easy_handle] else {
                continue
            }
            let code = ccurl_message_result(message)
            if code == CURLE_OK {
                transfer.response.status = transfer.status
                finish(transfer, .success(transfer.response))
            } else {
                finish(transfer, .failure(transfer.fault ?? HTTPError(code, String(cString: transfer.message))))
            }
        }
    }

    private func finish(_ transfer: Transfer, _ result: Result<HTTPResponse, HTTPError>) {
        if transfer.stage == .done { return }
        transfer.stage = .done
        if let handle = transfer.handle {
            curl_multi_remove_handle(multi, handle)
            curl_easy_reset(handle)
            curl_slist_free_all(transfer.headerList)
            running[handle] = nil
            idleHandles.append(handle)
            transfer.handle = nil
        }
        transfer.continuation?.resume(returning: result)
        transfer.continuation = nil
    }

    private func configure(_ handle: UnsafeMutableRawPointer, _ transfer: Transfer) {
        let request = transfer.request
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        transfer.message.pointee = 0
        ccurl_set_pointer(handle, CURLOPT_ERRORBUFFER, transfer.message)
        ccurl_set_string(handle, CURLOPT_URL, request.address.text)
        ccurl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        ccurl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0)
        ccurl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        ccurl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
        ccurl_set_long(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        ccurl_set_string(handle, CURLOPT_USERAGENT, "evalharness")
        configureTLS(handle, request)
        configureTimes(handle, request)
        if request.acceptsGzip { ccurl_set_string(handle, CURLOPT_ACCEPT_ENCODING, "gzip") }

        ccurl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        ccurl_set_callback(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
            let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
            return transfer.receive(header: line) ? line.count : 0
        }
        ccurl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        ccurl_set_callback(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            let transfer = Unmanaged<Transfer>.fromOpaque(context!).takeUnretainedValue()
            let piece = UnsafeRawBufferPointer(start: bytes, count: size * count)
            return transfer.receive(body: piece) ? piece.count : 0
        }

        // Without "Expect:" a server that knows no 100-continue costs a second.
        for header in request.headers + [.init("Expect", "")] {
            let line = header.value.isEmpty ? "\(header.name):" : "\(header.name): \(header.value)"
            transfer.headerList = curl_slist_append(transfer.headerList, line)
        }
        ccurl_set_list(handle, CURLOPT_HTTPHEADER, transfer.headerList)
        if let body = request.body {
            ccurl_set_long(handle, CURLOPT_POST, 1)
            ccurl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
            body.withUnsafeBytes { _ = ccurl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) }
        }
    }

    private func configureTLS(_ handle: UnsafeMutableRawPointer, _ request: HTTPRequest) {
        ccurl_set_long(handle, CURLOPT_SSL_VERIFYPEER, 1)
        ccurl_set_long(handle, CURLOPT_SSL_VERIFYHOST, 2)
        ccurl_set_long(handle, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        ccurl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        if let caFile {
            ccurl_set_string(handle, CURLOPT_CAINFO, caFile)
            ccurl_set_string(handle, CURLOPT_PROXY_CAINFO, caFile)
        }
    }

    private func configureTimes(_ handle: UnsafeMutableRawPointer, _ request: HTTPRequest) {
        ccurl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.milliseconds)
        if let timeout = request.timeout {
            ccurl_set_long(handle, CURLOPT_TIMEOUT_MS, timeout.milliseconds)
        } else {
            ccurl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1)  // byte a second
            ccurl_set_long(handle, CURLOPT_LOW_SPEED_TIME, 60)  // seconds
        }
    }
}

extension HTTPError {
    fileprivate init(_ code: CURLcode, _ message: String) {
        let detail = message.isEmpty ? String(cString: curl_easy_strerror(code)) : message
        self =
            switch code {
            case CURLE_OPERATION_TIMEDOUT: .timedOut(detail)
            case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .unknownHost(detail)
            case CURLE_COULDNT_CONNECT, CURLE_PROXY: .cannotConnect(detail)
            case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR: .untrusted(detail)
            case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_USE_SSL_FAILED: .handshake(detail)
            case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE, CURLE_HTTP2,
                CURLE_HTTP2_STREAM:
                .broken(detail)
            case CURLE_BAD_CONTENT_ENCODING, CURLE_WRITE_ERROR, CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL:
                .undecodable(detail)
            case CURLE_URL_MALFORMAT: .badAddress(detail)
            default: .other(detail)
            }
    }
}

extension Duration {
    /// At least one: zero means "no limit" to libcurl and to poll.
    var milliseconds: Int {
        let (seconds, attoseconds) = components
        return max(1, Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }

    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// A detached thread that gets no signals: they are for threads that expect them.
func spawnThread(_ body: @escaping @Sendable () -> Void) {
    let box = Unmanaged.passRetained(ThreadBody(run: body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    var thread = pthread_t()
    let status = pthread_create(
        &thread, &attributes,
        { context in
            var all = sigset_t()
            sigfillset(&all)
            pthread_sigmask(SIG_BLOCK, &all, nil)
            Unmanaged<ThreadBody>.fromOpaque(context!).takeRetainedValue().run()
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    precondition(status == 0, "no thread could be started: error \(status)")
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(run: @escaping @Sendable () -> Void) { self.run = run }
}
