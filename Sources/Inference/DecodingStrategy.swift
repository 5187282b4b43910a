/// One row of the next step: the row that it extends, and with which token.
package struct Continuation: Hashable, Sendable {
    /// The index, among the live rows, of the one that is extended.
    package var parent: Int
    package var token: Int32

    package init(parent: Int, token: Int32) {
        self.parent = parent
        self.token = token
    }
}

/// How the next tokens of one request are chosen. One loop serves every strategy: forward the live rows, `advance`,
/// fork the cache as the continuations say, and repeat until there are none.
package protocol DecodingStrategy: Sendable {
    /// Reads the logits of the live rows and names the rows of the next step; empty when the search has ended.
    ///
    /// Logits are (live rows, vocabulary), row-major; the first call sees one row, that of the prompt's last token.
    /// Minus infinity marks a token that cannot come. Not a number, plus infinity and rows without any finite value
    /// throw `InferenceError.brokenLogits`; constraints that forbid every token, `.nothingAllowed`.
    mutating func advance(_ logits: UnsafeBufferPointer<Float>) throws(InferenceError) -> [Continuation]

    /// How many rows the next `advance` reads: 0 when the search has ended.
    var liveCount: Int { get }

    /// The best first. Valid at any time: what is cut short (cancelled, out of context) stands as it was.
    var hypotheses: [Hypothesis] { get }
}

/// A token with its natural log-probability in the model's own distribution.
package struct TokenLogprob: Hashable, Sendable {
    package var token: Int32
    package var logprob: Double

    package init(token: Int32, logprob: Double) {
        self.token = token
        self.logprob = logprob
    }
}

/// What has been generated along one path.
package struct Hypothesis: Hashable, Sendable {
    package enum Ending: Sendable { case endToken, stopSequence, length }

    /// An end token, where there is one, is the last.
    package var tokens: [Int32] = []
    /// A natural log-probability for each token: the log-softmax of the logits as the model gave them, before
    /// constraints, temperature and truncation.
    package var logprobs: [Double] = []
    /// The most probable tokens at each place, best first, in the same distribution; empty where none were asked for.
    package var top: [[TokenLogprob]] = []
    /// The sum of `logprobs`; of a beam, the sum after its constraints over length^lengthPenalty (`sequences_scores`).
    package var score = 0.0
    /// Nil for what was cut short.
    package var ending: Ending?

    package init() {}

    mutating func append(_ token: Int32, row: UnsafeBufferPointer<Float>, normalizer: Normalizer, topCount: Int) {
        tokens.append(token)
        logprobs.append(normalizer.logprob(row[Int(token)]))
        if topCount > 0 { top.append(normalizer.top(topCount, of: row)) }
    }
}

/// What the decoding half of the engine cannot do.
package enum InferenceError: Error, Hashable, Sendable, CustomStringConvertible {
    case setting(String, value: String, expected: String)
    /// The model's logits are no distribution; `generated` tokens came before them.
    case brokenLogits(generated: Int)
    case nothingAllowed(generated: Int)
    case emptyPrompt
    /// A request that fits neither beside others nor alone.
    case cacheTooSmall(pages: Int, tokens: Int)

    package var description: String {
        switch self {
        case .setting(let name, let value, let expected):
            "\(name) is \(value), but it must be \(expected)"
        case .brokenLogits(let generated):
            """
            the logits after \(generated) generated tokens are not a distribution (not a number, infinite, or nothing \
            but minus infinity): the weights are damaged or overflow this precision; verify the checkpoint
            """
        case .emptyPrompt:
            "the prompt has no token to go on from; give it some text, or a beginning-of-text token"
        case .cacheTooSmall(let pages, let tokens):
            """
            the key-value cache of \(pages) pages does not hold one request of \(tokens) tokens; give it more memory \
            (--cache-memory), or ask for fewer tokens or beams
            """
        case .nothingAllowed(let generated):
            """
            after \(generated) generated tokens the constraints (n-grams, forbidden words, smallest length) leave no \
            token to choose; loosen one of them
            """
        }
    }
}
