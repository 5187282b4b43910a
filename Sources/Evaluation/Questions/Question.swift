package import Chat

/// A question of MT-Bench or Arena-Hard: one turn, or a second that goes on from the answer to the first.
package struct Question: Hashable, Sendable {
    /// Its place in the file, from 0: what `--sample-id` takes.
    package var index: Int
    /// As its file has it: a number or a text.
    package var id: JSONValue
    package var category: String
    package var turns: [String]
    /// What a program can decide about the answers, by turn; empty where there is nothing.
    package var checks: [CheckList]
    /// The question's own temperature, before its category's.
    package var temperature: Double?
    /// What its file says should be answered, by turn; empty where it says nothing.
    package var reference: [String]

    package var key: String { id.identifier ?? "" }
}

/// The questions of a run, in the order of their file.
package struct QuestionSet: Hashable, Sendable {
    package var questions: [Question]
    package var sha256: String
    /// Whether this is the benchmark's own pinned set, by hash.
    package var isOfficial: Bool

    /// Reads FastChat's `question.jsonl`, and both forms of arena-hard-auto's.
    ///
    /// - Throws: `badData` naming the record without id or turns, with another number of checks than turns, or whose id
    ///   stands twice.
    package init(bytes: [UInt8], path: String, isOfficial: Bool) throws(EvaluationError) {
        sha256 = Digest.sha256(bytes)
        self.isOfficial = isOfficial
        questions = []
        var seen: [String: Int] = [:]
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            let place = "\(path), record \(index)"
            let turns = QuestionSet.turns(record)
            guard let id = record["question_id"] ?? record["uid"], let key = id.identifier, !turns.isEmpty else {
                throw .badData("\(place) should have a question_id (or uid), and turns (or a prompt) of text.")
            }
            if let earlier = seen.updateValue(index, forKey: key) {
                throw .badData("\(place): its question_id \(key) also stands in record \(earlier).")
            }
            // A list for each turn; for one turn the list itself will do.
            var lists = record["checks"]?.array ?? []
            if let value = record["checks"], lists.first?.object != nil { lists = [value] }
            var checks: [CheckList] = []
            for value in lists { checks.append(try CheckList(value, place: place)) }
            if !checks.isEmpty, checks.count != turns.count {
                throw .badData("\(place) has checks for \(checks.count) of \(turns.count) turns.")
            }
            questions.append(
                Question(
                    index: index, id: id, category: record["category"]?.string ?? "", turns: turns, checks: checks,
                    temperature: record["required_temperature"]?.number,
                    reference: record["reference"]?.array?.compactMap(\.string) ?? []))
        }
        if questions.isEmpty { throw .badData("\(path) holds no questions.") }
    }

    private static func turns(_ record: JSONValue) -> [String] {
        if let prompt = record["prompt"]?.string { return [prompt] }
        let turns = (record["turns"]?.array ?? []).map { $0.string ?? $0["content"]?.string }
        return turns.contains(nil) ? [] : turns.compactMap { $0 }
    }
}

/// What a model answered, turn by turn.
package struct Answer: Hashable, Sendable {
    package var question: Question
    package var turns: [String]

    package init(question: Question, turns: [String]) {
        self.question = question
        self.turns = turns
    }
}

/// A model's answers, at most one a question.
package struct AnswerSet: Hashable, Sendable {
    package var name: String
    package var answers: [Answer]
    package var sha256: String
    private var places: [String: Int]

    package init(name: String, answers: [Answer], sha256: String) {
        self.name = name
        self.answers = answers
        self.sha256 = sha256
        places = Dictionary(uniqueKeysWithValues: answers.enumerated().map { ($1.question.key, $0) })
    }

    /// Reads FastChat's `model_answer/<model>.jsonl`, and both forms of arena-hard-auto's. Of several records for a
    /// question the last counts, as upstream reads it; those of other questions are left out.
    ///
    /// - Parameter name: nil takes the file's stem, as upstream does.
    /// - Throws: `badData` naming the record without id or with too few turns, or where no question is answered.
    package init(
        bytes: [UInt8], path: String, questions: QuestionSet, name: String?
    ) throws(EvaluationError) {
        var byKey: [String: Question] = [:]
        for question in questions.questions { byKey[question.key] = question }
        var answers: [String: Answer] = [:]
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let key = record["question_id"]?.identifier ?? record["uid"]?.identifier else {
                throw .badData("\(path), record \(index) should have a question_id or uid.")
            }
            guard let question = byKey[key] else { continue }
            let turns = AnswerSet.turns(record)
            guard turns.count >= question.turns.count else {
                throw .badData(
                    "\(path), record \(index) answers \(turns.count) of the \(question.turns.count) turns of question "
                        + "\(key).")
            }
            answers[key] = Answer(question: question, turns: Array(turns.prefix(question.turns.count)))
        }
        if answers.isEmpty {
            throw .badData("\(path) answers none of the \(questions.questions.count) questions.")
        }
        self.init(
            name: name ?? Files.stem(of: path),
            answers: questions.questions.compactMap { answers[$0.key] }, sha256: Digest.sha256(bytes))
    }

    package subscript(question: Question) -> Answer? { places[question.key].map { answers[$0] } }

    private static func turns(_ record: JSONValue) -> [String] {
        if let messages = record["messages"]?.array {
            return messages.filter { $0["role"]?.string == "assistant" }.compactMap { message in
                message["content"]?.string ?? message["content"]?["answer"]?.string
            }
        }
        let turns = record["choices"]?[0]?["turns"]?.array ?? []
        return turns.compactMap { $0.string ?? $0["content"]?.string }
    }

    /// The answers that the questions' own file gives, as a set of references.
    package static func references(of questions: QuestionSet) -> AnswerSet {
        let answers = questions.questions.filter { $0.reference.count >= $0.turns.count }
        return AnswerSet(
            name: "the questions' file", answers: answers.map { Answer(question: $0, turns: $0.reference) },
            sha256: questions.sha256)
    }

    /// Upstream's records: turns as texts for MT-Bench, as objects for Arena-Hard v0.1. There is no clock in them.
    package func records(turnsAreObjects: Bool) -> [JSONValue] {
        answers.map { answer in
            let turns = answer.turns.map { text -> JSONValue in
                turnsAreObjects ? ["content": .string(text)] : .string(text)
            }
            let id = Digest.sha256(([name, answer.question.key] + answer.turns).joined(separator: "\0")).prefix(22)
            return [
                "question_id": answer.question.id, "answer_id": .string(String(id)), "model_id": .string(name),
                "choices": [["index": 0, "turns": .array(turns)]], "tstamp": 0,
            ]
        }
    }
}

extension Stages {
    /// Asks `model` every turn of every question, each with what was said before.
    ///
    /// - Parameter decoding: of a question.
    /// - Returns: the answers in the order of the questions, and by index why the others have none: a question of which one
    ///   turn failed has no answer.
    /// - Throws: a `ModelFailure` that concerns every request, or `Interrupted`.
    package static func answers(
        _ questions: [Question], model: any ChatModel, maxTokens: Int, seed: UInt64?, repetitionPenalty: Double? = nil,
        stop: StopFlag, progress: @Sendable (Int) -> Void, decoding: @escaping @Sendable (Question) -> Decoding
    ) async throws -> (answers: [Answer], failures: [Int: Verdict.Reason]) {
        let results = try await mapConcurrently(
            questions, width: model.maxConcurrentRequests, stop: stop, progress: progress
        ) { question -> (Answer?, Verdict.Reason?) in
            var messages: [Message] = []
            var turns: [String] = []
            for turn in question.turns {
                messages.append(.user(turn))
                let request = ChatRequest(
                    messages: messages, decoding: decoding(question), maxTokens: maxTokens, seed: seed,
                    repetitionPenalty: repetitionPenalty)
                do {
                    let completion = try await model.complete(request)
                    if completion.finishReason == .refused, completion.text.isEmpty {
                        return (nil, .refused("the model declined to answer"))
                    }
                    turns.append(completion.text)
                    messages.append(Message(role: .assistant, content: completion.text))
                } catch ModelFailure.requestFailed(let reason) {
                    return (nil, .failed(reason))
                }
            }
            return (Answer(question: question, turns: turns), nil)
        }
        var failures: [Int: Verdict.Reason] = [:]
        for (question, result) in zip(questions, results) { failures[question.index] = result.1 }
        return (results.compactMap(\.0), failures)
    }
}

extension JSONValue {
    /// A name of a prompt: text, or a whole number.
    package var identifier: String? { string ?? integer.map { "\($0)" } }
}
