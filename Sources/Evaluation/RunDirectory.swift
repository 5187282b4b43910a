package import Chat
internal import Glibc

/// `results/<benchmark>/<model>/`: the files of one run, and the right to write them.
package struct RunDirectory: Sendable {
    package let path: String

    package init(resultsFolder: String, benchmark: String, model: String) throws(EvaluationError) {
        path = "\(resultsFolder)/\(benchmark)/\(try RunDirectory.folderName(model))"
    }

    package init(path: String) { self.path = path }

    package var modelOutputs: String { path + "/model_outputs.json" }
    package var annotations: String { path + "/annotations.json" }
    package var scores: String { path + "/scores.json" }
    package var run: String { path + "/run.json" }
    package var report: String { path + "/report.html" }
    /// FastChat's and arena-hard-auto's, in place of the first two.
    package var modelAnswer: String { path + "/model_answer.jsonl" }
    package var modelJudgment: String { path + "/model_judgment.jsonl" }
    /// Of several models a file each.
    package var modelAnswers: String { path + "/model_answer" }

    /// A run's folder holds the results of one judge, baseline and prompt set: others are never written over it.
    ///
    /// - Throws: `integrity` naming what differs.
    package func refuseOtherRun(_ identity: JSONObject) throws(EvaluationError) {
        guard Files.exists(run) else { return }
        let earlier =
            try Files.readJSON(
                run,
                asked: "The record of the earlier "
                    + "run")["identity"]?.object ?? JSONObject()
        let differing = identity.keys.filter { earlier[$0] != nil && earlier[$0] != identity[$0] }
        if differing.isEmpty { return }
        throw .integrity(
            "\(path) holds a run with another \(differing.joined(separator: ", another ")). Give this one its own "
                + "--name or "
                + "--results-dir, or replace the earlier one with --overwrite.")
    }

    /// Model names come from files and flags: they never leave the results folder, and stay readable.
    package static func folderName(_ model: String) throws(EvaluationError) -> String {
        let safe = String(
            String.UnicodeScalarView(
                model.unicodeScalars.map { scalar in
                    let isUnsafe =
                        scalar == "/" || scalar == "\\" || scalar.properties.generalCategory == .control
                        || scalar.properties.generalCategory == .format
                    return isUnsafe ? "_" : scalar
                }))
        guard !safe.isEmpty, !safe.hasPrefix("."), safe.utf8.count <= 200 else {
            throw .configuration("\"\(model.prefix(60))\" cannot name a folder. Give the model a name with --name.")
        }
        return safe
    }
}

/// One process at a time works on a run; the lock goes with the process, however it ends.
package final class RunLock: Sendable {
    private let descriptor: Int32

    /// Takes the run, and removes the files that an owner who was killed did not finish.
    ///
    /// - Throws: `busy` naming the owner.
    package init(_ run: RunDirectory, stateHome: String) throws(EvaluationError) {
        let folder = "\(stateHome)/evalharness/locks"
        try Files.makeFolder(folder)
        try Files.makeFolder(run.path)
        let resolved = realpath(run.path, nil)
        defer { free(resolved) }
        let identity = resolved.map { String(cString: $0) } ?? run.path
        let path = "\(folder)/\(Digest.sha256(identity)).lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw .cannotCreate("\(path) cannot be made: \(Files.reason(errno)).") }
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            var owner = [UInt8](repeating: 0, count: 64)
            let count = max(0, read(descriptor, &owner, owner.count))
            close(descriptor)
            throw .busy(
                "Another process is at work on \(run.path): \(String(decoding: owner[..<count], as: UTF8.self)). "
                    + "Wait for it, "
                    + "then run the same command again.")
        }
        let owner = Array("process \(getpid())".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, owner, owner.count, 0)
        for folder in [run.path, run.modelAnswers] { try Files.removePartialFiles(in: folder) }
    }

    deinit { close(descriptor) }
}
