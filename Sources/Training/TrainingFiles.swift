internal import Glibc

/// Files of a training run: read whole, written so that a reader sees all of them or none.
package enum TrainingFiles {
    package static func read(_ path: String) throws(TrainingError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .missingInput("\(path) cannot be read: \(reason(errno))") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .missingInput("\(path) is not a file")
        }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress! + done, $0.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .missingInput("\(path) ends at byte \(done) of \(bytes.count)") }
            done += count
        }
        return bytes
    }

    /// Writes a file whole or not at all, and makes it last.
    package static func write(_ bytes: [UInt8], to path: String) throws(TrainingError) {
        let temporary = "\(path).partial"
        if let failure = bytes.withUnsafeBytes({ failure(writing: $0, to: temporary) }) { throw failure }
        try rename(temporary, to: path)
    }

    /// Writes bytes under this very name and makes them last; nil, or why that failed.
    static func failure(writing bytes: UnsafeRawBufferPointer, to path: String) -> TrainingError? {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { return .inputOutput("\(path) cannot be created: \(reason(errno))") }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(file, bytes.baseAddress! + done, min(1 << 30, bytes.count - done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return .inputOutput("\(path) cannot be written: \(reason(errno))") }
            done += count
        }
        return fsync(file) == 0 ? nil : .inputOutput("\(path) cannot be written: \(reason(errno))")
    }

    static func rename(_ old: String, to new: String) throws(TrainingError) {
        guard Glibc.rename(old, new) == 0 else {
            throw .inputOutput("\(old) cannot be renamed to \(new): \(reason(errno))")
        }
        let folder = open(String(new[..<(new.lastIndex(of: "/") ?? new.startIndex)]), O_RDONLY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    package static func makeFolder(_ path: String) throws(TrainingError) {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false) {
            made += made.isEmpty && part.isEmpty ? "/" : (made.isEmpty || made == "/" ? "" : "/") + part
            if mkdir(made, 0o755) != 0, errno != EEXIST {
                throw .inputOutput("the folder \(made) cannot be made: \(reason(errno))")
            }
        }
    }

    /// Whether two paths are one folder or file.
    static func areSame(_ one: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        guard stat(one, &first) == 0, stat(other, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func names(in folder: String) -> [String] {
        guard let handle = opendir(folder) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a folder and the files in it.
    static func removeFolder(_ path: String) {
        for name in names(in: path) { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
