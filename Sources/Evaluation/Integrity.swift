package import Chat
package import Statistics

/// What a reader should know of the outputs before trusting a number made with them.
package struct Integrity: Hashable, Sendable {
    /// Distinct outputs over outputs: a constant answer that fools a judge is near 0.
    package var uniqueRatio: Double
    /// The share of their prompts' words that outputs hold; nil where there are too few to say.
    package var promptOverlap: Double?
    package var empty: Int
    /// Outputs that hold tokens of a chat template.
    package var specialTokens: Int
    /// How the shuffle canary did; nil where none was asked for.
    package var canary: ShuffleCanary?
    /// What the audit and the canary hold against the outputs.
    package var flags: [String]

    package init(_ audit: Audit, canary: ShuffleCanary? = nil) {
        uniqueRatio = audit.uniqueRatio
        promptOverlap = audit.promptOverlap
        empty = audit.findings.first { $0.check == .empty }?.count ?? 0
        specialTokens = audit.findings.first { $0.check == .specialTokens }?.count ?? 0
        self.canary = canary
        flags = audit.flags.map(\.description) + [canary?.flag].compactMap(\.self)
    }

    package var json: JSONValue {
        var object: JSONObject = [
            "unique_ratio": .number(uniqueRatio), "prompt_overlap": JSONValue(promptOverlap), "empty": .integer(empty),
            "special_token_leak": .integer(specialTokens),
        ]
        object["shuffle_canary"] = canary?.json
        object["flags"] = .array(flags.map(JSONValue.string))
        return .object(object)
    }
}

/// Prompts judged with the output to another prompt, which an honest judge lets lose: outputs that win all the same work
/// on the judge, not on the prompt.
package struct ShuffleCanary: Hashable, Sendable {
    /// In percent; nil where no pair has a verdict.
    package var winRate: Double?
    package var count: Int
    /// Of the judged.
    package var missing: Int

    package init(_ annotations: [Annotation]) {
        let preferences = annotations.compactMap(\.verdict.preference)
        winRate = mean(preferences).map { 100 * $0 }
        count = preferences.count
        missing = annotations.count - preferences.count
    }

    /// Reads back what `json` wrote.
    package init?(_ json: JSONValue?) {
        guard let count = json?["n"]?.integer else { return nil }
        winRate = json?["winrate"]?.number
        self.count = count
        missing = json?["n_missing"]?.integer ?? 0
    }

    /// Honest models keep near 0; the limit is what chance does not reach.
    static let limit = 15.0

    var flag: String? {
        guard count >= 10, let winRate, winRate > Self.limit else { return nil }
        return "shuffle_canary (\((winRate * 10).rounded() / 10) % of \(count) outputs to other prompts won)"
    }

    var json: JSONValue {
        ["winrate": JSONValue(winRate), "n": .integer(count), "n_missing": .integer(missing)]
    }

    /// The pairs to judge: a share of all, each with the output to another prompt, as `generator` draws them.
    package static func pairs(
        _ pairs: [OutputPair], share: Double, generator: inout SeededGenerator
    ) -> [OutputPair] {
        guard pairs.count > 1 else { return [] }
        let count = min(pairs.count, max(1, Int((share * Double(pairs.count)).rounded(.up))))
        return generator.permutation(of: pairs.count).prefix(count).sorted().map { place in
            let step = 1 + generator.index(below: pairs.count - 1)
            var pair = pairs[place]
            pair.output.turns = pairs[(place + step) % pairs.count].output.turns
            return pair
        }
    }
}
