package import CKernels
internal import Glibc

/// Floats at an aligned address: room for whole vectors, zero behind the last value.
package final class FloatBuffer: @unchecked Sendable {
    // Written by its owner before it is shared.
    package let pointer: UnsafeMutablePointer<Float>
    package let count: Int

    package init(count: Int) {
        var memory: UnsafeMutableRawPointer?
        let bytes = max(64, (count + 15) / 16 * 64)
        precondition(posix_memalign(&memory, 64, bytes) == 0, "\(bytes) bytes of memory are not to be had")
        memset(memory!, 0, bytes)
        pointer = memory!.bindMemory(to: Float.self, capacity: bytes / 4)
        self.count = count
    }

    deinit { free(pointer) }
}

/// A matrix in the kernels' own layout: made once, or again and again in the same memory.
package final class PackedMatrix: @unchecked Sendable {
    // Written only while it is packed, when nobody else has it.
    package enum Format: String, Hashable, Sendable, CaseIterable {
        case f32, bf16
        /// Weights of 8 bits with a scale a column; activations stay floats.
        case int8
        /// The same weights, and activations of 8 bits with a scale a row.
        case w8a8

        var isQuantized: Bool { self == .int8 || self == .w8a8 }
    }

    package let format: Format
    /// Columns of all parts, each part filled up to whole panels.
    package private(set) var columns = 0
    package private(set) var inner = 0
    package private(set) var panelBytes = 0
    /// (columns), of 8-bit weights only.
    package private(set) var scale: FloatBuffer?
    private var memory: UnsafeMutableRawPointer
    private var mappedBytes = 0

    package var panels: Int { columns / 16 }
    /// The inner size filled up to whole groups of four, as 8-bit weights are packed.
    var quantizedInner: Int { (inner + 3) / 4 * 4 }
    package var byteCount: Int { panels * panelBytes }

    /// One stored matrix, or some rows of it.
    package struct Part: @unchecked Sendable {
        // Points into a mapped file that its owner keeps.
        package var source: UnsafeRawPointer
        package var type: kernels_type
        /// Stored (inner, columns), as GPT-2's are, and not (columns, inner).
        package var isTransposed: Bool
        /// Elements from one stored row to the next.
        package var stride: Int
        package var columns: Int

        package init(source: UnsafeRawPointer, type: kernels_type, isTransposed: Bool, stride: Int, columns: Int) {
            self.source = source
            self.type = type
            self.isTransposed = isTransposed
            self.stride = stride
            self.columns = columns
        }
    }

    /// Packs `parts` side by side, on all threads of `pool`.
    package convenience init(format: Format, inner: Int, parts: [Part], pool: ThreadPool) {
        self.init(format: format)
        pack(inner: inner, parts: parts, pool: pool)
    }

    /// An empty matrix, to be packed.
    package init(format: Format) {
        self.format = format
        memory = UnsafeMutableRawPointer(bitPattern: 64)!
    }

    /// Packs `parts` side by side, on all threads of the kernels' pool, over what was there before.
    package func pack(inner: Int, parts: [Part], kernels: Kernels) {
        pack(inner: inner, parts: parts, pool: kernels.pool, packFloats: kernels.functions.pack_floats)
    }

    private typealias PackFloats = (
        UnsafePointer<Float>?, Bool, Int, Int, Int, Int, Int, UnsafeMutablePointer<UInt16>?
    ) -> Void

    /// - Parameter packFloats: packs floats as bf16 faster than the general function.
    private func pack(inner: Int, parts: [Part], pool: ThreadPool, packFloats: PackFloats? = nil) {
        precondition(inner % 2 == 0, "an inner size of \(inner) is not even")
        self.inner = inner
        columns = parts.reduce(0) { $0 + PackedMatrix.padded($1.columns) }
        switch format {
        case .f32: panelBytes = 64 * inner
        case .bf16: panelBytes = 32 * inner
        case .int8, .w8a8: panelBytes = 16 * ((inner + 3) / 4 * 4)
        }
        if format.isQuantized { scale = FloatBuffer(count: columns) }
        grow(to: max(4_096, columns / 16 * panelBytes))
        var first = 0
        for part in parts {
            let panels = PackedMatrix.padded(part.columns) / 16
            pool.run((panels + 7) / 8) { piece in
                let (start, count) = (8 * piece, min(8, panels - 8 * piece))
                if let packFloats, format == .bf16, part.type == KERNELS_F32 {
                    packFloats(
                        part.source.assumingMemoryBound(to: Float.self), part.isTransposed, part.stride, part.columns,
                        inner, start, count,
                        (memory + (first + start) * panelBytes).assumingMemoryBound(to: UInt16.self))
                } else {
                    pack(part, start, count, at: first)
                }
            }
            first += panels
        }
    }

    private func grow(to bytes: Int) {
        if bytes <= mappedBytes { return }
        if mappedBytes > 0 { munmap(memory, mappedBytes) }
        // Mapped memory is zero, and its pages come to be on the threads that write them.
        let address = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(address != MAP_FAILED, "\(bytes) bytes of memory are not to be had")
        memory = address!
        madvise(memory, bytes, MADV_HUGEPAGE)
        mappedBytes = bytes
    }

    deinit { if mappedBytes > 0 { munmap(memory, mappedBytes) } }

    package static func padded(_ columns: Int) -> Int { (columns + 15) / 16 * 16 }

    private func pack(_ part: Part, _ start: Int, _ count: Int, at first: Int) {
        let target = memory + (first + start) * panelBytes
        switch format {
        case .f32:
            kernels_pack_f32(
                part.source, part.type, part.isTransposed, part.stride, part.columns, inner, start, count,
                target.assumingMemoryBound(to: Float.self))
        case .bf16:
            kernels_pack_bf16(
                part.source, part.type, part.isTransposed, part.stride, part.columns, inner, start, count,
                target.assumingMemoryBound(to: UInt16.self))
        case .int8, .w8a8:
            kernels_pack_int8(
                part.source, part.type, part.isTransposed, part.stride, part.columns, inner, start, count,
                target.assumingMemoryBound(to: Int8.self), scale!.pointer + 16 * (first + start))
        }
    }

    package func panel(_ index: Int) -> UnsafeRawPointer { UnsafeRawPointer(memory + index * panelBytes) }

    /// One column as floats (inner): a token's row of an embedding table.
    package func column(_ column: Int, into row: UnsafeMutablePointer<Float>) {
        precondition(column < columns, "column \(column) of \(columns)")
        switch format {
        case .f32: kernels_unpack_f32(memory.assumingMemoryBound(to: Float.self), inner, column, row)
        case .bf16: kernels_unpack_bf16(memory.assumingMemoryBound(to: UInt16.self), inner, column, row)
        case .int8, .w8a8:
            kernels_unpack_int8(memory.assumingMemoryBound(to: Int8.self), scale!.pointer, inner, column, row)
        }
    }
}

/// A projection: weights, and a bias for each column where the family has one.
package struct Linear: Sendable {
    package var matrix: PackedMatrix
    /// (columns), zero where a part was filled up.
    package var bias: FloatBuffer?

    package init(matrix: PackedMatrix, bias: FloatBuffer? = nil) {
        self.matrix = matrix
        self.bias = bias
    }
}
