package import Chat
internal import Glibc
internal import Synchronization

/// A file from the network: it appears under its name only when it is whole and its hash is the expected one.
///
/// What has come lies in `NAME.part` until then, and the entity tag that it belongs to in `NAME.part.etag`: the next
/// run asks for the rest of the same file, and gets all of it anew when the server's file has changed.
package struct Download: Sendable {
    private static let hub = "https://huggingface.co"

    package let url: String
    package let destination: String
    /// Nil takes whatever comes.
    package let checksum: Checksum?
    private let token: Secret?
    package var sizeLimit = 1 << 30
    package var attempts = 5
    /// Where `token` goes, and nowhere else.
    package var tokenHost = "huggingface.co"
    /// The certificates to trust; nil takes `SSL_CERT_FILE`, or the system's.
    package var caFile: String?
    package var time = TimeSource.system

    /// - Parameter token: for the Hugging Face hub; no other host sees it.
    package init(url: String, destination: String, checksum: Checksum? = nil, token: Secret? = nil) {
        self.url = url
        self.destination = destination
        self.checksum = checksum
        self.token = token
    }

    /// `url` with the hub's origin replaced by that of a mirror (`HF_ENDPOINT`); other addresses stay as they are.
    package static func mirrored(url: String, endpoint: String?) -> String {
        guard let endpoint, !endpoint.isEmpty, url.hasPrefix("\(hub)/") else { return url }
        return endpoint.trimmingSuffix("/") + url.dropFirst(hub.count)
    }

    /// - Parameter progress: gets the bytes that are there and, where the server says so, how many there will be.
    /// - Throws: `DownloadError`, or `CancellationError` when the task was cancelled; what came is kept for the next
    ///   run.
    package func run(progress: @escaping @Sendable (Int, Int?) -> Void = { _, _ in }) async throws {
        let address = try checked { () throws(HTTPError) in try WebAddress(url) }
        let partial = try PartialFile(destination: destination, sizeLimit: sizeLimit, progress: progress)
        defer { partial.unlock() }
        let client = HTTPClient(connections: 1, caFile: caFile)
        var retry = Retry(policy: RetryPolicy(attempts: attempts, total: .seconds(3600)), seed: stableHash(url.utf8))
        while let fault = try await attempt(address, client, partial) {
            switch retry.decide(after: fault, now: time.now()) {
            case .giveUp: throw DownloadError.interrupted(url: "\(address)", reason: fault.what)
            case .wait(let wait): try await time.sleep(wait)
            }
        }
        if let checksum {
            let found = checksum.of(try partial.bytes())
            if found != checksum.digits {
                partial.delete()
                throw DownloadError.wrongHash(url: "\(address)", expected: checksum.digits, found: found)
            }
        }
        try partial.publish()
    }

    /// - Returns: nil when the file is whole, or what went wrong and may go right the next time.
    private func attempt(_ start: WebAddress, _ client: HTTPClient, _ partial: PartialFile) async throws -> Fault? {
        var address = start
        for _ in 0..<10 {
            let response: HTTPResponse
            do throws(HTTPError) {
                response = try await client.send(try request(address, partial))
            } catch {
                switch error {
                case .cancelled: throw CancellationError()
                case .refusedByReceiver: throw partial.failure(url: "\(start)")
                case .badAddress(let what): throw DownloadError.badAddress(what)
                default:
                    if error.isTransient { return Fault(what: redact("\(error)")) }
                    throw DownloadError.interrupted(url: "\(start)", reason: redact("\(error)"))
                }
            }
            switch response.status {
            case 200, 206:
                if response.status == 200, partial.isUntouched { try partial.restart(etag: nil) }  // an empty file
                return nil
            case 301, 302, 303, 307, 308:
                guard let target = response.header("location") else { throw refusal(start, response.status) }
                address = try checked { () throws(HTTPError) in try WebAddress(target, relativeTo: address) }
            case 416:  // the partial file is no beginning of what is there now
                try partial.restart(etag: nil)
                return Fault(what: "HTTP 416")
            case 408, 425, 429, 500...599:
                let told = RetryAfter.delay(response, epochSeconds: time.epochSeconds())
                return Fault(what: "HTTP \(response.status)", told: told)
            default: throw refusal(start, response.status)
            }
        }
        throw DownloadError.interrupted(url: "\(start)", reason: "it redirects more than ten times")
    }

    private func request(_ address: WebAddress, _ partial: PartialFile) throws(HTTPError) -> HTTPRequest {
        guard address.scheme == "https" || address.isLoopback else {
            throw .badAddress("\(address) is plain http, where anyone may change the file. Use https://.")
        }
        var headers: [HTTPRequest.Header] = []
        if let token, address.host == tokenHost { headers.append(.init("Authorization", "Bearer \(token.value)")) }
        if let (offset, etag) = partial.resumption {
            headers += [.init("Range", "bytes=\(offset)-"), .init("If-Range", etag)]
        }
        var request = HTTPRequest(address, headers: headers, timeout: nil)
        request.acceptsGzip = false  // ranges count the file's own bytes
        request.receiver = { response, bytes in partial.receive(response, bytes) }
        partial.beginResponse()
        return request
    }

    private func refusal(_ address: WebAddress, _ status: Int) -> DownloadError {
        [401, 403].contains(status)
            ? .credentials(url: "\(address)", status: status) : .refused(url: "\(address)", status: status)
    }

    private func redact(_ text: String) -> String { token?.redact(text) ?? text }

    private func checked<Value>(_ body: () throws(HTTPError) -> Value) throws(DownloadError) -> Value {
        do { return try body() } catch { throw .badAddress("\(error)") }
    }
}

/// `NAME.part`, locked against other processes. The task and the client's thread take turns at it.
private final class PartialFile: Sendable {
    private struct State {
        var size = 0
        var etag: String?
        var total: Int?
        /// Whether the response in progress has brought its first bytes.
        var hasBegun = false
        var failure: DownloadError?
    }

    private let destination: String
    private let path: String
    private let etagPath: String
    private let sizeLimit: Int
    private let progress: @Sendable (Int, Int?) -> Void
    private let descriptor: Int32
    private let state = Mutex(State())

    init(
        destination: String, sizeLimit: Int, progress: @escaping @Sendable (Int, Int?) -> Void
    ) throws(DownloadError) {
        self.destination = destination
        path = "\(destination).part"
        etagPath = "\(destination).part.etag"
        self.sizeLimit = sizeLimit
        self.progress = progress
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw .disk(path: path, reason: reason(errno)) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw .busy(path: destination)
        }
        let etag = readTag()
        let size = Int(lseek(descriptor, 0, SEEK_END))
        state.withLock { state in
            state.size = size
            state.etag = etag
        }
    }

    deinit { close(descriptor) }

    /// At once, whoever still holds the descriptor: the client's thread for a moment, a program that is being started.
    func unlock() { flock(descriptor, LOCK_UN) }

    /// What to ask the rest of the file with, where there is a beginning of a known version.
    var resumption: (offset: Int, etag: String)? {
        state.withLock { state in
            guard state.size > 0, let etag = state.etag else { return nil }
            return (state.size, etag)
        }
    }

    var isUntouched: Bool { state.withLock { !$0.hasBegun } }

    func beginResponse() { state.withLock { $0.hasBegun = false } }

    func failure(url: String) -> DownloadError {
        state.withLock { $0.failure } ?? .interrupted(url: url, reason: "the transfer was stopped")
    }

    func restart(etag: String?) throws(DownloadError) {
        let failure = state.withLock { state -> DownloadError? in
            state.hasBegun = true
            return begin(&state, etag: etag)
        }
        if let failure { throw failure }
    }

    func receive(_ response: HTTPResponse, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let (size, total, failure) = state.withLock { state in
            if !state.hasBegun { state.failure = open(response, &state) }
            if state.failure == nil { state.failure = append(bytes, &state) }
            return (state.size, state.total, state.failure)
        }
        if failure == nil { progress(size, total) }
        return failure == nil
    }

    /// The first bytes of a response: the rest of the file, or all of it.
    private func open(_ response: HTTPResponse, _ state: inout State) -> DownloadError? {
        state.hasBegun = true
        let length = response.header("content-length").flatMap { Int($0) }
        if response.status == 206 {
            // "bytes 100-199/200"
            let range = response.header("content-range") ?? ""
            guard range.hasPrefix("bytes \(state.size)-") else {
                _ = begin(&state, etag: nil)
                return .interrupted(url: destination, reason: "the server sent another range than was asked for")
            }
            state.total = range.split(separator: "/").last.flatMap { Int($0) }
        } else {
            // A weak tag does not promise the same bytes.
            let etag = response.header("etag").flatMap { $0.hasPrefix("W/") ? nil : $0 }
            if let failure = begin(&state, etag: etag) { return failure }
            state.total = length
        }
        if let total = state.total, total > sizeLimit { return .tooLarge(url: destination, limit: sizeLimit) }
        return nil
    }

    private func begin(_ state: inout State, etag: String?) -> DownloadError? {
        state.size = 0
        state.etag = etag
        state.total = nil
        guard ftruncate(descriptor, 0) == 0 else { return .disk(path: path, reason: reason(errno)) }
        unlink(etagPath)
        if let etag { writeTag(etag) }
        return nil
    }

    private func append(_ bytes: UnsafeRawBufferPointer, _ state: inout State) -> DownloadError? {
        if state.size + bytes.count > sizeLimit { return .tooLarge(url: destination, limit: sizeLimit) }
        var offset = 0
        while offset < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + offset, bytes.count - offset, off_t(state.size))
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return .disk(path: path, reason: reason(errno)) }
            offset += count
            state.size += count
        }
        return nil
    }

    func bytes() throws(DownloadError) -> [UInt8] {
        lseek(descriptor, 0, SEEK_SET)
        guard let bytes = readAll(descriptor) else { throw .disk(path: path, reason: reason(errno)) }
        return bytes
    }

    func publish() throws(DownloadError) {
        let folder = destination.contains("/") ? String(destination[..<destination.lastIndex(of: "/")!]) : "."
        guard fsync(descriptor) == 0, rename(path, destination) == 0 else {
            throw .disk(path: destination, reason: reason(errno))
        }
        unlink(etagPath)
        let parent = Glibc.open(folder.isEmpty ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw .disk(path: folder, reason: reason(errno)) }
        defer { close(parent) }
        guard fsync(parent) == 0 else { throw .disk(path: folder, reason: reason(errno)) }
    }

    func delete() {
        unlink(path)
        unlink(etagPath)
    }

    private func readTag() -> String? {
        let file = Glibc.open(etagPath, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let text = String(decoding: readAll(file) ?? [], as: UTF8.self)
        let isTag = text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"") && text.allSatisfy { !$0.isNewline }
        return isTag ? text : nil
    }

    /// Without its tag a partial file is of no use later, and that is all that a failure here costs.
    private func writeTag(_ etag: String) {
        let file = Glibc.open(etagPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard file >= 0 else { return }
        _ = write(file, etag, etag.utf8.count)
        close(file)
    }
}
