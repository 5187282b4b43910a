package import Chat

/// A judge's verdict on one prompt, with all that led to it.
package struct Annotation: Hashable, Sendable {
    package var prompt: Prompt
    package var baseline: ModelOutput
    package var output: ModelOutput
    package var judge: String
    /// The fingerprint of who answered as the judge; nil in upstream's files, where the judge's name implies it.
    package var judgeModel: String?
    package var verdict: Verdict
    /// One a game, in the order in which they were asked; empty for a pair of equal outputs and for annotations of other
    /// tools.
    package var games: [Game]
    /// The judge's raw reply as a published annotation carries it.
    package var publishedReply: JSONValue?
    /// What the calls cost in US dollars; nil where no price is known.
    package var cost: Double?

    package struct Game: Hashable, Sendable {
        package var order: PresentationOrder
        /// Nil where no reply came, and in annotations that were read back.
        package var completion: Completion?
        /// For the model, 0...1; nil where the reply holds no verdict.
        package var preference: Double?
    }

    package init(
        prompt: Prompt, baseline: ModelOutput, output: ModelOutput, judge: String, verdict: Verdict, games: [Game] = [],
        cost: Double? = nil
    ) {
        self.prompt = prompt
        self.baseline = baseline
        self.output = output
        self.judge = judge
        self.verdict = verdict
        self.games = games
        self.cost = cost
    }

    /// Baseline minus model, in Unicode scalars: upstream's sign and unit.
    package var lengthDifference: Int {
        baseline.length - output.length
    }

    /// A record of alpaca_eval's `annotations.json`: `preference` is 1 for the baseline, 2 for the model, null where
    /// missing.
    package func json(version: String) -> JSONValue {
        var record = JSONObject()
        if let category = prompt.category { record["dataset"] = .string(category) }
        record["instruction"] = .string(prompt.instruction)
        record["output_1"] = .string(baseline.output)
        record["generator_1"] = .string(baseline.generator)
        record["output_2"] = .string(output.output)
        record["generator_2"] = .string(output.generator)
        record["annotator"] = .string(judge)
        if let judgeModel { record["judge_model"] = .string(judgeModel) }
        record["preference"] = JSONValue(verdict.preference.map { 1 + $0 })
        record["preference_version"] = .string(version)
        if let cost { record["preference_price_per_example"] = .number(cost) }
        if !games.isEmpty { record["games"] = .array(games.map(\.json)) }
        let isAsked = games.contains { $0.completion != nil } || publishedReply == nil
        let choices = isAsked ? games.map { $0.completion.map(Annotation.choice) ?? .null } : []
        let reply = choices.isEmpty ? publishedReply : choices.count == 1 ? choices[0] : .array(choices)
        record["preference_raw_completion"] = reply
        if case .missing(let reason) = verdict {
            record["missing_reason"] = ["kind": .string(reason.category), "detail": .string(reason.detail)]
        }
        return .object(record)
    }

    /// The judge's raw replies, as text, in the order of the games; of published annotations as their file has them.
    package var replies: [String] {
        let own = games.compactMap { $0.completion?.text }
        if !own.isEmpty { return own }
        let published = publishedReply.map { $0.array ?? [$0] } ?? []
        return published.filter { !$0.isNull }.map { choice in
            choice["message"]?["content"]?.string ?? choice["text"]?.string ?? choice.string ?? choice.text()
        }
    }

    /// The choice as upstream keeps it, with the identifiers as they were shown to the judge.
    private static func choice(_ completion: Completion) -> JSONValue {
        var choice: JSONObject = ["finish_reason": .string(completion.finishReason.rawValue), "index": 0]
        if !completion.tokens.isEmpty {
            let content = completion.tokens.map { token -> JSONValue in
                [
                    "token": .string(token.text), "logprob": JSONValue(token.logprob),
                    "top_logprobs": .array(
                        token.top.map { ["token": .string($0.text), "logprob": JSONValue($0.logprob)] }),
                ]
            }
            choice["logprobs"] = ["content": .array(content)]
        }
        choice["message"] = ["content": .string(completion.text), "role": "assistant"]
        choice["text"] = .string(completion.text)
        if let usage = completion.usage { choice["total_tokens"] = .integer(usage.inputTokens + usage.outputTokens) }
        return .object(choice)
    }
}

extension Annotation.Game {
    fileprivate var json: JSONValue {
        ["first": order == .modelFirst ? "model" : "baseline", "preference": JSONValue(preference)]
    }

    /// Reads back what `json` wrote.
    init?(_ json: JSONValue) {
        switch json["first"]?.string {
        case "model": self.init(order: .modelFirst)
        case "baseline": self.init(order: .baselineFirst)
        default: return nil
        }
        preference = json["preference"]?.number
    }
}
