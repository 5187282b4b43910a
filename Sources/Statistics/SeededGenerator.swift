/// Our own source of randomness: xoshiro256**, its state filled by splitmix64 from a seed and a stream.
///
/// Every piece of work that may run on another thread draws from a stream of its own, so results do not depend on
/// scheduling. Blackman and Vigna 2021, https://doi.org/10.1145/3460772.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    package init(seed: UInt64) {
        self.init(seed: seed, stream: 0)
    }

    /// Streams of one seed are unrelated sequences.
    package init(seed: UInt64, stream: UInt64) {
        var outer = SplitMix64(state: seed)
        var inner = SplitMix64(state: outer.next() &+ stream)
        state = (inner.next(), inner.next(), inner.next(), inner.next())
    }

    package mutating func next() -> UInt64 {
        let result = rotated(state.1 &* 5, by: 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = rotated(state.3, by: 45)
        return result
    }

    /// A number in 0..<count, every one equally likely (Lemire 2019, https://arxiv.org/abs/1805.10941).
    package mutating func index(below count: Int) -> Int {
        precondition(count > 0, "an index below \(count) has no value")
        let bound = UInt64(count)
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let threshold = (0 &- bound) % bound
            while product.low < threshold {
                product = next().multipliedFullWidth(by: bound)
            }
        }
        return Int(product.high)
    }

    /// 0..<count in random order (Fisher and Yates, as Durstenfeld 1964 gives it, https://doi.org/10.1145/364520.364540).
    package mutating func permutation(of count: Int) -> [Int] {
        var order = Array(0..<count)
        for last in stride(from: count - 1, to: 0, by: -1) { order.swapAt(last, index(below: last + 1)) }
        return order
    }

    private func rotated(_ x: UInt64, by k: UInt64) -> UInt64 {
        (x << k) | (x >> (64 - k))
    }
}

private struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
