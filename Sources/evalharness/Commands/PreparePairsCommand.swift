import ArgumentParser
import Chat
import Evaluation
import Evidence
import Training

struct PreparePairsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "On-policy pairs: sample several outputs a prompt, keep the best and the worst.",
        discussion: """
            As the SimPO paper made its data: the prompts, sorted and each once; one sample for each seed; a scorer ranks \
            them; the first of the best is chosen, the first of the worst rejected. Prompts whose samples are all the \
            same, or all equally good, make no pair, and are counted. Samples and scores are evidence: the same command \
            goes on where it was stopped, and asks nothing twice.
            """)

    @Option(help: "The checkpoint that is to be trained: a folder.") var model: String
    @Option(help: "JSON Lines with \"prompt\", a text or a list of messages.") var prompts: String
    @Option(
        help:
            "What ranks them: exec:PROGRAM, which answers messages, the last of them the output, with a number; or judge:NAME, which compares each two."
    )
    var scorer: String
    @Option(help: "The file of pairs, JSON Lines.") var output: String
    @Option(parsing: .upToNextOption, help: "A sample for each of these seeds.") var seeds: [UInt64] = [
        13, 21, 42, 79, 100,
    ]
    @Option(help: "Above 0.") var temperature = 0.8
    @Option(help: "Keep the most likely tokens that make up this probability.") var topP = 0.95
    @Option(help: "The longest output, in tokens.") var maxTokens = 4_096
    @OptionGroup var asking: AskingOptions

    mutating func validate() throws {
        if Set(seeds).count < 2 || Set(seeds).count < seeds.count {
            throw ValidationError("--seeds takes two or more different numbers.")
        }
        if !(temperature > 0 && temperature <= 100) { throw ValidationError("--temperature takes more than 0.") }
        if !(topP > 0 && topP <= 1) { throw ValidationError("--top-p takes more than 0, up to 1.") }
        if maxTokens < 1 { throw ValidationError("--max-tokens takes 1 or more.") }
    }

    func run() async throws {
        guard case .local(let folder) = try ModelSource(model) else {
            throw EvaluationError.configuration("--model \(model): prepare samples from a checkpoint's folder.")
        }
        let prompts = try OnPolicyPairs.prompts(file: prompts)
        let store = try asking.openStore()
        let scorer = try await OutputScorer.open(scorer, store: store, options: asking)
        if asking.dryRun {
            let plan: JSONObject = [
                "samples": .integer(prompts.count * seeds.count),
                "scorer_calls_at_most": .integer(prompts.count * scorer.requestsAtMost(seeds.count)),
            ]
            Console.data(JSONValue.object(plan).text(.indented(2)) + "\n")
            return
        }
        Interruption.shared.arm()
        let sampled = try await samples(prompts, folder, store)
        let complete = sampled.compactMap { prompt, outputs in outputs.map { (prompt: prompt, outputs: $0) } }
        let scores = try await scorer.scores(complete) { bar("Scoring", $0) }
        let candidates = zip(complete, scores).map { sample, scores in
            OnPolicyPairs.Candidates(prompt: sample.prompt, outputs: sample.outputs, scores: scores)
        }
        let withoutOutputs = sampled.filter { $0.outputs == nil }.map {
            OnPolicyPairs.Candidates(prompt: $0.prompt, outputs: [], scores: nil)
        }
        let pairs = OnPolicyPairs(candidates + withoutOutputs)
        guard !pairs.pairs.isEmpty else {
            throw EvaluationError.badData("No prompt makes a pair, and \(output) is not written: \(pairs.summary)")
        }
        _ = try Files.write(Array(pairs.lines.utf8), to: output)
        Console.note(pairs.summary)
    }

    /// Each prompt's outputs, in the order of the seeds; nil where one of them failed.
    private func samples(
        _ prompts: [OnPolicyPairs.Prompt], _ folder: String, _ store: EvidenceStore
    ) async throws -> [(prompt: OnPolicyPairs.Prompt, outputs: [String]?)] {
        let local = try asking.engine.open(folder, concurrency: asking.concurrency)
        let requests = prompts.flatMap { prompt in
            seeds.enumerated().map { index, seed in
                ChatRequest(
                    messages: prompt.messages,
                    decoding: .sampling(temperature: temperature, topK: nil, topP: topP, minP: nil),
                    maxTokens: maxTokens, seed: seed, sample: index)
            }
        }
        let answers = try await OpenModel.recorded(local, store: store, options: asking).answers(
            to: requests, progress: bar("Sampling", requests.count))
        return prompts.enumerated().map { place, prompt in
            let outputs = answers[place * seeds.count..<(place + 1) * seeds.count]
            return (prompt, outputs.contains(nil) ? nil : outputs.compactMap { $0 })
        }
    }

    private func bar(_ label: String, _ total: Int) -> ProgressBar {
        ProgressBar(label, total: total, isEnabled: !asking.noProgress)
    }
}
