import Chat

/// What is done to a text before it is split.
struct Normalizer: Sendable {
    private enum Step: Sendable {
        case composed
        case decomposed
        case lowercase
        case stripAccents
        case strip(left: Bool, right: Bool)
        case prepend([UInt8])
        case replace(Pattern, [UInt8])
        case byteLevel
    }

    private var steps: [Step] = []
    /// How many times longer the text may become.
    private var growth = 1
    private static let mostSteps = 64
    private static let mostGrowth = 4096

    init(_ section: TokenizerSection?) throws(TokenizationError) {
        if let section { try add(section) }
    }

    var isEmpty: Bool { steps.isEmpty }

    func apply(to text: AlignedText) -> AlignedText {
        var text = text
        for step in steps where !text.bytes.isEmpty { text = Normalizer.apply(step, to: text) }
        return text
    }

    private static func apply(_ step: Step, to text: AlignedText) -> AlignedText {
        switch step {
        case .composed: text.inNormalForm(composed: true)
        case .decomposed: text.inNormalForm(composed: false)
        case .lowercase: text.mapScalars { $0.properties.lowercaseMapping.utf8 }
        case .stripAccents:
            text.mapScalars { (UnicodeNormalization.isMark($0) ? "" : String($0)).utf8 }
        case .strip(let left, let right): text.stripped(left: left, right: right)
        case .prepend(let prefix): text.prepending(prefix)
        case .replace(let pattern, let content): text.replacing(pattern, with: content)
        case .byteLevel: text.spelledInBytes()
        }
    }
}

extension Normalizer {
    private mutating func add(_ section: TokenizerSection) throws(TokenizationError) {
        let type = try section.type()
        switch type {
        case "Sequence":
            for section in try section.sections("normalizers") { try add(section) }
            return
        case "NFC": steps.append(.composed)
        case "NFD": steps.append(.decomposed)
        case "Lowercase": steps.append(.lowercase)
        case "StripAccents": steps.append(.stripAccents)
        case "Strip":
            steps.append(
                .strip(
                    left: try section.bool("strip_left", default: true),
                    right: try section.bool("strip_right", default: true)))
        case "Prepend": steps.append(.prepend(Array(try section.string("prepend").utf8)))
        case "Replace":
            let content = Array(try section.string("content").utf8)
            steps.append(.replace(try section.pattern(), content))
            growth *= content.count + 1
        case "ByteLevel":
            steps.append(.byteLevel)
            growth *= 2
        default: throw section.unsupported("is the normalizer \(type.quoted)")
        }
        if steps.count > Normalizer.mostSteps || growth > Normalizer.mostGrowth {
            throw section.unsupported("is one step too many of those that lengthen a text")
        }
    }
}

extension TokenizerSection {
    /// The member `pattern`: a text to find, or a regular expression.
    func pattern() throws(TokenizationError) -> Pattern {
        let pattern = try section("pattern")
        do throws(PatternSyntaxError) {
            if let text = pattern.present("String")?.string { return try Pattern(literal: text) }
            if let expression = pattern.present("Regex")?.string { return try Pattern(expression) }
        } catch {
            throw pattern.unsupported("has a regular expression with \(error.reason)")
        }
        throw pattern.malformed("has neither \"String\" nor \"Regex\"")
    }
}

extension AlignedText {
    func prepending(_ prefix: some Sequence<UInt8>) -> AlignedText {
        var text = AlignedText(replacing: self)
        text.append(prefix, origin(at: 0))
        text.append(self, 0..<bytes.count)
        return text
    }

    func replacing(_ pattern: Pattern, with content: [UInt8]) -> AlignedText {
        var text = AlignedText(replacing: self)
        var budget = PatternBudget(bytes: bytes.count)
        pattern.spans(in: bytes.span, budget: &budget) { range, isMatch in
            if isMatch {
                text.append(content, originBefore(range.upperBound))
            } else {
                text.append(self, range)
            }
        }
        return text
    }

    func stripped(left: Bool, right: Bool) -> AlignedText {
        var range = 0..<bytes.count
        if left { range = bytes.span.skippingWhitespace(from: range.lowerBound)..<range.upperBound }
        if right, !range.isEmpty {
            range = range.lowerBound..<bytes.span.skippingWhitespaceBack(from: range.upperBound, to: range.lowerBound)
        }
        var text = AlignedText(replacing: self)
        text.append(self, range)
        return text
    }

    func mapScalars(_ map: (Unicode.Scalar) -> String.UTF8View) -> AlignedText {
        var text = AlignedText(replacing: self)
        var index = 0
        while index < bytes.count {
            let (value, width) = bytes.span.scalar(at: index)
            text.append(map(Unicode.Scalar(value)!), origin(at: index))
            index += width
        }
        return text
    }

    func spelledInBytes() -> AlignedText {
        var text = AlignedText(replacing: self)
        for index in bytes.indices {
            text.append(UTF8.encode(ByteLevel.scalars[Int(bytes[index])])!, origin(at: index))
        }
        return text
    }

    func inNormalForm(composed: Bool) -> AlignedText {
        if UnicodeNormalization.isUnchanged(self, composed: composed) { return self }
        let scalars = String(decoding: bytes, as: UTF8.self).unicodeScalars
        var changes = UnicodeNormalization.decompose(scalars)
        if composed { changes = UnicodeNormalization.compose(changes) }
        return applying(changes)
    }

    /// Walks the old text beside the changes, so that each new scalar gets the origin it is due.
    private func applying(_ changes: [UnicodeNormalization.Change]) -> AlignedText {
        var text = AlignedText(replacing: self)
        var index = 0
        for change in changes {
            let isNew = change.change > 0
            let origin = isNew || index >= bytes.count ? originBefore(index) : origin(at: index)
            text.append(UTF8.encode(change.scalar)!, origin)
            if isNew { continue }
            for _ in 0...(-change.change) where index < bytes.count { index += UTF8.width(bytes[index]) }
        }
        return text
    }
}

extension Span<UInt8> {
    /// The first index from `start` on that is not in whitespace.
    func skippingWhitespace(from start: Int) -> Int {
        var index = start
        while index < count {
            let (value, width) = scalar(at: index)
            if !ScalarSet.whitespace.contains(value) { break }
            index += width
        }
        return index
    }

    /// The least index down to `floor` that only whitespace separates from `end`.
    func skippingWhitespaceBack(from end: Int, to floor: Int) -> Int {
        var index = end
        while index > floor {
            let (value, width) = scalar(before: index)
            if !ScalarSet.whitespace.contains(value) { break }
            index -= width
        }
        return index
    }
}
