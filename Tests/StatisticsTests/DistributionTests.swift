import Statistics
import Testing

/// Golden values of SciPy 1.17.1 (`scipy.stats.norm` and `scipy.stats.t`).
struct DistributionTests {
    @Test func `Normal quantiles are SciPy's`() {
        let golden: [(Double, Double)] = [
            (1e-10, -6.361340902404056), (0.0001, -3.7190164854556804), (0.025, -1.9599639845400545),
            (0.2, -0.8416212335729142), (0.8, 0.8416212335729143), (0.975, 1.959963984540054),
            (0.999, 3.090232306167813),
        ]
        for (p, z) in golden {
            #expect(abs(normalQuantile(p) - z) < 1e-12 * abs(z), "\(p)")
            #expect(abs(normalProbability(below: z) / p - 1) < 1e-12)
        }
    }

    @Test func `Student's quantiles and probabilities are SciPy's`() {
        let quantiles: [(Double, Double, Double)] = [
            (0.025, 1, -12.706204736174705), (0.025, 4.5, -2.658912347204404), (0.001, 9, -4.296805662729919),
            (0.975, 79, 1.9904502102301285), (0.9, 804, 1.2826054153333115), (1e-8, 30, -7.556534651885402),
        ]
        for (p, degrees, t) in quantiles {
            #expect(abs(studentQuantile(p, degrees: degrees) - t) < 1e-9 * abs(t), "\(p), \(degrees)")
        }
        let probabilities: [(Double, Double, Double)] = [
            (-2.5, 3, 0.04385332350403278), (0.3, 12, 0.6153447629558739), (-8, 40, 3.952542055052269e-10),
            (4.2, 804, 0.9999851618472869), (0, 7, 0.5),
        ]
        for (t, degrees, p) in probabilities {
            #expect(abs(studentProbability(below: t, degrees: degrees) - p) < 1e-11 * max(p, 1e-3), "\(t), \(degrees)")
        }
    }

    @Test func `A detectable difference is 2.8 standard errors, and the prompts for it shrink with its square`() {
        #expect(abs(smallestDetectableDifference(standardError: 1) - 2.8015852) < 1e-6)
        #expect(promptsToDetect(2.8015853, standardError: 1, count: 100) == 100)
        #expect(promptsToDetect(-1.4, standardError: 1, count: 100) == 401)
        #expect(promptsToDetect(0, standardError: 1, count: 100) == nil)
    }

    @Test func `Holm's adjustment is the textbook's, and leaves out what has no p`() {
        let adjusted = holmAdjusted([0.01, 0.04, nil, 0.03, 0.005])
        let expected: [Double?] = [0.03, 0.06, nil, 0.06, 0.02]
        for (own, other) in zip(adjusted, expected) {
            #expect((own == nil) == (other == nil))
            #expect(abs((own ?? 0) - (other ?? 0)) < 1e-15)
        }
        #expect(holmAdjusted([0.9, 0.8]) == [1, 1])
    }

    @Test func `A random order holds every place once, and another seed has another`() {
        var one = SeededGenerator(seed: 1)
        var other = SeededGenerator(seed: 2)
        let (first, second) = (one.permutation(of: 50), other.permutation(of: 50))
        #expect(first.sorted() == Array(0..<50) && second.sorted() == Array(0..<50) && first != second)
        #expect(one.permutation(of: 0).isEmpty)
    }
}
