import CKernels
import Testing

/// The kernels of training: plain C against central differences, and every variant of this CPU against plain C.
@Suite struct TrainingKernelTests {
    typealias Variant = KernelVariantTests.Variant
    typealias Values = KernelVariantTests.Values

    /// d (Σ y·dy) / d x by central differences, of a function of floats.
    private func slopes(_ x: [Float], _ dy: [Float], _ function: ([Float]) -> [Float]) -> [Float] {
        x.indices.map { place in
            func loss(_ step: Float) -> Double {
                var moved = x
                moved[place] += step
                return zip(function(moved), dy).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            }
            return Float((loss(2e-2) - loss(-2e-2)) / 4e-2)
        }
    }

    private func expectClose(_ found: [Float], _ expected: [Float], _ tolerance: Float) {
        #expect(found.count == expected.count)
        for (place, (one, other)) in zip(found, expected).enumerated() where !(abs(one - other) <= tolerance) {
            Issue.record("at \(place): \(one), not \(other)")
            return
        }
    }

    // MARK: Rows

    @Test func `Sums in bf16 are rounded to the nearest, ties to even`() {
        // Steps of bf16 are 1/128 from 1 to 2, and 1/64 from 2 on.
        var sums: [UInt16] = [0x3f80, 0x3f80, 0x3f81, 0x3f80, 0xbf80, 0x4000, 0x7f80, 0x3f80, 0]
        let added: [Float] = [0x1p-8, 0x1.01p-8, 0x1p-8, -0x1p-9, 1, 0x1.8p-7, 1, .nan, 0x1.ffp-140]
        kernels_add_bf16(&sums, added, sums.count)
        #expect(sums[..<7] == [0x3f80, 0x3f81, 0x3f82, 0x3f80, 0, 0x4001, 0x7f80])
        #expect(Float(bitPattern: UInt32(sums[7]) << 16).isNaN)
        #expect(sums[8] == 0)
    }

    @Test(arguments: [3, 16, 45])
    func `Norms' gradients are slopes`(_ count: Int) {
        let plain = KernelVariantTests.plain
        var values = Values(state: UInt64(count))
        let x = values.array(count, scale: 2)
        let (weight, bias, dy) = (values.array(count), values.array(count), values.array(count))
        for offset: Float in [0, 1] {
            func norm(_ x: [Float], _ weight: [Float]) -> [Float] {
                var y = [Float](repeating: 0, count: count)
                plain.rms_norm(x, weight, offset, 1e-5, &y, count)
                return y
            }
            var (dx, dweight) = ([Float](repeating: 1, count: count), [Float](repeating: 2, count: count))
            plain.rms_norm_backward(x, weight, offset, 1e-5, dy, &dx, &dweight, count)
            expectClose(dx.map { $0 - 1 }, slopes(x, dy) { norm($0, weight) }, 3e-3)
            expectClose(dweight.map { $0 - 2 }, slopes(weight, dy) { norm(x, $0) }, 3e-3)
        }
        func norm(_ x: [Float], _ weight: [Float], _ bias: [Float]) -> [Float] {
            var y = [Float](repeating: 0, count: count)
            plain.layer_norm(x, weight, bias, 1e-5, &y, count)
            return y
        }
        var (dx, dweight, dbias) = ([Float](repeating: 0, count: count), [Float](repeating: 0, count: count), dy)
        plain.layer_norm_backward(x, weight, 1e-5, dy, &dx, &dweight, &dbias, count)
        expectClose(dx, slopes(x, dy) { norm($0, weight, bias) }, 5e-3)
        expectClose(dweight, slopes(weight, dy) { norm(x, $0, bias) }, 5e-3)
        expectClose(dbias, dy.map { 2 * $0 }, 1e-6)
    }

    @Test func `Activations' gradients are slopes`() {
        let plain = KernelVariantTests.plain
        var values = Values(state: 4)
        let (gate, up, dy) = (values.array(37, scale: 4), values.array(37), values.array(37))
        func gated(
            _ function:
                @escaping (UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void
        ) -> ([Float], [Float]) -> [Float] {
            { gate, up in
                var y = [Float](repeating: 0, count: gate.count)
                function(gate, up, &y, gate.count)
                return y
            }
        }
        for (forward, backward) in [
            (gated(plain.silu_gate), plain.silu_gate_backward!), (gated(plain.gelu_gate), plain.gelu_gate_backward!),
        ] {
            var (dgate, dup) = (gate, up)
            backward(&dgate, &dup, dy, 37)
            expectClose(dgate, slopes(gate, dy) { forward($0, up) }, 2e-3)
            expectClose(dup, slopes(up, dy) { forward(gate, $0) }, 2e-3)
        }
        var slope = dy
        plain.gelu_backward(gate, &slope, 37)
        expectClose(
            slope,
            slopes(gate, dy) {
                var y = $0
                plain.gelu(&y, 37)
                return y
            }, 2e-3)
    }

    @Test func `The softmax's gradient is a slope, also through a cap`() {
        let plain = KernelVariantTests.plain
        var values = Values(state: 8)
        let raw = values.array(21, scale: 6)
        for cap: Float in [0, 5] {
            func capped(_ x: [Float]) -> [Float] {
                var y = x
                if cap > 0 { plain.softcap(&y, cap, y.count) }
                return y
            }
            var gradient = capped(raw)
            plain.softmax_backward(&gradient, plain.log_sum_exp(gradient, 21), 1.5, cap, 21)
            expectClose(gradient, slopes(raw, [1.5]) { [plain.log_sum_exp(capped($0), 21)] }, 3e-3)
        }
    }

    @Test(arguments: KernelVariantTests.vectors)
    func `Rows' gradients are plain C's`(_ variant: Variant) {
        let (plain, other) = (KernelVariantTests.plain, variant.table.pointee)
        for count in [1, 15, 16, 130] {
            var values = Values(state: UInt64(count))
            let (x, weight, dy) = (values.array(count, scale: 3), values.array(count), values.array(count))
            let both = [plain, other].map { table -> [[Float]] in
                var (dx, dweight, dbias) = (x, x, x)
                table.rms_norm_backward(x, weight, 1, 1e-5, dy, &dx, &dweight, count)
                table.layer_norm_backward(x, weight, 1e-3, dy, &dx, &dweight, &dbias, count)
                var (gate, up, gelu, soft) = (x, weight, dy, x)
                table.silu_gate_backward(&gate, &up, dy, count)
                var (gate2, up2) = (x, weight)
                table.gelu_gate_backward(&gate2, &up2, dy, count)
                table.gelu_backward(x, &gelu, count)
                table.softmax_backward(&soft, table.log_sum_exp(x, count), -0.5, 4, count)
                let sum = Float(table.sum_squares(x, count))
                var (m, v, w) = (dy, x.map { $0 * $0 }, weight)
                var settings = adamw()
                settings.learning_rate = 0.1
                settings.beta1 = 0.9
                settings.beta2 = 0.99
                settings.epsilon = 1e-8
                settings.weight_decay = 0.1
                settings.correction1 = 0.3
                settings.correction2 = 0.2
                settings.gradient_scale = 0.5
                table.adamw(&settings, x, &m, &v, &w, count)
                return [dx, dweight, dbias, gate, up, gate2, up2, gelu, soft, [sum], m, v, w]
            }
            for (one, two) in zip(both[1], both[0]) { expectClose(one, two, 1e-4) }
        }
    }

    @Test(arguments: KernelVariantTests.vectors)
    func `Floats are packed and turned as plain C does, to the last bit`(_ variant: Variant) {
        let (plain, other) = (KernelVariantTests.plain, variant.table.pointee)
        for (rows, columns) in [(2, 3), (30, 16), (32, 48), (64, 33), (70, 80), (96, 16)] {
            var values = Values(state: UInt64(rows))
            var x = values.array((rows + 1) * (columns + 5), scale: 3)
            x[0] = .nan
            x[1] = -.infinity
            x[2] = 0x1p-140
            for isTransposed in [false, true] {
                let (panelColumns, inner) = isTransposed ? (columns, rows) : (rows, columns / 2 * 2)
                let panels = (panelColumns + 15) / 16
                let packed = [plain, other].map { table -> [UInt16] in
                    var packed = [UInt16](repeating: 7, count: panels * 16 * inner + 32)
                    table.pack_floats(x, isTransposed, columns + 5, panelColumns, inner, 0, panels, &packed)
                    return packed
                }
                #expect(packed[0] == packed[1], "\(rows) x \(columns), transposed \(isTransposed)")
            }
            let stride = (rows + 31) / 32 * 32 + 32
            let turned = [plain, other].map { table -> [UInt16] in
                var turned = [UInt16](repeating: 7, count: columns * stride + 32)
                table.turn_bf16(x, columns + 5, rows, columns, &turned, stride)
                return turned
            }
            #expect(turned[0] == turned[1], "\(rows) x \(columns)")
            #expect(turned[1][(columns - 1) * stride + rows] == 0 && turned[1][columns * stride] == 7)
        }
    }

    @Test func `A matrix is transposed, and an odd number of rows filled up with zeros`() {
        for (rows, columns) in [(1, 1), (5, 3), (64, 32), (67, 41), (130, 70)] {
            var values = Values(state: 3)
            let x = values.array(rows * (columns + 2))
            let stride = (rows + 1) / 2 * 2
            var y = [Float](repeating: .nan, count: columns * stride)
            kernels_transpose(x, columns + 2, rows, columns, &y, stride)
            for row in 0..<rows {
                for column in 0..<columns where y[column * stride + row] != x[row * (columns + 2) + column] {
                    Issue.record("\(row), \(column) of \(rows), \(columns)")
                    return
                }
            }
            if rows % 2 != 0 { for column in 0..<columns { #expect(y[column * stride + rows] == 0) } }
        }
    }

    // MARK: Attention

    struct HeadCase: CustomTestStringConvertible {
        var context, count, headSize, window: Int
        var softcap: Float
        var testDescription: String {
            "\(count) behind \(context), head \(headSize), window \(window), cap \(softcap)"
        }
    }

    static let headCases = [
        HeadCase(context: 0, count: 1, headSize: 8, window: 0, softcap: 0),
        HeadCase(context: 0, count: 50, headSize: 12, window: 0, softcap: 0),
        HeadCase(context: 33, count: 49, headSize: 16, window: 0, softcap: 0),
        HeadCase(context: 20, count: 97, headSize: 64, window: 0, softcap: 3),
        HeadCase(context: 70, count: 60, headSize: 20, window: 9, softcap: 0),
        HeadCase(context: 3, count: 7, headSize: 256, window: 4, softcap: 2),
    ]

    /// One segment whose context lies behind it in memory.
    private struct Head {
        let x: HeadCase
        let rows: Int
        let stride: Int
        var q, k, v: [Float]
        let dOut: [Float]

        init(_ x: HeadCase) {
            self.x = x
            rows = x.context + x.count + 2
            stride = x.headSize + 5
            var values = Values(state: 12)
            (q, k, v) = (values.array(rows * stride), values.array(rows * stride), values.array(rows * stride))
            dOut = values.array(rows * stride)
        }

        struct Result {
            var out, logSums, dq, dk, dv: [Float]
        }

        func run(_ table: kernels, backward: Bool) -> Result {
            let zeros = [Float](repeating: 0, count: rows * stride)
            var result = Result(
                out: zeros, logSums: [Float](repeating: 0, count: rows), dq: zeros, dk: zeros, dv: zeros)
            var scratch = [Float](
                repeating: .nan, count: kernels_head_attention_scratch(x.context + x.count, x.headSize))
            q.withUnsafeBufferPointer { q in
                k.withUnsafeBufferPointer { k in
                    v.withUnsafeBufferPointer { v in
                        dOut.withUnsafeBufferPointer { dOut in
                            var call = head_attention()
                            (call.q, call.k, call.v) = (q.baseAddress, k.baseAddress, v.baseAddress)
                            (call.stride, call.out_stride, call.d_stride) = (stride, stride, stride)
                            (call.own_row, call.count) = (1, x.count)
                            (call.context_row, call.context) = (1 + x.count, x.context)
                            (call.head_size, call.window) = (x.headSize, x.window)
                            (call.scale, call.softcap) = (0.7, x.softcap)
                            call.log_sums_stride = 1
                            call.d_out = dOut.baseAddress
                            run(&call, &result, &scratch, table, backward)
                        }
                    }
                }
            }
            return result
        }

        private func run(
            _ call: inout head_attention, _ result: inout Result, _ scratch: inout [Float], _ table: kernels,
            _ backward: Bool
        ) {
            result.out.withUnsafeMutableBufferPointer { out in
                result.logSums.withUnsafeMutableBufferPointer { logSums in
                    result.dq.withUnsafeMutableBufferPointer { dq in
                        result.dk.withUnsafeMutableBufferPointer { dk in
                            result.dv.withUnsafeMutableBufferPointer { dv in
                                scratch.withUnsafeMutableBufferPointer { scratch in
                                    (call.out, call.log_sums) = (out.baseAddress, logSums.baseAddress)
                                    (call.dq, call.dk, call.dv) = (dq.baseAddress, dk.baseAddress, dv.baseAddress)
                                    call.scratch = scratch.baseAddress
                                    table.attend_head(&call)
                                    if backward { table.attend_head_backward(&call) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: headCases.prefix(3) + headCases.suffix(1))
    func `Attention's gradients are slopes`(_ x: HeadCase) {
        let plain = KernelVariantTests.plain
        var head = Head(x)
        let result = head.run(plain, backward: true)
        func loss() -> Double {
            let out = head.run(plain, backward: false).out
            return zip(out, head.dOut).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let arrays: [(WritableKeyPath<Head, [Float]>, [Float])] = [
            (\.q, result.dq), (\.k, result.dk), (\.v, result.dv),
        ]
        for (path, gradient) in arrays {
            for place in stride(from: 0, to: head.rows * head.stride, by: 37) {
                let before = head[keyPath: path][place]
                head[keyPath: path][place] = before + 2e-2
                let above = loss()
                head[keyPath: path][place] = before - 2e-2
                let below = loss()
                head[keyPath: path][place] = before
                #expect(abs(Float((above - below) / 4e-2) - gradient[place]) < 4e-3, "at \(place)")
            }
        }
    }

    @Test(arguments: KernelVariantTests.vectors, headCases)
    func `Attention and its gradients are plain C's`(_ variant: Variant, _ x: HeadCase) {
        let head = Head(x)
        let (found, expected) = (
            head.run(variant.table.pointee, backward: true), head.run(KernelVariantTests.plain, backward: true)
        )
        expectClose(found.out, expected.out, 1e-5)
        expectClose(found.logSums, expected.logSums, 1e-5)
        expectClose(found.dq, expected.dq, 1e-4)
        expectClose(found.dk, expected.dk, 1e-4)
        expectClose(found.dv, expected.dv, 1e-4)
    }

    static let narrowAttention = KernelVariantTests.vectors.filter { $0.table.pointee.attend_head_bf16 != nil }

    @Test(arguments: narrowAttention, headCases)
    func `Attention in bf16 is that in floats but for the rounding`(_ variant: Variant, _ x: HeadCase) {
        var narrow = variant.table.pointee
        narrow.attend_head = narrow.attend_head_bf16
        narrow.attend_head_backward = narrow.attend_head_backward_bf16
        let head = Head(x)
        let (found, expected) = (
            head.run(narrow, backward: true), head.run(KernelVariantTests.plain, backward: true)
        )
        func distance(_ path: KeyPath<Head.Result, [Float]>) -> Float {
            let (one, other) = (found[keyPath: path], expected[keyPath: path])
            let squares = zip(one, other).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            return (squares / other.reduce(0) { $0 + $1 * $1 }).squareRoot()
        }
        for path in [\.out, \.logSums, \.dv] as [KeyPath<Head.Result, [Float]>] {
            #expect(distance(path) < 4e-3)
        }
        // A query's only key has a weight of 1, whatever the two are.
        if x.context + x.count > 1 {
            #expect(distance(\.dq) < 1e-2)
            #expect(distance(\.dk) < 1e-2)
        }
    }
}
