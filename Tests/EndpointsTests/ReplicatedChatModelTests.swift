import Chat
import Endpoints
import Foundation
import LoopbackServer
import Synchronization
import Testing

@Suite final class ReplicatedChatModelTests {
    private let time = FakeTime()
    /// A server that nobody holds is gone.
    private let running = Mutex<[LoopbackServer]>([])

    private func model(_ urls: [String], connections: Int = 4, attempts: Int = 3) throws -> ReplicatedChatModel {
        try ReplicatedChatModel(
            urls.map { url in
                var configuration = ChatEndpoint.Configuration(
                    name: "m", baseURL: "\(url)/v1", wireFormat: .openAIChat, key: nil)
                configuration.time = time.source
                configuration.maxConcurrentRequests = connections
                configuration.attempts = attempts
                configuration.attemptTimeout = .seconds(20)
                return configuration
            }, fingerprint: "openai-compatible:m@replicas")
    }

    /// The address of a server that is no longer there.
    private func deadURL() -> String {
        let server = LoopbackServer.deaf()
        running.withLock { $0.append(server) }
        return server.url
    }

    private func server(_ steps: (@Sendable (LoopbackServer.Connection) -> Void)...) -> LoopbackServer {
        let script = Script(steps)
        let server = LoopbackServer { script.play($0, $1) }
        running.withLock { $0.append(server) }
        return server
    }

    private func complete(_ count: Int, _ model: ReplicatedChatModel) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<count {
                group.addTask {
                    let completion = try await model.complete(.hello)
                    #expect(completion.text == "m")
                }
            }
            try await group.waitForAll()
        }
    }

    @Test func `Requests in flight are spread evenly, and together are as many as all servers take`() async throws {
        let arrivals = Mutex(0)
        let everyoneIsHere = DispatchSemaphore(value: 0)
        let hold: @Sendable (LoopbackServer.Request, LoopbackServer.Connection) -> Void = { _, connection in
            let arrived = arrivals.withLock { arrivals in
                arrivals += 1
                return arrivals
            }
            if arrived == 12 { everyoneIsHere.signal() }
            // The time only ends a failing test.
            if everyoneIsHere.wait(timeout: .now() + 20) == .success { everyoneIsHere.signal() }
            connection.reply(200, helloReply)
        }
        let servers = (0..<3).map { _ in LoopbackServer(hold) }
        let model = try model(servers.map(\.url))
        #expect(model.maxConcurrentRequests == 12)
        #expect(model.fingerprint == "openai-compatible:m@replicas")
        try await complete(12, model)
        #expect(servers.map(\.counts.mostInFlight) == [4, 4, 4])
    }

    @Test func `One request after the other goes to the first server`() async throws {
        let servers = [server(answer), server(answer)]
        let model = try model(servers.map(\.url))
        for _ in 0..<5 { try await complete(1, model) }
        #expect(servers.map(\.counts.requests) == [5, 0])
    }

    @Test func `A server that dies with requests in flight costs no request, and nobody waits`() async throws {
        let living = server(answer)
        // Ten answers, then every connection is torn, as by a process that is killed.
        let left = Mutex(10)
        let dying = LoopbackServer { _, connection in
            let answers = left.withLock { left in
                left -= 1
                return left >= 0
            }
            if answers { connection.reply(200, helloReply) } else { connection.reset() }
        }
        let model = try model([dying.url, living.url])
        try await complete(200, model)
        #expect(living.counts.requests == 190)
        #expect(time.sleeps.isEmpty)
        let asked = dying.counts.requests
        try await complete(50, model)
        #expect(dying.counts.requests == asked, "it is left out")
    }

    @Test func `A server that is gone is left out, and taken in again when it answers`() async throws {
        let gone: @Sendable (LoopbackServer.Connection) -> Void = { $0.reset() }
        let first = server(gone, gone, answer)
        let second = server(answer)
        let model = try model([first.url, second.url])
        for _ in 0..<5 { try await complete(1, model) }
        #expect(first.counts.requests == 1 && second.counts.requests == 5)
        try await time.source.sleep(.milliseconds(500))
        for _ in 0..<5 { try await complete(1, model) }
        #expect(first.counts.requests == 2, "one request asks whether it is back")
        try await time.source.sleep(.milliseconds(999))
        for _ in 0..<5 { try await complete(1, model) }
        #expect(first.counts.requests == 2, "the second time lasts twice as long")
        try await time.source.sleep(.milliseconds(1))
        for _ in 0..<5 { try await complete(1, model) }
        #expect(first.counts.requests == 7 && second.counts.requests == 15)
    }

    @Test func `A request fails only when every server failed it, and its sentence names each`() async throws {
        let urls = [deadURL(), deadURL()]
        let model = try model(urls)
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await model.complete(.hello) })
        guard case .requestFailed(let text) = failure else { return unexpected() }
        for url in urls { #expect(text.contains("m at \(url) gave no answer in 3 attempts; the last one:"), "\(text)") }
        #expect(time.sleeps.count == 2)
    }

    @Test func `Servers that are all gone for a moment are asked again`() async throws {
        let servers = [server({ $0.reset() }, refusal(503)), server(refusal(503), answer)]
        let model = try model(servers.map(\.url))
        try await complete(1, model)
        #expect(servers.map(\.counts.requests).reduce(0, +) <= 4)
        #expect(time.sleeps.count == 1)
    }

    @Test func `The shortest wait that the servers ask for is the one that is waited`() async throws {
        let servers = [
            server(refusal(503, headers: ["retry-after": "9"]), answer),
            server(refusal(503, headers: ["retry-after": "4"]), answer),
        ]
        try await complete(1, try model(servers.map(\.url)))
        #expect(time.sleeps.count == 1 && (4...4.2).contains(time.sleeps[0]))
    }

    @Test func `A request that one server does not take goes to the next, and fails when none does`() async throws {
        let short = server(refusal(400, "at most 512 tokens"))
        let long = server(answer)
        let model = try model([short.url, long.url])
        for _ in 0..<2 { try await complete(1, model) }
        #expect(short.counts.requests == 2 && long.counts.requests == 2, "it is not left out")

        let neither = try self.model([short.url, server(refusal(400, "no")).url])
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await neither.complete(.hello) })
        guard case .requestFailed(let text) = failure else { return unexpected() }
        #expect(text.contains("at most 512 tokens") && text.contains("no"))
        #expect(short.counts.requests == 3 && time.sleeps.isEmpty)
    }

    @Test(arguments: [(401, "x", true), (404, "model_not_found", false)])
    func `A rejected key and a missing model stop at once`(status: Int, code: String, isKey: Bool) async throws {
        let second = server(answer)
        let model = try model([server(refusal(status, code: code)).url, second.url])
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await model.complete(.hello) })
        switch failure {
        case .credentials: #expect(isKey)
        case .providerRefuses: #expect(!isKey)
        default: unexpected()
        }
        #expect(second.counts.requests == 0)
    }

    @Test func `A server that answers one request with an error stays in for the others`() async throws {
        let servers = [server(refusal(500, "assertion failed"), answer), server(answer)]
        let model = try model(servers.map(\.url))
        for _ in 0..<3 { try await complete(1, model) }
        #expect(servers.map(\.counts.requests) == [3, 1])
    }

    @Test func `Until a server is back, it has one request at a time`() async throws {
        let othersAreAnswered = DispatchSemaphore(value: 0)
        let back = server(
            { $0.reset() },
            {
                _ = othersAreAnswered.wait(timeout: .now() + 20)  // ends a failing test
                $0.reply(200, helloReply)
            }, answer)
        let others = Mutex(0)
        let serving = LoopbackServer { _, connection in
            connection.reply(200, helloReply)
            let answered = others.withLock { others in
                others += 1
                return others
            }
            if answered == 6 { othersAreAnswered.signal() }
        }
        let model = try model([back.url, serving.url])
        try await complete(1, model)
        try await time.source.sleep(.milliseconds(500))
        try await complete(6, model)
        #expect(back.counts.requests == 2 && serving.counts.requests == 6)
    }
}
