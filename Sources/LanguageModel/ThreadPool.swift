internal import CKernels
internal import Glibc
internal import Synchronization

/// Runs the pieces of one loop on every core: the caller works too, and idle threads spin shortly before they sleep.
///
/// One caller at a time. A dispatch costs about a microsecond while the threads still spin.
package final class ThreadPool: @unchecked Sendable {
    // Everything that threads share is atomic, or guarded by `lock`.
    package let threadCount: Int
    private let shared: Shared
    private var threads: [pthread_t] = []

    /// - Parameter threadCount: at least 1; nil takes `EVALHARNESS_THREADS`, or the cores that this process may use.
    package init(threadCount: Int? = nil) {
        self.threadCount = max(1, threadCount ?? ThreadPool.defaultThreadCount)
        shared = Shared()
        for _ in 1..<self.threadCount {
            var thread = pthread_t()
            let argument = Unmanaged.passRetained(shared).toOpaque()
            let status = pthread_create(&thread, nil, { ThreadPool.work($0) }, argument)
            precondition(status == 0, "a thread could not be started: \(status)")
            threads.append(thread)
        }
    }

    deinit {
        shared.isStopping.store(true, ordering: .sequentiallyConsistent)
        shared.wakeAll()
        for thread in threads { pthread_join(thread, nil) }
    }

    package static var defaultThreadCount: Int {
        if let text = getenv("EVALHARNESS_THREADS"), let count = Int(String(cString: text)), count > 0 { return count }
        return allowedCoreCount ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    /// The cores that the kernel lets this process run on.
    private static var allowedCoreCount: Int? {
        guard let file = fopen("/proc/self/status", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 4_096)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix("Cpus_allowed:") else { continue }
            return text.dropFirst(13).reduce(0) { $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0) }
        }
        return nil
    }

    /// Calls `body` with 0..<count, each once, in any order and on any thread; returns when all have returned.
    package func run(_ count: Int, _ body: (Int) -> Void) {
        if count <= 0 { return }
        if threads.isEmpty || count == 1 {
            for index in 0..<count { body(index) }
            return
        }
        precondition(count < 1 << 31, "\(count) pieces")
        withoutActuallyEscaping(body) { body in
            var work = Work(body: body)
            withUnsafeMutablePointer(to: &work) { pointer in
                shared.dispatch(pointer, count: count)
            }
        }
    }

    private struct Work {
        /// Calls `body`. Behind a C function pointer, so that the reference that a thread takes to the closure is given
        /// back before the piece counts as finished: else the closure would outlive its call.
        let call: @convention(c) (UnsafeMutableRawPointer, Int) -> Void = { work, index in
            work.assumingMemoryBound(to: Work.self).pointee.body(index)
        }
        let body: (Int) -> Void
    }

    /// The loop in progress: its number in the upper half of `ticket`, the pieces left to claim in the lower.
    private final class Shared: Sendable {
        let ticket = Atomic<UInt64>(0)
        let work = Atomic<UInt>(0)
        let count = Atomic<Int>(0)
        let finished = Atomic<Int>(0)
        let sleeping = Atomic<Int>(0)
        let isStopping = Atomic<Bool>(false)
        private let wake = WakeUp()

        func dispatch(_ pointer: UnsafeMutablePointer<Work>, count: Int) {
            work.store(UInt(bitPattern: pointer), ordering: .relaxed)
            self.count.store(count, ordering: .relaxed)
            finished.store(0, ordering: .relaxed)
            let next = (ticket.load(ordering: .relaxed) >> 32 + 1) << 32
            ticket.store(next | UInt64(count), ordering: .sequentiallyConsistent)
            if sleeping.load(ordering: .sequentiallyConsistent) > 0 { wakeAll() }
            claimPieces()
            var spins = 0
            while finished.load(ordering: .acquiring) < count {
                kernels_pause()
                spins += 1
                if spins > 2_000 { sched_yield() }
            }
        }

        /// Works on the current loop until no piece is left to claim.
        func claimPieces() {
            while true {
                let seen = ticket.load(ordering: .acquiring)
                let left = Int(seen & 0xffff_ffff)
                if left == 0 { return }
                let address = work.load(ordering: .relaxed)
                let index = count.load(ordering: .relaxed) - left
                // A claim succeeds only while this very loop has this very piece left: then the loop has not ended, and
                // what was read above belongs to it. Whether pieces are left is in the ticket itself: read apart, it
                // could be the next loop's.
                let claim = ticket.compareExchange(expected: seen, desired: seen - 1, ordering: .acquiringAndReleasing)
                guard claim.exchanged else { continue }
                let pointer = UnsafeMutablePointer<Work>(bitPattern: address)!
                pointer.pointee.call(pointer, index)
                finished.add(1, ordering: .releasing)
            }
        }

        /// Waits for a loop later than `number`: spinning for some 50 microseconds, then asleep.
        func waitForLoop(after number: UInt64) {
            for _ in 0..<1_500 {
                if ticket.load(ordering: .acquiring) >> 32 != number { return }
                if isStopping.load(ordering: .relaxed) { return }
                kernels_pause()
            }
            wake.sleep(sleeping) {
                self.ticket.load(ordering: .sequentiallyConsistent) >> 32 == number
                    && !self.isStopping.load(ordering: .sequentiallyConsistent)
            }
        }

        func wakeAll() { wake.wakeAll() }
    }

    private static func work(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        let shared = Unmanaged<Shared>.fromOpaque(argument!).takeRetainedValue()
        var number: UInt64 = 0
        while !shared.isStopping.load(ordering: .acquiring) {
            shared.waitForLoop(after: number)
            number = shared.ticket.load(ordering: .acquiring) >> 32
            shared.claimPieces()
        }
        return nil
    }
}

/// A mutex and a condition at a fixed address.
private final class WakeUp: @unchecked Sendable {
    // pthread's own objects, used by pointer only.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func sleep(_ sleeping: borrowing Atomic<Int>, while isIdle: () -> Bool) {
        pthread_mutex_lock(mutex)
        sleeping.add(1, ordering: .sequentiallyConsistent)
        while isIdle() { pthread_cond_wait(condition, mutex) }
        sleeping.subtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(mutex)
    }

    func wakeAll() {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }
}
