package import Chat

/// Learns a byte-level BPE vocabulary from texts, with the order of merges that the tokenizers library's `BpeTrainer`
/// finds: the most frequent pair first, of equally frequent ones that with the lower ids.
///
/// Texts are cut as the file that it writes says: digits one by one, then GPT-2's pattern.
package struct BytePairTrainer {
    /// Tokens in the order of their ids: special ones, the 256 bytes by their character's code, then what was merged.
    private var tokens: [String]
    private var merges: [(left: Int, right: Int)] = []
    private let specialTokens: [String]
    private var words: [Word]
    private var counts: [Pair: Int] = [:]
    /// The words in which a pair was, at some time.
    private var places: [Pair: Set<Int>] = [:]

    private struct Word {
        var symbols: [Int]
        var count: Int

        var pairs: some Sequence<Pair> { zip(symbols, symbols.dropFirst()).lazy.map { Pair(left: $0, right: $1) } }
    }

    private struct Pair: Hashable, Comparable {
        var left: Int
        var right: Int

        static func < (a: Pair, b: Pair) -> Bool { (a.left, a.right) < (b.left, b.right) }
    }

    /// - Parameters:
    ///   - vocabularySize: reached unless the texts have no more pairs that stand at least twice.
    ///   - specialTokens: with the ids from 0 on.
    package init(_ texts: some Sequence<String>, vocabularySize: Int, specialTokens: [String]) throws(TokenizationError)
    {
        self.specialTokens = specialTokens
        let alphabet = ByteLevel.scalars.sorted { $0.value < $1.value }
        tokens = specialTokens + alphabet.map { String(Character($0)) }
        precondition(vocabularySize >= tokens.count, "\(vocabularySize) tokens cannot hold \(tokens.count)")
        let ids = Dictionary(uniqueKeysWithValues: zip(alphabet, specialTokens.count...))
        words = try Self.pieces(of: texts).map { piece, count in
            Word(symbols: piece.map { ids[ByteLevel.scalars[Int($0)]]! }, count: count)
        }
        for (place, word) in words.enumerated() { note(word, at: place, 1) }
        while tokens.count < vocabularySize, let pair = mostFrequent { merge(pair) }
    }

    /// How often each piece stands in the texts, in the order of the pieces.
    private static func pieces(
        of texts: some Sequence<String>
    ) throws(TokenizationError) -> [(piece: [UInt8], count: Int)] {
        let section = try TokenizerSection(path: "tokenizer.json", place: "pre_tokenizer", value: preTokenizer)
        let preTokenizer = try PreTokenizer(section)
        var counts: [[UInt8]: Int] = [:]
        for text in texts {
            var buffer = PieceBuffer(AlignedText(bytes: Array(text.utf8), base: 0, tracksOrigins: false))
            preTokenizer.apply(to: &buffer)
            for piece in buffer.pieces { counts[Array(buffer.text.bytes[piece]), default: 0] += 1 }
        }
        return counts.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { ($0.key, $0.value) }
    }

    private mutating func note(_ word: Word, at place: Int, _ sign: Int) {
        for pair in word.pairs {
            counts[pair, default: 0] += sign * word.count
            if sign > 0 { places[pair, default: []].insert(place) }
        }
    }

    private var mostFrequent: Pair? {
        let best = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }
        return best.flatMap { $0.value >= 2 ? $0.key : nil }
    }

    private mutating func merge(_ pair: Pair) {
        let token = tokens.count
        tokens.append(tokens[pair.left] + tokens[pair.right])
        merges.append((pair.left, pair.right))
        for place in places[pair] ?? [] {
            note(words[place], at: place, -1)
            var symbols: [Int] = []
            for symbol in words[place].symbols {
                // Pairs are taken from the left; a symbol that was merged here cannot be a left half again.
                if symbol == pair.right, symbols.last == pair.left {
                    symbols[symbols.count - 1] = token
                } else {
                    symbols.append(symbol)
                }
            }
            words[place].symbols = symbols
            note(words[place], at: place, 1)
        }
        counts[pair] = nil
        places[pair] = nil
    }
}

// MARK: - The file

extension BytePairTrainer {
    private static let byteLevel: JSONValue = [
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    ]
    private static let preTokenizer: JSONValue = [
        "type": "Sequence", "pretokenizers": [["type": "Digits", "individual_digits": true], byteLevel],
    ]

    package var vocabularySize: Int { tokens.count }

    /// What was learned, as a `tokenizer.json`.
    package var json: JSONValue {
        let added = specialTokens.enumerated().map { id, content -> JSONValue in
            [
                "id": .integer(id), "content": .string(content), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            ]
        }
        var vocabulary = JSONObject()
        for (id, token) in tokens.enumerated() { vocabulary[token] = .integer(id) }
        return [
            "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
            "normalizer": .null, "pre_tokenizer": Self.preTokenizer, "post_processor": .null,
            "decoder": Self.byteLevel,
            "model": [
                "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
                "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": .object(vocabulary),
                "merges": .array(merges.map { .array([.string(tokens[$0.left]), .string(tokens[$0.right])]) }),
            ],
        ]
    }
}
