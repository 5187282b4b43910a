package import Chat

/// What the calls of a run cost, and the most that they may cost.
package actor Spending {
    /// US dollars, if the call takes all that it may.
    package struct Reservation: Sendable { var amount: Double }

    private let limit: Double?
    private let price: @Sendable (Completion.Usage) -> Double
    private var settled = 0.0
    private var reserved = 0.0

    /// - Parameters:
    ///   - limit: US dollars; nil only counts.
    ///   - price: US dollars for a call's tokens.
    package init(limit: Double?, price: @escaping @Sendable (Completion.Usage) -> Double) {
        self.limit = limit
        self.price = price
    }

    /// US dollars for the answers received so far.
    package var spent: Double { settled }

    /// Sets aside what `request` may cost at the most: a token for every byte of the prompt is never too few.
    ///
    /// - Throws: `ModelFailure.spendLimit` when the limit could be passed.
    package func reserve(for request: ChatRequest) throws(ModelFailure) -> Reservation {
        let promptBytes = request.messages.reduce(0) { $0 + $1.content.utf8.count + 16 }
        let amount = price(Completion.Usage(inputTokens: promptBytes, outputTokens: request.maxTokens))
        if let limit, settled + reserved + amount > limit {
            throw .spendLimit(
                "The next call could pass the limit of $\(limit): $\(settled) are spent. Everything received is "
                    + "kept; run the same "
                    + "command with a higher --max-cost to continue.")
        }
        reserved += amount
        return Reservation(amount: amount)
    }

    /// Counts what was used; a reply that does not say is counted at its most.
    package func settle(_ reservation: Reservation, usage: Completion.Usage?) {
        reserved -= reservation.amount
        settled += usage.map(price) ?? reservation.amount
    }

    /// Counts an answer that an earlier process paid for: the limit is the run's, however often it is stopped.
    package func count(_ usage: Completion.Usage?) { settled += usage.map(price) ?? 0 }

    package func release(_ reservation: Reservation) { reserved -= reservation.amount }
}
