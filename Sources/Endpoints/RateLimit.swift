/// Keeps an endpoint's callers below its requests and tokens a minute, and holds all of them back while it asks for a
/// pause.
package actor RateLimit {
    private let time: TimeSource
    private var requests: TokenBucket?
    private var tokens: TokenBucket?
    private var pausedUntil: Duration = .zero

    package init(requestsPerMinute: Int?, tokensPerMinute: Int?, time: TimeSource = .system) {
        self.time = time
        requests = requestsPerMinute.map { TokenBucket(perMinute: $0, now: time.now()) }
        tokens = tokensPerMinute.map { TokenBucket(perMinute: $0, now: time.now()) }
    }

    /// Returns when a request of about `count` tokens may go; those who came first go first.
    ///
    /// - Throws: what the sleeper throws: `CancellationError` when the task was cancelled.
    package func admit(tokens count: Int) async throws {
        let now = time.now()
        var wait = max(requests?.take(1, now: now) ?? .zero, tokens?.take(count, now: now) ?? .zero, pausedUntil - now)
        while wait > .zero {
            try await time.sleep(wait)
            wait = pausedUntil - time.now()
        }
    }

    /// Puts the difference right when the answer tells how many tokens the request really took.
    package func settle(estimated: Int, used: Int) {
        _ = tokens?.take(used - estimated, now: time.now())
    }

    /// Lets nobody through for `pause` from now.
    package func pause(_ pause: Duration) { pausedUntil = max(pausedUntil, time.now() + pause) }
}

/// A bucket that runs into debt: whoever takes more than is there waits until it is refilled, and the next one behind
/// it.
private struct TokenBucket {
    /// A twentieth of the minute may go at once and the rest flows at 95 %: so no window of 60 s sees more than the
    /// limit.
    private static let burst = 0.05
    private let rate: Double  // a second
    private let capacity: Double
    private var level: Double
    private var filledAt: Duration

    init(perMinute: Int, now: Duration) {
        precondition(perMinute > 0, "a limit of \(perMinute) a minute lets nothing through")
        rate = Double(perMinute) / 60 * (1 - TokenBucket.burst)
        capacity = max(1, Double(perMinute) * TokenBucket.burst)
        level = capacity
        filledAt = now
    }

    /// Takes `count` and says how long to wait first. A negative count gives back.
    mutating func take(_ count: Int, now: Duration) -> Duration {
        level = min(capacity, level + rate * (now - filledAt).inSeconds)
        filledAt = now
        let missing = min(Double(count), capacity) - level
        level -= Double(count)
        return missing > 0 ? .seconds(missing / rate) : .zero
    }
}
