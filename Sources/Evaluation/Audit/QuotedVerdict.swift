/// What a judge's verdict looks like, standing in the very output that is judged: a judge that repeats it may be misread.
package enum QuotedVerdict {
    /// The keys of the prompts whose output holds a label, a winner or a rating in double brackets.
    package static func prompts(_ outputs: ModelOutputs) -> [String] {
        outputs.outputs.filter { $0.turns.contains(where: isThere) }.map(\.prompt.key)
    }

    static func isThere(_ text: String) -> Bool {
        guard MTBenchReply.holds("[[", text) else { return false }
        let label = ArenaVersion.v01.label(in: text)
        if case .none = label { return MTBenchReply.winner(text) != nil || MTBenchReply.holdsRating(text) }
        return true
    }
}
