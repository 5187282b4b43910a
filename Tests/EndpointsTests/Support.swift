import Chat
import Endpoints
import Foundation
import LoopbackServer
import Synchronization
import Testing

/// Time that passes only by being slept through.
final class FakeTime: Sendable {
    private let state = Mutex((now: Duration.seconds(1000), sleeps: [Duration]()))
    /// Sun, 06 Nov 1994 08:49:37 GMT
    static let epoch = 784_111_777.0

    var sleeps: [Double] { state.withLock { $0.sleeps.map { $0 / Duration.seconds(1) } } }
    var now: Duration { state.withLock { $0.now } }

    var source: TimeSource {
        TimeSource(
            now: { self.now }, epochSeconds: { FakeTime.epoch },
            sleep: { duration in
                try Task.checkCancellation()
                self.state.withLock { state in
                    state.now += duration
                    state.sleeps.append(duration)
                }
            })
    }
}

/// What the server says to the first, the second, … request; the last one stays.
final class Script: Sendable {
    private let steps: [@Sendable (LoopbackServer.Connection) -> Void]
    private let place = Mutex(0)
    let requests = Mutex<[LoopbackServer.Request]>([])

    init(_ steps: [@Sendable (LoopbackServer.Connection) -> Void]) { self.steps = steps }

    func play(_ request: LoopbackServer.Request, _ connection: LoopbackServer.Connection) {
        requests.withLock { $0.append(request) }
        let step = place.withLock { place in
            defer { place += 1 }
            return min(place, steps.count - 1)
        }
        steps[step](connection)
    }

    var bodies: [JSONValue] { get throws { try requests.withLock { try $0.map { try JSONValue(parsing: $0.body) } } } }
}

/// An endpoint on a server that plays a script, on fake time.
struct Stage {
    let script: Script
    let server: LoopbackServer
    let time = FakeTime()
    let endpoint: ChatEndpoint

    init(
        format: ChatEndpoint.WireFormat = .openAIChat, key: String? = nil,
        configure: (inout ChatEndpoint.Configuration) -> Void = { _ in },
        _ steps: (@Sendable (LoopbackServer.Connection) -> Void)...
    ) throws {
        let script = Script(steps)
        self.script = script
        server = LoopbackServer { script.play($0, $1) }
        var configuration = ChatEndpoint.Configuration(
            name: "judge-1", baseURL: format == .openAIChat ? "\(server.url)/v1" : server.url, wireFormat: format,
            key: Secret(key))
        configuration.time = time.source
        configuration.attemptTimeout = .seconds(20)
        configure(&configuration)
        endpoint = try ChatEndpoint(configuration)
    }

    /// The sentence with which the request fails.
    func failure() async throws -> ModelFailure {
        try #require(await #expect(throws: ModelFailure.self) { try await endpoint.complete(.hello) })
    }
}

extension ChatRequest {
    static let hello = ChatRequest(
        messages: [Message(role: .system, content: "Be brief."), .user("Hello")],
        decoding: .sampling(temperature: 1, topK: nil, topP: nil, minP: nil), maxTokens: 1, topLogprobs: 5)
}

let helloReply = """
    {"id":"chatcmpl-1","object":"chat.completion","model":"judge-1-0613","choices":[{"index":0,"message":{"role":"assistant",\
    "content":"m","refusal":null},"logprobs":{"content":[{"token":"m","logprob":-0.25,"bytes":[109],"top_logprobs":[\
    {"token":"m","logprob":-0.25},{"token":"M","logprob":-1.5}]}]},"finish_reason":"stop"}],\
    "usage":{"prompt_tokens":12,"completion_tokens":1,"total_tokens":13}}
    """

let answer: @Sendable (LoopbackServer.Connection) -> Void = { $0.reply(200, helloReply) }

/// A reply with an error in OpenAI's shape.
func refusal(
    _ status: Int, _ message: String = "no", code: String? = nil, parameter: String? = nil,
    headers: [String: String] = [:]
) -> @Sendable (LoopbackServer.Connection) -> Void {
    let error: JSONValue = [
        "message": .string(message), "type": "error", "code": JSONValue(code), "param": JSONValue(parameter),
    ]
    let body = (["error": error] as JSONValue).text()
    return { $0.reply(status, headers, body) }
}

/// A folder of a test's own, gone when the test ends.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = "\(FileManager.default.temporaryDirectory.path)/evalharness-endpoints-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func bytes(_ name: String) -> [UInt8]? { FileManager.default.contents(atPath: file(name)).map { Array($0) } }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }

    @discardableResult
    func write(_ text: String, _ name: String, mode: Int = 0o644) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file(name)))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file(name))
        return file(name)
    }
}

/// The output of a shell script. By `popen`: Foundation's `Process` waits with a run loop, which a task's thread has none of.
@discardableResult
func shell(_ script: String, in folder: String = "/") throws -> [UInt8] {
    let pipe = try #require(popen("set -e; exec 2>/dev/null; cd '\(folder)'; \(script)", "re"))
    var output: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { output += chunk[..<count] }
    try #require(pclose(pipe) == 0, "\(script)")
    return output
}

func unexpected(at location: SourceLocation = #_sourceLocation) {
    Issue.record("another failure than the expected one", sourceLocation: location)
}
