package import Chat

/// Grades single answers as FastChat's llm_judge (0e6d3e4) does.
package struct MTBenchJudge: Sendable {
    /// Categories whose judge is shown a reference answer.
    private static let referenced: Set<String> = ["math", "reasoning", "coding", "arena-hard-200"]
    private static let maxTokens = 2048

    private let prompts: [String: JudgePrompt]
    private let references: AnswerSet?
    package let model: any ChatModel
    /// How often a reply without a rating is asked for again; upstream does not.
    private let retries: Int

    /// - Throws: `configuration` where a prompt is missing, or a reference to one of the questions.
    package init(
        prompts: [String: JudgePrompt], references: AnswerSet?, model: any ChatModel, retries: Int,
        questions: [Question]
    ) throws(EvaluationError) {
        self.prompts = prompts
        self.references = references
        self.model = model
        self.retries = retries
        for question in questions {
            if question.turns.count > 2 {
                throw .configuration(
                    "Question \(question.key) has \(question.turns.count) turns, and the judge prompts are for 1 or 2.")
            }
            for turn in question.turns.indices {
                let name = MTBenchJudge.promptName(question, turn)
                if prompts[name] == nil { throw .configuration("The judge prompts have no \(name), which is needed.") }
            }
            guard MTBenchJudge.referenced.contains(question.category), references?[question] == nil else { continue }
            throw .configuration(
                "Question \(question.key) is of the category \(question.category), and \(references?.name ?? "nobody") gives "
                    + "no reference answer to it. Name a set with --references.")
        }
    }

    package var fingerprint: String {
        let texts = prompts.values.sorted { $0.name < $1.name }.map { "\($0.name)\0\($0.system)\0\($0.template)" }
        return Digest.sha256(
            "mt-bench:single\n\(texts.joined(separator: "\0"))\n\(references?.sha256 ?? "")\n\(model.fingerprint)")
    }

    /// A row of `<judge>_single.jsonl`.
    package struct Row: Hashable, Sendable {
        package var question: Question
        package var model: String
        /// From 0.
        package var turn: Int
        package var promptName: String
        package var userPrompt: String
        package var judgment: String
        package var verdict: Verdict

        /// Upstream's record, with the reason where there is no rating.
        package func json(judge: String) -> JSONValue {
            var record: JSONObject = [
                "question_id": question.id, "model": .string(model), "judge": [.string(judge), .string(promptName)],
                "user_prompt": .string(userPrompt), "judgment": .string(judgment), "score": -1,
                "turn": .integer(turn + 1), "tstamp": 0, "category": .string(question.category),
            ]
            switch verdict {
            case .rating(let value):
                record["score"] = Int(exactly: value).map { .integer($0) } ?? .number(value)
            case .missing(let reason): record["missing"] = .string("\(reason.category): \(reason.detail)")
            case .preference: preconditionFailure("single grading gives no preferences")
            }
            return .object(record)
        }

        package var grade: MTBenchGrade {
            var rating: Double?
            if case .rating(let value) = verdict { rating = value }
            return MTBenchGrade(
                question: question.key, model: model, turn: turn + 1, rating: rating,
                category: question.category)
        }
    }

    /// What is left of a turn that was never answered.
    package static func unanswered(_ question: Question, of name: String, turn: Int) -> Row {
        Row(
            question: question, model: name, turn: turn, promptName: "", userPrompt: "", judgment: "$ERROR$",
            verdict: .missing(.noOutput))
    }

    /// - Parameter turn: from 0.
    /// - Throws: a `ModelFailure` that concerns every request, or `CancellationError`.
    package func grade(_ answer: Answer, of name: String, turn: Int) async throws -> Row {
        let promptName = MTBenchJudge.promptName(answer.question, turn)
        guard let prompt = prompts[promptName] else { preconditionFailure("the prompts were checked") }
        let messages = prompt.messages(fields(answer, turn))
        var request = ChatRequest(messages: messages, decoding: .greedy, maxTokens: MTBenchJudge.maxTokens)
        var row = Row(
            question: answer.question, model: name, turn: turn, promptName: promptName,
            userPrompt: messages[1].content, judgment: "$ERROR$", verdict: .missing(.failed("")))
        while true {
            switch try await JudgeReply.ask(model, request) {
            case .text(let text): (row.judgment, row.verdict) = (text, MTBenchReply.rating(text))
            case .none(let reason): row.verdict = .missing(reason)
            }
            guard case .missing(let reason) = row.verdict, reason.isReply, request.sample < retries else { return row }
            request.sample += 1
        }
    }

    private static func promptName(_ question: Question, _ turn: Int) -> String {
        (referenced.contains(question.category) ? "single-math-v1" : "single-v1") + (turn == 0 ? "" : "-multi-turn")
    }

    private func fields(_ answer: Answer, _ turn: Int) -> [String: String] {
        let reference = references?[answer.question]?.turns ?? []
        if turn == 0 {
            var fields = ["question": answer.question.turns[0], "answer": answer.turns[0]]
            fields["ref_answer_1"] = reference.first
            return fields
        }
        var fields: [String: String] = [:]
        for place in 0...turn {
            fields["question_\(place + 1)"] = answer.question.turns[place]
            fields["answer_\(place + 1)"] = answer.turns[place]
            if place < reference.count { fields["ref_answer_\(place + 1)"] = reference[place] }
        }
        return fields
    }
}
