import Chat
import Evaluation
import Reporting

/// A run of MT-Bench or Arena-Hard: outputs as of any benchmark, judged and scored as upstream does.
struct ConversationRun {
    private let pipeline: Pipeline
    private let models: [String]
    private let mode: MTBenchJudge.Mode
    private var options: RunOptions { pipeline.options }
    private var benchmark: Benchmark { pipeline.benchmark }

    init(_ pipeline: Pipeline, models: [String]) {
        self.pipeline = pipeline
        self.models = models
        mode = pipeline.options.mode ?? .single
    }

    /// - Parameter forGate: whether a gate says what came of it, and has its own limit of missing verdicts.
    func perform(forGate: Bool = false) async throws {
        Interruption.shared.arm()
        if options.canary ?? 0 > 0 {
            throw EvaluationError.configuration(
                "--canary is for benchmarks whose outputs are compared one by one, not for \(benchmark.id): leave it out."
            )
        }
        if options.asking.dryRun {
            try await estimate().show(asJSON: true)
            return
        }
        let directory = try RunDirectory(
            resultsFolder: options.resultsDir, benchmark: benchmark.id, model: try folderName())
        let lock = try RunLock(directory, stateHome: Environment.stateHome)
        let judge = try await OpenConversationJudge(pipeline, mode: mode)
        let players = try await players()
        let baseline = try await baseline()
        let all = players.map(\.outputs) + [baseline].compactMap(\.self)
        try refuseTwins(all)
        let record = record(players, baseline, judge)
        if !options.overwrite { try directory.refuseOtherRun(record.identity) }

        let counter = try TokenCounter(pipeline.cache, isNeeded: !options.style.features.isEmpty)
        var metadata: [String: [String: OutputMetadata]] = [:]
        for outputs in all { metadata[outputs.name] = counter?.metadata(of: outputs) }
        let found = try await judged(players.map(\.outputs), baseline, judge, metadata)
        var hashes = try write(mode == .single ? players.map(\.outputs) : all, metadata, found, to: directory)
        // What was answered stays, also where nothing of it can be scored.
        let boards = try found.boards()
        if boards.isEmpty { throw noVerdict(found.reasons, directory) }
        let notes = notes(all, judge) + notes(found.unscored)
        let data = [pipeline.promptProvenance, counter?.provenance].compactMap(\.self) + judge.data
        var scores = scores(boards, record.subject, judge, data, notes)
        // Of several models there is no one integrity.
        if players.count == 1 {
            scores["integrity"] = Integrity(Audit(players[0].outputs, prompts: pipeline.selected)).json
        }
        hashes["scores.json"] = .string(try Files.write(.object(scores), to: directory.scores))
        try Files.write(record.json(files: hashes), to: directory.run)
        if !forGate {
            show(boards, .object(scores), notes, directory)
            let limit = MissingLimit(options.missingLimit ?? MissingLimit.usual)
            for board in boards where !board.isStyled { try limit.check(board) }
            try limit.check(unscored: found.unscored)
        }
        _ = consume lock
    }

    /// Their names must differ, and where each has a file of its own, the names of those.
    private func refuseTwins(_ all: [ModelOutputs]) throws(EvaluationError) {
        var names: [String] = []
        for outputs in all { names.append(mode == .single ? outputs.name : try RunDirectory.folderName(outputs.name)) }
        guard let twice = names.first(where: { name in names.count { $0 == name } > 1 }) else { return }
        throw .configuration(
            "Two of the models are both called \(twice): give one another name with --name, or its file or folder.")
    }

    // MARK: Outputs

    private struct Player {
        var outputs: ModelOutputs
        var fingerprint: String
    }

    private func players() async throws -> [Player] {
        var players: [Player] = []
        for model in models {
            let name = models.count == 1 ? options.name : nil
            let (outputs, fingerprint) = try await pipeline.outputs(of: model, name: name, role: .candidate)
            players.append(Player(outputs: outputs, fingerprint: fingerprint))
        }
        return players
    }

    /// Nil where models are rated by themselves, or all against all.
    private func baseline() async throws -> ModelOutputs? {
        if case .mtBench = benchmark.kind, mode != .pairwiseBaseline { return nil }
        return try await pipeline.baseline()
    }

    private func folderName() throws -> String {
        if let name = options.name { return name }
        switch (benchmark.kind, mode) {
        case (.mtBench, .pairwiseAll): return "pairwise-all"
        case (.mtBench, .pairwiseBaseline):
            return try (models + [options.baseline].compactMap(\.self)).map(pipeline.ownName).joined(separator: ".vs.")
        default: return try pipeline.ownName(of: models[0])
        }
    }

    /// Outputs and judgments in upstream's form: of one model by upstream's name for all, of several by their own.
    ///
    /// - Returns: the hash of each file.
    private func write(
        _ outputs: [ModelOutputs], _ metadata: [String: [String: OutputMetadata]], _ found: Judged,
        to directory: RunDirectory
    ) throws -> JSONObject {
        var hashes = JSONObject()
        for outputs in outputs {
            let name = try mode == .single ? "model_answer" : "model_answer/\(RunDirectory.folderName(outputs.name))"
            let records = pipeline.records(outputs, metadata: metadata[outputs.name] ?? [:])
            hashes["\(name).jsonl"] = .string(
                try Files.write(lines: records, to: "\(directory.path)/\(name).jsonl"))
        }
        if options.overwrite { try removeOutputs(besides: hashes.keys, in: directory) }
        hashes["model_judgment.jsonl"] = .string(try Files.write(lines: found.records, to: directory.modelJudgment))
        return hashes
    }

    /// What the run that is replaced left would pass for this one's.
    private func removeOutputs(besides kept: [String], in directory: RunDirectory) throws(EvaluationError) {
        let folder = Files.names(in: directory.modelAnswers).map { "model_answer/\($0)" }
        for name in ["model_answer.jsonl"] + folder where name.hasSuffix(".jsonl") && !kept.contains(name) {
            try Files.remove("\(directory.path)/\(name)")
        }
    }

    // MARK: Judging

    private struct Judged {
        var records: [JSONValue]
        /// Why games have no verdict.
        var reasons: [Verdict.Reason] = []
        /// How many records each category of Arena-Hard 2.0 has of which none can be scored.
        var unscored: [String: Int] = [:]
        /// Scores the records once they are written; none where no game has a verdict.
        var boards: () throws -> [JudgmentBoard]
    }

    private func judged(
        _ players: [ModelOutputs], _ baseline: ModelOutputs?, _ judge: OpenConversationJudge,
        _ metadata: [String: [String: OutputMetadata]]
    ) async throws -> Judged {
        switch benchmark.kind {
        case .mtBench where mode == .single: return try await rated(players[0], judge)
        case .mtBench: return try await compared(players, baseline, judge)
        case .arenaHard(let version, _):
            guard let baseline else { preconditionFailure("Arena-Hard has a baseline") }
            return try await battled(players[0], baseline, version, judge, metadata)
        case .instructions: preconditionFailure("\(benchmark.id) is run by BenchmarkRun")
        }
    }

    private func rated(_ outputs: ModelOutputs, _ judge: OpenConversationJudge) async throws -> Judged {
        let turns = pipeline.selected.flatMap { prompt in prompt.turns.indices.map { (prompt, $0) } }
        let ratings = try await concurrently(turns, judge) { prompt, turn in
            guard let output = outputs[prompt] else {
                return MTBenchJudge.Rating(unanswered: prompt, model: outputs.name, turn: turn)
            }
            return switch judge.judge {
            case .mtBench(let judge): try await judge.rate(output, turn: turn)
            case .checks(let judge): judge.rate(output, turn: turn)
            case .arenaHard: preconditionFailure("MT-Bench has ratings")
            }
        }
        let annotations = ratings.map { rating in
            var annotation = rating.annotation
            annotation.judge = judge.label
            return annotation
        }
        return Judged(records: ratings.map { $0.json(judge: judge.label) }) {
            let score = MTBenchScore(annotations, resamples: resamples, seed: seed)
            return [JudgmentBoard(score, panel: JudgePanel(annotations), benchmark: identity([:]))]
        }
    }

    private func compared(
        _ players: [ModelOutputs], _ baseline: ModelOutputs?, _ judge: OpenConversationJudge
    ) async throws -> Judged {
        var pairs: [(ModelOutputs, ModelOutputs)] = []
        for (place, first) in players.enumerated() {
            for second in baseline.map({ [$0] }) ?? Array(players[(place + 1)...]) { pairs.append((first, second)) }
        }
        let games = pairs.flatMap { pair in
            pipeline.selected.flatMap { prompt in prompt.turns.indices.map { (pair, prompt, $0) } }
        }
        let comparisons = try await concurrently(games, judge) { pair, prompt, turn in
            guard let first = pair.0[prompt], let second = pair.1[prompt] else {
                return MTBenchJudge.Comparison(
                    unanswered: prompt, first: pair.0.name, second: pair.1.name, turn: turn)
            }
            return switch judge.judge {
            case .mtBench(let judge): try await judge.compare(first, second, turn: turn)
            case .checks(let judge): judge.compare(first, second, turn: turn)
            case .arenaHard: preconditionFailure("MT-Bench has comparisons")
            }
        }
        let annotations = comparisons.map { comparison in
            var annotation = comparison.annotation
            annotation.judge = judge.label
            return annotation
        }
        return Judged(
            records: comparisons.map { $0.json(judge: judge.label) },
            reasons: comparisons.flatMap(\.games).compactMap(\.reason)
        ) {
            var score = MTBenchPairScore(annotations, baseline: baseline?.name, resamples: resamples, seed: seed)
            if score.entries.isEmpty { return [] }
            if !options.style.features.isEmpty {
                var styles = MTBenchStyles(features: options.style.features)
                for outputs in players + [baseline].compactMap(\.self) { styles.add(outputs) }
                try score.control(styles, annotations, baseline: baseline?.name, resamples: resamples, seed: seed)
            }
            return [
                JudgmentBoard(
                    score, panel: JudgePanel(annotations), benchmark: identity(["mode": .string(mode.rawValue)]),
                    baseline: baseline?.name)
            ]
        }
    }

    private func battled(
        _ outputs: ModelOutputs, _ baseline: ModelOutputs, _ version: ArenaVersion, _ judge: OpenConversationJudge,
        _ metadata: [String: [String: OutputMetadata]]
    ) async throws -> Judged {
        let records = try await concurrently(pipeline.selected, judge) { prompt in
            guard let own = outputs[prompt], let other = baseline[prompt] else {
                return ArenaJudge.Record(
                    unanswered: prompt, model: outputs.name, baseline: baseline[prompt]?.generator ?? baseline.name)
            }
            let pair = OutputPair(prompt: prompt, baseline: other, output: own)
            return switch judge.judge {
            case .arenaHard(let judge): try await judge.judge(pair)
            case .checks(let judge): judge.judge(pair)
            case .mtBench: preconditionFailure("Arena-Hard has labels")
            }
        }
        let lines = records.map { $0.json(judge: judge.label, version: version) }
        let annotations = records.map { record in
            var annotation = record.annotation
            annotation.judge = judge.label
            return annotation
        }
        // Of v2.0 each category has its own baseline, and is scored by itself.
        let groups = Dictionary(grouping: annotations) { version == .v2 ? $0.category ?? "" : "" }
        let scored = groups.filter { $0.value.contains { !$0.preferences(version).isEmpty } }
        let styles = [outputs, baseline].flatMap { ArenaOutputs.byGenerator($0, metadata[$0.name] ?? [:]) }
        return Judged(
            records: lines, reasons: records.flatMap(\.games).compactMap(\.reason),
            unscored: version == .v2 ? groups.filter { scored[$0.key] == nil }.mapValues(\.count) : [:]
        ) { try boards(scored, version, styles) }
    }

    /// Of each category; with style control beside the plain one where it is asked for.
    private func boards(
        _ annotations: [String: [ArenaAnnotation]], _ version: ArenaVersion, _ outputs: [ArenaOutputs]
    ) throws -> [JudgmentBoard] {
        let style = options.style.features
        let features: [StyleFeatures] = style.isEmpty ? [[]] : [[], style]
        return try annotations.sorted { $0.key < $1.key }.flatMap { category, group in
            try features.map { features in
                let score = try score(group, version, category, outputs, features)
                var fields: JSONObject = ["version": .string(version.rawValue), "n": .integer(group.count)]
                if version == .v2 { fields["category"] = .string(category) }
                return JudgmentBoard(
                    score, panel: features.isEmpty ? JudgePanel(group, version: version) : nil,
                    benchmark: identity(fields), level: version == .v2 ? 90 : 95)
            }
        }
    }

    private func score(
        _ annotations: [ArenaAnnotation], _ version: ArenaVersion, _ category: String, _ outputs: [ArenaOutputs],
        _ features: StyleFeatures
    ) throws -> ArenaScore {
        let baseline = annotations[0].baseline ?? benchmark.baseline
        switch version {
        case .v01:
            var rule = ArenaScore.Rule(baseline: baseline)
            rule.features = features
            rule.resamples = resamples
            return try ArenaScore.v01(
                ArenaBattles(annotations, baseline: baseline, weight: 3), answers: outputs, rule: rule)
        case .v2:
            var rule = ArenaScore.RuleV2(category: category, baseline: baseline)
            rule.features = features
            rule.resamples = resamples
            return try ArenaScore.v2(annotations, answers: outputs, rule: rule)
        }
    }

    private var resamples: Int { options.scoring.resamples ?? 1_000 }
    /// Of our own intervals.
    private var seed: UInt64 { options.decoding.seed ?? 0 }

    private func noVerdict(_ reasons: [Verdict.Reason], _ directory: RunDirectory) -> EvaluationError {
        .integrity(
            "None of the games has a verdict, the first for this reason: \(reasons.first?.detail ?? "none given"). The "
                + "replies are in \(directory.modelJudgment).")
    }

    private func concurrently<Input: Sendable, Output: Sendable>(
        _ inputs: [Input], _ judge: OpenConversationJudge, _ body: @escaping @Sendable (Input) async throws -> Output
    ) async throws -> [Output] {
        let bar = ProgressBar("judge   ", total: inputs.count, isEnabled: !options.asking.noProgress)
        return try await mapConcurrently(
            inputs, width: judge.width, stop: Interruption.shared.stop, progress: bar.update, body)
    }

    // MARK: What is left

    private func identity(_ more: JSONObject) -> JSONObject {
        var fields: JSONObject = ["id": .string(benchmark.id), "n": .integer(pipeline.selected.count)]
        for member in more.members { fields[member.key] = member.value }
        return fields
    }

    private func record(
        _ players: [Player], _ baseline: ModelOutputs?, _ judge: OpenConversationJudge
    ) -> RunRecord {
        RunRecord(
            subject: ScoreRecord.Subject(
                benchmark: benchmark.id, datasetSHA256: pipeline.prompts.sha256,
                isOfficialPromptSet: pipeline.prompts.isOfficial, baseline: baseline?.name ?? "",
                baselineSHA256: baseline?.sha256 ?? "",
                model: players.map(\.outputs.name).joined(separator: " and "),
                modelFingerprint: players.map(\.fingerprint).joined(separator: " "), judge: judge.label,
                judgeFingerprint: judge.fingerprint, isReferenceJudge: judge.isReferenceJudge),
            players: zip(models, players).map { RunRecord.Player(model: $0, fingerprint: $1.fingerprint) },
            options: options, benchmark: benchmark, prompts: pipeline.selected)
    }

    private func scores(
        _ boards: [JudgmentBoard], _ subject: ScoreRecord.Subject, _ judge: OpenConversationJudge,
        _ data: [DatasetCache.Provenance], _ notes: [String]
    ) -> JSONObject {
        var scores: JSONObject = [
            "schema": .string(JudgmentBoard.schema), "benchmark": .object(identity([:])),
            "boards": .array(boards.map(\.json)),
        ]
        scores["name"] = .string(subject.model)
        scores["fingerprint"] = .string(subject.modelFingerprint)
        scores["dataset_sha256"] = .string(subject.datasetSHA256)
        scores["judge"] = [
            "id": .string(judge.label), "fingerprint": .string(judge.fingerprint),
            "reference_judge": .bool(judge.isReferenceJudge), "references": JSONValue(judge.references),
        ]
        scores["data"] = .array(data.map(\.json))
        scores["notes"] = .array(notes.map(JSONValue.string))
        return scores
    }

    /// What a reader has to know that is no board's.
    private func notes(_ outputs: [ModelOutputs], _ judge: OpenConversationJudge) -> [String] {
        var notes = outputs.compactMap { outputs -> String? in
            let keys = QuotedVerdict.prompts(outputs)
            guard let first = keys.first else { return nil }
            return TextTable.printable(
                "\(keys.count) outputs of \(outputs.name) hold what looks like a judge's verdict (prompt \(first) for one): "
                    + "a judge that repeats it may be misread")
        }
        if !judge.isReferenceJudge {
            notes.append(
                "judged by \(judge.label), which is not the board's judge: compare only with runs of this judge")
        }
        return notes
    }

    private func notes(_ unscored: [String: Int]) -> [String] {
        unscored.sorted { $0.key < $1.key }.map { category, count in
            TextTable.printable(
                "\(category) is not scored: none of its \(count) records has a verdict in both games")
        }
    }

    private func show(
        _ boards: [JudgmentBoard], _ scores: JSONValue, _ notes: [String], _ directory: RunDirectory
    ) {
        if options.scoring.json {
            Console.data(scores.text(.indented(2)) + "\n")
            return
        }
        for board in boards {
            if boards.count > 1 { Console.data("\(board.title)\n") }
            Console.data(board.table.text)
        }
        for flag in scores["integrity"]?["flags"]?.array ?? [] { Console.note("flag: \(flag.string ?? "")") }
        var said: Set<String> = []
        for note in boards.flatMap(\.notes) + notes where said.insert(note).inserted { Console.note("note: \(note)") }
        Console.note("results: \(directory.path)")
    }

    /// What would be asked at the most.
    func estimate() async throws -> Estimate {
        var estimate = Estimate()
        for text in models + [options.baseline].compactMap(\.self) {
            if let part = try pipeline.generation(by: text, .candidate) { estimate.parts.append(part) }
        }
        if options.judge != nil { return estimate }
        let turns = pipeline.selected.reduce(0) { $0 + $1.turns.count }
        let asked = 1 + options.asking.retryUnparsable
        let calls =
            switch benchmark.kind {
            case .mtBench where mode == .single: turns * asked
            case .mtBench where mode == .pairwiseBaseline: 2 * turns * asked
            case .mtBench: models.count * (models.count - 1) * turns * asked
            // A reply without a label is asked to go on.
            case .arenaHard(.v01, _): 4 * pipeline.selected.count
            case .arenaHard(.v2, _): 2 * pipeline.selected.count
            case .instructions: 0
            }
        let judge = try await OpenConversationJudge(pipeline, mode: mode)
        let source = try ModelSource(options.asking.judgeModel ?? benchmark.judge)
        var part = Estimate.Part(
            role: .judge, name: judge.label, calls: calls, isExact: false,
            outputTokensAtMost: calls * judge.maxTokens, prices: try options.asking.priceFile()[source.fingerprint])
        if case .local = source { part.isLocal = true }
        estimate.parts.append(part)
        return estimate
    }
}
