import Chat
import Serving
import Synchronization

/// A model of bytes: a token is a byte, and an answer what the script says.
final class ScriptedModel: Sendable {
    struct Call: Hashable, Sendable {
        var prompt: [Int32]
        var request: ChatRequest
        var count: Int
    }

    struct Counts: Hashable, Sendable {
        var started = 0
        var inFlight = 0
        var mostInFlight = 0
        var cancelled = 0
    }

    static let endToken = ServedModel.Token(bytes: Array("<end>".utf8), logprob: -0.25)

    let counts = Mutex(Counts())
    let calls = Mutex<[Call]>([])
    private let text: @Sendable (Call) async throws -> String
    /// Whether pieces bring their tokens, or all come with the answer.
    private let streamsTokens: Bool

    /// - Parameter text: the answer. One that ends in "…" never comes to its end.
    init(streamsTokens: Bool = true, _ text: @escaping @Sendable (Call) async throws -> String) {
        self.text = text
        self.streamsTokens = streamsTokens
    }

    func served(contextLength: Int = 64, concurrency: Int = 64) -> ServedModel {
        ServedModel(
            name: "org/scripted", fingerprint: "local:abc", contextLength: contextLength, vocabularySize: 258,
            concurrency: concurrency,
            chatPrompt: { messages in
                if messages.first?.role == .assistant { throw ModelFailure.requestFailed("turns must alternate") }
                return messages.flatMap { $0.content.utf8.map(Int32.init) }
            },
            textPrompt: { [256] + $0.utf8.map(Int32.init) },
            bytes: { $0 < 256 ? [UInt8($0)] : Array($0 == 256 ? "<begin>".utf8 : "<end>".utf8) },
            generate: { try await self.generate(Call(prompt: $0, request: $1, count: $2), $3) },
            score: { tokens, top in
                tokens.enumerated().map { place, token in
                    let bytes: [UInt8] = token < 256 ? [UInt8(token)] : Array("<begin>".utf8)
                    return place == 0
                        ? ServedModel.Token(bytes: bytes, logprob: nil) : ScriptedModel.token(bytes, top: top)
                }
            })
    }

    /// A byte is as probable as the script's arithmetic says, and "a" always the best.
    static func token(_ bytes: [UInt8], top: Int) -> ServedModel.Token {
        ServedModel.Token(
            bytes: bytes, logprob: bytes == [0x61] ? -0.5 : -Double(bytes.first!) / 64,
            top: (0..<top).map { ServedModel.Alternative(bytes: [0x61 + UInt8($0)], logprob: -0.5 - Double($0)) })
    }

    private func generate(_ call: Call, _ onPiece: ServedModel.OnPiece?) async throws -> [ServedModel.Answer] {
        calls.withLock { $0.append(call) }
        counts.withLock { counts in
            counts.started += 1
            counts.inFlight += 1
            counts.mostInFlight = max(counts.mostInFlight, counts.inFlight)
        }
        defer { counts.withLock { $0.inFlight -= 1 } }
        let whole = try await text(call)
        let isEndless = whole.hasSuffix("…")
        let bytes = Array((isEndless ? String(whole.dropLast()) : whole).utf8).prefix(call.request.maxTokens)
        let tokens = bytes.map { ScriptedModel.token([$0], top: call.request.topLogprobs ?? 0) }
        let logged = call.request.topLogprobs == nil ? [] : tokens
        var pending: [UInt8] = []
        var fresh: [ServedModel.Token] = []
        for token in tokens {
            pending += token.bytes
            fresh.append(token)
            // Never a part of a character.
            guard let text = String(validating: pending, as: UTF8.self) else { continue }
            onPiece?(ServedModel.Piece(text: text, tokens: streamsTokens && !logged.isEmpty ? fresh : []))
            pending = []
            fresh = []
            await Task.yield()
        }
        if isEndless { try await untilCancelled() }
        let hasEnded = bytes.count == whole.utf8.count
        let answer = ServedModel.Answer(
            text: String(decoding: bytes, as: UTF8.self), finishReason: hasEnded ? .stop : .length, tokens: logged,
            endToken: hasEnded && !logged.isEmpty ? ScriptedModel.endToken : nil,
            tokenCount: bytes.count + (hasEnded ? 1 : 0))
        return (0..<call.count).map { place in
            var answer = answer
            if place > 0 { answer.text += "#\(place)" }
            return answer
        }
    }

    private func untilCancelled() async throws {
        do {
            try await Task.sleep(for: .seconds(60))
        } catch {
            counts.withLock { $0.cancelled += 1 }
            throw error
        }
    }
}
