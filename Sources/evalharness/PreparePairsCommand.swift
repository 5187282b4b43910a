import ArgumentParser
import Chat
import Endpoints
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
    @Option(help: "exec:PROGRAM, which answers a request's messages, the last of them the output, with a number.")
    var scorer: String
    @Option(help: "The file of pairs, JSON Lines.") var output: String
    @Option(parsing: .upToNextOption, help: "A sample for each of these seeds.") var seeds: [UInt64] = [
        13, 21, 42, 79, 100,
    ]
    @Option(help: "0 is greedy.") var temperature = 0.8
    @Option(help: "Keep the most likely tokens that make up this probability.") var topP = 0.95
    @Option(help: "The longest output, in tokens.") var maxTokens = 2_048
    @Option(help: "Outputs in the making at once.") var concurrency: Int?
    @Option(help: "The evidence store; XDG_STATE_HOME/evalharness/evidence.sqlite when left out.") var evidence: String?
    @Flag(help: "No progress on stderr.") var noProgress = false
    @OptionGroup var engine: EngineOptions

    mutating func validate() throws {
        if Set(seeds).count < 2 || Set(seeds).count < seeds.count {
            throw ValidationError("--seeds takes two or more different numbers.")
        }
        if !(temperature > 0 && temperature <= 100) { throw ValidationError("--temperature takes more than 0.") }
        if !(topP > 0 && topP <= 1) { throw ValidationError("--top-p takes more than 0, up to 1.") }
        if maxTokens < 1 { throw ValidationError("--max-tokens takes 1 or more.") }
    }

    func run() async throws {
        guard case .local(let folder) = try ModelSource(model), case .exec(let program) = try ModelSource(scorer) else {
            throw EvaluationError.configuration(
                "prepare samples from a checkpoint folder (--model) and scores with a program (--scorer exec:PROGRAM).")
        }
        let prompts = try OnPolicyPairs.prompts(file: prompts)
        let path = evidence ?? Environment.stateHome + "/evalharness/evidence.sqlite"
        if evidence == nil { try Files.makeFolder(Files.parent(of: path)) }
        let store = try EvidenceStore(path: path)
        Interruption.shared.arm()
        let local = try engine.open(folder, concurrency: concurrency)
        let outputs = try await ask(
            local, store, "Sampling",
            prompts.flatMap { prompt in
                seeds.enumerated().map { index, seed in
                    ChatRequest(
                        messages: prompt.messages,
                        decoding: .sampling(temperature: temperature, topK: nil, topP: topP, minP: nil),
                        maxTokens: maxTokens, seed: seed, sample: index)
                }
            })
        let judge = try ExecChatModel(program: program)
        let scores = try await ask(
            judge, store, "Scoring",
            outputs.enumerated().map { index, output in
                ChatRequest(
                    messages: prompts[index / seeds.count].messages + [Message(role: .assistant, content: output)],
                    decoding: .greedy, maxTokens: 16)
            })
        let candidates = try prompts.indices.map { place in
            let range = place * seeds.count..<(place + 1) * seeds.count
            return OnPolicyPairs.Candidates(
                prompt: prompts[place], outputs: Array(outputs[range]), scores: try scores[range].map(number))
        }
        let pairs = OnPolicyPairs(candidates)
        _ = try Files.write(Array(pairs.lines.utf8), to: output)
        Console.note(pairs.summary)
    }

    /// Every answer, in the order of the requests.
    private func ask(
        _ model: any ChatModel, _ store: EvidenceStore, _ label: String, _ requests: [ChatRequest]
    ) async throws -> [String] {
        let stop = Interruption.shared.stop
        let recorded = RecordingChatModel(model, store: store, isStopping: { stop.wasRaised })
        let bar = ProgressBar(label, total: requests.count, isEnabled: !noProgress)
        return try await mapConcurrently(
            requests, width: recorded.maxConcurrentRequests, stop: stop, progress: bar.update
        ) { try await recorded.complete($0).text }
    }

    private func number(_ text: String) throws -> Double {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let value = Double(words[0]), value.isFinite else {
            throw EvaluationError.badData(
                "The scorer answered \"\(text.prefix(60))\", and a number is expected. Mend the program, and run the "
                    + "same command again: the samples are kept.")
        }
        return value
    }
}
