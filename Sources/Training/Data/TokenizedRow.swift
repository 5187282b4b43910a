/// One row of tokens, and which of them the model is trained to predict.
package struct TokenizedRow: Hashable, Sendable {
    package var ids: [Int32]
    /// Indices into `ids` that are trained: sorted, apart from each other. Index 0 has nothing before it that could
    /// predict it, and never counts.
    package var targets: [Range<Int>]

    package init(ids: [Int32], targets: [Range<Int>]) {
        self.ids = ids
        self.targets = targets
    }

    /// How many tokens are predicted.
    package var targetCount: Int {
        targets.reduce(0) { $0 + $1.count } - (targets.first?.lowerBound == 0 ? 1 : 0)
    }
}

/// One example as the model takes it: a pair of rows that begin alike, or a row alone (SFT: chosen; KTO: either).
package struct TokenizedPair: Hashable, Sendable {
    package var chosen: TokenizedRow?
    package var rejected: TokenizedRow?

    package init(chosen: TokenizedRow?, rejected: TokenizedRow?) {
        self.chosen = chosen
        self.rejected = rejected
    }

    package var rows: [TokenizedRow] { [chosen, rejected].compactMap { $0 } }

    /// The tokens that both rows begin with and neither trains: computed once.
    package var sharedCount: Int {
        guard let chosen, let rejected else { return 0 }
        let limit = min(
            chosen.targets.first?.lowerBound ?? chosen.ids.count,
            rejected.targets.first?.lowerBound ?? rejected.ids.count)
        return zip(chosen.ids, rejected.ids).prefix(limit).prefix { $0 == $1 }.count
    }
}
