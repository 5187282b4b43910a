/// Two means over the same prompts, such as two models' win rates against one baseline; prompts, with all values that
/// hang on them, are what is resampled.
package struct PairedMeans: Sendable {
    /// One prompt's values.
    package struct Pair: Hashable, Sendable {
        package var first, second: Cluster

        package init(first: Cluster, second: Cluster) {
            self.first = first
            self.second = second
        }
    }

    package let pairs: [Pair]
    /// The first's mean over all values, and the second's.
    package let means: (first: Double, second: Double)

    /// - Returns: nil with fewer than two prompts.
    package init?(_ pairs: [Pair]) {
        precondition(
            pairs.allSatisfy { $0.first.count > 0 && $0.second.count > 0 }, "a prompt without a value of one side")
        if pairs.count < 2 { return nil }
        self.pairs = pairs
        means = (PairedMeans.mean(pairs.lazy.map(\.first)), PairedMeans.mean(pairs.lazy.map(\.second)))
    }

    /// The first less the second.
    package var difference: Double { means.first - means.second }

    private static func mean(_ clusters: some Sequence<Cluster>) -> Double {
        let (sum, count) = clusters.reduce((0.0, 0.0)) { ($0.0 + $1.sum, $0.1 + Double($1.count)) }
        return sum / count
    }

    /// Of the difference over resamples of prompts.
    package func resampled(_ resamples: Int, seed: UInt64) -> Resampled {
        let estimates = concurrentMap(resamples) { i -> Double? in
            var generator = SeededGenerator(seed: seed, stream: UInt64(i))
            var sums = Sums()
            for _ in pairs.indices { sums.add(pairs[generator.index(below: pairs.count)]) }
            return sums.difference
        }
        return Resampled(value: difference, estimates: estimates, count: pairs.count)
    }

    /// How often a difference as large as this one comes about where every prompt's two sides are exchanged by the flip of
    /// a coin: the two-sided p-value of the permutation test, which counts what is seen as one of the flips.
    package func permutationP(_ permutations: Int, seed: UInt64) -> Double {
        // A rounding error is no evidence.
        let seen = abs(difference) * (1 - 1e-9) - 1e-12
        let extremes = concurrentMap(permutations) { i -> Bool in
            var generator = SeededGenerator(seed: ~seed, stream: UInt64(i))
            var sums = Sums()
            var coins = (bits: UInt64(0), left: 0)
            for pair in pairs {
                if coins.left == 0 { coins = (generator.next(), 64) }
                sums.add(pair, exchanged: coins.bits & 1 == 1)
                coins = (coins.bits >> 1, coins.left - 1)
            }
            return abs(sums.difference) >= seen
        }
        return Double(1 + extremes.count { $0 }) / Double(1 + permutations)
    }

    private struct Sums {
        private var (first, second) = (SIMD2<Double>(), SIMD2<Double>())

        @inline(__always)
        mutating func add(_ pair: Pair, exchanged: Bool = false) {
            let (own, other) = (Self.terms(pair.first), Self.terms(pair.second))
            first += exchanged ? other : own
            second += exchanged ? own : other
        }

        @inline(__always)
        private static func terms(_ cluster: Cluster) -> SIMD2<Double> { SIMD2(cluster.sum, Double(cluster.count)) }

        var difference: Double { first[0] / first[1] - second[0] / second[1] }
    }
}

/// An estimate, and what it was over resamples of prompts.
package struct Resampled: Sendable {
    package var value: Double
    /// Those of the resamples that had an estimate, ascending.
    package let estimates: [Double]
    private let asked: Int
    /// Of prompts.
    package let count: Int

    package init(value: Double, estimates: [Double?], count: Int) {
        self.value = value
        self.estimates = estimates.compactMap { $0 }.sorted()
        self.asked = estimates.count
        self.count = count
    }

    /// The difference of two estimates over the same resamples.
    package init(
        _ first: (value: Double, estimates: [Double?]), less second: (value: Double, estimates: [Double?]), count: Int
    ) {
        precondition(
            first.estimates.count == second.estimates.count,
            "\(first.estimates.count) and \(second.estimates.count) estimates of the same resamples")
        self.init(
            value: first.value - second.value,
            estimates: zip(first.estimates, second.estimates).map { own, other in
                own.flatMap { own in other.map { own - $0 } }
            }, count: count)
    }

    package var standardError: Double { (sampleStandardDeviation(estimates) ?? 0) * widening }

    /// The percentile interval, widened as Hesterberg 2015 (https://doi.org/10.1080/00031305.2015.1089789) does: plain
    /// percentiles are too narrow by √((n−1)/n) and by the difference between Student's t and the normal.
    package func interval(level: Double = 0.95, method: String) -> Interval {
        guard !estimates.isEmpty else {
            return Interval(
                value: value, standardError: 0, lower: value, upper: value, level: level, resamples: asked,
                failed: asked, method: method)
        }
        let tail = widenedTail((1 - level) / 2)
        return Interval(
            value: value, standardError: standardError, lower: quantile(tail, ofSorted: estimates),
            upper: quantile(1 - tail, ofSorted: estimates), level: level, resamples: asked,
            failed: asked - estimates.count, method: method)
    }

    /// The two-sided p-value of "no difference" that goes with the interval: 1 less the level at which it reaches 0.
    package var p: Double { min(1, 2 * min(p(ofAtMost: 0), p(ofAtLeast: 0))) }

    /// The one-sided p-value of "the true value is `threshold` or less".
    package func p(ofAtMost threshold: Double) -> Double {
        tail(estimates.count { $0 <= threshold }, distance: value - threshold)
    }

    /// The one-sided p-value of "the true value is `threshold` or more".
    package func p(ofAtLeast threshold: Double) -> Double {
        tail(estimates.count { $0 >= threshold }, distance: threshold - value)
    }

    /// The share of resamples beyond a threshold; where these are too few to be counted, Student's t of its distance in
    /// standard errors, which goes on where resamples end.
    private func tail(_ beyond: Int, distance: Double) -> Double {
        let counted = narrowed(Double(1 + beyond) / Double(2 + estimates.count))
        guard beyond < 10, count > 1, standardError > 0 else { return counted }
        return min(counted, studentProbability(below: -distance / standardError, degrees: Double(count - 1)))
    }

    private var widening: Double { (Double(count) / Double(max(1, count - 1))).squareRoot() }

    /// The normal tail that stands for Student's t's of `tail`.
    private func widenedTail(_ tail: Double) -> Double {
        guard count > 1, tail > 0 else { return tail }
        return normalProbability(below: widening * studentQuantile(tail, degrees: Double(count - 1)))
    }

    /// The inverse of `widenedTail`.
    private func narrowed(_ share: Double) -> Double {
        guard count > 1, share < 1 else { return share }
        return studentProbability(below: normalQuantile(share) / widening, degrees: Double(count - 1))
    }
}
