package import Chat

/// What the server needs of a model: ids from text and back, generation, scores. The server knows no more of it.
package struct ServedModel: Sendable {
    /// One generated or scored token.
    package struct Token: Hashable, Sendable {
        /// What it adds to the text: any bytes, a part of a character among them.
        package var bytes: [UInt8]
        /// Natural log; nil for the first token of a text, which has none before it.
        package var logprob: Double?
        /// The most probable tokens at this place, best first; as many as were asked for.
        package var top: [Alternative]

        package init(bytes: [UInt8], logprob: Double?, top: [Alternative] = []) {
            self.bytes = bytes
            self.logprob = logprob
            self.top = top
        }
    }

    package struct Alternative: Hashable, Sendable {
        package var bytes: [UInt8]
        package var logprob: Double

        package init(bytes: [UInt8], logprob: Double) {
            self.bytes = bytes
            self.logprob = logprob
        }
    }

    package struct Answer: Hashable, Sendable {
        package var text: String
        package var finishReason: Completion.FinishReason
        /// The tokens of the text; empty where no log-probabilities were asked for.
        package var tokens: [Token]
        /// The token that ended the answer and is no part of its text.
        package var endToken: Token?
        /// How many tokens were generated, the end token among them.
        package var tokenCount: Int

        package init(
            text: String, finishReason: Completion.FinishReason, tokens: [Token] = [], endToken: Token? = nil,
            tokenCount: Int
        ) {
            self.text = text
            self.finishReason = finishReason
            self.tokens = tokens
            self.endToken = endToken
            self.tokenCount = tokenCount
        }
    }

    /// A part of an answer that is sure to stay. Tokens that no piece has brought come with the whole answer.
    package struct Piece: Hashable, Sendable {
        package var text: String
        package var tokens: [Token]

        package init(text: String, tokens: [Token] = []) {
            self.text = text
            self.tokens = tokens
        }
    }

    package typealias OnPiece = @Sendable (Piece) -> Void

    package var name: String
    package var fingerprint: String
    /// In tokens, prompt and answer together.
    package var contextLength: Int
    package var vocabularySize: Int
    /// How many generations one call may have in flight.
    package var concurrency: Int
    package var chatPrompt: @Sendable ([Message]) throws -> [Int32]
    package var textPrompt: @Sendable (String) throws -> [Int32]
    package var bytes: @Sendable (Int32) -> [UInt8]
    /// The `count` best answers of a beam search, or the one of any other decoding. The ids stand for the request's
    /// messages. Throws `ServingError`, `ModelFailure`, or `CancellationError` when the task is cancelled.
    package var generate:
        @Sendable (_ prompt: [Int32], _ request: ChatRequest, _ count: Int, _ onPiece: OnPiece?) async throws ->
            [Answer]
    /// Each token, given those before it, with the `top` most probable ones in its place.
    package var score: @Sendable (_ tokens: [Int32], _ top: Int) async throws -> [Token]

    package init(
        name: String, fingerprint: String, contextLength: Int, vocabularySize: Int, concurrency: Int,
        chatPrompt: @escaping @Sendable ([Message]) throws -> [Int32],
        textPrompt: @escaping @Sendable (String) throws -> [Int32], bytes: @escaping @Sendable (Int32) -> [UInt8],
        generate: @escaping @Sendable ([Int32], ChatRequest, Int, OnPiece?) async throws -> [Answer],
        score: @escaping @Sendable ([Int32], Int) async throws -> [Token]
    ) {
        self.name = name
        self.fingerprint = fingerprint
        self.contextLength = contextLength
        self.vocabularySize = vocabularySize
        self.concurrency = concurrency
        self.chatPrompt = chatPrompt
        self.textPrompt = textPrompt
        self.bytes = bytes
        self.generate = generate
        self.score = score
    }
}
