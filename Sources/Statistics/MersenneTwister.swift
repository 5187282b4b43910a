/// The MT19937 generator, seeded and drawn from as CPython, NumPy's `RandomState` and liblinear do.
///
/// It is here to repeat the random choices of other programs; for choices of our own use ``SeededGenerator``.
/// Matsumoto and Nishimura 1998, https://doi.org/10.1145/272991.272995.
package struct MersenneTwister: RandomNumberGenerator, Sendable {
    private var state: [UInt32]
    private var position = MersenneTwister.size

    private static let size = 624
    private static let shift = 397

    /// Seeds as `std::mt19937(seed)` and `numpy.random.RandomState(seed)` do.
    package init(seed: UInt32) {
        state = [UInt32](repeating: seed, count: Self.size)
        for i in 1..<Self.size {
            state[i] = 1_812_433_253 &* (state[i - 1] ^ (state[i - 1] >> 30)) &+ UInt32(i)
        }
    }

    /// Seeds as CPython's `random.seed(n)` does, where `bytes` are the integer n, most significant byte first.
    ///
    /// For `random.seed(text)` (version 2) the bytes are the UTF-8 of the text followed by its SHA-512.
    package init(pythonSeed bytes: [UInt8]) {
        self.init(key: Self.words(ofBigEndian: bytes))
    }

    /// `init_by_array` of the reference implementation.
    private init(key: [UInt32]) {
        self.init(seed: 19_650_218)
        var i = 1
        for k in 0..<max(Self.size, key.count) {
            let j = k % key.count
            state[i] = (state[i] ^ (1_664_525 &* mixed(before: i))) &+ key[j] &+ UInt32(j)
            advance(&i)
        }
        for _ in 1..<Self.size {
            state[i] = (state[i] ^ (1_566_083_941 &* mixed(before: i))) &- UInt32(i)
            advance(&i)
        }
        state[0] = 0x8000_0000
    }

    /// The next 32 bits.
    package mutating func nextUInt32() -> UInt32 {
        if position == Self.size { twist() }
        position += 1
        return Self.tempered(state[position - 1])
    }

    private static func tempered(_ word: UInt32) -> UInt32 {
        var y = word
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C_5680
        y ^= (y << 15) & 0xEFC6_0000
        return y ^ (y >> 18)
    }

    /// The next 64 bits, the less significant word drawn first, as CPython's `getrandbits(64)`.
    package mutating func next() -> UInt64 {
        let low = UInt64(nextUInt32())
        return UInt64(nextUInt32()) << 32 | low
    }

    /// A number in 0..<1 with 53 random bits, as CPython's `random()`.
    package mutating func uniform() -> Double {
        let high = Double(nextUInt32() >> 5)
        let low = Double(nextUInt32() >> 6)
        return (high * 67_108_864 + low) / 9_007_199_254_740_992
    }

    /// A number in 0..<n, as scikit-learn's liblinear draws it (Lemire 2019, https://arxiv.org/abs/1805.10941).
    package mutating func bounded(_ n: UInt32) -> UInt32 {
        precondition(n > 0, "a draw below \(n) has no value")
        var product = UInt64(nextUInt32()) * UInt64(n)
        if UInt32(truncatingIfNeeded: product) < n {
            let threshold = (0 &- n) % n
            while UInt32(truncatingIfNeeded: product) < threshold {
                product = UInt64(nextUInt32()) * UInt64(n)
            }
        }
        return UInt32(product >> 32)
    }

    /// `count` numbers in 0..<bound, as NumPy's `RandomState.choice(bound, count)` and `randint(0, bound, count)` draw
    /// them: bits under a mask, and again where they are too many.
    package mutating func indices(_ count: Int, below bound: Int) -> [Int] {
        precondition(0 < bound && bound <= UInt32.max, "an index below \(bound) has no value")
        let most = UInt32(bound - 1)
        if most == 0 { return [Int](repeating: 0, count: count) }
        let mask = UInt32.max >> UInt32(most.leadingZeroBitCount)
        return [Int](unsafeUninitializedCapacity: count) { indices, found in
            while found < count {
                if position == Self.size { twist() }
                var place = position
                state.withUnsafeBufferPointer { words in
                    while place < Self.size, found < count {
                        let value = Self.tempered(words[place]) & mask
                        place += 1
                        // Written in any case: a branch on chance would be missed half of the time.
                        indices[found] = Int(value)
                        found += value <= most ? 1 : 0
                    }
                }
                position = place
            }
        }
    }

    private mutating func twist() {
        var words = state.mutableSpan
        func renew(_ i: Int, _ next: Int, _ far: Int, _ words: inout MutableSpan<UInt32>) {
            let y = (words[i] & 0x8000_0000) | (words[next] & 0x7FFF_FFFF)
            words[i] = words[far] ^ (y >> 1) ^ ((0 &- (y & 1)) & 0x9908_B0DF)
        }
        for i in 0..<(Self.size - Self.shift) { renew(i, i + 1, i + Self.shift, &words) }
        for i in (Self.size - Self.shift)..<(Self.size - 1) { renew(i, i + 1, i + Self.shift - Self.size, &words) }
        renew(Self.size - 1, 0, Self.shift - 1, &words)
        position = 0
    }

    private func mixed(before i: Int) -> UInt32 {
        state[i - 1] ^ (state[i - 1] >> 30)
    }

    private mutating func advance(_ i: inout Int) {
        i += 1
        if i == Self.size {
            state[0] = state[Self.size - 1]
            i = 1
        }
    }

    /// 32-bit words, least significant first, without leading zeros (but one word for zero itself).
    private static func words(ofBigEndian bytes: [UInt8]) -> [UInt32] {
        var words: [UInt32] = []
        for (i, byte) in bytes.drop(while: { $0 == 0 }).reversed().enumerated() {
            if i % 4 == 0 { words.append(0) }
            words[i / 4] |= UInt32(byte) << (8 * UInt32(i % 4))
        }
        return words.isEmpty ? [0] : words
    }
}
