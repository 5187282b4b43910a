internal import Chat
internal import Glibc

/// The metrics of a run: a line of `metrics.jsonl` for each logged step, and TensorBoard's files in `runs`.
///
/// A line is `{"step": …}` and then the metrics by TRL's names in the order in which they are given, numbers in the
/// shortest form that reads back as the same. One that is not finite is null, and `non_finite` then says what it was.
/// A stopped and resumed run leaves the lines of one that was not stopped. Its event files tell the same: the one that
/// begins at the resumption has TensorBoard forget what earlier ones say of the steps taken again.
package final class MetricsLog {
    private let path: String
    private let descriptor: Int32
    private let events: TensorBoardEvents
    private let clock: () -> Double

    /// Opens the log of a run that goes on after `step`, whose later lines are cut off; nil begins anew.
    ///
    /// - Parameter clock: seconds since 1970, for TensorBoard.
    /// - Throws: `TrainingError.badData` for a line that is no record, `.inputOutput`.
    package init(
        folder: String, resumingAt step: Int?, clock: @escaping () -> Double = MetricsLog.systemTime
    ) throws(TrainingError) {
        path = "\(folder)/metrics.jsonl"
        self.clock = clock
        let runs = "\(folder)/runs"
        try TrainingFiles.makeFolder(runs)
        try MetricsLog.cut(path, after: step ?? 0)
        events = try TensorBoardEvents(folder: runs, wallTime: clock(), firstStep: (step ?? 0) + 1)
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .inputOutput("\(path) cannot be created: \(TrainingFiles.reason(errno))")
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Appends one line, makes it last, and tells TensorBoard.
    ///
    /// - Throws: `TrainingError.inputOutput`.
    package func log(step: Int, _ values: [(name: String, value: Double)]) throws(TrainingError) {
        let line = MetricsLog.record(step: step, values).serialized() + [UInt8(ascii: "\n")]
        if let code = AppendedFile.failure(appending: line, to: descriptor) {
            throw .inputOutput("\(path) cannot be written: \(TrainingFiles.reason(code))")
        }
        // A checkpoint that outlives a power cut must find the lines before it.
        guard fsync(descriptor) == 0 else {
            throw .inputOutput("\(path) cannot be written: \(TrainingFiles.reason(errno))")
        }
        try events.append(
            values.map { (MetricsLog.tag($0.name), $0.value) }, step: step, wallTime: clock())
    }

    /// The first and the last line of training metrics and the last of held-out ones, without their step; what is null is
    /// left out.
    ///
    /// - Throws: `TrainingError.badData`, `.inputOutput`.
    package func ends() throws(TrainingError) -> (
        first: [(name: String, value: Double)], last: [(name: String, value: Double)],
        heldOut: [(name: String, value: Double)]
    ) {
        var ends = (
            first: [(name: String, value: Double)](), last: [(name: String, value: Double)](),
            heldOut: [(name: String, value: Double)]()
        )
        for line in try TrainingFiles.read(path).split(separator: UInt8(ascii: "\n")) {
            let values = try MetricsLog.values(of: line, in: path)
            if values.contains(where: { $0.name.hasPrefix(MetricsLog.heldOutPrefix) }) {
                ends.heldOut = values
            } else {
                if ends.first.isEmpty { ends.first = values }
                ends.last = values
            }
        }
        return ends
    }

    private static func values(of line: ArraySlice<UInt8>, in path: String) throws(TrainingError)
        -> [(name: String, value: Double)]
    {
        guard let record = try? JSONValue(parsing: Array(line)), let object = record.object else {
            throw .badData(
                "\(path) has a line that is no JSON object: \(String(decoding: line.prefix(80), as: UTF8.self))")
        }
        return object.members.compactMap { member in
            member.key == "step" ? nil : member.value.number.map { (member.key, $0) }
        }
    }

    private static let heldOutPrefix = "eval_"

    private static func record(step: Int, _ values: [(name: String, value: Double)]) -> JSONValue {
        var record: JSONObject = ["step": .integer(step)]
        var others = JSONObject()
        for (name, value) in values {
            record[name] = JSONValue(value)
            if value.isNaN { others[name] = "NaN" }
            if value.isInfinite { others[name] = value > 0 ? "Infinity" : "-Infinity" }
        }
        if !others.members.isEmpty { record["non_finite"] = .object(others) }
        return .object(record)
    }

    /// `eval/loss` for `eval_loss` and `train/loss` for `loss`, as transformers' trainer tells TensorBoard.
    private static func tag(_ name: String) -> String {
        name.hasPrefix(heldOutPrefix) ? "eval/\(name.dropFirst(heldOutPrefix.count))" : "train/\(name)"
    }

    /// Leaves the whole lines of the steps up to `step`.
    private static func cut(_ path: String, after step: Int) throws(TrainingError) {
        guard TrainingFiles.exists(path) else { return }
        let bytes = try TrainingFiles.read(path)
        var kept = 0
        var start = 0
        // What is behind the last newline is what a killed run was writing.
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            guard let lineStep = stepOfLine(bytes[start..<end]) else {
                let number = bytes[..<start].count { $0 == UInt8(ascii: "\n") } + 1
                throw .badData(
                    "\(path) line \(number) is no record of a training log (a JSON object with a \"step\"). Move the "
                        + "file away, or repair it")
            }
            if lineStep > step { break }
            start = end + 1
            kept = start
        }
        if kept < bytes.count { try TrainingFiles.write(Array(bytes[..<kept]), to: path) }
    }

    private static func stepOfLine(_ line: ArraySlice<UInt8>) -> Int? {
        do {
            return try JSONValue(parsing: Array(line))["step"]?.integer
        } catch {
            return nil
        }
    }

    package static func systemTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}

/// A file that only grows.
enum AppendedFile {
    /// Nil, or the code of what went wrong.
    static func failure(appending bytes: [UInt8], to descriptor: Int32) -> Int32? {
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = write(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return count == 0 ? ENOSPC : errno }
                done += count
            }
            return nil
        }
    }
}
