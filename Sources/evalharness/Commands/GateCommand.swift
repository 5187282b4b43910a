import ArgumentParser
import Chat
import Evaluation
import Foundation
import Reporting

struct GateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gate",
        abstract: "Is a candidate worse than its baseline? Exit code, JUnit and a summary for CI.",
        discussion: """
            A policy (YAML) says which metrics may fall by how much, and with which certainty. Exit codes: 0 no regression \
            beyond the margin is proved absent, 1 a regression is proved, 2 neither (the policy may turn that into 0 or 1), \
            3 the runs cannot be compared: another judge, other data, too many missing verdicts, suspicious outputs.
            """,
        subcommands: [Check.self, Run.self, Save.self], defaultSubcommand: Check.self)

    /// What a gate is decided by, and where it says so.
    struct Options: ParsableArguments {
        @Option(help: "The policy: a YAML file.")
        var policy: String

        @Option(help: "What the candidate is measured by: a snapshot (gate save), or the folder of a run.")
        var against: String

        @Option(help: "Write JUnit XML here.")
        var junit: String?

        @Option(help: "Append a summary in Markdown here; GITHUB_STEP_SUMMARY when left out.")
        var summary: String?

        @Option(help: "Write the whole outcome as JSON here.")
        var outcome: String?

        func read(_ reader: SnapshotReader) throws -> RunSnapshot {
            try reader.read(against)
        }

        /// Leaves the reports, and ends the process by the gate's own exit code.
        func conclude(_ gate: Gate, asJSON: Bool) throws {
            let report = GateReport(gate)
            if asJSON {
                Console.data(report.json.text(.indented(2)) + "\n")
            } else {
                if !gate.rulings.isEmpty { Console.data(report.table.text) }
                for line in report.lines { Console.note(line) }
                for note in gate.notes { Console.note("note: \(note)") }
                Console.note(report.outcome)
            }
            if let outcome { try Files.write(report.json, to: outcome) }
            if let junit { try Files.write(JUnitReport(gate, timestamp: Self.timestamp).xml, to: junit) }
            if let path = summary ?? Environment.value("GITHUB_STEP_SUMMARY") {
                let earlier = Files.exists(path) ? try Files.read(path, asked: "The summary") : []
                try Files.write(earlier + Array(report.markdown.utf8), to: path)
            }
            if Environment.value("GITHUB_ACTIONS") == "true", let command = report.workflowCommand {
                Console.note(command)
            }
            if gate.exitCode != 0 { throw ExitCode(gate.exitCode) }
        }

        private static var timestamp: String {
            let seconds = Environment.value("SOURCE_DATE_EPOCH").flatMap(TimeInterval.init)
            let date = seconds.map { Date(timeIntervalSince1970: $0) } ?? Date()
            return String(date.formatted(.iso8601).prefix(19))
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Judge a finished run by the policy.")

        @Argument(help: "The candidate: the folder of a run, a snapshot, or an annotations.json.")
        var candidate: String

        @OptionGroup var options: Options

        @Flag(help: "Print JSON instead of a table.")
        var json = false

        func run() throws {
            let policy = try GatePolicy(path: options.policy)
            try options.conclude(try GateCommand.gate(policy, candidate, options), asJSON: json)
        }
    }

    struct Save: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Keep a run as the baseline of later gates: a small file to commit, without any text.")

        @Argument(help: "The folder of a run, or an annotations.json.")
        var kept: String

        @Option(help: "The benchmark that an annotations.json is of.")
        var benchmark = "alpacaeval"

        @Option(name: .shortAndLong, help: "The file to write.")
        var output: String

        func run() throws {
            let snapshot = try SnapshotReader(benchmark: benchmark, lengthControl: false).read(kept)
            try Files.write(snapshot.json, to: output)
            Console.note(
                "\(snapshot.name), \(snapshot.rows.count + snapshot.unanswered) prompts, \(snapshot.missing) of "
                    + "\(snapshot.asked) verdicts missing: \(output)")
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the benchmark and judge the run; with a sequential policy only as many prompts as it takes.")

        @OptionGroup var running: RunOptions
        @OptionGroup var options: Options

        @Option(help: "Earlier runs on the same prompts, whose verdicts help to need fewer; repeatable.")
        var prior: [String] = []

        func run() async throws {
            let policy = try GatePolicy(path: options.policy)
            guard let model = running.model else { throw RunCommand.nothingToRun(running.benchmark) }
            if running.missingLimit != nil {
                throw EvaluationError.configuration(
                    "A gate's limit of missing verdicts is its policy's missing_limit: leave --missing-limit out.")
            }
            let pipeline = try Pipeline(running)
            if policy.benchmark != pipeline.benchmark.id {
                throw EvaluationError.configuration(
                    "\(options.policy) is for \(policy.benchmark), not for \(pipeline.benchmark.id).")
            }
            if running.asking.dryRun { return try await perform(pipeline, model) }
            if let sequential = policy.sequential {
                let gate = try await SequentialGate(
                    pipeline, model: model, policy: policy, order: sequential, against: options.against, prior: prior
                ).decided()
                return try options.conclude(gate, asJSON: running.scoring.json)
            }
            try await perform(pipeline, model)
            let directory = try RunDirectory(
                resultsFolder: running.resultsDir, benchmark: pipeline.benchmark.id, model: pipeline.name(of: model))
            try options.conclude(
                try GateCommand.gate(policy, directory.path, options), asJSON: running.scoring.json)
        }

        private func perform(_ pipeline: Pipeline, _ model: String) async throws {
            if pipeline.form != nil {
                try await ConversationRun(pipeline, models: running.models).perform(forGate: true)
            } else {
                try await BenchmarkRun(pipeline, model: model).perform(forGate: true)
            }
        }
    }

    /// Over all prompts of a finished run.
    private static func gate(_ policy: GatePolicy, _ run: String, _ options: Options) throws -> Gate {
        let needsLengthControl = policy.rules.contains { $0.metric == .lengthControlled }
        let reader = try SnapshotReader(benchmark: policy.benchmark, lengthControl: needsLengthControl)
        let (candidate, baseline) = (try reader.read(run), try options.read(reader))
        var rule = Comparison.Rule()
        rule.permutations = 0
        rule.slices = false
        rule.lengthControl = try reader.equalizer([candidate, baseline])
        if let note = try reader.note(on: rule.lengthControl) { Console.note("note: \(note)") }
        return try Gate(policy: policy, candidate: candidate, baseline: baseline, rule: rule)
    }
}
