import ArgumentParser
import Chat
import Glibc

@main
struct Evalharness: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evalharness",
        abstract: "Which of these models follows instructions better, and are we sure?",
        version: Version.text,
        subcommands: [
            RunCommand.self, GenerateCommand.self, JudgeCommand.self, ScoreCommand.self, CompareCommand.self,
            GateCommand.self, AuditCommand.self,
            LeaderboardCommand.self, ReportCommand.self, EstimateCommand.self,
            DatasetCommand.self, JudgesCommand.self, ModelsCommand.self, EvidenceCommand.self, ServeCommand.self,
            TrainCommand.self, AnalyzeCommand.self, StudyCommand.self, DoctorCommand.self,
        ])

    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            let exit = Exit(error)
            guard let code = exit.code else { Self.exit(withError: error) }
            Console.error(exit.sentence)
            Glibc.exit(code)
        }
    }
}

enum Version {
    static let text = "0.1.0"
    /// What annotations carry as their version.
    static let annotation = "evalharness==\(text)"
}
