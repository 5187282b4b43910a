import Foundation
import Synchronization

/// Lets the first requests through and holds the others back until it is opened, so that what happens meanwhile happens
/// in the middle of a run.
final class Dam: Sendable {
    private let state = Mutex((arrived: 0, isOpen: false))
    private let full = DispatchSemaphore(value: 0)
    private let capacity: Int

    init(after capacity: Int) { self.capacity = capacity }

    /// Counts a request.
    ///
    /// - Returns: whether it gets no answer.
    func holdsNext() -> Bool {
        let (arrived, isOpen) = state.withLock { state in
            state.arrived += 1
            return state
        }
        if arrived == capacity { full.signal() }
        return arrived > capacity && !isOpen
    }

    func open() { state.withLock { $0.isOpen = true } }

    /// Waits for the last request that is let through, without holding one of the few threads that all tests share.
    func isFull() async {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                self.full.wait()
                continuation.resume()
            }
        }
    }
}
