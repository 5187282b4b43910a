import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing

/// A safetensors file as bytes: the size of the header, the header, the data.
func safetensors(_ header: String, data: [UInt8]) -> Data {
    Data(withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian, Array.init)) + Data(header.utf8) + Data(data)
}

/// A file of tensors of floats, one after the other.
func safetensors(_ tensors: [(name: String, shape: [Int], values: [Float])]) -> Data {
    var header = JSONObject()
    var data: [UInt8] = []
    for (name, shape, values) in tensors {
        let begin = data.count
        for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) } }
        header[name] = [
            "dtype": "F32", "shape": .array(shape.map { .integer($0) }),
            "data_offsets": [.integer(begin), .integer(data.count)],
        ]
    }
    return safetensors(JSONValue.object(header).text(), data: data)
}

extension StoredTensor {
    /// All elements widened to 32 bits; nil where the type is not one that is computed with.
    var floats: [Float]? {
        let bytes = bytes
        let count = elementCount
        func widened<Element>(_ type: Element.Type, _ widen: (Element) -> Float) -> [Float] {
            (0..<count).map {
                widen(bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: Element.self))
            }
        }
        switch dataType {
        case .f32: return widened(UInt32.self) { Float(bitPattern: UInt32(littleEndian: $0)) }
        case .bf16: return widened(UInt16.self) { Float(bitPattern: UInt32(UInt16(littleEndian: $0)) << 16) }
        case .f16: return widened(UInt16.self) { Float(Float16(bitPattern: UInt16(littleEndian: $0))) }
        default: return nil
        }
    }
}

struct SafetensorsTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ header: String, data: Int = 0) throws -> SafetensorsFile {
        let file = safetensors(header, data: [UInt8](repeating: 7, count: data))
        return try SafetensorsFile(path: folder.write(file, "\(UUID().uuidString).safetensors"))
    }

    @Test func `Tensors of every type are found where they lie`() throws {
        var header = JSONObject()
        var begin = 0
        for type in StoredDataType.allCases {
            let end = begin + type.bitCount
            header[type.rawValue] = [
                "dtype": .string(type.rawValue), "shape": [2, 4], "data_offsets": [.integer(begin), .integer(end)],
            ]
            begin = end
        }
        header["__metadata__"] = ["format": "pt"]
        let file = try open(JSONValue.object(header).text() + "   ", data: begin)
        #expect(file.tensors.map(\.name) == StoredDataType.allCases.map(\.rawValue))
        #expect(file.tensors.map(\.dataType) == StoredDataType.allCases)
        #expect(file.tensors.allSatisfy { $0.bytes.count == $0.dataType.bitCount && $0.bytes.allSatisfy { $0 == 7 } })
        #expect(file.metadata == ["format": "pt"])
    }

    @Test func `Unaligned tensors are read`() throws {
        let header = """
            {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]},\
            "c":{"dtype":"BF16","shape":[1],"data_offsets":[9,11]},\
            "d":{"dtype":"F16","shape":[2],"data_offsets":[11,15]}}
            """
        let data: [UInt8] = [9, 0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0, 0x40, 0x40, 0x00, 0x3C, 0x01, 0x00]
        let path = try folder.write(safetensors(header, data: data), "unaligned.safetensors")
        let tensors = try SafetensorsFile(path: path).tensors
        #expect(tensors[1].floats == [1, -2])
        #expect(tensors[2].floats == [3])
        #expect(tensors[3].floats == [1, 0x1p-24])
        #expect(tensors[0].floats == nil)
    }

    @Test func `Scalars, empty tensors and an empty file are allowed`() throws {
        let file = try open(
            """
            {"none":{"dtype":"F32","shape":[0,9223372036854775807,3],"data_offsets":[0,0]},\
            "one":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}
            """, data: 4)
        #expect(file.tensors.map(\.elementCount) == [0, 1])
        #expect(file.tensors.map(\.bytes.count) == [0, 4])
        #expect(try open("{}").tensors.isEmpty)
    }

    @Test func `A tensor keeps its file`() throws {
        let path = try folder.write(safetensors([("x", [2], [1, 2])]), "kept.safetensors")
        let tensor = try SafetensorsFile(path: path).tensors[0]
        #expect(tensor.floats == [1, 2])
    }

    @Test(arguments: [
        ("gap before", #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#, "a gap"),
        ("gap after", #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, "end at byte"),
        (
            "overlap",
            #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"#
                + #""b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#,
            "\"b\" overlaps"
        ),
        (
            "same place twice",
            #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
                + #""b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
            "overlaps"
        ),
        ("beyond the end", #"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}"#, "which has 4"),
        ("backwards", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#, "lies at"),
        ("size and shape differ", #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, "[2] of F32"),
        ("half a byte", #"{"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}}"#, "28 bits"),
        ("unknown type", #"{"a":{"dtype":"Q4_K","shape":[4],"data_offsets":[0,4]}}"#, "\"Q4_K\""),
        ("type in small letters", #"{"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}}"#, "\"f32\""),
        ("no type", #"{"a":{"shape":[4],"data_offsets":[0,4]}}"#, "no dtype"),
        ("negative dimension", #"{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}"#, "shape"),
        ("two negative dimensions", #"{"a":{"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]}}"#, "shape"),
        ("fractional dimension", #"{"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}"#, "shape"),
        (
            "overflowing shape",
            #"{"a":{"dtype":"U8","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}"#, "too large"
        ),
        ("overflowing bits", #"{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,4]}}"#, "too large"),
        ("three offsets", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}}"#, "data_offsets"),
        ("huge offset", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551616]}}"#, "data_offsets"),
        ("offset at the edge", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,9223372036854775807]}}"#, "lies at"),
        ("tensor is a list", #"{"a":[]}"#, "no dtype"),
        ("numbers as metadata", #"{"__metadata__":{"x":1}}"#, "__metadata__"),
        ("list as metadata", #"{"__metadata__":[]}"#, "__metadata__"),
        ("a name twice", #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":1}"#, "duplicate key \"a\""),
        ("text behind", #"{} x"#, "JSON"), ("a list", "[]", "brace"), ("a space first", " {}", "brace"),
        ("empty", "", "brace"),
    ])
    func `A header that breaks a rule is refused, and the rule told`(
        fault: String, header: String, told: String
    ) throws {
        let error = #expect(throws: CheckpointError.self, "\(fault)") { try open(header, data: 4) }
        #expect(error?.description.contains(told) == true, "\(fault): \(error?.description ?? "")")
    }

    @Test func `Sizes that do not fit the file are refused`() throws {
        for (name, bytes) in [
            ("nothing", []), ("seven bytes", [UInt8](repeating: 1, count: 7)),
            ("huge header", [UInt8](repeating: 255, count: 8) + Array("{}".utf8)),
            ("header beyond the end", [3, 0, 0, 0, 0, 0, 0, 0] + Array("{}".utf8)),
        ] {
            let path = try folder.write(Data(bytes), "\(name).safetensors")
            #expect(throws: CheckpointError.self, "\(name)") { try SafetensorsFile(path: path) }
        }
    }

    @Test func `Folders, pipes and missing files are refused at once`() throws {
        let pipe = "\(folder.path)/pipe.safetensors"
        #expect(mkfifo(pipe, 0o600) == 0)
        for path in [folder.path, pipe, "\(folder.path)/absent.safetensors", "/dev/zero"] {
            #expect(throws: CheckpointError.self, "\(path)") { try SafetensorsFile(path: path) }
        }
    }

    @Test func `Symbolic links are followed`() throws {
        let path = try folder.write(safetensors([("x", [1], [5])]), "blob")
        let link = "\(folder.path)/linked.safetensors"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        #expect(try SafetensorsFile(path: link).tensors[0].floats == [5])
    }
}
