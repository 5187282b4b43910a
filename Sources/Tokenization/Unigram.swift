import Chat

/// The unigram model: the pieces of the text whose log probabilities have the greatest sum.
struct Unigram: Sendable {
    let vocabulary: Vocabulary
    private let trie: ByteTrie
    private let scores: [Double]
    private let unknown: TokenID?
    private let unknownScore: Double
    private let byteTokens: [TokenID]

    /// What an unknown character costs beyond the least probable token, in nats.
    private static let unknownPenalty = 10.0

    /// A best way to some place in the text: its score, and its last token.
    fileprivate struct Step {
        var score = 0.0
        var start = -1
        var id: TokenID = -1
    }

    func encode(_ piece: Span<UInt8>, into tokens: inout [PieceToken]) {
        let steps = bestSteps(piece)
        var path: [(id: TokenID, range: Range<Int>)] = []
        var end = piece.count
        while end > 0 {
            let step = steps[end]
            // Unknown characters side by side are one token.
            if step.id == unknown, let last = path.last, last.id == unknown {
                path[path.count - 1].range = step.start..<last.range.upperBound
            } else {
                path.append((step.id, step.start..<end))
            }
            end = step.start
        }
        for (id, range) in path.reversed() { add(id, piece.extracting(range), &tokens) }
    }

    private func add(_ id: TokenID, _ text: Span<UInt8>, _ tokens: inout [PieceToken]) {
        if id == unknown {
            if let known = vocabulary.id(of: text) {
                tokens.append(PieceToken(id: known, length: text.count))
                return
            }
            if text.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
                for index in text.indices { tokens.append(PieceToken(id: byteTokens[Int(text[index])], length: 1)) }
                return
            }
        }
        if id >= 0 { tokens.append(PieceToken(id: id, length: text.count)) }
    }

    private func bestSteps(_ piece: Span<UInt8>) -> [Step] {
        var steps = [Step](repeating: Step(), count: piece.count + 1)
        var start = 0
        while start < piece.count {
            let score = steps[start].score
            let next = start + UTF8.width(piece[start])
            var hasCharacter = false
            trie.matches(in: piece, at: start) { id, end in
                steps[end].improve(score + scores[id], start, TokenID(id))
                if end == next { hasCharacter = true }
            }
            if !hasCharacter { steps[next].improve(score + unknownScore, start, unknown ?? -1) }
            start = next
        }
        return steps
    }
}

extension Unigram.Step {
    fileprivate mutating func improve(_ score: Double, _ start: Int, _ id: TokenID) {
        if self.start < 0 || score > self.score { self = Unigram.Step(score: score, start: start, id: id) }
    }
}

extension Unigram {
    init(_ section: TokenizerSection) throws(TokenizationError) {
        let pairs = try section.array("vocab")
        if pairs.isEmpty { throw section.malformed("has an empty \"vocab\"") }
        if pairs.count > Vocabulary.largestSize { throw section.malformed("has too large a \"vocab\"") }
        var vocabulary = Vocabulary()
        var trie = ByteTrie()
        var scores: [Double] = []
        vocabulary.reserve(pairs.count)
        for (id, pair) in pairs.enumerated() {
            guard let text = pair[0]?.string, let score = pair[1]?.number, pair.array?.count == 2 else {
                throw section.malformed("has an entry at \(id) of \"vocab\" that is not a token and its score")
            }
            if !vocabulary.insert(text, TokenID(id)) { throw section.malformed("has the token \(text.quoted) twice") }
            if text.utf8.count > ByteTrie.longestText { throw section.unsupported("has a token that is too long") }
            _ = trie.insert(text.utf8, value: Int32(id))
            scores.append(score)
        }
        let isFallingBack = try section.bool("byte_fallback", default: false)
        byteTokens = (UInt8.min...UInt8.max).map { byte in
            isFallingBack ? vocabulary.id(of: ByteToken.name(of: byte)) ?? -1 : -1
        }
        self.vocabulary = vocabulary
        self.trie = trie
        self.scores = scores
        unknownScore = (scores.min() ?? 0) - Unigram.unknownPenalty
        unknown = try section.present("unk_id").map { (value) throws(TokenizationError) in
            try section.tokenID(value, "unk_id")
        }
        if let unknown, Int(unknown) >= pairs.count { throw section.malformed("has an unk_id beyond its \"vocab\"") }
    }
}
