import Dispatch
import Synchronization

/// Counts the requests, and says when so many have come.
final class Counter: Sendable {
    private let count = Mutex(0)
    let reached = DispatchSemaphore(value: 0)
    let threshold: Int

    init(threshold: Int) { self.threshold = threshold }

    func add() {
        let now = count.withLock { count in
            count += 1
            return count
        }
        if now == threshold { reached.signal() }
    }
}
