internal import CKernels
internal import Glibc
package import LanguageModel

/// One tensor of a model in training.
package struct Parameter: Hashable, Sendable {
    /// As the checkpoint names it.
    package var name: String
    /// As the checkpoint stores it: one dimension or two.
    package var shape: [Int]
    /// Where its first float lies.
    package var offset: Int

    package var rows: Int { shape.count == 2 ? shape[0] : 1 }
    package var columns: Int { shape.last ?? 1 }
    /// Floats from one row to the next: whole panels, zero behind the last column.
    package var stride: Int { PackedMatrix.padded(columns) }
    package var floatCount: Int { rows * stride }
    /// Weight decay leaves norms and biases alone.
    package var isDecayed: Bool { shape.count >= 2 }
}

/// The tensors of a model side by side in one memory, and beside them their gradients and the optimizer's state.
package final class ParameterStore: @unchecked Sendable {
    // One trainer at a time; kernels write disjoint parts.
    package let parameters: [Parameter]
    package let values: FloatRegion
    /// Of a store that is trained: the gradient's sum so far, and Adam's first and second moments.
    package let training: (gradients: FloatRegion, firstMoments: FloatRegion, secondMoments: FloatRegion)?
    private let indices: [String: Int]

    /// - Parameter shapes: every tensor with one dimension or two, in the order that they are kept in.
    package init(_ shapes: [(name: String, shape: [Int])], isTrained: Bool) {
        var parameters: [Parameter] = []
        var offset = 0
        for (name, shape) in shapes {
            precondition((1...2).contains(shape.count), "\(name) has \(shape.count) dimensions")
            parameters.append(Parameter(name: name, shape: shape, offset: offset))
            offset += parameters.last!.floatCount
        }
        self.parameters = parameters
        indices = Dictionary(uniqueKeysWithValues: parameters.enumerated().map { ($0.element.name, $0.offset) })
        values = FloatRegion(count: offset)
        training =
            isTrained
            ? (FloatRegion(count: offset), FloatRegion(count: offset), FloatRegion(count: offset)) : nil
    }

    package func index(_ name: String) -> Int? { indices[name] }

    package var floatCount: Int { values.count }

    /// Elements that exist in the checkpoint: without the filling behind rows.
    package var elementCount: Int { parameters.reduce(0) { $0 + $1.rows * $1.columns } }

    package func value(_ index: Int) -> UnsafeMutablePointer<Float> { values.pointer + parameters[index].offset }

    package func gradient(_ index: Int) -> UnsafeMutablePointer<Float>? {
        training.map { $0.gradients.pointer + parameters[index].offset }
    }

    /// Sets a tensor from its stored elements, row after row.
    func fill(_ index: Int, from tensor: StoredTensor) {
        let parameter = parameters[index]
        for row in 0..<parameter.rows {
            tensor.widen(
                first: row * parameter.columns, count: parameter.columns, into: value(index) + row * parameter.stride)
        }
    }
}

/// Floats in whole pages, zero until written.
package final class FloatRegion: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Float>
    package let count: Int
    private let bytes: Int

    package init(count: Int) {
        self.count = count
        // Kernels may read a row behind the last, to multiply it by zero.
        bytes = (4 * (count + 65_536) + 4_095) / 4_096 * 4_096
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(address != MAP_FAILED, "\(bytes) bytes of memory are not to be had")
        madvise(address, bytes, MADV_HUGEPAGE)
        pointer = address!.bindMemory(to: Float.self, capacity: bytes / 4)
    }

    deinit { munmap(pointer, bytes) }

    package func clear(_ pool: ThreadPool) {
        let chunk = 1 << 20
        pool.run((count + chunk - 1) / chunk) { piece in
            let first = piece * chunk
            memset(pointer + first, 0, 4 * min(chunk, count - first))
        }
    }
}
