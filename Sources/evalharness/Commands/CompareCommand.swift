import ArgumentParser
import Chat
import Evaluation
import Reporting

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Which of two runs is better, and is that sure? Paired by prompt.",
        discussion: """
            Runs are folders under results/, snapshots (evalharness gate save), or annotations.json of alpaca_eval. Of two \
            it shows every metric with its interval, two p-values, the smallest difference that could have been seen and how \
            many prompts would settle the one that was; then the same by kind of prompt. Of more, every pair.
            """)

    @Argument(help: "Two runs or more.")
    var runs: [String]

    @Option(help: "The benchmark that annotations.json files are of.")
    var benchmark = "alpacaeval"

    @Flag(help: "Say what else differs between two runs: judge, template, decoding, data, engine.")
    var why = false

    @Flag(help: "Compare runs of different judges, baselines or prompts all the same.")
    var mixed = false

    @Flag(inversion: .prefixedNo, help: "Compare at equal lengths too, where runs have lengths.")
    var lengthControl = true

    @Option(help: "Resamples of the intervals.")
    var resamples = 2_000

    @Option(help: "Exchanges of the permutation test; 10000 of two runs and none of more when left out.")
    var permutations: Int?

    @Option(help: "Seed of both.")
    var seed: UInt64 = 0

    @Option(help: "The chance to call any difference decided where there is none.")
    var alpha = 0.05

    @Flag(help: "Print JSON instead of tables.")
    var json = false

    mutating func validate() throws {
        if runs.count < 2 { throw ValidationError("compare takes two runs or more.") }
        if why, runs.count > 2 { throw ValidationError("--why takes two runs.") }
        if resamples < 100 { throw ValidationError("--resamples takes 100 or more.") }
        if permutations ?? 0 < 0 { throw ValidationError("--permutations takes 0 or more.") }
        if !(alpha > 0 && alpha < 0.5) { throw ValidationError("--alpha takes more than 0, and less than 0.5.") }
    }

    func run() throws {
        let reader = try SnapshotReader(benchmark: benchmark, lengthControl: lengthControl)
        let runs = try self.runs.map(reader.read)
        if why { return try explain(RunDifferences(runs[0], runs[1])) }
        if !mixed {
            for other in runs.dropFirst() { try RunDifferences.refuse(runs[0], other) }
        }
        var rule = Comparison.Rule()
        rule.resamples = resamples
        rule.permutations = permutations ?? (runs.count == 2 ? 10_000 : 0)
        rule.slices = runs.count == 2
        rule.seed = seed
        rule.alpha = alpha
        rule.lengthControl = try reader.equalizer(runs)
        if let note = try reader.note(on: rule.lengthControl) { Console.note("note: \(note)") }
        let report = ComparisonReport(try Comparison.all(runs, rule: rule))
        if json { return Console.data(report.json.text(.indented(2)) + "\n") }
        Console.data(report.table.text)
        if let slices = report.slices { Console.data("\n" + slices.text) }
        for line in report.lines { Console.note(line) }
        for note in report.notes { Console.note("note: \(note)") }
    }

    private func explain(_ differences: RunDifferences) throws {
        if json { return Console.data(differences.json.text(.indented(2)) + "\n") }
        Console.data(differences.table.text)
        for line in differences.lines { Console.note(line) }
    }
}
