/// The tokens `<0x00>` to `<0xFF>` of a SentencePiece vocabulary.
enum ByteToken {
    static func name(of byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x\(digits.utf8.count == 1 ? "0" : "")\(digits)>"
    }

    /// The byte that a token of six characters names; hexadecimal digits in either case.
    static func byte(of token: some Collection<UInt8>) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8) else { return nil }
        let rest = Array(token.dropFirst(3))
        guard rest[2] == UInt8(ascii: ">"), let high = digit(rest[0]), let low = digit(rest[1]) else { return nil }
        return high << 4 | low
    }

    private static func digit(_ letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): letter - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): letter - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): letter - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
