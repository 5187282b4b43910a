import Chat
import Endpoints
import Evaluation
import Evidence
import Training

/// What ranks the outputs of a prompt: a program that gives each a number, the prompt's own checks, or a judge of pairs.
enum OutputScorer {
    /// `exec:PROGRAM`, asked through evidence.
    case program(any ChatModel)
    case judge(OpenJudge)
    case checks(ChecksJudge)

    /// - Parameter text: `exec:PROGRAM`, or `judge:NAME` with the name or the path of a judge's folder.
    static func open(_ text: String, store: EvidenceStore, options: AskingOptions) async throws -> OutputScorer {
        if text.hasPrefix("judge:") {
            let name = String(text.dropFirst("judge:".count))
            switch try Definitions.judge(name, home: try Environment.definitionsHome()) {
            case .model(let definition):
                return .judge(
                    try await OpenJudge(
                        definition, store: store, options: options, budget: Budget(limit: options.maxCost)))
            case .checks(let judge): return .checks(judge)
            }
        }
        guard text.hasPrefix("exec:"), case .exec(let program) = try ModelSource(text) else {
            throw EvaluationError.configuration(
                "--scorer \(text): exec:PROGRAM gives each output a number, judge:NAME compares them; name one of them."
            )
        }
        let opened = try ExecChatModel(program: program, maxConcurrentRequests: options.concurrency ?? 4)
        return .program(OpenModel.recorded(ScoringProgram(program: opened), store: store, options: options))
    }

    /// The most requests that ranking `count` outputs takes.
    func requestsAtMost(_ count: Int) -> Int {
        switch self {
        case .program: count
        case .checks: 0
        case .judge(let open):
            count * (count - 1) / 2 * open.judge.definition.order.orders(instruction: "").count
        }
    }

    /// Scores for the outputs of each prompt, the higher the better; nil where one of them could not be scored.
    func scores(
        _ sampled: [(prompt: OnPolicyPairs.Prompt, outputs: [String])], progress: (_ total: Int) -> ProgressBar
    ) async throws -> [[Double]?] {
        switch self {
        case .program(let model): try await numbers(sampled, model, progress)
        case .checks(let judge): try qualities(sampled, judge)
        case .judge(let open): try await preferences(sampled, open, progress)
        }
    }

    private func numbers(
        _ sampled: [(prompt: OnPolicyPairs.Prompt, outputs: [String])], _ model: any ChatModel,
        _ progress: (Int) -> ProgressBar
    ) async throws -> [[Double]?] {
        let requests = sampled.flatMap { prompt, outputs in
            outputs.map { output in
                ChatRequest(
                    messages: prompt.messages + [Message(role: .assistant, content: output)], decoding: .greedy,
                    maxTokens: 16)
            }
        }
        let answers = try await model.answers(to: requests, progress: progress(requests.count))
        var rest = answers[...]
        return try sampled.map { _, outputs in
            defer { rest = rest.dropFirst(outputs.count) }
            let own = rest.prefix(outputs.count)
            let scores = own.compactMap { $0.flatMap(ScoringProgram.number) }
            return scores.count == outputs.count ? scores : nil
        }
    }

    private func qualities(
        _ sampled: [(prompt: OnPolicyPairs.Prompt, outputs: [String])], _ judge: ChecksJudge
    ) throws -> [[Double]] {
        try sampled.map { prompt, outputs in
            guard let value = prompt.checks else {
                throw EvaluationError.configuration(
                    "The judge \(judge.id) needs prompts with checks, and \"\(prompt.messages.last?.content ?? "")\" has "
                        + "none. Write \"checks\" into its record, or name another scorer.")
            }
            return outputs.map(
                try CheckList(value, place: "The prompt \"\(prompt.messages.last?.content ?? "")\"").quality)
        }
    }

    private func preferences(
        _ sampled: [(prompt: OnPolicyPairs.Prompt, outputs: [String])], _ open: OpenJudge,
        _ progress: (Int) -> ProgressBar
    ) async throws -> [[Double]?] {
        let rounds = try sampled.enumerated().map { index, sample in
            guard let instruction = sample.prompt.text else {
                throw EvaluationError.badData(
                    "A prompt is a conversation (\"\(sample.prompt.messages.last?.content.prefix(60) ?? "")\"), and a "
                        + "judge compares answers to one instruction. Score conversations with exec:PROGRAM.")
            }
            return RoundRobin(prompt: Prompt(index: index, instruction: instruction), outputs: sample.outputs)
        }
        let pairs = rounds.flatMap(\.pairs)
        let bar = progress(pairs.count)
        let annotations = try await Stages.annotate(
            pairs, judge: open.judge, stop: Interruption.shared.stop, progress: bar.update)
        if let spent = await open.spending?.spent, spent > 0 {
            Console.note("The judge's answers cost $\((spent * 10_000).rounded() / 10_000).")
        }
        for case .missing(let reason) in annotations.map(\.verdict).prefix(3) {
            Console.note("A comparison has no verdict: \(reason.detail)")
        }
        var rest = annotations[...]
        return rounds.map { round in
            defer { rest = rest.dropFirst(round.pairs.count) }
            return round.scores(Array(rest.prefix(round.pairs.count)))
        }
    }
}

/// A program whose answers are numbers. Another answer is a request that failed: it is not kept, and asked again.
private struct ScoringProgram: ChatModel {
    let program: ExecChatModel

    var name: String { program.name }
    var fingerprint: String { program.fingerprint }
    var maxConcurrentRequests: Int { program.maxConcurrentRequests }

    func complete(_ request: ChatRequest) async throws -> Completion {
        let completion = try await program.complete(request)
        guard ScoringProgram.number(completion.text) != nil else {
            throw ModelFailure.requestFailed(
                "the scorer answered \"\(completion.text.prefix(60))\", and a number is expected. Mend the program, and "
                    + "run the same command again: samples and numbers are kept.")
        }
        return completion
    }

    static func number(_ text: String) -> Double? {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let value = Double(words[0]), value.isFinite else { return nil }
        return value
    }
}

extension ChatModel {
    /// Every answer, in the order of the requests; nil for a request that failed for good, or was refused.
    ///
    /// - Throws: a `ModelFailure` that concerns every request, or `Interrupted`.
    func answers(to requests: [ChatRequest], progress: ProgressBar) async throws -> [String?] {
        try await mapConcurrently(
            requests, width: maxConcurrentRequests, stop: Interruption.shared.stop, progress: progress.update
        ) { request -> String? in
            do {
                let completion = try await complete(request)
                return completion.finishReason == .refused ? nil : completion.text
            } catch ModelFailure.requestFailed(let reason) {
                Console.note("A request has no answer: \(reason)")
                return nil
            }
        }
    }
}
