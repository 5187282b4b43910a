/// A model's answer to one request.
package struct Completion: Hashable, Sendable {
    package struct Token: Hashable, Sendable {
        package var text: String
        /// Natural log.
        package var logprob: Double
        /// The most probable alternatives at this place, the chosen one among them, as the model reports them.
        package var top: [Alternative]

        package init(text: String, logprob: Double, top: [Alternative]) {
            self.text = text
            self.logprob = logprob
            self.top = top
        }
    }

    package struct Alternative: Hashable, Sendable {
        package var text: String
        package var logprob: Double

        package init(text: String, logprob: Double) {
            self.text = text
            self.logprob = logprob
        }
    }

    package struct Usage: Hashable, Sendable {
        package var inputTokens: Int
        package var outputTokens: Int

        package init(inputTokens: Int, outputTokens: Int) {
            self.inputTokens = inputTokens
            self.outputTokens = outputTokens
        }
    }

    package enum FinishReason: String, Sendable {
        case stop, length
        /// The provider withheld the answer (a content filter, a refusal field).
        case refused
        case outOfContext = "out_of_context"
        case other
    }

    package var text: String
    package var finishReason: FinishReason
    /// Empty where the request asked for no log-probabilities or the model gave none.
    package var tokens: [Token]
    /// Nil where the model did not say.
    package var usage: Usage?
    /// The name by which the provider says that it answered.
    package var servedModel: String?
    /// The reply as it was received.
    package var raw: String

    package init(
        text: String, finishReason: FinishReason, tokens: [Token] = [], usage: Usage? = nil, servedModel: String? = nil,
        raw: String
    ) {
        self.text = text
        self.finishReason = finishReason
        self.tokens = tokens
        self.usage = usage
        self.servedModel = servedModel
        self.raw = raw
    }
}
