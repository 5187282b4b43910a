internal import Glibc

/// An event file that TensorBoard reads: TFRecord frames of `Event` messages with scalar summaries.
///
/// What is appended is with the system at once, so a reader sees every step as soon as it is logged; a file that ends
/// inside a frame reads up to there.
package final class TensorBoardEvents {
    package let path: String
    private let descriptor: Int32

    /// Opens `events.out.tfevents.<seconds>.<host>.<pid>.0` in a folder, or goes on in it.
    ///
    /// - Parameters:
    ///   - wallTime: seconds since 1970.
    ///   - firstStep: the first step that it tells of; TensorBoard forgets what earlier files in the folder say of
    ///     this step and of those behind it.
    /// - Throws: `TrainingError.inputOutput`.
    package init(
        folder: String, wallTime: Double, host: String = TensorBoardEvents.hostName, processID: Int32 = getpid(),
        firstStep: Int
    ) throws(TrainingError) {
        path = "\(folder)/events.out.tfevents.\(Int64(wallTime)).\(host).\(processID).0"
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .inputOutput("\(path) cannot be created: \(TrainingFiles.reason(errno))")
        }
        var status = stat()
        if fstat(descriptor, &status) == 0, status.st_size == 0 {
            var event = ProtobufMessage()
            event.append(field: 1, double: wallTime)
            event.append(field: 3, text: "brain.Event:2")
            try write(event)
        }
        var start = ProtobufMessage()
        start.append(field: 1, integer: 1)
        var event = ProtobufMessage()
        event.append(field: 1, double: wallTime)
        event.append(field: 2, integer: firstStep)
        event.append(field: 7, message: start)
        try write(event)
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Appends the scalars of one step, each under its own tag.
    ///
    /// - Throws: `TrainingError.inputOutput`.
    package func append(
        _ scalars: [(tag: String, value: Double)], step: Int, wallTime: Double
    ) throws(TrainingError) {
        var summary = ProtobufMessage()
        for (tag, scalar) in scalars {
            var value = ProtobufMessage()
            value.append(field: 1, text: tag)
            value.append(field: 2, float: Float(scalar))
            summary.append(field: 1, message: value)
        }
        var event = ProtobufMessage()
        event.append(field: 1, double: wallTime)
        event.append(field: 2, integer: step)
        event.append(field: 5, message: summary)
        try write(event)
    }

    /// A frame: the length, its checksum, the message, its checksum.
    private func write(_ message: ProtobufMessage) throws(TrainingError) {
        let length = withUnsafeBytes(of: UInt64(message.bytes.count).littleEndian, Array.init)
        let frame = length + masked(length) + message.bytes + masked(message.bytes)
        if let code = AppendedFile.failure(appending: frame, to: descriptor) {
            throw .inputOutput("\(path) cannot be written: \(TrainingFiles.reason(code))")
        }
    }

    /// Four bytes; masked because a checksum of data that hold checksums is weak.
    private func masked(_ bytes: [UInt8]) -> [UInt8] {
        let crc = CRC32C.checksum(bytes)
        return withUnsafeBytes(of: ((crc >> 15 | crc << 17) &+ 0xA282_EAD8).littleEndian, Array.init)
    }

    /// This machine's name.
    package static var hostName: String {
        var name = [UInt8](repeating: 0, count: 256)
        let isNamed = name.withUnsafeMutableBytes { gethostname($0.baseAddress!, $0.count - 1) } == 0
        let text = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        return isNamed && !text.isEmpty && !text.utf8.contains(UInt8(ascii: "/")) ? text : "localhost"
    }
}

/// The wire format of protocol buffers, as far as events need it.
private struct ProtobufMessage {
    private(set) var bytes: [UInt8] = []

    mutating func append(field: Int, integer: Int) {
        append(varint: UInt64(field << 3))
        append(varint: UInt64(bitPattern: Int64(integer)))
    }

    mutating func append(field: Int, double: Double) {
        append(varint: UInt64(field << 3 | 1))
        withUnsafeBytes(of: double.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func append(field: Int, float: Float) {
        append(varint: UInt64(field << 3 | 5))
        withUnsafeBytes(of: float.bitPattern.littleEndian) { bytes += $0 }
    }

    mutating func append(field: Int, text: String) { append(field: field, delimited: Array(text.utf8)) }

    mutating func append(field: Int, message: ProtobufMessage) { append(field: field, delimited: message.bytes) }

    private mutating func append(field: Int, delimited: [UInt8]) {
        append(varint: UInt64(field << 3 | 2))
        append(varint: UInt64(delimited.count))
        bytes += delimited
    }

    private mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// The cyclic redundancy check of Castagnoli's polynomial, as in RFC 3720.
package enum CRC32C {
    package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(~0) { crc, byte in crc >> 8 ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
    }
}
