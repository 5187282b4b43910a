import ArgumentParser
import Chat
import Evaluation

/// The steps of a study, each a command of this program that leaves files below one folder; a step that has ended is not
/// done again.
struct Study {
    /// A recipe with a seed.
    struct Run: Hashable {
        var method: String
        var seed: Int

        var name: String { "\(method)-\(seed)" }
    }

    let folder: String
    let methods: [String]
    let seeds: [Int]
    private let recipes: String

    /// What each model is compared to.
    static let opponents = ["sft", "dpo"]

    init(recipes: String, methods: [String], seeds: [Int], folder: String) throws {
        self.recipes = recipes
        self.seeds = seeds
        self.folder = folder
        guard Files.isFolder(recipes), Files.exists("\(recipes)/sft.yaml") else {
            throw EvaluationError.missingInput(
                "\(recipes) has no sft.yaml: name a folder of recipes with --recipes, such as recipes/starter.")
        }
        let known = Files.names(in: recipes).filter { $0.hasSuffix(".yaml") && $0 != "sft.yaml" }.map {
            String($0.dropLast(".yaml".count))
        }.sorted()
        if let stranger = methods.first(where: { !known.contains($0) }) {
            throw EvaluationError.configuration(
                "There is no recipe \(recipes)/\(stranger).yaml; known are \(known.joined(separator: ", ")).")
        }
        self.methods = methods.isEmpty ? known : methods
        for name in ["data", "models", "logs", "recipes", "analysis"] { try Files.makeFolder("\(folder)/\(name)") }
    }

    var runs: [Run] { methods.flatMap { method in seeds.map { Run(method: method, seed: $0) } } }

    /// In a process of its own: what this one holds would count as memory of the processes that it starts.
    func writeTasks(demonstrations: Int, sampled: Int) throws {
        try step(
            "tasks", leaves: "base/config.json",
            [
                "study", "--tasks-only", "--output", folder, "--demonstrations", "\(demonstrations)", "--sampled",
                "\(sampled)",
            ])
    }

    // MARK: Training

    /// The fine-tuned model, its pairs, and every model from them.
    func train() throws {
        try fit("sft", recipe: try recipe("sft"), data: "sft", base: "base")
        try step(
            "pairs", leaves: "data/all-pairs.jsonl",
            [
                "train", "prepare", "--model", path("models/sft"), "--prompts", path("data/to-sample.jsonl"),
                "--scorer", "judge:checks", "--temperature", "1.0", "--top-p", "1.0", "--max-tokens", "96", "--output",
                path("data/all-pairs.jsonl"), "--evidence", path("evidence.sqlite"), "--no-progress",
            ])
        try splitPairs()
        for run in runs {
            try fit(run.name, recipe: try recipe(run.method, seed: run.seed), data: "pairs", base: "models/sft")
        }
    }

    /// Every tenth pair is held out.
    private func splitPairs() throws {
        let all = try JSONValue.parseLines(try Files.read(path("data/all-pairs.jsonl"), asked: "The pairs"))
        for (name, isHeldOut) in [("pairs", false), ("held-out-pairs", true)] {
            let lines = all.enumerated().filter { ($0.offset % 10 == 9) == isHeldOut }
            let text = lines.map { $0.element.text() + "\n" }.joined()
            _ = try Files.write(Array(text.utf8), to: path("data/\(name).jsonl"))
        }
    }

    /// - Parameter seed: in place of the recipe's own.
    private func recipe(_ method: String, seed: Int? = nil) throws -> String {
        let text = try Files.readText("\(recipes)/\(method).yaml", asked: "The recipe")
        guard let seed else { return text }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("seed:") }
        return (lines.filter { !$0.isEmpty } + ["seed: \(seed)"]).joined(separator: "\n") + "\n"
    }

    private func fit(_ name: String, recipe: String, data: String, base: String) throws {
        let heldOut = data == "pairs" ? ["--eval-files", path("data/held-out-pairs.jsonl")] : []
        try step(
            name, leaves: "models/\(name)/config.json",
            ["train", path("recipes/\(name).yaml"), "--model", path(base), "--output", path("models/\(name)")]
                + ["--train-files", path("data/\(data).jsonl")] + heldOut + ["--no-progress"],
            input: (file: "recipes/\(name).yaml", text: recipe))
    }

    // MARK: Evaluation

    /// Outputs for the held-out prompts, the verdicts on them, and the reward analysis of each model.
    func evaluate() throws {
        try outputs("sft", seed: 1)
        for run in runs { try outputs(run.name, seed: run.seed) }
        for run in runs {
            try judge(run.name, against: "sft", opponent: "sft")
            if run.method != "dpo", methods.contains("dpo") {
                try judge(run.name, against: "dpo", opponent: Run(method: "dpo", seed: run.seed).name)
            }
            try step(
                "analysis-\(run.name)", leaves: "analysis/\(run.name).json",
                [
                    "analyze", path("recipes/\(run.name).yaml"), "--model", path("models/\(run.name)"), "--reference",
                    path("models/sft"), "--eval-files", path("data/held-out-pairs.jsonl"), "--json",
                ], output: "analysis/\(run.name).json")
        }
    }

    /// The fine-tuned model answers once: every other one is compared to the same outputs.
    private func outputs(_ name: String, seed: Int) throws {
        try step(
            "outputs-\(name)", leaves: "outputs/alpacaeval/\(name)/model_outputs.json",
            [
                "generate", "alpacaeval", "--prompts", path("data/alpacaeval.jsonl"), "--model", path("models/\(name)"),
                "--name", name, "--seed", "\(seed)", "--max-tokens", "96", "--dtype", "f32", "--results-dir",
                path("outputs"), "--evidence", path("evidence.sqlite"), "--no-progress",
            ])
    }

    private func judge(_ name: String, against folder: String, opponent: String) throws {
        func outputs(_ name: String) -> String { "outputs:" + path("outputs/alpacaeval/\(name)/model_outputs.json") }
        try step(
            "against-\(folder)-\(name)", leaves: "against-\(folder)/alpacaeval/\(name)/scores.json",
            [
                "judge", "alpacaeval", "--prompts", path("data/alpacaeval.jsonl"), "--model", outputs(name),
                "--baseline",
                outputs(opponent), "--judge", "checks", "--name", name, "--results-dir", path("against-\(folder)"),
                "--evidence", path("evidence.sqlite"), "--no-progress",
            ])
    }

    // MARK: Steps

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// Runs a command of this program, unless it ran with the same words and the file that it leaves is there.
    ///
    /// - Parameters:
    ///   - input: a file that is written before.
    ///   - output: a file that takes its standard output.
    /// - Throws: `configuration` where the step ended before with other words or another input.
    private func step(
        _ name: String, leaves file: String, _ arguments: [String], input: (file: String, text: String)? = nil,
        output: String? = nil
    ) throws {
        var record: JSONObject = ["command": .array(arguments.map { .string(words($0)) })]
        if let input { record["input_sha256"] = .string(Digest.sha256(input.text)) }
        let recordPath = path("logs/\(name).json")
        if Files.exists(path(file)), Files.exists(recordPath) {
            let known = try Files.readJSON(recordPath, asked: "The step's record")
            guard record.members.allSatisfy({ known[$0.key] == $0.value }) else {
                throw EvaluationError.configuration(
                    "The step \(name) of the study in \(folder) was done with other settings (\(recordPath)). Name "
                        + "another folder with --output, or go on with the settings of before.")
            }
            return
        }
        if Interruption.shared.stop.wasRaised { throw CancellationError() }
        Console.note(name)
        if let input { try Files.write(Array(input.text.utf8), to: path(input.file)) }
        let log = path("logs/\(name).log")
        let program = [try Environment.program()]
        let end = try ChildCommand(words: program + arguments, log: log, output: output.map(path)).run()
        guard end.code == 0 else {
            Console.error("The step \(name) ended with code \(end.code); \(log) says why. The same command goes on.")
            throw ExitCode(end.code)
        }
        record["seconds"] = .number((end.seconds * 10).rounded() / 10)
        record["peak_mb"] = .integer(end.peakBytes >> 20)
        try Files.write(.object(record), to: recordPath)
    }

    /// Without the folder, which may be called otherwise the next time.
    private func words(_ argument: String) -> String {
        argument.replacing(folder + "/", with: "").replacing(folder, with: ".")
    }
}
