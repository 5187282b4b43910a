/// How far apart two values are, for Krippendorff's α.
package enum AgreementMetric: String, Sendable {
    case nominal
    /// By how many values lie between the two.
    case ordinal
    case interval
}

/// Krippendorff's α: 1 where raters agree on every unit, 0 where they agree as by chance (Krippendorff 2011,
/// https://repository.upenn.edu/asc_papers/43).
///
/// - Parameter ratings: by rater and unit; nil where there is none. A unit with fewer than two ratings does not count.
/// - Returns: nil where no unit has two ratings, or all ratings are the same.
package func krippendorffAlpha(_ ratings: [[Double?]], metric: AgreementMetric) -> Double? {
    precondition(Set(ratings.map(\.count)).count <= 1, "\(ratings.map(\.count)) ratings of the same units")
    let units = (ratings.first ?? []).indices.map { unit in ratings.compactMap { $0[unit] } }.filter { $0.count > 1 }
    let values = Set(units.flatMap(\.self)).sorted()
    let places = Dictionary(uniqueKeysWithValues: zip(values, values.indices))
    var coincidences = [[Double]](
        repeating: [Double](repeating: 0, count: values.count), count: values.count)
    for unit in units {
        for first in unit.indices {
            for second in unit.indices where first != second {
                coincidences[places[unit[first]] ?? 0][places[unit[second]] ?? 0] += 1 / Double(unit.count - 1)
            }
        }
    }
    let totals = coincidences.map { $0.reduce(0, +) }
    let count = totals.reduce(0, +)
    func distance(_ a: Int, _ b: Int) -> Double {
        switch metric {
        case .nominal: return a == b ? 0 : 1
        case .interval: return (values[a] - values[b]) * (values[a] - values[b])
        case .ordinal:
            let between = totals[min(a, b)...max(a, b)].reduce(0, +) - (totals[a] + totals[b]) / 2
            return a == b ? 0 : between * between
        }
    }
    var (observed, expected) = (0.0, 0.0)
    for a in values.indices {
        for b in values.indices where a != b {
            observed += coincidences[a][b] * distance(a, b)
            expected += totals[a] * totals[b] * distance(a, b)
        }
    }
    return expected > 0 ? 1 - (count - 1) * observed / expected : nil
}
