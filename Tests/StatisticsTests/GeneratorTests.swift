import Statistics
import Testing

@Suite("Generators")
struct GeneratorTests {
    /// CPython 3.11.7: `r = random.Random(text); r.random() × 3; r.getrandbits(64)`.
    struct PythonCase: Sendable {
        var text, sha512: String
        var uniforms: [Double]
        var bits: UInt64
    }

    static let pythonCases = [
        PythonCase(
            text: "",
            sha512: "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                + "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            uniforms: [0.9602256525641875, 0.595411957851699, 0.3880117152955401], bits: 13_887_710_947_277_797_242),
        PythonCase(
            text: "abc",
            sha512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            uniforms: [0.7720246314157545, 0.5581691373899791, 0.7095325359498886], bits: 17_655_368_506_670_392_492),
        PythonCase(
            text: "\0prompt 7",
            sha512: "a5d5fdb4877901ecd439320b8c6491633d70114404eac5e9651a76004bd625db"
                + "ea3b045e4ebb42bb3466ca162f0a24ae9eebd886fbce4f2c4a227362b67f4a37",
            uniforms: [0.5058139793140376, 0.33997528063432925, 0.4767790561432069], bits: 12_334_168_550_411_709_908),
        PythonCase(
            text: "Grüße, 世界",
            sha512: "0d79353f8f649ab846f0231c291e5da4c97e6ac88ab8583074ba69b94aef85f3"
                + "3eba3e12f34ce718f826dc88bb6489a5823d1c7159d07918c274c0ed45f00ac3",
            uniforms: [0.8147735491567007, 0.5462651581813832, 0.28951844700558493], bits: 6_680_039_994_752_285_989),
    ]

    @Test("A text seeds the Mersenne twister as CPython's random.seed does", arguments: pythonCases)
    func pythonSeed(_ golden: PythonCase) {
        let digest = stride(from: 0, to: 128, by: 2).compactMap { i in
            UInt8(golden.sha512.dropFirst(i).prefix(2), radix: 16)
        }
        var generator = MersenneTwister(pythonSeed: Array(golden.text.utf8) + digest)
        #expect((0..<3).map { _ in generator.uniform() } == golden.uniforms)
        #expect(generator.next() == golden.bits)
    }

    @Test("An integer seeds the Mersenne twister as std::mt19937 does")
    func integerSeed() {
        // The C++ standard fixes the 10,000th number of the default seed.
        var generator = MersenneTwister(seed: 5489)
        for _ in 1..<10_000 { _ = generator.nextUInt32() }
        #expect(generator.nextUInt32() == 4_123_659_995)
    }

    @Test("Bounded draws are in range, also where some must be rejected")
    func bounded() {
        var generator = MersenneTwister(seed: 7)
        for n in [1, 2, 3, 1000, 0xC000_0001] as [UInt32] {
            #expect((0..<1000).allSatisfy { _ in generator.bounded(n) < n })
        }
    }

    @Test("The seeded generator is xoshiro256**")
    func xoshiro() {
        // Computed with a separate implementation in Python from the two published algorithms.
        var generator = SeededGenerator(seed: 1, stream: 2)
        let expected: [UInt64] = [
            9_579_208_193_359_609_190,
            5_115_929_806_209_566_993,
            9_400_772_252_435_387_239,
            11_348_209_657_754_131_067,
            15_484_900_869_811_157_379,
            13_818_537_960_101_289_665,
        ]
        #expect((0..<6).map { _ in generator.next() } == expected)
    }

    @Test("Seeds and streams give unrelated sequences, and the same ones again")
    func streams() {
        var draws: Set<UInt64> = []
        for seed in 0..<20 as Range<UInt64> {
            for stream in 0..<20 as Range<UInt64> {
                var generator = SeededGenerator(seed: seed, stream: stream)
                draws.insert(generator.next())
            }
        }
        #expect(draws.count == 400)
        var (a, b) = (SeededGenerator(seed: 3), SeededGenerator(seed: 3, stream: 0))
        #expect(a.next() == b.next())
    }

    @Test("Every index below a count is equally likely")
    func indices() {
        var generator = SeededGenerator(seed: 8)
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<70_000 { counts[generator.index(below: 7)] += 1 }
        // 10,000 ± 93; six deviations.
        #expect(counts.allSatisfy { abs($0 - 10_000) < 556 })
    }
}
