import CKernels
import Testing
import TileEmulation

/// Every variant that this CPU has against plain C; those that it lacks are named by the last test.
@Suite struct KernelVariantTests {
    struct Variant: CustomTestStringConvertible, @unchecked Sendable {
        // A constant table of functions.
        let table: UnsafePointer<kernels>
        var testDescription: String { String(cString: table.pointee.name) }
        /// Products of bf16 go through tiles or dot products, which round activations and add in an order of their own.
        var roundsActivations: Bool { table.pointee.prepare_bf16 != nil }
    }

    static let all: [Variant] = {
        var tables = [UnsafePointer<kernels>?](repeating: nil, count: 8)
        let count = kernels_available(&tables, 8)
        return tables.prefix(count).map { Variant(table: $0!) }
    }()

    static var plain: kernels { all.last!.table.pointee }
    static let vectors = all.dropLast()

    /// The source of the tile kernels over tiles in plain C, on every CPU.
    static let emulated: Variant = {
        let table = UnsafeMutablePointer<kernels>.allocate(capacity: 1)
        table.initialize(to: tile_emulation_kernels())
        return Variant(table: UnsafePointer(table))
    }()

    /// Values of all magnitudes that activations have, the same on every machine.
    struct Values {
        var state: UInt64

        mutating func next() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int32(truncatingIfNeeded: state >> 33)) / Float(1 << 30) - 1
        }

        mutating func array(_ count: Int, scale: Float = 1) -> [Float] { (0..<count).map { _ in next() * scale } }
    }

    struct AttentionCase: CustomTestStringConvertible {
        var queries, group, headSize, first, window: Int
        var softcap: Float
        var testDescription: String {
            "\(queries) queries, group \(group), head \(headSize), from \(first), window \(window), cap \(softcap)"
        }
    }

    static let attentionCases = [
        AttentionCase(queries: 1, group: 1, headSize: 8, first: 0, window: 0, softcap: 0),
        AttentionCase(queries: 1, group: 3, headSize: 64, first: 200, window: 0, softcap: 0),
        AttentionCase(queries: 5, group: 3, headSize: 12, first: 60, window: 0, softcap: 0),
        AttentionCase(queries: 40, group: 2, headSize: 96, first: 0, window: 0, softcap: 0),
        AttentionCase(queries: 40, group: 2, headSize: 16, first: 50, window: 7, softcap: 0),
        AttentionCase(queries: 20, group: 1, headSize: 256, first: 100, window: 70, softcap: 5),
    ]

    /// The first `prefix` queries attend in calls of `step`; everything in one call where `step` is large.
    static func attend(_ x: AttentionCase, _ table: kernels, isBrainFloat: Bool, step: Int) -> [Float] {
        var values = Values(state: 99)
        let length = x.first + x.queries
        let pageCount = (length + 15) / 16
        let element = isBrainFloat ? 2 : 4
        let keyBytes = x.headSize * 16 * element
        let stride = keyBytes + (x.headSize + 15) / 16 * 256 * element
        var pages = [UInt8](repeating: 0, count: stride * pageCount)
        // The pages lie in reverse, so a wrong table is seen.
        let order = (0..<Int32(pageCount)).reversed().map { $0 }
        pages.withUnsafeMutableBytes { memory in
            for position in 0..<length {
                let page = memory.baseAddress! + Int(order[position / 16]) * stride
                let key = values.array(x.headSize)
                let value = values.array(x.headSize)
                if isBrainFloat {
                    kernels_store_bf16(
                        key, value, x.headSize, position % 16, page.assumingMemoryBound(to: UInt16.self),
                        (page + keyBytes).assumingMemoryBound(to: UInt16.self))
                } else {
                    kernels_store_f32(
                        key, value, x.headSize, position % 16, page.assumingMemoryBound(to: Float.self),
                        (page + keyBytes).assumingMemoryBound(to: Float.self))
                }
            }
        }
        let width = x.group * x.headSize
        let q = values.array(x.queries * width, scale: 3)
        var out = [Float](repeating: .nan, count: x.queries * width)
        pages.withUnsafeBytes { memory in
            q.withUnsafeBufferPointer { q in
                out.withUnsafeMutableBufferPointer { out in
                    order.withUnsafeBufferPointer { order in
                        for start in Swift.stride(from: 0, to: x.queries, by: step) {
                            var call = attention()
                            call.q = q.baseAddress! + start * width
                            call.q_stride = width
                            call.out = out.baseAddress! + start * width
                            call.out_stride = width
                            call.keys = memory.baseAddress!.assumingMemoryBound(to: CChar.self)
                            call.values = (memory.baseAddress! + keyBytes).assumingMemoryBound(to: CChar.self)
                            call.pages = order.baseAddress
                            call.page_stride = stride
                            call.queries = min(step, x.queries - start)
                            call.group = x.group
                            call.head_size = x.headSize
                            call.first_position = x.first + start
                            call.window = x.window
                            call.scale = 1 / Float(x.headSize).squareRoot()
                            call.softcap = x.softcap
                            if isBrainFloat { table.attention_bf16(&call) } else { table.attention_f32(&call) }
                        }
                    }
                }
            }
        }
        return out
    }

    @Test(arguments: vectors, attentionCases)
    func `Attention equals plain C's`(_ variant: Variant, _ x: AttentionCase) {
        for isBrainFloat in [false, true] {
            let expected = Self.attend(x, Self.plain, isBrainFloat: isBrainFloat, step: .max)
            let found = Self.attend(x, variant.table.pointee, isBrainFloat: isBrainFloat, step: .max)
            // Sums of weights are added in another order, and exp is another one: a few units in the last place.
            let error = zip(expected, found).map { abs($0 - $1) }.max()!
            #expect(error < 3e-6)
        }
    }

    @Test(arguments: all, attentionCases)
    func `Attention of one query is the same in a call of its own`(_ variant: Variant, _ x: AttentionCase) {
        for isBrainFloat in [false, true] {
            let whole = Self.attend(x, variant.table.pointee, isBrainFloat: isBrainFloat, step: .max)
            for step in [1, 3, 17] {
                #expect(whole == Self.attend(x, variant.table.pointee, isBrainFloat: isBrainFloat, step: step))
            }
        }
    }

    /// The kernels over one row, each over a size with a tail.
    static func rows(_ table: kernels, count: Int) -> [[Float]] {
        var values = Values(state: 5)
        let x = values.array(count, scale: 12)
        let y = values.array(count)
        let z = values.array(count)
        var results: [[Float]] = []
        func apply(_ body: (UnsafeMutablePointer<Float>) -> Void) {
            var result = x
            result.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
            results.append(result)
        }
        apply { table.rms_norm(x, y, 0, 1e-5, $0, count) }
        apply { table.rms_norm($0, y, 1, 1e-6, $0, count) }
        apply { table.layer_norm(x, y, z, 1e-5, $0, count) }
        apply { table.silu_gate(x, y, $0, count) }
        apply { table.gelu_gate(x, y, $0, count) }
        apply { table.gelu($0, count) }
        apply { table.softcap($0, 5, count) }
        apply { table.add($0, y, count) }
        apply { table.scale($0, 1.5, count) }
        apply { table.rotate($0, 2, count / 2, y, z, count / 4) }
        results.append([table.log_sum_exp(x, count)])
        return results
    }

    @Test(arguments: vectors, [4, 8, 16, 20, 24, 576, 1_028])
    func `Row kernels equal plain C's`(_ variant: Variant, _ count: Int) {
        let plain = Self.rows(Self.plain, count: count)
        let vector = Self.rows(variant.table.pointee, count: count)
        for (place, (expected, found)) in zip(plain, vector).enumerated() {
            for (e, f) in zip(expected, found) {
                #expect(abs(e - f) <= 8e-6 * max(1, abs(e)), "kernel \(place)")
            }
        }
    }

    @Test func `exp is zero far below, one at zero and finite far above`() {
        for variant in Self.all {
            let table = variant.table.pointee
            var y = [Float](repeating: 0, count: 4)
            // silu(x) = x / (1 + exp(-x)): the ends of exp's range show at its own.
            table.silu_gate([0, 200, -200, -80], [1, 1, 1, 1], &y, 4)
            #expect(y[0] == 0)
            #expect(y[1] == 200)
            #expect(abs(y[2]) < 1e-30 && abs(y[3]) < 1e-30)
            #expect(table.log_sum_exp([0], 1) == 0)
            #expect(table.log_sum_exp([-1_000, -1_000], 2) == -1_000 + Float(2).logarithm)
            #expect(table.log_sum_exp([-.infinity, 3], 2) == 3)
        }
    }

    @Test func `Variants that this CPU lacks are said`() {
        let names = Set(Self.all.map(\.testDescription))
        for name in ["amx", "avx512bf16", "avx512", "avx2"] where !names.contains(name) {
            print("The \(name) kernels were not tested: this CPU does not have it.")
        }
        #expect(names.contains("plain"))
    }
}

extension Float {
    fileprivate var logarithm: Float { Self.log(self) }
    private static func log(_ x: Float) -> Float { x == 2 ? 0.693147182 : .nan }
}
