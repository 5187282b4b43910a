package import Chat

#if canImport(Glibc)
    internal import Glibc
#endif

/// Everything that decides one request's tokens but the model: the request's decoding, bound to a prompt.
package struct DecodingParameters: Sendable {
    package var decoding: Decoding
    /// What the constraints count as already said.
    package var prompt: [Int32]
    /// The most tokens to generate, end token included.
    package var maxTokens: Int
    /// Any of them ends the answer. Ids outside the vocabulary never come.
    package var endTokens: Set<Int32>
    package var constraints = Constraints()
    /// How many of the most probable tokens to report at each place; 0 reports none.
    package var topLogprobs = 0
    package var seed: UInt64 = 0
    /// Tells repeated draws of one request apart: each has a random stream of its own.
    package var sample: UInt64 = 0
    /// Whether the generated tokens, the newest included, end the answer for a reason of the text (a stop sequence).
    package var endsInStop: (@Sendable ([Int32]) -> Bool)?

    package init(decoding: Decoding, prompt: [Int32], maxTokens: Int, endTokens: Set<Int32>) {
        self.decoding = decoding
        self.prompt = prompt
        self.maxTokens = maxTokens
        self.endTokens = endTokens
    }

    /// What may not be said, by the names of Hugging Face's generation configuration.
    package struct Constraints: Hashable, Sendable {
        /// Above 1, makes what prompt and answer already hold less likely; 1 changes nothing.
        package var repetitionPenalty = 1.0
        /// No n-gram of this length comes twice in prompt and answer; 0 allows all.
        package var noRepeatNgramSize = 0
        /// Token sequences that never come.
        package var badWords: [[Int32]] = []
        /// End tokens wait until so many tokens have been generated.
        package var minNewTokens = 0
        /// Tokens that never come.
        package var suppressTokens: [Int32] = []

        package init() {}
    }

    /// The most beams of one search.
    package static let maximumWidth = 256
    /// A temperature below this one is a temperature of 0: greedy.
    package static let smallestTemperature = 1e-5

    /// The strategy for a model of `vocabularySize` tokens. One beam is greedy, as in Hugging Face's `generate`.
    ///
    /// - Throws: `InferenceError.setting` for a setting outside its range.
    package func strategy(vocabularySize: Int) throws(InferenceError) -> any DecodingStrategy {
        try validate(vocabularySize: vocabularySize)
        switch decoding {
        case .greedy, .beam(width: 1, _, _):
            return Greedy(self, vocabularySize: vocabularySize)
        case .sampling(let temperature, let topK, let topP, let minP):
            if temperature < Self.smallestTemperature { return Greedy(self, vocabularySize: vocabularySize) }
            let warpers = Warpers(temperature: temperature, topK: topK, topP: topP, minP: minP)
            return Sampler(self, warpers: warpers, vocabularySize: vocabularySize)
        case .beam(let width, let lengthPenalty, let earlyStopping):
            return BeamSearch(
                self, width: width, lengthPenalty: lengthPenalty, earlyStopping: earlyStopping,
                vocabularySize: vocabularySize)
        }
    }

    private func validate(vocabularySize: Int) throws(InferenceError) {
        try require(vocabularySize > 0, "the vocabulary's size", vocabularySize, "at least 1")
        try require(maxTokens > 0, "max_tokens", maxTokens, "at least 1")
        try require(topLogprobs >= 0, "top_logprobs", topLogprobs, "0 or more")
        switch decoding {
        case .greedy: break
        case .sampling(let temperature, let topK, let topP, let minP):
            try require(temperature >= 0 && temperature.isFinite, "temperature", temperature, "a number from 0")
            if let topK { try require(topK > 0, "top_k", topK, "at least 1, or absent") }
            if let topP { try require(0 <= topP && topP <= 1, "top_p", topP, "in 0...1") }
            if let minP { try require(0 <= minP && minP <= 1, "min_p", minP, "in 0...1") }
        case .beam(let width, let lengthPenalty, _):
            try require(1 <= width && width <= Self.maximumWidth, "num_beams", width, "in 1...\(Self.maximumWidth)")
            // Scores are divided by it, in single precision.
            let divides = Float(pow(Double(maxTokens), lengthPenalty)).isNormal
            try require(
                divides, "length_penalty", lengthPenalty, "so near 0 that max_tokens^length_penalty is a number")
        }
        try validateConstraints(vocabularySize: vocabularySize)
    }

    private func validateConstraints(vocabularySize: Int) throws(InferenceError) {
        let penalty = constraints.repetitionPenalty
        // In single precision, where the penalty divides logits.
        let divides = Float(penalty).isNormal && (1 / Float(penalty)).isNormal
        try require(penalty > 0 && divides, "repetition_penalty", penalty, "a number above 0")
        try require(
            constraints.noRepeatNgramSize >= 0, "no_repeat_ngram_size", constraints.noRepeatNgramSize, "0 or more")
        try require(constraints.minNewTokens >= 0, "min_new_tokens", constraints.minNewTokens, "0 or more")
        for word in constraints.badWords {
            try require(!word.isEmpty, "a sequence of bad_words_ids", word, "of one token or more")
        }
        let named = [("the prompt", prompt), ("suppress_tokens", constraints.suppressTokens)]
        for (name, tokens) in named + constraints.badWords.map({ ("bad_words_ids", $0) }) {
            for token in tokens where token < 0 || Int(token) >= vocabularySize {
                throw .setting("a token of \(name)", value: "\(token)", expected: "in 0..<\(vocabularySize)")
            }
        }
    }

    /// Whether generated tokens are an answer's last, and why.
    func ending(of tokens: [Int32]) -> Hypothesis.Ending? {
        guard let last = tokens.last else { return nil }
        if endTokens.contains(last) { return .endToken }
        if let endsInStop, endsInStop(tokens) { return .stopSequence }
        return tokens.count >= maxTokens ? .length : nil
    }
}

private func require(
    _ holds: Bool, _ name: String, _ value: some Any, _ expected: String
) throws(InferenceError) {
    if !holds { throw .setting(name, value: "\(value)", expected: expected) }
}
