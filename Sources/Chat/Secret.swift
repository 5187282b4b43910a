/// A key. It prints as `[redacted]`, is never encoded, and can blot itself out of a text.
package struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package let value: String

    /// Nil for an empty key: an empty variable means no key.
    package init?(_ value: String?) {
        guard let value, !value.isEmpty else { return nil }
        self.value = value
    }

    package var description: String { "[redacted]" }
    package var debugDescription: String { "[redacted]" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// `text` with this key blotted out, as it is, in base64 and percent-encoded: providers echo keys in error
    /// messages.
    package func redact(_ text: String) -> String {
        var text = text
        for form in [value, Secret.base64(value), Secret.percentEncoded(value)] where form.utf8.count >= 4 {
            text = text.replacing(form, with: "[redacted]")
        }
        return text
    }

    private static func base64(_ text: String) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * (3 - UInt32(group.count)))
            for place in 0...group.count { output.append(alphabet[Int(bits >> (18 - 6 * UInt32(place)) & 63)]) }
            output.append(contentsOf: repeatElement(UInt8(ascii: "="), count: 3 - group.count))
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func percentEncoded(_ text: String) -> String {
        var output: [UInt8] = []
        for byte in text.utf8 {
            let isPlain =
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || [45, 46, 95, 126].contains(byte)
            output += isPlain ? [byte] : [37] + Digest.hex([byte]).uppercased().utf8
        }
        return String(decoding: output, as: UTF8.self)
    }
}
