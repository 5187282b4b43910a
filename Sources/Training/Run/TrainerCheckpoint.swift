internal import Chat
internal import Glibc
internal import LanguageModel

/// Where a run stands: all that is needed to go on as if it had never stopped.
package struct TrainerState: Codable, Hashable, Sendable {
    /// Steps taken.
    package var step = 0
    /// The micro-batches since the last line of the log.
    package var unlogged: [BatchMetrics] = []
    /// Tokens that were trained on so far.
    package var tokens = 0
    /// Everything that the steps depend on: recipe, data, model, arithmetic.
    package var fingerprint: String

    package init(fingerprint: String) { self.fingerprint = fingerprint }
}

/// The folders `checkpoint-<step>` of a run: weights, both moments and the state, each written whole or not at all.
package struct TrainerCheckpoints: Sendable {
    package let folder: String
    /// How many are kept; the newest ones.
    package let limit: Int

    package init(folder: String, limit: Int) {
        self.folder = folder
        self.limit = max(1, limit)
    }

    /// Saves beside the others, then removes the oldest ones over the limit.
    ///
    /// - Throws: `TrainingError.inputOutput`; what was saved before stays.
    package func save(_ state: TrainerState, _ store: ParameterStore) throws(TrainingError) {
        let path = "\(folder)/checkpoint-\(state.step)"
        let partial = "\(path).partial"
        TrainingFiles.removeFolder(partial)
        try TrainingFiles.makeFolder(partial)
        var files = JSONObject()
        for (name, region) in regions(store) {
            let bytes = UnsafeRawBufferPointer(start: region.pointer, count: 4 * region.count)
            if let failure = TrainingFiles.failure(writing: bytes, to: "\(partial)/\(name)") { throw failure }
            files[name] = .string(hash(bytes))
        }
        let object: JSONObject = [
            "schema": "evalharness.trainer/1", "step": .integer(state.step), "tokens": .integer(state.tokens),
            "fingerprint": .string(state.fingerprint), "sha256": .object(files),
            "unlogged": .array(state.unlogged.map(\.json)),
        ]
        try TrainingFiles.write(
            JSONValue.object(object).serialized(.indented(2)), to: "\(partial)/\(TrainerCheckpoints.stateFile)")
        if TrainingFiles.exists(path) { TrainingFiles.removeFolder(path) }
        try TrainingFiles.rename(partial, to: path)
        // Later ones were found damaged: else this run would go on after them.
        for old in steps.prefix(while: { $0 <= state.step }).dropLast(limit) {
            TrainingFiles.removeFolder("\(folder)/checkpoint-\(old)")
        }
    }

    /// The steps that have a folder, ascending.
    package var steps: [Int] {
        TrainingFiles.names(in: folder).compactMap { name in
            name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)) : nil
        }.sorted()
    }

    /// Loads the newest whole checkpoint into the store; nil where there is none.
    ///
    /// - Parameter damaged: told the folder of each newer one that is passed over, and why.
    /// - Throws: `TrainingError.configuration` where it belongs to another run, or one to another program.
    package func load(
        into store: ParameterStore, fingerprint: String, damaged: (String, String) -> Void
    ) throws(TrainingError) -> TrainerState? {
        let own = Set(regions(store).map(\.0) + [TrainerCheckpoints.stateFile])
        for step in steps.reversed() {
            let path = "\(folder)/checkpoint-\(step)"
            if let name = TrainingFiles.names(in: path).first(where: { !own.contains($0) }) {
                throw .configuration(
                    "\(path) has \(name), so another program left it. Name another output folder, or move it away")
            }
            let state: TrainerState
            let hashes: JSONObject
            do {
                (state, hashes) = try read(path)
            } catch {
                damaged(path, "\(error)")
                continue
            }
            guard state.fingerprint == fingerprint else {
                throw .configuration(
                    "\(path) belongs to a run with another recipe, model or data. Name another output folder, or "
                        + "remove this one's checkpoints to begin anew")
            }
            do {
                // All are checked before the first is taken.
                let files = try regions(store).map { (name, region) throws(TrainingError) in
                    try StoredRegion(region, "\(path)/\(name)", sha256: hashes[name]?.string)
                }
                for file in files { file.copy() }
            } catch {
                damaged(path, "\(error)")
                continue
            }
            return state
        }
        return nil
    }

    private static let stateFile = "state.json"

    private func regions(_ store: ParameterStore) -> [(String, FloatRegion)] {
        guard let training = store.training else { preconditionFailure("frozen weights have no checkpoint") }
        return [
            ("weights.f32", store.values), ("first_moments.f32", training.firstMoments),
            ("second_moments.f32", training.secondMoments),
        ]
    }

    private func read(_ path: String) throws(TrainingError) -> (TrainerState, JSONObject) {
        let value: JSONValue
        do {
            value = try JSONValue(parsing: try TrainingFiles.read("\(path)/\(TrainerCheckpoints.stateFile)"))
        } catch {
            throw .badData("\(path)/\(TrainerCheckpoints.stateFile): \(error)")
        }
        guard case .integer(let step)? = value["step"], case .integer(let tokens)? = value["tokens"],
            let fingerprint = value["fingerprint"]?.string, let hashes = value["sha256"]?.object,
            let unlogged = value["unlogged"]?.array
        else { throw .badData("\(path)/\(TrainerCheckpoints.stateFile) lacks a field") }
        var state = TrainerState(fingerprint: fingerprint)
        state.step = step
        state.tokens = tokens
        state.unlogged = unlogged.map(BatchMetrics.init)
        return (state, hashes)
    }
}

private func hash(_ bytes: UnsafeRawBufferPointer) -> String {
    let digest = RunningDigest()
    digest.update(bytes)
    return digest.finish()
}

/// The file of a region, mapped and found whole.
private final class StoredRegion {
    private let region: FloatRegion
    private let bytes: UnsafeMutableRawPointer

    init(_ region: FloatRegion, _ path: String, sha256: String?) throws(TrainingError) {
        self.region = region
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .missingInput("\(path) cannot be read: \(TrainingFiles.reason(errno))") }
        defer { close(file) }
        var status = stat()
        let count = 4 * region.count
        guard fstat(file, &status) == 0, Int(status.st_size) == count else {
            throw .badData("\(path) has \(status.st_size) bytes instead of \(count)")
        }
        let address = mmap(nil, max(1, count), PROT_READ, MAP_PRIVATE, file, 0)
        guard let address, address != MAP_FAILED else {
            throw .inputOutput("\(path) cannot be mapped: \(TrainingFiles.reason(errno))")
        }
        bytes = address
        guard hash(UnsafeRawBufferPointer(start: bytes, count: count)) == sha256 else {
            throw .badData("\(path) is damaged")
        }
    }

    deinit { munmap(bytes, max(1, 4 * region.count)) }

    func copy() { memcpy(region.pointer, bytes, 4 * region.count) }
}

extension BatchMetrics {
    fileprivate var json: JSONValue {
        var object = JSONObject()
        for (name, value) in named { object[name] = .number(value) }
        object["step_share"] = .number(stepShare)
        object["chosen_rows"] = chosenRows.map { .integer($0) }
        object["rejected_rows"] = rejectedRows.map { .integer($0) }
        return .object(object)
    }

    fileprivate init(_ value: JSONValue) {
        self.init()
        loss = value["loss"]?.number ?? 0
        stepShare = value["step_share"]?.number ?? 1
        chosenReward = value["rewards/chosen"]?.number
        rejectedReward = value["rewards/rejected"]?.number
        accuracy = value["rewards/accuracies"]?.number
        margin = value["rewards/margins"]?.number
        chosenLogProb = value["logps/chosen"]?.number
        rejectedLogProb = value["logps/rejected"]?.number
        negativeLogLikelihood = value["nll_loss"]?.number
        klDivergence = value["kl"]?.number
        logOddsRatio = value["log_odds_ratio"]?.number
        logOddsChosen = value["log_odds_chosen"]?.number
        chosenRows = value["chosen_rows"]?.integer
        rejectedRows = value["rejected_rows"]?.integer
    }
}
