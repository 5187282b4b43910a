import Chat
import Foundation
import Serving
import Synchronization
import Testing

@Suite struct ServerTests {
    private let body = #"{"model": "org/scripted", "messages": [{"role": "user", "content": "Hi"}]}"#
    private let path = "/v1/chat/completions"
    private let model = ScriptedModel { _ in "ab" }

    /// Waits for what another thread brings about; false after ten seconds.
    private func eventually(_ holds: () -> Bool) async throws -> Bool {
        for _ in 0..<1_000 {
            if holds() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test func `The one model is listed, with slashes in its name`() async throws {
        let server = try ModelServer(model.served())
        #expect(server.address.isLoopback)
        let replies = await Client.talk(to: server) { client in
            [
                "/v1/models", "/v1/models/org/scripted", "/v1/models/org%2Fscripted?x=1", "/health", "/v1/models/gone",
                "/",
            ].map {
                client.get($0)
                return client.reply()
            }
        }
        #expect(replies.map { $0?.status } == [200, 200, 200, 200, 404, 404])
        #expect(replies[0]?.json["data"]?[0]?["id"] == "org/scripted")
        #expect(replies[0]?.json["object"] == "list")
        #expect(replies[1]?.json == replies[2]?.json)
        #expect(replies[3]?.json == ["status": "ok"])
        #expect(replies[4]?.error["code"] == "model_not_found")
        #expect(replies[5]?.error["message"]?.string?.contains("/v1/models") == true)
    }

    @Test func `Another model, method or type has its status`() async throws {
        let server = try ModelServer(model.served())
        let text = body
        let path = path
        let replies = await Client.talk(to: server) { client in
            var replies: [Client.Reply?] = []
            client.post(path, text.replacing("org/scripted", with: "gpt-4"))
            replies.append(client.reply())
            client.get(path)
            replies.append(client.reply())
            client.post("/v1/models", text)
            replies.append(client.reply())
            client.post(path, text, headers: ["Content-Type: text/plain"])
            replies.append(client.reply())
            client.post(path, text, headers: ["Content-Type: Application/JSON ; charset=utf-8"])
            replies.append(client.reply())
            return replies
        }
        #expect(replies.map { $0?.status } == [404, 405, 405, 415, 200])
        #expect(replies[0]?.error["code"] == "model_not_found")
        #expect(replies[1]?.headers["allow"] == "POST")
        #expect(replies[2]?.headers["allow"] == "GET")
    }

    @Test(arguments: [
        "", "{", "[]", "\"x\"", #"{"model": "a", "model": "b"}"#, #"{"messages": []}"#,
        String(repeating: "[", count: 10_000), #"{"model": "\ud800"}"#,
    ])
    func `A body that is no request is refused, and the connection goes on`(text: String) async throws {
        let server = try ModelServer(model.served())
        let (path, good) = (path, body)
        let replies = await Client.talk(to: server) { client in
            client.post(path, text)
            let bad = client.reply()
            client.post(path, good)
            return [bad, client.reply()]
        }
        #expect(replies.map { $0?.status } == [400, 200])
        #expect(replies[0]?.error["type"] == "invalid_request_error")
    }

    @Test(arguments: [
        ("GARBAGE\r\n\r\n", 400), ("GET / HTTP/2\r\nHost: a\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400), ("GET x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        ("GET / HTTP/1.1\r\nX: " + String(repeating: "x", count: 70_000), 431),
        ("GET / HTTP/1.1\r\nX: \u{7}\r\n\r\n", 400),
    ])
    func `What is not HTTP is refused and the connection closed`(text: String, status: Int) async throws {
        let server = try ModelServer(model.served())
        let (reply, rest) = await Client.talk(to: server) { client in
            client.send(text)
            return (client.reply(), client.receive())
        }
        #expect(reply?.status == status)
        #expect(reply?.headers["connection"] == "close")
        #expect(!rest)
    }

    @Test func `A body of more than 16 MB is refused even while it is still being sent`() async throws {
        let server = try ModelServer(model.served())
        let path = path
        let reply = await Client.talk(to: server) { client in
            client.post(path, String(repeating: "x", count: 20 << 20))
            return client.reply()
        }
        #expect(reply?.status == 413)
        #expect(reply?.error["message"] == "The body is larger than 16 MB.")
    }

    @Test func `A large body within the limit is read, and announced bodies are invited`() async throws {
        let server = try ModelServer(model.served(contextLength: 1 << 24))
        let path = path
        let text = body.replacing("Hi", with: String(repeating: "x", count: 3 << 20))
        let replies = await Client.talk(to: server) { client in
            client.send(
                "POST \(path) HTTP/1.1\r\nHost: localhost:80\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
                    + "Content-Length: \(text.utf8.count)\r\n\r\n")
            let invitation = client.reply()
            client.send(text)
            return [invitation, client.reply()]
        }
        #expect(replies.map { $0?.status } == [100, 200])
        #expect(replies[1]?.json["usage"]?["prompt_tokens"]?.integer == 3 << 20)
    }

    @Test func `Requests may come byte by byte, or several at once`() async throws {
        let server = try ModelServer(model.served())
        let (path, text) = (path, body)
        let statuses = await Client.talk(to: server) { client in
            let request =
                "POST \(path) HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: "
                + "\(text.utf8.count)\r\n\r\n\(text)"
            for byte in request.utf8 { client.send([byte]) }
            client.send(request + request + "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return (0..<4).map { _ in client.reply()?.status }
        }
        #expect(statuses == [200, 200, 200, 200])
    }

    @Test func `A client of HTTP/1.0 gets a stream that ends with the connection`() async throws {
        let server = try ModelServer(model.served())
        let path = path
        let text = String(body.dropLast()) + #", "stream": true}"#
        let reply = await Client.talk(to: server) { client in
            client.send(
                "POST \(path) HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)"
            )
            return client.reply()
        }
        #expect(reply?.headers["transfer-encoding"] == nil)
        #expect(reply?.events.last == "[DONE]")
        #expect(reply?.chunks.compactMap { $0["choices"]?[0]?["delta"]?["content"]?.string }.joined() == "ab")
    }

    @Test(arguments: [
        ("127.0.0.1", 200), ("localhost:8000", 200), ("LOCALHOST", 200), ("[::1]:80", 200), ("127.8.9.10:1", 200),
        ("example.com", 403), ("127.0.0.1.example.com", 403), ("127.0.0.1.evil", 403), ("localhost.example.com", 403),
        ("", 403), ("[::2]", 403), ("128.0.0.1", 403),
    ])
    func `On loopback only loopback names are answered`(host: String, status: Int) async throws {
        let server = try ModelServer(model.served())
        let reply = await Client.talk(to: server) { client in
            client.get("/v1/models", host: host)
            return client.reply()
        }
        #expect(reply?.status == status)
    }

    @Test func `On every address every name is answered`() async throws {
        var settings = ModelServer.Settings()
        settings.host = "0.0.0.0"
        let server = try ModelServer(model.served(), settings: settings)
        #expect(!server.address.isLoopback)
        let reply = await Client.talk(to: server) { client in
            client.get("/v1/models", host: "example.com")
            return client.reply()
        }
        #expect(reply?.status == 200)
    }

    @Test func `A port that is taken is named`() throws {
        let first = try ModelServer(model.served())
        var settings = ModelServer.Settings()
        settings.port = first.address.port
        #expect(throws: ServingError.self) { try ModelServer(model.served(), settings: settings) }
        settings.host = "no.such.host.invalid"
        #expect(throws: ServingError.self) { try ModelServer(model.served(), settings: settings) }
    }

    @Test(arguments: [true, false])
    func `A client that leaves frees the model`(isStreamed: Bool) async throws {
        let model = ScriptedModel { $0.prompt.count == 2 ? "ab…" : "c" }
        let server = try ModelServer(model.served())
        let path = path
        let text = isStreamed ? String(body.dropLast()) + #", "stream": true, "n": 3}"# : body
        let hasBegun = await Client.talk(to: server) { client in
            client.post(path, text)
            return isStreamed ? client.receive(until: "\"b\"") : true
        }
        #expect(hasBegun)
        // Where the client was faster than the server, the request was never begun.
        let isFree = try await eventually {
            model.counts.withLock { $0.inFlight == 0 && $0.cancelled == $0.started && (!isStreamed || $0.started == 3) }
        }
        #expect(isFree, "\(model.counts.withLock { $0 })")
        let next = try await Client.post(
            server, path, ["model": "org/scripted", "messages": [["role": "user", "content": "Hello"]]])
        #expect(next.json["choices"]?[0]?["message"]?["content"] == "c")
    }

    @Test func `Sixty-four clients at once are served at once, each with its own answer`() async throws {
        let model = ScriptedModel { call in String(decoding: call.prompt.map { UInt8($0) }.reversed(), as: UTF8.self) }
        let server = try ModelServer(model.served())
        let texts = await withTaskGroup(of: (Int, String?).self) { group in
            for number in 0..<64 {
                group.addTask {
                    let body: JSONObject = [
                        "model": "org/scripted", "messages": [["role": "user", "content": .string("No. \(number)!")]],
                        "stream": .bool(number % 2 == 0),
                    ]
                    let reply = try? await Client.post(server, "/v1/chat/completions", .object(body))
                    let streamed = reply?.chunks.compactMap { $0["choices"]?[0]?["delta"]?["content"]?.string }.joined()
                    return (
                        number, number % 2 == 0 ? streamed : reply?.json["choices"]?[0]?["message"]?["content"]?.string
                    )
                }
            }
            return await group.reduce(into: [Int: String]()) { $0[$1.0] = $1.1 }
        }
        #expect(texts == Dictionary(uniqueKeysWithValues: (0..<64).map { ($0, String("No. \($0)!".reversed())) }))
    }

    @Test func `Sixty-four answers are in flight at once`() async throws {
        let model = ScriptedModel { _ in "a…" }
        let server = try ModelServer(model.served())
        let clients = (0..<64).map { _ in Client(server.address) }
        for client in clients { client.post(path, body) }
        #expect(try await eventually { model.counts.withLock { $0.inFlight == 64 } })
        withExtendedLifetime(clients) {}
    }

    @Test func `A server that stops finishes what is in flight and takes nothing more`() async throws {
        let gate = Gate()
        let model = ScriptedModel { _ in
            try await gate.wait()
            return "ab"
        }
        let server = try ModelServer(model.served())
        let (path, text) = (path, body)
        async let reply = Client.talk(to: server) { client in
            client.post(path, text)
            return client.reply()
        }
        let idle = Client(server.address)
        idle.get("/health")
        #expect(try await eventually { model.counts.withLock { $0.inFlight == 1 } })
        server.stopAccepting()
        let address = server.address
        #expect(try await eventually { !Client(address).isConnected })
        gate.open()
        #expect(await reply?.json["choices"]?[0]?["message"]?["content"] == "ab")
        #expect(await reply?.headers["connection"] != nil)
        await server.waitUntilFinished()
        withExtendedLifetime(idle) {}
    }

    @Test func `A client that never finishes its request is told so`() async throws {
        var settings = ModelServer.Settings()
        settings.limitPatience(seconds: 0.2)
        let server = try ModelServer(model.served(), settings: settings)
        let (reply, rest) = await Client.talk(to: server) { client in
            client.send("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            return (client.reply(), client.receive())
        }
        #expect(reply?.status == 408)
        #expect(!rest)
    }

    @Test func `A client that never reads its stream is left`() async throws {
        let model = ScriptedModel { _ in String(repeating: "x", count: 200_000) + "…" }
        var settings = ModelServer.Settings()
        settings.limitPatience(seconds: 0.2)
        let server = try ModelServer(model.served(contextLength: 1 << 20), settings: settings)
        let client = Client(server.address)
        client.post(path, String(body.dropLast()) + #", "stream": true}"#)
        #expect(try await eventually { model.counts.withLock { $0.started == 1 } })
        #expect(try await eventually { model.counts.withLock { $0.inFlight == 0 } })
        withExtendedLifetime(client) {}
    }

    @Test func `Nothing that a client sends brings the server down`() async throws {
        let server = try ModelServer(model.served())
        let good = Array(
            "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                .utf8)
        for seed in 0..<300 {
            var generator = SplitMix(state: UInt64(seed))
            var bytes = good
            for _ in 0...Int.random(in: 0...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = .random(in: 0...255, using: &generator)
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + 9))
                default: bytes.insert(contentsOf: bytes[place...].prefix(9), at: place)
                }
                if bytes.isEmpty { break }
            }
            let client = Client(server.address)
            client.send(bytes)
        }
        let reply = try await Client.post(server, path, try JSONValue(parsing: body))
        #expect(reply.status == 200)
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        let mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        return mixed ^ (mixed >> 27)
    }
}

/// Holds back tasks until it is opened.
private final class Gate: Sendable {
    private let isOpen = Atomic(false)

    func wait() async throws {
        while !isOpen.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(10)) }
    }

    func open() { isOpen.store(true, ordering: .relaxed) }
}
