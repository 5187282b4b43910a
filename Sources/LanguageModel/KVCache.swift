internal import CKernels
internal import Glibc

/// Keys and values of every layer, in pages of 16 positions that sequences share and count.
///
/// A page holds, for each layer and each key-value head, the keys (head size, 16) and the values
/// (head size / 16, 16, 16), or pairs of them in bf16: the layout of packed weights, so that attention is two products.
package final class KVCache: @unchecked Sendable {
    // One engine thread allocates and frees; kernels write pages that no other sequence can see.
    package static let pageSize = Int(KERNELS_PAGE)

    package enum Format: Sendable { case f32, bf16 }

    package let format: Format
    package let pageCount: Int
    package let layerCount: Int
    package let headCount: Int
    package let headSize: Int
    private let keyBytes: Int
    private let valueBytes: Int
    private let layerBytes: Int
    private let memory: UnsafeMutableRawPointer
    private let mappedBytes: Int
    private var references: [Int32]
    private var free: [Int32]

    /// Bytes that one page takes over all layers.
    package static func pageBytes(_ configuration: ModelConfiguration, _ format: Format) -> Int {
        let element = format == .f32 ? 4 : 2
        let values = PackedMatrix.padded(configuration.headSize) * pageSize
        return (configuration.headSize * pageSize + values) * element * configuration.keyValueHeadCount
            * configuration.layers.count
    }

    package init(_ configuration: ModelConfiguration, format: Format, pageCount: Int) {
        self.format = format
        self.pageCount = pageCount
        layerCount = configuration.layers.count
        headCount = configuration.keyValueHeadCount
        headSize = configuration.headSize
        let element = format == .f32 ? 4 : 2
        keyBytes = configuration.headSize * KVCache.pageSize * element
        valueBytes = PackedMatrix.padded(configuration.headSize) * KVCache.pageSize * element
        layerBytes = headCount * (keyBytes + valueBytes) * pageCount
        mappedBytes = max(1, layerBytes * layerCount)
        // Mapped, not touched: a page costs memory once it is used.
        let address = mmap(
            nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        precondition(address != MAP_FAILED, "\(mappedBytes) bytes of address space are not to be had")
        memory = address!
        references = [Int32](repeating: 0, count: pageCount)
        free = (0..<Int32(pageCount)).reversed()
    }

    deinit { munmap(memory, mappedBytes) }

    package var freePageCount: Int { free.count }

    /// A page of zeros with one reference, or nil when none is left.
    package func allocate() -> Int32? {
        guard let page = free.popLast() else { return nil }
        references[Int(page)] = 1
        let bytes = headCount * (keyBytes + valueBytes)
        // What masked positions hold is multiplied by zero, so it must be finite.
        for layer in 0..<layerCount { memset(memory + layer * layerBytes + Int(page) * bytes, 0, bytes) }
        return page
    }

    package func retain(_ page: Int32) { references[Int(page)] += 1 }

    package func release(_ page: Int32) {
        references[Int(page)] -= 1
        precondition(references[Int(page)] >= 0, "page \(page) was released once too often")
        if references[Int(page)] == 0 { free.append(page) }
    }

    package func isShared(_ page: Int32) -> Bool { references[Int(page)] > 1 }

    /// Copies all layers of a page.
    package func copy(_ source: Int32, to target: Int32) {
        let bytes = headCount * (keyBytes + valueBytes)
        for layer in 0..<layerCount {
            let base = memory + layer * layerBytes
            memcpy(base + Int(target) * bytes, base + Int(source) * bytes, bytes)
        }
    }

    /// Bytes from one page of a layer to the next.
    var pageStride: Int { headCount * (keyBytes + valueBytes) }

    func keys(layer: Int, head: Int) -> UnsafeMutableRawPointer {
        memory + layer * layerBytes + head * (keyBytes + valueBytes)
    }

    func values(layer: Int, head: Int) -> UnsafeMutableRawPointer { keys(layer: layer, head: head) + keyBytes }

    /// Writes one position of one head.
    func store(
        key: UnsafePointer<Float>, value: UnsafePointer<Float>, layer: Int, head: Int, page: Int32, slot: Int
    ) {
        let keys = keys(layer: layer, head: head) + Int(page) * pageStride
        let values = keys + keyBytes
        switch format {
        case .f32:
            kernels_store_f32(
                key, value, headSize, slot, keys.assumingMemoryBound(to: Float.self),
                values.assumingMemoryBound(to: Float.self))
        case .bf16:
            kernels_store_bf16(
                key, value, headSize, slot, keys.assumingMemoryBound(to: UInt16.self),
                values.assumingMemoryBound(to: UInt16.self))
        }
    }
}
