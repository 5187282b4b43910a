/// Spearman's ρ: the correlation of ranks, where equal values share the mean of theirs.
///
/// nil below two values, and where either side's values are all the same. Values must be finite.
package func spearmanCorrelation(_ x: [Double], _ y: [Double]) -> Double? {
    precondition(x.count == y.count, "\(x.count) values beside \(y.count)")
    return correlation(averageRanks(x), averageRanks(y))
}

/// The position of each value among all in ascending order, from 1; equal values share the mean of theirs.
package func averageRanks(_ values: [Double]) -> [Double] {
    let ascending = values.indices.sorted { values[$0] < values[$1] }
    var ranks = [Double](repeating: 0, count: values.count)
    var start = 0
    while start < ascending.count {
        let value = values[ascending[start]]
        let end = ascending[start...].firstIndex { values[$0] != value } ?? ascending.count
        for i in ascending[start..<end] { ranks[i] = Double(start + 1 + end) / 2 }
        start = end
    }
    return ranks
}

/// Pearson's correlation; nil where either side does not vary.
private func correlation(_ x: [Double], _ y: [Double]) -> Double? {
    guard x.count > 1, let centerX = mean(x), let centerY = mean(y) else { return nil }
    var (xx, yy, xy) = (0.0, 0.0, 0.0)
    for (a, b) in zip(x, y) {
        xx += (a - centerX) * (a - centerX)
        yy += (b - centerY) * (b - centerY)
        xy += (a - centerX) * (b - centerY)
    }
    return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : nil
}
