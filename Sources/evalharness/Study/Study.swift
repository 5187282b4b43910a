import ArgumentParser
import Chat
import Evaluation

/// The steps of a study, each a command of this program that leaves files below one folder; a step whose last file is
/// there is not done again.
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
        try fit("sft", recipe: "sft", seed: seeds[0], data: ["data/sft.jsonl"], base: "base")
        try step(
            "pairs", leaves: "data/all-pairs.jsonl",
            [
                "train", "prepare", "--model", path("models/sft"), "--prompts", path("data/to-sample.jsonl"),
                "--scorer", "judge:checks", "--temperature", "1.0", "--top-p", "1.0", "--max-tokens", "96", "--output",
                path("data/all-pairs.jsonl"), "--evidence", path("evidence.sqlite"), "--no-progress",
            ])
        try splitPairs()
        for run in runs {
            try fit(run.name, recipe: run.method, seed: run.seed, data: ["data/pairs.jsonl"], base: "models/sft")
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

    private func fit(_ name: String, recipe: String, seed: Int, data: [String], base: String) throws {
        let text = try Files.readText("\(recipes)/\(recipe).yaml", asked: "The recipe").split(
            separator: "\n", omittingEmptySubsequences: false
        ).map { $0.hasPrefix("seed:") ? "seed: \(seed)" : String($0) }.joined(separator: "\n")
        _ = try Files.write(Array(text.utf8), to: path("recipes/\(name).yaml"))
        let heldOut = recipe == "sft" ? [] : ["--eval-files", path("data/held-out-pairs.jsonl")]
        try step(
            name, leaves: "models/\(name)/config.json",
            ["train", path("recipes/\(name).yaml"), "--model", path(base), "--output", path("models/\(name)")]
                + ["--train-files"] + data.map(path) + heldOut + ["--no-progress"], isTimed: true)
    }

    // MARK: Evaluation

    /// Outputs for the held-out prompts, the verdicts on them, and the reward analysis of each model.
    func evaluate() throws {
        try outputs("sft", seed: seeds[0])
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

    /// Runs a command of this program unless the file that it leaves is there.
    ///
    /// - Parameter output: a file that takes its standard output.
    private func step(
        _ name: String, leaves file: String, _ arguments: [String], output: String? = nil, isTimed: Bool = false
    ) throws {
        if Files.exists(path(file)) { return }
        if Interruption.shared.stop.wasRaised { throw CancellationError() }
        Console.note(name)
        let log = path("logs/\(name).log")
        let partial = output.map { path("\($0).partial") }
        let end = try ChildCommand(words: [try Environment.program()] + arguments, log: log, output: partial).run()
        guard end.code == 0 else {
            Console.error("The step \(name) ended with code \(end.code); \(log) says why. The same command goes on.")
            throw ExitCode(end.code)
        }
        if let partial, let output {
            _ = try Files.write(try Files.read(partial, asked: "The output"), to: path(output))
        }
        if isTimed {
            let cost: JSONValue = [
                "seconds": .number((end.seconds * 10).rounded() / 10), "peak_mb": .integer(end.peakBytes >> 20),
            ]
            _ = try Files.write(cost, to: path("logs/\(name).cost.json"))
        }
    }
}
