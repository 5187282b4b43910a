import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing

/// Floats that stay where they are.
private final class Floats {
    let pointer: UnsafeMutablePointer<Float>

    init(_ values: [Float]) {
        pointer = .allocate(capacity: max(1, values.count))
        pointer.initialize(from: values, count: values.count)
    }

    deinit { pointer.deallocate() }
}

struct SafetensorsWriterTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func contents(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(name)"))
    }

    private func names() -> [String] { SharedData.names(folder.path) }

    /// Writes tensors whose rows lie one after the other.
    private func write(
        _ tensors: [(name: String, shape: [Int], type: StoredDataType, values: [Float])],
        _ write: ([SafetensorsWriter.Tensor]) throws -> Void
    ) throws {
        let memory = tensors.map { Floats($0.values) }
        try write(
            zip(tensors, memory).map { tensor, memory in
                SafetensorsWriter.Tensor(
                    name: tensor.name, shape: tensor.shape, dataType: tensor.type, rows: memory.pointer,
                    rowStride: tensor.shape.last ?? 1)
            })
        withExtendedLifetime(memory) {}
    }

    @Test func `A file has the header, the order and the bytes of the reference implementation`() throws {
        try write([
            ("c", [2], .bf16, [1, -2]), ("b", [], .f32, [0.5]), ("a", [1, 2], .bf16, [3, 4]), ("é", [0, 3], .f32, []),
        ]) { try SafetensorsWriter.write($0, to: "\(folder.path)/small.safetensors") }
        let header =
            #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"#
            + #""é":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]},"#
            + #""a":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]},"#
            + #""c":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]}}"#
        let data: [UInt8] = [0, 0, 0, 0x3F, 0x40, 0x40, 0x80, 0x40, 0x80, 0x3F, 0x00, 0xC0]
        #expect(try contents("small.safetensors") == safetensors(header + "     ", data: data))
        #expect(names() == ["small.safetensors"])
    }

    @Test func `bf16 is the nearest, the even one of two, and keeps what is not a number`() throws {
        let cases: [(bits: UInt32, half: UInt16)] = [
            (0x3F80_0000, 0x3F80), (0x3F80_7FFF, 0x3F80), (0x3F80_8000, 0x3F80), (0x3F80_8001, 0x3F81),
            (0x3F81_7FFF, 0x3F81), (0x3F81_8000, 0x3F82), (0xBF81_8000, 0xBF82), (0x8000_0000, 0x8000),
            (0x0000_8000, 0x0000), (0x0000_8001, 0x0001), (0x7F7F_FFFF, 0x7F80), (0x7F80_0000, 0x7F80),
            (0xFF80_0000, 0xFF80), (0x7F80_0001, 0x7FC0), (0xFFFF_FFFF, 0xFFFF), (0x7FC0_0000, 0x7FC0),
        ]
        try write([("x", [cases.count], .bf16, cases.map { Float(bitPattern: $0.bits) })]) {
            try SafetensorsWriter.write($0, to: "\(folder.path)/x.safetensors")
        }
        let tensor = try #require(try SafetensorsFile(path: "\(folder.path)/x.safetensors").tensors.first)
        let found = withExtendedLifetime(tensor) {
            cases.indices.map { tensor.bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self) }
        }
        for (half, expected) in zip(found, cases) {
            #expect(UInt16(littleEndian: half) == expected.half, "\(String(expected.bits, radix: 16))")
        }
    }

    @Test func `Rows with filling behind them, and more of them than fit in memory at once, come back as they were`()
        throws
    {
        let (rows, columns, stride) = (7, 150_001, 150_016)
        var values = [Float](repeating: .nan, count: rows * stride)
        for row in 0..<rows {
            for column in 0..<columns {
                values[row * stride + column] = Float((row * columns + column) % 60_013 - 30_000)
            }
        }
        let memory = Floats(values)
        let path = "\(folder.path)/long.safetensors"
        let tensors = [("wide", StoredDataType.f32), ("narrow", .bf16)].map { name, type in
            SafetensorsWriter.Tensor(
                name: name, shape: [rows, columns], dataType: type, rows: memory.pointer, rowStride: stride)
        }
        try SafetensorsWriter.write(tensors, to: path)
        let file = try SafetensorsFile(path: path)
        #expect(file.metadata == ["format": "pt"])
        #expect(file.headerByteCount % 8 == 0)
        for tensor in file.tensors {
            var found = [Float](repeating: 0, count: rows * columns)
            tensor.widen(first: 0, count: found.count, into: &found)
            let isExact = tensor.dataType == .f32
            var wrong = 0
            for row in 0..<rows {
                for column in 0..<columns {
                    let expected = values[row * stride + column]
                    // Eight bits of significand.
                    let allowed = isExact ? 0 : abs(expected) * 0x1p-8
                    if abs(found[row * columns + column] - expected) > allowed { wrong += 1 }
                }
            }
            #expect(wrong == 0, "\(tensor.name)")
        }
        withExtendedLifetime(memory) {}
    }

    @Test func `Shards are filled in order and the index tells where each tensor is`() throws {
        let tensors = ["d", "c", "b", "a"].map { ($0, [2], StoredDataType.f32, [Float](repeating: 1, count: 2)) }
        try write(tensors) { try SafetensorsWriter.write($0, toFolder: folder.path, largestFile: 23) }
        #expect(
            names() == [
                "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
            ])
        #expect(
            String(decoding: try contents("model.safetensors.index.json"), as: UTF8.self) == """
                {
                  "metadata": {
                    "total_parameters": 8,
                    "total_size": 32
                  },
                  "weight_map": {
                    "a": "model-00002-of-00002.safetensors",
                    "b": "model-00002-of-00002.safetensors",
                    "c": "model-00001-of-00002.safetensors",
                    "d": "model-00001-of-00002.safetensors"
                  }
                }

                """)
        for (shard, held) in [("00001", ["c", "d"]), ("00002", ["a", "b"])] {
            let file = try SafetensorsFile(path: "\(folder.path)/model-\(shard)-of-00002.safetensors")
            #expect(file.tensors.map(\.name) == held)
        }
    }

    @Test func `A tensor larger than a file may be has one of its own`() throws {
        let tensors = [("a", 1), ("b", 9), ("c", 1), ("d", 1)].map { name, count in
            (name, [count], StoredDataType.f32, [Float](repeating: 1, count: count))
        }
        try write(tensors) { try SafetensorsWriter.write($0, toFolder: folder.path, largestFile: 8) }
        let held = try (1...3).map { shard in
            try SafetensorsFile(path: "\(folder.path)/model-0000\(shard)-of-00003.safetensors").tensors.map(\.name)
        }
        #expect(held == [["a"], ["b"], ["c", "d"]])
    }

    @Test func `An export over another one leaves the weights of one model`() throws {
        let tensors = ["a", "b", "c"].map { ($0, [2], StoredDataType.f32, [Float](repeating: 1, count: 2)) }
        try folder.write("kept", "model-card.md")
        try folder.write("kept", "adapter_model.safetensors")
        func write(_ largestFile: Int) throws -> [String] {
            try self.write(tensors) { try SafetensorsWriter.write($0, toFolder: folder.path, largestFile: largestFile) }
            return names().filter { $0.hasPrefix("model") && $0 != "model-card.md" }
        }
        #expect(try write(24) == ["model.safetensors"])
        #expect(
            try write(16) == [
                "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
            ])
        #expect(try write(8).count == 4)
        #expect(try write(24) == ["model.safetensors"])
        #expect(names() == ["adapter_model.safetensors", "model-card.md", "model.safetensors"])
    }

    @Test func `What cannot be written is told, and leaves what was there`() throws {
        try folder.write("old", "taken/inside")
        let tensors = [("a", [1], StoredDataType.f32, [Float(1)])]
        for (name, reason) in [("absent/x.safetensors", "no such file"), ("taken", "is a directory")] {
            let error = try #require(throws: UnwritableFile.self) {
                try write(tensors) { try SafetensorsWriter.write($0, to: "\(folder.path)/\(name)") }
            }
            #expect(error.description.contains("\(folder.path)/\(name) cannot be written: \(reason)"), "\(error)")
        }
        #expect(names() == ["taken"])
    }
}

/// Files that the reference implementation wrote, through transformers and PEFT, written again.
@Suite(.enabled(if: !files.isEmpty, "needs the golden models")) struct SafetensorsGoldenTests {
    @Test(arguments: files)
    func `A file written again is the reference implementation's to the byte`(_ path: String) throws {
        let file = try SafetensorsFile(path: path)
        let folder = try TemporaryFolder()
        try rewrite(file.tensors) { try SafetensorsWriter.write($0, to: "\(folder.path)/again.safetensors") }
        let again = try SafetensorsFile(path: "\(folder.path)/again.safetensors")
        // Some were saved without metadata, and have another header for that alone.
        if file.metadata == ["format": "pt"] {
            #expect(Array(again.bytes) == Array(file.bytes))
        } else {
            #expect(again.tensors.map(\.name) == file.tensors.map(\.name))
            #expect(again.tensors.map(\.shape) == file.tensors.map(\.shape))
            for (one, other) in zip(again.tensors, file.tensors) { #expect(Array(one.bytes) == Array(other.bytes)) }
        }
    }

    @Test(arguments: files.filter { $0.hasSuffix("-00001-of-00003.safetensors") })
    func `A model written again in shards is transformers' to the byte`(_ first: String) throws {
        let source = URL(fileURLWithPath: first).deletingLastPathComponent().path
        let names = SharedData.names(source).filter { $0.hasPrefix("model") }
        let shards = try names.filter { $0.hasSuffix(".safetensors") }.map {
            try SafetensorsFile(path: "\(source)/\($0)").tensors
        }
        let largest = shards.map { $0.reduce(0) { $0 + $1.bytes.count } }.max() ?? 0
        // Largest first, so that the first of a shard is the one that no longer fitted in the one before.
        let tensors = shards.flatMap { $0.sorted { $0.bytes.count > $1.bytes.count } }
        let folder = try TemporaryFolder()
        try rewrite(tensors) { try SafetensorsWriter.write($0, toFolder: folder.path, largestFile: largest) }
        #expect(SharedData.names(folder.path) == names)
        for name in names {
            #expect(
                try SharedData.contents("\(folder.path)/\(name)") == SharedData.contents("\(source)/\(name)"), "\(name)"
            )
        }
    }

    private func rewrite(
        _ stored: [StoredTensor], _ write: ([SafetensorsWriter.Tensor]) throws -> Void
    ) throws {
        let memory = stored.map { tensor in
            let memory = Floats([Float](repeating: 0, count: tensor.elementCount))
            tensor.widen(first: 0, count: tensor.elementCount, into: memory.pointer)
            return memory
        }
        try write(
            zip(stored, memory).map { tensor, memory in
                SafetensorsWriter.Tensor(
                    name: tensor.name, shape: tensor.shape, dataType: tensor.dataType, rows: memory.pointer,
                    rowStride: tensor.shape.last ?? 1)
            })
        withExtendedLifetime(memory) {}
    }
}

/// The weight files of the golden models and runs, but those of types that are not written.
private let files: [String] = {
    let runs = SharedData.fixtures("training/runs")
    let folders =
        SharedData.fixtures("models") + runs + runs.flatMap { ["\($0)/adapter_init", "\($0)/adapter_final"] }
        + ["\(SharedData.fixtures)/training/init_model"]
    let all = folders.flatMap { folder in
        SharedData.names(folder).filter { $0.hasSuffix(".safetensors") }.map { "\(folder)/\($0)" }
    }
    return all.filter { path in
        let tensors = (try? SafetensorsFile(path: path))?.tensors
        return tensors?.allSatisfy { $0.dataType == .f32 || $0.dataType == .bf16 } ?? true
    }
}()
