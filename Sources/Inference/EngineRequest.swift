internal import LanguageModel
internal import Synchronization

/// What one request came to.
package struct Generation: Sendable {
    package enum Ending: Sendable {
        case finished
        /// The context was full before the decoding had ended.
        case outOfContext
    }

    /// The best first.
    package var hypotheses: [Hypothesis]
    package var ending: Ending
    package var promptTokens: Int
    /// How many of the prompt's tokens were found computed.
    package var sharedTokens: Int
}

/// One live path of a request: its tokens, and the pages that hold the computed ones.
struct Row {
    var tokens: [Int32]
    var computed = 0
    var pages: [Int32] = []
    /// How many full pages the prefix index knows, and the serial number of the last of them.
    var registered = 0
    var serial: UInt64 = 0

    var pending: Int { tokens.count - computed }
}

/// A request in the engine; touched by the engine's thread alone, but for `isCancelled`.
final class EngineRequest: @unchecked Sendable {
    let number: Int
    let prompt: [Int32]
    let onToken: (@Sendable (Int32) -> Void)?
    let finish: @Sendable (Result<Generation, any Error>) -> Void
    let isCancelled = Atomic<Bool>(false)
    var strategy: any DecodingStrategy
    var rows: [Row]
    var sharedTokens = 0
    /// The failure of the last `advance`.
    var failure: InferenceError?
    var continuations: [Continuation] = []

    init(
        number: Int, prompt: [Int32], strategy: any DecodingStrategy, onToken: (@Sendable (Int32) -> Void)?,
        finish: @escaping @Sendable (Result<Generation, any Error>) -> Void
    ) {
        self.number = number
        self.prompt = prompt
        self.strategy = strategy
        self.onToken = onToken
        self.finish = finish
        rows = [Row(tokens: prompt)]
    }

    /// Whether only the newest token of each row is left to compute.
    var isDecoding: Bool { rows.allSatisfy { $0.pending == 1 } }

    /// Replaces the rows by their continuations, which share their parents' pages.
    func fork(in cache: KVCache) {
        var next: [Row] = []
        for continuation in continuations {
            var row = rows[continuation.parent]
            for page in row.pages { cache.retain(page) }
            row.tokens.append(continuation.token)
            next.append(row)
        }
        release(to: cache)
        rows = next
    }

    /// Forgets every computed position; the tokens stay.
    func release(to cache: KVCache) {
        for index in rows.indices {
            for page in rows[index].pages { cache.release(page) }
            rows[index].pages = []
            rows[index].computed = 0
            rows[index].registered = 0
            rows[index].serial = 0
        }
    }

    func resolve(_ ending: Generation.Ending) {
        finish(
            .success(
                Generation(
                    hypotheses: strategy.hypotheses, ending: ending, promptTokens: prompt.count,
                    sharedTokens: sharedTokens)))
    }
}
