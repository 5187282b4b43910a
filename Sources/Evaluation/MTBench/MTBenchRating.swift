/// How FastChat's llm_judge (0e6d3e4) reads a judge's reply.
package enum MTBenchReply {
    /// No scale goes so far; sums of squares stay finite, and integers exact.
    static let largestRating = 1e15

    /// The number in the first double brackets, or else in the first single ones.
    ///
    /// Any number up to 1e15 is taken, as upstream takes it. What upstream dies of, a number that Python does not read, is
    /// missing.
    package static func rating(_ reply: String) -> Verdict {
        let text = Array(reply.unicodeScalars)
        guard let found = firstNumber(text, brackets: 2) ?? firstNumber(text, brackets: 1) else {
            return .missing(.unparsable("the reply holds no rating in brackets"))
        }
        let isInteger = !found.contains(".")
        let hasLeadingZero = found.count > 1 && found.hasPrefix("0") && !found.allSatisfy { $0 == "0" }
        guard found.unicodeScalars.allSatisfy(\.isASCII), !(isInteger && hasLeadingZero), let value = Double(found)
        else {
            return .missing(.unparsable("the rating [[\(found.prefix(40))]] is not a number that llm_judge reads"))
        }
        guard value <= largestRating else {
            return .missing(.unparsable("the rating [[\(found.prefix(40))]] is beyond 1e15, as no scale is"))
        }
        return .rating(value)
    }

    /// Of a game between A and B.
    package enum Winner: Sendable { case a, b, tie }

    /// `[[A]]` wherever it stands, or else `[[B]]`, or else `[[C]]` for a tie; nil where there is none of them.
    package static func winner(_ reply: String) -> Winner? {
        if holds("[[A]]", reply) { return .a }
        if holds("[[B]]", reply) { return .b }
        return holds("[[C]]", reply) ? .tie : nil
    }

    /// In double brackets.
    static func holdsSeveralRatings(_ reply: String) -> Bool {
        Set(numbers(Array(reply.unicodeScalars), brackets: 2)).count > 1
    }

    /// In double brackets.
    static func holdsRating(_ reply: String) -> Bool {
        firstNumber(Array(reply.unicodeScalars), brackets: 2) != nil
    }

    static func holdsSeveralWinners(_ reply: String) -> Bool {
        ["[[A]]", "[[B]]", "[[C]]"].count { holds($0, reply) } > 1
    }

    /// Byte by byte, as Python searches: an accent behind the bracket is a character with it.
    static func holds(_ mark: String, _ text: String) -> Bool { text.utf8.contains(mark.utf8) }

    private static func firstNumber(_ text: [Unicode.Scalar], brackets: Int) -> String? {
        numbers(text, brackets: brackets, most: 1).first
    }

    /// Digits, which may have a point among or behind them, between so many brackets.
    private static func numbers(_ text: [Unicode.Scalar], brackets: Int, most: Int = .max) -> [String] {
        var found: [String] = []
        func stand(_ bracket: Unicode.Scalar, at place: Int) -> Bool {
            place + brackets <= text.count && text[place..<(place + brackets)].allSatisfy { $0 == bracket }
        }
        func digits(from place: Int) -> Int {
            var end = place
            while end < text.count, text[end].properties.generalCategory == .decimalNumber { end += 1 }
            return end
        }
        for place in text.indices where stand("[", at: place) {
            let start = place + brackets
            var end = digits(from: start)
            if end == start { continue }
            if end < text.count, text[end] == "." { end = digits(from: end + 1) }
            if stand("]", at: end) {
                found.append(text[start..<end].reduce(into: "") { $0.unicodeScalars.append($1) })
                if found.count == most { break }
            }
        }
        return found
    }
}
