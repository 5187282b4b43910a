/// An estimate with its sampling uncertainty.
package struct Interval: Codable, Hashable, Sendable {
    /// The estimate on the data as they are, in the unit of the statistic.
    package var value: Double
    /// Standard deviation of the estimate over resamples.
    package var standardError: Double
    /// Bounds of the central `level` of the resampled estimates.
    package var lower, upper: Double
    /// Coverage that the bounds aim at, 0...1.
    package var level: Double
    package var resamples: Int
    /// Resamples that had no estimate. They are left out, so a large number makes the interval worthless.
    package var failed: Int
    /// How the interval was made, in words for a report.
    package var method: String

    package init(
        value: Double, standardError: Double, lower: Double, upper: Double, level: Double = 0.95, resamples: Int,
        failed: Int, method: String
    ) {
        self.value = value
        self.standardError = standardError
        self.lower = lower
        self.upper = upper
        self.level = level
        self.resamples = resamples
        self.failed = failed
        self.method = method
    }

    /// The percentile interval of resampled estimates, nil for a resample without one; with fewer than two, `value`
    /// alone.
    package init(value: Double, estimates: [Double?], level: Double = 0.95, method: String) {
        let sorted = estimates.compactMap { $0 }.sorted()
        let tail = (1 - level) / 2
        self.init(
            value: value,
            standardError: sampleStandardDeviation(sorted) ?? 0,
            lower: sorted.isEmpty ? value : quantile(tail, ofSorted: sorted),
            upper: sorted.isEmpty ? value : quantile(1 - tail, ofSorted: sorted),
            level: level, resamples: estimates.count, failed: estimates.count - sorted.count, method: method)
    }
}

extension Interval {
    /// In another unit.
    package func times(_ factor: Double) -> Interval {
        var interval = self
        interval.value *= factor
        interval.standardError *= factor
        interval.lower *= factor
        interval.upper *= factor
        return interval
    }
}

/// The uncertainty of a mean, by drawing as many values as there are, with replacement, `resamples` times.
package func bootstrapMean(_ values: [Double], resamples: Int, seed: UInt64) -> Interval {
    precondition(!values.isEmpty && resamples > 1, "\(resamples) resamples of \(values.count) values")
    let estimates = concurrentMap(resamples) { i -> Double? in
        var generator = SeededGenerator(seed: seed, stream: UInt64(i))
        var sum = 0.0
        for _ in values.indices {
            sum += values[generator.index(below: values.count)]
        }
        return sum / Double(values.count)
    }
    let value = values.reduce(0, +) / Double(values.count)
    return Interval(value: value, estimates: estimates, method: "percentile bootstrap over prompts")
}

/// Values that hang together, such as those of one prompt, by their sum and number.
package struct Cluster: Hashable, Sendable {
    package var sum: Double
    package var count: Int

    package init(_ values: [Double]) { self.init(sum: values.reduce(0, +), count: values.count) }

    package init(sum: Double, count: Int) {
        self.sum = sum
        self.count = count
    }

    package var mean: Double { sum / Double(count) }
}

/// The uncertainty of the mean of all values, by drawing as many clusters as there are, with replacement.
package func bootstrapMean(_ clusters: [Cluster], of what: String, resamples: Int, seed: UInt64) -> Interval {
    precondition(!clusters.isEmpty && resamples > 1, "\(resamples) resamples of \(clusters.count) clusters")
    @Sendable func mean(_ drawn: [Cluster]) -> Double? {
        let (sum, count) = drawn.reduce((0.0, 0)) { ($0.0 + $1.sum, $0.1 + $1.count) }
        return count > 0 ? sum / Double(count) : nil
    }
    let estimates = concurrentMap(resamples) { i -> Double? in
        var generator = SeededGenerator(seed: seed, stream: UInt64(i))
        return mean(clusters.indices.map { _ in clusters[generator.index(below: clusters.count)] })
    }
    return Interval(
        value: mean(clusters) ?? .nan, estimates: estimates, method: "percentile bootstrap over \(what)")
}
