import ArgumentParser
import Evaluation

struct JudgesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "judges", abstract: "The judges that are defined here.", subcommands: [List.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Every judge, and who answers for it.")

        func run() throws {
            let home = try Environment.definitionsHome()
            for name in Files.names(in: "\(home)/judges") where Files.exists("\(home)/judges/\(name)/judge.yaml") {
                let judge = try Definitions.judge(name, home: home)
                Console.data("\(name)  \(judge.title)  (\(judge.model.map { "\($0)" } ?? "needs --judge-model"))\n")
            }
        }
    }
}
