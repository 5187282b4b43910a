import ArgumentParser
import Chat
import Endpoints
import Evaluation
import Synchronization

struct DatasetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dataset", abstract: "Upstream's data, pinned by hash.",
        subcommands: [List.self, Pull.self, Import.self, Verify.self])

    static func cache(_ name: String) throws -> DatasetCache {
        let benchmark = try Definitions.benchmark(name, home: try Environment.definitionsHome())
        return DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What is here, and what it is.")

        func run() throws {
            let home = try Environment.definitionsHome()
            for name in Files.names(in: "\(home)/benchmarks")
            where Files.exists("\(home)/benchmarks/\(name)/benchmark.yaml") {
                let cache = try DatasetCommand.cache(name)
                Console.data("\(name)  \(cache.benchmark.title)  \(cache.folder)\n")
                for file in cache.benchmark.files {
                    let state =
                        switch try cache.state(file) {
                        case .absent: "absent      "
                        case .pinned: "official    "
                        case .unverified: "not official"
                        }
                    Console.data("  \(state)  \(file.name)  (\(file.licence))\n")
                }
            }
        }
    }

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Download what is missing; a broken download continues, a wrong file is refused.")

        @Argument var benchmark: String
        @Flag(help: "No progress on stderr.") var noProgress = false

        func run() async throws {
            Interruption.shared.arm()
            let cache = try DatasetCommand.cache(benchmark)
            try Files.makeFolder(cache.folder)
            for file in cache.benchmark.files {
                if case .pinned = try cache.state(file) {
                    Console.data("\(file.name): here\n")
                    continue
                }
                try await fetch(file, into: cache)
                Console.data("\(file.name): pulled\n")
            }
        }

        private func fetch(_ file: Benchmark.DataFile, into cache: DatasetCache) async throws {
            let isQuiet = noProgress
            let bar = Mutex<ProgressBar?>(nil)
            let url = Download.mirrored(url: file.url, endpoint: Environment.value("HF_ENDPOINT"))
            let download = Download(
                url: url, destination: cache.path(file), checksum: file.checksum, token: Environment.secret("HF_TOKEN"))
            try await download.run { received, total in
                guard let total else { return }
                let bar = bar.withLock { bar in
                    let current =
                        bar
                        ?? ProgressBar(
                            "\(file.name), KiB", total: (total + 1023) / 1024, isEnabled: !isQuiet)
                    bar = current
                    return current
                }
                bar.update((received + 1023) / 1024)
            }
        }
    }

    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the files from a folder instead of the "
                + "network.")

        @Argument var benchmark: String
        @Option(name: .customLong("from"), help: "The folder that holds the files under their official names.")
        var source: String
        @Flag(help: "Take files whose hash is not the pinned one; every score made with them says so.")
        var unverified = false

        func run() throws {
            let cache = try DatasetCommand.cache(benchmark)
            for file in try cache.importFiles(from: source, allowUnverified: unverified) {
                Console.data(
                    "\(file.name): "
                        + "\(file.isPinned ? "official" : "not the official file, SHA-256 \(file.sha256)")\n")
            }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Hash every file again.")

        @Argument var benchmark: String

        func run() throws {
            let cache = try DatasetCommand.cache(benchmark)
            var faults: [String] = []
            for file in cache.benchmark.files {
                switch try cache.state(file) {
                case .pinned: Console.data("\(file.name): official\n")
                case .absent:
                    Console.data("\(file.name): absent\n")
                    faults.append("\(file.name) is absent")
                case .unverified(let sha256):
                    Console.data("\(file.name): not the official file, SHA-256 \(sha256)\n")
                    faults.append("\(file.name) is not the official file")
                }
            }
            if faults.isEmpty { return }
            throw EvaluationError.integrity(
                "\(faults.joined(separator: "; ")). Bring the official files with: evalharness dataset pull "
                    + "\(benchmark).")
        }
    }
}
