package import Chat
package import Evaluation
internal import Statistics

/// What a run found, for people: a few lines for a terminal, and a page.
package struct RunReport: Sendable {
    private let scores: JSONValue
    private let annotations: [Annotation]
    /// What the run was made with, by name.
    private let provenance: JSONObject
    /// The vector unit whose arithmetic the outputs hold; nil where every machine makes the same.
    private let kernels: String?
    /// With other runs, this one first.
    private let comparisons: [Comparison]

    /// - Parameters:
    ///   - scores: the content of `scores.json`.
    ///   - run: the content of `run.json`; null where there is none.
    package init(
        scores: JSONValue, annotations: [Annotation], run: JSONValue = .null, kernels: String? = nil,
        comparisons: [Comparison] = []
    ) {
        self.scores = scores
        self.annotations = annotations
        provenance = RunSnapshot.provenance(run: run, scores: scores)
        self.kernels = kernels
        self.comparisons = comparisons
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
        blocks += warnings.map { .warning($0) }
        if let kernels { blocks.append(.paragraph("The outputs were made by the \(kernels) kernels of this program.")) }
        for note in scores["notes"]?.array ?? [] { blocks.append(.paragraph("Note: \(note.string ?? "")")) }
        blocks += scoreBlocks + sliceBlocks + lengthBlocks + judgeBlocks + pairwiseBlocks
        blocks += provenanceBlocks + promptBlocks
        return HTMLPage(title: "\(model) against \(baseline)", blocks: blocks)
    }

    private var judgeBlocks: [HTMLPage.Block] {
        let asked = scores["benchmark"]?["n"]?.integer ?? annotations.count
        return JudgeConduct(annotations, unanswered: max(0, asked - annotations.count)).blocks
    }

    /// What keeps the numbers from counting, or from a board.
    private var warnings: [String] {
        var warnings = (scores["integrity"]?["flags"]?.array ?? []).compactMap(\.string).map { "Flag: \($0)" }
        if scores["judge"]?["reference_judge"]?.bool == false {
            warnings.append(
                "Judged by \(scores["judge"]?["id"]?.string ?? "?"), which is not the board's judge: compare only with runs of "
                    + "this judge.")
        }
        return warnings
    }

    private var scoreBlocks: [HTMLPage.Block] {
        let names = [
            ("length_controlled_winrate", "length-controlled"), ("win_rate", "win rate"),
            ("style_controlled_winrate", "style-controlled"),
        ]
        let rows = names.compactMap { key, title -> ForestPlot.Row? in
            guard let metric = scores["metrics"]?[key], let value = metric["value"]?.number else { return nil }
            return ForestPlot.Row(
                title, value, lower: metric["ci95"]?[0]?.number, upper: metric["ci95"]?[1]?.number)
        }
        return [
            .heading("Scores"), .table(HTMLPage.Table(ScoreTable.header, [ScoreTable.row(scores)])),
            .forest(
                ForestPlot(
                    title: "Scores of \(model)", summary: "Percent, with 95 % intervals; 50 is a draw.", rows: rows,
                    neutral: 50)),
        ]
    }

    // MARK: Kinds of prompts

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

    private var sliceBlocks: [HTMLPage.Block] {
        let slices = slices
        if slices.count < 2 { return [] }
        let rows = slices.compactMap { slice -> ForestPlot.Row? in
            slice.rate.winRate.map { value in
                let error = slice.rate.standardError.map { 1.96 * $0 }
                return ForestPlot.Row(
                    slice.name, value, lower: error.map { max(0, value - $0) },
                    upper: error.map { min(100, value + $0) })
            }
        }
        return [
            .heading("By kind of prompt"),
            .forest(
                ForestPlot(
                    title: "Win rate of \(model) by kind of prompt",
                    summary: "Percent, with 95 % intervals of the mean; 50 is a draw.", rows: rows, neutral: 50)),
            .table(table(slices)),
        ]
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

    // MARK: Lengths

    private var lengthBlocks: [HTMLPage.Block] {
        let points = annotations.compactMap { annotation in
            annotation.verdict.preference.map { Plot.Point(Double(-annotation.lengthDifference), $0) }
        }
        if Set(points.map(\.x)).count < 3 { return [] }
        return [
            .heading("Length against preference"),
            .plot(
                Plot(
                    title: "Is longer preferred?",
                    summary:
                        "A dot a prompt: how many characters longer than the baseline's the output is, and how far it is "
                        + "preferred; the line is the mean of neighbours.",
                    x: Plot.Axis("characters more than the baseline"), y: Plot.Axis("preference", covering: 0...1),
                    series: [
                        Plot.Series("prompts", .points(points)), Plot.Series("mean", .binnedMeans(points, bins: 12)),
                    ])),
        ]
    }

    // MARK: Other runs

    private var pairwiseBlocks: [HTMLPage.Block] {
        if comparisons.isEmpty { return [] }
        let report = ComparisonReport(comparisons)
        return [.heading("Pairwise")] + report.matrices.map { .table($0) } + report.lines.map { .paragraph($0) }
    }

    // MARK: What it was made with

    private var provenanceBlocks: [HTMLPage.Block] {
        if provenance.members.isEmpty { return [] }
        return [
            .heading("Provenance"),
            .table(
                HTMLPage.Table(
                    ["what", "which"], provenance.members.map { [$0.key, $0.value.string ?? $0.value.text()] })),
        ]
    }

    // MARK: Prompts

    /// Every prompt, in the order in which a reader looks for trouble.
    private var promptBlocks: [HTMLPage.Block] {
        let groups: [(String, (Annotation) -> Bool)] = [
            ("Without a verdict", { $0.verdict.preference == nil }),
            ("Not preferred", { $0.verdict.preference.map { $0 < 0.5 } ?? false }),
            ("As good", { $0.verdict.preference == 0.5 }),
            ("Preferred", { $0.verdict.preference.map { $0 > 0.5 } ?? false }),
        ]
        return groups.flatMap { name, isOfIt -> [HTMLPage.Block] in
            let group = annotations.filter(isOfIt)
            if group.isEmpty { return [] }
            return [.heading("\(name): \(group.count) prompts")] + group.map(block)
        }
    }

    private func block(_ annotation: Annotation) -> HTMLPage.Block {
        let prompt = annotation.prompt
        let preference = annotation.verdict.preference.map { "preference \(TextTable.decimal($0, 3))" } ?? "no verdict"
        let start = prompt.instruction.prefix(90).replacing("\n", with: " ")
        var blocks: [HTMLPage.Block] = [
            .texts(
                prompt.instruction,
                [
                    ("\(model)\(RunReport.mark(annotation.verdict))", annotation.output.output),
                    (baseline, annotation.baseline.output),
                ])
        ]
        if case .missing(let reason) = annotation.verdict {
            blocks.append(.paragraph("No verdict (\(reason.category)): \(reason.detail)"))
        }
        let replies = annotation.replies
        if !replies.isEmpty {
            blocks.append(
                .texts(
                    "What \(annotation.judge) replied",
                    replies.enumerated().map { game, reply in (place(annotation, game), reply) }))
        }
        return .details(
            "\(prompt.index) · \(prompt.category.map { "\($0) · " } ?? "")\(preference) · \(start)", blocks)
    }

    private func place(_ annotation: Annotation, _ game: Int) -> String {
        guard annotation.games.indices.contains(game) else { return "reply" }
        return annotation.games[game].order == .modelFirst ? "\(model) shown first" : "\(baseline) shown first"
    }

    private static func mark(_ verdict: Verdict) -> String {
        guard let preference = verdict.preference else { return ", no verdict" }
        return preference > 0.5 ? ", preferred" : preference < 0.5 ? ", not preferred" : ", as good"
    }

    private static func mean(_ values: [Double]) -> String {
        values.isEmpty ? "" : "\((values.reduce(0, +) / Double(values.count) * 10).rounded() / 10)"
    }
}
