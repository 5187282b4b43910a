package import Chat
internal import Glibc

/// Files read whole and written so that a reader sees the old one or the new one, never half of one.
package enum Files {
    /// - Throws: `missingInput` when it is not there or may not be read, `inputOutput` when reading fails.
    package static func read(_ path: String, asked what: String) throws(EvaluationError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw .missingInput("\(what) cannot be read at \(path): \(reason(errno)). Check the path and try again.")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .inputOutput("\(path): \(reason(errno)).") }
        if status.st_mode & S_IFMT == S_IFDIR {
            throw .missingInput("\(what) should be a file, but \(path) is a folder. Name a file in it.")
        }
        var failure: Int32 = 0
        // As many as the file says it has, straight to where they stay; then what a pipe or a growing file has more.
        var bytes = [UInt8](unsafeUninitializedCapacity: max(0, Int(status.st_size))) { buffer, filled in
            while filled < buffer.count {
                let count = Glibc.read(descriptor, buffer.baseAddress! + filled, buffer.count - filled)
                if count < 0, errno == EINTR { continue }
                if count < 0 { failure = errno }
                if count <= 0 { return }
                filled += count
            }
        }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while failure == 0 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            if count > 0 { bytes += chunk[..<count] } else if errno != EINTR { failure = errno }
        }
        if failure != 0 { throw .inputOutput("Reading \(path) failed: \(reason(failure)).") }
        return bytes
    }

    package static func readText(_ path: String, asked what: String) throws(EvaluationError) -> String {
        guard let text = String(validating: try read(path, asked: what), as: UTF8.self) else {
            throw .badData("\(what) at \(path) is not UTF-8 text. Save it as UTF-8.")
        }
        return text
    }

    package static func readJSON(_ path: String, asked what: String) throws(EvaluationError) -> JSONValue {
        let bytes = try read(path, asked: what)
        do {
            return try JSONValue(parsing: bytes)
        } catch {
            throw .badData("\(what) at \(path) is not valid JSON: \(error.description). Repair or regenerate the file.")
        }
    }

    /// Writes beside the target, syncs, then renames over it.
    ///
    /// - Returns: the SHA-256 of what was written.
    /// - Throws: `cannotCreate` where the folder or the file may not be made, `inputOutput` when the disk is full or fails.
    @discardableResult
    package static func write(_ bytes: [UInt8], to path: String) throws(EvaluationError) -> String {
        try write(CollectionOfOne(bytes), to: path)
    }

    @discardableResult
    package static func write(_ value: JSONValue, to path: String) throws(EvaluationError) -> String {
        try write(value.serialized(.indented(2)) + [0x0A], to: path)
    }

    /// JSON Lines.
    @discardableResult
    package static func write(lines: some Collection<JSONValue>, to path: String) throws(EvaluationError) -> String {
        try write(lines.lazy.map { $0.serialized() + [0x0A] }, to: path)
    }

    /// A JSON array of which only one record at a time is in memory as text.
    @discardableResult
    package static func write(
        records: some Collection<JSONValue>, to path: String
    ) throws(EvaluationError) -> String {
        if records.isEmpty { return try write(JSONValue.array([]), to: path) }
        let chunks = records.enumerated().lazy.map { index, record in
            Array((index == 0 ? "[\n" : ",\n").utf8) + record.serialized(.indented(2))
        }
        return try write(Chained(first: chunks, last: Array("\n]\n".utf8)), to: path)
    }

    /// Between a file's name and the number of the process that writes it.
    private static let partialMark = ".partial-"

    /// Removes what processes left that were killed while they wrote.
    static func removePartialFiles(in folder: String) throws(EvaluationError) {
        for name in names(in: folder) {
            guard let mark = name.firstRange(of: partialMark), let writer = Int32(name[mark.upperBound...]) else {
                continue
            }
            // One that is still there may finish it.
            if writer > 0, kill(writer, 0) == 0 || errno == EPERM { continue }
            try remove("\(folder)/\(name)")
        }
    }

    private static func write(_ chunks: some Sequence<[UInt8]>, to path: String) throws(EvaluationError) -> String {
        let folder = parent(of: path)
        try makeFolder(folder)
        let temporary = path + partialMark + "\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw writeFailure(path, errno, creating: true) }
        let digest = RunningDigest()
        var failure: Int32 = 0
        for chunk in chunks where failure == 0 {
            digest.update(chunk)
            failure = writeAll(chunk, descriptor)
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        if close(descriptor) != 0, failure == 0 { failure = errno }
        if failure == 0, rename(temporary, path) != 0 { failure = errno }
        guard failure == 0 else {
            unlink(temporary)
            throw writeFailure(path, failure, creating: false)
        }
        syncFolder(folder)
        return digest.finish()
    }

    /// Zero, or the error that ended it.
    private static func writeAll(_ bytes: [UInt8], _ descriptor: Int32) -> Int32 {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                if count >= 0 {
                    offset += count
                } else if errno != EINTR {
                    return errno
                }
            }
            return 0
        }
    }

    /// A sequence and one element after it.
    private struct Chained<Chunks: Sequence<[UInt8]>>: Sequence {
        let first: Chunks
        let last: [UInt8]

        func makeIterator() -> AnyIterator<[UInt8]> {
            var iterator = first.makeIterator()
            var isDone = false
            return AnyIterator {
                if let next = iterator.next() { return next }
                defer { isDone = true }
                return isDone ? nil : last
            }
        }
    }

    /// Removes a file, where there is one.
    package static func remove(_ path: String) throws(EvaluationError) {
        guard unlink(path) != 0, errno != ENOENT else { return }
        throw .inputOutput("\(path) cannot be removed: \(reason(errno)). Remove it, then run the same command again.")
    }

    package static func makeFolder(_ path: String) throws(EvaluationError) {
        if path.isEmpty || isFolder(path) { return }
        try makeFolder(parent(of: path))
        if mkdir(path, 0o755) != 0, errno != EEXIST { throw writeFailure(path, errno, creating: true) }
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The names in a folder, sorted; empty where there is no such folder.
    package static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The last component of a path.
    package static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// The last component, without its extension.
    package static func stem(of path: String) -> String {
        let name = name(of: path)
        return name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
    }

    package static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    package static func reason(_ code: Int32) -> String {
        code == ENOENT ? "there is no such file" : String(cString: strerror(code)).lowercased()
    }

    private static func syncFolder(_ folder: String) {
        let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            fsync(descriptor)
            close(descriptor)
        }
    }

    private static func writeFailure(_ path: String, _ code: Int32, creating: Bool) -> EvaluationError {
        switch code {
        case ENOSPC, EDQUOT:
            .inputOutput("The disk is full at \(path). Free some space and run the same command again: it continues.")
        case _ where creating, EACCES, EROFS, EPERM:
            .cannotCreate(
                "\(path) cannot be written: \(reason(code)). Name another folder (--results-dir) or mend its "
                    + "permissions.")
        default: .inputOutput("Writing \(path) failed: \(reason(code)). Run the same command again: it continues.")
        }
    }
}
