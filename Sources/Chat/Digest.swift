internal import CCrypto

/// What a file must hash to: its SHA-256, or where its publisher's repository alone is known, its name as a git blob.
package enum Checksum: Hashable, Sendable, CustomStringConvertible {
    case sha256(String)
    /// SHA-1 over the length and the bytes, as git names a file's content.
    case gitBlob(String)

    package func of(_ bytes: [UInt8]) -> String {
        switch self {
        case .sha256: Digest.sha256(bytes)
        case .gitBlob: Digest.hex(Digest.sha1("blob \(bytes.count)\0".utf8 + bytes))
        }
    }

    package func matches(_ bytes: [UInt8]) -> Bool { of(bytes) == digits }

    package var digits: String {
        switch self {
        case .sha256(let digits), .gitBlob(let digits): digits
        }
    }

    package var description: String {
        switch self {
        case .sha256(let digits): digits
        case .gitBlob(let digits): "git blob \(digits)"
        }
    }
}

/// SHA-2 through the system's libcrypto.
package enum Digest {
    /// The SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
    package static func sha256(_ bytes: some Sequence<UInt8>) -> String {
        hex(digest(bytes, EVP_sha256()))
    }

    package static func sha256(_ text: String) -> String { sha256(text.utf8) }

    /// The 64 bytes of the SHA-512 of `bytes`.
    package static func sha512(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        digest(bytes, EVP_sha512())
    }

    fileprivate static func sha1(_ bytes: some Sequence<UInt8>) -> [UInt8] { digest(bytes, EVP_sha1()) }

    package static func hex(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [hexDigit($0 >> 4), hexDigit($0 & 15)] }, as: UTF8.self)
    }

    private static func digest(_ bytes: some Sequence<UInt8>, _ algorithm: OpaquePointer?) -> [UInt8] {
        bytes.withContiguousStorageIfAvailable { digest($0, algorithm) }
            ?? Array(bytes).withUnsafeBufferPointer { digest($0, algorithm) }
    }

    private static func digest(_ bytes: UnsafeBufferPointer<UInt8>, _ algorithm: OpaquePointer?) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        let status = EVP_Digest(bytes.baseAddress, bytes.count, &output, &length, algorithm, nil)
        precondition(status == 1, "libcrypto refused to hash \(bytes.count) bytes")
        return Array(output.prefix(Int(length)))
    }
}

/// A SHA-256 that grows with what is fed to it.
package final class RunningDigest {
    private let context: OpaquePointer

    package init() {
        context = EVP_MD_CTX_new()
        precondition(EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1, "libcrypto offers no SHA-256")
    }

    deinit { EVP_MD_CTX_free(context) }

    package func update(_ bytes: [UInt8]) {
        precondition(EVP_DigestUpdate(context, bytes, bytes.count) == 1, "libcrypto refused \(bytes.count) bytes")
    }

    package func update(_ bytes: UnsafeRawBufferPointer) {
        precondition(
            EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "libcrypto refused \(bytes.count) bytes")
    }

    /// 64 hexadecimal digits; nothing may be fed afterwards.
    package func finish() -> String {
        var output = [UInt8](repeating: 0, count: 32)
        precondition(EVP_DigestFinal_ex(context, &output, nil) == 1, "libcrypto could not finish a SHA-256")
        return Digest.hex(output)
    }
}
