/// OpenAI's byte-pair encodings, from the file of ranks that tiktoken reads: how many tokens a text is.
///
/// Special tokens are text like any other, as arena-hard-auto counts them.
package struct TokenRanks: Sendable {
    /// How an encoding cuts a text into pieces (tiktoken 0.12, `openai_public.py`).
    package enum Encoding: String, CaseIterable, Sendable {
        case cl100k = "cl100k_base"
        case o200k = "o200k_base"

        fileprivate var pattern: String {
            switch self {
            case .cl100k:
                #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"#
                    + #"\s+(?!\S)|\s+"#
            case .o200k:
                #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#
                    + #"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"#
                    + #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#
                    + #"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"#
                    + #"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
            }
        }
    }

    /// By a token's bytes its rank.
    private var ranks = Vocabulary()
    private let pattern: Pattern

    /// Reads lines of a token in base64 and its rank.
    ///
    /// - Throws: `malformed` naming the line, or where one of the 256 bytes is no token.
    package init(_ bytes: [UInt8], path: String, encoding: Encoding) throws(TokenizationError) {
        do throws(PatternSyntaxError) {
            pattern = try Pattern(encoding.pattern)
        } catch {
            preconditionFailure("the pattern of \(encoding) is ours: \(error)")
        }
        ranks.reserve(bytes.count / 16)
        var token: [UInt8] = []
        for (number, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
            guard let space = line.firstIndex(of: UInt8(ascii: " ")), TokenRanks.decode(line[..<space], into: &token),
                let rank = Int32(String(decoding: line[(space + 1)...], as: UTF8.self)), rank >= 0,
                rank < Vocabulary.largestSize, ranks.insert(token.span, rank)
            else {
                throw .malformed(
                    path: path, place: "line \(number + 1)", problem: "should be a new token in base64 and its rank")
            }
        }
        for byte in UInt8.min...UInt8.max where ranks.id(of: [byte].span) == nil {
            throw .malformed(path: path, place: "the file", problem: "has no token for the byte \(byte)")
        }
    }

    private static func decode(_ text: ArraySlice<UInt8>, into bytes: inout [UInt8]) -> Bool {
        bytes.removeAll(keepingCapacity: true)
        var bits: UInt32 = 0
        var count = 0
        for digit in text {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="): continue
            default: return false
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return !bytes.isEmpty
    }

    /// How many tokens `text` is.
    package func count(_ text: String) -> Int {
        var text = text
        return text.withUTF8 { utf8 in
            let span = utf8.span
            var merger = Merger(ranks: ranks)
            var budget = PatternBudget(bytes: span.count)
            var count = 0
            pattern.spans(in: span, budget: &budget) { range, _ in
                if !range.isEmpty { count += merger.count(span.extracting(range)) }
            }
            return count
        }
    }

    /// Merges the bytes of a piece, the pair of the lowest rank before all others, the leftmost of equals.
    private struct Merger {
        let ranks: Vocabulary
        /// Of the token that starts at a byte its length, and where the one before it starts; 0 where none starts.
        private var lengths: [Int] = []
        private var previous: [Int] = []
        private var queue = MergeQueue()

        init(ranks: Vocabulary) { self.ranks = ranks }

        mutating func count(_ piece: Span<UInt8>) -> Int {
            if piece.count == 1 || ranks.id(of: piece) != nil { return 1 }
            lengths = [Int](repeating: 1, count: piece.count)
            previous = Array(-1..<(piece.count - 1))
            queue.removeAll()
            for start in 0..<(piece.count - 1) {
                if let rank = rank(piece, start) { queue.append(rank: rank, position: start) }
            }
            queue.heapify()
            var count = piece.count
            while let (rank, start) = queue.popLeast() {
                // An entry is out of date when its token, or the next, has since become part of another.
                guard lengths[start] > 0, self.rank(piece, start) == rank else { continue }
                let next = start + lengths[start]
                lengths[start] += lengths[next]
                lengths[next] = 0
                let after = start + lengths[start]
                if after < piece.count { previous[after] = start }
                count -= 1
                for left in [previous[start], start] where left >= 0 {
                    if let rank = self.rank(piece, left) { queue.push(rank: rank, position: left) }
                }
            }
            return count
        }

        /// Of the token that starts at `start` merged with the next.
        private func rank(_ piece: Span<UInt8>, _ start: Int) -> Int32? {
            let next = start + lengths[start]
            return next < piece.count ? ranks.id(of: piece.extracting(start..<(next + lengths[next]))) : nil
        }
    }
}
