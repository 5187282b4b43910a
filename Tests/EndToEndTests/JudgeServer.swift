import Chat
import Foundation
import LoopbackServer
import Synchronization

/// An OpenAI-compatible endpoint whose every answer is a function of the question.
final class JudgeServer: Sendable {
    /// Replaces the answer to a question: its n-th asking (from 1), and the user's text.
    typealias Rudeness = @Sendable (_ text: String, _ asking: Int, LoopbackServer.Connection) -> Bool

    private let server: LoopbackServer
    private let journal: Log

    final class Log: Sendable {
        private struct State {
            var bodies: [JSONValue] = []
            var askings: [String: Int] = [:]
            var headers: [[String: String]] = []
        }

        private let state = Mutex(State())

        func record(_ request: LoopbackServer.Request, _ text: String, _ body: JSONValue) -> Int {
            state.withLock { state in
                state.bodies.append(body)
                state.headers.append(request.headers)
                state.askings[text, default: 0] += 1
                return state.askings[text]!
            }
        }

        var bodies: [JSONValue] { state.withLock { $0.bodies } }
        var headers: [[String: String]] { state.withLock { $0.headers } }
        /// How often each question was asked.
        var askings: [String: Int] { state.withLock { $0.askings } }
    }

    init(rude: @escaping Rudeness = { _, _, _ in false }, top: (@Sendable (String) -> [(String, Double)])? = nil) {
        let log = Log()
        journal = log
        server = LoopbackServer { request, connection in
            guard let body = try? JSONValue(parsing: request.body),
                let text = body["messages"]?.array?.last?["content"]?.string
            else { return connection.reply(400, [:], #"{"error":{"message":"no messages"}}"#) }
            let asking = log.record(request, text, body)
            if rude(text, asking, connection) { return }
            let answer = top?(text) ?? JudgeServer.weights(text)
            connection.reply(200, [:], JudgeServer.completion(body, answer).serialized())
        }
    }

    var model: String { "openai-compatible:mock@\(server.url)/v1" }
    var baseURL: String { "\(server.url)/v1" }
    var bodies: [JSONValue] { journal.bodies }
    var headers: [[String: String]] { journal.headers }
    var askings: [String: Int] { journal.askings }

    /// m and M with probabilities that a hash of the question decides.
    static func weights(_ text: String) -> [(String, Double)] {
        let share = (Double(Int(Digest.sha256(text).prefix(6), radix: 16)! % 10007) / 10007) * 0.98 + 0.01
        return [("m", log(share)), ("M", log(1 - share)), ("The", -12)].sorted { $0.1 > $1.1 }
    }

    static func completion(_ body: JSONValue, _ top: [(String, Double)]) -> JSONValue {
        let alternatives = top.map { ["token": .string($0.0), "logprob": .number($0.1)] as JSONValue }
        return [
            "id": "chatcmpl-x", "object": "chat.completion", "created": 1_700_000_000, "model": body["model"] ?? "mock",
            "choices": [
                [
                    "index": 0, "finish_reason": "length",
                    "message": ["role": "assistant", "content": .string(top[0].0)],
                    "logprobs": [
                        "content": [
                            [
                                "token": .string(top[0].0), "logprob": .number(top[0].1),
                                "top_logprobs": .array(alternatives),
                            ]
                        ]
                    ],
                ]
            ],
            "usage": ["prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101],
        ]
    }
}
