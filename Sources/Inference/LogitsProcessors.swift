/// The constraints of a request, ready to be applied at each step, in Hugging Face's order.
struct LogitsProcessors: Sendable {
    private let prompt: [Int32]
    private let repetitionPenalty: Float
    private let noRepeatNgramSize: Int
    private let badWords: [[Int32]]
    private let suppressed: [Int32]
    private let minNewTokens: Int
    private let endTokens: [Int32]

    init(_ parameters: DecodingParameters, vocabularySize: Int) {
        let constraints = parameters.constraints
        prompt = parameters.prompt
        repetitionPenalty = Float(constraints.repetitionPenalty)
        noRepeatNgramSize = constraints.noRepeatNgramSize
        let endTokens = parameters.endTokens
        // Hugging Face lets an end token end an answer even where it is listed as a bad word.
        badWords = constraints.badWords.filter { !($0.count == 1 && endTokens.contains($0[0])) }
        suppressed = constraints.suppressTokens
        minNewTokens = constraints.minNewTokens
        self.endTokens = endTokens.filter { 0 <= $0 && Int($0) < vocabularySize }.sorted()
    }

    /// Whether `apply` can change anything at all.
    var areActive: Bool {
        repetitionPenalty != 1 || noRepeatNgramSize > 0 || !badWords.isEmpty || !suppressed.isEmpty
            || (minNewTokens > 0 && !endTokens.isEmpty)
    }

    /// Changes the scores (vocabulary) of what may follow `generated`: logits, or in beam search log-probabilities.
    func apply(to scores: UnsafeMutableBufferPointer<Float>, after generated: [Int32]) {
        if repetitionPenalty != 1 { penalizeRepetition(scores, generated) }
        if noRepeatNgramSize > 0 || badWords.contains(where: { $0.count > 1 }) {
            let history = prompt + generated
            forbidRepeatedNgrams(scores, history)
            forbidBadWords(scores, history)
        } else {
            forbidBadWords(scores, [])
        }
        if generated.count < minNewTokens { forbid(endTokens, scores) }
        forbid(suppressed, scores)
    }

    /// All are read before any is written, so a token that came twice is penalized once.
    private func penalizeRepetition(_ scores: UnsafeMutableBufferPointer<Float>, _ generated: [Int32]) {
        func penalized(_ token: Int32) -> Float {
            let score = scores[Int(token)]
            return score < 0 ? score * repetitionPenalty : score / repetitionPenalty
        }
        let (ofPrompt, ofGenerated) = (prompt.map(penalized), generated.map(penalized))
        for (token, score) in zip(prompt, ofPrompt) { scores[Int(token)] = score }
        for (token, score) in zip(generated, ofGenerated) { scores[Int(token)] = score }
    }

    private func forbidRepeatedNgrams(_ scores: UnsafeMutableBufferPointer<Float>, _ history: [Int32]) {
        let size = noRepeatNgramSize
        guard size > 0, history.count >= size else { return }
        let newest = history.suffix(size - 1)
        for last in size - 1..<history.count where history[last - size + 1..<last].elementsEqual(newest) {
            forbid(history[last], scores)
        }
    }

    private func forbidBadWords(_ scores: UnsafeMutableBufferPointer<Float>, _ history: [Int32]) {
        for word in badWords {
            // Hugging Face wants a history as long as the whole word, not just its beginning.
            let applies = word.count == 1 || (word.count <= history.count && endsInBeginning(of: word, history))
            if applies { forbid(word[word.count - 1], scores) }
        }
    }

    private func endsInBeginning(of word: [Int32], _ history: [Int32]) -> Bool {
        history.suffix(word.count - 1).elementsEqual(word.dropLast())
    }

    private func forbid(_ tokens: [Int32], _ scores: UnsafeMutableBufferPointer<Float>) {
        for token in tokens { forbid(token, scores) }
    }

    private func forbid(_ token: Int32, _ scores: UnsafeMutableBufferPointer<Float>) {
        scores[Int(token)] = -.infinity
    }
}
