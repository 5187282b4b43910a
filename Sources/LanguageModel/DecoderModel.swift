internal import CKernels
internal import Glibc

/// A decoder in memory: embeds tokens, runs the layers over a batch of rows, and turns rows into logits.
///
/// One forward pass serves prefill, decoding and scoring. A row's result depends on its own sequence alone: not on
/// the rows beside it, on how a prompt was cut into passes, or on the number of threads.
package final class DecoderModel: @unchecked Sendable {
    // Weights never change once loaded; the workspace belongs to the one caller at a time.
    package let configuration: ModelConfiguration
    package let weights: Weights
    package let kernels: Kernels
    private let functions: kernels
    private var workspace = Workspace()
    private var rotaryTables: [RotaryTable]

    package init(configuration: ModelConfiguration, weights: Weights, kernels: Kernels) {
        self.configuration = configuration
        self.weights = weights
        self.kernels = kernels
        functions = kernels.functions
        switch configuration.positions {
        case .rotary(let rotaries): rotaryTables = rotaries.map { RotaryTable($0) }
        case .learned: rotaryTables = []
        }
    }

    /// Floats from one row of hidden states to the next.
    private var stateStride: Int { PackedMatrix.padded(configuration.hiddenSize) }

    package var cacheFormat: KVCache.Format { weights.format == .f32 ? .f32 : .bf16 }

    /// Runs every row through every layer; keys and values go into `cache`, final states stay for `logits`.
    package func forward(_ batch: Batch, cache: KVCache) {
        let rows = batch.rowCount
        workspace.grow(to: rows, configuration)
        let positions = batch.segments.flatMap { $0.firstPosition..<$0.firstPosition + $0.rowCount }
        for table in rotaryTables.indices { rotaryTables[table].grow(to: (positions.max() ?? 0) + 1) }
        embed(batch.tokens, positions)
        for (index, layer) in weights.layers.enumerated() {
            attend(index, layer, batch, positions, cache)
            feedForward(layer, rows)
        }
    }

    /// The logits of some rows of the last forward pass: (rows.count, vocabularySize), valid until the next call.
    package func logits(rows: [Int]) -> UnsafeBufferPointer<Float> {
        let width = stateStride
        let stride = weights.output.matrix.columns
        workspace.growLogits(rows: rows.count, width: width, stride: stride)
        let states = workspace.states.pointer
        let logits = workspace.logits.pointer
        for (place, row) in rows.enumerated() {
            normalize(workspace.hidden.pointer + row * width, weights.finalNorm, into: states + place * width)
        }
        kernels.product(states, aStride: width, rows: rows.count, weights.output, into: logits, cStride: stride)
        let vocabulary = configuration.vocabularySize
        for place in rows.indices {
            let row = logits + place * vocabulary
            // Panels end behind the vocabulary; rows close up.
            if stride != vocabulary, place > 0 { memmove(row, logits + place * stride, vocabulary * 4) }
        }
        if let cap = configuration.finalSoftcap {
            kernels.pool.run(rows.count) { functions.softcap(logits + $0 * vocabulary, cap, vocabulary) }
        }
        return UnsafeBufferPointer(start: logits, count: rows.count * vocabulary)
    }

    /// ln sum exp of one row of logits, in nats.
    package func logSumExp(_ logits: UnsafePointer<Float>) -> Float {
        functions.log_sum_exp(logits, configuration.vocabularySize)
    }

    // MARK: Pieces

    private func embed(_ tokens: [Int32], _ positions: [Int]) {
        let width = stateStride
        let hidden = workspace.hidden.pointer
        kernels.pool.run(tokens.count) { row in
            let x = hidden + row * width
            weights.embedding.row(Int(tokens[row]), into: x)
            if configuration.embeddingScale != 1 { functions.scale(x, configuration.embeddingScale, width) }
            if let learned = weights.positions {
                let size = configuration.hiddenSize
                functions.add(x, learned.pointer + positions[row] * size, size)
            }
        }
    }

    private func attend(_ index: Int, _ layer: Weights.Layer, _ batch: Batch, _ positions: [Int], _ cache: KVCache) {
        let rows = batch.rowCount
        let width = stateStride
        let hidden = workspace.hidden.pointer
        let normed = workspace.normed.pointer
        let fused = workspace.fused.pointer
        let stride = layer.queryKeyValue.matrix.columns
        normalizeRows(hidden, layer.attentionNorm, into: normed, rows)
        kernels.product(normed, aStride: width, rows: rows, layer.queryKeyValue, into: fused, cStride: stride)
        storeKeysAndValues(index, layer, batch, positions, cache)
        attendRows(index, layer, batch, cache)
        project(layer.attentionOutput, workspace.attended.pointer, layer.attentionPostNorm, rows)
    }

    /// Normalises and turns queries and keys, and writes keys and values into their pages.
    private func storeKeysAndValues(
        _ index: Int, _ layer: Weights.Layer, _ batch: Batch, _ positions: [Int], _ cache: KVCache
    ) {
        let c = configuration
        let size = c.headSize
        let stride = layer.queryKeyValue.matrix.columns
        let keyStart = PackedMatrix.padded(c.headCount * size)
        let valueStart = keyStart + PackedMatrix.padded(c.keyValueHeadCount * size)
        let fused = workspace.fused.pointer
        let table = rotaryTables.isEmpty ? nil : rotaryTables[c.layers[index].rotary]
        forEachRow(batch) { row, segment in
            let query = fused + row * stride
            let key = query + keyStart
            if let norm = layer.queryNorm {
                for head in 0..<c.headCount { normalize(query + head * size, norm, into: query + head * size) }
            }
            if let norm = layer.keyNorm {
                for head in 0..<c.keyValueHeadCount { normalize(key + head * size, norm, into: key + head * size) }
            }
            if let table {
                let (cosine, sine) = table.angles(positions[row])
                functions.rotate(query, c.headCount, size, cosine, sine, table.half)
                functions.rotate(key, c.keyValueHeadCount, size, cosine, sine, table.half)
            }
            let page = segment.pages[positions[row] / KVCache.pageSize]
            for head in 0..<c.keyValueHeadCount {
                cache.store(
                    key: key + head * size, value: query + valueStart + head * size, layer: index, head: head,
                    page: page, slot: positions[row] % KVCache.pageSize)
            }
        }
    }

    private func forEachRow(_ batch: Batch, _ body: (Int, Batch.Segment) -> Void) {
        let chunk = 8
        var pieces: [(segment: Int, rows: Range<Int>)] = []
        for (index, segment) in batch.segments.enumerated() {
            let end = segment.firstRow + segment.rowCount
            for row in stride(from: segment.firstRow, to: end, by: chunk) {
                pieces.append((index, row..<min(row + chunk, end)))
            }
        }
        kernels.pool.run(pieces.count) { piece in
            for row in pieces[piece].rows { body(row, batch.segments[pieces[piece].segment]) }
        }
    }

    private func attendRows(_ index: Int, _ layer: Weights.Layer, _ batch: Batch, _ cache: KVCache) {
        let c = configuration
        let group = c.headCount / c.keyValueHeadCount
        let stride = layer.queryKeyValue.matrix.columns
        let outStride = PackedMatrix.padded(c.headCount * c.headSize)
        let queries = workspace.fused.pointer
        let out = workspace.attended.pointer
        // Some rows of one sequence and one key-value head at a time; the longest sequences first.
        let chunk = max(1, 48 / group)
        var pieces: [(segment: Int, head: Int, row: Int)] = []
        for (index, segment) in batch.segments.enumerated() {
            for head in 0..<c.keyValueHeadCount {
                for row in Swift.stride(from: 0, to: segment.rowCount, by: chunk).reversed() {
                    pieces.append((index, head, row))
                }
            }
        }
        let function = cache.format == .f32 ? functions.attention_f32! : functions.attention_bf16!
        kernels.pool.run(pieces.count) { piece in
            let (segmentIndex, head, firstRow) = pieces[piece]
            let segment = batch.segments[segmentIndex]
            let row = segment.firstRow + firstRow
            var call = attention()
            call.q = UnsafePointer(queries + row * stride + head * group * c.headSize)
            call.q_stride = stride
            call.out = out + row * outStride + head * group * c.headSize
            call.out_stride = outStride
            call.keys = UnsafePointer(cache.keys(layer: index, head: head).assumingMemoryBound(to: CChar.self))
            call.values = UnsafePointer(cache.values(layer: index, head: head).assumingMemoryBound(to: CChar.self))
            call.page_stride = cache.pageStride
            call.queries = min(chunk, segment.rowCount - firstRow)
            call.group = group
            call.head_size = c.headSize
            call.first_position = segment.firstPosition + firstRow
            call.window = c.layers[index].window ?? 0
            call.scale = c.attentionScale
            call.softcap = c.attentionSoftcap ?? 0
            segment.pages.withUnsafeBufferPointer { pages in
                call.pages = pages.baseAddress
                function(&call)
            }
        }
    }

    private func feedForward(_ layer: Weights.Layer, _ rows: Int) {
        let c = configuration
        let stride = layer.gateUp.matrix.columns
        let fused = workspace.fused.pointer
        let width = PackedMatrix.padded(c.intermediateSize)
        normalizeRows(workspace.hidden.pointer, layer.feedForwardNorm, into: workspace.normed.pointer, rows)
        kernels.product(
            workspace.normed.pointer, aStride: stateStride, rows: rows, layer.gateUp, into: fused, cStride: stride)
        let out = c.isGated ? workspace.attended.pointer : fused
        inRows(rows, cost: width) { row in
            let gate = fused + row * stride
            switch (c.isGated, c.activation) {
            case (true, .silu): functions.silu_gate(gate, gate + width, out + row * width, c.intermediateSize)
            case (true, .geluTanh): functions.gelu_gate(gate, gate + width, out + row * width, c.intermediateSize)
            case (false, .geluTanh): functions.gelu(gate, c.intermediateSize)
            case (false, .silu): preconditionFailure("no family has a plain MLP with silu")
            }
        }
        project(layer.down, out, layer.feedForwardPostNorm, rows)
    }

    /// hidden += w(x), or hidden += norm(w(x)) where the family has a norm behind.
    private func project(_ w: Linear, _ x: UnsafeMutablePointer<Float>, _ postNorm: Weights.Norm?, _ rows: Int) {
        let width = stateStride
        let hidden = workspace.hidden.pointer
        let inner = PackedMatrix.padded(w.matrix.inner)
        guard let postNorm else {
            kernels.product(x, aStride: inner, rows: rows, w, into: hidden, cStride: width, add: true)
            return
        }
        let normed = workspace.normed.pointer
        kernels.product(x, aStride: inner, rows: rows, w, into: normed, cStride: width)
        inRows(rows, cost: width) { row in
            normalize(normed + row * width, postNorm, into: normed + row * width)
            functions.add(hidden + row * width, normed + row * width, width)
        }
    }

    private func normalizeRows(
        _ x: UnsafeMutablePointer<Float>, _ norm: Weights.Norm, into y: UnsafeMutablePointer<Float>, _ rows: Int
    ) {
        let width = stateStride
        inRows(rows, cost: width) { normalize(x + $0 * width, norm, into: y + $0 * width) }
    }

    private func normalize(
        _ x: UnsafePointer<Float>, _ norm: Weights.Norm, into y: UnsafeMutablePointer<Float>
    ) {
        let epsilon = configuration.norm.epsilon
        switch configuration.norm.kind {
        case .rms: functions.rms_norm(x, norm.weight.pointer, 0, epsilon, y, norm.weight.count)
        case .rmsPlusOne: functions.rms_norm(x, norm.weight.pointer, 1, epsilon, y, norm.weight.count)
        case .layer: functions.layer_norm(x, norm.weight.pointer, norm.bias!.pointer, epsilon, y, norm.weight.count)
        }
    }

    /// Splits light work over threads only where it pays for their waking.
    private func inRows(_ rows: Int, cost: Int, _ body: (Int) -> Void) {
        let chunk = max(1, 16_384 / cost)
        kernels.pool.run((rows + chunk - 1) / chunk) { piece in
            for row in piece * chunk..<min(rows, (piece + 1) * chunk) { body(row) }
        }
    }
}

/// The buffers between kernels, grown to the largest batch so far.
private struct Workspace {
    var hidden = FloatBuffer(count: 0)
    var normed = FloatBuffer(count: 0)
    /// Queries, keys and values side by side, and later gate and up.
    var fused = FloatBuffer(count: 0)
    /// What attention gives, and later what the activation gives.
    var attended = FloatBuffer(count: 0)
    var states = FloatBuffer(count: 0)
    var logits = FloatBuffer(count: 0)
    private var rows = 0

    mutating func grow(to rows: Int, _ c: ModelConfiguration) {
        guard rows > self.rows else { return }
        self.rows = rows
        let queries = PackedMatrix.padded(c.headCount * c.headSize)
        let attention = queries + 2 * PackedMatrix.padded(c.keyValueHeadCount * c.headSize)
        let intermediate = PackedMatrix.padded(c.intermediateSize)
        hidden = FloatBuffer(count: rows * PackedMatrix.padded(c.hiddenSize))
        normed = FloatBuffer(count: rows * PackedMatrix.padded(c.hiddenSize))
        fused = FloatBuffer(count: rows * max(attention, (c.isGated ? 2 : 1) * intermediate))
        attended = FloatBuffer(count: rows * max(queries, intermediate))
    }

    mutating func growLogits(rows: Int, width: Int, stride: Int) {
        if states.count < rows * width { states = FloatBuffer(count: rows * width) }
        if logits.count < rows * stride { logits = FloatBuffer(count: rows * stride) }
    }
}
