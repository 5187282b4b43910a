import ArgumentParser
import Chat
import Evaluation
import Reporting

struct StudyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "study",
        abstract: "Every objective from one fine-tuned model, compared as the SimPO paper compares.",
        discussion: """
            Makes tasks and a tokenizer, fine-tunes a small model, samples pairs from it, trains every recipe of the \
            folder from it with several seeds, and compares the models on held-out prompts by the judge "checks". What \
            is there already is kept: the same command goes on where it was stopped.
            """)

    @Option(help: "The folder of the study.") var output: String
    @Option(help: "The folder of recipes; sft.yaml is the model that the others begin from.") var recipes: String?
    @Option(parsing: .upToNextOption, help: "Only these recipes, by their files' names.") var methods: [String] = []
    @Option(parsing: .upToNextOption, help: "A model of each recipe for each of these seeds.") var seeds: [Int] = [
        1, 2, 3,
    ]
    @Option(help: "Conversations to fine-tune on.") var demonstrations = 400_000
    @Option(help: "Prompts to sample pairs for.") var sampled = 10_000
    @Flag(help: "Only write the tasks and the untrained model.") var tasksOnly = false
    @Flag(help: "The result as JSON on standard output.") var json = false

    mutating func validate() throws {
        if seeds.isEmpty || Set(seeds).count < seeds.count || seeds.contains(where: { $0 < 0 }) {
            throw ValidationError("--seeds takes different numbers of 0 or more.")
        }
        if demonstrations < 10 || sampled < 10 {
            throw ValidationError("--demonstrations and --sampled take 10 or more.")
        }
    }

    func run() async throws {
        if tasksOnly {
            try Files.makeFolder(output)
            try StarterFiles(demonstrations: demonstrations, sampled: sampled).write(to: output)
            return
        }
        Interruption.shared.arm()
        let recipes = try recipes ?? Environment.definitionsHome() + "/recipes/starter"
        let study = try Study(recipes: recipes, methods: methods, seeds: seeds, folder: output)
        try study.writeTasks(demonstrations: demonstrations, sampled: sampled)
        try study.train()
        try study.evaluate()
        let report = try StudyReport(study)
        _ = try Files.write(report.json, to: "\(output)/study.json")
        _ = try Files.write(report.page.html, to: "\(output)/study.html")
        Console.data(json ? report.json.text(.indented(2)) + "\n" : report.table)
        Console.note("report: \(output)/study.html")
    }
}
