internal import LanguageModel
internal import Synchronization

/// What one layer keeps between its forward and its backward pass.
struct KeptLayer {
    /// Queries, keys and values, normed and turned.
    var queryKeyValue: FloatBuffer
    /// The same before head norms, in families that have these.
    var rawQueryKey: FloatBuffer?
    /// What attention gives, before its projection.
    var attended: FloatBuffer
    /// ln sum exp of each row's products, a head (rows, heads).
    var logSums: FloatBuffer
    /// What attention's projection gives before its norm, in families that have one.
    var rawAttention: FloatBuffer?
    /// The hidden states between attention and MLP.
    var hidden: FloatBuffer
    var gateUp: FloatBuffer
    var rawFeedForward: FloatBuffer?
}

/// The buffers of a pass, grown to the largest so far.
final class PassMemory {
    enum Keeping: Equatable {
        case nothing, everything
        /// All but the MLP's inside, which is that of the layer that was run last.
        case attention
        /// The inputs of the layers alone, or of one in so many and of the segment of layers that was run last.
        case inputs(segment: Int)
    }

    private(set) var keeping = Keeping.nothing
    private var rows = 0
    private var inputs: [FloatBuffer] = []
    private var layers: [KeptLayer] = []
    private(set) var normed = FloatBuffer(count: 0)
    private(set) var gradient = FloatBuffer(count: 0)
    private(set) var dNormed = FloatBuffer(count: 0)
    private(set) var dRaw: FloatBuffer?
    private(set) var scratch: [FloatBuffer] = []
    var head = HeadMemory()

    /// What the MLP, attention's way back and the output projection need one after the other.
    private var shared = FloatBuffer(count: 0)
    private var activationCount = 0
    private var attendedCount = 0
    private var queryKeyValueCount = 0

    var activation: UnsafeMutablePointer<Float> { shared.pointer }
    var dActivation: UnsafeMutablePointer<Float> { shared.pointer + activationCount }
    var dAttended: UnsafeMutablePointer<Float> { shared.pointer }
    var dQueryKeyValue: UnsafeMutablePointer<Float> { shared.pointer + attendedCount }
    /// Queries, keys and values of every query head by itself.
    var dHeads: UnsafeMutablePointer<Float> { dQueryKeyValue + queryKeyValueCount }
    /// Of the rows that predict something: one block of the vocabulary after the other, or one at a time.
    var logits: UnsafeMutablePointer<Float> { shared.pointer }
    /// The final states of the rows that predict something, normed, and their gradients.
    var states: UnsafeMutablePointer<Float> { normed.pointer }
    var dStates: UnsafeMutablePointer<Float> { gradient.pointer }

    /// The input of a layer, or behind the last the final hidden states.
    func input(_ layer: Int) -> UnsafeMutablePointer<Float> {
        switch keeping {
        case .nothing: inputs[0].pointer
        case .everything, .attention: inputs[layer].pointer
        case .inputs(let segment):
            // The segment's own come first, behind them those of the first layers of all.
            inputs[layer % segment == 0 ? segment - 1 + layer / segment : layer % segment - 1].pointer
        }
    }

    func layer(_ layer: Int) -> KeptLayer {
        switch keeping {
        case .everything, .attention: layers[layer]
        case .nothing, .inputs: layers[0]
        }
    }

    func grow(to rows: Int, _ c: ModelConfiguration, _ plan: ModelPlan, keeping: Keeping) {
        self.keeping = keeping
        // An even number, whose last row may be multiplied by zero.
        let rows = (max(rows, self.rows) + 1) / 2 * 2
        let width = PackedMatrix.padded(c.hiddenSize)
        if rows > self.rows {
            inputs = []
            layers = []
            normed = FloatBuffer(count: rows * width)
            gradient = FloatBuffer(count: 0)
        }
        self.rows = rows
        let (inputCount, layerCount) =
            switch keeping {
            case .nothing: (1, 1)
            case .everything, .attention: (plan.layers.count + 1, plan.layers.count)
            case .inputs(let segment): (segment - 1 + plan.layers.count / segment + 1, 1)
            }
        while inputs.count < inputCount { inputs.append(FloatBuffer(count: rows * width)) }
        while layers.count < layerCount {
            let first = keeping == .attention ? layers.first : nil
            layers.append(PassMemory.layer(plan.layers[0], rows, c, feedForward: first))
        }
        let layer = plan.layers[0]
        activationCount = rows * layer.down.inputStride
        if keeping == .nothing { return growShared(to: activationCount) }
        let heads = PackedMatrix.padded(c.headCount * c.headSize)
        attendedCount = rows * layer.attentionOutput.inputStride
        queryKeyValueCount = rows * layer.queryKeyValue.outputStride
        let headsCount = max(3 * rows * heads, queryKeyValueCount)
        growShared(to: max(2 * activationCount, attendedCount + queryKeyValueCount + headsCount))
        if gradient.count == 0 {
            gradient = FloatBuffer(count: rows * width)
            dNormed = FloatBuffer(count: rows * width)
            if c.hasPostNorms { dRaw = FloatBuffer(count: rows * width) }
        }
    }

    /// What is in the shared buffer is lost where it grows.
    func growShared(to count: Int) {
        if shared.count < count { shared = FloatBuffer(count: count) }
    }

    /// - Parameter feedForward: the layer whose MLP's memory this one shares.
    private static func layer(
        _ plan: LayerPlan, _ rows: Int, _ c: ModelConfiguration, feedForward: KeptLayer?
    ) -> KeptLayer {
        let width = PackedMatrix.padded(c.hiddenSize)
        let fused = rows * plan.queryKeyValue.outputStride
        return KeptLayer(
            queryKeyValue: FloatBuffer(count: fused),
            rawQueryKey: c.hasQueryKeyNorm ? FloatBuffer(count: fused) : nil,
            attended: FloatBuffer(count: rows * plan.attentionOutput.inputStride),
            logSums: FloatBuffer(count: rows * c.headCount),
            rawAttention: c.hasPostNorms ? FloatBuffer(count: rows * width) : nil,
            hidden: FloatBuffer(count: rows * width),
            gateUp: feedForward?.gateUp ?? FloatBuffer(count: rows * plan.gateUp.outputStride),
            rawFeedForward: c.hasPostNorms ? feedForward?.rawFeedForward ?? FloatBuffer(count: rows * width) : nil)
    }

    func growScratch(_ count: Int, workers: Int) {
        if scratch.count == workers, scratch.allSatisfy({ $0.count >= count }) { return }
        scratch = (0..<workers).map { _ in FloatBuffer(count: count) }
    }
}

/// Numbers that workers take one after another.
final class WorkList: Sendable {
    private let taken = Atomic<Int>(0)
    private let count: Int

    init(_ count: Int) { self.count = count }

    func next() -> Int? {
        let (index, _) = taken.add(1, ordering: .relaxed)
        return index < count ? index : nil
    }
}
