/// Everything that decides an answer but the model itself.
package struct ChatRequest: Hashable, Sendable {
    package var messages: [Message]
    package var decoding: Decoding
    /// The longest answer, in tokens.
    package var maxTokens: Int
    package var stop: [String]
    package var seed: UInt64?
    /// How many alternatives to report for each generated token, with their log-probabilities; nil reports none.
    package var topLogprobs: Int?
    /// Above 1, makes what prompt and answer already hold less likely; nil changes nothing.
    package var repetitionPenalty: Double?
    /// Tells repeated draws of one request apart: the n-th sample, the n-th vote.
    package var sample: Int

    package init(
        messages: [Message], decoding: Decoding, maxTokens: Int, stop: [String] = [], seed: UInt64? = nil,
        topLogprobs: Int? = nil, repetitionPenalty: Double? = nil, sample: Int = 0
    ) {
        self.messages = messages
        self.decoding = decoding
        self.maxTokens = maxTokens
        self.stop = stop
        self.seed = seed
        self.topLogprobs = topLogprobs
        self.repetitionPenalty = repetitionPenalty
        self.sample = sample
    }

    package var json: JSONValue {
        var object: JSONObject = [
            "decoding": decoding.json,
            "max_tokens": .integer(maxTokens),
            "messages": .array(
                messages.map { ["content": .string($0.content), "role": .string($0.role.rawValue)] }),
            "sample": .integer(sample),
            "seed": JSONValue(seed.map { String($0) }),
            "stop": .array(stop.map(JSONValue.string)),
            "top_logprobs": JSONValue(topLogprobs),
        ]
        // Absent when unused, so that the keys of older evidence stay.
        object["repetition_penalty"] = repetitionPenalty.map(JSONValue.number)
        return .object(object)
    }

    /// The request to one model as one text, without a secret: what is hashed, and kept.
    package func canonicalText(modelFingerprint: String) -> String {
        (["model": .string(modelFingerprint), "request": json] as JSONValue).canonical.text()
    }

    /// The key of the evidence for this request: the SHA-256 of `canonicalText`.
    package func key(modelFingerprint: String) -> String {
        Digest.sha256(canonicalText(modelFingerprint: modelFingerprint))
    }
}
