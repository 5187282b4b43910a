package import Chat
package import Evaluation

/// What differs between two runs besides their numbers: why these may disagree.
package struct RunDifferences: Sendable {
    package struct Fact: Hashable, Sendable {
        package var name: String
        /// Nil where a run does not say.
        package var first, second: String?
    }

    package let facts: [Fact]
    /// Of prompts that both runs have.
    package let shared: Int
    /// Prompts with another output; nil where one of the runs does not keep them.
    package let otherOutputs: Int?
    /// Prompts whose outputs are equal and whose verdicts are not: another judge, or one that is not sure.
    package let otherVerdicts: Int?

    package init(_ first: RunSnapshot, _ second: RunSnapshot) {
        var names = first.provenance.keys
        names += second.provenance.keys.filter { !names.contains($0) }
        facts = names.filter { first.provenance[$0] != second.provenance[$0] }
            .map { Fact(name: $0, first: first.fact($0), second: second.fact($0)) }
        let prompts = SharedPrompt.all(first, second)
        shared = prompts.count
        let kept = prompts.filter { $0.first.output != nil && $0.second.output != nil }
        let equal = kept.filter { $0.first.output == $0.second.output }
        otherOutputs = kept.isEmpty ? nil : kept.count - equal.count
        otherVerdicts = kept.isEmpty ? nil : equal.count { $0.first.values != $0.second.values }
    }

    /// What must be alike for a comparison of two models to mean anything, in the order in which it is looked at.
    package static let necessary = ["prompts", "baseline outputs", "judge", "judge fingerprint", "references"]

    /// - Throws: `integrity` naming the first thing that is not alike and must be.
    package static func refuse(_ first: RunSnapshot, _ second: RunSnapshot) throws(EvaluationError) {
        if first.benchmark != second.benchmark || first.scale != second.scale {
            throw refusal("benchmark", first.benchmark, second.benchmark, first, second)
        }
        for name in necessary {
            if let own = first.fact(name), let other = second.fact(name), own != other {
                throw refusal(name, own, other, first, second)
            }
        }
        if let prompt = otherBaseline(first, second) {
            throw .integrity(
                "\(first.name) and \(second.name) were compared with other outputs of a baseline (prompt "
                    + "\(prompt) for one): their difference says nothing of the two. Judge both against one "
                    + "baseline, or compare knowingly with --mixed.")
        }
    }

    /// A prompt on which the outputs that both were compared to have another length; nil where there is none.
    static func otherBaseline(_ first: RunSnapshot, _ second: RunSnapshot) -> String? {
        if first.scale != .preference { return nil }
        return SharedPrompt.all(first, second).first { prompt in
            guard let own = prompt.first.baselineLength, let other = prompt.second.baselineLength else { return false }
            return own != other
        }?.first.prompt
    }

    private static func refusal(
        _ what: String, _ own: String, _ other: String, _ first: RunSnapshot, _ second: RunSnapshot
    ) -> EvaluationError {
        .integrity(
            "\(first.name) and \(second.name) have another \(what) (\(short(own)) and \(short(other))): their difference says "
                + "nothing of the two models. Run both alike, or compare knowingly with --mixed.")
    }

    private static func short(_ text: String) -> String { TextTable.printable(String(text.prefix(60))) }

    package var table: TextTable {
        TextTable(
            ["what differs", "first", "second"],
            facts.map { fact in
                [TextTable.printable(fact.name)]
                    + [fact.first, fact.second].map { $0.map { TextTable.printable(String($0.prefix(40))) } ?? "–" }
            })
    }

    /// A sentence each.
    package var lines: [String] {
        guard let otherOutputs, let otherVerdicts else { return ["\(shared) prompts are common to both."] }
        return [
            "\(otherOutputs) of \(shared) common prompts have another output; on those with the same, \(otherVerdicts) "
                + "verdicts differ."
        ]
    }

    package var json: JSONValue {
        [
            "facts": .array(
                facts.map { fact in
                    ["name": .string(fact.name), "first": JSONValue(fact.first), "second": JSONValue(fact.second)]
                }), "n_common": .integer(shared), "other_outputs": otherOutputs.map { .integer($0) } ?? .null,
            "other_verdicts_on_equal_outputs": otherVerdicts.map { .integer($0) } ?? .null,
        ]
    }
}
