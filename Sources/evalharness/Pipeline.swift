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
    private let home: String
    private let promptBytes: [UInt8]
    /// The benchmark's own prompt file; nil for prompts of the user's.
    let promptProvenance: DatasetCache.Provenance?
    private let promptPath: String

    init(_ options: RunOptions) throws {
        self.options = options
        home = try Environment.definitionsHome()
        benchmark = try Definitions.benchmark(options.benchmark, home: home)
        cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        if let path = options.prompts {
            promptPath = path
            promptProvenance = nil
            promptBytes = try Files.read(path, asked: "The prompts")
            prompts = try PromptSet(
                bytes: promptBytes, path: path,
                isOfficial: Digest.sha256(promptBytes) == benchmark.file(.prompts)?.sha256)
        } else {
            let file = try cache.load(.prompts)
            promptPath = file.provenance.name
            promptProvenance = file.provenance
            promptBytes = file.bytes
            prompts = try PromptSet(bytes: file.bytes, path: promptPath, isOfficial: file.provenance.isPinned)
        }
        selected = try options.selected(prompts)
    }

    // MARK: The stages

    /// The model's outputs: read from a file, or generated and recorded.
    func outputs(of text: String, name: String?, role: ModelRole) async throws -> (ModelOutputs, fingerprint: String) {
        switch try ModelSource(text) {
        case .outputs(let path):
            let bytes = try Files.read(path, asked: role.fileWords)
            let outputs = chosen(try ModelOutputs(bytes: bytes, path: path, prompts: prompts, name: name))
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
        let model = OpenModel.recorded(opened, store: store, options: options.asking)
        let start = ContinuousClock.now
        let bar = ProgressBar("generate", total: selected.count, isEnabled: !options.asking.noProgress)
        let (outputs, failures) = try await Stages.generateOutputs(
            selected, model: model, decoding: options.decoding.decoding(benchmark),
            maxTokens: options.decoding.maxTokens ?? benchmark.maxTokens, seed: options.decoding.seed,
            repetitionPenalty: options.decoding.repetitionPenalty, stop: Interruption.shared.stop, progress: bar.update)
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
        let label = try name ?? self.name(of: "\(source)")
        let named = outputs.map { ModelOutput(prompt: $0.prompt, output: $0.output, generator: label) }
        let unhashed = ModelOutputs(name: label, outputs: named, sha256: "")
        let sha256 = Digest.sha256(JSONValue.array(Array(unhashed.records)).serialized())
        return (ModelOutputs(name: label, outputs: named, sha256: sha256), model.fingerprint)
    }

    /// The baseline: the benchmark's own, that of the prompt file, or any model.
    func baseline() async throws -> ModelOutputs {
        if let text = options.baseline {
            return try await outputs(of: text, name: nil, role: .baseline).0
        }
        guard promptsCarryOutputs else {
            throw EvaluationError.configuration(
                "\(promptPath) carries no outputs to compare with. Name a baseline with --baseline (outputs:FILE, "
                    + "or a model).")
        }
        return chosen(try ModelOutputs(bytes: promptBytes, path: promptPath, prompts: prompts, name: nil))
    }

    /// The records of a prompt file may be the baseline's outputs too, as upstream's are.
    private var promptsCarryOutputs: Bool {
        (try? JSONValue(parsing: promptBytes))?[0]?["output"]?.string != nil
    }

    /// The outputs for the prompts of this run.
    private func chosen(_ all: ModelOutputs) -> ModelOutputs {
        let indices = Set(selected.map(\.index))
        return ModelOutputs(
            name: all.name, outputs: all.outputs.filter { indices.contains($0.prompt.index) }, sha256: all.sha256)
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

    func annotate(_ outputs: ModelOutputs, _ baseline: ModelOutputs, _ judging: Judging) async throws -> [Annotation] {
        switch judging.source {
        case .published(let published, let path):
            return try Stages.replay(
                published, path: path, prompts: prompts, selected: Set(selected.map(\.index)), baseline: baseline,
                outputs: outputs)
        case .checks(let judge):
            return Stages.pairs(selected, baseline: baseline, outputs: outputs).map(judge.annotate)
        case .judge(let judge, let spending):
            let pairs = Stages.pairs(selected, baseline: baseline, outputs: outputs)
            let bar = ProgressBar("judge   ", total: pairs.count, isEnabled: !options.asking.noProgress)
            let annotations = try await Stages.annotate(
                pairs, judge: judge, stop: Interruption.shared.stop, progress: bar.update)
            if let spent = await spending?.spent, spent > 0 {
                Console.note("The judge's answers cost $\(rounded(spent)).")
            }
            return annotations
        }
    }

    /// The board's judge is its definition, its template and its own model, not a name.
    private func isReference(_ judge: Judge) throws -> Bool {
        guard judge.isOwnModel, judge.template.sha256 == benchmark.file(.template)?.sha256 else { return false }
        guard case .model(var official) = try Definitions.judge(benchmark.judge, home: home) else { return false }
        official.prices = judge.definition.prices
        official.limits = judge.definition.limits
        return official == judge.definition
    }

    func score(_ annotations: [Annotation], averageLength: Int) throws -> (
        Score, ScoringRule, [DatasetCache.Provenance]
    ) {
        let rule = options.scoring.rule(
            isOfficialPromptSet: prompts.isOfficial, isWhole: selected.count == prompts.prompts.count,
            seed: options.decoding.seed ?? 0)
        let calibration = rule.design == nil || rule.design == .minimal ? nil : try Calibration(cache)
        let score = try Stages.score(
            annotations, promptCount: selected.count, averageLength: averageLength, calibration: calibration,
            rule: rule)
        return (score, rule, calibration?.provenance ?? [])
    }

    /// What would be asked, without asking: exactly where the outputs are there, at the most where they are yet to be made.
    func estimate(model: String) async throws -> JSONValue {
        var report = JSONObject()
        let generated = try [model, options.baseline].compactMap { $0 }.count { text in
            if case .outputs = try ModelSource(text) { false } else { true }
        }
        report["generation_calls_at_most"] = .integer(generated * selected.count)
        guard case .judge(let judge, _) = try await judging().source else {
            report["judge_calls"] = 0
            return .object(report)
        }
        guard generated == 0 else {
            let games = judge.definition.order.orders(instruction: "").count
            report["judge_calls_at_most"] = .integer(games * selected.count)
            return .object(report)
        }
        let (outputs, _) = try await outputs(of: model, name: options.name, role: .candidate)
        let pairs = Stages.pairs(selected, baseline: try await baseline(), outputs: outputs)
        let store = try openStore()
        var calls = 0
        var recorded = 0
        var bytes = 0
        for request in pairs.flatMap(judge.requests) {
            if try await store.completion(forKey: request.key(modelFingerprint: judge.model.fingerprint)) != nil {
                recorded += 1
            } else {
                calls += 1
                bytes += request.messages.reduce(0) { $0 + $1.content.utf8.count }
            }
        }
        let most = judge.definition.prices.map {
            $0.cost(Completion.Usage(inputTokens: bytes, outputTokens: calls * judge.definition.maxTokens))
        }
        report["judge_calls"] = .integer(calls)
        report["recorded"] = .integer(recorded)
        report["prompt_bytes"] = .integer(bytes)
        report["usd_at_most"] = JSONValue(most)
        return .object(report)
    }

    /// How many requests generating takes at the most.
    func generationEstimate(model: String) throws -> JSONValue {
        if case .outputs = try ModelSource(model) { return ["generation_calls_at_most": 0] }
        return ["generation_calls_at_most": .integer(selected.count)]
    }

    /// What the run will be called, known before anything is asked.
    func name(of model: String) throws -> String {
        if let name = options.name { return name }
        switch try ModelSource(model) {
        case .outputs(let path):
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
            return (try await OpenJudge(definition, store: store, options: options.asking), [])
        }
        let file = try cache.load(.template)
        let template = try PromptTemplate(
            text: String(decoding: file.bytes, as: UTF8.self), name: file.provenance.name)
        let open = try await OpenJudge(definition, template: template, store: store, options: options.asking)
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
