import Chat
import Endpoints
import Foundation
import LoopbackServer
import Synchronization
import Testing

@Suite struct RudeServerTests {
    @Test(arguments: [
        "reset", "close", "half", "short", "html", "text", "empty", "none", "duplicate", "error", "array", "not http",
        "latin",
    ])
    func `A reply that cannot be used is asked for again`(kind: String) async throws {
        let stage = try Stage(
            { connection in
                switch kind {
                case "reset": connection.reset()
                case "close": connection.close()
                case "half": connection.halfClose()
                case "short":
                    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                    connection.close()
                case "html": connection.reply(200, ["Content-Type": "text/html"], "<html>Sign in</html>")
                case "text": connection.reply(200, ["Content-Type": "text/plain"], helloReply)
                case "empty": connection.reply(200, "")
                case "none": connection.write("HTTP/1.1 204 No Content\r\n\r\n")
                case "duplicate": connection.reply(200, #"{"choices":[],"choices":[{"message":{"content":"m"}}]}"#)
                case "error": connection.reply(200, #"{"error":{"message":"upstream broke"}}"#)
                case "array": connection.reply(200, "[1]")
                case "not http":
                    connection.write("SSH-2.0-OpenSSH_9.2\r\n\r\n")
                    connection.close()
                default: connection.reply(200, [:], Array(helloReply.utf8.dropLast()) + [0xFF, 0x7D])
                }
            }, answer)
        #expect(try await stage.endpoint.complete(.hello).text == "m")
        #expect(stage.server.counts.requests == 2)
        #expect(stage.time.sleeps.count == 1)
    }

    @Test func `A status inside a good reply counts like the status itself`() async throws {
        let stage = try Stage({ $0.reply(200, #"{"error":{"message":"no such key","code":401}}"#) })
        guard case .credentials = try await stage.failure() else { return unexpected() }
    }

    @Test(arguments: [true, false])
    func `A reply cut anywhere is noticed`(saysItsLength: Bool) async throws {
        let cut = Mutex<Int?>(nil)
        let stage = try Stage({ connection in
            guard let length = cut.withLock({ $0.take() }) else { return answer(connection) }
            let bytes = Array(helloReply.utf8.prefix(length))
            if saysItsLength { return connection.reply(200, [:], bytes) }
            connection.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
            connection.write(bytes)
            connection.close()
        })
        var requests = 0
        for length in stride(from: 0, to: helloReply.utf8.count, by: 7) {
            cut.withLock { $0 = length }
            #expect(try await stage.endpoint.complete(.hello).text == "m")
            requests += 2
            #expect(stage.server.counts.requests == requests, "cut at \(length)")
        }
    }

    @Test(arguments: [
        ("text/html", "<h1>hi</h1>", "its content type is text/html"), ("application/json", "", "it is empty"),
        ("application/json", "{", "it is not JSON: expected a key in quotes at line 1, column 2"),
        ("application/json", "{}", "it has no choices"),
    ])
    func `Malformed replies use up the tries and say what is wrong`(type: String, body: String, why: String)
        async throws
    {
        let stage = try Stage(configure: { $0.attempts = 3 }, { $0.reply(200, ["Content-Type": type], body) })
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.hasSuffix("HTTP 200 with a reply that cannot be used, for \(why)."))
        #expect(stage.server.counts.requests == 3)
    }

    @Test func `A gzip bomb goes off at the cap`() async throws {
        let bomb = try shell("head -c 100000000 /dev/zero | gzip -9")
        #expect(bomb.count < 200_000)
        let stage = try Stage(configure: { $0.attempts = 1 }, { $0.reply(200, ["Content-Encoding": "gzip"], bomb) })
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.contains("larger than 8388608 bytes"))
    }

    @Test func `A gzip reply is read, a broken one is asked for again`() async throws {
        let folder = try Folder()
        try folder.write(helloReply, "reply")
        let packed = try shell("gzip -c reply", in: folder.path)
        let stage = try Stage(
            { $0.reply(200, ["Content-Encoding": "gzip"], Array(packed.prefix(packed.count / 2))) },
            { $0.reply(200, ["Content-Encoding": "gzip"], packed) })
        #expect(try await stage.endpoint.complete(.hello).raw == helloReply)
        #expect(stage.server.counts.requests == 2)
        #expect(stage.script.requests.withLock { $0[0].headers["accept-encoding"] } == "gzip")
    }

    @Test func `An endless reply ends at the cap`() async throws {
        let stage = try Stage(
            configure: { $0.attempts = 1 },
            { connection in
                connection.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"")
                while connection.write([UInt8](repeating: 0x61, count: 1 << 16)) {}
                connection.close()
            })
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.contains("larger than 8388608 bytes"))
        #expect(stage.server.counts.requests == 1)
    }

    @Test func `A flood of headers ends at the cap`() async throws {
        let stage = try Stage(
            configure: { $0.attempts = 1 },
            { connection in
                connection.write("HTTP/1.1 200 OK\r\n")
                while connection.write("X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n") {}
                connection.close()
            })
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.contains("larger than 65536 bytes"))
    }

    @Test func `A reply that drips ends at the deadline`() async throws {
        let stage = try Stage(
            configure: {
                $0.attempts = 1
                $0.attemptTimeout = .milliseconds(300)
            },
            { connection in
                connection.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
                connection.drip([UInt8](repeating: 0x20, count: 1000), every: 20)
                connection.close()
            })
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.contains("time ran out"))
    }

    @Test func `Nobody listening is a fault that may pass`() async throws {
        let time = FakeTime()
        var configuration = ChatEndpoint.Configuration(
            name: "m", baseURL: "http://127.0.0.1:1", wireFormat: .openAIChat, key: nil)
        configuration.time = time.source
        configuration.attempts = 3
        let endpoint = try ChatEndpoint(configuration)
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await endpoint.complete(.hello) })
        #expect("\(failure)".contains("no connection could be made"))
        #expect(time.sleeps.count == 2)
    }

    @Test func `A key is in no sentence and in no evidence, however a server echoes it`() async throws {
        let key = "sk-canary/0123456789+abcdef="
        let forms = [key, Data(key.utf8).base64EncodedString(), "sk-canary%2F0123456789%2Babcdef%3D"]
        let echo = forms.joined(separator: " ")
        let padded = String(repeating: "x", count: 280) + echo  // half a key at the end of an excerpt is a secret, too
        for status in [200, 302, 400, 401, 403, 404, 410, 418, 429, 500, 503] {
            for text in [echo, padded] {
                for body in [text, #"{"error":{"message":"\#(text.replacingOccurrences(of: "/", with: "\\/"))"}}"#] {
                    for type in ["application/json", "text/html; \(text)"] {
                        let stage = try Stage(
                            key: key, configure: { $0.attempts = 1 },
                            { $0.reply(status, ["Content-Type": type, "Location": "/\(echo)"], body) })
                        let sentence = "\(try await stage.failure())"
                        #expect(
                            !sentence.contains("canary") && !sentence.contains("c2stY2FuYXJ5"), "\(status) \(sentence)")
                    }
                }
            }
        }
        let stage = try Stage(
            key: key, { $0.reply(200, #"{"choices":[{"message":{"content":"\#(echo)"}}],"model":"\#(key)"}"#) })
        let completion = try await stage.endpoint.complete(.hello)
        #expect(completion.text == "[redacted] [redacted] [redacted]")
        #expect(!"\(completion)".contains("canary") && !"\(completion)".contains("c2stY2FuYXJ5"))
    }
}
