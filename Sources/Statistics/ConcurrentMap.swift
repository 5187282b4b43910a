import Dispatch
import Synchronization

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

/// `body` of `count` draws from `source`, on all cores: draws are made one after the other, while others are worked on.
package func concurrentMap<Source: Sendable, Draw, Element: Sendable>(
    _ count: Int, from source: Source, draw: @Sendable (inout Source) -> Draw, body: @Sendable (Draw) -> Element
) -> [Element] {
    let drawn = Mutex((source: source, count: 0))
    let results = concurrentMap(count) { _ in
        let (place, next) = drawn.withLock { drawn in
            drawn.count += 1
            return (drawn.count - 1, draw(&drawn.source))
        }
        return (place, body(next))
    }
    return results.sorted { $0.0 < $1.0 }.map(\.1)
}
