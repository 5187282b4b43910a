import Chat

/// What checks count in an output.
package enum TextUnit: String, CaseIterable, Sendable {
    /// Runs without white space that hold a letter or a digit.
    case words
    /// Runs that end with . ! or ? before white space or the end; words behind the last of them are one more.
    case sentences
    /// Lines that are not blank.
    case lines
    /// Runs of lines that are not blank.
    case paragraphs
    /// Unicode scalars, white space around the output left out.
    case characters
    /// Lines that begin with -, * or •, or with a number and . or ).
    case listItems = "list_items"
}

/// An output cut into what checks ask for.
struct OutputText {
    private let text: String
    /// In lower case, without punctuation around them.
    private let words: [String]

    init(_ output: String) {
        text = output.trimmed
        words = text.split(whereSeparator: \.isWhitespace).compactMap { OutputText.word($0)?.lowercased() }
    }

    static func equals(_ output: String, _ text: String, ignoresCase: Bool) -> Bool {
        let (output, text) = (output.trimmed, text.trimmed)
        return ignoresCase ? output.lowercased() == text.lowercased() : output == text
    }

    /// Whether the word, or the run of words, is there.
    func contains(_ phrase: String) -> Bool {
        let phrase = OutputText(phrase).words
        return !phrase.isEmpty && words.indices.contains { words[$0...].starts(with: phrase) }
    }

    /// Those of `phrases` that are there, as often and in the order as they are; where two begin at one place, the longer.
    func occurrences(of phrases: [String]) -> [String] {
        let wanted = phrases.map { (phrase: $0, words: OutputText($0).words) }.filter { !$0.words.isEmpty }
            .sorted { $0.words.count > $1.words.count }
        var found: [String] = []
        var place = 0
        while place < words.count {
            if let match = wanted.first(where: { words[place...].starts(with: $0.words) }) {
                found.append(match.phrase)
                place += match.words.count
            } else {
                place += 1
            }
        }
        return found
    }

    func count(_ unit: TextUnit) -> Int {
        switch unit {
        case .words: words.count
        case .sentences: sentenceCount
        case .lines: lines.count { !$0.isEmpty }
        case .paragraphs: lines.split(separator: "").count
        case .characters: text.unicodeScalars.count
        case .listItems: lines.count(where: OutputText.isListItem)
        }
    }

    /// Whether there are letters, and all that have a case have this one.
    func isWritten(in letterCase: Check.LetterCase) -> Bool {
        let cased = text.filter { $0.isUppercase || $0.isLowercase }
        return !cased.isEmpty
            && cased.allSatisfy { letterCase == .upper ? $0.isUppercase : $0.isLowercase }
    }

    /// Digits with a point and groups of three behind commas; a minus counts where no letter or digit precedes it.
    var lastNumber: Double? {
        var last: Double?
        var rest = text[...]
        while let start = rest.firstIndex(where: OutputText.isDigit) {
            let before = text[..<start]
            let isNegative =
                before.last.map { "-\u{2212}".contains($0) } == true
                && before.dropLast().last.map { !$0.isLetter && !$0.isNumber } != false
            let number = OutputText.numberPrefix(text[start...])
            last = Double(number.filter { $0 != "," }).map { isNegative ? -$0 : $0 } ?? last
            rest = text[number.endIndex...]
        }
        return last
    }

    var json: JSONValue? {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.count >= 2, lines[0].hasPrefix("```"), lines.last == "```" {
            lines = Array(lines[1..<(lines.count - 1)])
        }
        return try? JSONValue(parsing: Array(lines.joined(separator: "\n").utf8))
    }

    private var lines: [String] {
        text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { String($0).trimmed }
    }

    private var sentenceCount: Int {
        var count = 0
        var isOpen = false
        for piece in text.split(whereSeparator: \.isWhitespace) {
            if OutputText.word(piece) != nil { isOpen = true }
            let end = piece.last { !"\"')]}\u{201D}\u{2019}".contains($0) }
            if isOpen, let end, ".!?".contains(end) {
                count += 1
                isOpen = false
            }
        }
        return isOpen ? count + 1 : count
    }

    /// Without punctuation and symbols around it; nil where nothing is left.
    private static func word(_ piece: Substring) -> Substring? {
        func isPart(_ character: Character) -> Bool { character.isLetter || character.isNumber }
        guard let first = piece.firstIndex(where: isPart), let last = piece.lastIndex(where: isPart) else { return nil }
        return piece[first...last]
    }

    private static func isListItem(_ line: String) -> Bool {
        guard let marker = line.split(separator: " ", maxSplits: 1).first, marker.count < line.count else {
            return false
        }
        if ["-", "*", "\u{2022}"].contains(marker) { return true }
        guard let end = marker.last, ".)".contains(end) else { return false }
        return marker.count > 1 && marker.dropLast().allSatisfy(OutputText.isDigit)
    }

    private static func isDigit(_ character: Character) -> Bool { character.isASCII && character.isNumber }

    private static func numberPrefix(_ text: Substring) -> Substring {
        func digits(from start: Substring.Index) -> Substring { text[start...].prefix(while: isDigit) }
        var end = digits(from: text.startIndex).endIndex
        if text.distance(from: text.startIndex, to: end) <= 3 {
            while text[end...].first == ",", digits(from: text.index(after: end)).count == 3 {
                end = digits(from: text.index(after: end)).endIndex
            }
        }
        if text[end...].first == ".", case let fraction = digits(from: text.index(after: end)), !fraction.isEmpty {
            end = fraction.endIndex
        }
        return text[..<end]
    }
}
