import ArgumentParser
import Chat
import Evaluation
import Reporting

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "One self-contained HTML file of a run: scores, the judge's conduct, every prompt side by side.",
        discussion: """
            The page needs no network and no script, and shows whatever models and judges wrote as text. With --compare other \
            runs of the same prompts stand beside it, pair by pair.
            """)

    @Argument(help: "The folder of a run.")
    var folder: String

    @Option(help: "Another run to compare it with; repeatable.")
    var compare: [String] = []

    @Option(name: .shortAndLong, help: "The file to write; report.html in the run's folder when left out.")
    var output: String?

    func run() throws {
        let directory = RunDirectory(path: folder)
        let record = try Files.readJSON(directory.run, asked: "The record of the run")
        let scores = try Files.readJSON(directory.scores, asked: "The scores of the run")
        let page =
            Files.exists(directory.modelJudgment)
            ? try ConversationReport(directory, scores: scores, run: record).page
            : RunReport(
                scores: scores, annotations: try annotations(directory), run: record, comparisons: try comparisons()
            ).page
        let path = output ?? directory.report
        try Files.write(page.html, to: path)
        Console.note("report: \(path)")
    }

    private func annotations(_ directory: RunDirectory) throws -> [Annotation] {
        let published = try PublishedAnnotations(
            bytes: try Files.read(directory.annotations, asked: "The annotations"), path: directory.annotations)
        return published.annotations
    }

    /// With every other run, at equal lengths too where the benchmark's calibration is here.
    private func comparisons() throws -> [Comparison] {
        if compare.isEmpty { return [] }
        let record = try Files.readJSON(RunDirectory(path: folder).run, asked: "The record of the run")
        let reader = try SnapshotReader(benchmark: record["benchmark"]?.string ?? "", lengthControl: true)
        let runs = try ([folder] + compare).map(reader.read)
        for other in runs.dropFirst() { try RunDifferences.refuse(runs[0], other) }
        var rule = Comparison.Rule()
        rule.permutations = 0
        rule.slices = false
        rule.lengthControl = try reader.equalizer(runs)
        return try Comparison.all(runs, rule: rule)
    }
}
