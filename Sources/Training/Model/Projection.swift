internal import LanguageModel

/// A projection of a layer: one matrix or several side by side, with their biases and adapters.
struct Projection {
    /// Some outputs: columns `firstColumn`..<`firstColumn + count` of the product.
    struct Part {
        /// The weights in the store.
        var weight: Int
        /// The first of its outputs in the stored matrix, which may hold other parts too.
        var firstOutput: Int
        var count: Int
        var firstColumn: Int
        /// Stored (inputs, outputs), as GPT-2's are, and not (outputs, inputs).
        var isTransposed = false
        var bias: Int?
        var adapter: Adapter?
    }

    /// A low-rank addition: scale * B (A x).
    struct Adapter {
        /// In the store of adapters: (rank, inputs) and (all outputs of the stored matrix, rank).
        var a, b: Int
        var rank: Int
        var scale: Float
    }

    var parts: [Part]
    var inputs: Int

    /// Floats from one row of inputs to the next.
    var inputStride: Int { PackedMatrix.padded(inputs) }
    /// Floats from one row of outputs to the next: every part filled up to whole panels.
    var outputStride: Int { parts.reduce(0) { $0 + PackedMatrix.padded($1.count) } }

    init(parts: [Part], inputs: Int) {
        self.inputs = inputs
        self.parts = []
        var column = 0
        for var part in parts {
            part.firstColumn = column
            column += PackedMatrix.padded(part.count)
            self.parts.append(part)
        }
    }
}

/// A norm's tensors in the store.
struct NormPlan {
    var weight: Int
    var bias: Int?
}

/// Where a layer's tensors are in the store.
struct LayerPlan {
    var attentionNorm: NormPlan
    var queryKeyValue: Projection
    var queryNorm, keyNorm: NormPlan?
    var attentionOutput: Projection
    var attentionPostNorm: NormPlan?
    var feedForwardNorm: NormPlan
    var gateUp: Projection
    var down: Projection
    var feedForwardPostNorm: NormPlan?
}

/// Where everything is in the store of a checkpoint's weights.
struct ModelPlan {
    var embedding: Int
    /// Learned positions (GPT-2).
    var positions: Int?
    var layers: [LayerPlan]
    var finalNorm: NormPlan
    var output: Projection

    init(_ c: ModelConfiguration, _ store: ParameterStore, adapters: LoRAPlan?) {
        let finder = PlanFinder(c: c, store: store, adapters: adapters)
        let isGPT2 = c.weightNames == .gpt2
        embedding = finder.index(isGPT2 ? "wte.weight" : "model.embed_tokens.weight")
        positions = c.positions == .learned ? finder.index("wpe.weight") : nil
        layers = c.layers.indices.map(finder.layer)
        finalNorm = finder.norm(isGPT2 ? "ln_f" : "model.norm")
        let head = c.isTied ? embedding : finder.index("lm_head.weight")
        output = Projection(
            parts: [Projection.Part(weight: head, firstOutput: 0, count: c.vocabularySize, firstColumn: 0)],
            inputs: c.hiddenSize)
    }
}

private struct PlanFinder {
    let c: ModelConfiguration
    let store: ParameterStore
    let adapters: LoRAPlan?

    private var queries: Int { c.headCount * c.headSize }
    private var keys: Int { c.keyValueHeadCount * c.headSize }

    func index(_ name: String) -> Int {
        guard let index = store.index(name) else { preconditionFailure("\(name) is not in the store") }
        return index
    }

    func norm(_ name: String) -> NormPlan {
        NormPlan(weight: index("\(name).weight"), bias: c.norm.kind == .layer ? index("\(name).bias") : nil)
    }

    func layer(_ layer: Int) -> LayerPlan {
        if c.weightNames == .gpt2 { return gpt2Layer("h.\(layer)") }
        let name = "model.layers.\(layer)"
        let attention = "\(name).self_attn"
        let mlp = "\(name).mlp"
        let isFused = c.weightNames == .fused
        let (size, intermediate) = (c.hiddenSize, c.intermediateSize)
        return LayerPlan(
            attentionNorm: norm("\(name).input_layernorm"),
            queryKeyValue: isFused
                ? stacked("\(attention).qkv_proj", [queries, keys, keys])
                : side(
                    ["q_proj", "k_proj", "v_proj"].map { "\(attention).\($0)" }, [queries, keys, keys], c.hasQKVBias),
            queryNorm: c.hasQueryKeyNorm ? norm("\(attention).q_norm") : nil,
            keyNorm: c.hasQueryKeyNorm ? norm("\(attention).k_norm") : nil,
            attentionOutput: side(["\(attention).o_proj"], [size], inputs: queries, c.hasOutputBias),
            attentionPostNorm: c.hasPostNorms ? norm("\(name).post_attention_layernorm") : nil,
            feedForwardNorm: norm(
                "\(name).\(c.hasPostNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm")"),
            gateUp: isFused
                ? stacked("\(mlp).gate_up_proj", [intermediate, intermediate])
                : side(["\(mlp).gate_proj", "\(mlp).up_proj"], [intermediate, intermediate], c.hasMLPBias),
            down: side(["\(mlp).down_proj"], [size], inputs: intermediate, c.hasMLPBias),
            feedForwardPostNorm: c.hasPostNorms ? norm("\(name).post_feedforward_layernorm") : nil)
    }

    private func gpt2Layer(_ name: String) -> LayerPlan {
        let size = c.hiddenSize
        func transposed(_ name: String, _ counts: [Int], inputs: Int) -> Projection {
            var plan = stacked(name, counts, inputs: inputs)
            for part in plan.parts.indices {
                plan.parts[part].isTransposed = true
                plan.parts[part].bias = index("\(name).bias")
            }
            return plan
        }
        return LayerPlan(
            attentionNorm: norm("\(name).ln_1"),
            queryKeyValue: transposed("\(name).attn.c_attn", [size, size, size], inputs: size),
            attentionOutput: transposed("\(name).attn.c_proj", [size], inputs: size),
            feedForwardNorm: norm("\(name).ln_2"),
            gateUp: transposed("\(name).mlp.c_fc", [c.intermediateSize], inputs: size),
            down: transposed("\(name).mlp.c_proj", [size], inputs: c.intermediateSize))
    }

    /// Matrices of their own.
    private func side(_ names: [String], _ counts: [Int], inputs: Int? = nil, _ hasBias: Bool) -> Projection {
        Projection(
            parts: zip(names, counts).map { name, count in
                Projection.Part(
                    weight: index("\(name).weight"), firstOutput: 0, count: count, firstColumn: 0,
                    bias: hasBias ? index("\(name).bias") : nil, adapter: adapters?.adapter(of: name))
            }, inputs: inputs ?? c.hiddenSize)
    }

    /// Several projections in one matrix.
    private func stacked(_ name: String, _ counts: [Int], inputs: Int? = nil) -> Projection {
        var first = 0
        var parts: [Projection.Part] = []
        for count in counts {
            parts.append(
                Projection.Part(
                    weight: index("\(name).weight"), firstOutput: first, count: count, firstColumn: 0,
                    adapter: adapters?.adapter(of: name)))
            first += count
        }
        return Projection(parts: parts, inputs: inputs ?? c.hiddenSize)
    }
}

/// The adapters of a model: which projections have one, and where their tensors are.
struct LoRAPlan {
    var store: ParameterStore
    var rank: Int
    var scale: Float

    /// The adapter of the module `name` (`model.layers.0.self_attn.q_proj`), if it has one.
    func adapter(of name: String) -> Projection.Adapter? {
        guard let a = store.index("\(name).lora_A.weight"), let b = store.index("\(name).lora_B.weight") else {
            return nil
        }
        return Projection.Adapter(a: a, b: b, rank: rank, scale: scale)
    }
}
