import Chat
import Endpoints
import Evaluation
import Evidence
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
    private let promptPath: String

    init(_ options: RunOptions) throws {
        self.options = options
        home = try Environment.definitionsHome()
        benchmark = try Definitions.benchmark(options.benchmark, home: home)
        cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
        if let path = options.prompts {
            promptPath = path
            promptBytes = try Files.read(path, asked: "The prompts")
            prompts = try PromptSet(
                bytes: promptBytes, path: path,
                isOfficial: Digest.sha256(promptBytes) == benchmark.file(.prompts)?.sha256)
        } else {
            let file = try cache.load(.prompts)
            promptPath = file.provenance.name
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
        let model = try openModel(source, role: role, store: store, spending: nil)
        let bar = ProgressBar("generate", total: selected.count, isEnabled: !options.noProgress)
        let (outputs, failures) = try await Stages.generateOutputs(
            selected, model: model, decoding: options.decoding.decoding(benchmark),
            maxTokens: options.decoding.maxTokens ?? benchmark.maxTokens, seed: options.decoding.seed,
            stop: Interruption.shared.stop, progress: bar.update)
        for (index, reason) in failures.sorted(by: { $0.key < $1.key }).prefix(3) {
            Console.note("Prompt \(index) has no output: \(reason.detail)")
        }
        if failures.count > 3 { Console.note("… and \(failures.count - 3) more prompts have none.") }
        if outputs.isEmpty {
            throw ModelFailure.requestFailed(
                "\(model.name) answered none of the \(selected.count) prompts: "
                    + "\(failures.first?.value.detail ?? "no reason given")")
        }
        let label = name ?? model.name
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

    /// Judges `outputs`, by a model or by published annotations.
    func annotate(_ outputs: ModelOutputs, _ baseline: ModelOutputs) async throws -> JudgedRun {
        if let path = try publishedAnnotationsPath() {
            let published = try PublishedAnnotations(
                bytes: try Files.read(path, asked: "The published annotations"), path: path)
            let annotations = try Stages.replay(
                published, path: path, prompts: prompts, selected: Set(selected.map(\.index)), baseline: baseline,
                outputs: outputs)
            return JudgedRun(
                annotations: annotations, judge: published.annotator, fingerprint: "published:\(published.annotator)",
                isReferenceJudge: published.annotator == benchmark.judge, cost: nil)
        }
        let store = try openStore()
        let (judge, spending) = try await openJudge(store)
        let pairs = Stages.pairs(selected, baseline: baseline, outputs: outputs)
        let bar = ProgressBar("judge   ", total: pairs.count, isEnabled: !options.noProgress)
        let annotations = try await Stages.annotate(
            pairs, judge: judge, stop: Interruption.shared.stop, progress: bar.update)
        if let spent = await spending?.spent, spent > 0 { Console.note("The judge's calls cost $\(rounded(spent)).") }
        return JudgedRun(
            annotations: annotations, judge: judge.definition.id, fingerprint: judge.fingerprint,
            isReferenceJudge: judge.definition.id == benchmark.judge && judge.isOwnModel,
            cost: judge.definition.prices == nil ? nil : annotations.compactMap(\.cost).reduce(0, +))
    }

    func score(_ run: JudgedRun, averageLength: Int) throws -> (Score, [DatasetCache.Provenance]) {
        let rule = options.scoring.rule(
            isOfficialPromptSet: prompts.isOfficial, isWhole: selected.count == prompts.prompts.count,
            seed: options.decoding.seed ?? 0)
        let calibration = rule.design == nil || rule.design == .minimal ? nil : try Calibration(cache)
        let score = try Stages.score(
            run.annotations, promptCount: selected.count, averageLength: averageLength, calibration: calibration,
            rule: rule)
        return (score, calibration?.provenance ?? [])
    }

    /// What would be asked, without asking.
    func estimate(_ outputs: ModelOutputs, _ baseline: ModelOutputs) async throws -> JSONValue {
        let pairs = Stages.pairs(selected, baseline: baseline, outputs: outputs)
        if try publishedAnnotationsPath() != nil {
            return ["pairs": .integer(pairs.count), "calls": 0, "usd_at_most": 0]
        }
        let store = try openStore()
        let (judge, _) = try await openJudge(store)
        var calls = 0
        var recorded = 0
        var bytes = 0
        for request in pairs.flatMap(judge.requests) {
            let key = request.key(modelFingerprint: judge.model.fingerprint)
            if try await store.completion(forKey: key) != nil {
                recorded += 1
            } else {
                calls += 1
                bytes += request.messages.reduce(0) { $0 + $1.content.utf8.count }
            }
        }
        let most = judge.definition.prices.map {
            $0.cost(Completion.Usage(inputTokens: bytes, outputTokens: calls * judge.definition.maxTokens))
        }
        return [
            "pairs": .integer(pairs.count), "calls": .integer(calls), "recorded": .integer(recorded),
            "prompt_bytes": .integer(bytes), "usd_at_most": JSONValue(most),
        ]
    }

    // MARK: Opening

    func openStore() throws -> EvidenceStore {
        let path = options.evidence ?? "\(Environment.stateHome)/evalharness/evidence.sqlite"
        try Files.makeFolder(Files.parent(of: path))
        return try EvidenceStore(path: path)
    }

    private func openModel(_ source: ModelSource, role: ModelRole, store: EvidenceStore, spending: Spending?) throws
        -> any ChatModel
    {
        let model = try OpenModel.open(source, role: role, options: options)
        if options.offline { return ReplayChatModel(name: model.name, fingerprint: model.fingerprint, store: store) }
        return RecordingChatModel(model, store: store, spending: spending)
    }

    private func openJudge(_ store: EvidenceStore) async throws -> (Judge, Spending?) {
        let definition = try Definitions.judge(options.judge ?? benchmark.judge, home: home)
        let templateText: String
        let templateName: String
        switch definition.template {
        case .file(let path):
            templateText = try Files.readText(path, asked: "The judge's template")
            templateName = path
        case .dataset:
            let file = try cache.load(.template)
            templateText = String(decoding: file.bytes, as: UTF8.self)
            templateName = file.provenance.name
        }
        let template = try PromptTemplate(text: templateText, name: templateName)
        let named = try options.judgeModel.map { try ModelSource($0) }
        guard let source = named ?? definition.model else {
            throw EvaluationError.configuration(
                "The judge \(definition.id) needs a model: name one with "
                    + "--judge-model.")
        }
        if case .replay(let path) = source {
            let model = try await OpenModel.replay(path, ownModel: definition.model, options: options)
            return (Judge(definition: definition, template: template, model: model, isOwnModel: false), nil)
        }
        // The definition's prices are those of its own model; another one's are unknown.
        let isOwnModel = source == definition.model
        let prices = isOwnModel ? definition.prices : nil
        if options.maxCost != nil, prices == nil {
            throw EvaluationError.configuration(
                "--max-cost needs the prices of \(source), and judges/\(definition.id)/judge.yaml gives none for "
                    + "it. Write a judge "
                    + "of your own with that model and its prices.")
        }
        let spending = prices.map { prices in Spending(limit: options.maxCost, price: prices.cost) }
        var limits = options
        limits.concurrency = options.concurrency ?? definition.limits.concurrency
        let model = try OpenModel.open(source, role: .judge(definition.limits), options: limits)
        let recorded: any ChatModel =
            options.offline
            ? ReplayChatModel(name: model.name, fingerprint: model.fingerprint, store: store)
            : RecordingChatModel(model, store: store, spending: spending)
        var priced = definition
        priced.prices = prices
        return (Judge(definition: priced, template: template, model: recorded, isOwnModel: isOwnModel), spending)
    }

    /// The file behind `--judge annotations:FILE` or `--judge-model annotations:FILE`.
    private func publishedAnnotationsPath() throws -> String? {
        for text in [options.judgeModel, options.judge].compactMap({ $0 }) where text.hasPrefix("annotations:") {
            if case .annotations(let path) = try ModelSource(text) { return path }
        }
        return nil
    }

    private func rounded(_ dollars: Double) -> String { "\((dollars * 10_000).rounded() / 10_000)" }
}

/// Annotations with who made them.
struct JudgedRun {
    var annotations: [Annotation]
    var judge: String
    var fingerprint: String
    var isReferenceJudge: Bool
    var cost: Double?
}

/// The definitions under `benchmarks/` and `judges/`.
enum Definitions {
    static func benchmark(_ name: String, home: String) throws -> Benchmark {
        try Benchmark(folder: try folder(name, kind: "benchmark", in: "\(home)/benchmarks"))
    }

    static func judge(_ name: String, home: String) throws -> JudgeDefinition {
        try JudgeDefinition(folder: try folder(name, kind: "judge", in: "\(home)/judges"))
    }

    private static func folder(_ name: String, kind: String, in parent: String) throws -> String {
        // A path names a definition of the user's own.
        if name.contains("/"), Files.isFolder(name) { return name }
        guard !name.contains("/"), Files.exists("\(parent)/\(name)/\(kind).yaml") else {
            let known = Files.names(in: parent).filter { Files.exists("\(parent)/\($0)/\(kind).yaml") }
            throw EvaluationError.configuration(
                "There is no \(kind) \"\(name)\"; known are \(known.joined(separator: ", ")), or the path of a "
                    + "folder of your own.")
        }
        return "\(parent)/\(name)"
    }
}
