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
    enum Keeping: Int { case nothing, inputs, everything }

    private(set) var keeping = Keeping.nothing
    private var rows = 0
    private var inputs: [FloatBuffer] = []
    private var layers: [KeptLayer] = []
    private(set) var normed = FloatBuffer(count: 0)
    private(set) var activation = FloatBuffer(count: 0)
    // Backward alone:
    private(set) var gradient = FloatBuffer(count: 0)
    private(set) var dNormed = FloatBuffer(count: 0)
    private(set) var dActivation = FloatBuffer(count: 0)
    private(set) var dAttended = FloatBuffer(count: 0)
    private(set) var dQueryKeyValue = FloatBuffer(count: 0)
    /// Queries, keys and values of every query head by itself.
    private(set) var dHeads = FloatBuffer(count: 0)
    private(set) var dRaw: FloatBuffer?
    private(set) var scratch: [FloatBuffer] = []
    var head = HeadMemory()

    /// The input of a layer, or behind the last the final hidden states.
    func input(_ layer: Int) -> UnsafeMutablePointer<Float> { inputs[keeping == .nothing ? 0 : layer].pointer }

    func layer(_ layer: Int) -> KeptLayer { layers[keeping == .everything ? layer : 0] }

    func grow(to rows: Int, _ c: ModelConfiguration, _ plan: ModelPlan, keeping: Keeping) {
        self.keeping = keeping
        // An even number, whose last row may be multiplied by zero.
        let rows = (max(rows, self.rows) + 1) / 2 * 2
        if rows > self.rows {
            inputs = []
            layers = []
            gradient = FloatBuffer(count: 0)
        }
        let width = PackedMatrix.padded(c.hiddenSize)
        let inputCount = keeping == .nothing ? 1 : plan.layers.count + 1
        while inputs.count < inputCount { inputs.append(FloatBuffer(count: rows * width)) }
        let layerCount = keeping == .everything ? plan.layers.count : 1
        while layers.count < layerCount { layers.append(PassMemory.layer(plan.layers[0], rows, c)) }
        let layer = plan.layers[0]
        if rows > self.rows {
            normed = FloatBuffer(count: rows * width)
            activation = FloatBuffer(count: rows * layer.down.inputStride)
        }
        if keeping != .nothing, gradient.count == 0 {
            let heads = PackedMatrix.padded(c.headCount * c.headSize)
            gradient = FloatBuffer(count: rows * width)
            dNormed = FloatBuffer(count: rows * width)
            dActivation = FloatBuffer(count: rows * layer.down.inputStride)
            dAttended = FloatBuffer(count: rows * layer.attentionOutput.inputStride)
            dQueryKeyValue = FloatBuffer(count: rows * layer.queryKeyValue.outputStride)
            dHeads = FloatBuffer(count: rows * max(3 * heads, layer.queryKeyValue.outputStride))
            if c.hasPostNorms { dRaw = FloatBuffer(count: rows * width) }
        }
        self.rows = rows
    }

    private static func layer(_ plan: LayerPlan, _ rows: Int, _ c: ModelConfiguration) -> KeptLayer {
        let width = PackedMatrix.padded(c.hiddenSize)
        let fused = rows * plan.queryKeyValue.outputStride
        return KeptLayer(
            queryKeyValue: FloatBuffer(count: fused),
            rawQueryKey: c.hasQueryKeyNorm ? FloatBuffer(count: fused) : nil,
            attended: FloatBuffer(count: rows * plan.attentionOutput.inputStride),
            logSums: FloatBuffer(count: rows * c.headCount),
            rawAttention: c.hasPostNorms ? FloatBuffer(count: rows * width) : nil,
            hidden: FloatBuffer(count: rows * width),
            gateUp: FloatBuffer(count: rows * plan.gateUp.outputStride),
            rawFeedForward: c.hasPostNorms ? FloatBuffer(count: rows * width) : nil)
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
