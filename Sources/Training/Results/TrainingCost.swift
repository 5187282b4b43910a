package import Chat
internal import Glibc

/// What a run took: `train_results.json`, in transformers' names where it has them.
package struct TrainingCost: Hashable, Sendable {
    /// From the loading of the weights to the last step, reference pass, evaluation and checkpoints included; of a run that
    /// was taken up again, since then.
    package var seconds: Double
    /// Steps in this time.
    package var steps: Int
    /// The most memory that the process has had, in bytes.
    package var peakBytes: Int

    package init(seconds: Double, steps: Int, peakBytes: Int = TrainingCost.peakBytesSoFar()) {
        self.seconds = seconds
        self.steps = steps
        self.peakBytes = peakBytes
    }

    /// Nil where the folder has none.
    ///
    /// - Throws: `TrainingError.badData` for a file that says something else.
    package init?(folder: String) throws(TrainingError) {
        let path = "\(folder)/\(TrainingCost.file)"
        guard TrainingFiles.exists(path) else { return nil }
        let bytes = try TrainingFiles.read(path)
        guard let value = try? JSONValue(parsing: bytes), let seconds = value["train_runtime"]?.number,
            let steps = value["train_steps"]?.integer, let peak = value["peak_memory_bytes"]?.integer
        else { throw .badData("\(path) lacks a field. Remove it, and the analysis goes without") }
        self.init(seconds: seconds, steps: steps, peakBytes: peak)
    }

    /// - Throws: `TrainingError.inputOutput`.
    package func write(to folder: String) throws(TrainingError) {
        try TrainingFiles.write(JSONValue.object(json).serialized(.indented(2)), to: "\(folder)/\(TrainingCost.file)")
    }

    package var json: JSONObject {
        [
            "train_runtime": .number(seconds), "train_steps": .integer(steps),
            "train_steps_per_second": .number(seconds > 0 ? Double(steps) / seconds : 0),
            "peak_memory_bytes": .integer(peakBytes),
        ]
    }

    private static let file = "train_results.json"

    package static func peakBytesSoFar() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }
}
