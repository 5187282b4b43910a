struct JinjaToken: Sendable {
    enum Kind: Hashable, Sendable {
        case data(String)
        case variableBegin
        case variableEnd
        case blockBegin
        case blockEnd
        case name(String)
        case string(String)
        case integer(Int)
        case number(Double)
        case symbol(String)
        case end
    }
    var kind: Kind
    var line: Int

    var text: String {
        switch kind {
        case .data: "text"
        case .variableBegin: "{{"
        case .variableEnd: "}}"
        case .blockBegin: "{%"
        case .blockEnd: "%}"
        case .name(let name): name
        case .string: "a string"
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .symbol(let symbol): symbol
        case .end: "the end of the template"
        }
    }
}

/// Cuts a template into tokens as Jinja does with `trim_blocks` and `lstrip_blocks`.
struct JinjaLexer {
    private let bytes: [UInt8]
    private let name: String
    private var position = 0
    private var line = 1
    /// Whether what was read last ended with a line break, or nothing was read yet.
    private var isLineStart = true
    private var tokens: [JinjaToken] = []

    /// - Parameter source: line breaks of any kind; one at the very end is dropped.
    init(source: String, name: String) {
        var bytes = JinjaText.normalizedNewlines(Array(source.utf8))
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        self.bytes = bytes
        self.name = name
    }

    mutating func run() throws(TemplateError) -> [JinjaToken] {
        while position < bytes.count {
            let opening = nextOpening()
            try emitData(upTo: opening)
            if opening == nil { break }
            switch bytes[position + 1] {
            case UInt8(ascii: "#"): try comment()
            case UInt8(ascii: "{"): try tag(.variableBegin, .variableEnd)
            default:
                if let contentStart = rawBlockStart() {
                    try rawBlock(from: contentStart)
                } else {
                    try tag(.blockBegin, .blockEnd)
                }
            }
        }
        tokens.append(JinjaToken(kind: .end, line: line))
        return tokens
    }

    private func nextOpening() -> Int? {
        var index = position
        while index + 1 < bytes.count {
            if bytes[index] == UInt8(ascii: "{") {
                let next = bytes[index + 1]
                if next == UInt8(ascii: "{") || next == UInt8(ascii: "%") || next == UInt8(ascii: "#") { return index }
            }
            index += 1
        }
        return nil
    }

    /// The text before a tag, with what the tag's sign or `lstrip_blocks` takes off its end.
    private mutating func emitData(upTo opening: Int?) throws(TemplateError) {
        let end = opening ?? bytes.count
        var kept = end
        if let opening {
            kept = keptEnd(
                position..<opening, sign: byte(at: opening + 2), isVariable: bytes[opening + 1] == UInt8(ascii: "{"))
        }
        emit(position..<kept)
        advance(to: end)
    }

    private func keptEnd(_ range: Range<Int>, sign: UInt8?, isVariable: Bool) -> Int {
        if sign == UInt8(ascii: "-") { return JinjaText.endWithoutTrailingSpace(bytes, range) }
        if sign == UInt8(ascii: "+") || isVariable { return range.upperBound }
        let lineBegin = bytes[range].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
        guard lineBegin != nil || isLineStart else { return range.upperBound }
        let begin = lineBegin ?? range.lowerBound
        return JinjaText.endWithoutTrailingSpace(bytes, begin..<range.upperBound) == begin ? begin : range.upperBound
    }

    private mutating func emit(_ range: Range<Int>) {
        if range.isEmpty { return }
        tokens.append(JinjaToken(kind: .data(String(decoding: bytes[range], as: UTF8.self)), line: line))
    }

    private mutating func advance(to end: Int) {
        if end == position { return }
        for index in position..<end where bytes[index] == UInt8(ascii: "\n") { line += 1 }
        isLineStart = bytes[end - 1] == UInt8(ascii: "\n")
        position = end
    }

    private func byte(at index: Int) -> UInt8? { index < bytes.count ? bytes[index] : nil }

    private func isSign(_ byte: UInt8?) -> Bool { byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") }

    /// The end of `-%}` and the space behind it, of `+%}`, or of `%}` and one line break, where one stands at `index`.
    private func closing(_ first: UInt8, _ second: UInt8, at index: Int, trims: Bool = true) -> Int? {
        var index = index
        let sign = byte(at: index)
        if isSign(sign) { index += 1 }
        guard byte(at: index) == first, byte(at: index + 1) == second else { return nil }
        index += 2
        if sign == UInt8(ascii: "-") { return JinjaText.startWithoutLeadingSpace(bytes, index..<bytes.count) }
        if trims, sign != UInt8(ascii: "+"), byte(at: index) == UInt8(ascii: "\n") { return index + 1 }
        return index
    }

    private mutating func comment() throws(TemplateError) {
        var index = position + 2
        if isSign(byte(at: index)) { index += 1 }
        while index < bytes.count {
            if let end = closing(UInt8(ascii: "#"), UInt8(ascii: "}"), at: index) {
                advance(to: end)
                return
            }
            index += 1
        }
        // The original does not miss the end of an empty comment, or of an empty raw block, at the very end.
        if position + 2 >= bytes.count { return advance(to: bytes.count) }
        throw error("a comment has no end (#})")
    }

    /// Where the content begins if `{% raw %}` stands here.
    private func rawBlockStart() -> Int? {
        guard let index = word("raw", at: position) else { return nil }
        let sign = byte(at: index)
        return sign == UInt8(ascii: "+")
            ? nil : closing(UInt8(ascii: "%"), UInt8(ascii: "}"), at: index, trims: false)
    }

    /// The index behind `{%`, a sign, space, `word` and space.
    private func word(_ word: StaticString, at start: Int) -> Int? {
        guard byte(at: start) == UInt8(ascii: "{"), byte(at: start + 1) == UInt8(ascii: "%") else { return nil }
        var index = start + 2
        if isSign(byte(at: index)) { index += 1 }
        index = JinjaText.startWithoutLeadingSpace(bytes, index..<bytes.count)
        for offset in 0..<word.utf8CodeUnitCount {
            guard byte(at: index + offset) == word.utf8Start[offset] else { return nil }
        }
        return JinjaText.startWithoutLeadingSpace(bytes, (index + word.utf8CodeUnitCount)..<bytes.count)
    }

    private mutating func rawBlock(from contentStart: Int) throws(TemplateError) {
        advance(to: contentStart)
        var index = position
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "{"), let behind = word("endraw", at: index),
                let end = closing(UInt8(ascii: "%"), UInt8(ascii: "}"), at: behind)
            {
                emit(position..<keptEnd(position..<index, sign: byte(at: index + 2), isVariable: false))
                advance(to: end)
                return
            }
            index += 1
        }
        if position == bytes.count { return }
        throw error("a raw block has no {% endraw %}")
    }

    private mutating func tag(_ begin: JinjaToken.Kind, _ end: JinjaToken.Kind) throws(TemplateError) {
        tokens.append(JinjaToken(kind: begin, line: line))
        var start = position + 2
        if isSign(byte(at: start)) { start += 1 }
        advance(to: start)
        var open: [UInt8] = []
        let isBlock = end == .blockEnd
        while position < bytes.count {
            let space = JinjaText.startWithoutLeadingSpace(bytes, position..<bytes.count)
            advance(to: space)
            if open.isEmpty, let close = tagEnd(isBlock) {
                tokens.append(JinjaToken(kind: end, line: line))
                advance(to: close)
                return
            }
            if position < bytes.count { try token(&open) }
        }
        throw error(isBlock ? "a tag has no end (%})" : "an expression has no end (}})")
    }

    private func tagEnd(_ isBlock: Bool) -> Int? {
        if isBlock { return closing(UInt8(ascii: "%"), UInt8(ascii: "}"), at: position) }
        if byte(at: position) == UInt8(ascii: "+") { return nil }
        return closing(UInt8(ascii: "}"), UInt8(ascii: "}"), at: position, trims: false)
    }

    private mutating func token(_ open: inout [UInt8]) throws(TemplateError) {
        let first = bytes[position]
        if first == UInt8(ascii: "'") || first == UInt8(ascii: "\"") {
            try string(quote: first)
        } else if isDigit(first) {
            try number()
        } else if let end = nameEnd() {
            try name(upTo: end)
        } else {
            try symbol(&open)
        }
    }

    private func isDigit(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private func nameEnd() -> Int? {
        var index = position
        while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
        return index > position ? index : nil
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
            || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }

    private mutating func name(upTo end: Int) throws(TemplateError) {
        let text = String(decoding: bytes[position..<end], as: UTF8.self)
        guard JinjaText.isIdentifier(text) else { throw error("\(JinjaText.quoted(text)) is not a name") }
        tokens.append(JinjaToken(kind: .name(text), line: line))
        advance(to: end)
    }

    private mutating func string(quote: UInt8) throws(TemplateError) {
        var index = position + 1
        while index < bytes.count, bytes[index] != quote {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < bytes.count else { throw error("a string has no closing quote") }
        let text = try unescaped(bytes[(position + 1)..<index])
        tokens.append(JinjaToken(kind: .string(text), line: line))
        advance(to: index + 1)
    }

    /// The digits from `start`, single underscores between them allowed.
    private func digitsEnd(from start: Int, _ isAllowed: (UInt8) -> Bool) -> Int {
        var index = start
        while let byte = byte(at: index) {
            if isAllowed(byte) {
                index += 1
            } else if byte == UInt8(ascii: "_"), index > start, let next = self.byte(at: index + 1), isAllowed(next) {
                index += 2
            } else {
                break
            }
        }
        return index
    }

    private mutating func number() throws(TemplateError) {
        let start = position
        let isAfterDot = start > 0 && bytes[start - 1] == UInt8(ascii: ".")
        if !isAfterDot, let end = floatEnd() {
            let text = String(decoding: bytes[start..<end].filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
            guard let value = Double(text) else { throw error("\(text) is not a number") }
            tokens.append(JinjaToken(kind: .number(value), line: line))
            advance(to: end)
            return
        }
        let (end, radix) = integerEnd()
        let digits = bytes[(radix == 10 ? start : start + 2)..<end].filter { $0 != UInt8(ascii: "_") }
        guard let value = Int(String(decoding: digits, as: UTF8.self), radix: radix) else {
            throw error("the integer \(String(decoding: bytes[start..<end].prefix(40), as: UTF8.self)) is too large")
        }
        tokens.append(JinjaToken(kind: .integer(value), line: line))
        advance(to: end)
    }

    /// The end of a number with a fraction or an exponent.
    private func floatEnd() -> Int? {
        var end = digitsEnd(from: position, isDigit)
        var isFloat = false
        if byte(at: end) == UInt8(ascii: "."), isDigit(byte(at: end + 1)) {
            end = digitsEnd(from: end + 1, isDigit)
            isFloat = true
        }
        if let letter = byte(at: end), letter | 0x20 == UInt8(ascii: "e") {
            let digits = isSign(byte(at: end + 1)) ? end + 2 : end + 1
            if isDigit(byte(at: digits)) {
                end = digitsEnd(from: digits, isDigit)
                isFloat = true
            }
        }
        return isFloat ? end : nil
    }

    private func integerEnd() -> (end: Int, radix: Int) {
        guard bytes[position] == UInt8(ascii: "0") else { return (digitsEnd(from: position, isDigit), 10) }
        let radixes: [(letter: UInt8, radix: Int)] = [
            (UInt8(ascii: "b"), 2), (UInt8(ascii: "o"), 8), (UInt8(ascii: "x"), 16),
        ]
        for (letter, radix) in radixes where byte(at: position + 1).map({ $0 | 0x20 }) == letter {
            var start = position + 2
            if byte(at: start) == UInt8(ascii: "_") { start += 1 }
            let end = digitsEnd(from: start) { digit($0) < radix }
            if end > start { return (end, radix) }
        }
        return (digitsEnd(from: position) { $0 == UInt8(ascii: "0") }, 10)
    }

    private func digit(_ byte: UInt8) -> Int {
        if isDigit(byte) { return Int(byte) - 48 }
        let letter = Int(byte | 0x20) - 97
        return letter >= 0 && letter < 26 ? letter + 10 : 99
    }

    private static let symbols = [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=",
        ".", ":", "|", ",", ";",
    ].map { Array($0.utf8) }

    private mutating func symbol(_ open: inout [UInt8]) throws(TemplateError) {
        for symbol in JinjaLexer.symbols where bytes[position...].starts(with: symbol) {
            try balance(symbol[0], &open)
            tokens.append(JinjaToken(kind: .symbol(String(decoding: symbol, as: UTF8.self)), line: line))
            advance(to: position + symbol.count)
            return
        }
        throw error("unexpected character \(JinjaText.quoted(String(Unicode.Scalar(bytes[position]))))")
    }

    private func balance(_ symbol: UInt8, _ open: inout [UInt8]) throws(TemplateError) {
        switch symbol {
        case UInt8(ascii: "("): open.append(UInt8(ascii: ")"))
        case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
        case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
        case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"):
            guard open.popLast() == symbol else { throw error("unexpected \(Unicode.Scalar(symbol))") }
        default: break
        }
    }

    /// Python's escapes; an unknown one keeps its backslash.
    private func unescaped(_ text: ArraySlice<UInt8>) throws(TemplateError) -> String {
        guard text.contains(UInt8(ascii: "\\")) else { return String(decoding: text, as: UTF8.self) }
        var output: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] != UInt8(ascii: "\\") {
                output.append(text[index])
                index += 1
                continue
            }
            let letter = text[index + 1]
            index += 2
            if let simple = JinjaLexer.simpleEscape(letter) {
                output += simple
            } else if letter >= UInt8(ascii: "0") && letter <= UInt8(ascii: "7") {
                let end = text[(index - 1)...].prefix(3).prefix { $0 >= 48 && $0 <= 55 }.endIndex
                try append(text[(index - 1)..<end], radix: 8, to: &output)
                index = end
            } else if let count = [UInt8(ascii: "x"): 2, UInt8(ascii: "u"): 4, UInt8(ascii: "U"): 8][letter] {
                let digits = text[index...].prefix(count)
                guard digits.count == count else { throw error("a string has a truncated escape") }
                try append(digits, radix: 16, to: &output)
                index = digits.endIndex
            } else if letter == UInt8(ascii: "N") {
                throw error("a string has a \\N escape; write the character itself")
            } else {
                output += [UInt8(ascii: "\\"), letter]
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func simpleEscape(_ letter: UInt8) -> [UInt8]? {
        switch letter {
        case UInt8(ascii: "n"): [0x0A]
        case UInt8(ascii: "t"): [0x09]
        case UInt8(ascii: "r"): [0x0D]
        case UInt8(ascii: "a"): [0x07]
        case UInt8(ascii: "b"): [0x08]
        case UInt8(ascii: "f"): [0x0C]
        case UInt8(ascii: "v"): [0x0B]
        case UInt8(ascii: "\n"): []
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): [letter]
        default: nil
        }
    }

    private func append(_ digits: ArraySlice<UInt8>, radix: Int, to output: inout [UInt8]) throws(TemplateError) {
        guard digits.allSatisfy({ digit($0) < radix }),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: radix),
            let scalar = Unicode.Scalar(value)
        else { throw error("a string has an escape that is no character") }
        output += Array(String(scalar).utf8)
    }

    private func error(_ reason: String) -> TemplateError {
        .syntax(TemplateError.Place(template: name, line: line), reason)
    }
}
