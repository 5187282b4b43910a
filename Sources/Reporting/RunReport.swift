package import Chat
package import Evaluation
internal import Statistics

/// What a run found, for people: a few lines for a terminal, and a page.
package struct RunReport: Sendable {
    private let scores: JSONValue
    private let annotations: [Annotation]
    /// The vector unit whose arithmetic the outputs hold; nil where every machine makes the same.
    private let kernels: String?

    /// - Parameter scores: the content of `scores.json`.
    package init(scores: JSONValue, annotations: [Annotation], kernels: String?) {
        self.scores = scores
        self.annotations = annotations
        self.kernels = kernels
    }

    private var model: String { TextTable.printable(scores["name"]?.string ?? "?") }
    private var baseline: String { TextTable.printable(scores["benchmark"]?["baseline"]?.string ?? "?") }
    private var winRate: JSONValue? { scores["metrics"]?["win_rate"] }

    /// What was compared and how.
    private var subject: String {
        let judge = TextTable.printable(scores["judge"]?["id"]?.string ?? "?")
        let count = scores["benchmark"]?["n"]?.integer ?? 0
        return "\(model) against \(baseline) on \(count) prompts, judged by \(judge)."
    }

    /// The smallest difference that the run could have seen; nil where there is no standard error.
    private var power: String? {
        guard let error = winRate?["se"]?.number ?? winRate?["official_se"]?.number, error > 0 else { return nil }
        let points = (smallestDetectableDifference(standardError: error) * 10).rounded() / 10
        return "With 80 % power it could have seen a win rate \(points) points or more away from 50 %."
    }

    private var lengths: String {
        let own = RunReport.mean(annotations.map { Double($0.output.length) })
        let other = RunReport.mean(annotations.map { Double($0.baseline.length) })
        return "Average length in characters: \(model) \(own), \(baseline) \(other)."
    }

    /// For a terminal, a line each.
    package var lines: [String] { [subject, lengths] + [power].compactMap { $0 } }

    package var page: HTMLPage {
        var blocks: [HTMLPage.Block] = lines.map { .paragraph($0) }
        if let kernels { blocks.append(.paragraph("The outputs were made by the \(kernels) kernels of this program.")) }
        for note in scores["notes"]?.array ?? [] { blocks.append(.paragraph("Note: \(note.string ?? "")")) }
        blocks += [.heading("Scores"), .table(HTMLPage.Table(ScoreTable.header, [ScoreTable.row(scores)]))]
        let slices = slices
        if slices.count > 1 {
            blocks += [.heading("By kind of prompt"), .plot(plot(slices)), .table(table(slices))]
        }
        let shown = annotations.prefix(RunReport.shownPrompts)
        blocks.append(.heading(shown.count < annotations.count ? "The first \(shown.count) prompts" : "Every prompt"))
        blocks += shown.map { annotation in
            .texts(
                annotation.prompt.instruction,
                [
                    ("\(model)\(RunReport.mark(annotation.verdict))", annotation.output.output),
                    (baseline, annotation.baseline.output),
                ])
        }
        return HTMLPage(title: "\(model) against \(baseline)", blocks: blocks)
    }

    private static let shownPrompts = 300

    private static func mark(_ verdict: Verdict) -> String {
        guard let preference = verdict.preference else { return ", no verdict" }
        return preference > 0.5 ? ", preferred" : preference < 0.5 ? ", not preferred" : ", as good"
    }

    // MARK: Slices

    private struct Slice {
        var name: String
        var rate: WinRate
        var lengths: (model: String, baseline: String)
    }

    private var slices: [Slice] {
        let groups = Dictionary(grouping: annotations) { $0.prompt.category ?? "other" }
        return groups.keys.sorted().map { name -> Slice in
            let group = groups[name] ?? []
            let own = RunReport.mean(group.map { Double($0.output.length) })
            let other = RunReport.mean(group.map { Double($0.baseline.length) })
            return Slice(
                name: name, rate: WinRate(preferences: group.map(\.verdict.preference)), lengths: (own, other))
        }
    }

    private func plot(_ slices: [Slice]) -> Plot {
        let bars = slices.map { slice in
            let (value, error) = (slice.rate.winRate ?? .nan, 1.96 * (slice.rate.standardError ?? 0))
            return Plot.Bar(slice.name, value, lower: max(0, value - error), upper: min(100, value + error))
        }
        return Plot(
            title: "Win rate of \(model) by kind of prompt",
            summary: "Bars are win rates in percent, with 95 % intervals of the mean; 50 is a draw.",
            x: Plot.Axis(""), y: Plot.Axis("win rate, %", covering: 0...100), series: [Plot.Series("", .bars(bars))])
    }

    private func table(_ slices: [Slice]) -> HTMLPage.Table {
        HTMLPage.Table(
            ["kind", "win rate", "wins", "draws", "losses", "length", "baseline's"],
            slices.map { slice -> [String] in
                let rate = slice.rate
                let winRate = rate.winRate.map { "\(($0 * 10).rounded() / 10)" } ?? ""
                let counts = [rate.wins, rate.draws, rate.baselineWins].map(String.init)
                return [slice.name, winRate] + counts + [slice.lengths.model, slice.lengths.baseline]
            })
    }

    private static func mean(_ values: [Double]) -> String {
        values.isEmpty ? "" : "\((values.reduce(0, +) / Double(values.count) * 10).rounded() / 10)"
    }
}
