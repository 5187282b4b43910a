import Chat
import Endpoints
import Foundation
import LoopbackServer
import Synchronization
import Testing

@Suite struct DownloadTests {
    private static let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
    private static let hash = Digest.sha256(content)
    private let folder: Folder
    private let time = FakeTime()

    init() throws { folder = try Folder() }

    private func download(_ url: String, sha256: String? = hash) -> Download {
        var download = Download(
            url: url, destination: folder.file("data.json"), checksum: sha256.map(Checksum.sha256),
            token: Secret("hf_canary"))
        download.time = time.source
        return download
    }

    /// Serves ranges like the hub does; the first response breaks off after `cut` bytes.
    private func fileServer(
        cut: Int? = nil, etag: @escaping @Sendable (Int) -> String = { _ in "\"v1\"" }, log: Script
    ) -> LoopbackServer {
        LoopbackServer { request, connection in
            let place = log.requests.withLock { requests in
                requests.append(request)
                return requests.count
            }
            let content = DownloadTests.content
            var start = 0
            if let range = request.headers["range"], request.headers["if-range"] == etag(place) {
                start = Int(range.dropFirst("bytes=".count).dropLast())!
            }
            let range = "Content-Range: bytes \(start)-\(content.count - 1)/\(content.count)"
            let status = start > 0 ? "206 Partial Content\r\n\(range)" : "200 OK"
            let length = "Content-Length: \(content.count - start)"
            connection.write("HTTP/1.1 \(status)\r\nETag: \(etag(place))\r\n\(length)\r\n\r\n")
            let isCut = place == 1 && cut != nil
            connection.write(Array(content[start..<(isCut ? cut! : content.count)]))
            if isCut { connection.close() }
        }
    }

    @Test func `A file comes whole, under its name only`() async throws {
        let log = Script([])
        let server = fileServer(log: log)
        let seen = Mutex<[(Int, Int?)]>([])
        try await download("\(server.url)/f").run { received, total in seen.withLock { $0.append((received, total)) } }
        #expect(folder.bytes("data.json") == Self.content)
        #expect(try folder.names == ["data.json"])
        let last = try #require(seen.withLock { $0.last })
        #expect(last.0 == Self.content.count && last.1 == Self.content.count)
        #expect(log.requests.withLock { $0[0].headers["authorization"] } == nil)
    }

    @Test func `A download that broke off goes on where it stopped`() async throws {
        let log = Script([])
        let server = fileServer(cut: 100_000, log: log)
        try await download("\(server.url)/f").run()
        #expect(folder.bytes("data.json") == Self.content)
        let second = log.requests.withLock { $0[1].headers }
        #expect(second["range"] == "bytes=100000-")
        #expect(second["if-range"] == "\"v1\"")
        #expect(time.sleeps.count == 1)
    }

    @Test func `The next run goes on where the last one stopped`() async throws {
        let log = Script([])
        let server = fileServer(cut: 100_000, log: log)
        var first = download("\(server.url)/f")
        first.attempts = 1
        await #expect(throws: DownloadError.self) { try await first.run() }
        #expect(try folder.names == ["data.json.part", "data.json.part.etag"])
        try await download("\(server.url)/f").run()
        #expect(folder.bytes("data.json") == Self.content)
        #expect(log.requests.withLock { $0[1].headers["range"] } == "bytes=100000-")
        #expect(try folder.names == ["data.json"])
    }

    @Test func `A file that changed meanwhile is not patched together`() async throws {
        let log = Script([])
        let server = fileServer(cut: 100_000, etag: { "\"v\($0)\"" }, log: log)
        try await download("\(server.url)/f").run()
        #expect(folder.bytes("data.json") == Self.content)
        #expect(log.requests.withLock { $0.count } == 2)
    }

    @Test func `A weak tag promises nothing, and the file comes anew`() async throws {
        let log = Script([])
        let server = fileServer(cut: 100_000, etag: { _ in "W/\"v1\"" }, log: log)
        try await download("\(server.url)/f").run()
        #expect(folder.bytes("data.json") == Self.content)
        #expect(log.requests.withLock { $0[1].headers["range"] } == nil)
    }

    @Test func `Another file is refused, with both hashes, and nothing of it stays`() async throws {
        let server = fileServer(log: Script([]))
        let expected = String(repeating: "0", count: 64)
        try folder.write("old", "data.json")
        let error = try #require(
            await #expect(throws: DownloadError.self) { try await download("\(server.url)/f", sha256: expected).run() })
        #expect("\(error)".contains(expected) && "\(error)".contains(Self.hash))
        #expect(try folder.names == ["data.json"])
        #expect(folder.bytes("data.json") == Array("old".utf8))
    }

    @Test func `Redirects are followed, and no token goes along`() async throws {
        let log = Script([])
        let target = fileServer(log: log)
        let hub = LoopbackServer { request, connection in
            log.requests.withLock { $0.append(request) }
            connection.reply(302, ["Location": request.target == "/f" ? "/g" : "http://localhost:\(target.port)/h"], "")
        }
        var redirected = download("\(hub.url)/f")
        redirected.tokenHost = "127.0.0.1"
        try await redirected.run()
        #expect(folder.bytes("data.json") == Self.content)
        let requests = log.requests.withLock { $0 }
        #expect(Set(requests.map(\.target)) == ["/f", "/g", "/h"])
        for request in requests {
            #expect(request.headers["authorization"] == (request.target == "/h" ? nil : "Bearer hf_canary"))
        }
    }

    @Test(arguments: ["http://example.com/f", "ftp://localhost/f", "file:///etc/passwd"])
    func `Neither an address nor a redirect may lead to the open network`(target: String) async throws {
        let server = LoopbackServer { _, connection in connection.reply(302, ["Location": target], "") }
        for url in [target, "\(server.url)/f"] {
            let error = await #expect(throws: DownloadError.self) { try await download(url).run() }
            guard case .badAddress = error else { return unexpected() }
        }
        #expect(try !folder.names.contains("data.json"))
    }

    @Test(arguments: [(404, false), (401, true), (403, true)])
    func `What the server refuses is said`(status: Int, asksForToken: Bool) async throws {
        let server = LoopbackServer { _, connection in connection.reply(status, "hf_canary") }
        let error = try #require(
            await #expect(throws: DownloadError.self) { try await download("\(server.url)/f").run() })
        #expect("\(error)".contains("HTTP \(status)") && "\(error)".contains("HF_TOKEN") == asksForToken)
        #expect(!"\(error)".contains("canary"))
    }

    @Test(arguments: [true, false])
    func `A file beyond the cap is refused, whether it says so or not`(saysItsLength: Bool) async throws {
        let server = LoopbackServer { _, connection in
            connection.write("HTTP/1.1 200 OK\r\n\(saysItsLength ? "Content-Length: 9000000\r\n" : "")\r\n")
            while connection.write([UInt8](repeating: 1, count: 1 << 16)) {}
            connection.close()
        }
        var capped = download("\(server.url)/f")
        capped.sizeLimit = 1_000_000
        let error = await #expect(throws: DownloadError.self) { try await capped.run() }
        guard case .tooLarge = error else { return unexpected() }
    }

    @Test func `An empty file is a file`() async throws {
        let server = LoopbackServer { _, connection in connection.reply(200, "") }
        try await download("\(server.url)/f", sha256: nil).run()
        #expect(folder.bytes("data.json") == [])
    }

    @Test func `Only one process downloads a file`() async throws {
        let (events, event) = AsyncStream.makeStream(of: Void.self)
        let server = LoopbackServer { _, connection in
            event.yield()
            connection.waitForHangUp(milliseconds: 20_000)
        }
        let first = download("\(server.url)/f")
        let task = Task { try await first.run() }
        var iterator = events.makeAsyncIterator()
        _ = await iterator.next()
        let error = await #expect(throws: DownloadError.self) { try await download("\(server.url)/f").run() }
        #expect(error == .busy(path: folder.file("data.json")))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func `A mirror takes the place of the hub and of nothing else`() {
        let file = "https://huggingface.co/datasets/a/b/resolve/main/c.json"
        #expect(
            Download.mirrored(url: file, endpoint: "https://hf-mirror.com/")
                == "https://hf-mirror.com/datasets/a/b/resolve/main/c.json")
        #expect(Download.mirrored(url: file, endpoint: nil) == file)
        #expect(Download.mirrored(url: file, endpoint: "") == file)
        let other = "https://huggingface.co.evil.example/x"
        #expect(Download.mirrored(url: other, endpoint: "https://hf-mirror.com") == other)
    }
}
