import Chat
import Endpoints
import Foundation
import LoopbackServer
import Synchronization
import Testing

@Suite struct HTTPClientTests {
    @Test func `As many requests are in flight as there are connections, and connections are kept`() async throws {
        let connections = 8
        let arrived = Mutex(0)
        let full = DispatchSemaphore(value: 0)
        let server = LoopbackServer { _, connection in
            // The first eight wait for one another: with fewer in flight none would ever be answered.
            let place = arrived.withLock { arrived in
                arrived += 1
                return arrived
            }
            if place == connections { for _ in 1..<connections { full.signal() } }
            if place < connections { full.wait() }
            connection.reply(200, helloReply)
        }
        var configuration = ChatEndpoint.Configuration(
            name: "m", baseURL: server.url, wireFormat: .openAIChat, key: nil)
        configuration.maxConcurrentRequests = connections
        configuration.attempts = 1
        configuration.attemptTimeout = .seconds(20)
        let endpoint = try ChatEndpoint(configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { _ = try await endpoint.complete(.hello) } }
            try await group.waitForAll()
        }
        #expect(server.counts.requests == 200)
        #expect(server.counts.mostInFlight == connections)
        #expect(server.counts.connections == connections)
    }

    @Test func `A cancelled task hangs up at once, and its place is free`() async throws {
        let (events, event) = AsyncStream.makeStream(of: String.self)
        let server = LoopbackServer { request, connection in
            if request.target == "/free" { return connection.reply(200, "ok") }
            event.yield("asked")
            if connection.waitForHangUp(milliseconds: 20_000) { event.yield("hung up") }
        }
        let client = HTTPClient(connections: 1)
        let address = try WebAddress("\(server.url)/slow")
        let task = Task { () -> HTTPError? in
            do throws(HTTPError) {
                _ = try await client.send(HTTPRequest(address, timeout: .seconds(60)))
                return nil
            } catch { return error }
        }
        var iterator = events.makeAsyncIterator()
        #expect(await iterator.next() == "asked")
        let queued = Task { try await client.send(HTTPRequest(address, timeout: .seconds(60))) }
        queued.cancel()
        await #expect(throws: HTTPError.cancelled) { try await queued.value }
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(await iterator.next() == "hung up")
        let free = HTTPRequest(try WebAddress("\(server.url)/free"), timeout: .seconds(60))
        #expect(try await client.send(free).status == 200)
    }

    @Test func `A task that is cancelled before it asks never asks`() async throws {
        let stage = try Stage(answer)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await stage.endpoint.complete(.hello)
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(stage.server.counts.requests == 0)
    }

    @Test func `Redirects are reported, not followed`() async throws {
        let server = LoopbackServer { _, connection in connection.reply(302, ["Location": "/elsewhere"], "") }
        let response = try await HTTPClient(connections: 1).send(
            HTTPRequest(try WebAddress(server.url), timeout: .seconds(60)))
        #expect(response.status == 302)
        #expect(response.header("location") == "/elsewhere")
        #expect(server.counts.requests == 1)
    }
}

private let hasOpenSSL = FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")

/// `openssl s_server` with certificates of its own making.
private final class TLSServer {
    let folder: Folder
    let port: String
    private let pipe: UnsafeMutablePointer<FILE>
    private let process: pid_t

    /// - Parameter name: which of the certificates it shows: good, expired, elsewhere, or alone (signed by itself).
    init(_ name: String, folder: Folder, options: String = "") throws {
        self.folder = folder
        let server =
            "openssl s_server -accept 127.0.0.1:0 -naccept 1 -www -cert \(name).pem -key \(name).key \(options)"
        pipe = try #require(popen("cd '\(folder.path)'; echo $$; exec \(server) 2>/dev/null", "re"))
        process = try #require(TLSServer.line(pipe).flatMap { pid_t($0) })
        var said = ""
        while !said.hasPrefix("ACCEPT") { said = try #require(TLSServer.line(pipe), "openssl s_server ended") }
        port = String(try #require(said.split(separator: ":").last))  // ACCEPT 127.0.0.1:40000
    }

    deinit {
        kill(process, SIGKILL)
        pclose(pipe)
    }

    private static func line(_ pipe: UnsafeMutablePointer<FILE>) -> String? {
        var bytes = [CChar](repeating: 0, count: 4096)
        guard fgets(&bytes, Int32(bytes.count), pipe) != nil else { return nil }
        return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    static func makeCertificates() throws -> Folder {
        let folder = try Folder()
        try shell(
            """
            new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
            openssl req -x509 $new -keyout authority.key -out authority.pem -subj /CN=authority -days 2
            openssl req -x509 $new -keyout alone.key -out alone.pem -subj /CN=127.0.0.1 -days 2 -addext subjectAltName=IP:127.0.0.1
            mkdir issued; : > index; echo 01 > serial
            cat > authority.cnf <<END
            [ca]
            default_ca = a
            [a]
            new_certs_dir = issued
            database = index
            serial = serial
            default_md = sha256
            policy = p
            copy_extensions = copy
            unique_subject = no
            [p]
            commonName = supplied
            END
            issue() {
                openssl req $new -keyout $1.key -out $1.csr -subj /CN=$1 -addext subjectAltName=$2
                openssl ca -batch -config authority.cnf -cert authority.pem -keyfile authority.key -in $1.csr -out $1.pem \
                    -startdate $3 -enddate $4 -notext
            }
            issue good IP:127.0.0.1 20200101000000Z 20491231235959Z
            issue expired IP:127.0.0.1 20200101000000Z 20210101000000Z
            issue elsewhere DNS:elsewhere.example 20200101000000Z 20491231235959Z
            """, in: folder.path)
        return folder
    }
}

@Suite(.enabled(if: hasOpenSSL, "needs /usr/bin/openssl")) struct TLSTests {
    private let folder: Folder

    init() throws { folder = try TLSServer.makeCertificates() }

    private func connect(_ name: String, caFile: String?, options: String = "") async throws -> HTTPResponse {
        let server = try TLSServer(name, folder: folder, options: options)
        let client = HTTPClient(connections: 1, caFile: caFile.map { folder.file($0) })
        let address = try WebAddress("https://127.0.0.1:\(server.port)/")
        defer { withExtendedLifetime(server) {} }
        return try await client.send(HTTPRequest(address, timeout: .seconds(30)))
    }

    @Test func `A certificate of the named authority is accepted`() async throws {
        #expect(try await connect("good", caFile: "authority.pem").status == 200)
    }

    @Test(arguments: [
        ("good", nil), ("alone", nil), ("alone", "authority.pem"), ("expired", "authority.pem"),
        ("elsewhere", "authority.pem"),
    ])
    func `Any other certificate is refused`(name: String, caFile: String?) async throws {
        let error = await #expect(throws: HTTPError.self) { try await connect(name, caFile: caFile) }
        guard case .untrusted = error else {
            Issue.record("\(name): \(String(describing: error))")
            return
        }
    }

    @Test func `TLS 1.1 is refused`() async throws {
        let old = "-tls1_1 -cipher ALL:@SECLEVEL=0"
        let error = await #expect(throws: HTTPError.self) {
            try await connect("good", caFile: "authority.pem", options: old)
        }
        guard case .handshake = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `An endpoint with a false certificate stops the run, and never gets the key`() async throws {
        let server = try TLSServer("alone", folder: folder)
        var configuration = ChatEndpoint.Configuration(
            name: "m", baseURL: "https://127.0.0.1:\(server.port)", wireFormat: .openAIChat, key: Secret("sk-key"))
        configuration.attemptTimeout = .seconds(20)
        configuration.attempts = 1
        let endpoint = try ChatEndpoint(configuration)
        let failure = await #expect(throws: ModelFailure.self) { try await endpoint.complete(.hello) }
        guard case .providerRefuses = failure else { return unexpected() }
        withExtendedLifetime(server) {}
    }
}
