internal import Chat
internal import Statistics

/// In which order, or orders, a judge sees a pair.
package enum OrderRule: Hashable, Sendable {
    /// One call; the order is drawn by a coin that depends on the instruction and the seed alone, so that position bias
    /// averages out, a rerun repeats it, and every model meets the same coins. The coin is alpaca_eval's.
    case seededRandom(seed: Int)
    /// Two calls, one in each order; the preference is their mean.
    case both
    case baselineFirst

    package func orders(instruction: String) -> [PresentationOrder] {
        switch self {
        case .seededRandom(let seed): [OrderRule.isSwitched(instruction, seed: seed) ? .modelFirst : .baselineFirst]
        case .both: [.baselineFirst, .modelFirst]
        case .baselineFirst: [.baselineFirst]
        }
    }

    /// CPython's `random.Random("is_switched_outputs" + instruction + seed).choices([False, True])`.
    static func isSwitched(_ instruction: String, seed: Int) -> Bool {
        let text = Array("is_switched_outputs\(instruction)\(seed)".utf8)
        var generator = MersenneTwister(pythonSeed: text + Digest.sha512(text))
        return generator.uniform() >= 0.5
    }
}
