internal import Glibc

/// Why a text is not the JSON that was expected, and where.
package struct JSONError: Error, Hashable, CustomStringConvertible {
    package var reason: String
    package var line: Int
    package var column: Int

    package init(reason: String, line: Int, column: Int) {
        self.reason = reason
        self.line = line
        self.column = column
    }

    package var description: String { "\(reason) at line \(line), column \(column)" }
}

extension JSONValue {
    /// Parses one JSON document (RFC 8259, UTF-8), nothing after it; a byte order mark is skipped.
    ///
    /// - Throws: `JSONError` for malformed text, a duplicate key, a lone surrogate, a number beyond `Double`, or
    /// nesting
    ///   deeper than 256.
    package init(parsing text: some Sequence<UInt8>) throws(JSONError) {
        var bytes = ContiguousArray<UInt8>()
        bytes.reserveCapacity(text.underestimatedCount + JSONParser.padding)
        bytes.append(contentsOf: text)
        bytes.append(contentsOf: repeatElement(0, count: JSONParser.padding))
        self = try JSONValue.parse(bytes)
    }

    package init(parsing text: String) throws(JSONError) {
        try self.init(parsing: text.utf8)
    }

    /// One document a line; blank lines are skipped.
    package static func parseLines(_ text: [UInt8]) throws(JSONError) -> [JSONValue] {
        var values: [JSONValue] = []
        var line = ContiguousArray<UInt8>()
        var (number, start) = (0, 0)
        while start <= text.count {
            number += 1
            let end = text.withUnsafeBytes { bytes in
                guard start < bytes.count, let base = bytes.baseAddress else { return bytes.count }
                return memchr(base + start, 0x0A, bytes.count - start).map {
                    $0 - UnsafeMutableRawPointer(mutating: base)
                }
                    ?? bytes.count
            }
            defer { start = end + 1 }
            if text[start..<end].allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            line.removeAll(keepingCapacity: true)
            line.append(contentsOf: text[start..<end])
            line.append(contentsOf: repeatElement(0, count: JSONParser.padding))
            do {
                values.append(try JSONValue.parse(line))
            } catch {
                throw JSONError(reason: error.reason, line: number, column: error.column)
            }
        }
        return values
    }

    private static func parse(_ bytes: ContiguousArray<UInt8>) throws(JSONError) -> JSONValue {
        let result: Result<JSONValue, JSONError> = bytes.withUnsafeBufferPointer { buffer in
            var parser = JSONParser(bytes: buffer)
            do throws(JSONError) { return .success(try parser.document()) } catch { return .failure(error) }
        }
        return try result.get()
    }
}

private struct JSONParser {
    /// The text and `padding` zero bytes: no read needs a bounds check of its own, even of a word.
    let bytes: UnsafeBufferPointer<UInt8>
    let end: Int
    var position = 0
    var depth = 0
    /// Strings with escapes are decoded here, one after the other.
    var scratch = ContiguousArray<UInt8>()
    static let deepest = 256
    static let padding = 8

    init(bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
        end = bytes.count - JSONParser.padding
    }

    mutating func document() throws(JSONError) -> JSONValue {
        if end >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF { position = 3 }
        skipSpace()
        let value = try value()
        skipSpace()
        if position != end { throw error("text after the document") }
        return value
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        switch bytes[position] {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error(position >= end ? "the text ends where a value should stand" : "expected a value")
        }
    }

    private mutating func object() throws(JSONError) -> JSONValue {
        try enter()
        var object = JSONObject()
        var seen: Set<JSONKey>?  // only larger objects pay for a set
        skipSpace()
        if bytes[position] == UInt8(ascii: "}") {
            leave()
            return .object(object)
        }
        while true {
            skipSpace()
            guard bytes[position] == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
            let key = try string()
            if object.members.count == 16 { seen = Set(object.keys.map(JSONKey.init)) }
            let isNew = seen == nil ? object[key] == nil : seen!.insert(JSONKey(text: key)).inserted
            if !isNew { throw error("duplicate key \"\(key.prefix(80))\"") }
            skipSpace()
            guard bytes[position] == UInt8(ascii: ":") else { throw error("expected a colon after a key") }
            position += 1
            skipSpace()
            object.append(uniqueKey: key, try value())
            skipSpace()
            if bytes[position] == UInt8(ascii: ",") {
                position += 1
            } else if bytes[position] == UInt8(ascii: "}") {
                leave()
                return .object(object)
            } else {
                throw error("expected a comma or } in an object")
            }
        }
    }

    private mutating func array() throws(JSONError) -> JSONValue {
        try enter()
        var values: [JSONValue] = []
        skipSpace()
        if bytes[position] == UInt8(ascii: "]") {
            leave()
            return .array(values)
        }
        while true {
            skipSpace()
            values.append(try value())
            skipSpace()
            if bytes[position] == UInt8(ascii: ",") {
                position += 1
            } else if bytes[position] == UInt8(ascii: "]") {
                leave()
                return .array(values)
            } else {
                throw error("expected a comma or ] in an array")
            }
        }
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        if depth > JSONParser.deepest { throw error("nested deeper than \(JSONParser.deepest)") }
        position += 1
    }

    private mutating func leave() {
        depth -= 1
        position += 1
    }

    private mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        skipPlainText()
        if bytes[position] == UInt8(ascii: "\"") {
            let plain = UnsafeBufferPointer(rebasing: bytes[start..<position])
            position += 1
            return try decoded(plain)
        }
        return try escapedString(from: start)
    }

    private mutating func escapedString(from start: Int) throws(JSONError) -> String {
        scratch.removeAll(keepingCapacity: true)
        var run = start
        while true {
            scratch.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[run..<position]))
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                let result: Result<String, JSONError> = scratch.withUnsafeBufferPointer { buffer in
                    do throws(JSONError) { return .success(try decoded(buffer)) } catch { return .failure(error) }
                }
                return try result.get()
            case UInt8(ascii: "\\"):
                position += 1
                try escape()
            default:
                throw error(position >= end ? "the text ends inside a string" : "a raw control character in a string")
            }
            run = position
            skipPlainText()
        }
    }

    /// Moves to the next quote, backslash or control character, a word at a time.
    private mutating func skipPlainText() {
        let base = UnsafeRawPointer(bytes.baseAddress!)
        while position < end {
            let word = base.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            let quote = word ^ 0x2222_2222_2222_2222
            let backslash = word ^ 0x5C5C_5C5C_5C5C_5C5C
            // The lowest flagged byte of each term is exact: a borrow can only flag bytes above a true one.
            let flags =
                (quote &- 0x0101_0101_0101_0101) & ~quote | (backslash &- 0x0101_0101_0101_0101) & ~backslash
                | (word &- 0x2020_2020_2020_2020) & ~word
            let found = UInt64(littleEndian: flags & 0x8080_8080_8080_8080)
            if found != 0 {
                position = min(end, position + found.trailingZeroBitCount / 8)
                return
            }
            position += 8
        }
        position = end
    }

    private mutating func escape() throws(JSONError) {
        let letter = bytes[position]
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): scratch.append(letter)
        case UInt8(ascii: "b"): scratch.append(0x08)
        case UInt8(ascii: "f"): scratch.append(0x0C)
        case UInt8(ascii: "n"): scratch.append(0x0A)
        case UInt8(ascii: "r"): scratch.append(0x0D)
        case UInt8(ascii: "t"): scratch.append(0x09)
        case UInt8(ascii: "u"): scratch.append(contentsOf: UTF8.encode(try unicodeEscape())!)
        default: throw error("unknown escape in a string")
        }
    }

    /// A `\u` and four digits, joined with the low half that must follow where it is a high surrogate.
    private mutating func unicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let unit = try fourHexDigits()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit < 0xDC00, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u") else {
            throw error("half of a surrogate pair")
        }
        position += 2
        let low = try fourHexDigits()
        guard (0xDC00...0xDFFF).contains(low) else { throw error("half of a surrogate pair") }
        return Unicode.Scalar(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))!
    }

    private mutating func fourHexDigits() throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            let digit: UInt32
            switch bytes[position] {
            case let byte where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"): digit = UInt32(byte) - 48
            case let byte where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"): digit = UInt32(byte) - 87
            case let byte where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"): digit = UInt32(byte) - 55
            default: throw error("expected four hexadecimal digits")
            }
            unit = unit << 4 | digit
            position += 1
        }
        return unit
    }

    private func decoded(_ utf8: UnsafeBufferPointer<UInt8>) throws(JSONError) -> String {
        // Validating looks up generic code for each string, however short it is.
        if utf8.allSatisfy({ $0 < 0x80 }) { return String(decoding: utf8, as: UTF8.self) }
        guard let text = String(validating: utf8, as: UTF8.self) else { throw error("text that is not UTF-8") }
        return text
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        var isInteger = true
        if bytes[position] == UInt8(ascii: "-") { position += 1 }
        if bytes[position] == UInt8(ascii: "0"), isDigit(bytes[position + 1]) {
            throw error(
                "a number with a "
                    + "leading zero")
        }
        try digits()
        if bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try digits()
        }
        if bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let integer = Int(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw error("a number that Double cannot hold") }
        return .number(number)
    }

    private mutating func digits() throws(JSONError) {
        guard isDigit(bytes[position]) else { throw error("expected a digit") }
        while isDigit(bytes[position]) { position += 1 }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    private mutating func literal(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard end - position >= word.utf8CodeUnitCount else { throw error("the text ends where a value should stand") }
        for offset in 0..<word.utf8CodeUnitCount where bytes[position + offset] != word.utf8Start[offset] {
            throw error("expected a value")
        }
        position += word.utf8CodeUnitCount
        return value
    }

    private mutating func skipSpace() {
        while bytes[position] == 0x20 || bytes[position] == 0x0A || bytes[position] == 0x0D || bytes[position] == 0x09 {
            position += 1
        }
    }

    private func error(_ reason: String) -> JSONError {
        var line = 1
        var column = 1
        for byte in bytes[0..<min(position, end)] {
            if byte == 0x0A {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return JSONError(reason: reason, line: line, column: column)
    }
}

/// A key as its bytes: keys that look alike, or that Unicode calls equivalent, are two.
struct JSONKey: Hashable {
    var text: String

    static func == (a: JSONKey, b: JSONKey) -> Bool { a.text.hasBytes(of: b.text) }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
