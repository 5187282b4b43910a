internal import Chat
internal import Glibc

/// A model's folder: its configuration and its weights, mapped and checked against one another.
package struct Checkpoint: Sendable {
    package let folder: String
    package let configuration: ModelConfiguration
    /// By name; GPT-2's without their `transformer.` in front.
    package let tensors: [String: StoredTensor]
    package let files: [SafetensorsFile]
    /// Every id that ends a text: those of `generation_config.json`, then those of `config.json`.
    package let generationEndTokens: [Int32]
    /// What makes this model's answers its own, 64 hexadecimal digits, found without reading all of it.
    ///
    /// The SHA-256 over parts, each preceded by its name, a newline, its length in decimal and a newline: the files of
    /// `fingerprintedFiles` that are there, whole; then, of each weight file in order of name, its size, its header and
    /// of each of its tensors 64 blocks of 64 bytes, evenly spaced from the first to the last byte (tensors of up
    /// to 4096 bytes whole). Two models that differ in so few weights that no sample meets one look the same;
    /// `ModelInspection.verify` hashes every byte.
    package let fingerprint: String

    static let largestConfiguration = 4 << 20
    static let largestIndex = 16 << 20

    /// - Throws: `unreadable` where a file is missing, `malformed` where one is damaged, `unsupported` where the model
    ///   is not one that is computed here, `mismatch` where weights and configuration disagree.
    package init(folder: String) throws(CheckpointError) {
        try self.init(unmatched: folder)
        if let fault = comparison.firstFault(in: folder) { throw fault }
    }

    /// Opens without comparing the weights to the configuration.
    init(unmatched folder: String) throws(CheckpointError) {
        self.folder = folder
        let names = try RegularFile.names(in: folder)
        let path = "\(folder)/config.json"
        if names.contains("adapter_config.json"), !names.contains("config.json") {
            throw .unsupported(
                path: folder, field: "adapter_config.json",
                problem: "is of an adapter, which is no model by itself. Make it one: evalharness train merge "
                    + "\(folder) --output FOLDER")
        }
        configuration = try ModelConfiguration(
            RegularFile.readObject(path, limit: Self.largestConfiguration), path: path)
        files = try Self.openFiles(folder, names)
        tensors = try Self.collect(files, configuration)
        generationEndTokens = try Self.endTokens(folder, configuration)
        fingerprint = try Self.fingerprint(folder, files)
    }

    /// What `config.json` alone says, of a folder that may have no weights.
    package static func configuration(in folder: String) throws(CheckpointError) -> ModelConfiguration {
        let path = "\(folder)/config.json"
        return try ModelConfiguration(RegularFile.readObject(path, limit: Self.largestConfiguration), path: path)
    }

    /// The bytes of a checkpoint's `tokenizer.json`.
    package static func tokenizerFile(in folder: String) throws(CheckpointError) -> [UInt8] {
        try RegularFile.read("\(folder)/tokenizer.json", limit: 256 << 20)
    }

    /// - Throws: `mismatch` when there is no such tensor, or it has another shape or no type that is computed with.
    package func tensor(_ name: String, shape: [Int]) throws(CheckpointError) -> StoredTensor {
        guard let tensor = tensors[name] else {
            throw .mismatch(path: folder, tensor: name, problem: "is missing")
        }
        guard tensor.shape == shape else {
            throw .mismatch(
                path: tensor.file.path, tensor: name,
                problem: "has the shape \(tensor.shape), config.json asks for \(shape)")
        }
        guard tensor.dataType.isWeight else {
            throw .mismatch(
                path: tensor.file.path, tensor: name,
                problem: "is stored as \(tensor.dataType.rawValue); F32, BF16 and F16 are computed with")
        }
        return tensor
    }

    /// The type that most of the weights are stored in.
    package var storedDataType: StoredDataType {
        var counts: [StoredDataType: Int] = [:]
        for name in configuration.expectedShapes.keys {
            if let tensor = tensors[name] { counts[tensor.dataType, default: 0] += tensor.elementCount }
        }
        return counts.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key ?? .f32
    }
}

extension Checkpoint {
    private static func openFiles(_ folder: String, _ names: [String]) throws(CheckpointError) -> [SafetensorsFile] {
        if names.contains("model.safetensors") { return [try SafetensorsFile(path: "\(folder)/model.safetensors")] }
        if names.contains("model.safetensors.index.json") { return try openShards(folder) }
        // A folder of pickled weights often holds an optimizer's state (.pt) beside them (.bin).
        let pickled = [".bin", ".pth", ".pt", ".ckpt"].flatMap { suffix in
            names.filter { $0.hasSuffix(suffix) && !$0.hasPrefix("training_args") }
        }
        guard let first = pickled.first else {
            throw .unreadable(path: "\(folder)/model.safetensors", reason: "it is not there")
        }
        throw .unsupported(path: folder, field: first, problem: conversionAdvice(folder, first))
    }

    private static func conversionAdvice(_ folder: String, _ name: String) -> String {
        let suffix = name.split(separator: ".").last.map { "*.\($0)" } ?? name
        let quoted =
            "'" + folder.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
        return """
            is a pickled file: opening one can run any program, so it is not read. Convert it where you trust it:
            python3 -c "import glob, sys, torch, safetensors.torch as s; d = sys.argv[1]; \
            w = {k: v.clone().contiguous() for f in sorted(glob.glob(d + '/\(suffix)')) \
            if 'training_args' not in f for k, v in torch.load(f, map_location='cpu', weights_only=True).items()}; \
            s.save_file(w, d + '/model.safetensors', metadata={'format': 'pt'})" \(quoted)
            (it needs the Python packages torch and safetensors)
            """
    }

    private static func openShards(_ folder: String) throws(CheckpointError) -> [SafetensorsFile] {
        let path = "\(folder)/model.safetensors.index.json"
        let index = try RegularFile.readObject(path, limit: largestIndex)
        guard let members = index["weight_map"]?.object?.members, !members.isEmpty else {
            throw .malformed(path: path, problem: "it has no object \"weight_map\"")
        }
        var namesByShard: [String: Set<String>] = [:]
        for member in members {
            guard let shard = member.value.string, isPlainName(shard) else {
                throw .malformed(
                    path: path,
                    problem: "\"\(member.key.abridged)\" does not name a .safetensors file of the same folder")
            }
            namesByShard[shard, default: []].insert(member.key)
        }
        var files: [SafetensorsFile] = []
        for (shard, names) in namesByShard.sorted(by: { $0.key < $1.key }) {
            let file = try SafetensorsFile(path: "\(folder)/\(shard)")
            try check(file, holds: names)
            files.append(file)
        }
        return files
    }

    private static func isPlainName(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }

    private static func check(_ file: SafetensorsFile, holds names: Set<String>) throws(CheckpointError) {
        let held = Set(file.tensors.map(\.name))
        if let missing = names.subtracting(held).min() {
            throw .mismatch(
                path: file.path, tensor: missing.abridged,
                problem: "is missing, though the index names this file for it")
        }
        if let unlisted = held.subtracting(names).min() {
            throw .mismatch(
                path: file.path, tensor: unlisted.abridged,
                problem: "is there, though the index does not place it there")
        }
    }

    private static func collect(
        _ files: [SafetensorsFile], _ configuration: ModelConfiguration
    ) throws(CheckpointError) -> [String: StoredTensor] {
        var tensors: [String: StoredTensor] = [:]
        for file in files {
            for tensor in file.tensors {
                let name = configuration.canonicalName(tensor.name)
                guard tensors.updateValue(tensor, forKey: name) == nil else {
                    throw .mismatch(path: file.path, tensor: name.abridged, problem: "is there twice")
                }
            }
        }
        return tensors
    }

    private static func endTokens(
        _ folder: String, _ configuration: ModelConfiguration
    ) throws(CheckpointError) -> [Int32] {
        let path = "\(folder)/generation_config.json"
        guard RegularFile.exists(path) else { return configuration.endTokens }
        let object = try RegularFile.readObject(path, limit: largestConfiguration)
        do {
            let own = try TokenIDs.parse(object["eos_token_id"] ?? .null)
                .filter { $0 >= 0 && $0 < configuration.vocabularySize }
            return own + configuration.endTokens.filter { !own.contains($0) }
        } catch {
            throw .unsupported(path: path, field: "eos_token_id", problem: error.problem)
        }
    }
}

extension Checkpoint {
    private static func fingerprint(
        _ folder: String, _ files: [SafetensorsFile]
    ) throws(CheckpointError) -> String {
        let digest = RunningDigest()
        func add(_ name: String, _ bytes: [UInt8]) {
            digest.update(Array("\(name)\n\(bytes.count)\n".utf8))
            digest.update(bytes)
        }
        for name in fingerprintedFiles where RegularFile.exists("\(folder)/\(name)") {
            add(name, try RegularFile.read("\(folder)/\(name)", limit: largestFingerprintedFile))
        }
        for file in files {
            add("size", Array("\(file.byteCount)".utf8))
            add("header", Array(file.bytes[8..<8 + file.headerByteCount]))
            for tensor in file.tensors { add("sample", tensor.sample) }
        }
        return digest.finish()
    }

    static let fingerprintedFiles = [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
    ]
    static let largestFingerprintedFile = 256 << 20
}

extension StoredTensor {
    static let sampleBlocks = 64
    static let sampleBlockBytes = 64

    /// 64 blocks of 64 bytes, the first at the tensor's start and the last at its end; all of a small tensor.
    fileprivate var sample: [UInt8] {
        let bytes = bytes
        if bytes.count <= Self.sampleBlocks * Self.sampleBlockBytes { return Array(bytes) }
        var sample: [UInt8] = []
        sample.reserveCapacity(Self.sampleBlocks * Self.sampleBlockBytes)
        let last = bytes.count - Self.sampleBlockBytes
        for block in 0..<Self.sampleBlocks {
            // In two steps, for block * last may be too large.
            let (whole, rest) = last.quotientAndRemainder(dividingBy: Self.sampleBlocks - 1)
            let start = block * whole + block * rest / (Self.sampleBlocks - 1)
            sample.append(contentsOf: bytes[start..<start + Self.sampleBlockBytes])
        }
        return sample
    }
}
