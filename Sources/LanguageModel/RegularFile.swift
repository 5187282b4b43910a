internal import Chat
internal import Glibc

/// An open regular file, read at offsets; symbolic links are followed, pipes and devices refused without waiting.
final class RegularFile {
    let path: String
    let size: Int
    private let descriptor: Int32

    /// - Throws: `unreadable` when it is not there, may not be read or is not a regular file.
    init(_ path: String) throws(CheckpointError) {
        let descriptor = path.utf8.contains(0) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: RegularFile.reason(errno)) }
        var status = stat()
        let isRegular = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        if !isRegular {
            close(descriptor)
            throw .unreadable(path: path, reason: "it is not a regular file")
        }
        self.path = path
        self.size = Int(status.st_size)
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// - Throws: `unreadable` when reading fails, `malformed` when the file ends before the range does.
    func read(_ range: Range<Int>) throws(CheckpointError) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, filled in
            while filled < range.count {
                let count = pread(
                    descriptor, buffer.baseAddress! + filled, range.count - filled, range.lowerBound + filled)
                if count > 0 {
                    filled += count
                } else if count == 0 || errno != EINTR {
                    failure = count == 0 ? 0 : errno
                    break
                }
            }
        }
        if failure != 0 { throw .unreadable(path: path, reason: RegularFile.reason(failure)) }
        guard bytes.count == range.count else { throw shrunk() }
        return bytes
    }

    /// The whole file, mapped read-only; the caller unmaps it.
    ///
    /// - Throws: `unreadable` when it cannot be mapped, `malformed` when its size is no longer what it was when opened.
    func map() throws(CheckpointError) -> UnsafeRawBufferPointer {
        guard let address = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), address != MAP_FAILED else {
            throw .unreadable(path: path, reason: RegularFile.reason(errno))
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, Int(status.st_size) == size else {
            munmap(address, size)
            throw shrunk()
        }
        return UnsafeRawBufferPointer(start: address, count: size)
    }

    private func shrunk() -> CheckpointError {
        .malformed(path: path, problem: "it had \(size) bytes when it was opened and has others now")
    }

    /// A small file read whole.
    ///
    /// - Throws: `unreadable`, and `malformed` when it is larger than `limit` bytes.
    static func read(_ path: String, limit: Int) throws(CheckpointError) -> [UInt8] {
        let file = try RegularFile(path)
        guard file.size <= limit else {
            throw .malformed(path: path, problem: "it has \(file.size) bytes, at most \(limit) are expected")
        }
        return try file.read(0..<file.size)
    }

    /// - Throws: `unreadable`, and `malformed` when it is larger than `limit` bytes or not one JSON object.
    static func readObject(_ path: String, limit: Int) throws(CheckpointError) -> JSONObject {
        try parseObject(try read(path, limit: limit), path: path)
    }

    /// - Throws: `malformed` when the text is not one JSON object.
    static func parseObject(_ text: [UInt8], path: String) throws(CheckpointError) -> JSONObject {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: text)
        } catch {
            throw .malformed(path: path, problem: "not valid JSON: \(error.description)")
        }
        guard case .object(let object) = value else {
            throw .malformed(path: path, problem: "a JSON object is expected, found \(value.kind)")
        }
        return object
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The names in a folder, sorted.
    ///
    /// - Throws: `unreadable` when it is not there or not a folder.
    static func names(in folder: String) throws(CheckpointError) -> [String] {
        guard !folder.utf8.contains(0), let directory = opendir(folder) else {
            throw .unreadable(path: folder, reason: RegularFile.reason(errno))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names.sorted()
    }

    private static func reason(_ code: Int32) -> String {
        switch code {
        case ENOENT: "it is not there"
        case ENOTDIR: "it is not a folder"
        case 0: "the name holds a zero byte"
        default: String(cString: strerror(code)).lowercased()
        }
    }
}
