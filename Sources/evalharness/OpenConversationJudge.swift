import Chat
import Evaluation
import Evidence

/// Who judges MT-Bench or Arena-Hard, and what everything that the run leaves says of that.
struct OpenConversationJudge: Sendable {
    enum Judge: Sendable {
        case mtBench(MTBenchJudge)
        case arenaHard(ArenaJudge)
        case checks(ChecksJudge)
    }

    let judge: Judge
    let label: String
    let fingerprint: String
    /// Whether this is the model that the benchmark's board was made with.
    let isReferenceJudge: Bool
    /// MT-Bench: the set of references that it is shown.
    private(set) var references: String?
    /// Upstream's files that it was made with.
    private(set) var data: [DatasetCache.Provenance] = []

    init(_ pipeline: Pipeline, mode: MTBenchJudge.Mode) async throws {
        if let name = pipeline.options.judge {
            let checks = try OpenConversationJudge.checks(name, pipeline)
            judge = .checks(checks)
            label = checks.id
            fingerprint = checks.fingerprint
            isReferenceJudge = false
            return
        }
        let options = pipeline.options
        let benchmark = pipeline.benchmark
        let own = try ModelSource(benchmark.judge)
        let model = try await OpenConversationJudge.model(own, options.asking, pipeline.budget)
        label = model.name
        isReferenceJudge = model.fingerprint == own.fingerprint
        switch benchmark.kind {
        case .mtBench(_, let standard):
            let file = try pipeline.cache.load(.judgePrompts)
            let (references, sources) = try OpenConversationJudge.references(standard, pipeline)
            let judge = try MTBenchJudge(
                mode, judgePrompts: try JudgePrompt.read(file.bytes, path: file.provenance.name),
                references: references, model: model, retries: options.asking.retryUnparsable,
                prompts: pipeline.selected)
            self.judge = .mtBench(judge)
            fingerprint = judge.fingerprint
            self.references = references.name
            data = [file.provenance] + sources
        case .arenaHard(let version, _):
            let (procedure, sources) = try OpenConversationJudge.procedure(version, pipeline.cache)
            let judge = try ArenaJudge(procedure, model: model, prompts: pipeline.selected)
            self.judge = .arenaHard(judge)
            fingerprint = judge.fingerprint
            data = sources
        case .instructions: preconditionFailure("\(benchmark.id) has a judge of another kind")
        }
    }

    /// How many requests may be in flight.
    var width: Int {
        switch judge {
        case .mtBench(let judge): judge.model.maxConcurrentRequests
        case .arenaHard(let judge): judge.model.maxConcurrentRequests
        case .checks: 1
        }
    }

    /// Of a reply.
    var maxTokens: Int {
        switch judge {
        case .mtBench: MTBenchJudge.maxTokens
        case .arenaHard(let judge): judge.maxTokens
        case .checks: 0
        }
    }

    private static func checks(_ name: String, _ pipeline: Pipeline) throws -> ChecksJudge {
        if name.hasPrefix("annotations:") {
            throw EvaluationError.configuration(
                "Judgments made elsewhere are scored as they are: evalharness score \(pipeline.benchmark.id) --judgments "
                    + "\(name.dropFirst("annotations:".count)).")
        }
        guard case .checks(let judge) = try Definitions.judge(name, home: pipeline.home) else {
            throw EvaluationError.configuration(
                "\(pipeline.benchmark.id) has judge prompts of its own: name who judges with --judge-model, or take "
                    + "--judge checks.")
        }
        try judge.checked(pipeline.selected, path: pipeline.promptPath)
        return judge
    }

    private static func model(
        _ own: ModelSource, _ options: AskingOptions, _ budget: Budget
    ) async throws -> any ChatModel {
        let source = try options.judgeModel.map { try ModelSource($0) } ?? own
        if case .replay(let path) = source {
            return try await OpenModel.replay(path, ownModel: own, options: options)
        }
        let limits = JudgeDefinition.Limits(concurrency: options.concurrency ?? 16)
        let opened = try OpenModel.open(source, role: .judge(limits), options: options)
        let spending = try options.spending(on: opened, of: budget)
        return OpenModel.recorded(opened, store: try options.openStore(), spending: spending, options: options)
    }

    /// Upstream's sets are for upstream's prompts; those of one's own bring their own.
    private static func references(
        _ standard: String, _ pipeline: Pipeline
    ) throws -> (ModelOutputs, [DatasetCache.Provenance]) {
        if pipeline.options.prompts != nil, pipeline.options.references == nil {
            return (.references(of: pipeline.prompts), [])
        }
        let name = pipeline.options.references ?? standard
        let file = try pipeline.cache.load(.references, set: name)
        let set = try ModelOutputs(
            bytes: file.bytes, path: file.provenance.name, prompts: pipeline.prompts, name: name)
        return (set, [file.provenance])
    }

    private static func procedure(
        _ version: ArenaVersion, _ cache: DatasetCache
    ) throws -> (ArenaJudge.Procedure, [DatasetCache.Provenance]) {
        let configuration = try cache.load(.judgeConfiguration)
        guard let path = cache.benchmark.file(.judgeConfiguration).map(cache.path) else {
            preconditionFailure("it was loaded")
        }
        switch version {
        case .v01: return (try ArenaJudge.Procedure(v01: path), [configuration.provenance])
        case .v2:
            let settings = try cache.load(.judgePrompts)
            let procedure = try ArenaJudge.Procedure(
                v2: path, settings: settings.bytes, settingsPath: settings.provenance.name)
            return (procedure, [configuration.provenance, settings.provenance])
        }
    }
}
