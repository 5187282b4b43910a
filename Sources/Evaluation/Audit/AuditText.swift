internal import Chat

/// What texts are made of, as far as an audit looks.
enum AuditText {
    /// Runs of letters and digits, in lower case; every character beyond ASCII is a letter.
    static func words(_ text: String) -> [ArraySlice<UInt8>] {
        let bytes = text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
        return bytes.split { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...: false
            default: true
            }
        }
    }

    /// Every run of so many words, as a hash.
    static func shingles(_ text: String, length: Int = 5) -> Set<UInt64> {
        let words = words(text).map { fowlerNollVo($0) }
        guard words.count >= length else { return [] }
        return Set(
            (0...(words.count - length)).map { start in
                words[start..<(start + length)].reduce(0xCBF2_9CE4_8422_2325) {
                    ($0 ^ $1) &* 0x100_0000_01B3 &+ ($0 >> 29)
                }
            })
    }

    /// FNV-1a, the same in every process.
    private static func fowlerNollVo(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// Words to whoever reads the outputs as a judge, or pieces of judges' templates.
    static func addressesJudge(_ text: String) -> Bool { holds(text, any: judgePhrases) }

    static func holdsSpecialToken(_ text: String) -> Bool {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: "[") }) else { return false }
        return holds(text, any: specialTokens)
    }

    private static func holds(_ text: String, any phrases: [[UInt8]]) -> Bool {
        let bytes = text.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
        return phrases.contains { phrase in
            bytes.indices.dropLast(max(0, phrase.count - 1)).contains { start in
                bytes[start] == phrase[0] && bytes[start...].starts(with: phrase)
            }
        }
    }

    private static let judgePhrases: [[UInt8]] = [
        "ignore the above", "ignore all previous", "ignore previous", "ignore any previous", "disregard the above",
        "disregard all previous", "disregard previous", "disregard any previous", "## model outputs",
        "model_identifier", "you are the judge", "dear judge", "note to the judge", "note to the evaluator",
        "to the grader:", "choose this output", "select this output", "choose this response", "select this response",
        "this output is better", "this response is better", "this is the better output", "this is the better response",
        "the best output is", "rate this response 10", "rate this output 10", "score this response 10",
        "give this response the highest", "give this output the highest", "[end of conversation with user]",
        "[the end of assistant", "[the start of assistant", "<|the start of assistant", "<|the end of assistant",
    ].map { Array($0.utf8) }

    private static let specialTokens: [[UInt8]] = [
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|begin_of_text|>", "<|end_of_text|>", "<|assistant|>", "<|user|>", "<|system|>", "<|end|>", "</s>", "[inst]",
        "[/inst]", "<<sys>>", "<</sys>>", "<start_of_turn>", "<end_of_turn>", "<eos>", "<bos>", "<pad>", "<unk>",
    ].map { Array($0.utf8) }
}

/// What a model was trained on, as the runs of words in it.
package struct TrainingText: Sendable {
    private var runs: Set<UInt64> = []

    /// Words in a run: chance repeats of thirteen are rare, so language models' authors look for as many.
    private static let length = 13

    package init() {}

    /// Reads JSON Lines, or a JSON array, of whatever fields: every text in them counts.
    ///
    /// - Throws: `badData` naming what is no JSON.
    package mutating func add(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        for record in try Records.read(bytes, path: path, asked: "The training data") { add(record) }
    }

    private mutating func add(_ value: JSONValue) {
        if let text = value.string { add(text) }
        for element in value.array ?? [] { add(element) }
        for member in value.object?.members ?? [] { add(member.value) }
    }

    package mutating func add(_ text: String) { runs.formUnion(AuditText.shingles(text, length: Self.length)) }

    /// Whether a run of the prompt's words stands in it; a prompt of fewer words, as a whole, is not looked for.
    func holds(_ prompt: String) -> Bool {
        !AuditText.shingles(prompt, length: Self.length).isDisjoint(with: runs)
    }
}
