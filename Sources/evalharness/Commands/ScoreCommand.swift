import ArgumentParser
import Chat
import Evaluation
import Reporting
import Statistics
import Synchronization

struct ScoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score",
        abstract: "Recompute metrics: no network, no cost.",
        discussion: """
            Without --annotations it scores the runs under --results-dir anew and rewrites their scores.json. With \
            --annotations (repeatable, each with its --outputs) it scores files made elsewhere and writes nothing.

            mt-bench, arena-hard and arena-hard-v2 score --judgments made elsewhere, as FastChat and arena-hard-auto do, \
            with intervals by prompt beside theirs.
            """)

    @Argument(help: "The benchmark: alpacaeval, mt-bench, arena-hard or arena-hard-v2.")
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
    var seed: UInt64?

    @Option(help: "The largest share of missing verdicts that still exits 0.")
    var missingLimit = MissingLimit.usual

    @OptionGroup var scoring: ScoringOptions
    @OptionGroup var style: StyleOptions

    @OptionGroup(title: "MT-Bench and Arena-Hard") var judgments: JudgmentOptions

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
        if let benchmark = JudgmentBenchmark(rawValue: benchmark) { return try scoreJudgments(benchmark) }
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
        for (run, document) in zip(runs, documents) { try run.keep(document) }
        if scoring.json {
            Console.data((documents.count == 1 ? documents[0] : .array(documents)).text(.indented(2)) + "\n")
        } else {
            Console.data(ScoreTable(documents).text)
            for note in Set(documents.flatMap { $0["notes"]?.array ?? [] }.compactMap(\.string)).sorted() {
                Console.note("note: \(note)")
            }
        }
        try MissingLimit(missingLimit).check(documents)
    }

    private func scoreJudgments(_ benchmark: JudgmentBenchmark) throws {
        let board = try benchmark.board(
            judgments, style: style.features, resamples: scoring.resamples ?? 1_000, seed: seed)
        if scoring.json {
            Console.data(board.json.text(.indented(2)) + "\n")
        } else {
            Console.data(board.table.text)
            for note in board.notes { Console.note("note: \(note)") }
        }
        try MissingLimit(missingLimit).check(board)
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

        /// Writes the score, and its hash into the record of the run.
        func keep(_ document: JSONValue) throws(EvaluationError) {
            guard let scores, let record else { return }
            let hash = try Files.write(document, to: scores)
            guard var run = try Files.readJSON(record, asked: "The record of the run").object else { return }
            var hashes = run["files_sha256"]?.object ?? JSONObject()
            hashes["scores.json"] = .string(hash)
            run["files_sha256"] = .object(hashes)
            try Files.write(.object(run), to: record)
        }
    }

    let runs: [Run]
    private let command: ScoreCommand
    private let benchmark: Benchmark
    private let prompts: PromptSet
    private let isOfficial: Bool
    private let officialJudgeModel: String?
    private let calibrations: Calibrations

    init(_ command: ScoreCommand) throws {
        self.command = command
        let home = try Environment.definitionsHome()
        benchmark = try Definitions.benchmark(command.benchmark, home: home)
        officialJudgeModel = try Definitions.judgeModel(benchmark, home: home)
        let cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        let file: (bytes: [UInt8], path: String) =
            if let path = command.prompts {
                (try Files.read(path, asked: "The prompts"), path)
            } else {
                (try cache.load(.prompts).bytes, benchmark.file(.prompts)?.name ?? "")
            }
        isOfficial = benchmark.file(.prompts)?.checksum.matches(file.bytes) == true
        prompts = try PromptSet(bytes: file.bytes, path: file.path, isOfficial: isOfficial)
        calibrations = Calibrations(cache)
        runs = try Scorer.runs(command)
    }

    func score(_ run: Run) throws -> JSONValue {
        let (annotations, published, outputs) = try load(run)
        let record = try record(run)
        let earlier = try earlierScore(run)
        let rule = rule(record, earlier)
        let calibration = try calibration(rule)
        let score = try Stages.score(
            annotations, promptCount: record?["n_prompts"]?.integer ?? prompts.prompts.count,
            averageLength: averageLength(annotations, outputs), calibration: calibration, rule: rule)
        let document = ScoreRecord(
            subject: subject(record, annotations, published, outputs), score: score, rule: rule,
            data: calibration?.provenance ?? [], generation: record?["generation"] ?? .null,
            integrity: Integrity(
                Audit((outputs?.outputs ?? annotations.map(\.output)).map(AuditedOutput.init)),
                canary: ShuffleCanary(earlier?["integrity"]?["shuffle_canary"])),
            usage: ScoreRecord.Usage(earlier?["usage"]))
        return document.json(otherData: earlier?["data"]?.array ?? [])
    }

    func explanation(of index: Int) throws -> String {
        guard runs.count == 1 else {
            throw EvaluationError.configuration(
                "--explain needs one run: name it with --name or --annotations (\(runs.count) fit).")
        }
        let (annotations, _, _) = try load(runs[0])
        guard let row = annotations.firstIndex(where: { $0.prompt.index == index }) else {
            throw EvaluationError.configuration(
                "Prompt \(index) has no annotation here; prompts are numbered 0 to \(prompts.prompts.count - 1).")
        }
        let rule = try rule(record(runs[0]), earlierScore(runs[0]))
        return try Explanation(annotations, row: row, calibration: try calibration(rule), rule: rule).text
    }

    /// As the run itself was scored, but for what the command line says.
    private func rule(_ record: JSONValue?, _ earlier: JSONValue?) -> ScoringRule {
        let isWhole = (record?["n_prompts"]?.integer ?? prompts.prompts.count) == prompts.prompts.count
        var rule = command.scoring.rule(isOfficialPromptSet: isOfficial, isWhole: isWhole, seed: command.seed ?? 0)
        rule.style = command.style.features
        guard let kept = ScoringRule(earlier?["scoring"]) else { return rule }
        if rule.style.isEmpty { rule.style = kept.style }
        if command.scoring.lengthControl == nil { rule.design = kept.design }
        if command.scoring.difficulty == nil { rule.difficulty = kept.difficulty }
        if command.scoring.resamples == nil { rule.resamples = kept.resamples }
        if command.seed == nil { rule.seed = kept.seed }
        return rule
    }

    private func calibration(_ rule: ScoringRule) throws -> Calibration? {
        rule.design == nil || rule.design == .minimal ? nil : try calibrations.shared()
    }

    /// The benchmark's calibration, read once for all runs, and only if one needs it.
    private final class Calibrations: Sendable {
        private let cache: DatasetCache
        private let loaded = Mutex<Calibration?>(nil)

        init(_ cache: DatasetCache) { self.cache = cache }

        func shared() throws -> Calibration {
            try loaded.withLock { loaded in
                let calibration = try loaded ?? Calibration(cache)
                loaded = calibration
                return calibration
            }
        }
    }

    /// - Throws: `integrity` where the run was made with other prompts than these.
    private func record(_ run: Run) throws -> JSONValue? {
        guard let path = run.record else { return nil }
        let record = try Files.readJSON(path, asked: "The record of the run")
        guard record["identity"]?["prompt set"]?.string == prompts.sha256 else {
            throw EvaluationError.integrity(
                "\(path) was made with other prompts. Name them with --prompts, and the run with --name.")
        }
        return record
    }

    private func earlierScore(_ run: Run) throws -> JSONValue? {
        guard let path = run.scores, Files.exists(path) else { return nil }
        return try Files.readJSON(path, asked: "The earlier score")
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
        let judge = published.judge(official: officialJudgeModel)
        let isOfficialBaseline = annotations[0].baseline.generator == benchmark.baseline && prompts.isOfficial
        let baselineSHA256 =
            record?["baseline"]?["sha256"]?.string
            ?? (isOfficialBaseline
                ? prompts.sha256 : Digest.sha256(annotations.map(\.baseline.output).joined(separator: "\0")))
        return ScoreRecord.Subject(
            benchmark: benchmark.id, datasetSHA256: prompts.sha256, isOfficialPromptSet: prompts.isOfficial,
            baseline: record?["baseline"]?["name"]?.string ?? annotations[0].baseline.generator,
            baselineSHA256: baselineSHA256, model: record?["model"]?["name"]?.string ?? model,
            modelFingerprint: record?["model"]?["fingerprint"]?.string ?? "outputs:\(outputs?.sha256 ?? "")",
            judge: record?["judge"]?["id"]?.string ?? judge,
            judgeFingerprint: record?["judge"]?["fingerprint"]?.string ?? "published:\(judge)",
            isReferenceJudge: record?["judge"]?["reference_judge"]?.bool ?? (judge == benchmark.judge))
    }

    private static func runs(_ command: ScoreCommand) throws -> [Run] {
        if !command.annotations.isEmpty {
            return command.annotations.enumerated().map { index, path in
                Run(annotations: path, outputs: command.outputs.isEmpty ? nil : command.outputs[index])
            }
        }
        let folder = "\(command.resultsDir)/\(command.benchmark)"
        let wanted = try command.name.map { try RunDirectory.folderName($0) }
        return Files.names(in: folder).compactMap { name in
            let directory = RunDirectory(path: "\(folder)/\(name)")
            guard wanted == nil || wanted == name, Files.exists(directory.run) else { return nil }
            return Run(
                annotations: directory.annotations, outputs: directory.modelOutputs, record: directory.run,
                scores: directory.scores)
        }
    }
}
