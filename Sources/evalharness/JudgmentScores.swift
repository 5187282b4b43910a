import Chat
import Evaluation
import Reporting
import Statistics

/// Benchmarks whose judgments are scored as their own scripts do.
enum JudgmentBenchmark: String {
    case mtBench = "mt-bench"
    case arenaHard = "arena-hard"
    case arenaHardV2 = "arena-hard-v2"

    /// The ranking of the judgments that `options` name.
    ///
    /// - Parameters:
    ///   - style: what is held equal.
    ///   - resamples: of our own intervals.
    ///   - seed: of upstream's, as NumPy takes it.
    func board(
        _ options: JudgmentOptions, style: StyleFeatures, resamples: Int, seed: UInt64?
    ) throws -> JudgmentBoard {
        switch self {
        case .mtBench: try mtBench(options, style, resamples, seed ?? 0)
        case .arenaHard: try arenaHard(options, style, resamples, seed)
        case .arenaHardV2: try arenaHardV2(options, style, resamples, seed)
        }
    }

    private func mtBench(
        _ options: JudgmentOptions, _ style: StyleFeatures, _ resamples: Int, _ seed: UInt64
    ) throws -> JudgmentBoard {
        let id: JSONObject = ["id": .string(rawValue), "mode": .string(options.mode.rawValue)]
        let files = try paths(options).map { (path: $0, bytes: try Files.read($0, asked: "The judgments")) }
        if options.mode == .single {
            let annotations = try chosen(
                try files.flatMap { try MTBenchAnnotation.read($0.bytes, path: $0.path) }, options, by: \.model)
            var score = MTBenchScore(annotations, resamples: resamples, seed: seed)
            if !style.isEmpty {
                try score.control(try styles(options, style), annotations, resamples: resamples, seed: seed)
            }
            return JudgmentBoard(score, panel: JudgePanel(annotations), benchmark: id)
        }
        // By the first alone, as upstream.
        let pairs = try chosen(
            try files.flatMap { try MTBenchPair.read($0.bytes, path: $0.path) }, options, by: \.first)
        let baseline = options.mode == .pairwiseAll ? nil : options.baseline ?? "gpt-3.5-turbo"
        var score = MTBenchPairScore(pairs, baseline: baseline, resamples: resamples, seed: seed)
        if score.entries.isEmpty, let baseline {
            throw EvaluationError.badData(
                "No game with a verdict is against \(baseline). Name another model with --baseline, or take --mode "
                    + "pairwise-all.")
        }
        if !style.isEmpty {
            try score.control(
                try styles(options, style), pairs, baseline: baseline, resamples: resamples, seed: seed)
        }
        return JudgmentBoard(score, panel: JudgePanel(pairs), benchmark: id, baseline: baseline)
    }

    /// - Throws: `badData` where there is none of the models that are asked for.
    private func chosen<Record>(
        _ records: [Record], _ options: JudgmentOptions, by model: (Record) -> String
    ) throws(EvaluationError) -> [Record] {
        let asked = Set(options.modelList)
        let chosen = records.filter { asked.isEmpty || asked.contains(model($0)) }
        guard chosen.isEmpty else { return chosen }
        let known = Set(records.map(model)).sorted().joined(separator: ", ")
        if known.isEmpty {
            throw .badData(
                "\(options.judgments.joined(separator: ", ")): there is no judgment in it. Name a file of them with "
                    + "--judgments.")
        }
        throw .badData(
            "No judgment is of \(options.modelList.joined(separator: ", ")); there are those of \(known). Name some of these "
                + "with --model-list, or leave it out for all.")
    }

    private func styles(_ options: JudgmentOptions, _ features: StyleFeatures) throws -> MTBenchStyles {
        guard let folder = options.answers else { throw needsAnswers }
        var styles = MTBenchStyles(features: features)
        for path in try jsonLines(in: folder, asked: "The outputs") {
            try styles.add(try Files.read(path, asked: "The outputs"), path: path)
        }
        return styles
    }

    private var needsAnswers: EvaluationError {
        .configuration(
            "Style control needs the outputs themselves: name the folder that holds them (model_answer) with --answers."
        )
    }

    private func arenaHard(
        _ options: JudgmentOptions, _ style: StyleFeatures, _ resamples: Int, _ seed: UInt64?
    ) throws -> JudgmentBoard {
        var baseline = options.baseline ?? "gpt-4-0314"
        let battles: ArenaBattles
        var panel: JudgePanel?
        if let path = options.battles {
            battles = try ArenaBattles(try Files.read(path, asked: "The battles"), path: path)
        } else {
            let judgments = try arenaJudgments(options)
            baseline = try agreed(judgments, options.baseline) ?? baseline
            panel = JudgePanel(judgments, version: .v01)
            battles = ArenaBattles(
                judgments, baseline: baseline, weight: options.weight, firstGameOnly: options.firstGameOnly)
        }
        var rule = ArenaScore.Rule(baseline: baseline)
        rule.features = style
        rule.rounds = options.numRounds
        rule.resamples = resamples
        if let seed { rule.seed = UInt32(truncatingIfNeeded: seed) }
        let score = try ArenaScore.v01(battles, answers: try answers(options, style), rule: rule)
        return JudgmentBoard(score, panel: panel, benchmark: ["id": .string(rawValue), "version": "0.1"], level: 95)
    }

    private func arenaHardV2(
        _ options: JudgmentOptions, _ style: StyleFeatures, _ resamples: Int, _ seed: UInt64?
    ) throws -> JudgmentBoard {
        if options.firstGameOnly || options.battles != nil {
            throw EvaluationError.configuration("--first-game-only and --battles are for arena-hard (v0.1).")
        }
        let judgments = try arenaJudgments(options)
        let category = judgments.filter { $0.category == options.category }
        var rule = ArenaScore.RuleV2(
            category: options.category, baseline: try agreed(category, options.baseline) ?? options.baseline)
        rule.features = style
        rule.weight = options.weight
        rule.rounds = options.numRounds
        rule.resamples = resamples
        if let seed { rule.seed = UInt32(truncatingIfNeeded: seed) }
        let score = try ArenaScore.v2(judgments, answers: try answers(options, style), rule: rule)
        return JudgmentBoard(
            score, panel: JudgePanel(category, version: .v2),
            benchmark: ["id": .string(rawValue), "version": "2.0", "category": .string(options.category)], level: 90)
    }

    /// The baseline that the judgments themselves name, as runs of ours do and upstream's v0.1 does not.
    ///
    /// - Throws: `integrity` where they name several, or another than the flag.
    private func agreed(_ judgments: [ArenaAnnotation], _ named: String?) throws -> String? {
        let known = Set(judgments.compactMap(\.baseline))
        guard known.count <= 1, named == nil || known.isSubset(of: [named ?? ""]) else {
            throw EvaluationError.integrity(
                "The judgments are against \(known.sorted().joined(separator: " and ")): their numbers do not belong in one "
                    + "ranking\(named.map { ", nor in one over \($0)" } ?? ""). Score them apart.")
        }
        return known.first
    }

    // MARK: Files

    private func arenaJudgments(_ options: JudgmentOptions) throws -> [ArenaAnnotation] {
        let paths = try paths(options)
        return try concurrentMap(paths.count) { place in
            Result {
                try ArenaAnnotation.read(try Files.read(paths[place], asked: "The judgments"), path: paths[place])
            }
        }.flatMap { try $0.get() }
    }

    private func answers(_ options: JudgmentOptions, _ style: StyleFeatures) throws -> [ArenaOutputs] {
        guard let folder = options.answers else {
            if style.isEmpty { return [] }
            throw needsAnswers
        }
        let paths = try jsonLines(in: folder, asked: "The answers")
        return try concurrentMap(paths.count) { place in
            Result { try ArenaOutputs.read(try Files.read(paths[place], asked: "The answers"), path: paths[place]) }
        }.map { try $0.get() }
    }

    private func paths(_ options: JudgmentOptions) throws -> [String] {
        if options.judgments.isEmpty {
            throw EvaluationError.missingInput(
                "There is nothing to score: name the judgments of \(rawValue), a file or a folder, with --judgments.")
        }
        return try options.judgments.flatMap { try jsonLines(in: $0, asked: "The judgments") }
    }

    /// The file itself, or those of a folder by name.
    private func jsonLines(in path: String, asked what: String) throws -> [String] {
        guard Files.isFolder(path) else { return [path] }
        let names = Files.names(in: path).filter { $0.hasSuffix("jsonl") }
        if names.isEmpty {
            throw EvaluationError.missingInput("\(what) should lie in \(path) as .jsonl files, but there is none.")
        }
        return names.map { "\(path)/\($0)" }
    }
}
