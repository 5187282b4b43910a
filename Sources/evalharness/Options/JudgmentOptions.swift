import ArgumentParser
import Evaluation

/// Judgments of MT-Bench and Arena-Hard made elsewhere, and how their own scripts would score them.
struct JudgmentOptions: ParsableArguments {
    @Option(
        parsing: .upToNextOption,
        help: "Files of judgments, or folders of them (model_judgment/<judge>); of several judges, all count.")
    var judgments: [String] = []

    @Option(help: "The folder of the outputs, model_answer: for their lengths, and for style control.")
    var answers: String?

    @Option(help: "Arena-Hard v0.1: an arena_hard_battles.jsonl instead of --judgments.")
    var battles: String?

    @Option(help: "The model that the others are scored against.")
    var baseline: String?

    @Option(help: "Arena-Hard: how often a strong verdict counts.")
    var weight = 3

    @Option(help: "Arena-Hard: resamples of the official interval.")
    var numRounds = 100

    @Flag(help: "Arena-Hard v0.1: leave the second games out.")
    var firstGameOnly = false

    @Option(help: "Arena-Hard v2.0: hard_prompt, creative_writing, or any category of the judgments.")
    var category = "hard_prompt"

    @Option(help: "MT-Bench: single, pairwise-baseline or pairwise-all.")
    var mode: MTBenchJudge.Mode = .single

    @Option(parsing: .upToNextOption, help: "MT-Bench: only these models.")
    var modelList: [String] = []

    mutating func validate() throws {
        if !(1...100).contains(weight) { throw ValidationError("--weight takes 1 to 100.") }
        if !(1...100_000).contains(numRounds) { throw ValidationError("--num-rounds takes 1 to 100000.") }
        if battles != nil, !judgments.isEmpty || firstGameOnly {
            throw ValidationError("--battles stands in place of --judgments, and has its games and weights in it.")
        }
    }
}
