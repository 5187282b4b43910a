internal import CKernels
internal import Glibc
internal import LanguageModel

/// One tensor of a model in training.
package struct Parameter: Hashable, Sendable {
    /// As the checkpoint names it.
    package var name: String
    /// As the checkpoint stores it: one dimension or two.
    package var shape: [Int]
    /// Where its first element lies.
    package var offset: Int

    package var rows: Int { shape.count == 2 ? shape[0] : 1 }
    package var columns: Int { shape.last ?? 1 }
    /// Floats from one row to the next: whole panels, zero behind the last column.
    package var stride: Int { PackedMatrix.padded(columns) }
    package var floatCount: Int { rows * stride }
    package var isMatrix: Bool { shape.count == 2 }
    /// Weight decay leaves norms and biases alone.
    package var isDecayed: Bool { isMatrix }

    /// The same with offsets in two memories, one for vectors and one for matrices, and what each of these holds.
    static func apart(_ all: [Parameter]) -> (parameters: [Parameter], vectorFloats: Int, matrixFloats: Int) {
        var (parameters, vectorFloats, matrixFloats) = (all, 0, 0)
        for (index, parameter) in all.enumerated() {
            if parameter.isMatrix {
                parameters[index].offset = matrixFloats
                matrixFloats += parameter.floatCount
            } else {
                parameters[index].offset = vectorFloats
                vectorFloats += parameter.floatCount
            }
        }
        return (parameters, vectorFloats, matrixFloats)
    }
}

/// The tensors of a model side by side in one memory, and beside them their gradients and the optimizer's state.
package final class ParameterStore: @unchecked Sendable {
    // One trainer at a time; kernels write disjoint parts.
    package let parameters: [Parameter]
    package let values: FloatRegion
    /// The matrices of a frozen store in bf16; `values` has the vectors alone.
    private let halves: HalfRegion?
    /// Of a store that is trained: the gradient's sum so far, and Adam's first and second moments.
    package let training: (gradients: Gradients, firstMoments: FloatRegion, secondMoments: FloatRegion)?
    private let indices: [String: Int]

    /// - Parameter shapes: every tensor with one dimension or two, in the order that they are kept in.
    package init(_ shapes: [(name: String, shape: [Int])], isTrained: Bool, gradients: Gradients.Format = .f32) {
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
        halves = nil
        training =
            isTrained
            ? (Gradients(parameters, format: gradients), FloatRegion(count: offset), FloatRegion(count: offset)) : nil
    }

    /// What a store holds now, frozen: in bf16 where that holds every element of its matrices, else in floats.
    package init(frozen store: ParameterStore) {
        indices = store.indices
        training = nil
        guard store.halves == nil, store.matricesFitHalves else {
            parameters = store.parameters
            halves = store.halves
            values = FloatRegion(count: store.values.count)
            values.pointer.update(from: store.values.pointer, count: store.values.count)
            return
        }
        let (parameters, vectorFloats, matrixFloats) = Parameter.apart(store.parameters)
        let (floats, halves) = (FloatRegion(count: vectorFloats), HalfRegion(count: matrixFloats))
        for (index, parameter) in parameters.enumerated() {
            let source = store.value(index)
            if parameter.isMatrix {
                let target = halves.pointer + parameter.offset
                for place in 0..<parameter.floatCount { target[place] = UInt16(source[place].bitPattern >> 16) }
            } else {
                (floats.pointer + parameter.offset).update(from: source, count: parameter.floatCount)
            }
        }
        (self.parameters, values, self.halves) = (parameters, floats, halves)
    }

    private var matricesFitHalves: Bool {
        parameters.indices.allSatisfy { index in
            let source = value(index)
            return !parameters[index].isMatrix
                || (0..<parameters[index].floatCount).allSatisfy { source[$0].bitPattern & 0xffff == 0 }
        }
    }

    package func index(_ name: String) -> Int? { indices[name] }

    package var floatCount: Int { values.count }

    /// Elements that exist in the checkpoint: without the filling behind rows.
    package var elementCount: Int { parameters.reduce(0) { $0 + $1.rows * $1.columns } }

    /// The elements of a tensor that is stored in floats.
    package func value(_ index: Int) -> UnsafeMutablePointer<Float> {
        precondition(halves == nil || !parameters[index].isMatrix, "\(parameters[index].name) is in bf16")
        return values.pointer + parameters[index].offset
    }

    /// The elements of a matrix from this one on, and their type.
    func elements(_ index: Int, from first: Int) -> (source: UnsafeRawPointer, type: kernels_type) {
        let start = parameters[index].offset + first
        guard let halves, parameters[index].isMatrix else {
            return (UnsafeRawPointer(values.pointer + start), KERNELS_F32)
        }
        return (UnsafeRawPointer(halves.pointer + start), KERNELS_BF16)
    }

    /// The gradient of a tensor whose sums are floats; nil of a frozen one.
    package func gradient(_ index: Int) -> UnsafeMutablePointer<Float>? {
        guard let elements = training?.gradients.elements(index) else { return nil }
        guard case .floats(let pointer) = elements else {
            preconditionFailure("the gradient of \(parameters[index].name) is in bf16")
        }
        return pointer
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
package typealias FloatRegion = Region<Float>
/// The bits of bf16 numbers likewise.
typealias HalfRegion = Region<UInt16>

/// Numbers in whole pages, zero until written.
package final class Region<Element: BitwiseCopyable>: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Element>
    package let count: Int
    private let bytes: Int

    package init(count: Int) {
        self.count = count
        // Kernels may read a row behind the last, to multiply it by zero.
        bytes = (MemoryLayout<Element>.stride * (count + 65_536) + 4_095) / 4_096 * 4_096
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(address != MAP_FAILED, "\(bytes) bytes of memory are not to be had")
        madvise(address, bytes, MADV_HUGEPAGE)
        pointer = address!.bindMemory(to: Element.self, capacity: bytes / MemoryLayout<Element>.stride)
    }

    deinit { munmap(pointer, bytes) }
}
