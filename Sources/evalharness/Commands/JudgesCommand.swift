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
                let who =
                    switch judge {
                    case .model(let definition): definition.model.map { "\($0)" } ?? "needs --judge-model"
                    case .checks: "this program"
                    }
                Console.data("\(name)  \(judge.title)  (\(who))\n")
            }
        }
    }
}
