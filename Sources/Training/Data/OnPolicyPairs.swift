package import Chat

/// Pairs of a model's own outputs: for each prompt the one that scored best, and the one that scored worst.
package struct OnPolicyPairs: Sendable {
    /// What one prompt's outputs scored.
    package struct Candidates: Hashable, Sendable {
        package var prompt: Prompt
        package var outputs: [String]
        /// One for each output, the higher the better; nil where an output or a score could not be had.
        package var scores: [Double]?

        package init(prompt: Prompt, outputs: [String], scores: [Double]?) {
            if let scores {
                precondition(
                    outputs.count == scores.count, "\(outputs.count) outputs and \(scores.count) scores")
                precondition(scores.allSatisfy(\.isFinite), "scores are finite")
            }
            self.prompt = prompt
            self.outputs = outputs
            self.scores = scores
        }
    }

    /// A conversation up to the output; a text is the user's only turn.
    package struct Prompt: Hashable, Sendable {
        package var messages: [Message]
        /// The `checks` of its record, for a scorer that goes by them.
        package var checks: JSONValue?

        package init(messages: [Message], checks: JSONValue? = nil) {
            self.messages = messages
            self.checks = checks
        }
    }

    package struct Pair: Hashable, Sendable {
        package var prompt: Prompt
        package var outputs: [String]
        /// One for each output, the higher the better.
        package var scores: [Double]
        /// Index of the best output, the first of several.
        package var chosen: Int
        /// Index of the worst output, the first of several.
        package var rejected: Int
    }

    package private(set) var pairs: [Pair] = []
    /// Prompts whose outputs are all the same text.
    package private(set) var identical: [Prompt] = []
    /// Prompts whose different outputs all have the same score.
    package private(set) var equallyGood: [Prompt] = []
    /// Prompts of which an output or a score could not be had.
    package private(set) var incomplete: [Prompt] = []

    package init(_ candidates: [Candidates]) {
        for candidate in candidates {
            guard let scores = candidate.scores, let text = candidate.outputs.first, let best = scores.max(),
                let worst = scores.min()
            else {
                incomplete.append(candidate.prompt)
                continue
            }
            if candidate.outputs.allSatisfy({ $0.utf8.elementsEqual(text.utf8) }) {
                identical.append(candidate.prompt)
            } else if best == worst {
                equallyGood.append(candidate.prompt)
            } else if let chosen = scores.firstIndex(of: best), let rejected = scores.firstIndex(of: worst) {
                pairs.append(
                    Pair(
                        prompt: candidate.prompt, outputs: candidate.outputs, scores: scores, chosen: chosen,
                        rejected: rejected))
            }
        }
    }

    package var summary: String {
        let same = pairs.count { pair in
            pair.outputs[pair.chosen].utf8.elementsEqual(pair.outputs[pair.rejected].utf8)
        }
        var parts = ["\(pairs.count) pairs"]
        if same > 0 { parts.append("of which \(same) have the same text twice, which training drops") }
        if !identical.isEmpty {
            parts.append("\(identical.count) prompts without a pair: all outputs are the same")
        }
        if !equallyGood.isEmpty {
            parts.append("\(equallyGood.count) prompts without a pair: all scores are the same")
        }
        if !incomplete.isEmpty {
            parts.append("\(incomplete.count) prompts without a pair: an output or a score could not be had")
        }
        return parts.joined(separator: "; ") + "."
    }

    // MARK: Files

    /// The pairs as JSON Lines, in the layout of the SimPO authors' data sets.
    package var lines: String {
        let areTexts = pairs.allSatisfy { $0.prompt.text != nil }
        return pairs.map { JSONValue.object($0.json(asText: areTexts)).text() + "\n" }.joined()
    }

    /// The prompts of a file, each once, in the order of their code points: `prompt`, a text or a list of messages.
    ///
    /// - Throws: `TrainingError.missingInput`, `.badData` with the line.
    package static func prompts(file path: String) throws(TrainingError) -> [Prompt] {
        var prompts: [(key: [UInt8], prompt: Prompt)] = []
        _ = try PreferenceFile.readValues(path) { value, place throws(TrainingError) in
            var prompt = try Prompt(value["prompt"], at: place)
            prompt.checks = value["checks"]
            prompts.append((prompt.key, prompt))
        }
        prompts.sort { $0.key.lexicographicallyPrecedes($1.key) }
        return prompts.indices.filter { $0 == 0 || prompts[$0].key != prompts[$0 - 1].key }.map {
            prompts[$0].prompt
        }
    }
}

extension OnPolicyPairs.Prompt {
    init(_ value: JSONValue?, at place: DataPlace) throws(TrainingError) {
        if let text = value?.string {
            messages = [.user(text)]
            return
        }
        guard let list = value?.array, !list.isEmpty else {
            throw .badData(
                "\(place): \"prompt\" should be a text or a list of messages, and is \(value?.kind ?? "missing")"
            )
        }
        messages = []
        for (index, turn) in list.enumerated() {
            guard let role = turn["role"]?.string.flatMap(Message.Role.init),
                let content = turn["content"]?.string
            else {
                throw .badData(
                    "\(place): message \(index + 1) of \"prompt\" needs a role (system, user, assistant) and a content"
                )
            }
            messages.append(Message(role: role, content: content))
        }
    }

    /// The user's words where there is nothing else; nil for a longer conversation.
    package var text: String? {
        messages.count == 1 && messages[0].role == .user ? messages[0].content : nil
    }

    /// UTF-8 sorts as code points do, and is equal where these are.
    fileprivate var key: [UInt8] {
        text.map { Array($0.utf8) } ?? JSONValue.array(messages.map(\.json)).serialized()
    }
}

extension OnPolicyPairs.Pair {
    /// As a text the prompt is the user's turn, and the conversations repeat it; else they hold the last turn. Readers of
    /// columns want one of the two in a whole file.
    fileprivate func json(asText: Bool) -> JSONObject {
        let turns = prompt.messages.map(\.json)
        func conversation(_ output: Int) -> JSONValue {
            let last = Message(role: .assistant, content: outputs[output]).json
            return .array(asText ? turns + [last] : [last])
        }
        return [
            "prompt": asText ? .string(prompt.text ?? "") : .array(turns),
            "all_generated_responses": .array(outputs.map { .string($0) }),
            "all_rm_scores": .array(scores.map { .number($0) }),
            "chosen": conversation(chosen), "rejected": conversation(rejected),
        ]
    }
}

extension Message {
    fileprivate var json: JSONValue { ["role": .string(role.rawValue), "content": .string(content)] }
}
