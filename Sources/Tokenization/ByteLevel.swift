/// GPT-2's alphabet: every byte has a printable character, its own where it has one and U+0100 onwards otherwise.
enum ByteLevel {
    /// The characters of bytes 0...255; all are below U+0144.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0...255).map { (byte: UInt32) in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)!
            default:
                defer { next += 1 }
                return Unicode.Scalar(next)!
            }
        }
    }()

    private static let bytes: [UInt8?] = {
        var bytes = [UInt8?](repeating: nil, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = UInt8(byte) }
        return bytes
    }()

    static func byte(of scalar: Unicode.Scalar) -> UInt8? {
        scalar.value < bytes.count ? bytes[Int(scalar.value)] : nil
    }

    /// The alphabet's spelling of bytes, in UTF-8.
    static func spell(_ raw: Span<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(2 * raw.count)
        for index in raw.indices { text.append(contentsOf: UTF8.encode(scalars[Int(raw[index])])!) }
        return text
    }

    /// The bytes that a token spells; its own UTF-8 when a character is outside the alphabet.
    static func unspell(_ token: ArraySlice<UInt8>) -> [UInt8] {
        var raw: [UInt8] = []
        raw.reserveCapacity(token.count)
        for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
            guard let byte = byte(of: scalar) else { return Array(token) }
            raw.append(byte)
        }
        return raw
    }
}
