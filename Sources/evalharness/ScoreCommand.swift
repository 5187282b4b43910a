import ArgumentParser
import Chat
import Evaluation
import Reporting
import Statistics

struct ScoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score",
        abstract: "Recompute metrics: no network, no cost.",
        discussion: """
            Without --annotations it scores the runs under --results-dir anew and rewrites their scores.json. With \
            --annotations (repeatable, each with its --outputs) it scores files made elsewhere and writes nothing.
            """)

    @Argument(help: "The benchmark: a folder under benchmarks/ (alpacaeval).")
    var benchmark: String

    @Option(help: "An annotations.json of alpaca_eval or evalharness; repeatable.")
    var annotations: [String] = []

    @Option(help: "The model_outputs.json that belongs to it, for the average length; repeatable, in the same order.")
    var outputs: [String] = []

    @Option(help: "Only this run, or the name of the model of --annotations.")
    var name: String?

    @Option(help: "Prompts of your own: a JSON array of records with \"instruction\".")
    var prompts: String?

    @Option(help: "Show the numbers behind the preference on one prompt, by number from 0.")
    var explain: Int?

    @Option(help: "Where results are.")
    var resultsDir = "results"

    @Option(help: "Seed of the intervals.")
    var seed: UInt64 = 0

    @OptionGroup var scoring: ScoringOptions

    mutating func validate() throws {
        if !outputs.isEmpty, outputs.count != annotations.count {
            throw ValidationError("Give one --outputs for each --annotations, in the same order, or none.")
        }
        if name != nil, annotations.count > 1 {
            throw ValidationError(
                "--name names one model; there are several "
                    + "--annotations.")
        }
    }

    func run() async throws {
        let scorer = try Scorer(self)
        if let explain {
            Console.data(try scorer.explanation(of: explain))
            return
        }
        let runs = scorer.runs
        if runs.isEmpty {
            throw EvaluationError.missingInput(
                "There is no run under \(resultsDir)/\(benchmark) to score. Make one with: evalharness run "
                    + "\(benchmark), or name "
                    + "files with --annotations.")
        }
        let documents = try await withThrowingTaskGroup(of: (Int, JSONValue).self) { group in
            for (index, run) in runs.enumerated() {
                group.addTask { (index, try scorer.score(run)) }
            }
            var documents = [JSONValue](repeating: .null, count: runs.count)
            for try await (index, document) in group { documents[index] = document }
            return documents
        }
        for (run, document) in zip(runs, documents) { if let path = run.scores { try Files.write(document, to: path) } }
        if scoring.json {
            Console.data((documents.count == 1 ? documents[0] : .array(documents)).text(.indented(2)) + "\n")
        } else {
            Console.data(ScoreTable(documents).text)
            for note in Set(documents.flatMap { $0["notes"]?.array ?? [] }.compactMap(\.string)).sorted() {
                Console.note("note: \(note)")
            }
        }
    }
}

/// Scores stored annotations, of runs of ours or of files made elsewhere.
struct Scorer: Sendable {
    /// Where one score comes from, and where it goes.
    struct Run: Sendable {
        var annotations: String
        var outputs: String?
        /// The `run.json` that says what the annotations are; nil for files made elsewhere.
        var record: String?
        /// The `scores.json` to rewrite; nil writes nothing.
        var scores: String?
    }

    let runs: [Run]
    private let command: ScoreCommand
    private let benchmark: Benchmark
    private let prompts: PromptSet
    private let rule: ScoringRule
    private let calibration: Calibration?

    init(_ command: ScoreCommand) throws {
        self.command = command
        benchmark = try Definitions.benchmark(command.benchmark, home: try Environment.definitionsHome())
        let cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        let file: (bytes: [UInt8], path: String) =
            if let path = command.prompts {
                (try Files.read(path, asked: "The prompts"), path)
            } else {
                (try cache.load(.prompts).bytes, benchmark.file(.prompts)?.name ?? "")
            }
        let isOfficial = Digest.sha256(file.bytes) == benchmark.file(.prompts)?.sha256
        prompts = try PromptSet(bytes: file.bytes, path: file.path, isOfficial: isOfficial)
        rule = command.scoring.rule(isOfficialPromptSet: isOfficial, isWhole: true, seed: command.seed)
        calibration = rule.design == nil || rule.design == .minimal ? nil : try Calibration(cache)
        runs = Scorer.runs(command)
    }

    func score(_ run: Run) throws -> JSONValue {
        let (annotations, published, outputs) = try load(run)
        let record = try run.record.map { try Files.readJSON($0, asked: "The record of the run") }
        let promptCount = record?["n_prompts"]?.integer ?? prompts.prompts.count
        var rule = rule
        // A part of the prompts does not stand in upstream's rows; say so as the run itself did.
        if promptCount != prompts.prompts.count, command.scoring.difficulty == nil { rule.difficulty = .instruction }
        let score = try Stages.score(
            annotations, promptCount: promptCount, averageLength: averageLength(annotations, outputs),
            calibration: calibration, rule: rule)
        return ScoreRecord(
            subject: subject(record, annotations, published, outputs), score: score,
            data: calibration?.provenance ?? [],
            cost: try cost(run, record)
        ).json
    }

    func explanation(of index: Int) throws -> String {
        guard runs.count == 1 else {
            throw EvaluationError.configuration(
                "--explain needs one run: name it with --name or --annotations "
                    + "(\(runs.count) fit).")
        }
        let (annotations, _, _) = try load(runs[0])
        guard let row = annotations.firstIndex(where: { $0.prompt.index == index }) else {
            throw EvaluationError.configuration(
                "Prompt \(index) has no annotation here; prompts are numbered 0 to \(prompts.prompts.count - 1).")
        }
        return try Explanation(annotations, row: row, calibration: calibration, rule: rule).text
    }

    private func load(_ run: Run) throws -> ([Annotation], PublishedAnnotations, ModelOutputs?) {
        let published = try PublishedAnnotations(
            bytes: try Files.read(run.annotations, asked: "The annotations"), path: run.annotations)
        let outputs = try run.outputs.map { path in
            try ModelOutputs(
                bytes: try Files.read(path, asked: "The model's outputs"), path: path, prompts: prompts,
                name: command.name ?? published.rows.first?.modelGenerator)
        }
        let annotations = try Stages.replay(
            published, path: run.annotations, prompts: prompts, selected: Set(prompts.prompts.indices), baseline: nil,
            outputs: outputs)
        return (annotations, published, outputs)
    }

    private func averageLength(_ annotations: [Annotation], _ outputs: ModelOutputs?) -> Int {
        if let outputs { return outputs.averageLength }
        return annotations.reduce(0) { $0 + $1.output.length } / annotations.count
    }

    private func subject(
        _ record: JSONValue?, _ annotations: [Annotation], _ published: PublishedAnnotations, _ outputs: ModelOutputs?
    ) -> ScoreRecord.Subject {
        let model = command.name ?? annotations[0].output.generator
        let baselineSHA256 =
            record?["baseline"]?["sha256"]?.string
            ?? Digest.sha256(annotations.map(\.baseline.output).joined(separator: "\0"))
        return ScoreRecord.Subject(
            benchmark: benchmark.id, datasetSHA256: prompts.sha256, isOfficialPromptSet: prompts.isOfficial,
            baseline: record?["baseline"]?["name"]?.string ?? annotations[0].baseline.generator,
            baselineSHA256: baselineSHA256, model: record?["model"]?["name"]?.string ?? model,
            modelFingerprint: record?["model"]?["fingerprint"]?.string ?? "outputs:\(outputs?.sha256 ?? "")",
            judge: record?["judge"]?["id"]?.string ?? published.annotator,
            judgeFingerprint: record?["judge"]?["fingerprint"]?.string ?? "published:\(published.annotator)",
            isReferenceJudge: record?["judge"]?["reference_judge"]?.bool ?? (published.annotator == benchmark.judge))
    }

    private func cost(_ run: Run, _ record: JSONValue?) throws -> Double? {
        guard record != nil, let scores = run.scores, Files.exists(scores) else { return nil }
        return try Files.readJSON(scores, asked: "The earlier score")["usage"]?["usd"]?.number
    }

    private static func runs(_ command: ScoreCommand) -> [Run] {
        if !command.annotations.isEmpty {
            return command.annotations.enumerated().map { index, path in
                Run(annotations: path, outputs: command.outputs.isEmpty ? nil : command.outputs[index])
            }
        }
        let folder = "\(command.resultsDir)/\(command.benchmark)"
        return Files.names(in: folder).compactMap { name in
            let directory = RunDirectory(path: "\(folder)/\(name)")
            guard command.name == nil || command.name == name, Files.exists(directory.run) else { return nil }
            return Run(
                annotations: directory.annotations, outputs: directory.modelOutputs, record: directory.run,
                scores: directory.scores)
        }
    }
}
