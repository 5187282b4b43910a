import ArgumentParser
import Chat
import Evaluation
import Reporting

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Generate, judge and score; everything resumes.")

    @OptionGroup var options: RunOptions

    func run() async throws {
        if !options.models.isEmpty { return try await perform(options) }
        guard let starter = try options.starter() else { throw RunCommand.nothingToRun(options.benchmark) }
        Console.note(
            "No model is named: this compares two small models that come with evalharness, on its own prompts, offline."
        )
        try await perform(starter)
        Console.note(
            """
            next: evalharness run \(options.benchmark) --prompts \(here(starter.prompts)) --judge checks \\
                \(starter.baseline.map { "--baseline \(here($0)) " } ?? "")--model PATH     # a checkpoint of yours
                  evalharness dataset pull \(options.benchmark)       # then --model PATH is the official benchmark
            """)
    }

    /// As it is named from where the command runs.
    private func here(_ path: String?) -> String {
        guard let path, let folder = Environment.value("PWD"), path.hasPrefix("\(folder)/") else { return path ?? "" }
        return String(path.dropFirst(folder.count + 1))
    }

    private func perform(_ options: RunOptions) async throws {
        let pipeline = try Pipeline(options)
        if pipeline.form != nil { return try await ConversationRun(pipeline, models: options.models).perform() }
        try await BenchmarkRun(pipeline, model: options.models[0]).perform()
    }

    static func nothingToRun(_ benchmark: String) -> ValidationError {
        ValidationError(
            "Name the model under test, for instance: evalharness run \(benchmark) --model "
                + "outputs:model_outputs.json --judge "
                + "annotations:annotations.json")
    }
}

struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "generate", abstract: "Outputs only.")

    @OptionGroup var options: RunOptions

    func run() async throws {
        guard let model = options.model else { throw RunCommand.nothingToRun(options.benchmark) }
        Interruption.shared.arm()
        let pipeline = try Pipeline(options)
        if options.asking.dryRun {
            Estimate(parts: [try pipeline.generation(by: model, .candidate)].compactMap(\.self)).show(asJSON: true)
            return
        }
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: pipeline.name(of: model))
        if Files.exists(directory.run), !options.overwrite {
            throw EvaluationError.integrity(
                "\(directory.path) holds a finished run, and new outputs would not be those that it judged. Give these their own "
                    + "--name or --results-dir, or replace them with --overwrite.")
        }
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        let (outputs, _) = try await pipeline.outputs(of: model, name: options.name, role: .candidate)
        if pipeline.form == nil {
            try Files.write(records: outputs.records, to: directory.modelOutputs)
        } else {
            let metadata = try TokenCounter(pipeline.cache, isNeeded: false)?.metadata(of: outputs)
            try Files.write(
                lines: pipeline.records(outputs, metadata: metadata ?? [:]), to: directory.modelAnswer)
        }
        Console.data("\(pipeline.form == nil ? directory.modelOutputs : directory.modelAnswer)\n")
        _ = consume lock
    }
}

struct JudgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "judge", abstract: "Judge outputs that are there already; a run without generation.")

    @OptionGroup var options: RunOptions

    func run() async throws {
        let pipeline = try Pipeline(options)
        let models = options.models.isEmpty ? [try storedOutputs(pipeline)] : options.models
        if pipeline.form != nil { return try await ConversationRun(pipeline, models: models).perform() }
        try await BenchmarkRun(pipeline, model: models[0]).perform()
    }

    private func storedOutputs(_ pipeline: Pipeline) throws -> String {
        guard let name = options.name else { throw RunCommand.nothingToRun(options.benchmark) }
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: name)
        let path = pipeline.form == nil ? directory.modelOutputs : directory.modelAnswer
        guard Files.exists(path) else {
            throw EvaluationError.missingInput(
                "There are no outputs at \(path). Make them with: evalharness generate \(options.benchmark).")
        }
        return "outputs:\(path)"
    }
}

/// A whole run, from outputs to the files under `results/`.
struct BenchmarkRun {
    let pipeline: Pipeline
    let model: String

    init(_ pipeline: Pipeline, model: String) {
        self.pipeline = pipeline
        self.model = model
    }

    /// - Parameter forGate: whether a gate says what came of it, and has its own limit of missing verdicts.
    func perform(forGate: Bool = false) async throws {
        Interruption.shared.arm()
        let options = pipeline.options
        if options.asking.dryRun {
            try await pipeline.estimate(model: model).show(asJSON: true)
            return
        }
        // The name decides the folder, and the folder's lock comes before any call that costs something.
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: pipeline.name(of: model))
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        let judging = try await pipeline.judging()
        let (outputs, fingerprint) = try await pipeline.outputs(of: model, name: options.name, role: .candidate)
        let baseline = try await pipeline.baseline()
        let subject = pipeline.subject(outputs, fingerprint, baseline, judging)
        let record = RunRecord(
            subject: subject, players: [RunRecord.Player(model: model, fingerprint: fingerprint)], options: options,
            benchmark: pipeline.benchmark, prompts: pipeline.selected)
        if !options.overwrite { try directory.refuseOtherRun(record.identity) }

        let annotations = try await pipeline.annotate(outputs, baseline, judging)
        let canary = try await pipeline.canary(outputs, baseline, judging)
        let (score, rule, calibration) = try pipeline.score(annotations, averageLength: outputs.averageLength)
        let scores = ScoreRecord(
            subject: subject, score: score, rule: rule,
            data: [pipeline.promptProvenance].compactMap { $0 } + judging.data + calibration,
            generation: record.generation,
            integrity: Integrity(Audit(outputs, prompts: pipeline.selected), canary: canary),
            usage: ScoreRecord.Usage(annotations, isPriced: judging.isPriced)
        ).json
        let hashes: JSONObject = [
            "model_outputs.json": .string(try Files.write(records: outputs.records, to: directory.modelOutputs)),
            "annotations.json": .string(
                try Files.write(
                    records: annotations.lazy.map { $0.json(version: Version.annotation) }, to: directory.annotations)),
            "scores.json": .string(try Files.write(scores, to: directory.scores)),
        ]
        let run = record.json(files: hashes)
        try Files.write(run, to: directory.run)
        let found = RunReport(scores: scores, annotations: annotations, run: run, kernels: record.kernels)
        _ = try Files.write(found.page.html, to: directory.report)
        if !forGate {
            report(scores, found, directory)
            try MissingLimit(options.missingLimit ?? MissingLimit.usual).check([scores])
        }
        _ = consume lock
    }

    private func report(_ scores: JSONValue, _ found: RunReport, _ directory: RunDirectory) {
        if pipeline.options.scoring.json {
            Console.data(scores.text(.indented(2)) + "\n")
            return
        }
        Console.data(ScoreTable([scores]).text)
        for line in found.lines { Console.note(line) }
        for note in scores["notes"]?.array ?? [] { Console.note("note: \(note.string ?? "")") }
        for flag in scores["integrity"]?["flags"]?.array ?? [] { Console.note("flag: \(flag.string ?? "")") }
        if scores["judge"]?["reference_judge"]?.bool == false {
            Console.note(
                "note: judged by \(scores["judge"]?["id"]?.string ?? "?"), which is not the board's judge: compare only "
                    + "with runs of "
                    + "this judge")
        }
        Console.note("results: \(directory.path)\nreport: \(directory.report)")
    }
}

/// The largest share of missing verdicts that a number may have without being refused.
struct MissingLimit {
    static let usual = 0.05
    private let limit: Double

    init(_ limit: Double) { self.limit = limit }

    /// - Throws: `integrity` naming the first score with more.
    func check(_ scores: [JSONValue]) throws(EvaluationError) {
        for score in scores {
            let missing = score["missing"]?.object?.members ?? []
            let count = missing.reduce(0) { $0 + ($1.value.integer ?? 0) }
            let total = score["benchmark"]?["n"]?.integer ?? 0
            guard Double(count) > limit * Double(max(1, total)) else { continue }
            let reasons = missing.map { "\($0.value.integer ?? 0) \($0.key)" }.joined(separator: ", ")
            throw .integrity(
                "\(score["name"]?.string ?? "?"): \(count) of \(total) verdicts are missing (\(reasons)), more than "
                    + "--missing-limit \(limit) allows. The reasons stand in annotations.json. Running the same command again asks "
                    + "for the failed ones, with --retry-unparsable for the unparsable and refused ones too.")
        }
    }

    /// - Parameter unscored: by category, how many records it has of which none could be scored.
    /// - Throws: `integrity` naming a category whose verdicts are all missing.
    func check(unscored: [String: Int]) throws(EvaluationError) {
        guard limit < 1, let (category, count) = unscored.min(by: { $0.key < $1.key }) else { return }
        throw .integrity(
            "\(count) of \(count) verdicts of \(category) are missing, more than --missing-limit \(limit) allows. The reasons "
                + "stand in model_judgment.jsonl; the table above is of the other categories.")
    }

    /// - Throws: `integrity` where a ranking of judgments has more.
    func check(_ board: JudgmentBoard) throws(EvaluationError) {
        guard Double(board.missing) > limit * Double(max(1, board.total)) else { return }
        throw .integrity(
            "\(board.missing) of \(board.total) verdicts are missing, more than --missing-limit \(limit) allows. The table "
                + "above is of the others.")
    }
}
