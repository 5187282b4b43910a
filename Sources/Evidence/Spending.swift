package import Chat

/// The most that a run may cost, whoever is paid.
package actor Budget {
    private let limit: Double?
    private var settled = 0.0
    private var reserved = 0.0

    /// - Parameter limit: US dollars; nil only counts.
    package init(limit: Double?) { self.limit = limit }

    /// - Throws: `ModelFailure.spendLimit` when the limit could be passed.
    func reserve(_ amount: Double) throws(ModelFailure) {
        if let limit, settled + reserved + amount > limit {
            throw .spendLimit(
                "The next call could pass the limit of $\(limit): $\(settled) are spent. Everything received is "
                    + "kept; run the same command with a higher --max-cost to continue.")
        }
        reserved += amount
    }

    func release(_ amount: Double) { reserved -= amount }

    func settle(_ amount: Double) { settled += amount }
}

/// What the calls to one model cost, within a run's budget.
package actor Spending {
    /// US dollars, if the call takes all that it may.
    package struct Reservation: Sendable { var amount: Double }

    private let budget: Budget
    private let price: @Sendable (Completion.Usage) -> Double
    private var settled = 0.0

    /// - Parameter price: US dollars for a call's tokens.
    package init(of budget: Budget, price: @escaping @Sendable (Completion.Usage) -> Double) {
        self.budget = budget
        self.price = price
    }

    /// US dollars for the answers received so far.
    package var spent: Double { settled }

    /// Sets aside what `request` may cost at the most: a token for every byte of the prompt is never too few.
    ///
    /// - Throws: `ModelFailure.spendLimit` when the budget's limit could be passed.
    package func reserve(for request: ChatRequest) async throws(ModelFailure) -> Reservation {
        let promptBytes = request.messages.reduce(0) { $0 + $1.content.utf8.count + 16 }
        let amount = price(Completion.Usage(inputTokens: promptBytes, outputTokens: request.maxTokens))
        try await budget.reserve(amount)
        return Reservation(amount: amount)
    }

    /// Counts what was used; a reply that does not say is counted at its most.
    package func settle(_ reservation: Reservation, usage: Completion.Usage?) async {
        await budget.release(reservation.amount)
        await add(usage.map(price) ?? reservation.amount)
    }

    /// Counts an answer that an earlier process paid for: the limit is the run's, however often it is stopped.
    package func count(_ usage: Completion.Usage?) async { await add(usage.map(price) ?? 0) }

    package func release(_ reservation: Reservation) async { await budget.release(reservation.amount) }

    private func add(_ amount: Double) async {
        settled += amount
        await budget.settle(amount)
    }
}
