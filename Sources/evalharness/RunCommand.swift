import ArgumentParser
import Chat
import Evaluation
import Reporting

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Generate, judge and score; everything resumes.")

    @OptionGroup var options: RunOptions

    func run() async throws {
        guard let model = options.model else { throw RunCommand.nothingToRun(options.benchmark) }
        try await BenchmarkRun(Pipeline(options), model: model).perform()
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
        let (outputs, _) = try await pipeline.outputs(of: model, name: options.name, role: .candidate)
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: outputs.name)
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        try Files.write(records: outputs.records, to: directory.modelOutputs)
        Console.data("\(directory.modelOutputs)\n")
        _ = consume lock
    }
}

struct JudgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "judge", abstract: "Judge outputs that are there already; a run without generation.")

    @OptionGroup var options: RunOptions

    func run() async throws {
        let pipeline = try Pipeline(options)
        let model = try options.model ?? storedOutputs(pipeline)
        try await BenchmarkRun(pipeline, model: model).perform()
    }

    private func storedOutputs(_ pipeline: Pipeline) throws -> String {
        guard let name = options.name else { throw RunCommand.nothingToRun(options.benchmark) }
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: name)
        guard Files.exists(directory.modelOutputs) else {
            throw EvaluationError.missingInput(
                "There are no outputs at \(directory.modelOutputs). Make them with: evalharness generate "
                    + "\(options.benchmark).")
        }
        return "outputs:\(directory.modelOutputs)"
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

    func perform() async throws {
        Interruption.shared.arm()
        let options = pipeline.options
        // The name decides the folder, and the folder's lock comes before any call that costs something.
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: pipeline.benchmark.id, model: try expectedName())
        let lock = options.dryRun ? nil : try RunLock(directory, stateHome: Environment.stateHome)
        let (outputs, fingerprint) = try await pipeline.outputs(of: model, name: options.name, role: .candidate)
        let baseline = try await pipeline.baseline()
        if options.dryRun {
            Console.data(try await pipeline.estimate(outputs, baseline).text(.indented(2)) + "\n")
            return
        }
        let judged = try await pipeline.annotate(outputs, baseline)
        let subject = ScoreRecord.Subject(
            benchmark: pipeline.benchmark.id, datasetSHA256: pipeline.prompts.sha256,
            isOfficialPromptSet: pipeline.prompts.isOfficial, baseline: baseline.name, baselineSHA256: baseline.sha256,
            model: outputs.name, modelFingerprint: fingerprint, judge: judged.judge,
            judgeFingerprint: judged.fingerprint,
            isReferenceJudge: judged.isReferenceJudge)
        let record = RunRecord(
            subject: subject, options: options, benchmark: pipeline.benchmark, prompts: pipeline.selected)
        if !options.overwrite { try directory.refuseOtherRun(record.identity) }

        let (score, data) = try pipeline.score(judged, averageLength: outputs.averageLength)
        let scores = ScoreRecord(subject: subject, score: score, data: data, cost: judged.cost).json
        let hashes: JSONObject = [
            "model_outputs.json": .string(try Files.write(records: outputs.records, to: directory.modelOutputs)),
            "annotations.json": .string(
                try Files.write(
                    records: judged.annotations.lazy.map { $0.json(version: Version.annotation) },
                    to: directory.annotations)),
            "scores.json": .string(try Files.write(scores, to: directory.scores)),
        ]
        try Files.write(record.json(files: hashes), to: directory.run)
        report(scores, directory)
        try refuseTooManyMissing(score)
        _ = consume lock
    }

    /// What the run will be called, known before anything is asked.
    private func expectedName() throws -> String {
        if let name = pipeline.options.name { return name }
        switch try ModelSource(model) {
        case .outputs(let path):
            let bytes = try Files.read(path, asked: "The model's outputs")
            return try ModelOutputs(bytes: bytes, path: path, prompts: pipeline.prompts, name: nil).name
        case .openAI(let name), .anthropic(let name), .openAICompatible(let name, _): return name
        case .local(let path), .annotations(let path), .replay(let path): return path
        case .exec(let program): return program
        }
    }

    private func report(_ scores: JSONValue, _ directory: RunDirectory) {
        if pipeline.options.scoring.json {
            Console.data(scores.text(.indented(2)) + "\n")
            return
        }
        Console.data(ScoreTable([scores]).text)
        for note in scores["notes"]?.array ?? [] { Console.note("note: \(note.string ?? "")") }
        if scores["judge"]?["reference_judge"]?.bool == false {
            Console.note(
                "note: judged by \(scores["judge"]?["id"]?.string ?? "?"), not by the board's judge: compare only "
                    + "with runs of "
                    + "this judge")
        }
        Console.note("results: \(directory.path)")
    }

    private func refuseTooManyMissing(_ score: Score) throws {
        let share = Double(score.missingCount) / Double(max(1, score.promptCount))
        guard share > pipeline.options.missingLimit else { return }
        let reasons = score.missing.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        throw EvaluationError.integrity(
            "\(score.missingCount) of \(score.promptCount) verdicts are missing (\(reasons)), more than "
                + "--missing-limit "
                + "\(pipeline.options.missingLimit) allows. The reasons stand in annotations.json; run the same "
                + "command again to ask "
                + "for the failed ones.")
    }
}
