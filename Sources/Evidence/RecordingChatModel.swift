package import Chat

/// A model whose every answer is evidence: what the store has is never asked again.
package struct RecordingChatModel: ChatModel {
    private let base: any ChatModel
    private let store: EvidenceStore
    private let spending: Spending?
    private let calls: Slots
    private let unsaved: Slots
    private let isStopping: @Sendable () -> Bool

    /// - Parameters:
    ///   - spending: counts what the answers cost, and stops before a limit; nil where no price is known.
    ///   - isStopping: asked before each call; once true, nothing more is sent.
    package init(
        _ base: any ChatModel, store: EvidenceStore, spending: Spending? = nil,
        isStopping: @escaping @Sendable () -> Bool = { false }
    ) {
        self.isStopping = isStopping
        self.base = base
        self.store = store
        self.spending = spending
        calls = Slots(base.maxConcurrentRequests)
        unsaved = Slots(base.maxConcurrentRequests * 2)
    }

    package var name: String { base.name }
    package var fingerprint: String { base.fingerprint }

    /// More than the base takes at once, so that intents are on the disk before a slot is free.
    package var maxConcurrentRequests: Int { base.maxConcurrentRequests * 3 }

    package func complete(_ request: ChatRequest) async throws -> Completion {
        let text = request.canonicalText(modelFingerprint: base.fingerprint)
        let key = Digest.sha256(text)
        if let recorded = try await store.completion(forKey: key) {
            await spending?.count(recorded.usage)
            return recorded
        }
        try await store.recordIntent(key: key, request: text, model: base.fingerprint)
        // Calls in flight and replies not yet on the disk: what a kill may cost, and no more.
        try await unsaved.take()
        do {
            let completion = try await answer(request, key)
            await unsaved.release()
            return completion
        } catch {
            await unsaved.release()
            if let failure = error as? ModelFailure {
                try await store.recordFailure(key: key, reason: failure.description)
            }
            throw error
        }
    }

    private func answer(_ request: ChatRequest, _ key: String) async throws -> Completion {
        try await calls.take()
        let reservation: Spending.Reservation?
        let completion: Completion
        do {
            if isStopping() { throw CancellationError() }
            reservation = try await spending?.reserve(for: request)
            do {
                completion = try await base.complete(request)
            } catch {
                if let reservation { await spending?.release(reservation) }
                throw error
            }
        } catch {
            await calls.release(after: error as? ModelFailure)
            throw error
        }
        await calls.release()
        if let reservation { await spending?.settle(reservation, usage: completion.usage) }
        try await store.recordReply(key: key, completion: completion)
        return completion
    }
}

/// As many calls at once as the model takes, and none after it refused to serve anybody.
private actor Slots {
    private var free: Int
    private var refusal: ModelFailure?
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var nextWaiting = 0

    init(_ count: Int) { free = count }

    /// - Throws: the refusal that an earlier call met.
    func take() async throws(ModelFailure) {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
        if let refusal {
            release()
            throw refusal
        }
    }

    func release(after failure: ModelFailure? = nil) {
        switch failure {
        case .providerRefuses, .credentials, .spendLimit: refusal = refusal ?? failure
        case .requestFailed, .notRecorded, .unsupported, nil: break
        }
        guard nextWaiting < waiting.count else {
            waiting.removeAll(keepingCapacity: true)
            nextWaiting = 0
            free += 1
            return
        }
        nextWaiting += 1
        waiting[nextWaiting - 1].resume()
    }
}

/// Evidence alone answers: no network, no cost.
package struct ReplayChatModel: ChatModel {
    package let name: String
    package let fingerprint: String
    package let maxConcurrentRequests = 16
    private let store: EvidenceStore

    /// - Parameter fingerprint: of the model whose recorded answers are replayed.
    package init(name: String, fingerprint: String, store: EvidenceStore) {
        self.name = name
        self.fingerprint = fingerprint
        self.store = store
    }

    package func complete(_ request: ChatRequest) async throws -> Completion {
        if let recorded = try await store.completion(forKey: request.key(modelFingerprint: fingerprint)) {
            return recorded
        }
        throw ModelFailure.notRecorded(
            "\(store.path) holds no answer of \(fingerprint) to one of the requests. Run without --offline (or "
                + "replay:) to ask "
                + "for it, or import the evidence that has it.")
    }
}
