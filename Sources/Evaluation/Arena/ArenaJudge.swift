package import Chat

/// Judges a model's outputs against a baseline's as arena-hard-auto does: two games, the second with the places exchanged.
package struct ArenaJudge: Sendable {
    /// What differs between upstream's versions.
    package enum Procedure: Hashable, Sendable {
        /// 0489bf3: one prompt for all, and a reply without a label is asked once to go on.
        case v01(JudgePrompt)
        /// 196f6b8: a prompt for each category, and one call a game.
        case v2([String: JudgePrompt], temperature: Double, maxTokens: Int)
    }

    private static let goOn = "continue your judgment and finish by outputting a final verdict label"

    private let procedure: Procedure
    package let model: any ChatModel

    /// - Throws: `configuration` where a category of the prompts has no judge prompt.
    package init(_ procedure: Procedure, model: any ChatModel, prompts: [Prompt]) throws(EvaluationError) {
        self.procedure = procedure
        self.model = model
        guard case .v2(let judgePrompts, _, _) = procedure else { return }
        if let stranger = prompts.first(where: { judgePrompts[$0.category ?? ""] == nil }) {
            throw .configuration(
                "Prompt \(stranger.key) is of the category \(stranger.category ?? "none"), and the judge has prompts for "
                    + "\(judgePrompts.keys.sorted().joined(separator: ", ")).")
        }
    }

    /// Of a reply.
    package var maxTokens: Int {
        switch procedure {
        case .v01: 4096
        case .v2(_, _, let maxTokens): maxTokens
        }
    }

    package var fingerprint: String {
        switch procedure {
        case .v01(let prompt):
            Digest.sha256("arena-hard:0.1\n\(prompt.system)\n\(prompt.template)\n\(model.fingerprint)")
        case .v2(let prompts, let temperature, let maxTokens):
            Digest.sha256(
                (["arena-hard:2.0", "\(temperature)", "\(maxTokens)"]
                    + prompts.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value.system, $0.value.template] }
                    + [model.fingerprint]).joined(separator: "\n"))
        }
    }

    package struct Game: Hashable, Sendable {
        /// As they were first sent.
        package var messages: [Message]
        /// v0.1: all replies, each after a line feed. Nil where the request failed.
        package var judgment: String?
        package var label: String?
        /// Why there is no label.
        package var reason: Verdict.Reason?
    }

    /// Both games of a prompt.
    package struct Record: Hashable, Sendable {
        package var pair: OutputPair
        package var games: [Game]

        package init(pair: OutputPair, games: [Game]) {
            self.pair = pair
            self.games = games
        }

        /// What is left of a prompt that one of the two has no output for.
        package init(unanswered prompt: Prompt, model: String, baseline: String) {
            let blank = prompt.turns.map { _ in "" }
            self.init(
                pair: OutputPair(
                    prompt: prompt, baseline: ModelOutput(prompt: prompt, turns: blank, generator: baseline),
                    output: ModelOutput(prompt: prompt, turns: blank, generator: model)),
                games: [Game](repeating: Game(messages: [], reason: .noOutput), count: 2))
        }

        /// Upstream's record, with the baseline, and the reasons where there is no label.
        package func json(judge: String, version: ArenaVersion) -> JSONValue {
            var record: JSONObject =
                switch version {
                case .v01: ["question_id": pair.prompt.id ?? .null]
                case .v2: ["uid": pair.prompt.id ?? .null, "category": JSONValue(pair.prompt.category)]
                }
            record["judge"] = .string(judge)
            record["model"] = .string(pair.output.generator)
            record["baseline"] = .string(pair.baseline.generator)
            record["games"] = .array(games.map { $0.json(version) })
            if games.contains(where: { $0.reason != nil }) {
                record["missing"] = .array(
                    games.map { game in JSONValue(game.reason.map { "\($0.category): \($0.detail)" }) })
            }
            return .object(record)
        }

        package var annotation: ArenaAnnotation {
            ArenaAnnotation(
                id: pair.prompt.key, model: pair.output.generator, category: pair.prompt.category,
                baseline: pair.baseline.generator, labels: games.map(\.label))
        }
    }

    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    package func judge(_ pair: OutputPair) async throws -> Record {
        let first = try await play(pair.prompt, a: pair.baseline.output, b: pair.output.output)
        let second = try await play(pair.prompt, a: pair.output.output, b: pair.baseline.output)
        return Record(pair: pair, games: [first, second])
    }

    private func play(_ prompt: Prompt, a: String, b: String) async throws -> Game {
        switch procedure {
        case .v01(let judgePrompt):
            let messages = judgePrompt.messages(["question_1": prompt.instruction, "answer_1": a, "answer_2": b])
            return try await playV01(messages)
        case .v2(let judgePrompts, let temperature, let maxTokens):
            guard let judgePrompt = judgePrompts[prompt.category ?? ""] else {
                preconditionFailure("the categories were checked")
            }
            let messages = judgePrompt.messages(["QUESTION": prompt.instruction, "ANSWER_A": a, "ANSWER_B": b])
            let decoding =
                temperature == 0
                ? Decoding.greedy : .sampling(temperature: temperature, topK: nil, topP: nil, minP: nil)
            return try await playV2(ChatRequest(messages: messages, decoding: decoding, maxTokens: maxTokens))
        }
    }

    private func playV01(_ start: [Message]) async throws -> Game {
        var messages = start
        var game = Game(messages: start)
        for _ in 0..<2 {
            let request = ChatRequest(messages: messages, decoding: .greedy, maxTokens: maxTokens)
            switch try await JudgeReply.ask(model, request) {
            case .none(let reason):
                game.judgment = (game.judgment ?? "") + "\n$ERROR$"
                game.reason = reason
                return game
            case .text(let text):
                let whole = (game.judgment ?? "") + "\n" + text
                game.read(whole, as: .v01)
                // Only a reply without any label is asked to go on.
                guard case .none = ArenaVersion.v01.label(in: whole) else { return game }
                messages += [Message(role: .assistant, content: text), .user(ArenaJudge.goOn)]
            }
        }
        return game
    }

    private func playV2(_ request: ChatRequest) async throws -> Game {
        var game = Game(messages: request.messages)
        switch try await JudgeReply.ask(model, request) {
        case .none(let reason): game.reason = reason
        case .text(let text): game.read(text, as: .v2)
        }
        return game
    }
}

extension ArenaJudge.Game {
    fileprivate mutating func read(_ judgment: String, as version: ArenaVersion) {
        self.judgment = judgment
        switch version.label(in: judgment) {
        case .label(let label):
            self.label = label
            reason = version.outcome(label) == nil ? .unparsable("the label \(label) means nothing") : nil
        case .ambiguous(let labels): reason = .unparsable("the reply holds \(labels.joined(separator: " and "))")
        case .none: reason = .unparsable("the reply holds no label")
        }
    }

    fileprivate func json(_ version: ArenaVersion) -> JSONValue {
        switch version {
        case .v01:
            return [
                "user_prompt": .string(messages.last?.content ?? ""), "judgment": .string(judgment ?? "$ERROR$"),
                "score": JSONValue(label),
            ]
        case .v2:
            guard let judgment else { return .null }
            return [
                "score": JSONValue(label), "judgment": ["answer": .string(judgment)],
                "prompt": .array(
                    messages.map { ["role": .string($0.role.rawValue), "content": .string($0.content)] }),
            ]
        }
    }
}
