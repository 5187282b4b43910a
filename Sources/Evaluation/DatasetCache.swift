package import Chat

/// Upstream's files on this machine, each known by its hash: nothing is taken for what it is not.
package struct DatasetCache: Sendable {
    package enum State: Hashable, Sendable {
        case absent
        case pinned
        /// It was imported with `--unverified`; scores made with it carry its hash.
        case unverified(sha256: String)
    }

    /// A file as it was used: scores record it.
    package struct Provenance: Hashable, Sendable {
        package var name: String
        package var sha256: String
        package var isPinned: Bool

        package init(name: String, sha256: String, isPinned: Bool) {
            self.name = name
            self.sha256 = sha256
            self.isPinned = isPinned
        }

        init?(_ json: JSONValue) {
            guard let name = json["file"]?.string, let sha256 = json["sha256"]?.string,
                let official = json["official"]?.bool
            else { return nil }
            self.init(name: name, sha256: sha256, isPinned: official)
        }

        package var json: JSONValue {
            ["file": .string(name), "sha256": .string(sha256), "official": .bool(isPinned)]
        }
    }

    package let benchmark: Benchmark
    package let folder: String

    package init(benchmark: Benchmark, cacheHome: String) {
        self.benchmark = benchmark
        folder = "\(cacheHome)/evalharness/datasets/\(benchmark.id)"
    }

    package func path(_ file: Benchmark.DataFile) -> String { "\(folder)/\(file.name)" }

    package func state(_ file: Benchmark.DataFile) throws(EvaluationError) -> State {
        guard Files.exists(path(file)) else { return .absent }
        let bytes = try Files.read(path(file), asked: file.name)
        return file.checksum.matches(bytes) ? .pinned : .unverified(sha256: Digest.sha256(bytes))
    }

    /// Takes the files of `benchmark` that lie in `source`; nothing is taken when one of them is refused.
    ///
    /// - Returns: what was taken, in the benchmark's order.
    /// - Throws: `integrity` for a hash that is not the pinned one, unless `allowUnverified`; `missingInput` when the
    ///   folder holds none of the files.
    package func importFiles(from source: String, allowUnverified: Bool) throws(EvaluationError) -> [Provenance] {
        var contents: [(file: Benchmark.DataFile, bytes: [UInt8], provenance: Provenance)] = []
        for file in benchmark.files where Files.exists("\(source)/\(file.name)") {
            let bytes = try Files.read("\(source)/\(file.name)", asked: file.name)
            let sha256 = Digest.sha256(bytes)
            let isPinned = file.checksum.matches(bytes)
            if !isPinned, !allowUnverified {
                throw .integrity(
                    "\(source)/\(file.name) is not the file that \(benchmark.id) pins: its SHA-256 is \(sha256), "
                        + "pinned is \(file.checksum). Get the official file, or take this one with --unverified: every score "
                        + "then says so."
                )
            }
            contents.append((file, bytes, Provenance(name: file.name, sha256: sha256, isPinned: isPinned)))
        }
        if contents.isEmpty {
            let names = benchmark.files.map(\.name).joined(separator: ", ")
            throw .missingInput(
                "\(source) holds none of the files of \(benchmark.id) (\(names)). Name the folder "
                    + "they are in.")
        }
        for content in contents {
            try Files.write(content.bytes, to: path(content.file))
            if content.provenance.isPinned { continue }
            try Files.write(Array("\(content.provenance.sha256)\n".utf8), to: acceptance(content.file))
        }
        return contents.map(\.provenance)
    }

    /// The bytes of the file that plays `role`, and what they are.
    ///
    /// - Throws: `missingInput` naming the command that brings the file; `integrity` when the file changed since it
    /// came.
    package func load(_ role: Benchmark.DataFile.Role, set: String? = nil) throws(EvaluationError) -> (
        bytes: [UInt8], provenance: Provenance
    ) {
        guard let file = benchmark.file(role, set: set) else {
            let known = benchmark.files.filter { $0.role == role }.compactMap(\.set).joined(separator: ", ")
            throw .configuration(
                "\(benchmark.id) defines no file for \(role.rawValue)"
                    + (set.map { " \($0); there are \(known.isEmpty ? "none" : known)." } ?? "."))
        }
        guard Files.exists(path(file)) else {
            throw .missingInput(
                "\(file.name) of \(benchmark.id) is not on this machine. Get it with: evalharness dataset pull "
                    + "\(benchmark.id) "
                    + "(or: evalharness dataset import \(benchmark.id) --from DIR).")
        }
        let bytes = try Files.read(path(file), asked: file.name)
        let sha256 = Digest.sha256(bytes)
        if file.checksum.matches(bytes) { return (bytes, Provenance(name: file.name, sha256: sha256, isPinned: true)) }
        guard try acceptedHash(file) == sha256 else {
            throw .integrity(
                "\(path(file)) has changed since it was imported: its SHA-256 is \(sha256), pinned is \(file.checksum). "
                    + "Bring it anew with: evalharness dataset pull \(benchmark.id).")
        }
        return (bytes, Provenance(name: file.name, sha256: sha256, isPinned: false))
    }

    /// The hash that the user accepted with `--unverified`, kept beside the file.
    private func acceptedHash(_ file: Benchmark.DataFile) throws(EvaluationError) -> String? {
        guard Files.exists(acceptance(file)) else { return nil }
        return String(try Files.readText(acceptance(file), asked: "The accepted hash").prefix(64))
    }

    private func acceptance(_ file: Benchmark.DataFile) -> String { path(file) + ".unverified" }
}
