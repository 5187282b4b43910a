/// When a request that failed is tried again, and when it has failed for good.
package struct RetryPolicy: Hashable, Sendable {
    /// How often a request is sent at most.
    package var attempts: Int
    /// How long it is tried again, from its first fault: what it waited for its turn before does not count.
    package var total: Duration

    package init(attempts: Int, total: Duration) {
        self.attempts = attempts
        self.total = total
    }

    /// Half a second, doubled with each fault up to a minute, of which `draw` (0..<1) takes off up to a half.
    static func backoff(faults: Int, draw: Double) -> Duration {
        .seconds(min(60, 0.5 * Double(1 << min(faults - 1, 20))) * (1 - 0.5 * draw))
    }
}

/// One try that gave no answer, and may give one later.
struct Fault: Hashable, Sendable {
    var what: String
    /// How long the server asks to wait.
    var told: Duration?
    /// The answer, where it is one that a server gives again and again to a request that it cannot digest.
    var answer: Int?
}

/// The tries of one request.
struct Retry {
    enum Decision: Hashable {
        case wait(Duration)
        case giveUp(String)
    }

    /// A server that answers with the same bytes so often will not change its mind.
    static let mostIdenticalAnswers = 5

    private let policy: RetryPolicy
    private var random: UInt64
    private(set) var deadline: Duration?
    private(set) var faults = 0
    private var lastAnswer: Int?
    private var identicalAnswers = 0

    /// - Parameter seed: of the jitter; different requests get different ones, so that they do not come back together.
    init(policy: RetryPolicy, seed: UInt64) {
        self.policy = policy
        random = seed
    }

    /// Starts the time for one request; later calls change nothing.
    mutating func start(now: Duration) { deadline = deadline ?? now + policy.total }

    func isOver(now: Duration) -> Bool { deadline.map { now >= $0 } ?? false }

    /// What follows `fault`. The wait is never shorter than what the server asked for.
    mutating func decide(after fault: Fault, now: Duration) -> Decision {
        faults += 1
        identicalAnswers = fault.answer != nil && fault.answer == lastAnswer ? identicalAnswers + 1 : 1
        lastAnswer = fault.answer
        start(now: now)

        if faults >= policy.attempts { return .giveUp("in \(faults) \(faults == 1 ? "attempt" : "attempts")") }
        if fault.answer != nil, identicalAnswers >= Retry.mostIdenticalAnswers {
            return .giveUp("in \(faults) attempts, the last \(identicalAnswers) of them identical")
        }
        let draw = nextDraw()
        let wait = fault.told.map { $0 * (1 + 0.05 * draw) } ?? RetryPolicy.backoff(faults: faults, draw: draw)
        if let deadline, now + wait >= deadline {
            return .giveUp("in \(faults) attempts within the time for one request")
        }
        return .wait(wait)
    }

    /// SplitMix64.
    private mutating func nextDraw() -> Double {
        random &+= 0x9E37_79B9_7F4A_7C15
        var bits = random
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((bits ^ (bits >> 31)) >> 11) * 0x1p-53
    }
}

/// FNV-1a: cheap, and the same in every process.
func stableHash(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
