import CKernels
import Testing

@Suite struct PackingTests {
    /// A stored matrix (columns, inner), or (inner, columns) where transposed, with some elements between its rows.
    struct Stored: CustomTestStringConvertible {
        var type: kernels_type
        var isTransposed: Bool
        var columns: Int
        var inner: Int

        var testDescription: String {
            "\(columns) x \(inner) of type \(type.rawValue)\(isTransposed ? ", transposed" : "")"
        }

        var stride: Int { (isTransposed ? columns : inner) + 3 }

        /// The element (column, k), of values that every type holds.
        func value(_ column: Int, _ k: Int) -> Float { Float((column * 37 + k * 11) % 251 - 125) / 64 }

        func bytes() -> [UInt8] {
            let rows = isTransposed ? inner : columns
            let width = isTransposed ? columns : inner
            var bytes: [UInt8] = []
            for row in 0..<rows {
                for i in 0..<stride {
                    let x = i < width ? (isTransposed ? value(i, row) : value(row, i)) : .nan
                    switch type {
                    case KERNELS_F32: withUnsafeBytes(of: x) { bytes += $0 }
                    case KERNELS_BF16: withUnsafeBytes(of: UInt16(x.bitPattern >> 16)) { bytes += $0 }
                    default: withUnsafeBytes(of: Float16(x)) { bytes += $0 }
                    }
                }
            }
            return bytes
        }
    }

    static let stored: [Stored] = [KERNELS_F32, KERNELS_BF16, KERNELS_F16].flatMap { type in
        [false, true].flatMap { isTransposed in
            [(5, 4), (16, 8), (37, 6), (48, 64), (48, 66), (53, 136)].map {
                Stored(type: type, isTransposed: isTransposed, columns: $0.0, inner: $0.1)
            }
        }
    }

    /// Packs all panels but the first `skipped` ones; what lies behind them must stay.
    static func packed(_ x: Stored, _ format: Product.Format, skipped: Int) -> (columns: [[Float]], scale: [Float]) {
        let panels = (x.columns + 15) / 16 - skipped
        let source = x.bytes()
        let padded = (x.inner + 3) / 4 * 4
        let size = panels * (format == .f32 ? 64 * x.inner : format == .bf16 ? 32 * x.inner : 16 * padded)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size + 64, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0xa5, count: size + 64)
        var scale = [Float](repeating: 1, count: 16 * panels)
        switch format {
        case .f32:
            kernels_pack_f32(
                source, x.type, x.isTransposed, x.stride, x.columns, x.inner, skipped, panels,
                memory.assumingMemoryBound(to: Float.self))
        case .bf16:
            kernels_pack_bf16(
                source, x.type, x.isTransposed, x.stride, x.columns, x.inner, skipped, panels,
                memory.assumingMemoryBound(to: UInt16.self))
        case .int8, .w8a8:
            kernels_pack_int8(
                source, x.type, x.isTransposed, x.stride, x.columns, x.inner, skipped, panels,
                memory.assumingMemoryBound(to: Int8.self), &scale)
        }
        for i in 0..<64 { #expect((memory + size + i).load(as: UInt8.self) == 0xa5, "written past the last panel") }
        let columns = (0..<16 * panels).map { column in
            var row = [Float](repeating: 0, count: x.inner)
            switch format {
            case .f32: kernels_unpack_f32(memory.assumingMemoryBound(to: Float.self), x.inner, column, &row)
            case .bf16: kernels_unpack_bf16(memory.assumingMemoryBound(to: UInt16.self), x.inner, column, &row)
            case .int8, .w8a8:
                kernels_unpack_int8(memory.assumingMemoryBound(to: Int8.self), scale, x.inner, column, &row)
            }
            return row
        }
        return (columns, scale)
    }

    @Test(arguments: stored)
    func `Every column comes back`(_ x: Stored) {
        for skipped in 0..<(x.columns + 15) / 16 {
            for format in [Product.Format.f32, .bf16, .int8] {
                let (columns, scale) = Self.packed(x, format, skipped: skipped)
                for (place, column) in columns.enumerated() {
                    let index = 16 * skipped + place
                    let expected = (0..<x.inner).map { index < x.columns ? x.value(index, $0) : 0 }
                    guard format == .int8 else {
                        // The values have 8 bits or less, so bf16 holds them.
                        #expect(column == expected, "column \(index)")
                        continue
                    }
                    let greatest = expected.map(abs).max()!
                    #expect(scale[place] == greatest / 127, "column \(index)")
                    let inverse = greatest > 0 ? 127 / greatest : 0
                    let quantised = expected.map { ($0 * inverse).rounded(.toNearestOrEven) * scale[place] }
                    #expect(column == quantised, "column \(index)")
                }
            }
        }
    }

    @Test func `Every half and every rounding to bf16 is right`() {
        let halves = (0...UInt16.max).map { $0 }
        var floats = [Float](repeating: 0, count: halves.count)
        // One stored row of 65536 columns: (columns, 1) would have an odd inner size, so two equal rows.
        let transposed = halves + halves
        kernels_pack_f32(transposed, KERNELS_F16, true, 65_536, 65_536, 2, 0, 1, &floats)
        floats = [Float](repeating: 0, count: 2 * 65_536)
        kernels_pack_f32(transposed, KERNELS_F16, true, 65_536, 65_536, 2, 0, 4_096, &floats)
        for (index, half) in halves.enumerated() {
            let expected = Float(Float16(bitPattern: half))
            for k in 0..<2 {
                let found = floats[index / 16 * 32 + k * 16 + index % 16]
                #expect(found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN, "half \(half)")
            }
        }
        // Ties, carries into the exponent and infinity, denormals.
        let values: [Float] =
            [1, 1.00390625, 1.01171875, 1.003907, 3.4e38, .infinity, -.infinity, .nan, 0x1p-133, -0.0, 0x1.fffffep0]
            + (0..<501).map { Float(bitPattern: 0x3f80_7f00 &+ 0x0001_0081 &* UInt32($0)) }
        var words = [UInt16](repeating: 0, count: 16 * values.count)
        kernels_pack_bf16(values, KERNELS_F32, false, values.count, 1, values.count, 0, 1, &words)
        for (k, value) in values.enumerated() {
            let found = Float(bitPattern: UInt32(words[k / 2 * 32 + k % 2]) << 16)
            #expect(found == roundedToBrainFloat(value) || found.isNaN && value.isNaN, "\(value)")
        }
    }

    @Test func `A column of bytes with what is no number has no number for its scale, and no other column has`() {
        var weights = [Float](repeating: 1, count: 16 * 8)
        weights[3 * 8 + 7] = .nan
        weights[5 * 8] = -.infinity
        for k in 0..<8 { weights[6 * 8 + k] = 0x1p-133 }
        var packed = [Int8](repeating: 1, count: 16 * 8)
        var scale = [Float](repeating: 1, count: 16)
        kernels_pack_int8(weights, KERNELS_F32, false, 8, 16, 8, 0, 1, &packed, &scale)
        for column in 0..<16 {
            let values = (0..<8).map { packed[$0 / 4 * 64 + 4 * column + $0 % 4] }
            switch column {
            case 3, 5:
                #expect(scale[column].isNaN)
                #expect(values.allSatisfy { $0 == 0 })
            case 6:
                #expect(scale[column] == 0)
                #expect(values.allSatisfy { $0 == 0 })
            default:
                #expect(scale[column] == 1 / Float(127))
                #expect(values.allSatisfy { $0 == 127 })
            }
        }
    }
}
