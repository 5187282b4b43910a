/// The interval of a share after Wilson 1927, which has a width where all cases are alike too.
///
/// - Returns: bounds in 0...1 at 95 %.
package func wilsonInterval(_ share: Double, of count: Int) -> (lower: Double, upper: Double) {
    precondition(count > 0 && 0 <= share && share <= 1, "a share of \(share) of \(count)")
    let n = Double(count)
    let z = 1.959963984540054
    let center = share + z * z / (2 * n)
    let half = z * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
    return (max(0, (center - half) / (1 + z * z / n)), min(1, (center + half) / (1 + z * z / n)))
}

extension Interval {
    /// This interval of a share, or where every resample gave the same, Wilson's: that all cases were alike does not say
    /// that the next ones will be.
    ///
    /// - Parameters:
    ///   - whole: what a share of all is in the interval's unit.
    ///   - count: of the cases that were resampled.
    package func orWilson(whole: Double, count: Int) -> Interval {
        let rounding = 1e-6 * whole
        guard upper - lower < rounding, min(value, whole - value) < rounding, count > 0 else { return self }
        let bounds = wilsonInterval((value / whole).rounded(), of: count)
        var interval = self
        (interval.lower, interval.upper) = (whole * bounds.lower, whole * bounds.upper)
        interval.method = "Wilson over \(count) cases that are all alike"
        return interval
    }
}
