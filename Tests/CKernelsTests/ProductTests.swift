import CKernels
import Testing

/// One call of a matrix product over packed weights, in the format that a variant wants its activations in.
struct Product {
    enum Format: CaseIterable { case f32, bf16, int8, w8a8 }

    var format: Format
    var inner: Int
    var panels: Int
    /// (rows, inner)
    var a: [Float]
    /// (columns, inner); the last panel is not full where columns are missing.
    var weights: [Float]
    /// (16 * panels), or none.
    var bias: [Float]?
    /// What c (rows, 16 * panels) holds before; the product is added to it where there is something.
    var before: [Float]?

    var rows: Int { a.count / inner }
    var columns: Int { weights.count / inner }

    /// Random activations and weights, `missing` columns short of whole panels.
    static func random(
        _ format: Format, rows: Int, inner: Int, panels: Int, missing: Int = 5, hasBias: Bool = true,
        isAdded: Bool = false
    ) -> Product {
        var values = KernelVariantTests.Values(state: UInt64(rows * 1_000_003 + inner * 101 + panels))
        return Product(
            format: format, inner: inner, panels: panels, a: values.array(rows * inner),
            weights: values.array((16 * panels - missing) * inner),
            bias: hasBias ? values.array(16 * panels) : nil,
            before: isAdded ? values.array(rows * 16 * panels) : nil)
    }

    var panelBytes: Int {
        switch format {
        case .f32: 64 * inner
        case .bf16: 32 * inner
        case .int8, .w8a8: 16 * ((inner + 3) / 4 * 4)
        }
    }

    func packed() -> (bytes: [UInt8], scale: [Float]) {
        var bytes = [UInt8](repeating: 0, count: panels * panelBytes)
        var scale = [Float](repeating: 1, count: 16 * panels)
        bytes.withUnsafeMutableBytes {
            switch format {
            case .f32:
                kernels_pack_f32(
                    weights, KERNELS_F32, false, inner, columns, inner, 0, panels,
                    $0.assumingMemoryBound(to: Float.self).baseAddress)
            case .bf16:
                kernels_pack_bf16(
                    weights, KERNELS_F32, false, inner, columns, inner, 0, panels,
                    $0.assumingMemoryBound(to: UInt16.self).baseAddress)
            case .int8, .w8a8:
                kernels_pack_int8(
                    weights, KERNELS_F32, false, inner, columns, inner, 0, panels,
                    $0.assumingMemoryBound(to: Int8.self).baseAddress, &scale)
            }
        }
        return (bytes, scale)
    }

    /// The rows as `table` wants them, and the bytes from one to the next.
    func activations(for table: kernels) -> (bytes: [UInt8], stride: Int) {
        let (prepare, size) =
            switch format {
            case .w8a8: (table.prepare_int8, table.prepared_int8_bytes)
            case .bf16: (table.prepare_bf16, table.prepared_bf16_bytes)
            case .f32, .int8: (nil, nil)
            }
        guard let prepare, let size else { return (a.withUnsafeBytes { Array($0) }, 4 * inner) }
        let stride = size(inner)
        // What lies there before must not matter.
        var bytes = [UInt8](repeating: 0xff, count: rows * stride)
        bytes.withUnsafeMutableBytes { bytes in
            for row in 0..<rows {
                a.withUnsafeBufferPointer {
                    prepare($0.baseAddress! + row * inner, bytes.baseAddress! + row * stride, inner)
                }
            }
        }
        return (bytes, stride)
    }

    /// c (rows, 16 * panels), and `margin` floats behind each row that stay as they are.
    func result(_ table: kernels, rows range: Range<Int>? = nil) -> [Float] {
        let range = range ?? 0..<rows
        let margin = 16
        let stride = 16 * panels + margin
        var c = [Float](repeating: 77, count: range.count * stride)
        if let before {
            for row in 0..<range.count {
                for i in 0..<16 * panels { c[row * stride + i] = before[(range.lowerBound + row) * 16 * panels + i] }
            }
        }
        let (a, aStride) = activations(for: table)
        let (w, scale) = packed()
        withExtendedLifetime((a, w, scale)) {
            a.withUnsafeBytes { a in
                w.withUnsafeBytes { w in
                    scale.withUnsafeBufferPointer { scale in
                        (bias ?? []).withUnsafeBufferPointer { bias in
                            c.withUnsafeMutableBufferPointer { c in
                                var call = matmul()
                                call.a = a.baseAddress! + range.lowerBound * aStride
                                call.a_stride = aStride
                                call.w = w.baseAddress
                                call.panel_stride = panelBytes
                                call.scale = format == .int8 || format == .w8a8 ? scale.baseAddress : nil
                                call.bias = self.bias == nil ? nil : bias.baseAddress
                                call.c = c.baseAddress
                                call.c_stride = stride
                                call.rows = range.count
                                call.inner = inner
                                call.panels = panels
                                call.add = before != nil
                                Product.function(format, table)(&call)
                            }
                        }
                    }
                }
            }
        }
        for row in 0..<range.count {
            let behind = c[row * stride + 16 * panels..<(row + 1) * stride]
            #expect(behind.allSatisfy { $0 == 77 }, "a row of c was written past its end")
        }
        return (0..<range.count).flatMap { c[$0 * stride..<$0 * stride + 16 * panels] }
    }

    private static func function(_ format: Format, _ table: kernels) -> (UnsafePointer<matmul>?) -> Void {
        switch format {
        case .f32: table.matmul_f32
        case .bf16: table.matmul_bf16
        case .int8: table.matmul_int8
        case .w8a8: table.matmul_w8a8
        }
    }
}

@Suite struct ProductTests {
    typealias Variant = KernelVariantTests.Variant
    static let tested = Array(KernelVariantTests.vectors) + [KernelVariantTests.emulated]

    /// Few and many rows, one panel and several, inner sizes around a slice and around a tile.
    static let shapes: [(rows: Int, inner: Int, panels: Int)] = {
        var shapes: [(Int, Int, Int)] = []
        for rows in [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 17, 31, 33, 47, 48, 96] {
            for (inner, panels) in [(4, 1), (64, 8), (100, 6), (252, 3), (256, 5), (260, 2), (576, 7)] {
                shapes.append((rows, inner, panels))
            }
        }
        // Slices of 1024 of the inner index, in products of bytes.
        return shapes + [(1, 1_028, 4), (7, 2_064, 3), (20, 1_024, 2)]
    }()

    @Test(arguments: tested, Product.Format.allCases)
    func `A product is plain C's to the last bit`(_ variant: Variant, _ format: Product.Format) {
        for (rows, inner, panels) in Self.shapes {
            for isAdded in [false, true] {
                var product = Product.random(
                    format, rows: rows, inner: inner, panels: panels, hasBias: !isAdded, isAdded: isAdded)
                let found = product.result(variant.table.pointee)
                guard variant.roundsActivations && format == .bf16 else {
                    #expect(product.result(KernelVariantTests.plain) == found, "\(rows) x \(inner) x \(panels)")
                    continue
                }
                // They add in another order: the products' rounding stays.
                product.a = product.a.map(roundedToBrainFloat)
                let error = zip(product.result(KernelVariantTests.plain), found).map { abs($0 - $1) }.max()!
                #expect(error < 1e-4, "\(rows) x \(inner) x \(panels)")
            }
        }
    }

    @Test(arguments: KernelVariantTests.all + [KernelVariantTests.emulated], Product.Format.allCases)
    func `A row's product does not depend on the rows beside it`(_ variant: Variant, _ format: Product.Format) {
        for inner in [260, 1_036] {
            let product = Product.random(format, rows: 96, inner: inner, panels: 5)
            let whole = product.result(variant.table.pointee)
            for rows in [0..<1, 5..<7, 90..<96, 3..<16, 8..<25, 10..<60] {
                let part = product.result(variant.table.pointee, rows: rows)
                #expect(Array(whole[rows.lowerBound * 80..<rows.upperBound * 80]) == part, "rows \(rows)")
            }
        }
    }

    @Test(arguments: [(1, 32, 1), (3, 36, 4), (16, 64, 5), (17, 100, 3), (40, 96, 2)])
    func `Tiles add pairs in the order that Intel documents`(_ rows: Int, _ inner: Int, _ panels: Int) {
        var product = Product.random(.bf16, rows: rows, inner: inner, panels: panels, missing: 0, hasBias: false)
        // Denormals, and products of which only a fused addition keeps the end.
        product.a[0] = 0x1p-130
        product.a[1] = 0x1p-70
        product.weights[1] = 0x1p-60
        let found = product.result(KernelVariantTests.emulated.table.pointee)
        for row in 0..<rows {
            for column in 0..<16 * panels {
                var sum: Float = 0
                for start in stride(from: 0, to: inner, by: 32) {
                    var even: Float = 0
                    var odd: Float = 0
                    for k in stride(from: start, to: min(start + 32, inner), by: 2) {
                        func term(_ k: Int, _ sum: Float) -> Float {
                            let x = flushed(roundedToBrainFloat(product.a[row * inner + k]))
                            let w = flushed(roundedToBrainFloat(product.weights[column * inner + k]))
                            return flushed(sum.addingProduct(x, w))
                        }
                        even = term(k, even)
                        odd = term(k + 1, odd)
                    }
                    sum = flushed(sum + flushed(even + odd))
                }
                #expect(found[row * 16 * panels + column] == sum, "row \(row), column \(column)")
            }
        }
    }

    @Test func `Dot products add pairs in the order that AMD's give, the odd product first`() {
        let names = ["avx512bf16"]
        for variant in KernelVariantTests.all where names.contains(variant.testDescription) {
            var product = Product.random(.bf16, rows: 7, inner: 300, panels: 5, missing: 0, hasBias: false)
            product.a[0] = 0x1p-130
            product.a[1] = 0x1p-70
            product.weights[1] = 0x1p-60
            let found = product.result(variant.table.pointee)
            for row in 0..<7 {
                for column in 0..<80 {
                    var sum: Float = 0
                    for k in stride(from: 0, to: 300, by: 2) {
                        for k in [k + 1, k] {
                            let x = flushed(roundedToBrainFloat(flushed(product.a[row * 300 + k])))
                            let w = flushed(roundedToBrainFloat(product.weights[column * 300 + k]))
                            sum = flushed(sum.addingProduct(x, w))
                        }
                    }
                    #expect(found[row * 80 + column] == sum, "row \(row), column \(column)")
                }
            }
        }
    }

    private func flushed(_ x: Float) -> Float { x.isSubnormal ? 0 : x }

    // MARK: Activations in int8

    @Test(arguments: KernelVariantTests.all + [KernelVariantTests.emulated])
    func `Products of bytes are the exact sum times both scales`(_ variant: Variant) {
        // Every product is the greatest that there is, so a saturating sum of pairs or words would show.
        for (x, w) in [(1, 1), (-1, 1), (1, -1), (-1, -1)] as [(Float, Float)] {
            let inner = 2_048
            let product = Product(
                format: .w8a8, inner: inner, panels: 1, a: Array(repeating: x, count: 7 * inner),
                weights: Array(repeating: w, count: 16 * inner))
            let scale: Float = 1 / 127
            #expect(product.result(variant.table.pointee).allSatisfy { $0 == x * w * 16_129 * 2_048 * scale * scale })
        }
    }

    @Test(arguments: KernelVariantTests.all + [KernelVariantTests.emulated])
    func `An activation is rounded to the nearest byte, a half to even`(_ variant: Variant) {
        // The scale is 1, and the weights pick one activation for each column.
        let activations: [Float] = [
            127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49, -126.6, 3, 0, -0.0, 62.5, 63.5, 1e-20, -127,
        ]
        var weights = [Float](repeating: 0, count: 256)
        for k in 0..<16 { weights[k * 16 + k] = 127 }
        let product = Product(format: .w8a8, inner: 16, panels: 1, a: activations, weights: weights)
        let rounded = activations.map { 127 * $0.rounded(.toNearestOrEven) }
        #expect(product.result(variant.table.pointee) == rounded)
    }

    @Test(arguments: KernelVariantTests.all + [KernelVariantTests.emulated])
    func `Rows of zeros, of tiny values and with what is no number`(_ variant: Variant) {
        let inner = 36
        var product = Product.random(.w8a8, rows: 6, inner: inner, panels: 2, missing: 0, hasBias: false)
        for k in 0..<inner {
            product.a[k] = 0
            product.a[inner + k] = 1e-38
            product.a[5 * inner + k] = 1e34
        }
        product.a[2 * inner + 35] = .nan
        product.a[3 * inner + 1] = -.infinity
        let c = product.result(variant.table.pointee)
        #expect(c[0..<64].allSatisfy { $0 == 0 })
        #expect(c[64..<128].allSatisfy { $0.isNaN })
        #expect(c[128..<192].allSatisfy { $0.isFinite })
        #expect(c[128..<160].contains { $0 != 0 })
    }

    @Test(arguments: KernelVariantTests.all + [KernelVariantTests.emulated])
    func `Products of bytes are near those of floats`(_ variant: Variant) {
        let floats = Product.random(.f32, rows: 9, inner: 576, panels: 4)
        var bytes = floats
        bytes.format = .w8a8
        let exact = floats.result(KernelVariantTests.plain)
        let found = bytes.result(variant.table.pointee)
        // 576 products of values below 1, each side off by at most 1/254: some 0.06 by chance.
        #expect(zip(exact, found).allSatisfy { abs($0 - $1) < 0.25 })
    }
}

/// To the nearest value of 16 bits, ties to even.
func roundedToBrainFloat(_ x: Float) -> Float {
    guard !x.isNaN else { return x }
    let bits = x.bitPattern
    return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
}
