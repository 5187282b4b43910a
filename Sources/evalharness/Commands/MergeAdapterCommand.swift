import ArgumentParser
import Evaluation
import LanguageModel
import Training

struct MergeAdapterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge",
        abstract: "An adapter in PEFT's format and its base to one checkpoint, which --model takes.")

    @Argument(help: "The adapter's folder.") var adapter: String
    @Option(help: "The checkpoint that it belongs to; the one that the adapter names when left out.") var model: String?
    @Option(help: "The folder that the merged model goes to.") var output: String
    @OptionGroup var threading: ThreadOptions

    func run() throws {
        let named = try LoRAAdapterFile.base(of: adapter)
        guard let base = model ?? named else {
            throw EvaluationError.configuration("\(adapter) names no base. Name its folder with --model.")
        }
        guard Files.isFolder(base) else {
            throw EvaluationError.missingInput(
                "There is no checkpoint folder \(base), which \(adapter) belongs to. Name it with --model.")
        }
        try ModelFolder.check(output, takes: .model, inputs: [base, adapter])
        let checkpoint = try Checkpoint(folder: base)
        let file = try LoRAAdapterFile(folder: adapter, for: checkpoint.configuration)
        let weights = try ParameterStore(checkpoint, isTrained: false)
        file.settings.merge(file.store, into: weights, pool: ThreadPool(threadCount: threading.threads))
        let card = BaseCard(folder: base).frontMatter(isAdapter: false, tags: ["evalharness"])
        let names = "\(Files.name(of: base)) with the adapter \(Files.name(of: adapter))"
        try ModelFolder(path: output, base: base).write(
            weights, as: checkpoint.storedDataType == .bf16 ? .bf16 : .f32, storedNames: checkpoint.storedNames,
            endTokens: checkpoint.generationEndTokens, card: "\(card)\n\n# \(names)\n\nMerged by evalharness.\n")
        Console.data("\(output)\n")
    }
}

extension Checkpoint {
    /// What the file calls a tensor, by its name here.
    var storedNames: [String: String] { tensors.mapValues(\.name) }
}
