package import Chat

/// Rates outputs, or compares those of two models, as FastChat's llm_judge (0e6d3e4) does.
package struct MTBenchJudge: Sendable {
    /// Upstream's ways of grading.
    package enum Mode: String, CaseIterable, Sendable {
        case single
        case pairwiseBaseline = "pairwise-baseline"
        case pairwiseAll = "pairwise-all"
    }

    /// Categories whose judge is shown a reference.
    private static let referenced: Set<String> = ["math", "reasoning", "coding", "arena-hard-200"]
    /// Of a reply.
    package static let maxTokens = 2048

    private let judgePrompts: [String: JudgePrompt]
    private let references: ModelOutputs?
    package let model: any ChatModel
    private let mode: Mode
    /// How often a reply without a verdict is asked for again; upstream does not.
    private let retries: Int

    /// - Throws: `configuration` where a judge prompt is missing, or a reference for one of the prompts.
    package init(
        _ mode: Mode, judgePrompts: [String: JudgePrompt], references: ModelOutputs?, model: any ChatModel,
        retries: Int,
        prompts: [Prompt]
    ) throws(EvaluationError) {
        self.mode = mode
        self.judgePrompts = judgePrompts
        self.references = references
        self.model = model
        self.retries = retries
        for prompt in prompts {
            if prompt.turns.count > 2 {
                throw .configuration(
                    "Prompt \(prompt.key) has \(prompt.turns.count) turns, and the judge prompts are for 1 or 2.")
            }
            for turn in prompt.turns.indices where judgePrompts[promptName(prompt, turn)] == nil {
                throw .configuration(
                    "The judge prompts have no \(promptName(prompt, turn)), which is needed.")
            }
            guard isReferenced(prompt), references?[prompt] == nil else { continue }
            throw .configuration(
                "Prompt \(prompt.key) is of the category \(prompt.category ?? ""), and \(references?.name ?? "nobody") gives "
                    + "no reference for it. Name a set with --references.")
        }
    }

    package var fingerprint: String {
        let texts = judgePrompts.values.sorted { $0.name < $1.name }.map { "\($0.name)\0\($0.system)\0\($0.template)" }
        let kind = mode == .single ? "single" : "pair"
        return Digest.sha256(
            "mt-bench:\(kind)\n\(texts.joined(separator: "\0"))\n\(references?.sha256 ?? "")\n\(model.fingerprint)")
    }

    private func isReferenced(_ prompt: Prompt) -> Bool { MTBenchJudge.referenced.contains(prompt.category ?? "") }

    private func promptName(_ prompt: Prompt, _ turn: Int) -> String {
        let kind =
            switch (mode, isReferenced(prompt)) {
            case (.single, false): "single-v1"
            case (.single, true): "single-math-v1"
            case (_, false): "pair-v2"
            case (_, true): "pair-math-v1"
            }
        return kind + (turn == 0 ? "" : "-multi-turn")
    }

    /// The messages, with their prompt's name.
    ///
    /// - Parameter outputs: by the suffix that upstream's fields have for them: none for a single one, `_a` and `_b` for two.
    private func messages(_ prompt: Prompt, _ turn: Int, _ outputs: [String: ModelOutput]) -> (String, [Message]) {
        let name = promptName(prompt, turn)
        guard let judgePrompt = judgePrompts[name] else { preconditionFailure("the judge prompts were checked") }
        var fields: [String: String] = [:]
        for place in 0...turn {
            let number = turn == 0 ? "" : "_\(place + 1)"
            fields["question\(number)"] = prompt.turns[place]
            for (suffix, output) in outputs { fields["answer\(suffix)\(number)"] = output.turns[place] }
            fields["ref_answer_\(place + 1)"] = references?[prompt]?.turns[place]
        }
        return (name, judgePrompt.messages(fields))
    }

    /// Asks, and asks again for a reply without a verdict as often as `retries` says.
    private func ask<Value>(
        _ messages: [Message], read: (String) -> (value: Value?, reason: Verdict.Reason?)
    ) async throws -> (judgment: String, value: Value?, reason: Verdict.Reason?) {
        var request = ChatRequest(messages: messages, decoding: .greedy, maxTokens: MTBenchJudge.maxTokens)
        while true {
            var found: (judgment: String, value: Value?, reason: Verdict.Reason?)
            switch try await JudgeReply.ask(model, request) {
            case .text(let text):
                let (value, reason) = read(text)
                found = (text, value, reason)
            case .none(let reason): found = ("$ERROR$", nil, reason)
            }
            guard let reason = found.reason, reason.isReply, request.sample < retries else { return found }
            request.sample += 1
        }
    }
}

// MARK: - Single grading

extension MTBenchJudge {
    /// A record of `<judge>_single.jsonl`.
    package struct Rating: Hashable, Sendable {
        package var prompt: Prompt
        package var model: String
        /// From 0.
        package var turn: Int
        package var promptName: String
        package var userPrompt: String
        package var judgment: String
        package var verdict: Verdict

        /// What is left of a turn that has no output.
        package init(unanswered prompt: Prompt, model: String, turn: Int) {
            self.init(
                prompt: prompt, model: model, turn: turn, promptName: "", userPrompt: "", judgment: "$ERROR$",
                verdict: .missing(.noOutput))
        }

        init(
            prompt: Prompt, model: String, turn: Int, promptName: String, userPrompt: String, judgment: String,
            verdict: Verdict
        ) {
            self.prompt = prompt
            self.model = model
            self.turn = turn
            self.promptName = promptName
            self.userPrompt = userPrompt
            self.judgment = judgment
            self.verdict = verdict
        }

        /// Upstream's record, with the reason where there is no rating.
        package func json(judge: String) -> JSONValue {
            var record: JSONObject = [
                "question_id": prompt.id ?? .null, "model": .string(model),
                "judge": [.string(judge), .string(promptName)], "user_prompt": .string(userPrompt),
                "judgment": .string(judgment), "score": -1, "turn": .integer(turn + 1), "tstamp": 0,
                "category": JSONValue(prompt.category),
            ]
            switch verdict {
            case .rating(let value):
                record["score"] = Int(exactly: value).map { .integer($0) } ?? .number(value)
            case .missing(let reason): record["missing"] = .string("\(reason.category): \(reason.detail)")
            case .preference: preconditionFailure("single grading gives no preferences")
            }
            return .object(record)
        }

        package var annotation: MTBenchAnnotation {
            var rating: Double?
            if case .rating(let value) = verdict { rating = value }
            var annotation = MTBenchAnnotation(
                prompt: prompt.key, model: model, turn: turn + 1, rating: rating, category: prompt.category)
            annotation.isAmbiguous = MTBenchReply.holdsSeveralRatings(judgment)
            return annotation
        }
    }

    /// - Parameter turn: from 0.
    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    package func rate(_ output: ModelOutput, turn: Int) async throws -> Rating {
        let (name, messages) = messages(output.prompt, turn, ["": output])
        let found = try await ask(messages) { text -> (Double?, Verdict.Reason?) in
            switch MTBenchReply.rating(text) {
            case .rating(let value): (value, nil)
            case .missing(let reason): (nil, reason)
            case .preference: preconditionFailure("a rating is no preference")
            }
        }
        let verdict = found.value.map(Verdict.rating) ?? .missing(found.reason ?? .failed(""))
        return Rating(
            prompt: output.prompt, model: output.generator, turn: turn, promptName: name,
            userPrompt: messages[1].content, judgment: found.judgment, verdict: verdict)
    }
}

// MARK: - Pairwise grading

extension MTBenchJudge {
    package struct Game: Hashable, Sendable {
        package var userPrompt: String
        package var judgment: String
        /// In the words of both games: the model's, not the place's.
        package var winner: MTBenchPair.Winner
        /// Why there is none.
        package var reason: Verdict.Reason?
    }

    /// A record of `<judge>_pair.jsonl`: the second game has the models in each other's place.
    package struct Comparison: Hashable, Sendable {
        package var prompt: Prompt
        package var first, second: String
        /// From 0.
        package var turn: Int
        package var promptName: String
        package var games: [Game]

        init(prompt: Prompt, first: String, second: String, turn: Int, promptName: String, games: [Game]) {
            self.prompt = prompt
            self.first = first
            self.second = second
            self.turn = turn
            self.promptName = promptName
            self.games = games
        }

        /// What is left of a turn that one of the two has no output for.
        package init(unanswered prompt: Prompt, first: String, second: String, turn: Int) {
            let game = Game(userPrompt: "", judgment: "$ERROR$", winner: .error, reason: .noOutput)
            self.init(
                prompt: prompt, first: first, second: second, turn: turn, promptName: "", games: [game, game])
        }

        /// Upstream's record, with the reasons where there is no winner.
        package func json(judge: String) -> JSONValue {
            var record: JSONObject = [
                "question_id": prompt.id ?? .null, "model_1": .string(first), "model_2": .string(second),
            ]
            for (place, game) in games.enumerated() { record["g\(place + 1)_winner"] = .string(game.winner.rawValue) }
            record["judge"] = [.string(judge), .string(promptName)]
            for (place, game) in games.enumerated() {
                record["g\(place + 1)_user_prompt"] = .string(game.userPrompt)
                record["g\(place + 1)_judgment"] = .string(game.judgment)
            }
            record["turn"] = .integer(turn + 1)
            record["tstamp"] = 0
            record["category"] = JSONValue(prompt.category)
            if games.contains(where: { $0.reason != nil }) {
                record["missing"] = .array(
                    games.map { game in JSONValue(game.reason.map { "\($0.category): \($0.detail)" }) })
            }
            return .object(record)
        }

        package var annotation: MTBenchPair {
            var pair = MTBenchPair(
                prompt: prompt.key, turn: turn + 1, first: first, second: second, games: games.map(\.winner))
            pair.isAmbiguous = games.contains { MTBenchReply.holdsSeveralWinners($0.judgment) }
            return pair
        }
    }

    /// - Parameter turn: from 0.
    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    package func compare(_ first: ModelOutput, _ second: ModelOutput, turn: Int) async throws -> Comparison {
        Comparison(
            prompt: first.prompt, first: first.generator, second: second.generator, turn: turn,
            promptName: promptName(first.prompt, turn),
            games: [
                try await play(first, second, turn, winners: (.first, .second)),
                try await play(second, first, turn, winners: (.second, .first)),
            ])
    }

    /// - Parameter winners: who it is when A wins, and when B does.
    private func play(
        _ a: ModelOutput, _ b: ModelOutput, _ turn: Int, winners: (MTBenchPair.Winner, MTBenchPair.Winner)
    ) async throws -> Game {
        let (_, messages) = messages(a.prompt, turn, ["_a": a, "_b": b])
        let found = try await ask(messages) { text -> (MTBenchPair.Winner?, Verdict.Reason?) in
            switch MTBenchReply.winner(text) {
            case .a: (winners.0, nil)
            case .b: (winners.1, nil)
            case .tie: (.tie, nil)
            case nil: (nil, .unparsable("the reply holds none of [[A]], [[B]] and [[C]]"))
            }
        }
        return Game(
            userPrompt: messages[1].content, judgment: found.judgment, winner: found.value ?? .error,
            reason: found.reason)
    }
}
