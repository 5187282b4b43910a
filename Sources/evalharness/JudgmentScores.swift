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
    ///   - resamples: of our own intervals.
    ///   - seed: of upstream's, as NumPy takes it.
    func board(_ options: JudgmentOptions, resamples: Int, seed: UInt64?) throws -> JudgmentBoard {
        switch self {
        case .mtBench: try mtBench(options, resamples, seed ?? 0)
        case .arenaHard: try arenaHard(options, resamples, seed)
        case .arenaHardV2: try arenaHardV2(options, resamples, seed)
        }
    }

    private func mtBench(_ options: JudgmentOptions, _ resamples: Int, _ seed: UInt64) throws -> JudgmentBoard {
        let id: JSONObject = ["id": .string(rawValue), "mode": .string(options.mode.rawValue)]
        let models = Set(options.modelList)
        let files = try paths(options).map { (path: $0, bytes: try Files.read($0, asked: "The judgments")) }
        if options.mode == .single {
            let grades = try files.flatMap { try MTBenchAnnotation.read($0.bytes, path: $0.path) }
            let score = MTBenchScore(
                grades.filter { models.isEmpty || models.contains($0.model) }, resamples: resamples, seed: seed)
            return JudgmentBoard(score, benchmark: id)
        }
        let pairs = try files.flatMap { try MTBenchPair.read($0.bytes, path: $0.path) }
        let baseline = options.mode == .pairwiseAll ? nil : options.baseline ?? "gpt-3.5-turbo"
        let score = MTBenchPairScore(
            pairs.filter { models.isEmpty || models.contains($0.first) }, baseline: baseline, resamples: resamples,
            seed: seed)
        if score.entries.isEmpty, let baseline {
            throw EvaluationError.badData(
                "No game with a verdict is against \(baseline). Name another model with --baseline, or take --mode "
                    + "pairwise-all.")
        }
        return JudgmentBoard(score, benchmark: id, baseline: baseline)
    }

    private func arenaHard(_ options: JudgmentOptions, _ resamples: Int, _ seed: UInt64?) throws -> JudgmentBoard {
        var baseline = options.baseline ?? "gpt-4-0314"
        let battles: ArenaBattles
        var panel: ArenaPanel?
        if let path = options.battles {
            battles = try ArenaBattles(try Files.read(path, asked: "The battles"), path: path)
        } else {
            let judgments = try arenaJudgments(options)
            baseline = try agreed(judgments, options.baseline) ?? baseline
            panel = ArenaPanel(judgments, version: .v01)
            battles = ArenaBattles(
                judgments, baseline: baseline, weight: options.weight, firstGameOnly: options.firstGameOnly)
        }
        var rule = ArenaScore.Rule(baseline: baseline)
        rule.features = features(options)
        rule.rounds = options.numRounds
        rule.resamples = resamples
        if let seed { rule.seed = UInt32(truncatingIfNeeded: seed) }
        let score = try ArenaScore.v01(battles, answers: try answers(options), rule: rule)
        return JudgmentBoard(score, panel: panel, benchmark: ["id": .string(rawValue), "version": "0.1"], level: 95)
    }

    private func arenaHardV2(_ options: JudgmentOptions, _ resamples: Int, _ seed: UInt64?) throws -> JudgmentBoard {
        if options.firstGameOnly || options.battles != nil {
            throw EvaluationError.configuration("--first-game-only and --battles are for arena-hard (v0.1).")
        }
        var rule = ArenaScore.RuleV2(category: options.category, baseline: options.baseline)
        rule.features = features(options)
        rule.weight = options.weight
        rule.rounds = options.numRounds
        rule.resamples = resamples
        if let seed { rule.seed = UInt32(truncatingIfNeeded: seed) }
        let judgments = try arenaJudgments(options)
        let score = try ArenaScore.v2(judgments, answers: try answers(options), rule: rule)
        return JudgmentBoard(
            score, panel: ArenaPanel(judgments.filter { $0.category == options.category }, version: .v2),
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

    private func features(_ options: JudgmentOptions) -> StyleFeatures {
        if options.styleControl { return [.length, .markdown] }
        return options.lengthControlOnly ? .length : options.markdownControlOnly ? .markdown : []
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

    private func answers(_ options: JudgmentOptions) throws -> [ArenaOutputs] {
        guard let folder = options.answers else {
            if features(options).isEmpty { return [] }
            throw EvaluationError.configuration(
                "Style control needs the answers' token and markdown counts: name their folder with --answers.")
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
