import Chat
import Endpoints
import Evaluation
import Evidence
import Inference
import Statistics

/// One run from its flags to its files: generate, judge, score.
struct Pipeline {
    let options: RunOptions
    let benchmark: Benchmark
    let cache: DatasetCache
    let prompts: PromptSet
    let selected: [Prompt]
    let home: String
    /// What the run may spend on all models together.
    let budget: Budget
    private let promptBytes: [UInt8]
    /// The benchmark's own prompt file; nil for prompts of the user's.
    let promptProvenance: DatasetCache.Provenance?
    let promptPath: String

    init(_ options: RunOptions) throws {
        self.options = options
        budget = Budget(limit: options.asking.maxCost)
        home = try Environment.definitionsHome()
        benchmark = try Definitions.benchmark(options.benchmark, home: home)
        try options.check(benchmark)
        cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        if let path = options.prompts {
            promptPath = path
            promptProvenance = nil
            promptBytes = try Files.read(path, asked: "The prompts")
            prompts = try PromptSet(
                bytes: promptBytes, path: path,
                isOfficial: benchmark.file(.prompts)?.checksum.matches(promptBytes) == true)
        } else {
            let file = try cache.load(.prompts)
            promptPath = file.provenance.name
            promptProvenance = file.provenance
            promptBytes = file.bytes
            prompts = try PromptSet(bytes: file.bytes, path: promptPath, isOfficial: file.provenance.isPinned)
        }
        selected = try options.selected(prompts)
        try checkForm()
    }

    /// The form of the benchmark's files; nil for alpaca_eval's.
    var form: ConversationForm? {
        switch benchmark.kind {
        case .instructions: nil
        case .mtBench: .mtBench
        case .arenaHard(.v01, _): .arenaV01
        case .arenaHard(.v2, _): .arenaV2
        }
    }

    /// - Throws: `configuration` where the prompts are not of the benchmark's kind.
    private func checkForm() throws {
        guard prompts.hasIDs == (form != nil) else {
            throw EvaluationError.configuration(
                "\(promptPath) has prompts \(prompts.hasIDs ? "with ids and turns" : "by their instruction"), and "
                    + "\(benchmark.id) takes them \(form == nil ? "by their instruction" : "with ids and turns").")
        }
        if case .arenaHard = benchmark.kind, let long = selected.first(where: { $0.turns.count != 1 }) {
            throw EvaluationError.configuration(
                "\(promptPath): prompt \(long.key) has \(long.turns.count) turns, and Arena-Hard compares outputs to one."
            )
        }
        if case .arenaHard(.v2, _) = benchmark.kind, let bare = selected.first(where: { $0.category == nil }) {
            throw EvaluationError.configuration(
                "\(promptPath): prompt \(bare.key) has no category, and \(benchmark.id) scores each category by itself. "
                    + "Write one into its record, hard_prompt for instance.")
        }
    }

    // MARK: The stages

    /// The model's outputs: read from a file, or generated and recorded.
    func outputs(of text: String, name: String?, role: ModelRole) async throws -> (ModelOutputs, fingerprint: String) {
        switch try ModelSource(text) {
        case .outputs(let path):
            let bytes = try Files.read(path, asked: role.fileWords)
            let outputs = try ModelOutputs(bytes: bytes, path: path, prompts: prompts, name: name).of(selected)
            return (outputs, "outputs:\(outputs.sha256)")
        case .annotations, .replay:
            throw EvaluationError.configuration("\(text) gives verdicts, not outputs: name a model, or outputs:FILE.")
        case let source:
            return try await generate(source, name: name, role: role)
        }
    }

    private func generate(_ source: ModelSource, name: String?, role: ModelRole) async throws -> (ModelOutputs, String)
    {
        let store = try openStore()
        let opened = try OpenModel.open(source, role: role, options: options.asking)
        let spending = try options.asking.spending(on: opened, of: budget)
        let model = OpenModel.recorded(opened, store: store, spending: spending, options: options.asking)
        let start = ContinuousClock.now
        let bar = ProgressBar("generate", total: selected.count, isEnabled: !options.asking.noProgress)
        let label = try name ?? ownName(of: "\(source)")
        let (outputs, failures) = try await Stages.generateOutputs(
            selected, model: model, name: label, maxTokens: options.decoding.maxTokens ?? benchmark.maxTokens,
            seed: options.decoding.seed, repetitionPenalty: options.decoding.repetitionPenalty,
            stop: Interruption.shared.stop, progress: bar.update
        ) { [options, benchmark] prompt in options.decoding.decoding(benchmark, prompt) }
        if let local = opened as? LocalChatModel { report(local.engine.counts, since: start) }
        for (index, reason) in failures.sorted(by: { $0.key < $1.key }).prefix(3) {
            Console.note("Prompt \(index) has no output: \(reason.detail)")
        }
        if failures.count > 3 { Console.note("… and \(failures.count - 3) more prompts have none.") }
        if outputs.isEmpty {
            throw ModelFailure.requestFailed(
                "\(model.name) answered none of the \(selected.count) prompts: "
                    + "\(failures.first?.value.detail ?? "no reason given")")
        }
        var made = ModelOutputs(name: label, outputs: outputs, sha256: "")
        made.sha256 = Digest.sha256(JSONValue.array(records(made)).serialized())
        return (made, model.fingerprint)
    }

    /// As the benchmark's files hold them.
    func records(_ outputs: ModelOutputs, metadata: [String: OutputMetadata] = [:]) -> [JSONValue] {
        form.map { outputs.records($0, metadata: metadata) } ?? Array(outputs.records)
    }

    /// What the outputs are compared with: the benchmark's own, that of the prompt file, or any model's.
    func baseline() async throws -> ModelOutputs {
        if let text = options.baseline {
            return try await outputs(of: text, name: nil, role: .baseline).0
        }
        if case .arenaHard(_, let baselines) = benchmark.kind { return try ownBaseline(baselines) }
        guard promptsCarryOutputs else {
            throw EvaluationError.configuration(
                "\(promptPath) carries no outputs to compare with. Name a baseline with --baseline (outputs:FILE, "
                    + "or a model).")
        }
        return try ModelOutputs(bytes: promptBytes, path: promptPath, prompts: prompts, name: nil).of(selected)
    }

    /// The benchmark's, or where each category has its own, all of those.
    private func ownBaseline(_ baselines: [String: String]) throws -> ModelOutputs {
        let categories = Set(selected.map { $0.category ?? "" })
        let names = Set(categories.map { baselines[$0] ?? benchmark.baseline }).sorted()
        let sets = try names.map { name in
            let file = try cache.load(.baselineOutputs, set: baselines.isEmpty ? nil : name)
            return try ModelOutputs(bytes: file.bytes, path: file.provenance.name, prompts: prompts, name: name)
        }
        let outputs = selected.compactMap { prompt in
            sets.first { $0.name == baselines[prompt.category ?? ""] ?? benchmark.baseline }?[prompt]
        }
        let sha256 = sets.count == 1 ? sets[0].sha256 : Digest.sha256(sets.map(\.sha256).joined(separator: " "))
        return ModelOutputs(name: names.joined(separator: " and "), outputs: outputs, sha256: sha256)
    }

    /// The records of a prompt file may be the baseline's outputs too, as upstream's are.
    private var promptsCarryOutputs: Bool {
        (try? JSONValue(parsing: promptBytes))?[0]?["output"]?.string != nil
    }

    /// Who judges: known before anything is asked, so that a run can be refused in time.
    func judging() async throws -> Judging {
        if let path = try publishedAnnotationsPath() {
            let bytes = try Files.read(path, asked: "The published annotations")
            let published = try PublishedAnnotations(bytes: bytes, path: path)
            let label = published.judge(official: try Definitions.judgeModel(benchmark, home: home))
            return Judging(
                source: .published(published, path: path), label: label, fingerprint: "published:\(label)",
                isReferenceJudge: label == benchmark.judge, data: [])
        }
        let definition: JudgeDefinition
        switch try Definitions.judge(options.judge ?? benchmark.judge, home: home) {
        case .model(let model): definition = model
        case .checks(let judge):
            try judge.checked(selected, path: promptPath)
            return Judging(
                source: .checks(judge), label: judge.id, fingerprint: judge.fingerprint, isReferenceJudge: false,
                data: [])
        }
        let (open, data) = try await open(definition, try openStore())
        let judge = open.judge
        return Judging(
            source: .judge(judge, open.spending), label: judge.label, fingerprint: judge.fingerprint,
            isReferenceJudge: try isReference(judge), data: data)
    }

    /// What a run of these is a run of.
    func subject(
        _ outputs: ModelOutputs, _ fingerprint: String, _ baseline: ModelOutputs, _ judging: Judging
    ) -> ScoreRecord.Subject {
        ScoreRecord.Subject(
            benchmark: benchmark.id, datasetSHA256: prompts.sha256, isOfficialPromptSet: prompts.isOfficial,
            baseline: baseline.name, baselineSHA256: baseline.sha256, model: outputs.name,
            modelFingerprint: fingerprint, judge: judging.label, judgeFingerprint: judging.fingerprint,
            isReferenceJudge: judging.isReferenceJudge)
    }

    /// - Parameter part: of the prompts, in place of all of them; shown without a bar.
    func annotate(
        _ outputs: ModelOutputs, _ baseline: ModelOutputs, _ judging: Judging, only part: [Prompt]? = nil
    ) async throws -> [Annotation] {
        let prompts = part ?? selected
        if case .published(let published, let path) = judging.source {
            return try Stages.replay(
                published, path: path, prompts: self.prompts, selected: Set(prompts.map(\.index)), baseline: baseline,
                outputs: outputs)
        }
        let pairs = Stages.pairs(prompts, baseline: baseline, outputs: outputs)
        let annotations = try await annotate(pairs, judging, showsProgress: part == nil)
        if case .judge(_, let spending) = judging.source, part == nil, let spent = await spending?.spent, spent > 0 {
            Console.note("The judge's answers cost $\(rounded(spent)).")
        }
        return annotations
    }

    /// Pairs with the outputs to other prompts, where the run asks for a canary.
    func canary(_ outputs: ModelOutputs, _ baseline: ModelOutputs, _ judging: Judging) async throws -> ShuffleCanary? {
        guard let share = options.canary, share > 0 else { return nil }
        var generator = SeededGenerator(seed: options.decoding.seed ?? 0)
        let pairs = ShuffleCanary.pairs(
            Stages.pairs(selected, baseline: baseline, outputs: outputs), share: share, generator: &generator)
        return ShuffleCanary(try await annotate(pairs, judging, showsProgress: false))
    }

    private func annotate(
        _ pairs: [OutputPair], _ judging: Judging, showsProgress: Bool
    ) async throws -> [Annotation] {
        switch judging.source {
        case .published:
            throw EvaluationError.configuration(
                "--canary asks the judge about outputs to other prompts, and published verdicts say nothing of them: name a "
                    + "judge that can be asked.")
        case .checks(let judge): return pairs.map(judge.annotate)
        case .judge(let judge, _):
            let bar = ProgressBar(
                "judge   ", total: pairs.count, isEnabled: showsProgress && !options.asking.noProgress)
            return try await Stages.annotate(
                pairs, judge: judge, stop: Interruption.shared.stop, progress: bar.update)
        }
    }

    /// The board's judge is its definition, its template and its own model, not a name.
    private func isReference(_ judge: Judge) throws -> Bool {
        guard judge.isOwnModel, judge.template.sha256 == benchmark.file(.template)?.checksum.digits else {
            return false
        }
        guard case .model(var official) = try Definitions.judge(benchmark.judge, home: home) else { return false }
        official.prices = judge.definition.prices
        official.limits = judge.definition.limits
        return official == judge.definition
    }

    func score(_ annotations: [Annotation], averageLength: Int) throws -> (
        Score, ScoringRule, [DatasetCache.Provenance]
    ) {
        var rule = options.scoring.rule(
            isOfficialPromptSet: prompts.isOfficial, isWhole: selected.count == prompts.prompts.count,
            seed: options.decoding.seed ?? 0)
        rule.style = options.style.features
        let calibration = rule.design == nil || rule.design == .minimal ? nil : try Calibration(cache)
        let score = try Stages.score(
            annotations, promptCount: selected.count, averageLength: averageLength, calibration: calibration,
            rule: rule)
        return (score, rule, calibration?.provenance ?? [])
    }

    /// What the run will be called, known before anything is asked.
    func name(of model: String) throws -> String { try options.name ?? ownName(of: model) }

    /// What a model is called by itself.
    func ownName(of model: String) throws -> String {
        switch try ModelSource(model) {
        case .outputs(let path):
            if form != nil { return Files.stem(of: path) }
            let bytes = try Files.read(path, asked: "The model's outputs")
            return try ModelOutputs(bytes: bytes, path: path, prompts: prompts, name: nil).name
        case .openAI(let name), .anthropic(let name), .openAICompatible(let name, _): return name
        case .exec(let program): return String(program.split(separator: " ")[0].split(separator: "/").last ?? "exec")
        case .local(let path): return Files.name(of: path)
        case .annotations(let path), .replay(let path): return path
        }
    }

    // MARK: Opening

    func openStore() throws -> EvidenceStore { try options.asking.openStore() }

    /// How fast the engine was, where it had anything to do.
    private func report(_ counts: Engine.Counts, since start: ContinuousClock.Instant) {
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        guard counts.generatedTokens > 0, seconds > 0 else { return }
        Console.note(
            "\(counts.generatedTokens) tokens generated in \(rounded(seconds)) s, "
                + "\(Int(Double(counts.generatedTokens) / seconds)) a second; \(counts.promptTokens) prompt tokens read."
        )
    }

    private func open(
        _ definition: JudgeDefinition, _ store: EvidenceStore
    ) async throws -> (OpenJudge, [DatasetCache.Provenance]) {
        guard case .dataset = definition.template else {
            return (try await OpenJudge(definition, store: store, options: options.asking, budget: budget), [])
        }
        let file = try cache.load(.template)
        let template = try PromptTemplate(
            text: String(decoding: file.bytes, as: UTF8.self), name: file.provenance.name)
        let open = try await OpenJudge(
            definition, template: template, store: store, options: options.asking, budget: budget)
        return (open, [file.provenance])
    }

    /// The file behind `--judge annotations:FILE` or `--judge-model annotations:FILE`.
    private func publishedAnnotationsPath() throws -> String? {
        for text in [options.asking.judgeModel, options.judge].compactMap({ $0 }) where text.hasPrefix("annotations:") {
            if case .annotations(let path) = try ModelSource(text) { return path }
        }
        return nil
    }

    private func rounded(_ dollars: Double) -> String { "\((dollars * 10_000).rounded() / 10_000)" }
}

/// Who judges a run, and what everything that the run leaves says of that.
struct Judging: Sendable {
    enum Source: Sendable {
        case judge(Judge, Spending?)
        case checks(ChecksJudge)
        case published(PublishedAnnotations, path: String)
    }

    var source: Source
    var label: String
    var fingerprint: String
    var isReferenceJudge: Bool
    /// Upstream's files that it was made with.
    var data: [DatasetCache.Provenance]

    var isPriced: Bool {
        if case .judge(let judge, _) = source { judge.definition.prices != nil } else { false }
    }
}
