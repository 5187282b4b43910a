import ArgumentParser
import Chat
import Evaluation
import Reporting

struct LeaderboardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leaderboard", abstract: "Many runs in one ranking.", subcommands: [Build.self, Export.self])

    struct Build: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rank the runs of a results folder; writes leaderboard.json and leaderboard.csv.")

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

        func run() throws {
            let scores = try scores()
            try MissingLimit(missingLimit).check(scores.map(\.document))
            let board = try Leaderboard(scores: scores, allowMixed: mixed)
            try Files.write(board.json, to: output)
            try Files.write(Array(board.csv.utf8), to: csvPath)
            Console.data(json ? board.json.text(.indented(2)) + "\n" : ScoreTable(board.entries).text)
            Console.note("written: \(output), \(csvPath)")
        }

        private var csvPath: String { output.hasSuffix(".json") ? "\(output.dropLast(5)).csv" : "\(output).csv" }

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
            let board = try Leaderboard(
                document: try Files.readJSON(
                    leaderboard,
                    asked: "The "
                        + "leaderboard"), path: leaderboard)
            switch format {
            case .alpacaCSV:
                guard let output else { return Console.data(board.csv) }
                try Files.write(Array(board.csv.utf8), to: output)
            }
        }
    }
}
