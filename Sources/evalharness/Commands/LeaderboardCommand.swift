import ArgumentParser
import Chat
import Evaluation
import Foundation
import Reporting

struct LeaderboardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leaderboard", abstract: "Many runs in one ranking.",
        subcommands: [Build.self, Merge.self, Export.self])

    struct Build: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rank the runs of a results folder; writes leaderboard.json and leaderboard.csv.",
            discussion: """
                With --benchmark mt-bench, arena-hard or arena-hard-v2 it ranks the models of --judgments (or --battles) \
                together, as upstream does, for these scores hang together; runs of ours leave model_judgment.jsonl.
                """)

        @Argument(help: "Run folders, or folders that hold run folders; results/alpacaeval when left out.")
        var folders: [String] = []

        @Option(name: .shortAndLong, help: "The JSON to write; the CSV stands beside it.")
        var output = "leaderboard.json"

        @Flag(help: "Rank runs of different judges, baselines or data together.")
        var mixed = false

        @Flag(inversion: .prefixedNo, help: "Compare every pair of runs too.")
        var pairwise = true

        @Option(help: "The largest share of missing verdicts that a run may have.")
        var missingLimit = MissingLimit.usual

        @Flag(help: "Print JSON instead of a table.")
        var json = false

        @Option(help: "alpacaeval, mt-bench, arena-hard or arena-hard-v2.")
        var benchmark = "alpacaeval"

        @OptionGroup(title: "MT-Bench and Arena-Hard") var judgments: JudgmentOptions
        @OptionGroup(title: "MT-Bench and Arena-Hard") var style: StyleOptions

        func run() throws {
            if let benchmark = JudgmentBenchmark(rawValue: benchmark) { return try rank(benchmark) }
            let scores = try scores()
            try MissingLimit(missingLimit).check(scores.map(\.document))
            var board = try Leaderboard(scores: scores, allowMixed: mixed)
            if pairwise, !board.isMixed, scores.count > 1 { board.add(try comparisons(scores.map(\.path))) }
            try LeaderboardCommand.write(board, to: output)
            LeaderboardCommand.show(board, asJSON: json)
        }

        private func rank(_ benchmark: JudgmentBenchmark) throws {
            let board = try benchmark.board(judgments, style: style.features, resamples: 1_000, seed: nil)
            try Files.write(board.json, to: output)
            try Files.write(Array(board.csv.utf8), to: LeaderboardCommand.csv(output))
            Console.data(json ? board.json.text(.indented(2)) + "\n" : board.table.text)
            for note in board.notes { Console.note("note: \(note)") }
            Console.note("written: \(output), \(LeaderboardCommand.csv(output))")
            try MissingLimit(missingLimit).check(board)
        }

        /// Of the runs whose annotations still lie beside their scores.
        private func comparisons(_ scores: [String]) throws -> [Comparison] {
            let folders = scores.map(Files.parent(of:)).filter { Files.exists(RunDirectory(path: $0).annotations) }
            guard folders.count > 1,
                let record = try? Files.readJSON(RunDirectory(path: folders[0]).run, asked: "The record of the run"),
                let reader = try? SnapshotReader(
                    benchmark: record["benchmark"]?.string ?? "", lengthControl: true)
            else { return [] }
            let runs = try folders.map(reader.read)
            var rule = Comparison.Rule()
            rule.resamples = 1_000
            rule.permutations = 0
            rule.slices = false
            rule.lengthControl = try reader.equalizer(runs)
            return try Comparison.all(runs, rule: rule)
        }

        private func scores() throws -> [(path: String, document: JSONValue)] {
            var scores: [(path: String, document: JSONValue)] = []
            for folder in folders.isEmpty ? ["results/alpacaeval"] : folders {
                guard Files.isFolder(folder) else {
                    throw EvaluationError.missingInput(
                        "There is no folder \(folder). Name the folder of a run, or "
                            + "of many.")
                }
                let candidates = [folder] + Files.names(in: folder).map { "\(folder)/\($0)" }
                for candidate in candidates {
                    let path = RunDirectory(path: candidate).scores
                    if Files.exists(path), !scores.contains(where: { $0.path == path }) {
                        scores.append((path, try Files.readJSON(path, asked: "A score")))
                    }
                }
            }
            return scores
        }
    }

    struct Merge: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One ranking of several leaderboards of the same benchmark and judge.")

        @Argument(help: "Leaderboards that evalharness wrote.")
        var leaderboards: [String]

        @Option(name: .shortAndLong, help: "The JSON to write, the CSV beside it; nothing is written when left out.")
        var output: String?

        @Flag(help: "Merge leaderboards of different judges, baselines or data all the same.")
        var mixed = false

        @Flag(help: "Print JSON instead of a table.")
        var json = false

        func run() throws {
            let board = try Leaderboard(
                merging: leaderboards.map { ($0, try LeaderboardCommand.read($0)) }, allowMixed: mixed)
            if let output { try LeaderboardCommand.write(board, to: output) }
            LeaderboardCommand.show(board, asJSON: json)
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A leaderboard in the format of another tool, or as a page.",
            discussion: """
                alpaca-csv: alpaca_eval's leaderboard file. every-eval-ever: a record of every_eval_ever 0.3.0 a model, under \
                the folder --output. model-index: the metadata of a Hugging Face model card, of one model. html: a page.
                """)

        enum Format: String, ExpressibleByArgument, CaseIterable {
            case alpacaCSV = "alpaca-csv"
            case everyEvalEver = "every-eval-ever"
            case modelIndex = "model-index"
            case html
        }

        @Argument(help: "A leaderboard.json of evalharness.")
        var leaderboard: String

        @Option(name: .customLong("as"), help: "The format.")
        var format: Format = .alpacaCSV

        @Option(help: "model-index: the model, where the leaderboard has several.")
        var name: String?

        @Option(help: "every-eval-ever: who evaluated.")
        var organization = "unknown"

        @Option(help: "every-eval-ever: NAME=ORGANIZATION/MODEL, what an entry's model is known as; repeatable.")
        var modelID: [String] = []

        @Option(name: .shortAndLong, help: "The file or folder to write; standard output when left out.")
        var output: String?

        mutating func validate() throws { _ = try modelIDs() }

        private func modelIDs() throws -> [String: String] {
            var ids: [String: String] = [:]
            for text in modelID {
                let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2, parts[1].split(separator: "/").count > 1 else {
                    throw ValidationError("--model-id takes NAME=ORGANIZATION/MODEL, not \"\(text)\".")
                }
                ids[parts[0]] = parts[1]
            }
            return ids
        }

        func run() throws {
            let board = try LeaderboardCommand.read(leaderboard)
            switch format {
            case .alpacaCSV: try write(Array(board.csv.utf8))
            case .modelIndex: try write(Array((try ModelIndex(board, name: name).json.text(.indented(2)) + "\n").utf8))
            case .html: try write(LeaderboardPage(board).page.html)
            case .everyEvalEver:
                guard let output else {
                    throw ValidationError("every-eval-ever takes --output: records are many files under one folder.")
                }
                let records = EveryEvalEver(
                    board, judge: try judge(board), modelIDs: try modelIDs(), organization: organization,
                    retrieved: Self.now, version: Version.text
                ).records
                for (path, record) in records {
                    try Files.makeFolder(Files.parent(of: "\(output)/\(path)"))
                    try Files.write(record, to: "\(output)/\(path)")
                }
                Console.note("written: \(records.count) records under \(output)/data")
                if records.contains(where: { $0.path.contains("/unknown/") }) {
                    Console.note("note: who made a model is not known; name it with --model-id before publishing")
                }
            }
        }

        private func write(_ bytes: [UInt8]) throws {
            guard let output else { return Console.data(String(decoding: bytes, as: UTF8.self)) }
            try Files.write(bytes, to: output)
            Console.note("written: \(output)")
        }

        /// The judge's own words, where its definition is here; what is known of it otherwise.
        private func judge(_ board: Leaderboard) throws -> EveryEvalEver.Judge {
            let id = board.judge["id"]?.string ?? ""
            let parts = id.split(separator: "/", maxSplits: 1).map(String.init)
            let home = try Environment.definitionsHome()
            guard let name = parts.first, case .model(let definition)? = try? Definitions.judge(name, home: home) else {
                return EveryEvalEver.Judge(
                    model: "unknown/\(id)", template: "The template of the judge \(id) is not on this machine.",
                    temperature: nil)
            }
            let model = parts.count > 1 ? parts[1] : definition.model?.fingerprint ?? id
            var template = "The template of the judge \(name) is not on this machine."
            switch definition.template {
            case .file(let path): template = try Files.readText(path, asked: "The judge's template")
            case .dataset:
                let benchmark = try Definitions.benchmark(board.benchmark["id"]?.string ?? "", home: home)
                let cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
                if let file = try? cache.load(.template) { template = String(decoding: file.bytes, as: UTF8.self) }
            }
            let provider = model.replacing(":", with: "/")
            return EveryEvalEver.Judge(
                model: provider.contains("/") ? provider : "unknown/\(provider)", template: template,
                temperature: definition.decoding.json["temperature"]?.number)
        }

        /// Seconds since 1970.
        private static var now: String {
            Environment.value("SOURCE_DATE_EPOCH") ?? "\(Int(Date().timeIntervalSince1970))"
        }
    }

    private static func read(_ path: String) throws -> Leaderboard {
        try Leaderboard(document: try Files.readJSON(path, asked: "The leaderboard"), path: path)
    }

    /// Writes the JSON, and the CSV beside it.
    private static func write(_ board: Leaderboard, to output: String) throws {
        try Files.write(board.json, to: output)
        try Files.write(Array(board.csv.utf8), to: csv(output))
        Console.note("written: \(output), \(csv(output))")
    }

    private static func csv(_ output: String) -> String {
        output.hasSuffix(".json") ? "\(output.dropLast(5)).csv" : "\(output).csv"
    }

    private static func show(_ board: Leaderboard, asJSON: Bool) {
        Console.data(asJSON ? board.json.text(.indented(2)) + "\n" : ScoreTable(board.entries).text)
    }
}
