/// Whatever answers a conversation: the local engine, a remote endpoint, a program, a recording of one of them.
package protocol ChatModel: Sendable {
    var name: String { get }
    /// What makes its answers its own: a hash of the weights, or the provider and the model's id there.
    var fingerprint: String { get }
    var maxConcurrentRequests: Int { get }
    /// - Throws: `ModelFailure`, or `CancellationError` when the task was cancelled.
    func complete(_ request: ChatRequest) async throws -> Completion
}

/// Why there is no answer. A failed request leaves its prompt missing; the other cases stop the run.
package enum ModelFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// This request failed for good after every retry; others may well succeed.
    case requestFailed(String)
    /// The provider serves nobody with this account or model any more: quota spent, model gone.
    case providerRefuses(String)
    /// The key is missing or rejected.
    case credentials(String)
    /// Only recorded answers are allowed, and this one was never recorded.
    case notRecorded(String)
    /// The next call could pass the spend limit.
    case spendLimit(String)
    /// The request asks for what this model cannot do (beam search through an endpoint, say).
    case unsupported(String)

    package var description: String {
        switch self {
        case .requestFailed(let text), .providerRefuses(let text), .credentials(let text), .notRecorded(let text),
            .spendLimit(let text), .unsupported(let text):
            text
        }
    }
}
