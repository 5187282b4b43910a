import ArgumentParser
import Chat
import Evaluation
import LanguageModel
import Training

struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "From a base checkpoint and preference data to a better checkpoint.",
        subcommands: [TrainRecipeCommand.self, PreparePairsCommand.self, MergeAdapterCommand.self],
        defaultSubcommand: TrainRecipeCommand.self)
}

struct TrainRecipeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recipe", abstract: "Train as a recipe says; the same command goes on where it was stopped.",
        discussion: """
            A recipe is a YAML file in the field names of TRL; recipes/ has those of the SimPO paper. What a flag names \
            goes before what the recipe names. The folder that is left is what --model takes; of an adapter that is not \
            merged, what train merge takes.
            """)

    @Argument(help: "The recipe, a YAML file.") var recipe: String
    @Option(help: "The checkpoint folder to begin from.") var model: String?
    @Option(help: "The folder that the trained model goes to.") var output: String?
    @Option(parsing: .upToNextOption, help: "Files to train on: JSON Lines.") var trainFiles: [String] = []
    @Option(parsing: .upToNextOption, help: "Held-out files.") var evalFiles: [String] = []
    @OptionGroup var threading: ThreadOptions
    @Flag(help: "Read and render the data, say what would be done and what memory it takes, and stop.")
    var dryRun = false
    @Flag(help: "No progress on stderr.") var noProgress = false
    @Flag(help: "The last metrics as JSON on standard output.") var json = false
    @OptionGroup var trl: TRLOptions

    func run() async throws {
        var recipe = try Recipe(path: recipe)
        recipe.override(model: model, output: output, trainFiles: trainFiles, evalFiles: evalFiles)
        let run = try TrainingRun(recipe, threads: threading.threads, showsProgress: !noProgress)
        if dryRun { return Console.data(run.plan) }
        if trl.isTRL {
            let files = try run.handOver()
            return try trl.start(files.program, run: files.run)
        }
        Interruption.shared.arm()
        let metrics = try run.start()
        Console.data(json ? Self.object(metrics) : Self.table(metrics))
    }

    private static func object(_ metrics: [(name: String, value: Double)]) -> String {
        var object = JSONObject()
        for (name, value) in metrics { object[name] = .number(value) }
        return JSONValue.object(object).text(.indented(2)) + "\n"
    }

    private static func table(_ metrics: [(name: String, value: Double)]) -> String {
        let width = metrics.map(\.name.count).max() ?? 0
        return metrics.map { name, value in
            name + String(repeating: " ", count: width - name.count) + "  " + Self.short(value) + "\n"
        }.joined()
    }

    /// Four digits behind the point, and the whole of a number that these would hide.
    private static func short(_ value: Double) -> String {
        abs(value) < 0.01 && value != 0 ? "\(value)" : "\((value * 1e4).rounded() / 1e4)"
    }
}
