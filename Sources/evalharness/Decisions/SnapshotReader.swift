import Chat
import Evaluation
import Reporting
import Statistics

/// Runs from wherever they are kept: a run's folder, a snapshot, or a file of published annotations.
struct SnapshotReader {
    /// What published annotations are of.
    let benchmark: String
    private let home: String
    private let isCalibrated: Bool

    /// - Parameter lengthControl: whether the benchmark's calibration will be asked for.
    init(benchmark: String, lengthControl: Bool) throws {
        self.benchmark = benchmark
        home = try Environment.definitionsHome()
        isCalibrated = lengthControl
    }

    func read(_ path: String) throws -> RunSnapshot {
        if Files.isFolder(path) {
            let directory = RunDirectory(path: path)
            if Files.exists(directory.run) { return try RunSnapshot(directory, prompts: try prompts()) }
            // As alpaca_eval leaves its results.
            let annotations = "\(path)/annotations.json"
            guard Files.exists(annotations) else {
                throw EvaluationError.missingInput(
                    "\(path) holds no run: neither run.json nor annotations.json. Name the folder of a run, a snapshot or an "
                        + "annotations.json.")
            }
            return try published(annotations, name: nil)
        }
        guard path.hasSuffix(".json"), let bytes = try? Files.read(path, asked: "The run"),
            bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{")
        else { return try published(path, name: nil) }
        return try RunSnapshot(try Files.readJSON(path, asked: "The snapshot"), path: path)
    }

    private func published(_ path: String, name: String?) throws -> RunSnapshot {
        let definition = try Definitions.benchmark(benchmark, home: home)
        let published = try PublishedAnnotations(bytes: try Files.read(path, asked: "The annotations"), path: path)
        return RunSnapshot(
            published, name: name, benchmark: definition.id, prompts: try prompts(),
            provenance: RunSnapshot.provenance(
                of: published, officialJudgeModel: try Definitions.judgeModel(definition, home: home)),
            flags: Audit(published.auditedOutputs).flags.map(\.description))
    }

    /// The benchmark's own prompts, where they are on this machine.
    private func prompts() throws -> PromptSet? {
        guard case .instructions = try Definitions.benchmark(benchmark, home: home).kind else { return nil }
        let cache = try cache()
        guard let file = cache.benchmark.file(.prompts), try cache.state(file) != .absent else { return nil }
        let (bytes, provenance) = try cache.load(.prompts)
        return try PromptSet(bytes: bytes, path: provenance.name, isOfficial: provenance.isPinned)
    }

    /// What a reader must know of the length control that `equalizer` gave.
    func note(on equalizer: Comparison.Equalizer?) throws -> String? {
        let cache = try cache()
        guard equalizer?.control.design == .minimal,
            try cache.benchmark.file(.prompts).map({ try cache.state($0) == .absent }) ?? false
        else { return nil }
        return
            "the prompts of \(benchmark) are not on this machine, so length control does without their difficulty; for the "
            + "benchmark's own: evalharness dataset pull \(benchmark)"
    }

    private func cache() throws -> DatasetCache {
        DatasetCache(
            benchmark: try Definitions.benchmark(benchmark, home: home), cacheHome: Environment.cacheHome)
    }

    /// Length control as the runs allow it: upstream's for its own prompts, the minimal one for others.
    ///
    /// - Throws: `missingInput` where the benchmark's own prompts were judged and its calibration is not here.
    func equalizer(_ runs: [RunSnapshot]) throws -> Comparison.Equalizer? {
        guard isCalibrated,
            runs.allSatisfy({ $0.scale == .preference && $0.rows.contains { $0.baselineLength != nil } })
        else { return nil }
        guard runs.allSatisfy({ $0.rows.allSatisfy { $0.place != nil } }) else {
            return Comparison.Equalizer(LengthControl(design: .minimal, gamed: []), difficulty: [])
        }
        let calibration = try Calibration(try cache())
        return Comparison.Equalizer(
            LengthControl(design: .v1, gamed: calibration.gamed), difficulty: calibration.difficulty)
    }
}
