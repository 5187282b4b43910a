internal import CKernels

/// The weights of a decoder, packed for the kernels.
package struct Weights: Sendable {
    package struct Norm: Sendable {
        package var weight: FloatBuffer
        package var bias: FloatBuffer?
    }

    package struct Layer: Sendable {
        package var attentionNorm: Norm
        package var queryKeyValue: Linear
        /// Over each head (Qwen3, Gemma 3).
        package var queryNorm, keyNorm: Norm?
        package var attentionOutput: Linear
        package var attentionPostNorm: Norm?
        package var feedForwardNorm: Norm
        package var gateUp: Linear
        package var down: Linear
        package var feedForwardPostNorm: Norm?
    }

    /// Where the rows of the embedding table are.
    package enum Embedding: Sendable {
        /// In the file, when the output projection has weights of its own.
        case stored(StoredTensor)
        /// In the output projection.
        case tied(PackedMatrix)
    }

    package var format: PackedMatrix.Format
    package var embedding: Embedding
    /// Learned positions (context length, hidden size) (GPT-2).
    package var positions: FloatBuffer?
    package var layers: [Layer]
    package var finalNorm: Norm
    package var output: Linear
}

extension Weights.Embedding {
    /// The embedding of one token (hidden size), before any scaling.
    func row(_ token: Int, into row: UnsafeMutablePointer<Float>) {
        switch self {
        case .tied(let matrix): matrix.column(token, into: row)
        case .stored(let tensor):
            let width = tensor.shape[1]
            kernels_widen(tensor.address(element: token * width), tensor.kernelType, row, width)
        }
    }
}

extension Weights {
    /// Reads and packs every weight of a checkpoint.
    ///
    /// - Throws: `CheckpointError` where a tensor is missing or has another shape or type than the family's.
    package init(_ checkpoint: Checkpoint, format: PackedMatrix.Format, pool: ThreadPool) throws(CheckpointError) {
        let loader = WeightLoader(checkpoint: checkpoint, format: format, pool: pool)
        let c = checkpoint.configuration
        self.format = format
        var layers: [Layer] = []
        for index in c.layers.indices {
            layers.append(try loader.layer(index))
            // The packed copy is what stays: a checkpoint is never in memory twice.
            for file in checkpoint.files { file.releasePages() }
        }
        self.layers = layers
        let isGPT2 = c.weightNames == .gpt2
        finalNorm = try loader.norm(isGPT2 ? "ln_f" : "model.norm", c.hiddenSize)
        positions = c.positions == .learned ? try loader.floats("wpe.weight", [c.contextLength, c.hiddenSize]) : nil
        let table = try loader.tensor(
            isGPT2 ? "wte.weight" : "model.embed_tokens.weight", [c.vocabularySize, c.hiddenSize])
        if c.isTied {
            output = loader.linear([WeightLoader.part(table)], inner: c.hiddenSize)
            embedding = .tied(output.matrix)
        } else {
            let head = try loader.tensor("lm_head.weight", [c.vocabularySize, c.hiddenSize])
            output = loader.linear([WeightLoader.part(head)], inner: c.hiddenSize)
            embedding = .stored(table)
        }
        for file in checkpoint.files { file.releasePages() }
    }
}

/// Turns the tensors of one checkpoint into layers.
private struct WeightLoader {
    let checkpoint: Checkpoint
    let format: PackedMatrix.Format
    let pool: ThreadPool

    private var c: ModelConfiguration { checkpoint.configuration }
    private var queries: Int { c.headCount * c.headSize }
    private var keys: Int { c.keyValueHeadCount * c.headSize }

    func layer(_ index: Int) throws(CheckpointError) -> Weights.Layer {
        switch c.weightNames {
        case .separate, .fused: try standardLayer("model.layers.\(index)")
        case .gpt2: try gpt2Layer("h.\(index)")
        }
    }

    private func standardLayer(_ name: String) throws(CheckpointError) -> Weights.Layer {
        let size = c.hiddenSize
        let attention = "\(name).self_attn"
        let mlp = "\(name).mlp"
        let isFused = c.weightNames == .fused
        return Weights.Layer(
            attentionNorm: try norm("\(name).input_layernorm", size),
            queryKeyValue: isFused
                ? try fused("\(attention).qkv_proj", [queries, keys, keys])
                : try side(
                    ["q_proj", "k_proj", "v_proj"].map { "\(attention).\($0)" }, [queries, keys, keys], size,
                    c.hasQKVBias),
            queryNorm: c.hasQueryKeyNorm ? try norm("\(attention).q_norm", c.headSize) : nil,
            keyNorm: c.hasQueryKeyNorm ? try norm("\(attention).k_norm", c.headSize) : nil,
            attentionOutput: try side(["\(attention).o_proj"], [size], queries, c.hasOutputBias),
            attentionPostNorm: c.hasPostNorms ? try norm("\(name).post_attention_layernorm", size) : nil,
            feedForwardNorm: try norm(
                "\(name).\(c.hasPostNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm")", size),
            gateUp: isFused
                ? try fused("\(mlp).gate_up_proj", [c.intermediateSize, c.intermediateSize])
                : try side(
                    ["\(mlp).gate_proj", "\(mlp).up_proj"], [c.intermediateSize, c.intermediateSize], size, c.hasMLPBias
                ),
            down: try side(["\(mlp).down_proj"], [size], c.intermediateSize, c.hasMLPBias),
            feedForwardPostNorm: c.hasPostNorms ? try norm("\(name).post_feedforward_layernorm", size) : nil)
    }

    private func gpt2Layer(_ name: String) throws(CheckpointError) -> Weights.Layer {
        let size = c.hiddenSize
        return Weights.Layer(
            attentionNorm: try norm("\(name).ln_1", size),
            queryKeyValue: try transposed("\(name).attn.c_attn", [size, size, size], inner: size),
            attentionOutput: try transposed("\(name).attn.c_proj", [size], inner: size),
            feedForwardNorm: try norm("\(name).ln_2", size),
            gateUp: try transposed("\(name).mlp.c_fc", [c.intermediateSize], inner: size),
            down: try transposed("\(name).mlp.c_proj", [size], inner: c.intermediateSize))
    }

    /// Matrices of their own, side by side.
    private func side(_ names: [String], _ columns: [Int], _ inner: Int, _ hasBias: Bool) throws(CheckpointError)
        -> Linear
    {
        var parts: [PackedMatrix.Part] = []
        var biases: [[Float]] = []
        for (name, columns) in zip(names, columns) {
            parts.append(WeightLoader.part(try tensor("\(name).weight", [columns, inner])))
            if hasBias { biases.append(try values("\(name).bias", [columns])) }
        }
        return linear(parts, inner: inner, biases: hasBias ? biases : nil)
    }

    /// One matrix whose rows are several projections.
    private func fused(_ name: String, _ columns: [Int]) throws(CheckpointError) -> Linear {
        let whole = try tensor("\(name).weight", [columns.reduce(0, +), c.hiddenSize])
        var first = 0
        var parts: [PackedMatrix.Part] = []
        for count in columns {
            parts.append(
                PackedMatrix.Part(
                    source: whole.address(element: first * c.hiddenSize), type: whole.kernelType, isTransposed: false,
                    stride: c.hiddenSize, columns: count))
            first += count
        }
        return linear(parts, inner: c.hiddenSize)
    }

    /// One matrix stored (inputs, outputs), whose outputs are several projections, with a bias.
    private func transposed(_ name: String, _ columns: [Int], inner: Int) throws(CheckpointError) -> Linear {
        let total = columns.reduce(0, +)
        let whole = try tensor("\(name).weight", [inner, total])
        let bias = try values("\(name).bias", [total])
        var first = 0
        var parts: [PackedMatrix.Part] = []
        var biases: [[Float]] = []
        for count in columns {
            parts.append(
                PackedMatrix.Part(
                    source: whole.address(element: first), type: whole.kernelType, isTransposed: true, stride: total,
                    columns: count))
            biases.append(Array(bias[first..<first + count]))
            first += count
        }
        return linear(parts, inner: inner, biases: biases)
    }

    func linear(_ parts: [PackedMatrix.Part], inner: Int, biases: [[Float]]? = nil) -> Linear {
        let matrix = PackedMatrix(format: format, inner: inner, parts: parts, pool: pool)
        guard let biases else { return Linear(matrix: matrix) }
        let bias = FloatBuffer(count: matrix.columns)
        var first = 0
        for values in biases {
            for (place, value) in values.enumerated() { bias.pointer[first + place] = value }
            first += PackedMatrix.padded(values.count)
        }
        return Linear(matrix: matrix, bias: bias)
    }

    static func part(_ tensor: StoredTensor) -> PackedMatrix.Part {
        PackedMatrix.Part(
            source: tensor.address(element: 0), type: tensor.kernelType, isTransposed: false, stride: tensor.shape[1],
            columns: tensor.shape[0])
    }

    func norm(_ name: String, _ size: Int) throws(CheckpointError) -> Weights.Norm {
        Weights.Norm(
            weight: try floats("\(name).weight", [size]),
            bias: c.norm.kind == .layer ? try floats("\(name).bias", [size]) : nil)
    }

    func floats(_ name: String, _ shape: [Int]) throws(CheckpointError) -> FloatBuffer {
        let tensor = try tensor(name, shape)
        let buffer = FloatBuffer(count: shape.reduce(1, *))
        kernels_widen(tensor.address(element: 0), tensor.kernelType, buffer.pointer, buffer.count)
        return buffer
    }

    private func values(_ name: String, _ shape: [Int]) throws(CheckpointError) -> [Float] {
        let buffer = try floats(name, shape)
        return (0..<buffer.count).map { buffer.pointer[$0] }
    }

    func tensor(_ name: String, _ shape: [Int]) throws(CheckpointError) -> StoredTensor {
        try checkpoint.tensor(name, shape: shape)
    }
}

extension StoredTensor {
    /// Where element `index` lies, counted in row-major order.
    func address(element index: Int) -> UnsafeRawPointer { bytes.baseAddress! + index * dataType.bitCount / 8 }

    /// - Precondition: `dataType.isWeight`, as `Checkpoint.tensor` makes sure of.
    var kernelType: kernels_type {
        switch dataType {
        case .f32: KERNELS_F32
        case .bf16: KERNELS_BF16
        default: KERNELS_F16
        }
    }
}
