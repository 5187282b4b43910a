import Chat
import Evidence
import Foundation
import Synchronization
import TestSupport
import Testing

@Suite struct EvidenceStoreTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ name: String = "e.sqlite") throws -> EvidenceStore {
        try EvidenceStore(path: "\(folder.path)/\(name)")
    }

    @Test("An answered request is never asked again, by this process or the next")
    func recording() async throws {
        let model = CountingModel()
        let recording = RecordingChatModel(model, store: try open())
        let first = try await recording.complete(.asking("a"))
        #expect(try await recording.complete(.asking("a")) == first)
        let next = RecordingChatModel(model, store: try open())
        #expect(try await next.complete(.asking("a")) == first)
        #expect(model.asked == ["a"])
        _ = try await next.complete(.asking("b"))
        #expect(model.asked == ["a", "b"])
    }

    @Test("A completion comes back whole: log-probabilities of minus infinity, usage, the raw reply")
    func completionRoundTrip() async throws {
        let completion = Completion(
            text: "m", finishReason: .length,
            tokens: [
                .init(
                    text: "m", logprob: -0.1,
                    top: [.init(text: "m", logprob: -0.1), .init(text: "M", logprob: -.infinity)])
            ], usage: .init(inputTokens: 3, outputTokens: 1), servedModel: "x-1", raw: "{\"a\": 1}\u{0}é")
        let store = try open()
        try await store.recordIntent(key: "k", request: "{}", model: "m")
        try await store.recordReply(key: "k", completion: completion)
        #expect(try await store.completion(forKey: "k") == completion)
    }

    @Test("A failure is not an answer: the request is asked again")
    func failures() async throws {
        let model = CountingModel(failing: ["a"])
        let store = try open()
        let recording = RecordingChatModel(model, store: store)
        for _ in 0..<2 {
            await #expect(throws: ModelFailure.requestFailed("no")) { try await recording.complete(.asking("a")) }
        }
        #expect(model.asked == ["a", "a"])
        let counts = try await store.counts()
        #expect((counts.requests, counts.replies, counts.failures, counts.unknownFate) == (1, 0, 2, 0))
    }

    @Test("An intent is on the disk before the request is sent")
    func intentFirst() async throws {
        let store = try open()
        let path = store.path
        let model = CountingModel(before: {
            let count = try await EvidenceStore(path: path).counts().unknownFate
            #expect(count == 1)
        })
        _ = try await RecordingChatModel(model, store: store).complete(.asking("a"))
        #expect(try await store.counts().unknownFate == 0)
    }

    @Test("Many writers at once lose nothing")
    func manyWriters() async throws {
        let store = try open()
        let recording = RecordingChatModel(CountingModel(), store: store)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<500 { group.addTask { _ = try await recording.complete(.asking("\(index)")) } }
            try await group.waitForAll()
        }
        #expect(try await store.counts().replies == 500)
        #expect(try await store.verify() == 500)
    }

    @Test("An export is the same bytes whatever the order of arrival, and an import brings all of it")
    func travel() async throws {
        let left = try open("left")
        let right = try open("right")
        let model = CountingModel()
        for text in ["a", "b", "c"] { _ = try await RecordingChatModel(model, store: left).complete(.asking(text)) }
        for text in ["c", "a", "b"] { _ = try await RecordingChatModel(model, store: right).complete(.asking(text)) }
        let lines = try exported(left)
        #expect(lines == (try exported(right)))
        let third = try open("third")
        let records = try JSONValue.parseLines(Array(lines.joined(separator: "\n").utf8))
        #expect(try await third.importLines(records) == 3)
        #expect(try await third.importLines(records) == 0)
        #expect(try exported(third) == lines)
        let replay = ReplayChatModel(name: "m", fingerprint: model.fingerprint, store: third)
        #expect(try await replay.complete(.asking("b")).text == "answer to b")
        await #expect(throws: ModelFailure.self) { try await replay.complete(.asking("z")) }
    }

    @Test(
        "A touched record is refused, and nothing of its file is taken",
        arguments: ["completion", "request", "model", "key"])
    func tampering(field: String) async throws {
        let store = try open("source")
        for text in ["a", "b"] {
            _ = try await RecordingChatModel(CountingModel(), store: store).complete(.asking(text))
        }
        var records = try JSONValue.parseLines(Array(try exported(store).joined(separator: "\n").utf8))
        var object = try #require(records[1].object)
        let original = try #require(object[field]?.string)
        object[field] = .string(original.replacing("o", with: "0") + " ")
        records[1] = .object(object)
        let other = try open("target")
        await #expect(throws: EvidenceError.self) { try await other.importLines(records) }
        #expect(try await other.counts().replies == 0)
    }

    @Test("A file that is no evidence store is left alone")
    func foreignFiles() throws {
        let path = try folder.write("not a database, but long enough to look like one to a careless reader", "x.sqlite")
        #expect(throws: EvidenceError.self) { try EvidenceStore(path: path) }
        #expect(throws: EvidenceError.self) { try EvidenceStore(path: "/proc/nowhere/e.sqlite") }
    }

    @Test("The spend limit stops before a call could pass it, and counts what was used")
    func spending() async throws {
        let spending = Spending(of: Budget(limit: 0.0001)) { Double($0.inputTokens + $0.outputTokens) * 1e-6 }
        let model = CountingModel()
        let recording = RecordingChatModel(model, store: try open(), spending: spending)
        var stopped = 0
        for index in 0..<20 {
            do {
                _ = try await recording.complete(.asking("\(index)"))
            } catch ModelFailure.spendLimit {
                stopped += 1
            }
        }
        // Each call uses 10 tokens and reserves at most 27: the limit of 100 tokens fits 8.
        #expect(model.asked.count == 8)
        #expect(stopped == 12)
        #expect(abs(await spending.spent - 0.00008) < 1e-12)
    }

    private func exported(_ store: EvidenceStore) throws -> [String] {
        var lines: [String] = []
        try store.exportLines { lines.append($0) }
        return lines
    }
}

extension ChatRequest {
    fileprivate static func asking(_ text: String) -> ChatRequest {
        ChatRequest(messages: [.user(text)], decoding: .greedy, maxTokens: 10)
    }
}

private final class CountingModel: ChatModel {
    let name = "counting"
    let fingerprint = "counting:1"
    let maxConcurrentRequests = 8
    private let texts = Mutex<[String]>([])
    private let failing: Set<String>
    private let before: @Sendable () async throws -> Void

    init(failing: Set<String> = [], before: @escaping @Sendable () async throws -> Void = {}) {
        self.failing = failing
        self.before = before
    }

    var asked: [String] { texts.withLock { $0 } }

    func complete(_ request: ChatRequest) async throws -> Completion {
        try await before()
        let text = request.messages[0].content
        texts.withLock { $0.append(text) }
        if failing.contains(text) { throw ModelFailure.requestFailed("no") }
        return Completion(
            text: "answer to \(text)", finishReason: .stop, usage: .init(inputTokens: 5, outputTokens: 5), raw: "{}")
    }
}
