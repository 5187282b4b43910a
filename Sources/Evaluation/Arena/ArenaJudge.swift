package import Chat

/// Judges a model's answers against a baseline's as arena-hard-auto v0.1 (0489bf3) does: two games, the second with the
/// places exchanged.
package struct ArenaJudge: Sendable {
    private static let maxTokens = 4096
    /// Calls of a game: a reply without a label is asked to go on.
    private static let attempts = 2
    private static let goOn = "continue your judgment and finish by outputting a final verdict label"

    private let prompt: JudgePrompt
    package let model: any ChatModel

    package init(prompt: JudgePrompt, model: any ChatModel) {
        self.prompt = prompt
        self.model = model
    }

    package var fingerprint: String {
        Digest.sha256("arena-hard:0.1\n\(prompt.system)\n\(prompt.template)\n\(model.fingerprint)")
    }

    package struct Game: Hashable, Sendable {
        package var userPrompt: String
        /// All replies, each after a line feed.
        package var judgment: String
        package var label: String?
        /// Why there is no label.
        package var reason: Verdict.Reason?
    }

    package struct Row: Hashable, Sendable {
        package var question: Question
        package var model: String
        package var baseline: String
        package var games: [Game]

        package init(question: Question, model: String, baseline: String, games: [Game]) {
            self.question = question
            self.model = model
            self.baseline = baseline
            self.games = games
        }

        /// What is left of a question that one of the two never answered.
        package init(unanswered question: Question, model: String, baseline: String) {
            let game = Game(userPrompt: "", judgment: "$ERROR$", label: nil, reason: .noOutput)
            self.init(question: question, model: model, baseline: baseline, games: [game, game])
        }

        /// Upstream's record, with the baseline, and the reasons where there is no label.
        package func json(judge: String) -> JSONValue {
            [
                "question_id": question.id, "model": .string(model), "judge": .string(judge),
                "baseline": .string(baseline),
                "games": .array(
                    games.map { game in
                        var record: JSONObject = [
                            "user_prompt": .string(game.userPrompt), "judgment": .string(game.judgment),
                            "score": game.label.map { .string($0) } ?? .null,
                        ]
                        if let reason = game.reason {
                            record["missing"] = .string("\(reason.category): \(reason.detail)")
                        }
                        return .object(record)
                    }),
            ]
        }

        package var judgment: ArenaJudgment {
            ArenaJudgment(id: question.key, model: model, baseline: baseline, labels: games.map(\.label))
        }
    }

    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    package func judge(
        _ answer: Answer, of name: String, baseline: Answer, of baselineName: String
    ) async throws -> Row {
        let first = try await play(answer.question, baseline.turns[0], answer.turns[0])
        let second = try await play(answer.question, answer.turns[0], baseline.turns[0])
        return Row(question: answer.question, model: name, baseline: baselineName, games: [first, second])
    }

    private func play(_ question: Question, _ a: String, _ b: String) async throws -> Game {
        var messages = prompt.messages(["question_1": question.turns[0], "answer_1": a, "answer_2": b])
        var game = Game(userPrompt: messages[1].content, judgment: "")
        for _ in 0..<ArenaJudge.attempts {
            let request = ChatRequest(messages: messages, decoding: .greedy, maxTokens: ArenaJudge.maxTokens)
            switch try await JudgeReply.ask(model, request) {
            case .none(let reason):
                game.judgment += "\n$ERROR$"
                game.reason = reason
                return game
            case .text(let text):
                game.judgment += "\n" + text
                switch ArenaVersion.v01.label(in: game.judgment) {
                case .label(let label):
                    (game.label, game.reason) = (label, nil)
                    if ArenaVersion.v01.outcome(label) == nil {
                        game.reason = .unparsable("the label \(label) means nothing")
                    }
                    return game
                case .ambiguous(let labels):
                    game.reason = .unparsable("the reply holds \(labels.joined(separator: " and "))")
                    return game
                case .none:
                    game.reason = .unparsable("the reply holds no label")
                    messages += [Message(role: .assistant, content: text), .user(ArenaJudge.goOn)]
                }
            }
        }
        return game
    }
}
