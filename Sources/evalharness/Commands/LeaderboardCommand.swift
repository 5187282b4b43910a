import ArgumentParser
import Chat
import Evaluation
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

        @Option(help: "The largest share of missing verdicts that a run may have.")
        var missingLimit: Double = 0.05

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
            let board = try Leaderboard(scores: scores, allowMixed: mixed)
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

        @Flag(help: "Print JSON instead of a table.")
        var json = false

        func run() throws {
            let board = try Leaderboard(merging: leaderboards.map { ($0, try LeaderboardCommand.read($0)) })
            if let output { try LeaderboardCommand.write(board, to: output) }
            LeaderboardCommand.show(board, asJSON: json)
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "A leaderboard in the format of another tool.")

        enum Format: String, ExpressibleByArgument, CaseIterable { case alpacaCSV = "alpaca-csv" }

        @Argument(help: "A leaderboard.json of evalharness.")
        var leaderboard: String

        @Option(name: .customLong("as"), help: "alpaca-csv: alpaca_eval's leaderboard file.")
        var format: Format = .alpacaCSV

        @Option(name: .shortAndLong, help: "The file to write; standard output when left out.")
        var output: String?

        func run() throws {
            let board = try LeaderboardCommand.read(leaderboard)
            switch format {
            case .alpacaCSV:
                guard let output else { return Console.data(board.csv) }
                try Files.write(Array(board.csv.utf8), to: output)
            }
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
