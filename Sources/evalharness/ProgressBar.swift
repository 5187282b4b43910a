import Synchronization

/// How far a stage is: a bar on a terminal, a line every tenth elsewhere.
final class ProgressBar: Sendable {
    private struct State {
        var shown = -1
        var isDrawn = false
    }

    private let label: String
    private let total: Int
    private let isEnabled: Bool
    private let started = ContinuousClock.now
    private let state = Mutex(State())

    init(_ label: String, total: Int, isEnabled: Bool) {
        self.label = label
        self.total = total
        self.isEnabled = isEnabled && total > 0
    }

    func update(_ done: Int) {
        guard isEnabled else { return }
        let steps = Console.isErrorTerminal ? 200 : 10
        let step = done * steps / total
        state.withLock { state in
            guard step > state.shown else { return }
            state.shown = step
            state.isDrawn = true
            let text = line(done)
            if Console.isErrorTerminal {
                Console.progress("\r\u{1B}[K\(text)" + (done == total ? "\n" : ""))
            } else {
                Console.note(text)
            }
        }
    }

    private func line(_ done: Int) -> String {
        let elapsed = ContinuousClock.now - started
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        let rate = seconds > 0 ? Double(done) / seconds : 0
        let filled = done * 24 / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        let left = rate > 0 ? " · \(duration(Double(total - done) / rate)) left" : ""
        return "\(label) \(bar) \(done)/\(total) · \(Int(rate.rounded())) a second\(done < total ? left : "")"
    }

    private func duration(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded(.up))
        return whole < 60 ? "\(whole) s" : "\(whole / 60) min \(whole % 60) s"
    }
}
