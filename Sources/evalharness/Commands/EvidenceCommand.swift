import ArgumentParser
import Chat
import Evaluation
import Evidence

struct EvidenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evidence", abstract: "Every answer that was ever received.",
        subcommands: [Stats.self, Export.self, Import.self, Verify.self])

    struct StoreOption: ParsableArguments {
        @Option(help: "The evidence store; XDG_STATE_HOME/evalharness/evidence.sqlite when left out.")
        var evidence: String?

        func open(mustExist: Bool) throws -> EvidenceStore {
            let path = evidence ?? "\(Environment.stateHome)/evalharness/evidence.sqlite"
            if mustExist, !Files.exists(path) {
                throw EvaluationError.missingInput("There is no evidence store at \(path). Name one with --evidence.")
            }
            try Files.makeFolder(Files.parent(of: path))
            return try EvidenceStore(path: path)
        }
    }

    struct Stats: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "How much there is, and from whom.")

        @OptionGroup var store: StoreOption

        func run() async throws {
            let counts = try await store.open(mustExist: true).counts()
            Console.data(
                """
                requests      \(counts.requests)
                replies       \(counts.replies)
                failures      \(counts.failures)
                unknown fate  \(counts.unknownFate)

                """)
            for (model, count) in counts.models.sorted(by: { $0.key < $1.key }) {
                Console.data(
                    "  \(count)  "
                        + "\(model)\n")
            }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Every answered request as JSON Lines.")

        @OptionGroup var store: StoreOption
        @Option(name: .shortAndLong, help: "The file to write; standard output when left out.") var output: String?

        func run() async throws {
            let evidence = try store.open(mustExist: true)
            guard let output else { return try evidence.exportLines { Console.data("\($0)\n") } }
            var bytes: [UInt8] = []
            try evidence.exportLines { bytes += Array("\($0)\n".utf8) }
            try Files.write(bytes, to: output)
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take the exports of other machines; every hash is checked.")

        @OptionGroup var store: StoreOption
        @Argument(help: "Files made by evidence export.") var files: [String]

        func run() async throws {
            let evidence = try store.open(mustExist: false)
            for file in files {
                let lines: [JSONValue]
                do {
                    lines = try JSONValue.parseLines(try Files.read(file, asked: "The export"))
                } catch let error as JSONError {
                    throw EvaluationError.badData("\(file) is not JSON Lines: \(error). Export the evidence anew.")
                }
                let new = try await evidence.importLines(lines)
                Console.data("\(files.count > 1 ? "\(file): " : "")\(lines.count) records, \(new) new\n")
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Check every request and reply against its hash.")

        @OptionGroup var store: StoreOption

        func run() async throws {
            Console.data("\(try await store.open(mustExist: true).verify()) answers are sound\n")
        }
    }
}
