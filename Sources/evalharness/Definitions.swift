import Chat
import Evaluation

/// The definitions under `benchmarks/` and `judges/`.
enum Definitions {
    static func benchmark(_ name: String, home: String) throws -> Benchmark {
        try Benchmark(folder: try folder(name, kind: "benchmark", in: "\(home)/benchmarks"))
    }

    static func judge(_ name: String, home: String) throws -> DefinedJudge {
        try DefinedJudge(folder: try folder(name, kind: "judge", in: "\(home)/judges"))
    }

    /// The fingerprint of the model that the benchmark's own judge has.
    static func judgeModel(_ benchmark: Benchmark, home: String) throws -> String? {
        guard case .model(let definition) = try judge(benchmark.judge, home: home) else { return nil }
        return definition.model?.fingerprint
    }

    private static func folder(_ name: String, kind: String, in parent: String) throws -> String {
        // A path names a definition of the user's own.
        if name.contains("/"), Files.isFolder(name) { return name }
        guard !name.contains("/"), Files.exists("\(parent)/\(name)/\(kind).yaml") else {
            let known = Files.names(in: parent).filter { Files.exists("\(parent)/\($0)/\(kind).yaml") }
            throw EvaluationError.configuration(
                "There is no \(kind) \"\(name)\"; known are \(known.joined(separator: ", ")), or the path of a "
                    + "folder of your own.")
        }
        return "\(parent)/\(name)"
    }
}
