import ArgumentParser
import Chat
import Evaluation
import Reporting

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Constant, gamed, leaking or duplicated outputs: works on anyone's files.",
        discussion: """
            Takes model_outputs.json or annotations.json of alpaca_eval, model_answer JSON Lines of FastChat and \
            arena-hard-auto, and the folders of runs. Exit code 3 where a flag is raised: no number made from such outputs \
            should count. Remarks change nothing. The shuffle canary needs a judge: evalharness run … --canary 0.05.
            """)

    @Argument(help: "Files of outputs, or folders of runs.")
    var outputs: [String]

    @Option(help: "The prompts, where the outputs' file has none: upstream's question.jsonl.")
    var prompts: String?

    @Option(help: "Data that the model was trained on (JSON Lines or a JSON array): are the prompts in it? Repeatable.")
    var training: [String] = []

    @Flag(help: "Print JSON instead of tables.")
    var json = false

    func run() throws {
        let prompts = try prompts.map { path in
            try PromptSet(bytes: try Files.read(path, asked: "The prompts"), path: path, isOfficial: false)
        }
        let training = try trainingText()
        var audits: [(path: String, audit: Audit)] = []
        for path in try outputs.flatMap(files) {
            let read = try AuditedOutput.read(
                try Files.read(path, asked: "The outputs"), path: path, prompts: prompts)
            audits.append((path, Audit(read, training: training)))
        }
        Console.data(json ? AuditReport.json(audits).text(.indented(2)) + "\n" : AuditReport(audits).table.text)
        let flagged = audits.filter { !$0.audit.flags.isEmpty }
        if let first = flagged.first {
            throw EvaluationError.integrity(
                "\(flagged.count) of \(audits.count) audited files are flagged: \(first.path) shows \(first.audit.flags[0]). A number made from "
                    + "these outputs measures something else than following instructions.")
        }
    }

    private func trainingText() throws -> TrainingText? {
        if training.isEmpty { return nil }
        var text = TrainingText()
        for path in training { try text.add(try Files.read(path, asked: "The training data"), path: path) }
        return text
    }

    /// A run's outputs, or those that alpaca_eval leaves in a folder.
    private func files(_ path: String) throws -> [String] {
        guard Files.isFolder(path) else { return [path] }
        let directory = RunDirectory(path: path)
        guard let file = [directory.modelOutputs, directory.modelAnswer].first(where: Files.exists) else {
            throw EvaluationError.missingInput(
                "\(path) holds no outputs: neither model_outputs.json nor model_answer.jsonl. Name the file itself.")
        }
        return [file]
    }
}
