internal import Chat

/// One request as it was received.
struct HTTPRequest: Sendable {
    var head: HTTPHead
    var body: [UInt8]
}

/// A request's first line and headers (RFC 9112), read strictly: what two readers could read in two ways is refused.
struct HTTPHead: Hashable, Sendable {
    var method: String
    /// Without the query, percent-decoded.
    var path: String
    /// Whether the client speaks HTTP/1.1.
    var isModern: Bool
    /// Names in lower case, each once.
    var headers: [String: String]
    var contentLength = 0

    var expectsContinue: Bool { headers["expect"]?.lowercased() == "100-continue" }

    var keepsAlive: Bool {
        let options = (headers["connection"] ?? "").lowercased().split(separator: ",").map(\.trimmed)
        return isModern ? !options.contains("close") : options.contains("keep-alive")
    }

    /// - Parameter bytes: the head without the empty line behind it.
    init(_ bytes: ArraySlice<UInt8>) throws(ServingError) {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformed("its head is not UTF-8") }
        let lines = text.unicodeScalars.split(separator: "\r\n".unicodeScalars)
        var head = lines.map(String.init)[...]
        guard let first = head.popFirst() else { throw .malformed("it is empty") }
        let words = first.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[2] == "HTTP/1.1" || words[2] == "HTTP/1.0" else {
            throw .malformed("its first line is not METHOD PATH HTTP/1.1")
        }
        method = String(words[0])
        isModern = words[2] == "HTTP/1.1"
        path = try HTTPHead.path(words[1])
        headers = try HTTPHead.headers(head)
        contentLength = try HTTPHead.contentLength(headers)
        if isModern, headers["host"] == nil { throw .malformed("it has no Host header") }
    }

    private static func path(_ target: Substring) throws(ServingError) -> String {
        var bytes: [UInt8] = []
        var rest = target.utf8.prefix { $0 != UInt8(ascii: "?") }
        guard rest.first == UInt8(ascii: "/") else { throw .malformed("its path does not begin with a slash") }
        while let byte = rest.popFirst() {
            if byte <= 0x20 || byte == 0x7F { throw .malformed("its path holds a control character") }
            if byte != UInt8(ascii: "%") {
                bytes.append(byte)
                continue
            }
            guard let digits = String(rest.prefix(2)), digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
                let value = UInt8(digits, radix: 16)
            else { throw .malformed("its path has a % without two hexadecimal digits") }
            rest = rest.dropFirst(2)
            bytes.append(value)
        }
        guard let path = String(validating: bytes, as: UTF8.self) else { throw .malformed("its path is not UTF-8") }
        return path
    }

    private static func headers(_ lines: ArraySlice<String>) throws(ServingError) -> [String: String] {
        var headers: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), colon != line.startIndex,
                line[..<colon].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
                line.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 })
            else { throw .malformed("a header is not Name: value") }
            let name = line[..<colon].lowercased()
            let value = line[line.index(after: colon)...].trimmed
            if let earlier = headers[name] {
                if name == "host" || name == "content-length" { throw .malformed("it has two \(name) headers") }
                headers[name] = "\(earlier), \(value)"
            } else {
                headers[name] = String(value)
            }
        }
        return headers
    }

    private static func contentLength(_ headers: [String: String]) throws(ServingError) -> Int {
        if headers["transfer-encoding"] != nil { throw .lengthRequired }
        guard let text = headers["content-length"] else { return 0 }
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            throw .malformed("its Content-Length is no number")
        }
        return Int(text) ?? .max
    }
}

extension StringProtocol {
    /// Without spaces and tabs at its ends.
    var trimmed: SubSequence {
        func isSpace(_ character: Character) -> Bool { character == " " || character == "\t" }
        guard let last = lastIndex(where: { !isSpace($0) }) else { return self[startIndex..<startIndex] }
        return self[startIndex...last].drop(while: isSpace)
    }
}
