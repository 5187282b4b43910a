import Dispatch
import Evaluation
import Glibc
import Synchronization

/// Ctrl-C and SIGTERM: the first finishes what is in flight and saves, the second stops now.
final class Interruption: Sendable {
    static let shared = Interruption()

    let stop = StopFlag()
    private let received = Mutex<Int32?>(nil)
    private let sources = Mutex<[any DispatchSourceSignal]>([])

    /// Handles the signals from now on.
    func arm() {
        sources.withLock { sources in
            guard sources.isEmpty else { return }
            for number in [SIGINT, SIGTERM] {
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
                source.setEventHandler { self.handle(number) }
                source.resume()
                sources.append(source)
            }
        }
    }

    var exitCode: Int32 { 128 + (received.withLock { $0 } ?? SIGINT) }

    private func handle(_ number: Int32) {
        let isFirst = received.withLock { received in
            defer { received = received ?? number }
            return received == nil
        }
        if !isFirst { _exit(128 + number) }
        stop.raise()
        Console.note("Finishing what is in flight; once more stops now.")
    }
}
