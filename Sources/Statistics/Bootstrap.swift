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
    init(value: Double, estimates: [Double?], level: Double = 0.95, method: String) {
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
