package import Chat
internal import Synchronization

/// Several servers of the same model as one: each request goes to the one with the fewest in flight.
///
/// A replica that cannot be reached is left out for a while, and its request goes to the next one at once; afterwards
/// one request at a time finds out whether it is back. A request fails only when every replica failed it. A rejected
/// key, or a model that a replica does not serve, stops everything, as with one endpoint.
package final class ReplicatedChatModel: ChatModel {
    package let name: String
    package let fingerprint: String
    package let maxConcurrentRequests: Int
    private let replicas: [ChatEndpoint]
    private let time: TimeSource
    private let loads: Mutex<[Load]>

    /// - Parameters:
    ///   - replicas: at least one; concurrency and rate limits are each server's own. Name, attempts and times are
    ///     the first one's.
    ///   - fingerprint: of the model that all of them serve.
    /// - Throws: as `ChatEndpoint` does, for the first replica that cannot be used.
    package init(_ replicas: [ChatEndpoint.Configuration], fingerprint: String) throws(ModelFailure) {
        precondition(!replicas.isEmpty, "a model without a server")
        var endpoints: [ChatEndpoint] = []
        for replica in replicas { endpoints.append(try ChatEndpoint(replica)) }
        self.replicas = endpoints
        self.fingerprint = fingerprint
        name = replicas[0].name
        time = replicas[0].time
        maxConcurrentRequests = replicas.reduce(0) { $0 + $1.maxConcurrentRequests }
        loads = Mutex(Array(repeating: Load(), count: replicas.count))
    }

    package func complete(_ request: ChatRequest) async throws -> Completion {
        var retry = replicas[0].retry(for: request)
        var rejections: [Int: String] = [:]
        while true {
            var faults: [Int: Fault] = [:]
            while let place = take(besides: Set(rejections.keys).union(faults.keys)) {
                do {
                    switch try await ask(place, request, deadline: retry.deadline) {
                    case .answered(let completion): return completion
                    case .fault(let fault): faults[place] = fault
                    }
                } catch ModelFailure.requestFailed(let reason) {
                    rejections[place] = reason
                }
                retry.start(now: time.now())
                if retry.isOver(now: time.now()) { break }
            }
            if faults.isEmpty { throw failure(rejections) }
            switch retry.decide(after: Fault(all: faults), now: time.now()) {
            case .giveUp(let tries):
                let reasons = faults.map { ($0.key, replicas[$0.key].gaveUp(tries, $0.value)) }
                throw failure(rejections.merging(reasons) { $1 })
            case .wait(let wait): try await time.sleep(wait)
            }
        }
    }

    /// The replica that gets the next try, which is then in flight there; nil where `tried` has them all. One that is
    /// left out is asked only when no other remains.
    private func take(besides tried: Set<Int>) -> Int? {
        let now = time.now()
        return loads.withLock { loads in
            let untried = loads.indices.filter { !tried.contains($0) }
            let serving = untried.filter { loads[$0].isServing(now: now) }
            let candidates = serving.isEmpty ? untried : serving
            guard let place = candidates.min(by: { loads[$0].inFlight < loads[$1].inFlight }) else { return nil }
            loads[place].inFlight += 1
            return place
        }
    }

    private func ask(_ place: Int, _ request: ChatRequest, deadline: Duration?) async throws -> ChatEndpoint.Reply {
        defer { loads.withLock { $0[place].inFlight -= 1 } }
        let reply = try await replicas[place].ask(request, deadline: deadline)
        let now = time.now()
        loads.withLock { loads in
            switch reply {
            case .answered: loads[place].faults = 0
            case .fault(let fault): loads[place].note(fault, now: now)
            }
        }
        return reply
    }

    /// One sentence a replica, in the order of the list.
    private func failure(_ reasons: [Int: String]) -> ModelFailure {
        .requestFailed(reasons.sorted { $0.key < $1.key }.map(\.value).joined(separator: " "))
    }
}

/// What is known of one replica.
private struct Load {
    var inFlight = 0
    /// How often in a row it could not be reached when it was asked again.
    var faults = 0
    private var backAt = Duration.zero

    func isServing(now: Duration) -> Bool { faults == 0 || (now >= backAt && inFlight == 0) }

    /// An answer of any status shows that the replica is there. Requests that were in flight together when it went
    /// count once.
    mutating func note(_ fault: Fault, now: Duration) {
        if fault.answer != nil {
            faults = 0
        } else if faults == 0 || now >= backAt {
            faults += 1
            backAt = now + (fault.told ?? RetryPolicy.backoff(faults: faults, draw: 0))
        }
    }
}

extension Fault {
    /// What every replica's fault says together: the shortest wait that was asked for, where all ask for one; an
    /// answer where all gave the same.
    fileprivate init(all faults: [Int: Fault]) {
        let told = faults.values.compactMap(\.told)
        let answers = Set(faults.values.map(\.answer))
        self.init(
            what: faults.values.map(\.what).joined(separator: "; "),
            told: told.count == faults.count ? told.min() : nil,
            answer: answers.count == 1 ? answers.first.flatMap { $0 } : nil)
    }
}
