import Chat
import Evaluation
import Evidence
import Reporting

/// A run of MT-Bench or Arena-Hard from its flags to its files: answer, judge, score.
struct QuestionRun {
    private let options: RunOptions
    private let benchmark: Benchmark
    private let cache: DatasetCache
    private let questions: QuestionSet
    private let selected: [Question]
    private let home: String
    private let questionsPath: String
    private var data: [DatasetCache.Provenance] = []

    init(_ options: RunOptions, _ benchmark: Benchmark) throws {
        self.options = options
        self.benchmark = benchmark
        home = try Environment.definitionsHome()
        cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        if let path = options.prompts {
            questionsPath = path
            let bytes = try Files.read(path, asked: "The questions")
            questions = try QuestionSet(
                bytes: bytes, path: path, isOfficial: Digest.sha256(bytes) == benchmark.file(.prompts)?.sha256)
        } else {
            let file = try cache.load(.prompts)
            questionsPath = file.provenance.name
            data.append(file.provenance)
            questions = try QuestionSet(
                bytes: file.bytes, path: questionsPath, isOfficial: file.provenance.isPinned)
        }
        let all = questions.questions
        selected = try options.selectedPlaces(of: all.count).map { all[$0] }
        if case .arenaHard = benchmark.kind, let long = selected.first(where: { $0.turns.count != 1 }) {
            throw EvaluationError.configuration(
                "\(questionsPath): question \(long.key) has \(long.turns.count) turns, and Arena-Hard compares answers to "
                    + "one.")
        }
    }

    // MARK: The walk

    /// The model's answers alone.
    func generate(_ model: String) async throws {
        Interruption.shared.arm()
        if options.asking.dryRun { return try estimate(model, judges: false) }
        let directory = try directory(model)
        if Files.exists(directory.run), !options.overwrite {
            throw EvaluationError.integrity(
                "\(directory.path) holds a finished run, and new answers would not be those that it judged. Give these their "
                    + "own --name or --results-dir, or replace them with --overwrite.")
        }
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        let (answers, _) = try await answers(of: model, name: try name(of: model), role: .candidate)
        try write(answers, to: directory)
        Console.data("\(directory.modelAnswer)\n")
        _ = consume lock
    }

    func perform(_ model: String) async throws {
        Interruption.shared.arm()
        if options.asking.dryRun { return try estimate(model, judges: true) }
        let directory = try directory(model)
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        let judge = try await judge()
        let (answers, fingerprint) = try await answers(of: model, name: try name(of: model), role: .candidate)
        let baseline = try await baseline()
        if baseline?.answers.name == answers.name {
            throw EvaluationError.configuration(
                "Model and baseline are both called \(answers.name): give the model another name with --name.")
        }
        let record = record(answers, fingerprint, baseline, judge)
        if !options.overwrite { try directory.refuseOtherRun(record.identity) }
        let (rows, board) = try await judged(answers, baseline, judge)

        var scores = board.json.object ?? JSONObject()
        scores["name"] = .string(answers.name)
        scores["fingerprint"] = .string(fingerprint)
        scores["dataset_sha256"] = .string(questions.sha256)
        scores["judge"] = ["id": .string(judge.label), "fingerprint": .string(judge.fingerprint)]
        scores["data"] = .array((data + judge.data + (baseline?.data ?? [])).map(\.json))
        let hashes: JSONObject = [
            "model_answer.jsonl": .string(try write(answers, to: directory)),
            "model_judgment.jsonl": .string(try Files.write(lines: rows, to: directory.modelJudgment)),
            "scores.json": .string(try Files.write(.object(scores), to: directory.scores)),
        ]
        try Files.write(record.json(files: hashes), to: directory.run)
        show(board, .object(scores), directory)
        try MissingLimit(options.missingLimit).check(board)
        _ = consume lock
    }

    private func show(_ board: JudgmentBoard, _ scores: JSONValue, _ directory: RunDirectory) {
        if options.scoring.json {
            Console.data(scores.text(.indented(2)) + "\n")
            return
        }
        Console.data(board.table.text)
        for note in board.notes { Console.note("note: \(note)") }
        Console.note("results: \(directory.path)")
    }

    private func estimate(_ model: String, judges: Bool) throws {
        let turns = selected.reduce(0) { $0 + $1.turns.count }
        let isArena = benchmark.kind == .arenaHard
        let generated = try [model, isArena && judges ? options.baseline : nil].compactMap { $0 }.count { text in
            if case .outputs = try ModelSource(text) { false } else { true }
        }
        var report: JSONObject = ["generation_calls_at_most": .integer(generated * turns)]
        if judges {
            // Arena-Hard asks once more where a reply has no label.
            let calls = isArena ? 4 * selected.count : (1 + options.asking.retryUnparsable) * turns
            report["judge_calls_at_most"] = .integer(options.judge == nil ? calls : 0)
        }
        Console.data(JSONValue.object(report).text(.indented(2)) + "\n")
    }

    // MARK: Answers

    private func answers(
        of text: String, name: String, role: ModelRole
    ) async throws -> (answers: AnswerSet, fingerprint: String) {
        switch try ModelSource(text) {
        case .outputs(let path):
            let bytes = try Files.read(path, asked: role.fileWords)
            let all = try AnswerSet(bytes: bytes, path: path, questions: questions, name: name)
            let answers = AnswerSet(name: all.name, answers: selected.compactMap { all[$0] }, sha256: all.sha256)
            return (answers, "outputs:\(answers.sha256)")
        case .annotations, .replay:
            throw EvaluationError.configuration("\(text) gives verdicts, not answers: name a model, or outputs:FILE.")
        case let source:
            let opened = try OpenModel.open(source, role: role, options: options.asking)
            let model = OpenModel.recorded(opened, store: try options.asking.openStore(), options: options.asking)
            let bar = ProgressBar("answer  ", total: selected.count, isEnabled: !options.asking.noProgress)
            let (answers, failures) = try await Stages.answers(
                selected, model: model, maxTokens: options.decoding.maxTokens ?? benchmark.maxTokens,
                seed: options.decoding.seed, repetitionPenalty: options.decoding.repetitionPenalty,
                stop: Interruption.shared.stop, progress: bar.update, decoding: decoding)
            for (index, reason) in failures.sorted(by: { $0.key < $1.key }).prefix(3) {
                Console.note("Question \(questions.questions[index].key) has no answer: \(reason.detail)")
            }
            if answers.isEmpty {
                throw ModelFailure.requestFailed(
                    "\(model.name) answered none of the \(selected.count) questions: "
                        + "\(failures.first?.value.detail ?? "no reason given")")
            }
            let sha256 = Digest.sha256(answers.flatMap { [$0.question.key] + $0.turns }.joined(separator: "\0"))
            return (AnswerSet(name: name, answers: answers, sha256: sha256), model.fingerprint)
        }
    }

    /// What the command line says, or the question, or its category, or the benchmark.
    private func decoding(_ question: Question) -> Decoding {
        var own = options.decoding
        if case .mtBench(let temperatures, _) = benchmark.kind {
            own.temperature = own.temperature ?? question.temperature ?? temperatures[question.category]
        }
        return own.decoding(benchmark)
    }

    private struct Baseline {
        var answers: AnswerSet
        var fingerprint: String
        var data: [DatasetCache.Provenance]
    }

    /// Nil for MT-Bench, which rates each model by itself.
    private func baseline() async throws -> Baseline? {
        guard case .arenaHard = benchmark.kind else { return nil }
        if let text = options.baseline {
            let (answers, fingerprint) = try await answers(
                of: text, name: try sourceName(text), role: .baseline)
            return Baseline(answers: answers, fingerprint: fingerprint, data: [])
        }
        let file = try cache.load(.baselineAnswers)
        let answers = try AnswerSet(
            bytes: file.bytes, path: file.provenance.name, questions: questions, name: benchmark.baseline)
        return Baseline(answers: answers, fingerprint: "outputs:\(answers.sha256)", data: [file.provenance])
    }

    // MARK: Judging

    private enum Judge {
        case grades(MTBenchJudge)
        case labels(ArenaJudge)
        case checks(ChecksJudge)
    }

    private struct OpenedJudge {
        var judge: Judge
        var label: String
        var fingerprint: String
        /// What upstream's records call it.
        var name: String
        var data: [DatasetCache.Provenance] = []
    }

    private func judge() async throws -> OpenedJudge {
        if let name = options.judge {
            guard case .checks(let judge) = try Definitions.judge(name, home: home) else {
                throw EvaluationError.configuration(
                    "\(benchmark.id) has judge prompts of its own: name who judges with --judge-model, or take --judge "
                        + "checks.")
            }
            if let bare = selected.first(where: { $0.checks.isEmpty }) {
                throw EvaluationError.configuration(
                    "The judge \(judge.id) needs questions with checks, and question \(bare.key) of \(questionsPath) has "
                        + "none.")
            }
            return OpenedJudge(
                judge: .checks(judge), label: judge.id, fingerprint: judge.fingerprint, name: judge.id)
        }
        if options.asking.maxCost != nil {
            throw EvaluationError.configuration(
                "--max-cost needs prices, and \(benchmark.id) defines none for its judge.")
        }
        let model = try await judgeModel()
        switch benchmark.kind {
        case .mtBench(_, let standard):
            let prompts = try cache.load(.judgePrompts)
            let (references, sources) = try references(standard)
            let judge = try MTBenchJudge(
                prompts: try JudgePrompt.read(prompts.bytes, path: prompts.provenance.name), references: references,
                model: model, retries: options.asking.retryUnparsable, questions: selected)
            return OpenedJudge(
                judge: .grades(judge), label: model.name, fingerprint: judge.fingerprint, name: model.name,
                data: [prompts.provenance] + sources)
        case .arenaHard:
            let file = try cache.load(.judgeConfiguration)
            guard let path = benchmark.file(.judgeConfiguration).map(cache.path) else {
                preconditionFailure("it was loaded")
            }
            let judge = ArenaJudge(prompt: try JudgePrompt.arenaHard(yamlFile: path), model: model)
            return OpenedJudge(
                judge: .labels(judge), label: model.name, fingerprint: judge.fingerprint, name: model.name,
                data: [file.provenance])
        case .instructions: preconditionFailure("\(benchmark.id) has instructions, not questions")
        }
    }

    /// Upstream's sets are for upstream's questions; those of one's own bring their own.
    private func references(_ standard: String) throws -> (AnswerSet, [DatasetCache.Provenance]) {
        if options.prompts != nil, options.references == nil {
            return (AnswerSet.references(of: questions), [])
        }
        let file = try cache.load(.references, set: options.references ?? standard)
        let set = try AnswerSet(
            bytes: file.bytes, path: file.provenance.name, questions: questions, name: nil)
        return (set, [file.provenance])
    }

    private func judgeModel() async throws -> any ChatModel {
        let own = try ModelSource(benchmark.judge)
        let source = try options.asking.judgeModel.map { try ModelSource($0) } ?? own
        if case .replay(let path) = source {
            return try await OpenModel.replay(path, ownModel: own, options: options.asking)
        }
        let limits = JudgeDefinition.Limits(concurrency: options.asking.concurrency ?? 16)
        let opened = try OpenModel.open(source, role: .judge(limits), options: options.asking)
        return OpenModel.recorded(opened, store: try options.asking.openStore(), options: options.asking)
    }

    /// Upstream's records, and the scores that they give; a question without an answer counts as missing.
    private func judged(
        _ answers: AnswerSet, _ baseline: Baseline?, _ opened: OpenedJudge
    ) async throws -> (rows: [JSONValue], board: JudgmentBoard) {
        let resamples = options.scoring.resamples ?? 1_000
        let id: JSONObject = ["id": .string(benchmark.id), "n": .integer(selected.count)]
        guard let baseline else {
            let turns = answers.answers.flatMap { answer in answer.turns.indices.map { (answer, $0) } }
            let rows = try await concurrently(turns, opened) { turn in
                switch opened.judge {
                case .grades(let judge): try await judge.grade(turn.0, of: answers.name, turn: turn.1)
                case .checks(let judge): judge.grade(turn.0, of: answers.name, turn: turn.1)
                case .labels: preconditionFailure("Arena-Hard has a baseline")
                }
            }
            let unanswered = selected.filter { answers[$0] == nil }.flatMap { question in
                question.turns.indices.map { MTBenchJudge.unanswered(question, of: answers.name, turn: $0) }
            }
            let all = rows + unanswered
            let score = MTBenchScore(all.map(\.grade), resamples: resamples, seed: options.decoding.seed ?? 0)
            return (all.map { $0.json(judge: opened.name) }, JudgmentBoard(score, benchmark: id))
        }
        let name = baseline.answers.name
        let pairs = answers.answers.compactMap { answer in
            baseline.answers[answer.question].map { (answer, $0) }
        }
        let rows = try await concurrently(pairs, opened) { pair in
            switch opened.judge {
            case .labels(let judge): try await judge.judge(pair.0, of: answers.name, baseline: pair.1, of: name)
            case .checks(let judge): judge.judge(pair.0, of: answers.name, baseline: pair.1, of: name)
            case .grades: preconditionFailure("MT-Bench has no baseline")
            }
        }
        let judgedKeys = Set(rows.map(\.question.key))
        let all =
            rows
            + selected.filter { !judgedKeys.contains($0.key) }.map {
                ArenaJudge.Row(unanswered: $0, model: answers.name, baseline: name)
            }
        let battles = ArenaBattles(all.map(\.judgment), baseline: name, weight: 3)
        if battles.battles.isEmpty {
            let reasons = all.flatMap(\.games).compactMap(\.reason)
            throw EvaluationError.integrity(
                "None of the \(2 * all.count) games has a verdict, the first for this reason: "
                    + "\(reasons.first?.detail ?? "none given"). The replies are in the evidence store.")
        }
        var rule = ArenaScore.Rule(baseline: name)
        rule.resamples = resamples
        let score = try ArenaScore.v01(battles, answers: [], rule: rule)
        return (all.map { $0.json(judge: opened.name) }, JudgmentBoard(score, benchmark: id, level: 95))
    }

    private func concurrently<Input: Sendable, Output: Sendable>(
        _ inputs: [Input], _ opened: OpenedJudge, _ body: @escaping @Sendable (Input) async throws -> Output
    ) async throws -> [Output] {
        let width =
            switch opened.judge {
            case .grades(let judge): judge.model.maxConcurrentRequests
            case .labels(let judge): judge.model.maxConcurrentRequests
            case .checks: 1
            }
        let bar = ProgressBar("judge   ", total: inputs.count, isEnabled: !options.asking.noProgress)
        return try await mapConcurrently(
            inputs, width: width, stop: Interruption.shared.stop, progress: bar.update, body)
    }

    // MARK: Files

    private func directory(_ model: String) throws -> RunDirectory {
        try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: benchmark.id, model: try name(of: model))
    }

    @discardableResult
    private func write(_ answers: AnswerSet, to directory: RunDirectory) throws -> String {
        try Files.write(
            lines: answers.records(turnsAreObjects: benchmark.kind == .arenaHard), to: directory.modelAnswer)
    }

    private func name(of model: String) throws -> String { try options.name ?? sourceName(model) }

    private func sourceName(_ text: String) throws -> String {
        switch try ModelSource(text) {
        case .outputs(let path): Files.stem(of: path)
        case .openAI(let name), .anthropic(let name), .openAICompatible(let name, _): name
        case .exec(let program): Files.name(of: String(program.split(separator: " ")[0]))
        case .local(let path), .annotations(let path), .replay(let path): Files.name(of: path)
        }
    }

    private func record(
        _ answers: AnswerSet, _ fingerprint: String, _ baseline: Baseline?, _ judge: OpenedJudge
    ) -> QuestionRecord {
        QuestionRecord(
            benchmark: benchmark.id, dataset: questions.sha256, model: answers.name, fingerprint: fingerprint,
            baseline: baseline?.fingerprint ?? "", judge: judge.label, judgeFingerprint: judge.fingerprint,
            references: options.references, generation: generation, places: selected.map(\.index))
    }

    private var generation: JSONValue {
        var decodings = JSONObject()
        for question in selected where decodings[question.category] == nil {
            decodings[question.category] = decoding(question).json
        }
        return [
            "decoding": .object(decodings), "max_tokens": .integer(options.decoding.maxTokens ?? benchmark.maxTokens),
            "seed": JSONValue(options.decoding.seed.map { "\($0)" }),
            "repetition_penalty": options.decoding.repetitionPenalty.map { .number($0) } ?? .null,
        ]
    }
}

/// What made a run's numbers, as `run.json` keeps it.
struct QuestionRecord {
    let benchmark: String
    let dataset: String
    let model: String
    let fingerprint: String
    let baseline: String
    let judge: String
    let judgeFingerprint: String
    let references: String?
    let generation: JSONValue
    let places: [Int]

    var identity: JSONObject {
        [
            "prompt set": .string(dataset), "baseline": .string(baseline), "judge": .string(judgeFingerprint),
            "model": .string(fingerprint), "generation": .string(Digest.sha256(generation.text())),
            "selection of prompts": .string(Digest.sha256(places.map { "\($0)" }.joined(separator: ","))),
        ]
    }

    func json(files: JSONObject) -> JSONValue {
        [
            "schema": "evalharness.run/1", "evalharness": .string(Version.text), "benchmark": .string(benchmark),
            "identity": .object(identity),
            "model": ["name": .string(model), "fingerprint": .string(fingerprint)],
            "judge": ["id": .string(judge), "fingerprint": .string(judgeFingerprint)],
            "generation": generation, "n_prompts": .integer(places.count), "files_sha256": .object(files),
        ]
    }
}
