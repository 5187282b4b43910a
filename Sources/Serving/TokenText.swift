internal import Chat

/// How one token is written, whose bytes may be a part of a character.
enum TokenText {
    /// The text, or `\xe2\x80`, where the bytes alone are no text: OpenAI's form.
    static func shown(_ bytes: [UInt8]) -> String { String(validating: bytes, as: UTF8.self) ?? escaped(bytes) }

    /// The same in the older interface, which marks such tokens.
    static func key(_ bytes: [UInt8]) -> String {
        String(validating: bytes, as: UTF8.self) ?? "bytes:\(escaped(bytes))"
    }

    private static func escaped(_ bytes: [UInt8]) -> String {
        bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// JSON has no infinities; OpenAI writes this number for what has no probability.
    static func number(_ logprob: Double?) -> JSONValue {
        guard let logprob else { return .null }
        return .number(logprob.isFinite ? logprob : -9_999)
    }

    /// How many characters (code points) begin in these bytes.
    static func characterCount(_ bytes: [UInt8]) -> Int { bytes.count { $0 & 0xC0 != 0x80 } }
}

extension Completion.FinishReason {
    var openAI: String {
        switch self {
        case .stop, .other: "stop"
        case .length, .outOfContext: "length"
        case .refused: "content_filter"
        }
    }
}
