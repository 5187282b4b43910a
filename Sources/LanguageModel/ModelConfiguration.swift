/// What a decoder computes: every number and every choice of the forward pass, read from `config.json`.
package struct ModelConfiguration: Hashable, Sendable {
    /// The family's own name (`llama`, `qwen2`, ...).
    package var modelType: String
    package var vocabularySize: Int
    package var hiddenSize: Int
    package var intermediateSize: Int
    package var headCount: Int
    package var keyValueHeadCount: Int
    /// The size of one attention head; not always `hiddenSize / headCount`.
    package var headSize: Int
    /// The most positions that the checkpoint was made for.
    package var contextLength: Int
    /// Tokens of the longest row that the weights say anything of, where that is a limit and not a habit: learned positions
    /// end, and LongRoPE turns a longer row by other factors. Nil where positions go on.
    package var positionLimit: Int?
    package var layers: [Layer]

    package var norm: Norm
    package var activation: Activation
    /// Gate and up projections, or one projection alone (GPT-2).
    package var isGated: Bool
    package var positions: Positions
    /// Biases of the query, key and value projections.
    package var hasQKVBias: Bool
    /// The bias of the projection behind attention.
    package var hasOutputBias: Bool
    package var hasMLPBias: Bool
    /// Norms of each query and key head before the rotation (Qwen3, Gemma 3).
    package var hasQueryKeyNorm: Bool
    /// Norms behind attention and MLP besides those before them (Gemma 2 and 3).
    package var hasPostNorms: Bool
    /// What the embeddings are multiplied by (Gemma: the root of the hidden size); 1 elsewhere.
    package var embeddingScale: Float
    /// What the products of queries and keys are multiplied by.
    package var attentionScale: Float
    /// `c * tanh(x / c)` on the scaled products, before the mask.
    package var attentionSoftcap: Float?
    /// `c * tanh(x / c)` on the logits.
    package var finalSoftcap: Float?
    /// Whether the output projection is the embedding table.
    package var isTied: Bool
    package var weightNames: WeightNames

    package var beginToken: Int32?
    /// Every id that ends a text, of `config.json` alone.
    package var endTokens: [Int32]
    package var padToken: Int32?

    package struct Layer: Hashable, Sendable {
        /// A position sees itself and the `window - 1` before it; nil sees all.
        package var window: Int?
        /// Which of `positions`' tables this layer rotates by (Gemma 3 has one for its local layers).
        package var rotary: Int
    }

    package struct Norm: Hashable, Sendable {
        package enum Kind: Hashable, Sendable {
            /// `x / rms(x) * weight`.
            case rms
            /// `x / rms(x) * (1 + weight)` (Gemma).
            case rmsPlusOne
            /// Mean and variance, weight and bias (GPT-2).
            case layer
        }
        package var kind: Kind
        package var epsilon: Float
    }

    package enum Activation: Hashable, Sendable { case silu, geluTanh }

    package enum Positions: Hashable, Sendable {
        /// One table of angles a kind of layer.
        case rotary([Rotary])
        /// A learned embedding a position.
        case learned
    }

    /// Rotary embedding in two halves: (i, i + rotatedSize/2) turn together.
    package struct Rotary: Hashable, Sendable {
        /// The angle a position of each pair of elements, rotatedSize/2 values, scaling applied.
        package var inverseFrequencies: [Float]
        /// What cosine and sine are multiplied by (YaRN, LongRoPE); 1 elsewhere.
        package var attentionFactor: Float
        /// The elements of a head that turn, from its first.
        package var rotatedSize: Int
    }

    /// Where each matrix lies in the file.
    package enum WeightNames: Hashable, Sendable {
        /// `model.layers.N.self_attn.q_proj` and so on.
        case separate
        /// `qkv_proj` and `gate_up_proj` (Phi-3).
        case fused
        /// `h.N.attn.c_attn` and so on, stored (inputs, outputs) (GPT-2).
        case gpt2
    }
}
