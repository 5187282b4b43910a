package import Evaluation
internal import Statistics

/// How a judge behaved in a run: whether it prefers a place, agrees with itself when places are exchanged, and how often
/// it gave no verdict.
package struct JudgeConduct: Sendable {
    /// Games in which the model was shown in one place.
    private struct Place {
        var name: String
        var preferences: [Double]
        var missing: Int
    }

    private let places: [Place]
    /// Prompts judged in both orders, and those of them with one winner in both.
    private let both, agreeing: Int
    private let missing: [(category: String, count: Int)]
    private let total: Int

    /// - Parameter unanswered: prompts without an output, of which the annotations know nothing.
    package init(_ annotations: [Annotation], unanswered: Int) {
        let games = annotations.flatMap(\.games)
        places = [("first", PresentationOrder.modelFirst), ("second", .baselineFirst)].map { name, order in
            let own = games.filter { $0.order == order }
            let preferences = own.compactMap(\.preference)
            return Place(name: name, preferences: preferences, missing: own.count - preferences.count)
        }
        let pairs = annotations.compactMap { annotation -> (Double, Double)? in
            let games = annotation.games
            guard games.count == 2, games[0].order != games[1].order, let first = games[0].preference,
                let second = games[1].preference
            else { return nil }
            return (first, second)
        }
        both = pairs.count
        agreeing = pairs.count { first, second in
            (first > 0.5) == (second > 0.5) && (first < 0.5) == (second < 0.5)
        }
        var counts: [String: Int] = [:]
        for case .missing(let reason) in annotations.map(\.verdict) { counts[reason.category, default: 0] += 1 }
        if unanswered > 0 { counts[Verdict.Reason.noOutput.category, default: 0] += unanswered }
        missing = counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        total = annotations.count + unanswered
    }

    var blocks: [HTMLPage.Block] {
        var blocks: [HTMLPage.Block] = [.heading("The judge")]
        if places.contains(where: { !$0.preferences.isEmpty }) {
            blocks += [.table(table), .paragraph(bias)]
        } else {
            blocks.append(.paragraph("Where the outputs were shown is not known, so nothing can be said of places."))
        }
        if both > 0 {
            let share = wilsonInterval(Double(agreeing) / Double(both), of: both)
            blocks.append(
                .paragraph(
                    "Of \(both) prompts judged in both orders, \(agreeing) have one outcome in both: "
                        + "\(TextTable.decimal(100 * Double(agreeing) / Double(both), 1)) % "
                        + "\(TextTable.range(100 * share.lower, 100 * share.upper, 1))."))
        }
        let reasons = missing.map { "\($0.count) \($0.category)" }.joined(separator: ", ")
        blocks.append(
            .paragraph(
                missing.isEmpty
                    ? "No verdict is missing."
                    : "Missing verdicts: \(reasons), of \(total). They are scored as nothing."))
        return blocks
    }

    private var table: HTMLPage.Table {
        HTMLPage.Table(
            ["the model was shown", "games", "preferred, %", "95 % CI", "no verdict"],
            places.map { place in
                guard let interval = JudgeConduct.interval(place.preferences) else {
                    return [place.name, "0", "", "", "\(place.missing)"]
                }
                return [
                    place.name, "\(place.preferences.count)", TextTable.decimal(interval.value, 1),
                    TextTable.range(interval.lower, interval.upper, 1), "\(place.missing)",
                ]
            })
    }

    private var bias: String {
        let means = places.map { Statistics.mean($0.preferences) }
        guard let first = means[0], let second = means[1] else { return "The model was shown in one place only." }
        return "Being shown first changes the preference by \(TextTable.signed(100 * (first - second), 1)) points."
    }

    private static func interval(_ preferences: [Double]) -> Interval? {
        guard let average = Statistics.mean(preferences) else { return nil }
        let error = (sampleStandardDeviation(preferences) ?? 0) / Double(preferences.count).squareRoot()
        return Interval(
            value: 100 * average, standardError: 100 * error, lower: max(0, 100 * (average - 1.96 * error)),
            upper: min(100, 100 * (average + 1.96 * error)), resamples: 0, failed: 0, method: "normal")
    }
}
