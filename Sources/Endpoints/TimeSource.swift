internal import Glibc

/// Time, passed in so that tests never wait.
package struct TimeSource: Sendable {
    /// Since some fixed moment; never goes back.
    package var now: @Sendable () -> Duration
    /// The calendar's time, in seconds since 1970: only a Retry-After that names a date needs it.
    package var epochSeconds: @Sendable () -> Double
    package var sleep: @Sendable (Duration) async throws -> Void

    package init(
        now: @escaping @Sendable () -> Duration, epochSeconds: @escaping @Sendable () -> Double,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.epochSeconds = epochSeconds
        self.sleep = sleep
    }

    package static let system = TimeSource(
        now: { clock(CLOCK_MONOTONIC) }, epochSeconds: { clock(CLOCK_REALTIME).inSeconds },
        sleep: { try await Task.sleep(for: $0) })

    private static func clock(_ id: clockid_t) -> Duration {
        var time = timespec()
        clock_gettime(id, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
