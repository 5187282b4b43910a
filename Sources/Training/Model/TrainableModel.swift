internal import CKernels
internal import Glibc
package import LanguageModel

/// A decoder that learns: a forward pass that remembers, and a backward pass that adds gradients.
///
/// It knows no objective: what goes out are log-probabilities of rows, what comes back are the loss's derivatives with
/// respect to them. Every sum has one order, whatever the number of threads.
package final class TrainableModel: @unchecked Sendable {
    // One trainer at a time.
    package let configuration: ModelConfiguration
    package let weights: ParameterStore
    package let adapters: ParameterStore?
    let plan: ModelPlan
    let kernels: TrainingKernels
    package let recomputation: Recomputation
    /// Tokens whose logits are one product: the same for every pass, so that no sum depends on what else is in it.
    /// A multiple of 16.
    package var vocabularyBlock = TrainableModel.vocabularyBlock
    /// Bytes up to which logits are kept for the way back.
    package var logitBytes: Int
    let memory: PassMemory
    private var rotaryTables: [RotaryTable]
    private var reversedTables: [RotaryTable]

    typealias Floats = UnsafeMutablePointer<Float>

    /// - Parameters:
    ///   - format: what products compute with, f32 or bf16; weights and sums are f32.
    ///   - adapters: low-rank adapters that are trained instead of the weights.
    package init(
        configuration: ModelConfiguration, weights: ParameterStore, adapters: (store: ParameterStore, lora: LoRAScale)?,
        kernels: Kernels, format: PackedMatrix.Format, recomputation: Recomputation = .none
    ) {
        self.configuration = configuration
        self.weights = weights
        self.adapters = adapters?.store
        plan = ModelPlan(
            configuration, weights,
            adapters: adapters.map { LoRAPlan(store: $0.store, rank: $0.lora.rank, scale: $0.lora.scale) })
        self.kernels = TrainingKernels(kernels, format: format)
        self.recomputation = recomputation
        logitBytes = recomputation.logitBytes
        memory = PassMemory()
        (rotaryTables, reversedTables) = TrainableModel.tables(configuration)
    }

    /// The same model with these weights and no adapters, which works in the memory of the first: one at a time.
    package init(_ other: TrainableModel, weights: ParameterStore) {
        configuration = other.configuration
        self.weights = weights
        adapters = nil
        plan = ModelPlan(configuration, weights, adapters: nil)
        kernels = other.kernels
        recomputation = other.recomputation
        (vocabularyBlock, logitBytes) = (other.vocabularyBlock, other.logitBytes)
        memory = other.memory
        (rotaryTables, reversedTables) = TrainableModel.tables(configuration)
    }

    private static func tables(_ configuration: ModelConfiguration) -> ([RotaryTable], [RotaryTable]) {
        guard case .rotary(let rotaries) = configuration.positions else { return ([], []) }
        return (rotaries.map { RotaryTable($0) }, rotaries.map { RotaryTable($0, isReversed: true) })
    }

    package static let vocabularyBlock = 4_096
    /// Changes with every change of the order in which sums are formed: bits of two arithmetics are not mixed.
    package static let arithmetic = "arithmetic 2"

    /// Floats from one row of hidden states to the next.
    var width: Int { PackedMatrix.padded(configuration.hiddenSize) }

    /// Σ log π of the targets of every example of a pass, in nats; nothing is kept for a backward pass.
    package func logProbs(_ pass: TrainingPass) -> [PairLogProbs] {
        run(pass, keeping: .nothing)
        return predict(pass, keepsLogits: false)
    }

    /// The same, and what `backward` needs is kept.
    package func forward(_ pass: TrainingPass) -> [PairLogProbs] {
        run(pass, keeping: keeping)
        return predict(pass, keepsLogits: true)
    }

    /// Adds the gradients of the pass that was last run forward, from d loss / d log-probability of its examples.
    package func backward(_ pass: TrainingPass, _ gradients: [PairGradient]) {
        let d = memory.gradient.pointer
        predictBackward(pass, gradients, into: d)
        for layer in plan.layers.indices.reversed() {
            runSegment(endingWith: layer, pass)
            layerBackward(layer, pass, d)
        }
        embedBackward(pass, d)
    }

    private var keeping: PassMemory.Keeping {
        switch recomputation {
        case .none: .everything
        case .mlp: .attention
        case .layers, .segments: .inputs(segment: recomputation.segment(of: plan.layers.count))
        }
    }

    // MARK: Layers

    private func run(_ pass: TrainingPass, keeping: PassMemory.Keeping) {
        memory.grow(to: pass.rowCount, configuration, plan, keeping: keeping)
        for table in rotaryTables.indices {
            rotaryTables[table].grow(to: (pass.positions.max() ?? 0) + 1)
            reversedTables[table].grow(to: (pass.positions.max() ?? 0) + 1)
        }
        embed(pass, into: memory.input(0))
        run(plan.layers.indices, pass)
    }

    private func run(_ layers: Range<Int>, _ pass: TrainingPass) {
        for layer in layers {
            attention(layer, pass, memory.input(layer))
            gateUp(layer, pass.rowCount)
            finish(layer, pass, into: memory.input(layer + 1))
        }
    }

    /// Brings back the inputs of the segment whose last layer this is; those of the last segment are still there.
    private func runSegment(endingWith layer: Int, _ pass: TrainingPass) {
        guard case .inputs(let segment) = memory.keeping, segment > 1 else { return }
        if (layer + 1) % segment != 0 || layer == plan.layers.count - 1 { return }
        run(layer + 1 - segment..<layer, pass)
    }

    private func embed(_ pass: TrainingPass, into x: Floats) {
        let stride = weights.parameters[plan.embedding].stride
        kernels.forRows(pass.rowCount, cost: width) { row in
            let target = x + row * width
            let token = weights.elements(plan.embedding, from: Int(pass.tokens[row]) * stride)
            kernels_widen(token.source, token.type, target, stride)
            if configuration.embeddingScale != 1 {
                kernels.functions.scale(target, configuration.embeddingScale, width)
            }
            if let positions = plan.positions {
                let count = weights.parameters[positions].stride
                let learned = weights.elements(positions, from: pass.positions[row] * count)
                withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { values in
                    kernels_widen(learned.source, learned.type, values.baseAddress, count)
                    kernels.functions.add(target, values.baseAddress, width)
                }
            }
        }
    }

    /// The layer up to the hidden states between attention and MLP, into its memory.
    private func attention(_ layer: Int, _ pass: TrainingPass, _ x: Floats) {
        let c = configuration
        let rows = pass.rowCount
        let plan = plan.layers[layer]
        let kept = memory.layer(layer)
        let normed = memory.normed.pointer
        kernels.normalize(
            plan.attentionNorm, c.norm, weights, x, into: normed, rows: rows, stride: width, count: c.hiddenSize)
        kernels.apply(plan.queryKeyValue, weights, adapters, normed, rows: rows, into: kept.queryKeyValue.pointer)
        if let raw = kept.rawQueryKey {
            memcpy(raw.pointer, kept.queryKeyValue.pointer, 4 * rows * plan.queryKeyValue.outputStride)
            normalizeHeads(plan, raw.pointer, into: kept.queryKeyValue.pointer, rows)
        }
        rotate(layer, pass, kept.queryKeyValue.pointer, rotaryTables)
        attend(layer, pass, kept, backward: nil)
        let hidden = kept.hidden.pointer
        kernels.forRows(rows, cost: width) { memcpy(hidden + $0 * width, x + $0 * width, 4 * width) }
        addProjected(
            plan.attentionOutput, kept.attended.pointer, plan.attentionPostNorm, kept.rawAttention, into: hidden, rows)
    }

    /// The MLP up to gate and up, into the layer's memory.
    private func gateUp(_ layer: Int, _ rows: Int) {
        let plan = plan.layers[layer]
        let kept = memory.layer(layer)
        let normed = memory.normed.pointer
        kernels.normalize(
            plan.feedForwardNorm, configuration.norm, weights, kept.hidden.pointer, into: normed, rows: rows,
            stride: width, count: configuration.hiddenSize)
        kernels.apply(plan.gateUp, weights, adapters, normed, rows: rows, into: kept.gateUp.pointer)
    }

    /// The rest of the layer: next = hidden + down(activation).
    private func finish(_ layer: Int, _ pass: TrainingPass, into next: Floats) {
        let rows = pass.rowCount
        let kept = memory.layer(layer)
        activate(layer, rows)
        let hidden = kept.hidden.pointer
        kernels.forRows(rows, cost: width) { memcpy(next + $0 * width, hidden + $0 * width, 4 * width) }
        let plan = plan.layers[layer]
        addProjected(
            plan.down, memory.activation, plan.feedForwardPostNorm, kept.rawFeedForward, into: next, rows)
    }

    private func activate(_ layer: Int, _ rows: Int) {
        let c = configuration
        let gateUp = memory.layer(layer).gateUp.pointer
        let stride = plan.layers[layer].gateUp.outputStride
        let out = memory.activation
        let outStride = plan.layers[layer].down.inputStride
        kernels.forRows(rows, cost: stride) { row in
            let (gate, y) = (gateUp + row * stride, out + row * outStride)
            switch (c.isGated, c.activation) {
            case (true, .silu): kernels.functions.silu_gate(gate, gate + outStride, y, c.intermediateSize)
            case (true, .geluTanh): kernels.functions.gelu_gate(gate, gate + outStride, y, c.intermediateSize)
            case (false, .geluTanh):
                y.update(from: gate, count: c.intermediateSize)
                kernels.functions.gelu(y, c.intermediateSize)
            case (false, .silu): preconditionFailure("no family has a plain MLP with silu")
            }
        }
    }

    /// hidden += w(x), or hidden += norm(w(x)), whose w(x) is kept.
    private func addProjected(
        _ projection: Projection, _ x: Floats, _ norm: NormPlan?, _ raw: FloatBuffer?, into hidden: Floats, _ rows: Int
    ) {
        guard let norm, let raw else {
            return kernels.apply(projection, weights, adapters, x, rows: rows, into: hidden, add: true)
        }
        kernels.apply(projection, weights, adapters, x, rows: rows, into: raw.pointer)
        let normed = memory.normed.pointer
        kernels.normalize(
            norm, configuration.norm, weights, raw.pointer, into: normed, rows: rows, stride: width,
            count: configuration.hiddenSize)
        kernels.forRows(rows, cost: width) { kernels.functions.add(hidden + $0 * width, normed + $0 * width, width) }
    }

    // MARK: Layers, backward

    /// From d = d loss / d (the layer's output) to d loss / d (its input), in place.
    private func layerBackward(_ layer: Int, _ pass: TrainingPass, _ d: Floats) {
        let c = configuration
        let rows = pass.rowCount
        let plan = plan.layers[layer]
        let x = memory.input(layer)
        if case .inputs = memory.keeping { attention(layer, pass, x) }
        if memory.keeping != .everything { gateUp(layer, rows) }
        let kept = memory.layer(layer)
        let (normed, dNormed) = (memory.normed.pointer, memory.dNormed.pointer)

        activate(layer, rows)
        let dDown = beforePostNorm(plan.feedForwardPostNorm, layer, feedForward: true, d, pass)
        kernels.applyBackward(
            plan.down, weights, adapters, memory.activation, dDown, rows: rows, into: memory.dActivation)
        activateBackward(layer, rows)
        kernels.normalize(
            plan.feedForwardNorm, c.norm, weights, kept.hidden.pointer, into: normed, rows: rows, stride: width,
            count: c.hiddenSize)
        kernels.applyBackward(
            plan.gateUp, weights, adapters, normed, kept.gateUp.pointer, rows: rows, into: dNormed)
        kernels.normalizeBackward(
            plan.feedForwardNorm, c.norm, weights, kept.hidden.pointer, dNormed, into: d, rows: rows, stride: width,
            count: c.hiddenSize)

        let dOut = beforePostNorm(plan.attentionPostNorm, layer, feedForward: false, d, pass)
        kernels.applyBackward(
            plan.attentionOutput, weights, adapters, kept.attended.pointer, dOut, rows: rows,
            into: memory.dAttended)
        attendBackward(layer, pass, kept)
        kernels.normalize(
            plan.attentionNorm, c.norm, weights, x, into: normed, rows: rows, stride: width, count: c.hiddenSize)
        kernels.applyBackward(
            plan.queryKeyValue, weights, adapters, normed, memory.dQueryKeyValue, rows: rows, into: dNormed)
        kernels.normalizeBackward(
            plan.attentionNorm, c.norm, weights, x, dNormed, into: d, rows: rows, stride: width, count: c.hiddenSize)
    }

    /// d itself, or where a norm stands behind the projection what is before it.
    private func beforePostNorm(
        _ norm: NormPlan?, _ layer: Int, feedForward: Bool, _ d: Floats, _ pass: TrainingPass
    ) -> Floats {
        let kept = memory.layer(layer)
        guard let norm, let buffer = memory.dRaw, let raw = feedForward ? kept.rawFeedForward : kept.rawAttention else {
            return d
        }
        let rows = pass.rowCount
        if feedForward, memory.keeping != .everything {
            // Recomputation ends before this projection.
            kernels.apply(
                plan.layers[layer].down, weights, adapters, memory.activation, rows: rows, into: raw.pointer)
        }
        memset(buffer.pointer, 0, 4 * rows * width)
        kernels.normalizeBackward(
            norm, configuration.norm, weights, raw.pointer, d, into: buffer.pointer, rows: rows, stride: width,
            count: configuration.hiddenSize)
        return buffer.pointer
    }

    /// Turns gate and up into their gradients.
    private func activateBackward(_ layer: Int, _ rows: Int) {
        let c = configuration
        let gateUp = memory.layer(layer).gateUp.pointer
        let stride = plan.layers[layer].gateUp.outputStride
        let dStride = plan.layers[layer].down.inputStride
        let d = memory.dActivation
        kernels.forRows(rows, cost: stride) { row in
            let (gate, dy) = (gateUp + row * stride, d + row * dStride)
            switch (c.isGated, c.activation) {
            case (true, .silu): kernels.functions.silu_gate_backward(gate, gate + dStride, dy, c.intermediateSize)
            case (true, .geluTanh): kernels.functions.gelu_gate_backward(gate, gate + dStride, dy, c.intermediateSize)
            case (false, .geluTanh):
                kernels.functions.gelu_backward(gate, dy, c.intermediateSize)
                gate.update(from: dy, count: c.intermediateSize)
            case (false, .silu): preconditionFailure("no family has a plain MLP with silu")
            }
        }
    }

    private func embedBackward(_ pass: TrainingPass, _ d: Floats) {
        guard let gradients = weights.training?.gradients else { return }
        let stride = weights.parameters[plan.embedding].stride
        let positions = plan.positions
        for row in 0..<pass.rowCount {
            let dRow = d + row * width
            if let positions {
                let position = pass.positions[row] * weights.parameters[positions].stride
                kernels.addRow(dRow, into: gradients.elements(positions) + position, count: width)
            }
            if configuration.embeddingScale != 1 {
                kernels.functions.scale(dRow, configuration.embeddingScale, width)
            }
            kernels.addRow(
                dRow, into: gradients.elements(plan.embedding) + Int(pass.tokens[row]) * stride, count: width)
        }
    }

    // MARK: Attention

    /// Where queries, keys and values begin in a row.
    private func heads(_ layer: Int) -> (keys: Int, values: Int, stride: Int) {
        let parts = plan.layers[layer].queryKeyValue.parts
        return (parts[1].firstColumn, parts[2].firstColumn, plan.layers[layer].queryKeyValue.outputStride)
    }

    private func normalizeHeads(_ plan: LayerPlan, _ x: Floats, into y: Floats, _ rows: Int) {
        let stride = plan.queryKeyValue.outputStride
        forHeads(plan) { norm, column in
            kernels.normalize(
                norm, configuration.norm, weights, x + column, into: y + column, rows: rows, stride: stride,
                count: configuration.headSize)
        }
    }

    private func forHeads(_ plan: LayerPlan, _ body: (NormPlan, Int) -> Void) {
        let size = configuration.headSize
        if let norm = plan.queryNorm {
            for head in 0..<configuration.headCount { body(norm, head * size) }
        }
        if let norm = plan.keyNorm {
            for head in 0..<configuration.keyValueHeadCount {
                body(norm, plan.queryKeyValue.parts[1].firstColumn + head * size)
            }
        }
    }

    private func rotate(_ layer: Int, _ pass: TrainingPass, _ x: Floats, _ tables: [RotaryTable]) {
        let c = configuration
        if tables.isEmpty { return }
        let table = tables[c.layers[layer].rotary]
        let (keys, _, stride) = heads(layer)
        kernels.forRows(pass.rowCount, cost: stride) { row in
            let (cosine, sine) = table.angles(pass.positions[row])
            let query = x + row * stride
            kernels.functions.rotate(query, c.headCount, c.headSize, cosine, sine, table.half)
            kernels.functions.rotate(query + keys, c.keyValueHeadCount, c.headSize, cosine, sine, table.half)
        }
    }

    private struct AttentionGradients {
        var dQueries, dKeys, dValues: Floats
        var stride: Int
    }

    /// Every head of every tree; backward where gradients are given.
    private func attend(_ layer: Int, _ pass: TrainingPass, _ kept: KeptLayer, backward: AttentionGradients?) {
        let c = configuration
        let (keys, values, stride) = heads(layer)
        let group = c.headCount / c.keyValueHeadCount
        let outStride = plan.layers[layer].attentionOutput.inputStride
        let queryKeyValue = kept.queryKeyValue.pointer
        let function = backward == nil ? kernels.attendHead : kernels.attendHeadBackward
        let dAttended = memory.dAttended
        let longest = pass.trees.joined().map { $0.context + $0.count }.max() ?? 0
        memory.growScratch(kernels_head_attention_scratch(longest, c.headSize), workers: kernels.pool.threadCount)
        let work = WorkList(pass.trees.count * c.headCount)
        kernels.pool.run(kernels.pool.threadCount) { worker in
            while let piece = work.next() {
                let (tree, head) = (pass.trees[piece / c.headCount], piece % c.headCount)
                for segment in tree {
                    var call = head_attention()
                    call.q = UnsafePointer(queryKeyValue + head * c.headSize)
                    call.k = UnsafePointer(queryKeyValue + keys + head / group * c.headSize)
                    call.v = UnsafePointer(queryKeyValue + values + head / group * c.headSize)
                    call.stride = stride
                    call.context_row = segment.contextRow
                    call.context = segment.context
                    call.own_row = segment.firstRow
                    call.count = segment.count
                    call.head_size = c.headSize
                    call.window = c.layers[layer].window ?? 0
                    call.scale = c.attentionScale
                    call.softcap = c.attentionSoftcap ?? 0
                    call.out = kept.attended.pointer + head * c.headSize
                    call.out_stride = outStride
                    call.log_sums = kept.logSums.pointer + head
                    call.log_sums_stride = c.headCount
                    call.scratch = memory.scratch[worker].pointer
                    if let backward {
                        call.d_out = UnsafePointer(dAttended + head * c.headSize)
                        call.dq = backward.dQueries + head * c.headSize
                        call.dk = backward.dKeys + head * c.headSize
                        call.dv = backward.dValues + head * c.headSize
                        call.d_stride = backward.stride
                    }
                    function(&call)
                }
            }
        }
    }

    /// From dAttended to dQueryKeyValue, before rotation and head norms.
    private func attendBackward(_ layer: Int, _ pass: TrainingPass, _ kept: KeptLayer) {
        let c = configuration
        let rows = pass.rowCount
        let (keys, values, stride) = heads(layer)
        let headStride = PackedMatrix.padded(c.headCount * c.headSize)
        let gradients = AttentionGradients(
            dQueries: memory.dHeads, dKeys: memory.dHeads + rows * headStride,
            dValues: memory.dHeads + 2 * rows * headStride, stride: headStride)
        kernels.forRows(2 * rows, cost: headStride) { memset(gradients.dKeys + $0 * headStride, 0, 4 * headStride) }
        attend(layer, pass, kept, backward: gradients)
        let d = memory.dQueryKeyValue
        let group = c.headCount / c.keyValueHeadCount
        // The query heads that share a key-value head add up, in their order.
        kernels.forRows(rows, cost: stride) { row in
            let target = d + row * stride
            memset(target, 0, 4 * stride)
            target.update(from: gradients.dQueries + row * headStride, count: c.headCount * c.headSize)
            for head in 0..<c.headCount {
                let column = head / group * c.headSize
                let source = row * headStride + head * c.headSize
                kernels.functions.add(target + keys + column, gradients.dKeys + source, c.headSize)
                kernels.functions.add(target + values + column, gradients.dValues + source, c.headSize)
            }
        }
        rotate(layer, pass, d, reversedTables)
        if let raw = kept.rawQueryKey { normalizeHeadsBackward(layer, raw.pointer, d, rows) }
    }

    private func normalizeHeadsBackward(_ layer: Int, _ raw: Floats, _ d: Floats, _ rows: Int) {
        let (_, values, stride) = heads(layer)
        // What the norms see is another memory than what they give; values pass by.
        let before = memory.dHeads
        kernels.forRows(rows, cost: stride) { row in
            (before + row * stride).update(from: d + row * stride, count: values)
            memset(d + row * stride, 0, 4 * values)
        }
        forHeads(plan.layers[layer]) { norm, column in
            kernels.normalizeBackward(
                norm, configuration.norm, weights, raw + column, before + column, into: d + column, rows: rows,
                stride: stride, count: configuration.headSize)
        }
    }
}

/// What an adapter's product is multiplied by, and its rank.
package struct LoRAScale: Hashable, Sendable {
    package var rank: Int
    package var scale: Float

    package init(rank: Int, scale: Float) {
        self.rank = rank
        self.scale = scale
    }
}
