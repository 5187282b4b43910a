internal import CKernels
internal import Glibc
package import LanguageModel

/// The gradients of a store's parameters, summed up over the passes of a step.
package final class Gradients: @unchecked Sendable {
    // Kernels write disjoint parts.
    /// What matrices' sums are kept in. Vectors' are floats in any case, and every product's own sum too: bf16 rounds once
    /// a pass, and takes half the memory.
    package enum Format: String, CaseIterable, Sendable { case f32, bf16 }

    /// From one element of a gradient on.
    enum Elements {
        case floats(UnsafeMutablePointer<Float>)
        case halves(UnsafeMutablePointer<UInt16>)

        static func + (elements: Elements, count: Int) -> Elements {
            switch elements {
            case .floats(let pointer): .floats(pointer + count)
            case .halves(let pointer): .halves(pointer + count)
            }
        }
    }

    private let format: Format
    /// With their offsets here.
    private let parameters: [Parameter]
    private let floats: FloatRegion
    private let halves: HalfRegion

    init(_ parameters: [Parameter], format: Format) {
        self.format = format
        switch format {
        case .f32:
            self.parameters = parameters
            floats = FloatRegion(count: parameters.reduce(0) { $0 + $1.floatCount })
            halves = HalfRegion(count: 0)
        case .bf16:
            let (apart, vectorFloats, matrixFloats) = Parameter.apart(parameters)
            self.parameters = apart
            floats = FloatRegion(count: vectorFloats)
            halves = HalfRegion(count: matrixFloats)
        }
    }

    func elements(_ index: Int) -> Elements {
        let parameter = parameters[index]
        return format == .bf16 && parameter.isMatrix
            ? .halves(halves.pointer + parameter.offset) : .floats(floats.pointer + parameter.offset)
    }

    package func clear(_ pool: ThreadPool) {
        floats.clear(pool)
        halves.clear(pool)
    }

    /// Calls `body` with so many elements of a gradient as floats.
    package func withFloats<Result>(
        _ index: Int, from first: Int, count: Int, _ body: (UnsafePointer<Float>) -> Result
    ) -> Result {
        switch elements(index) + first {
        case .floats(let pointer): body(pointer)
        case .halves(let pointer): Gradients.widened(pointer, count, body)
        }
    }

    /// The L2 norm of all, summed in one order.
    package func norm(_ kernels: Kernels) -> Double {
        let sumSquares = kernels.functions.sum_squares!
        let sums =
            floats.sums(kernels.pool) { sumSquares($0, $1) }
            + halves.sums(kernels.pool) { halves, count in
                Gradients.widened(halves, count) { sumSquares($0, count) }
            }
        return sums.reduce(0, +).squareRoot()
    }

    private static func widened<Result>(
        _ halves: UnsafePointer<UInt16>, _ count: Int, _ body: (UnsafePointer<Float>) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: count) { values in
            kernels_widen(halves, KERNELS_BF16, values.baseAddress, count)
            return body(values.baseAddress!)
        }
    }
}

extension Region {
    fileprivate func clear(_ pool: ThreadPool) {
        let chunk = 1 << 20
        pool.run((count + chunk - 1) / chunk) { piece in
            let first = piece * chunk
            memset(pointer + first, 0, MemoryLayout<Element>.stride * min(chunk, count - first))
        }
    }

    /// What `body` makes of each piece of 65,536 elements and its count.
    fileprivate func sums(_ pool: ThreadPool, _ body: (UnsafePointer<Element>, Int) -> Double) -> [Double] {
        let chunk = 1 << 16
        var sums = [Double](repeating: 0, count: (count + chunk - 1) / chunk)
        sums.withUnsafeMutableBufferPointer { sums in
            let (target, pieces) = (sums.baseAddress, sums.count)
            pool.run(pieces) { piece in
                let first = piece * chunk
                target![piece] = body(pointer + first, min(chunk, count - first))
            }
        }
        return sums
    }
}
