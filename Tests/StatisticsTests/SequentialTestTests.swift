import Statistics
import Testing

struct SequentialTestTests {
    /// Normal by the sum of twelve uniform numbers.
    private func normal(_ generator: inout SeededGenerator) -> Double {
        (0..<12).reduce(-6) { sum, _ in sum + Double(generator.next() >> 11) * 0x1p-53 }
    }

    private func verdict(_ seed: UInt64, mean: Double, knows: Bool) -> (SequentialTest.Decision?, Int) {
        var generator = SeededGenerator(seed: seed)
        let known = (0..<400).map { _ in normal(&generator) }
        let values = known.map { mean + 0.8 * $0 + 0.6 * normal(&generator) }
        var test = SequentialTest(threshold: 0, alpha: 0.05, variates: known.map { knows ? [$0] : [] })
        for (prompt, value) in values.enumerated() {
            test.add(prompt: prompt, value: value)
            if let decision = test.decision { return (decision, prompt + 1) }
        }
        return (nil, 400)
    }

    @Test(arguments: [false, true])
    func `On the threshold either decision is rare, though it is looked at after every prompt`(knows: Bool) {
        let verdicts = concurrentMap(1_000) { verdict(UInt64($0), mean: 0, knows: knows).0 }
        // 5 % each; four standard errors of a share of a thousand are 2.8 %.
        #expect(verdicts.count { $0 == .above } < 78)
        #expect(verdicts.count { $0 == .below } < 78)
    }

    @Test func `A large effect is decided early, and earlier with what is known beforehand`() {
        func judged(knows: Bool) -> Double {
            let counts = concurrentMap(200) { i -> Double in
                let (decision, count) = verdict(UInt64(i), mean: -0.35, knows: knows)
                return decision == .below ? Double(count) : 400
            }
            return quantile(0.5, ofSorted: counts.sorted())
        }
        let (alone, known) = (judged(knows: false), judged(knows: true))
        #expect(alone < 200)
        #expect(known < 0.85 * alone)
    }

    @Test func `After all prompts the estimate is the mean, whatever was known`() throws {
        var generator = SeededGenerator(seed: 4)
        let known = (0..<80).map { _ in [normal(&generator), normal(&generator)] }
        let values = known.map { $0[0] - 2 * $0[1] + normal(&generator) }
        var test = SequentialTest(threshold: 0, alpha: 0.05, variates: known)
        for (prompt, value) in values.enumerated() { test.add(prompt: prompt, value: value) }
        let state = try #require(test.state)
        #expect(abs(state.estimate - values.reduce(0, +) / 80) < 1e-12)
        #expect(abs(state.information - 1) < 1e-12)
        let error = (sampleStandardDeviation(values) ?? 0) / 80.0.squareRoot()
        // The regression takes two degrees of freedom.
        #expect(abs(state.standardError / error - 1) < 0.02)
    }

    @Test func `Many prompts without any difference do not rule out rare and great ones`() {
        @Sendable func passes(_ seed: UInt64) -> Bool {
            var generator = SeededGenerator(seed: seed)
            var test = SequentialTest(
                threshold: -3, alpha: 0.05, variates: [[Double]](repeating: [], count: 805), largest: 100)
            // Three in a hundred prompts fall by the whole scale: three points, the threshold itself.
            for prompt in 0..<805 {
                test.add(prompt: prompt, value: generator.index(below: 100) < 3 ? -100 : 0)
                if prompt % 16 == 15, let decision = test.decision { return decision == .above }
            }
            return false
        }
        // 5 %, and four standard errors of a share of a thousand.
        #expect(concurrentMap(1_000) { passes(UInt64($0)) }.count { $0 } < 78)
        var equal = SequentialTest(
            threshold: -3, alpha: 0.05, variates: [[Double]](repeating: [], count: 805), largest: 100)
        for prompt in 0..<400 { equal.add(prompt: prompt, value: 0) }
        #expect(equal.decision == .above)
    }

    @Test func `A prompt without a verdict is left out, and variates that repeat each other do no harm`() throws {
        var test = SequentialTest(
            threshold: 1, alpha: 0.05, variates: (0..<60).map { [Double($0), Double($0), 3] }, least: 10)
        for prompt in 0..<60 { test.add(prompt: prompt, value: prompt % 2 == 0 ? nil : Double(prompt % 3) * 0.1) }
        let state = try #require(test.state)
        #expect(state.count == 30 && state.estimate.isFinite && test.decision == .below)
    }
}
