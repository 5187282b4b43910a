internal import Chat

extension ModelConfiguration {
    /// The shape of every tensor that the model needs, by name.
    package var expectedShapes: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        switch weightNames {
        case .gpt2: addGPT2Shapes(to: &shapes)
        case .separate, .fused: addShapes(to: &shapes)
        }
        if !isTied { shapes["lm_head.weight"] = [vocabularySize, hiddenSize] }
        return shapes
    }

    /// The number of weights; a tied output projection counts once.
    package var parameterCount: Int { expectedShapes.values.reduce(0) { $0 + $1.reduce(1, *) } }

    private func addShapes(to shapes: inout [String: [Int]]) {
        shapes["model.embed_tokens.weight"] = [vocabularySize, hiddenSize]
        shapes["model.norm.weight"] = [hiddenSize]
        for layer in layers.indices {
            let prefix = "model.layers.\(layer)."
            var norms = ["input_layernorm", "post_attention_layernorm"]
            if hasPostNorms { norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] }
            for norm in norms { shapes["\(prefix)\(norm).weight"] = [hiddenSize] }
            for (name, outputs, inputs, hasBias) in projections {
                shapes["\(prefix)\(name).weight"] = [outputs, inputs]
                if hasBias { shapes["\(prefix)\(name).bias"] = [outputs] }
            }
            if hasQueryKeyNorm {
                shapes["\(prefix)self_attn.q_norm.weight"] = [headSize]
                shapes["\(prefix)self_attn.k_norm.weight"] = [headSize]
            }
        }
    }

    private var projections: [(name: String, outputs: Int, inputs: Int, hasBias: Bool)] {
        let queries = headCount * headSize
        let keys = keyValueHeadCount * headSize
        let output = ("self_attn.o_proj", hiddenSize, queries, hasOutputBias)
        let down = ("mlp.down_proj", hiddenSize, intermediateSize, hasMLPBias)
        if weightNames == .fused {
            return [
                ("self_attn.qkv_proj", queries + 2 * keys, hiddenSize, hasQKVBias), output,
                ("mlp.gate_up_proj", 2 * intermediateSize, hiddenSize, hasMLPBias), down,
            ]
        }
        return [
            ("self_attn.q_proj", queries, hiddenSize, hasQKVBias), ("self_attn.k_proj", keys, hiddenSize, hasQKVBias),
            ("self_attn.v_proj", keys, hiddenSize, hasQKVBias), output,
            ("mlp.gate_proj", intermediateSize, hiddenSize, hasMLPBias),
            ("mlp.up_proj", intermediateSize, hiddenSize, hasMLPBias), down,
        ]
    }

    private func addGPT2Shapes(to shapes: inout [String: [Int]]) {
        shapes["wte.weight"] = [vocabularySize, hiddenSize]
        shapes["wpe.weight"] = [contextLength, hiddenSize]
        func addBoth(_ name: String, _ weight: [Int]) {
            shapes["\(name).weight"] = weight
            shapes["\(name).bias"] = [weight[weight.count - 1]]
        }
        addBoth("ln_f", [hiddenSize])
        for layer in layers.indices {
            let prefix = "h.\(layer)."
            addBoth("\(prefix)ln_1", [hiddenSize])
            addBoth("\(prefix)ln_2", [hiddenSize])
            addBoth("\(prefix)attn.c_attn", [hiddenSize, 3 * hiddenSize])
            addBoth("\(prefix)attn.c_proj", [hiddenSize, hiddenSize])
            addBoth("\(prefix)mlp.c_fc", [hiddenSize, intermediateSize])
            addBoth("\(prefix)mlp.c_proj", [intermediateSize, hiddenSize])
        }
    }

    /// The name that the rest of the module calls a tensor by: GPT-2 files come with and without `transformer.`.
    func canonicalName(_ stored: String) -> String {
        let prefix = "transformer."
        return weightNames == .gpt2 && stored.hasPrefix(prefix) ? String(stored.dropFirst(prefix.count)) : stored
    }

    /// Whether a tensor that is not needed is known to change nothing: tables that are computed anew, masks, and a copy
    /// of the embeddings as the output projection.
    func tolerates(_ name: String) -> Bool {
        if isTied, name == "lm_head.weight" { return true }
        if name.hasSuffix("rotary_emb.inv_freq") { return true }
        return weightNames == .gpt2 && (name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias"))
    }
}

/// Weights held against a configuration.
package struct TensorComparison: Hashable, Sendable {
    package struct Difference: Hashable, Sendable {
        package var name: String
        package var expected: [Int]
        package var found: [Int]
    }

    /// Needed and not there.
    package var missing: [String] = []
    package var misshapen: [Difference] = []
    /// Of the right shape, but of a type that is not computed with.
    package var mistyped: [String] = []
    /// Not needed, and known to change nothing.
    package var ignored: [String] = []
    /// Not needed and not known: the checkpoint may hold more than the configuration tells.
    package var unexpected: [String] = []

    package var isSound: Bool { missing.isEmpty && misshapen.isEmpty && mistyped.isEmpty && unexpected.isEmpty }
}

extension Checkpoint {
    /// Every list in order of name.
    package var comparison: TensorComparison {
        var comparison = TensorComparison()
        let shapes = configuration.expectedShapes
        for (name, shape) in shapes.sorted(by: { $0.key < $1.key }) {
            guard let tensor = tensors[name] else {
                comparison.missing.append(name)
                continue
            }
            if tensor.shape != shape {
                comparison.misshapen.append(.init(name: name, expected: shape, found: tensor.shape))
            } else if !tensor.dataType.isWeight {
                comparison.mistyped.append(name)
            }
        }
        for name in tensors.keys.sorted() where shapes[name] == nil {
            if configuration.tolerates(name) {
                comparison.ignored.append(name)
            } else {
                comparison.unexpected.append(name)
            }
        }
        return comparison
    }
}

extension TensorComparison {
    /// The first fault as the error that opening the checkpoint gives.
    package func firstFault(in folder: String) -> CheckpointError? {
        func fault(_ name: String, _ problem: String) -> CheckpointError {
            .mismatch(path: folder, tensor: name.abridged, problem: problem)
        }
        if let name = missing.first { return fault(name, "is missing" + others(missing)) }
        if let first = misshapen.first {
            return fault(
                first.name,
                "has the shape \(first.found), config.json asks for \(first.expected)" + others(misshapen))
        }
        if let name = mistyped.first {
            return fault(name, "is of a type that is not computed with (F32, BF16 and F16 are)" + others(mistyped))
        }
        if let name = unexpected.first {
            return fault(name, "is not part of the model that config.json describes" + others(unexpected))
        }
        return nil
    }

    private func others(_ list: [some Any]) -> String { list.count > 1 ? ", and so are \(list.count - 1) more" : "" }
}

/// What a checkpoint is, for a reader: opened without refusing weights that do not fit, so that all faults are told.
package struct ModelInspection: Sendable {
    package let checkpoint: Checkpoint
    package let comparison: TensorComparison
    package let types: [TypeCount]

    package struct TypeCount: Hashable, Sendable {
        package var dataType: StoredDataType
        package var tensors: Int
        package var elements: Int
        package var bytes: Int
    }

    /// - Throws: as `Checkpoint`, but never `mismatch` for a tensor that is missing, misshapen, mistyped or unexpected.
    package init(folder: String) throws(CheckpointError) {
        checkpoint = try Checkpoint(unmatched: folder)
        comparison = checkpoint.comparison
        types = ModelInspection.count(checkpoint)
    }

    private static func count(_ checkpoint: Checkpoint) -> [TypeCount] {
        var counts: [StoredDataType: TypeCount] = [:]
        for tensor in checkpoint.tensors.values {
            var count =
                counts[tensor.dataType] ?? TypeCount(dataType: tensor.dataType, tensors: 0, elements: 0, bytes: 0)
            count.tensors += 1
            count.elements += tensor.elementCount
            count.bytes += tensor.range.count
            counts[tensor.dataType] = count
        }
        return counts.values.sorted { ($1.bytes, $0.dataType.rawValue) < ($0.bytes, $1.dataType.rawValue) }
    }
}

/// What reading every byte of a checkpoint's weights tells.
package struct Verification: Hashable, Sendable {
    package struct File: Hashable, Sendable {
        package var path: String
        package var sha256: String
    }

    package var files: [File]
    package var nonFinite: [NonFinite]
}

/// A tensor that holds infinities or values that are not numbers.
package struct NonFinite: Hashable, Sendable {
    package var tensor: String
    /// The row-major index of the first one.
    package var index: Int
    /// The first one, widened: an infinity or not a number.
    package var value: Double
    package var count: Int
}

extension ModelInspection {
    package func verify() -> Verification {
        var files: [Verification.File] = []
        for file in checkpoint.files { files.append(.init(path: file.path, sha256: file.sha256())) }
        let tensors = checkpoint.tensors.sorted { $0.key < $1.key }
        return Verification(files: files, nonFinite: tensors.compactMap { $0.value.nonFinite(named: $0.key) })
    }
}

extension SafetensorsFile {
    package func sha256() -> String {
        let digest = RunningDigest()
        let chunk = 1 << 20
        for start in stride(from: 0, to: byteCount, by: chunk) {
            digest.update(Array(bytes[start..<min(start + chunk, byteCount)]))
        }
        return digest.finish()
    }
}

extension StoredTensor {
    /// Infinities and not-a-numbers among the elements; nil where there are none or the type has none.
    package func nonFinite(named name: String) -> NonFinite? {
        guard let exponent = dataType.exponent else { return nil }
        let width = dataType.bitCount / 8
        let block = 1 << 12
        var first: Int?
        var count = 0
        for start in stride(from: 0, to: bytes.count, by: block) {
            let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + block, bytes.count)])
            if !exponent.isFull(anywhereIn: part) { continue }
            for offset in stride(from: 0, to: part.count, by: width) where !element(start + offset).isFinite {
                if first == nil { first = (start + offset) / width }
                count += 1
            }
        }
        guard let first else { return nil }
        return NonFinite(tensor: name, index: first, value: element(first * width), count: count)
    }

    private func element(_ offset: Int) -> Double {
        func bits<Word: FixedWidthInteger>(_ type: Word.Type) -> Word {
            Word(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Word.self))
        }
        switch dataType {
        case .f64: return Double(bitPattern: bits(UInt64.self))
        case .f32: return Double(Float(bitPattern: bits(UInt32.self)))
        case .bf16: return Double(Float(bitPattern: UInt32(bits(UInt16.self)) << 16))
        case .f16: return Double(Float16(bitPattern: bits(UInt16.self)))
        default: return 0
        }
    }
}

extension StoredDataType {
    /// Where the exponent lies in a word of 64 bits that holds one, two or four elements.
    fileprivate struct Exponent {
        /// The exponent bits of all elements.
        var mask: UInt64
        /// The lowest exponent bit of each.
        var unit: UInt64
        /// The sign bit of each: it is set by the sum of a full exponent and its unit, and by no other.
        var carry: UInt64

        /// Whether some element has all its exponent bits set: it is an infinity or not a number.
        func isFull(anywhereIn part: UnsafeRawBufferPointer) -> Bool {
            var found: UInt64 = 0
            let words = part.count / 8
            for word in 0..<words {
                let bits = UInt64(littleEndian: part.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self))
                found |= (bits & mask) &+ unit
            }
            var rest: UInt64 = 0
            for offset in words * 8..<part.count { rest |= UInt64(part[offset]) << UInt64((offset - words * 8) * 8) }
            found |= (rest & mask) &+ unit
            return found & carry != 0
        }
    }

    fileprivate var exponent: Exponent? {
        switch self {
        case .f64: Exponent(mask: 0x7FF0_0000_0000_0000, unit: 0x0010_0000_0000_0000, carry: 1 << 63)
        case .f32: Exponent(mask: 0x7F80_0000_7F80_0000, unit: 0x0080_0000_0080_0000, carry: 0x8000_0000_8000_0000)
        case .bf16: Exponent(mask: 0x7F80_7F80_7F80_7F80, unit: 0x0080_0080_0080_0080, carry: 0x8000_8000_8000_8000)
        case .f16: Exponent(mask: 0x7C00_7C00_7C00_7C00, unit: 0x0400_0400_0400_0400, carry: 0x8000_8000_8000_8000)
        default: nil
        }
    }
}
