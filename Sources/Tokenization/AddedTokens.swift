/// A token that is looked for in the text itself, before the model sees it.
package struct AddedToken: Hashable, Sendable {
    package var id: TokenID
    package var content: String
    /// Left out when decoding without special tokens.
    package var isSpecial: Bool
    /// Looked for after normalization, and not before.
    package var isNormalized: Bool
    /// Takes the whitespace before it along.
    package var stripsLeft: Bool
    /// Takes the whitespace after it along.
    package var stripsRight: Bool
    /// Not found inside a word.
    package var isSingleWord: Bool
}

/// The added tokens of a tokenizer, and where they stand in a text.
struct AddedTokens: Sendable {
    private(set) var tokens: [AddedToken] = []
    private var indices: [TokenID: Int] = [:]
    private var plain = ByteTrie()
    private var normalized = ByteTrie()

    subscript(id: TokenID) -> AddedToken? { indices[id].map { tokens[$0] } }

    func id(of content: String) -> TokenID? {
        // Not `==`, to which é is é however it is written.
        tokens.first { $0.content.utf8.elementsEqual(content.utf8) }?.id
    }

    /// The greatest id and one.
    var size: Int { tokens.map { Int($0.id) + 1 }.max() ?? 0 }

    /// A part of a text: an added token, or what lies between them.
    struct Part {
        var range: Range<Int>
        var token: TokenID?
    }

    var looksIntoNormalizedText: Bool { !normalized.isEmpty }

    /// The text in parts, in order. The whitespace that two tokens both take along is in both of their parts.
    func parts(of text: Span<UInt8>, isNormalized: Bool) -> [Part] {
        let trie = isNormalized ? normalized : plain
        if trie.isEmpty { return [Part(range: 0..<text.count)] }
        var parts: [Part] = []
        var end = 0
        var position = 0
        while position < text.count {
            guard let (token, matchEnd) = longestMatch(trie, text, position) else {
                position += 1
                continue
            }
            let start = position
            position = matchEnd
            if token.isSingleWord, !isWord(text, start..<matchEnd) { continue }
            let range = widened(start..<matchEnd, token, text, notBefore: end)
            if end < range.lowerBound { parts.append(Part(range: end..<range.lowerBound)) }
            parts.append(Part(range: range, token: token.id))
            end = range.upperBound
        }
        if end < text.count { parts.append(Part(range: end..<text.count)) }
        return parts
    }

    private func longestMatch(_ trie: ByteTrie, _ text: Span<UInt8>, _ start: Int) -> (AddedToken, end: Int)? {
        var longest: (index: Int, end: Int)?
        trie.matches(in: text, at: start) { longest = ($0, $1) }
        return longest.map { (tokens[$0.index], $0.end) }
    }

    private func widened(
        _ range: Range<Int>, _ token: AddedToken, _ text: Span<UInt8>, notBefore floor: Int
    ) -> Range<Int> {
        var start = range.lowerBound
        if token.stripsLeft { start = max(floor, text.skippingWhitespaceBack(from: start, to: min(floor, start))) }
        let end = token.stripsRight ? text.skippingWhitespace(from: range.upperBound) : range.upperBound
        return start..<end
    }

    /// Whether no word goes on over either end of the range.
    private func isWord(_ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        (range.lowerBound == 0 || !isWordScalar(text.scalar(before: range.lowerBound).value))
            && (range.upperBound == text.count || !isWordScalar(text.scalar(at: range.upperBound).value))
    }

    private func isWordScalar(_ value: UInt32) -> Bool {
        ScalarSet.word.contains(value) || value == 0x200C || value == 0x200D
    }
}

extension AddedTokens {
    /// Reads `added_tokens`; a token that the model knows has the model's id.
    ///
    /// The tokenizers library numbers the others itself, whatever the file says: one after another behind the
    /// vocabulary. A file that says otherwise has two meanings.
    ///
    /// - Throws: `TokenizationError.malformed`, also for such a file.
    init(
        _ sections: [TokenizerSection], _ vocabulary: Vocabulary, _ normalizer: Normalizer
    ) throws(TokenizationError) {
        for section in sections { try add(section, vocabulary, normalizer) }
    }

    private mutating func add(
        _ section: TokenizerSection, _ vocabulary: Vocabulary, _ normalizer: Normalizer
    ) throws(TokenizationError) {
        let content = try section.string("content")
        if content.isEmpty { return }
        let declared = try section.tokenID(try section.required("id"), content.quoted)
        let id = vocabulary.id(of: content) ?? nextID(behind: vocabulary)
        guard id == declared || vocabulary.id(of: content) != nil else {
            throw section.malformed(
                "gives \(content.quoted) the id \(declared), and the tokenizers library makes it \(id), the next one "
                    + "behind the vocabulary. Put the token into the vocabulary")
        }
        if let taken = vocabulary.utf8(of: id), !taken.elementsEqual(content.utf8) {
            throw section.malformed("gives \(content.quoted) the id \(id), which the vocabulary gives to another token")
        }
        let token = AddedToken(
            id: id, content: content, isSpecial: try section.bool("special", default: false),
            isNormalized: try section.bool("normalized", default: true),
            stripsLeft: try section.bool("lstrip", default: false),
            stripsRight: try section.bool("rstrip", default: false),
            isSingleWord: try section.bool("single_word", default: false))
        guard indices.updateValue(tokens.count, forKey: id) == nil else {
            throw section.malformed("gives the id \(id) a second time, to \(content.quoted)")
        }
        tokens.append(token)
        try look(for: token, section, normalizer)
    }

    private func nextID(behind vocabulary: Vocabulary) -> TokenID {
        let first = TokenID(vocabulary.count)
        guard let last = tokens.map(\.id).max(), last >= first else { return first }
        return last + 1
    }

    private mutating func look(
        for token: AddedToken, _ section: TokenizerSection, _ normalizer: Normalizer
    ) throws(TokenizationError) {
        let index = Int32(tokens.count - 1)
        var text = Array(token.content.utf8)
        if text.count > ByteTrie.longestText {
            throw section.unsupported("is a token of more than \(ByteTrie.longestText) bytes")
        }
        guard token.isNormalized else {
            if !plain.insert(text, value: index) { throw section.malformed("repeats \(token.content.quoted)") }
            return
        }
        text = normalizer.apply(to: AlignedText(bytes: text, base: 0, tracksOrigins: false)).bytes
        if !normalized.insert(text, value: index) {
            throw section.malformed(
                "has \(token.content.quoted), which normalizes to nothing or to another added token")
        }
    }
}
