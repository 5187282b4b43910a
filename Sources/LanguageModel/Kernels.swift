package import CKernels

/// The kernels that this CPU runs best, and how a product is split over threads.
package struct Kernels: @unchecked Sendable {
    // A constant table of functions.
    private let table: UnsafePointer<kernels>
    package let pool: ThreadPool
    private let prepared = PreparedRows()

    /// - Parameter variant: the name of a variant (`plain`, `avx2`, ...); nil takes the best that the CPU has.
    package init?(variant: String? = nil, pool: ThreadPool) {
        guard let table = Kernels.available.first(where: { variant == nil || $0.name == variant })?.table else {
            return nil
        }
        self.table = table
        self.pool = pool
    }

    package var name: String { String(cString: table.pointee.name) }
    package var functions: kernels { table.pointee }

    private struct Variant: @unchecked Sendable {
        // Points to a constant.
        var name: String
        var table: UnsafePointer<kernels>
    }

    private static let available: [Variant] = {
        var tables = [UnsafePointer<kernels>?](repeating: nil, count: 8)
        let count = kernels_available(&tables, 8)
        return tables.prefix(count).compactMap { $0 }.map { Variant(name: String(cString: $0.pointee.name), table: $0) }
    }()

    /// The variants that this CPU has, best first.
    package static var availableNames: [String] { available.map(\.name) }

    /// c (rows, columns) = a (rows, inner) * w (+ bias), or `c +=` the same.
    ///
    /// - Parameters:
    ///   - a: rows of `aStride` floats.
    ///   - c: rows of `cStride` floats, room for whole panels.
    package func product(
        _ a: UnsafePointer<Float>, aStride: Int, rows: Int, _ w: Linear, into c: UnsafeMutablePointer<Float>,
        cStride: Int, add: Bool = false
    ) {
        let (source, sourceStride) = prepare(a, aStride: aStride, rows: rows, for: w.matrix)
        multiply(source, sourceStride, rows: rows, w, into: c, cStride, add)
    }

    /// c (columns, w's columns) = a' * w (+ bias) for a (inner, columns), or `c +=` the same.
    ///
    /// - Parameters:
    ///   - a: as many rows as w has inner indices, `aStride` floats apart; one more where that is odd may be read.
    ///   - c: rows of `cStride` floats, room for whole panels.
    package func product(
        transposing a: UnsafePointer<Float>, aStride: Int, inner: Int, columns: Int, _ w: Linear,
        into c: UnsafeMutablePointer<Float>, cStride: Int, add: Bool = false
    ) {
        let functions = table.pointee
        let bytesOfRow = w.matrix.format == .bf16 ? functions.prepared_bf16_bytes : nil
        let rowBytes = bytesOfRow.map { $0(w.matrix.inner) } ?? 4 * PackedMatrix.padded(inner)
        let rows = prepared.grow(to: columns * rowBytes)
        let chunk = 64
        pool.run((columns + chunk - 1) / chunk) { piece in
            let first = piece * chunk
            let (from, to, count) = (a + first, rows + first * rowBytes, min(chunk, columns - first))
            if bytesOfRow != nil {
                functions.turn_bf16(
                    from, aStride, inner, count, to.assumingMemoryBound(to: UInt16.self), rowBytes / 2)
            } else {
                kernels_transpose(from, aStride, inner, count, to.assumingMemoryBound(to: Float.self), rowBytes / 4)
            }
        }
        multiply(UnsafeRawPointer(rows), rowBytes, rows: columns, w, into: c, cStride, add)
    }

    /// - Parameter source: rows as the product wants them, `sourceStride` bytes apart.
    private func multiply(
        _ source: UnsafeRawPointer, _ sourceStride: Int, rows: Int, _ w: Linear, into c: UnsafeMutablePointer<Float>,
        _ cStride: Int, _ add: Bool
    ) {
        let matrix = w.matrix
        precondition(cStride >= 16 * matrix.panels, "\(cStride) floats for \(matrix.panels) panels")
        let function = self.function(matrix.format)
        let rowChunk = Int(KERNELS_MATMUL_ROWS)
        let rowChunks = (rows + rowChunk - 1) / rowChunk
        let chunk = panelsPerPiece(of: matrix.panels, rows: rows, rowChunks: rowChunks)
        let panelChunks = (matrix.panels + chunk - 1) / chunk
        // A piece of the larger matrix stays in a cache while the smaller one goes by.
        let isTall = rows > matrix.columns
        pool.run(rowChunks * panelChunks) { index in
            let row = (isTall ? index / panelChunks : index % rowChunks) * rowChunk
            let panel = (isTall ? index % panelChunks : index / rowChunks) * chunk
            var call = matmul()
            call.a = source + row * sourceStride
            call.a_stride = sourceStride
            call.w = matrix.panel(panel)
            call.panel_stride = matrix.panelBytes
            call.scale = matrix.scale.map { UnsafePointer($0.pointer + 16 * panel) }
            call.bias = w.bias.map { UnsafePointer($0.pointer + 16 * panel) }
            call.c = c + row * cStride + 16 * panel
            call.c_stride = cStride
            call.rows = min(rowChunk, rows - row)
            call.inner = matrix.format == .w8a8 ? matrix.quantizedInner : matrix.inner
            call.panels = min(chunk, matrix.panels - panel)
            call.add = add
            function(&call)
        }
    }

    /// Few rows stream the weights: small pieces end together. Many rows are copied for each piece: large pieces, where
    /// there are enough of them. Tiles are up to four panels wide, and slow where a piece leaves them fewer.
    private func panelsPerPiece(of panels: Int, rows: Int, rowChunks: Int) -> Int {
        let most = Int(KERNELS_MATMUL_PANELS)
        if rows <= 12 { return max(1, min(most, panels / (4 * pool.threadCount) / 4 * 4)) }
        let pieces = (panels + most - 1) / most * rowChunks
        return pieces >= 4 * pool.threadCount ? most : 4
    }

    private func function(_ format: PackedMatrix.Format) -> (UnsafePointer<matmul>?) -> Void {
        switch format {
        case .f32: table.pointee.matmul_f32
        case .bf16: table.pointee.matmul_bf16
        case .int8: table.pointee.matmul_int8
        case .w8a8: table.pointee.matmul_w8a8
        }
    }

    /// The rows as the product wants them, and the bytes from one to the next: the floats themselves, or what the
    /// variant makes of them (bf16 for tiles, int8 with a scale).
    private func prepare(
        _ a: UnsafePointer<Float>, aStride: Int, rows: Int, for matrix: PackedMatrix
    ) -> (UnsafeRawPointer, Int) {
        let functions = table.pointee
        let convert: (UnsafePointer<Float>?, UnsafeMutableRawPointer?, Int) -> Void
        let inner: Int
        let stride: Int
        switch matrix.format {
        case .bf16:
            guard let prepare = functions.prepare_bf16 else { fallthrough }
            (convert, inner, stride) = (prepare, matrix.inner, functions.prepared_bf16_bytes(matrix.inner))
        case .f32, .int8: return (UnsafeRawPointer(a), 4 * aStride)
        case .w8a8:
            inner = matrix.quantizedInner
            precondition(inner <= aStride, "rows of \(aStride) floats for an inner size of \(inner)")
            (convert, stride) = (functions.prepare_int8, functions.prepared_int8_bytes(inner))
        }
        let target = prepared.grow(to: rows * stride)
        let chunk = max(1, 16_384 / inner)
        pool.run((rows + chunk - 1) / chunk) { piece in
            for row in piece * chunk..<min(rows, (piece + 1) * chunk) {
                convert(a + row * aStride, target + row * stride, inner)
            }
        }
        return (UnsafeRawPointer(target), stride)
    }
}

/// Room for the rows of one product at a time.
private final class PreparedRows {
    private var buffer = FloatBuffer(count: 0)

    func grow(to bytes: Int) -> UnsafeMutableRawPointer {
        if 4 * buffer.count < bytes { buffer = FloatBuffer(count: (bytes + 3) / 4) }
        return UnsafeMutableRawPointer(buffer.pointer)
    }
}
