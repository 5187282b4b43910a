internal import Chat
internal import Glibc

/// Weights written as safetensors, a block of rows at a time, with the bytes that the reference implementation writes.
///
/// A file appears under its name when all of it is on the disk, or not at all.
package enum SafetensorsWriter {
    /// A tensor in memory as floats, and what it becomes.
    package struct Tensor {
        package var name: String
        package var shape: [Int]
        /// F32, or BF16: rounded to the nearest, ties to even.
        package var dataType: StoredDataType
        /// (every dimension but the last, the last); it must stay where it is until it is written.
        package var rows: UnsafePointer<Float>
        /// Floats from the start of one row to that of the next.
        package var rowStride: Int

        package init(
            name: String, shape: [Int], dataType: StoredDataType, rows: UnsafePointer<Float>, rowStride: Int
        ) {
            precondition(dataType == .f32 || dataType == .bf16, "\(name) as \(dataType.rawValue), not F32 or BF16")
            precondition(rowStride >= shape.last ?? 1, "\(name) has rows of \(shape.last ?? 1) every \(rowStride)")
            self.name = name
            self.shape = shape
            self.dataType = dataType
            self.rows = rows
            self.rowStride = rowStride
        }

        var rowCount: Int { shape.dropLast().reduce(1, *) }
        var columns: Int { shape.last ?? 1 }
        var elementCount: Int { rowCount * columns }
        var byteCount: Int { elementCount * dataType.bitCount / 8 }
    }

    /// Writes a checkpoint's weights: `model.safetensors`, or where that would hold more than `largestFile` bytes of
    /// tensors `model-00001-of-0000N.safetensors` and so on with `model.safetensors.index.json`.
    ///
    /// Shards are filled in the order of `tensors`, as transformers fills them. Weights that an earlier export left
    /// there under other names are removed, so that the folder holds one model.
    ///
    /// - Throws: `UnwritableFile`; a folder without weights is then no checkpoint yet.
    package static func write(
        _ tensors: [Tensor], toFolder folder: String, largestFile: Int = 5_000_000_000
    ) throws(UnwritableFile) {
        let shards = shards(tensors, largestFile)
        let names = shards.indices.map { shards.count == 1 ? "model.safetensors" : shardName($0, of: shards.count) }
        for (shard, name) in zip(shards, names) { try write(shard, to: "\(folder)/\(name)") }
        let index = "model.safetensors.index.json"
        if shards.count > 1 {
            let file = try OutputFile("\(folder)/\(index)")
            try file.append(indexText(Array(zip(names, shards))))
            try file.finish()
        }
        let written = shards.count > 1 ? names + [index] : names
        try removeWeights(from: folder, except: written)
    }

    /// Writes one file with `format: pt` in its metadata.
    ///
    /// The tensors lie in it as the reference implementation lays them out: wider types first, then by name.
    ///
    /// - Throws: `UnwritableFile`; what was there before still is.
    package static func write(_ tensors: [Tensor], to path: String) throws(UnwritableFile) {
        let tensors = tensors.sorted { left, right in
            left.dataType == right.dataType
                ? left.name.utf8.lexicographicallyPrecedes(right.name.utf8)
                : left.dataType.bitCount > right.dataType.bitCount
        }
        let file = try OutputFile(path)
        try file.append(header(tensors))
        for tensor in tensors { try file.append(tensor) }
        try file.finish()
    }

    /// The size of the header, and the header, filled up with spaces so that the data begin on a multiple of 8 bytes.
    private static func header(_ tensors: [Tensor]) -> [UInt8] {
        var object: JSONObject = ["__metadata__": ["format": "pt"]]
        var position = 0
        for tensor in tensors {
            precondition(object[tensor.name] == nil, "\(tensor.name) is there twice")
            object[tensor.name] = [
                "dtype": .string(tensor.dataType.rawValue), "shape": .array(tensor.shape.map { .integer($0) }),
                "data_offsets": [.integer(position), .integer(position + tensor.byteCount)],
            ]
            position += tensor.byteCount
        }
        var text = JSONValue.object(object).serialized()
        text += repeatElement(UInt8(ascii: " "), count: (8 - text.count % 8) % 8)
        return withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text
    }

    private static func shards(_ tensors: [Tensor], _ largestFile: Int) -> [[Tensor]] {
        var shards: [[Tensor]] = [[]]
        var size = 0
        for tensor in tensors {
            if size + tensor.byteCount > largestFile, !shards[shards.count - 1].isEmpty {
                shards.append([])
                size = 0
            }
            shards[shards.count - 1].append(tensor)
            size += tensor.byteCount
        }
        return shards
    }

    private static func shardName(_ index: Int, of count: Int) -> String {
        func padded(_ number: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
        }
        return "model-\(padded(index + 1))-of-\(padded(count)).safetensors"
    }

    private static func indexText(_ shards: [(name: String, tensors: [Tensor])]) -> [UInt8] {
        let tensors = shards.flatMap(\.tensors)
        var places: [(tensor: String, shard: String)] = []
        for (shard, tensors) in shards { places += tensors.map { ($0.name, shard) } }
        places.sort { $0.tensor.utf8.lexicographicallyPrecedes($1.tensor.utf8) }
        var map = JSONObject()
        for (tensor, shard) in places { map[tensor] = .string(shard) }
        let index: JSONValue = [
            "metadata": [
                "total_parameters": .integer(tensors.reduce(0) { $0 + $1.elementCount }),
                "total_size": .integer(tensors.reduce(0) { $0 + $1.byteCount }),
            ],
            "weight_map": .object(map),
        ]
        return index.serialized(.indented(2)) + [0x0A]
    }

    /// A single file is what a reader takes before an index, so an old one would hide new shards.
    private static func removeWeights(from folder: String, except written: [String]) throws(UnwritableFile) {
        let names: [String]
        do {
            names = try RegularFile.names(in: folder)
        } catch {
            throw UnwritableFile(path: folder, reason: "\(error)")
        }
        for name in names where !written.contains(name) && isWeightFile(name) {
            let path = "\(folder)/\(name)"
            if unlink(path) != 0 { throw UnwritableFile(path: path, code: errno) }
        }
    }

    private static func isWeightFile(_ name: String) -> Bool {
        if name == "model.safetensors" || name == "model.safetensors.index.json" { return true }
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "model" && Int(parts[1]) != nil && parts[2] == "of"
            && parts[3].hasSuffix(".safetensors")
    }
}

/// A file that cannot be written; what was there before still is.
package struct UnwritableFile: Error, Hashable, CustomStringConvertible {
    package var path: String
    package var reason: String

    init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    fileprivate init(path: String, code: Int32) {
        self.init(path: path, reason: String(cString: strerror(code)).lowercased())
    }

    package var description: String {
        "\(path) cannot be written: \(reason). Free space, mend its permissions or name another folder."
    }
}

/// A file that grows under another name beside its own, and takes its own when it is whole.
private final class OutputFile {
    private let path: String
    private let temporary: String
    private var descriptor: Int32
    private let buffer: UnsafeMutableRawBufferPointer
    private var filled = 0

    static let bufferBytes = 1 << 20

    init(_ path: String) throws(UnwritableFile) {
        self.path = path
        temporary = "\(path).partial-\(getpid())"
        descriptor = path.utf8.contains(0) ? -1 : open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        let code = errno
        buffer = .allocate(byteCount: OutputFile.bufferBytes, alignment: 16)
        if descriptor < 0 { throw UnwritableFile(path: path, code: path.utf8.contains(0) ? EINVAL : code) }
    }

    deinit {
        buffer.deallocate()
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(temporary)
    }

    func append(_ bytes: [UInt8]) throws(UnwritableFile) {
        var start = 0
        while start < bytes.count {
            if filled == buffer.count { try flush() }
            let end = min(bytes.count, start + buffer.count - filled)
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyBytes(from: bytes[start..<end])
            filled += end - start
            start = end
        }
    }

    func append(_ tensor: SafetensorsWriter.Tensor) throws(UnwritableFile) {
        let size = tensor.dataType.bitCount / 8
        for row in 0..<tensor.rowCount {
            let values = tensor.rows + row * tensor.rowStride
            var start = 0
            while start < tensor.columns {
                if buffer.count - filled < size { try flush() }
                let count = min(tensor.columns - start, (buffer.count - filled) / size)
                let target = buffer.baseAddress! + filled
                switch tensor.dataType {
                case .bf16: narrow(values + start, count: count, into: target)
                default: target.copyMemory(from: values + start, byteCount: 4 * count)
                }
                filled += size * count
                start += count
            }
        }
    }

    /// Makes the file last and gives it its name.
    func finish() throws(UnwritableFile) {
        try flush()
        if fsync(descriptor) != 0 || rename(temporary, path) != 0 { throw UnwritableFile(path: path, code: errno) }
        close(descriptor)
        descriptor = -1
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let parent = open(folder, O_RDONLY | O_CLOEXEC)
        if parent >= 0 {
            fsync(parent)
            close(parent)
        }
    }

    private func flush() throws(UnwritableFile) {
        var done = 0
        while done < filled {
            let count = write(descriptor, buffer.baseAddress! + done, filled - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw UnwritableFile(path: path, code: count == 0 ? ENOSPC : errno) }
            done += count
        }
        filled = 0
    }
}

/// The upper halves of floats, rounded to the nearest, ties to even; not-a-number stays one.
private func narrow(_ values: UnsafePointer<Float>, count: Int, into target: UnsafeMutableRawPointer) {
    for index in 0..<count {
        let bits = values[index].bitPattern
        let rounded = (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16
        let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
        let half = UInt16(truncatingIfNeeded: isNaN ? bits >> 16 | 0x40 : rounded)
        target.storeBytes(of: half.littleEndian, toByteOffset: 2 * index, as: UInt16.self)
    }
}
