package import Evaluation
package import Statistics

/// What is compared of two runs; raw values are the names that scores have.
package enum Metric: String, Hashable, Sendable, CaseIterable {
    case winRate = "win_rate"
    case lengthControlled = "length_controlled_winrate"
    /// Of ratings.
    case average

    /// What one prompt can change by at most: percent, or the judge's 1 to 10.
    package var span: Double { self == .average ? 9 : 100 }
}

/// Two runs of one benchmark, prompt by prompt: how much they differ, and how sure that is.
package struct Comparison: Sendable {
    package struct Rule: Sendable {
        package var resamples = 2_000
        /// Of the means; those of length control, which refits two regressions each time, are a tenth.
        package var permutations = 10_000
        package var seed: UInt64 = 0
        /// The chance to call any difference decided where there is none.
        package var alpha = 0.05
        /// Whether to look at kinds of prompts by themselves too.
        package var slices = true
        /// Nil leaves length control out.
        package var lengthControl: Equalizer?

        package init() {}
    }

    /// Length control, and the difficulty of prompts by their place in the benchmark's set.
    package struct Equalizer: Sendable {
        package var control: LengthControl
        package var difficulty: [Double]

        package init(_ control: LengthControl, difficulty: [Double]) {
            self.control = control
            self.difficulty = difficulty
        }
    }

    /// One difference.
    package struct Finding: Sendable {
        package var metric: Metric
        /// Of the first run and of the second, over the prompts that both have verdicts on.
        package var values: (first: Double, second: Double)
        /// The first less the second.
        package var difference: Interval
        package var resampled: Resampled
        /// Two-sided, of no difference: from the resamples of the interval, and from exchanging the two.
        package var p: Double
        package var permutationP: Double?
        /// After Holm, over all that was compared in one go.
        package var adjustedP: Double?
        /// Of prompts.
        package var count: Int
        /// From the greatest fall of a prompt's own value to its greatest rise.
        package var changes: ClosedRange<Double>
        package var alpha: Double

        /// The smallest true difference that this would find in four of five cases.
        package var detectable: Double {
            smallestDetectableDifference(standardError: difference.standardError, alpha: alpha)
        }

        /// How many prompts would find the difference that was seen in four of five cases.
        package var promptsNeeded: Int? {
            promptsToDetect(
                difference.value, standardError: difference.standardError, count: count, alpha: alpha)
        }

        package var isDecided: Bool { (adjustedP ?? p) < alpha }
    }

    /// Prompts of one kind.
    package struct Slice: Sendable {
        /// What prompts were divided by: `category`, `prompt length` or `difficulty`.
        package var dimension: String
        package var name: String
        package var finding: Finding
    }

    package let first: RunSnapshot
    package let second: RunSnapshot
    package private(set) var findings: [Finding] = []
    package private(set) var slices: [Slice] = []
    /// What went wrong, or may mislead.
    package private(set) var notes: [String] = []
    /// Prompts that the other run does not have, by run.
    package let unshared: (first: Int, second: Int)
    /// Common prompts without a verdict, by run.
    package let missing: (first: Int, second: Int)
    private let shared: [SharedPrompt]

    /// - Throws: `badData` where fewer than two prompts have a verdict in both.
    package init(_ first: RunSnapshot, _ second: RunSnapshot, rule: Rule) throws(EvaluationError) {
        try self.init(first, second, rule: rule, cache: EqualizedWinRates(rule))
        Comparison.adjust(&findings)
    }

    private init(
        _ first: RunSnapshot, _ second: RunSnapshot, rule: Rule, cache: EqualizedWinRates?
    ) throws(EvaluationError) {
        self.first = first
        self.second = second
        shared = SharedPrompt.all(first, second)
        unshared = (first.rows.count - shared.count, second.rows.count - shared.count)
        missing = (shared.count { $0.first.values == nil }, shared.count { $0.second.values == nil })
        let judged = shared.compactMap(\.pair)
        guard let means = PairedMeans(judged) else {
            throw .badData(
                "\(first.name) and \(second.name) have verdicts on \(judged.count) common prompts, and a comparison "
                    + "needs two. Were they run on the same prompts?")
        }
        findings.append(Comparison.finding(means, first.scale.metric, rule))
        if let cache, first.scale == .preference { addLengthControl(cache, rule) }
        if rule.slices { addSlices(rule) }
    }

    /// Which prompts do not count, in a sentence each.
    var leftOut: [String] {
        var notes: [String] = []
        if unshared != (0, 0) {
            notes.append(
                "\(unshared.first) prompts of \(first.name) and \(unshared.second) of \(second.name) are not in the other, or "
                    + "have no output there: they are left out")
        }
        if missing != (0, 0) {
            notes.append(
                "\(missing.first) prompts of \(first.name) and \(missing.second) of \(second.name) have no verdict: they are "
                    + "left out")
        }
        return notes
    }

    // MARK: Means

    private static func finding(_ means: PairedMeans, _ metric: Metric, _ rule: Rule) -> Finding {
        let resampled = means.resampled(rule.resamples, seed: rule.seed)
        return Finding(
            metric: metric, values: means.means,
            difference: resampled.interval(method: "bootstrap by prompt"), resampled: resampled, p: resampled.p,
            permutationP: rule.permutations > 0 ? means.permutationP(rule.permutations, seed: rule.seed) : nil,
            count: means.pairs.count, changes: changes(means.pairs), alpha: rule.alpha)
    }

    private static func changes(_ pairs: [PairedMeans.Pair]) -> ClosedRange<Double> {
        let changes = pairs.map { $0.first.mean - $0.second.mean }
        return (changes.min() ?? 0)...(changes.max() ?? 0)
    }

    // MARK: Length control

    private mutating func addLengthControl(_ cache: EqualizedWinRates, _ rule: Rule) {
        let rows = shared.compactMap { $0.lengthControlRows(cache.equalizer) }
        guard rows.count == shared.count else {
            notes.append(
                "no length-controlled win rate: the lengths or the difficulty of \(shared.count - rows.count) prompts are "
                    + "not known")
            return
        }
        let models = (first: rows.map(\.first), second: rows.map(\.second))
        do {
            let own = try cache.estimates(models.first, isBaseline: first.isBaseline)
            let other = try cache.estimates(models.second, isBaseline: second.isBaseline)
            let resampled = Resampled(
                (own.fit.winRate, own.resampled), less: (other.fit.winRate, other.resampled), count: shared.count)
            let permutationP =
                rule.permutations < 10 || first.isBaseline || second.isBaseline
                ? nil
                : try cache.equalizer.control.permutationP(
                    models, fits: (own.fit, other.fit), permutations: rule.permutations / 10, seed: rule.seed)
            findings.append(
                Finding(
                    metric: .lengthControlled, values: (own.fit.winRate, other.fit.winRate),
                    difference: resampled.interval(method: "refit bootstrap by prompt"), resampled: resampled,
                    p: resampled.p,
                    permutationP: permutationP, count: shared.compactMap(\.pair).count,
                    changes: Comparison.changes(shared.compactMap(\.pair)), alpha: rule.alpha))
            for (run, fit) in [(first, own.fit), (second, other.fit)]
            where fit.coefficients.allSatisfy({ $0 == 0 }) && !run.isBaseline {
                notes.append(
                    "the length-controlled win rate of \(run.name) is 50 by the strongest penalty, whatever the verdicts: take "
                        + "the win rate")
            }
        } catch {
            notes.append("no length-controlled win rate: \(error)")
        }
    }

    // MARK: Slices

    private mutating func addSlices(_ rule: Rule) {
        var rule = rule
        // Many small slices; their interval is what is looked at.
        rule.permutations = 0
        let difficulty = rule.lengthControl?.difficulty ?? []
        let groups =
            [("category", SharedPrompt.byCategory(shared))]
            + [("prompt length", SharedPrompt.thirds(shared) { $0.first.promptLength.map(Double.init) })]
            + [
                (
                    "difficulty",
                    SharedPrompt.thirds(shared, least: "easy", most: "hard") { prompt in
                        prompt.first.place.flatMap { difficulty.indices.contains($0) ? -difficulty[$0] : nil }
                    }
                )
            ]
        for (dimension, groups) in groups where groups.count > 1 {
            for (name, prompts) in groups {
                guard let means = PairedMeans(prompts.compactMap(\.pair)) else { continue }
                slices.append(
                    Slice(
                        dimension: dimension, name: name,
                        finding: Comparison.finding(means, first.scale.metric, rule)))
            }
        }
        var findings = slices.map(\.finding)
        Comparison.adjust(&findings)
        for place in slices.indices { slices[place].finding = findings[place] }
    }

    // MARK: Many

    /// Every pair of runs, each first against the later ones, with Holm's adjustment over all pairs and metrics.
    package static func all(_ runs: [RunSnapshot], rule: Rule) throws(EvaluationError) -> [Comparison] {
        var comparisons: [Comparison] = []
        let cache = EqualizedWinRates(rule)
        for (place, first) in runs.enumerated() {
            for second in runs[(place + 1)...] {
                comparisons.append(try Comparison(first, second, rule: rule, cache: cache))
            }
        }
        var findings = comparisons.flatMap(\.findings)
        adjust(&findings)
        var next = findings.makeIterator()
        for place in comparisons.indices {
            comparisons[place].findings = comparisons[place].findings.map { next.next() ?? $0 }
        }
        return comparisons
    }

    private static func adjust(_ findings: inout [Finding]) {
        for (place, p) in holmAdjusted(findings.map(\.p)).enumerated() { findings[place].adjustedP = p }
    }
}

/// Length-controlled win rates with their resamples, each of which is fitted once however many runs it is compared to.
private final class EqualizedWinRates {
    let equalizer: Comparison.Equalizer
    private let rule: Comparison.Rule
    private var known: [[LengthControlRow]: Estimates] = [:]

    struct Estimates {
        var fit: LengthControlFit
        var resampled: [Double?]
    }

    init?(_ rule: Comparison.Rule) {
        guard let equalizer = rule.lengthControl else { return nil }
        self.equalizer = equalizer
        self.rule = rule
    }

    /// - Parameter isBaseline: whether the rows are the baseline's against itself, which are 50 by upstream's rule.
    func estimates(_ rows: [LengthControlRow], isBaseline: Bool) throws -> Estimates {
        if isBaseline {
            return Estimates(
                fit: .sameGenerator(equalizer.control.design),
                resampled: [Double?](repeating: 50, count: rule.resamples))
        }
        if let estimates = known[rows] { return estimates }
        let fit = try equalizer.control.fit(rows)
        let resampled = try equalizer.control.resampledWinRates(
            rows, fit: fit, resamples: rule.resamples, seed: rule.seed)
        known[rows] = Estimates(fit: fit, resampled: resampled)
        return Estimates(fit: fit, resampled: resampled)
    }
}

/// A prompt that two runs have in common.
struct SharedPrompt: Sendable {
    let first, second: RunSnapshot.Row

    /// In the order of the first.
    static func all(_ first: RunSnapshot, _ second: RunSnapshot) -> [SharedPrompt] {
        let rows = Dictionary(second.rows.map { ($0.prompt, $0) }) { first, _ in first }
        return first.rows.compactMap { row in rows[row.prompt].map { SharedPrompt(first: row, second: $0) } }
    }

    /// Nil unless both have verdicts.
    var pair: PairedMeans.Pair? {
        first.values.flatMap { own in second.values.map { PairedMeans.Pair(first: own, second: $0) } }
    }

    /// Nil where a length, or the difficulty that the regression needs, is not known.
    func lengthControlRows(
        _ equalizer: Comparison.Equalizer
    ) -> (first: LengthControlRow, second: LengthControlRow)? {
        var difficulty = 0.0
        if equalizer.control.design != .minimal {
            guard let place = first.place, equalizer.difficulty.indices.contains(place) else { return nil }
            difficulty = equalizer.difficulty[place]
        }
        let isJudged = pair != nil
        func row(_ row: RunSnapshot.Row) -> LengthControlRow? {
            guard let length = row.length, let baseline = row.baselineLength else { return nil }
            return LengthControlRow(
                preference: isJudged ? row.values.map { $0.mean / 100 } : nil,
                lengthDifference: Double(baseline - length), difficulty: difficulty)
        }
        return row(first).flatMap { own in row(second).map { (own, $0) } }
    }

    // MARK: Kinds

    static func byCategory(_ prompts: [SharedPrompt]) -> [(String, [SharedPrompt])] {
        let groups = Dictionary(grouping: prompts) { $0.first.category ?? $0.second.category ?? "other" }
        return groups.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Three equal parts by a number; none where not all prompts have one.
    static func thirds(
        _ prompts: [SharedPrompt], least: String = "short", most: String = "long", by number: (SharedPrompt) -> Double?
    ) -> [(String, [SharedPrompt])] {
        let numbers = prompts.compactMap(number)
        guard numbers.count == prompts.count, prompts.count >= 30 else { return [] }
        let order = numbers.indices.sorted { (numbers[$0], $0) < (numbers[$1], $1) }
        return [least, "middle", most].enumerated().map { third, name in
            let places = order[(third * order.count / 3)..<((third + 1) * order.count / 3)]
            return (name, places.map { prompts[$0] })
        }
    }
}
