internal import Glibc

/// Python's `str`, by code point, on Swift strings; nothing here is ever compared or cut by grapheme.
enum JinjaText {
    // MARK: Bytes of a template

    static func normalizedNewlines(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.contains(0x0D) else { return bytes }
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        for (index, byte) in bytes.enumerated() {
            if byte == 0x0D {
                output.append(0x0A)
            } else if byte != 0x0A || index == 0 || bytes[index - 1] != 0x0D {
                output.append(byte)
            }
        }
        return output
    }

    static func startWithoutLeadingSpace(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
        var index = range.lowerBound
        while index < range.upperBound, let length = spaceLength(bytes, at: index, end: range.upperBound) {
            index += length
        }
        return min(index, range.upperBound)
    }

    static func endWithoutTrailingSpace(_ bytes: [UInt8], _ range: Range<Int>) -> Int {
        var end = range.upperBound
        while end > range.lowerBound {
            var start = end - 1
            while start > range.lowerBound, bytes[start] & 0xC0 == 0x80 { start -= 1 }
            guard spaceLength(bytes, at: start, end: end) == end - start else { break }
            end = start
        }
        return end
    }

    private static func spaceLength(_ bytes: [UInt8], at index: Int, end: Int) -> Int? {
        let first = bytes[index]
        if first < 0x80 { return isSpace(Unicode.Scalar(first)) ? 1 : nil }
        if first & 0xE0 == 0xC0, index + 1 < end {
            let value = UInt32(first & 0x1F) << 6 | UInt32(bytes[index + 1] & 0x3F)
            return Unicode.Scalar(value).map(isSpace) == true ? 2 : nil
        }
        if first & 0xF0 == 0xE0, index + 2 < end {
            let value =
                UInt32(first & 0x0F) << 12 | UInt32(bytes[index + 1] & 0x3F) << 6 | UInt32(bytes[index + 2] & 0x3F)
            return Unicode.Scalar(value).map(isSpace) == true ? 3 : nil
        }
        return nil
    }

    // MARK: Code points

    /// What `str.isspace` and the `\s` of `re` take for space.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    static func isLineBreak(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    static func isAlphabetic(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    static func isDecimal(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.numericType == .decimal }
    static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.numericType == .decimal || scalar.properties.numericType == .digit
    }
    static func isNumeric(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.numericType != nil }
    static func isAlphanumeric(_ scalar: Unicode.Scalar) -> Bool { isAlphabetic(scalar) || isNumeric(scalar) }
    /// The `\w` of `re`.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool { scalar == "_" || isAlphanumeric(scalar) }

    static func isLower(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isLowercase }
    static func isUpper(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isUppercase }
    static func isTitle(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .titlecaseLetter }
    static func isCased(_ scalar: Unicode.Scalar) -> Bool { isLower(scalar) || isUpper(scalar) || isTitle(scalar) }

    static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        case .spaceSeparator: scalar == " "
        default: true
        }
    }

    static func isIdentifier(_ text: String) -> Bool {
        guard let first = text.unicodeScalars.first, first == "_" || first.properties.isXIDStart else { return false }
        return text.unicodeScalars.allSatisfy { $0.properties.isXIDContinue }
    }

    // MARK: Comparison

    /// The same code points: Swift's `==` also takes composed and decomposed letters for the same.
    static func isSame(_ left: String, _ right: String) -> Bool {
        guard left.utf8.count == right.utf8.count else { return false }
        return withBytes(left) { left in
            withBytes(right) { right in left.isEmpty || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0 }
        }
    }

    /// Code point order is the order of the bytes in UTF-8.
    static func isLess(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }

    static func withBytes<Result>(_ text: String, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        if let result = text.utf8.withContiguousStorageIfAvailable(body) { return result }
        return Array(text.utf8).withUnsafeBufferPointer(body)
    }

    static func isASCII(_ text: String) -> Bool { withBytes(text) { $0.allSatisfy { $0 < 0x80 } } }

    /// Length in code points.
    static func length(_ text: String) -> Int {
        withBytes(text) { bytes in
            var count = 0
            for byte in bytes { count &+= byte & 0xC0 == 0x80 ? 0 : 1 }
            return count
        }
    }

    static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        var output = String.UnicodeScalarView()
        output.append(contentsOf: scalars)
        return String(output)
    }

    // MARK: Search; offsets are in bytes

    static func offset(of needle: String, in text: String, from start: Int = 0) -> Int? {
        withBytes(text) { bytes in
            withBytes(needle) { needle in
                occurrences(of: needle, in: UnsafeBufferPointer(rebasing: bytes[start...]), limit: 1).first
            }
        }.map { $0 + start }
    }

    static func lastOffset(of needle: String, in text: String) -> Int? {
        let found = reversedOccurrences(of: needle, in: text, limit: 1).first
        return found.map { text.utf8.count - $0 - needle.utf8.count }
    }

    /// Offsets from the end, of the text read backwards.
    private static func reversedOccurrences(of needle: String, in text: String, limit: Int) -> [Int] {
        Array(text.utf8.reversed()).withUnsafeBufferPointer { text in
            Array(needle.utf8.reversed()).withUnsafeBufferPointer { needle in
                occurrences(of: needle, in: text, limit: limit)
            }
        }
    }

    /// Where the needle stands, without overlaps, at most `limit` times (any number below zero is no limit).
    ///
    /// Knuth, Morris and Pratt: the time is linear whatever the texts.
    private static func occurrences(
        of needle: UnsafeBufferPointer<UInt8>, in bytes: UnsafeBufferPointer<UInt8>, limit: Int
    ) -> [Int] {
        if limit == 0 || needle.count > bytes.count { return [] }
        if needle.isEmpty { return [0] }
        let borders = borders(of: needle)
        var found: [Int] = []
        var matched = 0
        var index = 0
        while index < bytes.count {
            if matched == 0 {
                guard let next = memchr(bytes.baseAddress! + index, Int32(needle[0]), bytes.count - index) else {
                    break
                }
                index = UnsafeRawPointer(next) - UnsafeRawPointer(bytes.baseAddress!)
            }
            while matched > 0, bytes[index] != needle[matched] { matched = borders[matched - 1] }
            if bytes[index] == needle[matched] { matched += 1 }
            index += 1
            if matched == needle.count {
                found.append(index - matched)
                if found.count == limit { break }
                matched = 0
            }
        }
        return found
    }

    /// For each length of a prefix, the longest proper prefix that also ends it.
    private static func borders(of needle: UnsafeBufferPointer<UInt8>) -> [Int] {
        var borders = [Int](repeating: 0, count: needle.count)
        var length = 0
        for index in needle.indices.dropFirst() {
            while length > 0, needle[index] != needle[length] { length = borders[length - 1] }
            if needle[index] == needle[length] { length += 1 }
            borders[index] = length
        }
        return borders
    }

    static func contains(_ text: String, _ needle: String) -> Bool { offset(of: needle, in: text) != nil }
    static func hasPrefix(_ text: String, _ prefix: String) -> Bool { text.utf8.starts(with: prefix.utf8) }
    static func hasSuffix(_ text: String, _ suffix: String) -> Bool {
        suffix.utf8.count <= text.utf8.count && text.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    static func slice(_ text: String, _ range: Range<Int>) -> String {
        String(decoding: text.utf8.dropFirst(range.lowerBound).prefix(range.count), as: UTF8.self)
    }

    // MARK: Cutting

    enum Side { case both, left, right }

    /// Without the characters of `characters` (space, where nil) at its ends.
    static func stripped(_ text: String, _ characters: String?, _ side: Side = .both) -> String {
        let set = characters.map { Set($0.unicodeScalars) }
        func isStripped(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isSpace(scalar) }
        var scalars = text.unicodeScalars[...]
        if side != .right { scalars = scalars.drop(while: isStripped) }
        if side != .left {
            while let last = scalars.last, isStripped(last) { scalars.removeLast() }
        }
        return String(scalars)
    }

    /// `str.split` at a separator that is not empty; a limit below zero is none.
    static func split(_ text: String, by separator: String, limit: Int) -> [String] {
        let offsets = withBytes(text) { text in withBytes(separator) { occurrences(of: $0, in: text, limit: limit) } }
        return pieces(text, between: offsets, separator.utf8.count)
    }

    static func splitFromEnd(_ text: String, by separator: String, limit: Int) -> [String] {
        let width = separator.utf8.count
        let offsets = reversedOccurrences(of: separator, in: text, limit: limit).reversed()
        return pieces(text, between: offsets.map { text.utf8.count - $0 - width }, width)
    }

    private static func pieces(_ text: String, between offsets: [Int], _ width: Int) -> [String] {
        withBytes(text) { bytes in
            var start = 0
            var pieces: [String] = []
            pieces.reserveCapacity(offsets.count + 1)
            for end in offsets + [bytes.count] {
                pieces.append(String(decoding: bytes[start..<end], as: UTF8.self))
                start = end + width
            }
            return pieces
        }
    }

    static func count(_ text: String, of needle: String) -> Int {
        withBytes(text) { text in withBytes(needle) { occurrences(of: $0, in: text, limit: -1).count } }
    }

    /// `str.split()` at runs of space; the rest after `limit` cuts keeps the space at its end.
    static func splitAtSpace(_ text: String, limit: Int) -> [String] {
        var parts: [String] = []
        var rest = text.unicodeScalars.drop(while: isSpace)
        while !rest.isEmpty {
            if parts.count == limit {
                parts.append(String(rest))
                break
            }
            let word = rest.prefix { !isSpace($0) }
            parts.append(String(word))
            rest = rest[word.endIndex...].drop(while: isSpace)
        }
        return parts
    }

    static func splitAtSpaceFromEnd(_ text: String, limit: Int) -> [String] {
        splitAtSpace(string(text.unicodeScalars.reversed()), limit: limit)
            .reversed().map { string($0.unicodeScalars.reversed()) }
    }

    static func lines(_ text: String, keepingBreaks: Bool = false) -> [String] {
        var lines: [String] = []
        let scalars = text.unicodeScalars
        var start = scalars.startIndex
        var index = start
        while index < scalars.endIndex {
            guard isLineBreak(scalars[index]) else {
                index = scalars.index(after: index)
                continue
            }
            var behind = scalars.index(after: index)
            if scalars[index] == "\r", behind < scalars.endIndex, scalars[behind] == "\n" {
                behind = scalars.index(after: behind)
            }
            lines.append(String(scalars[start..<(keepingBreaks ? behind : index)]))
            (start, index) = (behind, behind)
        }
        if start < scalars.endIndex { lines.append(String(scalars[start...])) }
        return lines
    }

    // MARK: Case

    static func lowercased(_ text: String) -> String {
        if isASCII(text) { return mapASCII(text) { $0 >= 65 && $0 <= 90 ? $0 + 32 : $0 } }
        let scalars = Array(text.unicodeScalars)
        return scalars.indices.reduce(into: "") { $0 += lowercased(scalars, at: $1) }
    }

    /// The small form of one character; the sigma has another one at the end of a word.
    private static func lowercased(_ scalars: [Unicode.Scalar], at index: Int) -> String {
        guard scalars[index] == "\u{3A3}" else { return scalars[index].properties.lowercaseMapping }
        let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
        let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
        let isFinal = before.map(isCased) == true && after.map(isCased) != true
        return isFinal ? "\u{3C2}" : "\u{3C3}"
    }

    static func caseFolded(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { output, scalar in
            for capital in scalar.properties.uppercaseMapping.unicodeScalars {
                output += capital.properties.lowercaseMapping
            }
        }
    }

    static func uppercased(_ text: String) -> String {
        if isASCII(text) { return mapASCII(text) { $0 >= 97 && $0 <= 122 ? $0 - 32 : $0 } }
        return text.unicodeScalars.reduce(into: "") { $0 += $1.properties.uppercaseMapping }
    }

    private static func mapASCII(_ text: String, _ change: (UInt8) -> UInt8) -> String {
        String(decoding: text.utf8.map(change), as: UTF8.self)
    }

    static func capitalized(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        return scalars.indices.reduce(into: "") { output, index in
            output += index == 0 ? scalars[0].properties.titlecaseMapping : lowercased(scalars, at: index)
        }
    }

    /// `str.title`: a letter behind a cased one is small.
    static func titled(_ text: String) -> String {
        var output = ""
        var isInside = false
        let scalars = Array(text.unicodeScalars)
        for (index, scalar) in scalars.enumerated() {
            output += isInside ? lowercased(scalars, at: index) : scalar.properties.titlecaseMapping
            isInside = isCased(scalar)
        }
        return output
    }

    static func swappedCase(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        return scalars.indices.reduce(into: "") { output, index in
            if isUpper(scalars[index]) {
                output += lowercased(scalars, at: index)
            } else {
                output += isLower(scalars[index]) ? scalars[index].properties.uppercaseMapping : String(scalars[index])
            }
        }
    }

    static func isAllLower(_ text: String) -> Bool {
        text.unicodeScalars.contains(where: isLower) && !text.unicodeScalars.contains { isUpper($0) || isTitle($0) }
    }

    static func isAllUpper(_ text: String) -> Bool {
        text.unicodeScalars.contains(where: isUpper) && !text.unicodeScalars.contains { isLower($0) || isTitle($0) }
    }

    static func isAllTitle(_ text: String) -> Bool {
        var (isInside, isFound) = (false, false)
        for scalar in text.unicodeScalars {
            let isCapital = isUpper(scalar) || isTitle(scalar)
            if isCapital ? isInside : (isLower(scalar) && !isInside) { return false }
            isInside = isCased(scalar)
            isFound = isFound || isInside
        }
        return isFound
    }

    // MARK: Quoting

    /// Python's `repr` of a string.
    static func quoted(_ text: String) -> String {
        let usesDouble = text.utf8.contains(0x27) && !text.utf8.contains(0x22)
        let escapes = usesDouble ? escapesInDoubleQuotes : escapesInSingleQuotes
        let quote = usesDouble ? "\"" : "'"
        return quote + escaped(text, escapes) { isPrintable($0) ? nil : escape($0) } + quote
    }

    private static let escapesInSingleQuotes = pythonEscapes(quote: "'")
    private static let escapesInDoubleQuotes = pythonEscapes(quote: "\"")

    private static func pythonEscapes(quote: Unicode.Scalar) -> [String?] {
        table { scalar in
            switch scalar {
            case quote, "\\": "\\" + String(scalar)
            case "\n": "\\n"
            case "\r": "\\r"
            case "\t": "\\t"
            default: isPrintable(scalar) ? nil : escape(scalar)
            }
        }
    }

    /// What stands for each ASCII character that does not stand for itself.
    static func table(_ replacement: (Unicode.Scalar) -> String?) -> [String?] {
        (UInt8(0)..<128).map { replacement(Unicode.Scalar($0)) }
    }

    /// The text with some characters written otherwise; runs between them are copied whole.
    static func escaped(
        _ text: String, _ table: [String?], others: ((Unicode.Scalar) -> String?)? = nil
    ) -> String {
        withBytes(text) { bytes in
            var output: [UInt8] = []
            output.reserveCapacity(bytes.count)
            var run = 0
            var index = 0
            while index < bytes.count {
                let byte = bytes[index]
                let length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
                var replacement: String?
                if byte < 0x80 {
                    replacement = table[Int(byte)]
                } else if let others {
                    let scalar = String(decoding: bytes[index..<(index + length)], as: UTF8.self).unicodeScalars.first
                    replacement = scalar.flatMap(others)
                }
                if let replacement {
                    output += bytes[run..<index]
                    output += replacement.utf8
                    run = index + length
                }
                index += length
            }
            output += bytes[run...]
            return String(decoding: output, as: UTF8.self)
        }
    }

    /// Doubles what it has, so that one character takes no longer than many.
    static func repeated(_ text: String, _ count: Int) -> String {
        guard count > 0, !text.isEmpty else { return "" }
        var output = Array(text.utf8)
        let total = output.count * count
        output.reserveCapacity(total)
        while output.count < total { output += output[..<min(output.count, total - output.count)] }
        return String(decoding: output, as: UTF8.self)
    }

    static func escape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        let (letter, width) =
            scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        return "\\" + letter + String(repeating: "0", count: width - digits.count) + digits
    }

    private static let htmlEscapes = table { scalar in
        switch scalar {
        case "&": "&amp;"
        case "<": "&lt;"
        case ">": "&gt;"
        case "'": "&#39;"
        case "\"": "&#34;"
        default: nil
        }
    }

    static func escapedForHTML(_ text: String) -> String { escaped(text, htmlEscapes) }

    private static let jsonEscapes = table { scalar in
        switch scalar {
        case "\"": "\\\""
        case "\\": "\\\\"
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case "\u{08}": "\\b"
        case "\u{0C}": "\\f"
        default: scalar.value < 0x20 ? jsonEscape(scalar) : nil
        }
    }
    private static let asciiJSONEscapes = jsonEscapes.dropLast() + [jsonEscape("\u{7F}")]

    /// A string of JSON without its quotes; `isASCII` escapes everything else too.
    static func escapedForJSON(_ text: String, isASCII: Bool) -> String {
        isASCII ? escaped(text, Array(asciiJSONEscapes), others: jsonEscape) : escaped(text, jsonEscapes)
    }

    private static func jsonEscape(_ scalar: Unicode.Scalar) -> String {
        String(scalar).utf16.reduce(into: "") { output, unit in
            let digits = String(unit, radix: 16)
            output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
    }
}
