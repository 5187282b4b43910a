internal import CKernels
internal import Chat
internal import Glibc

/// The element types of safetensors files.
package enum StoredDataType: String, CaseIterable, Sendable {
    case f64 = "F64"
    case f32 = "F32"
    case f16 = "F16"
    case bf16 = "BF16"
    case f8e5m2 = "F8_E5M2"
    case f8e4m3 = "F8_E4M3"
    case f8e8m0 = "F8_E8M0"
    case f6e2m3 = "F6_E2M3"
    case f6e3m2 = "F6_E3M2"
    case f4 = "F4"
    case c64 = "C64"
    case i64 = "I64"
    case i32 = "I32"
    case i16 = "I16"
    case i8 = "I8"
    case u64 = "U64"
    case u32 = "U32"
    case u16 = "U16"
    case u8 = "U8"
    case bool = "BOOL"

    package var bitCount: Int {
        switch self {
        case .f64, .i64, .u64, .c64: 64
        case .f32, .i32, .u32: 32
        case .f16, .bf16, .i16, .u16: 16
        case .f8e5m2, .f8e4m3, .f8e8m0, .i8, .u8, .bool: 8
        case .f6e2m3, .f6e3m2: 6
        case .f4: 4
        }
    }

    /// Whether weights of this type are computed with.
    package var isWeight: Bool {
        switch self {
        case .f32, .f16, .bf16: true
        default: false
        }
    }
}

/// One safetensors file, mapped read-only.
///
/// The header is read as hostile input: whatever it says, opening gives an error or a file all of whose tensors lie
/// within it, without overlap or gap. Nothing of the weights is read by opening.
package final class SafetensorsFile: @unchecked Sendable {
    // Unchecked: the mapping is read-only, never changes and lives until deinit.
    package let path: String
    package let byteCount: Int
    /// The header's text, the eight bytes of its size not counted.
    package let headerByteCount: Int
    package let metadata: [String: String]
    private let layouts: [Layout]
    private let mapping: UnsafeRawBufferPointer

    static let largestHeader = 16 << 20
    static let mostTensors = 65_536
    static let mostDimensions = 32
    /// Of its JSON text: what 65,536 tensors need, twice over.
    static let mostValues = 1_000_000

    /// - Throws: `unreadable`; `malformed` with the rule that the file breaks.
    package init(path: String) throws(CheckpointError) {
        let file = try RegularFile(path)
        let header = try SafetensorsFile.header(file)
        let (layouts, metadata) = try SafetensorsFile.contents(header, of: file)
        self.path = path
        self.byteCount = file.size
        self.headerByteCount = header.count
        self.metadata = metadata
        self.layouts = layouts
        self.mapping = try file.map()
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: mapping.baseAddress!), mapping.count) }

    /// The tensors in the order in which they lie in the file.
    package var tensors: [StoredTensor] {
        layouts.map {
            StoredTensor(name: $0.name, dataType: $0.dataType, shape: $0.shape, file: self, range: $0.range)
        }
    }

    /// Gives the memory of what was read back to the system; reading it again reads the file.
    package func releasePages() {
        madvise(UnsafeMutableRawPointer(mutating: mapping.baseAddress!), mapping.count, MADV_DONTNEED)
    }

    /// The whole file; valid as long as this object lives.
    package var bytes: UnsafeRawBufferPointer { mapping }
}

/// A tensor where it lies in its file.
package struct StoredTensor: Sendable {
    package let name: String
    package let dataType: StoredDataType
    package let shape: [Int]
    package let file: SafetensorsFile
    /// Offsets in the file.
    let range: Range<Int>

    /// The elements in row-major order, little-endian, of any alignment; valid as long as `file` lives.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: file.bytes[range]) }

    package var elementCount: Int { shape.reduce(1, *) }

    /// Some elements, counted in row-major order, as floats.
    ///
    /// - Precondition: `dataType.isWeight`, as `Checkpoint.tensor` makes sure of.
    package func widen(first: Int, count: Int, into values: UnsafeMutablePointer<Float>) {
        kernels_widen(address(element: first), kernelType, values, count)
    }
}

extension SafetensorsFile {
    /// A tensor as the header tells it, offsets counted from the start of the file.
    private struct Layout {
        var name: String
        var dataType: StoredDataType
        var shape: [Int]
        var range: Range<Int>
    }

    private static func header(_ file: RegularFile) throws(CheckpointError) -> [UInt8] {
        guard file.size >= 8 else {
            throw .malformed(path: file.path, problem: "it has \(file.size) bytes, too few for a safetensors file")
        }
        let size = try file.read(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard size <= UInt64(min(largestHeader, file.size - 8)) else {
            throw .malformed(
                path: file.path,
                problem: "its first eight bytes tell of a header of \(size) bytes, in a file of \(file.size) bytes; at "
                    + "most \(largestHeader) are accepted")
        }
        let header = try file.read(8..<8 + Int(size))
        guard header.first == UInt8(ascii: "{") else {
            throw .malformed(path: file.path, problem: "its header does not begin with a brace")
        }
        guard separators(header) < mostValues else {
            throw .malformed(
                path: file.path, problem: "its header holds more than \(mostValues) values, no model needs so many")
        }
        return header
    }

    /// The commas and colons outside strings: one less than the values, or fewer, before any of them is in memory.
    private static func separators(_ text: [UInt8]) -> Int {
        var count = 0
        var isInString = false
        var isEscaped = false
        for byte in text {
            if isInString {
                if byte == UInt8(ascii: "\""), !isEscaped { isInString = false }
                isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
            } else if byte == UInt8(ascii: "\"") {
                isInString = true
            } else if byte == UInt8(ascii: ",") || byte == UInt8(ascii: ":") {
                count += 1
            }
        }
        return count
    }

    private static func contents(
        _ header: [UInt8], of file: RegularFile
    ) throws(CheckpointError) -> ([Layout], [String: String]) {
        let object = try RegularFile.parseObject(header, path: file.path)
        guard object.members.count <= mostTensors else {
            throw .malformed(
                path: file.path,
                problem: "its header names \(object.members.count) tensors, at most \(mostTensors) are accepted")
        }
        var layouts: [Layout] = []
        var metadata: [String: String] = [:]
        for member in object.members {
            if member.key == "__metadata__" {
                metadata = try texts(member.value, of: file)
            } else {
                layouts.append(try layout(member, dataStart: 8 + header.count, of: file))
            }
        }
        layouts.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        try checkCoverage(layouts, dataStart: 8 + header.count, of: file)
        return (layouts, metadata)
    }

    private static func texts(_ value: JSONValue, of file: RegularFile) throws(CheckpointError) -> [String: String] {
        guard let members = value.object?.members else {
            throw .malformed(path: file.path, problem: "its __metadata__ is \(value.kind), an object is expected")
        }
        var texts: [String: String] = [:]
        for member in members {
            guard let text = member.value.string else {
                throw .malformed(
                    path: file.path,
                    problem:
                        "\"\(member.key.abridged)\" in its __metadata__ is \(member.value.kind), a string is expected")
            }
            texts[member.key] = text
        }
        return texts
    }

    private static func layout(
        _ member: JSONObject.Member, dataStart: Int, of file: RegularFile
    ) throws(CheckpointError) -> Layout {
        func bad(_ problem: String) -> CheckpointError {
            .malformed(path: file.path, problem: "the tensor \"\(member.key.abridged)\" \(problem)")
        }
        guard let typeName = member.value["dtype"]?.string else { throw bad("has no dtype") }
        guard let dataType = StoredDataType(rawValue: typeName) else {
            throw bad("has the unknown dtype \"\(typeName.abridged)\"")
        }
        guard let shape = naturals(member.value["shape"]) else {
            throw bad("has no shape that is a list of whole numbers from 0")
        }
        guard shape.count <= mostDimensions else {
            throw bad("has \(shape.count) dimensions, at most \(mostDimensions) are accepted")
        }
        guard let offsets = naturals(member.value["data_offsets"]), offsets.count == 2 else {
            throw bad("has no data_offsets that are two whole numbers from 0")
        }
        guard let bitCount = product(shape + [dataType.bitCount]) else { throw bad("has a shape too large to count") }
        let (begin, end) = (offsets[0], offsets[1])
        guard begin <= end, end <= file.size - dataStart else {
            throw bad("lies at bytes \(begin)..<\(end) of the data, which has \(file.size - dataStart)")
        }
        guard bitCount % 8 == 0, end - begin == bitCount / 8 else {
            throw bad("has \(end - begin) bytes, its shape \(shape) of \(typeName) needs \(bitCount) bits")
        }
        return Layout(name: member.key, dataType: dataType, shape: shape, range: dataStart + begin..<dataStart + end)
    }

    private static func naturals(_ value: JSONValue?) -> [Int]? {
        guard case .array(let values) = value else { return nil }
        var numbers: [Int] = []
        for value in values {
            guard case .integer(let number) = value, number >= 0 else { return nil }
            numbers.append(number)
        }
        return numbers
    }

    private static func product(_ factors: [Int]) -> Int? {
        if factors.contains(0) { return 0 }
        var product = 1
        for factor in factors {
            let (next, overflows) = product.multipliedReportingOverflow(by: factor)
            if overflows { return nil }
            product = next
        }
        return product
    }

    /// The tensors, in order, must cover the data from its first byte to its last, as the reference implementation
    /// demands: a hole could hide anything.
    private static func checkCoverage(
        _ layouts: [Layout], dataStart: Int, of file: RegularFile
    ) throws(CheckpointError) {
        var position = dataStart
        for layout in layouts {
            guard layout.range.lowerBound == position else {
                let fault = layout.range.lowerBound < position ? "overlaps the one before it" : "leaves a gap before it"
                throw .malformed(path: file.path, problem: "the tensor \"\(layout.name.abridged)\" \(fault)")
            }
            position = layout.range.upperBound
        }
        guard position == file.size else {
            throw .malformed(
                path: file.path,
                problem: "its tensors end at byte \(position), the file at byte \(file.size)")
        }
    }
}
