internal import Synchronization

/// Asks a stage to finish what is in flight and launch nothing more.
package final class StopFlag: Sendable {
    private let isRaised = Atomic<Bool>(false)

    package init() {}

    package func raise() { isRaised.store(true, ordering: .relaxed) }
    package var wasRaised: Bool { isRaised.load(ordering: .relaxed) }
}

/// A stage stopped before its end because it was asked to; the same command continues.
package struct Interrupted: Error, Hashable, CustomStringConvertible {
    package var done: Int
    package var total: Int

    package init(done: Int, total: Int) {
        self.done = done
        self.total = total
    }

    package var description: String {
        "Stopped after \(done) of \(total); everything received is kept. Run the same command again: it continues."
    }
}

/// Runs `transform` over all inputs, at most `width` at a time; results in the order of the inputs.
///
/// When one throws, nothing more is launched, but what is in flight is awaited: those calls are paid for, and their
/// replies are evidence. Then the first error is thrown.
package func mapConcurrently<Input: Sendable, Output: Sendable>(
    _ inputs: [Input], width: Int, stop: StopFlag, progress: @Sendable (Int) -> Void,
    _ transform: @escaping @Sendable (Input) async throws -> Output
) async throws -> [Output] {
    var outputs = [Output?](repeating: nil, count: inputs.count)
    var firstError: (any Error)?
    var next = 0
    var done = 0
    await withTaskGroup(of: (Int, Result<Output, any Error>).self) { group in
        func launch() {
            let index = next
            next += 1
            group.addTask {
                do {
                    return (index, .success(try await transform(inputs[index])))
                } catch {
                    return (index, .failure(error))
                }
            }
        }
        while next < min(width, inputs.count), !stop.wasRaised { launch() }
        while let (index, result) = await group.next() {
            switch result {
            case .success(let output):
                outputs[index] = output
                done += 1
                progress(done)
            case .failure(is CancellationError) where stop.wasRaised: break  // never sent
            case .failure(let error): firstError = firstError ?? error
            }
            if firstError == nil, !stop.wasRaised, next < inputs.count { launch() }
        }
    }
    if let firstError { throw firstError }
    guard done == inputs.count else { throw Interrupted(done: done, total: inputs.count) }
    return outputs.map { $0! }
}
