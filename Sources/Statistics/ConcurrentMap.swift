import Dispatch

/// `body(0)`, …, `body(count − 1)` on all cores; the order of the results is that of the indices.
package func concurrentMap<Element: Sendable>(_ count: Int, _ body: @Sendable (Int) -> Element) -> [Element] {
    [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
        // Each index is written by the one iteration that owns it.
        nonisolated(unsafe) let base = buffer.baseAddress
        DispatchQueue.concurrentPerform(iterations: count) { i in
            guard let base else { return }
            (base + i).initialize(to: body(i))
        }
        initialized = count
    }
}
