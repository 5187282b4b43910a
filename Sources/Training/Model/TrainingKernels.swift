internal import CKernels
internal import LanguageModel

/// The products of a projection and of its gradients, and the passes over rows, on a model's kernels.
///
/// Weights are packed for each product, in the compute format: bf16 or f32; what is summed stays f32.
final class TrainingKernels {
    let kernels: Kernels
    let functions: kernels
    let format: PackedMatrix.Format
    /// Attention of one head, in the compute format where the variant has that.
    let attendHead, attendHeadBackward: (UnsafePointer<head_attention>?) -> Void
    private let weights: PackedMatrix
    private let inputs: PackedMatrix
    private var low = FloatBuffer(count: 0)
    private var lowGradient = FloatBuffer(count: 0)
    private var partials = FloatBuffer(count: 0)
    private var sums = FloatBuffer(count: 0)
    private var packedColumns = 0

    init(_ kernels: Kernels, format: PackedMatrix.Format) {
        self.kernels = kernels
        functions = kernels.functions
        self.format = format
        let isNarrow = format == .bf16
        attendHead = isNarrow ? functions.attend_head_bf16 ?? functions.attend_head : functions.attend_head
        attendHeadBackward =
            isNarrow
            ? functions.attend_head_backward_bf16 ?? functions.attend_head_backward : functions.attend_head_backward
        weights = PackedMatrix(format: format)
        inputs = PackedMatrix(format: format)
    }

    var pool: ThreadPool { kernels.pool }

    typealias Floats = UnsafeMutablePointer<Float>

    // MARK: Forward

    /// y (rows, outputStride) = x (rows, inputStride) * w' + bias, with adapters; or y += the same.
    func apply(
        _ projection: Projection, _ store: ParameterStore, _ adapters: ParameterStore?, _ x: Floats, rows: Int,
        into y: Floats, add: Bool = false
    ) {
        weights.pack(
            inner: projection.inputs, parts: projection.parts.map { forwardPart($0, projection, store) },
            kernels: kernels)
        kernels.product(
            x, aStride: projection.inputStride, rows: rows, Linear(matrix: weights, bias: bias(projection, store)),
            into: y, cStride: projection.outputStride, add: add)
        guard let adapters else { return }
        for part in projection.parts {
            guard let adapter = part.adapter else { continue }
            let stride = project(x, projection, adapter, adapters, rows)
            multiply(
                low.pointer, stride, rows, adapter.rank,
                part: dense(adapters, adapter.b, firstRow: part.firstOutput, rows: part.count),
                into: y + part.firstColumn, projection.outputStride, add: true)
        }
    }

    /// low (rows, padded rank) = scale * x A'; returns its stride.
    private func project(
        _ x: Floats, _ projection: Projection, _ adapter: Projection.Adapter, _ adapters: ParameterStore, _ rows: Int
    ) -> Int {
        let stride = PackedMatrix.padded(adapter.rank)
        grow(&low, even(rows) * stride)
        multiply(
            x, projection.inputStride, rows, projection.inputs,
            part: dense(adapters, adapter.a, firstRow: 0, rows: adapter.rank), into: low.pointer, stride)
        scaleRows(low.pointer, stride, rows, adapter.scale)
        return stride
    }

    // MARK: Backward

    /// The gradients of a projection, from dy (rows, outputStride): dx (rows, inputStride) is overwritten or added to,
    /// those of weights, biases and adapters are added to their stores where these are trained.
    func applyBackward(
        _ projection: Projection, _ store: ParameterStore, _ adapters: ParameterStore?, _ x: Floats, _ dy: Floats,
        rows: Int, into dx: Floats, add: Bool = false
    ) {
        for (index, part) in projection.parts.enumerated() {
            multiply(
                dy + part.firstColumn, projection.outputStride, rows, part.count,
                part: backwardPart(part, projection, store), into: dx, projection.inputStride, add: add || index > 0)
        }
        if store.training != nil { addWeightGradients(projection, store, x, dy, rows) }
        if let adapters { addAdapterGradients(projection, adapters, x, dy, rows, dx) }
    }

    private func addWeightGradients(
        _ projection: Projection, _ store: ParameterStore, _ x: Floats, _ dy: Floats, _ rows: Int
    ) {
        let isTransposed = projection.parts.contains { $0.isTransposed }
        if !isTransposed { packRows(x, projection.inputStride, rows, columns: projection.inputs) }
        for part in projection.parts {
            let parameter = store.parameters[part.weight]
            let gradient = store.training!.gradients.elements(part.weight)
            if part.isTransposed {
                packRows(dy + part.firstColumn, projection.outputStride, rows, columns: part.count)
                addProductOfRows(
                    x, projection.inputStride, rows, columns: projection.inputs, into: gradient + part.firstOutput,
                    stride: parameter.stride)
            } else {
                addProductOfRows(
                    dy + part.firstColumn, projection.outputStride, rows, columns: part.count,
                    into: gradient + part.firstOutput * parameter.stride, stride: parameter.stride)
            }
            if let bias = part.bias {
                let target = store.gradient(bias)! + (part.isTransposed ? part.firstOutput : 0)
                addColumnSums(dy + part.firstColumn, projection.outputStride, rows, part.count, into: target)
            }
        }
    }

    private func addAdapterGradients(
        _ projection: Projection, _ adapters: ParameterStore, _ x: Floats, _ dy: Floats, _ rows: Int, _ dx: Floats
    ) {
        for part in projection.parts {
            guard let adapter = part.adapter else { continue }
            let (a, b) = (adapters.parameters[adapter.a], adapters.parameters[adapter.b])
            let stride = project(x, projection, adapter, adapters, rows)
            let dyPart = dy + part.firstColumn
            // dB += dy' (scale x A')
            packRows(low.pointer, stride, rows, columns: adapter.rank)
            addProductOfRows(
                dyPart, projection.outputStride, rows, columns: part.count,
                into: .floats(adapters.gradient(adapter.b)!) + part.firstOutput * b.stride, stride: b.stride)
            // du = scale dy B;  dA += du' x;  dx += du A
            grow(&lowGradient, even(rows) * stride)
            let du = lowGradient.pointer
            multiply(
                dyPart, projection.outputStride, rows, part.count,
                part: PackedMatrix.Part(
                    source: adapters.value(adapter.b) + part.firstOutput * b.stride, type: KERNELS_F32,
                    isTransposed: true, stride: b.stride, columns: adapter.rank), into: du, stride)
            scaleRows(du, stride, rows, adapter.scale)
            packRows(x, projection.inputStride, rows, columns: projection.inputs)
            addProductOfRows(
                du, stride, rows, columns: adapter.rank, into: .floats(adapters.gradient(adapter.a)!), stride: a.stride)
            multiply(
                du, stride, rows, adapter.rank,
                part: PackedMatrix.Part(
                    source: adapters.value(adapter.a), type: KERNELS_F32, isTransposed: true, stride: a.stride,
                    columns: projection.inputs), into: dx, projection.inputStride, add: true)
        }
    }

    // MARK: Products

    /// c (rows, stride) = a (rows, aStride) * the part, whose inner size is `inner`; or c += the same.
    func multiply(
        _ a: Floats, _ aStride: Int, _ rows: Int, _ inner: Int, part: PackedMatrix.Part, into c: Floats, _ stride: Int,
        add: Bool = false
    ) {
        weights.pack(inner: even(inner), parts: [part], kernels: kernels)
        kernels.product(a, aStride: aStride, rows: rows, Linear(matrix: weights), into: c, cStride: stride, add: add)
    }

    /// Makes some rows the right-hand side of `addProductOfRows`: (rows, columns), rows inner.
    func packRows(_ x: Floats, _ stride: Int, _ rows: Int, columns: Int) {
        let part = PackedMatrix.Part(source: x, type: KERNELS_F32, isTransposed: true, stride: stride, columns: columns)
        inputs.pack(inner: even(rows), parts: [part], kernels: kernels)
        packedColumns = columns
    }

    /// target (columns, the packed rows' columns) += y' * packed rows, for y (rows, yStride).
    func addProductOfRows(
        _ y: Floats, _ yStride: Int, _ rows: Int, columns: Int, into target: Gradients.Elements, stride: Int
    ) {
        // What is turned at a time stays small, also for a vocabulary.
        let block = 512
        for start in Swift.stride(from: 0, to: columns, by: block) {
            let count = min(block, columns - start)
            switch target + start * stride {
            case .floats(let target):
                kernels.product(
                    transposing: y + start, aStride: yStride, inner: rows, columns: count, Linear(matrix: inputs),
                    into: target, cStride: stride, add: true)
            case .halves(let target):
                let width = inputs.columns
                grow(&sums, count * width)
                let (sums, packedColumns) = (sums.pointer, packedColumns)
                kernels.product(
                    transposing: y + start, aStride: yStride, inner: rows, columns: count, Linear(matrix: inputs),
                    into: sums, cStride: width)
                forRows(count, cost: width) { kernels_add_bf16(target + $0 * stride, sums + $0 * width, packedColumns) }
            }
        }
    }

    /// target += x
    func addRow(_ x: Floats, into target: Gradients.Elements, count: Int) {
        switch target {
        case .floats(let target): functions.add(target, x, count)
        case .halves(let target): kernels_add_bf16(target, x, count)
        }
    }

    func addColumnSums(_ x: Floats, _ stride: Int, _ rows: Int, _ columns: Int, into sums: Floats) {
        for row in 0..<rows { functions.add(sums, x + row * stride, columns) }
    }

    private func scaleRows(_ x: Floats, _ stride: Int, _ rows: Int, _ factor: Float) {
        functions.scale(x, factor, rows * stride)
    }

    private func forwardPart(_ part: Projection.Part, _ projection: Projection, _ store: ParameterStore)
        -> PackedMatrix.Part
    {
        let parameter = store.parameters[part.weight]
        let (source, type) = store.elements(
            part.weight, from: part.isTransposed ? part.firstOutput : part.firstOutput * parameter.stride)
        return PackedMatrix.Part(
            source: source, type: type, isTransposed: part.isTransposed, stride: parameter.stride,
            columns: part.count)
    }

    private func backwardPart(_ part: Projection.Part, _ projection: Projection, _ store: ParameterStore)
        -> PackedMatrix.Part
    {
        var packed = forwardPart(part, projection, store)
        packed.isTransposed.toggle()
        packed.columns = projection.inputs
        return packed
    }

    private func dense(_ store: ParameterStore, _ index: Int, firstRow: Int, rows: Int) -> PackedMatrix.Part {
        let parameter = store.parameters[index]
        return PackedMatrix.Part(
            source: store.value(index) + firstRow * parameter.stride, type: KERNELS_F32, isTransposed: false,
            stride: parameter.stride, columns: rows)
    }

    private func bias(_ projection: Projection, _ store: ParameterStore) -> FloatBuffer? {
        guard projection.parts.contains(where: { $0.bias != nil }) else { return nil }
        let buffer = FloatBuffer(count: projection.outputStride)
        for part in projection.parts {
            guard let bias = part.bias else { continue }
            let source = store.value(bias) + (part.isTransposed ? part.firstOutput : 0)
            (buffer.pointer + part.firstColumn).update(from: source, count: part.count)
        }
        return buffer
    }

    private func even(_ count: Int) -> Int { (count + 1) / 2 * 2 }

    private func grow(_ buffer: inout FloatBuffer, _ count: Int) {
        if buffer.count < count { buffer = FloatBuffer(count: count) }
    }

    // MARK: Norms

    /// y = norm(x), row by row; `count` values each, rows `stride` floats apart.
    func normalize(
        _ norm: NormPlan, _ kind: ModelConfiguration.Norm, _ store: ParameterStore, _ x: Floats, into y: Floats,
        rows: Int, stride: Int, count: Int
    ) {
        let weight = store.value(norm.weight)
        forRows(rows, cost: count) { row in
            let (x, y) = (x + row * stride, y + row * stride)
            switch kind.kind {
            case .rms: functions.rms_norm(x, weight, 0, kind.epsilon, y, count)
            case .rmsPlusOne: functions.rms_norm(x, weight, 1, kind.epsilon, y, count)
            case .layer: functions.layer_norm(x, weight, store.value(norm.bias!), kind.epsilon, y, count)
            }
        }
    }

    /// dx += the gradient with respect to x, and the weights' gradients to the store's.
    ///
    /// Rows are grouped into chunks of a fixed size, whose sums are added in order: the same for any number of threads.
    func normalizeBackward(
        _ norm: NormPlan, _ kind: ModelConfiguration.Norm, _ store: ParameterStore, _ x: Floats, _ dy: Floats,
        into dx: Floats, rows: Int, stride: Int, dStride: Int? = nil, count: Int
    ) {
        let chunk = 32
        let chunks = (rows + chunk - 1) / chunk
        let width = 2 * PackedMatrix.padded(count)
        grow(&partials, chunks * width)
        let partials = partials.pointer
        let weight = store.value(norm.weight)
        let dStride = dStride ?? stride
        pool.run(chunks) { piece in
            let dweight = partials + piece * width
            dweight.update(repeating: 0, count: width)
            for row in piece * chunk..<min(rows, (piece + 1) * chunk) {
                let (x, dy, dx) = (x + row * stride, dy + row * dStride, dx + row * dStride)
                switch kind.kind {
                case .rms: functions.rms_norm_backward(x, weight, 0, kind.epsilon, dy, dx, dweight, count)
                case .rmsPlusOne: functions.rms_norm_backward(x, weight, 1, kind.epsilon, dy, dx, dweight, count)
                case .layer:
                    functions.layer_norm_backward(
                        x, weight, kind.epsilon, dy, dx, dweight, dweight + width / 2, count)
                }
            }
        }
        guard let target = store.gradient(norm.weight) else { return }
        for piece in 0..<chunks {
            functions.add(target, partials + piece * width, count)
            if let bias = norm.bias {
                functions.add(store.gradient(bias)!, partials + piece * width + width / 2, count)
            }
        }
    }

    /// Light work, a row at a time.
    func forRows(_ rows: Int, cost: Int, _ body: (Int) -> Void) {
        let chunk = max(1, 16_384 / max(1, cost))
        pool.run((rows + chunk - 1) / chunk) { piece in
            for row in piece * chunk..<min(rows, (piece + 1) * chunk) { body(row) }
        }
    }
}
