import ArgumentParser
import Chat
import Evaluation
import Evidence
import Glibc
import LanguageModel

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "What is missing here, and the command that mends it.",
        discussion: "It asks nobody, and prints no key: only whether one is set.")

    /// One thing that a run may need.
    private struct Finding {
        /// What is there; nil where it is missing.
        var state: String?
        var name: String
        /// What to do where it is missing.
        var remedy = ""
    }

    func run() async throws {
        let home = try Environment.definitionsHome()
        var findings = [Finding(state: home, name: "definitions")]
        findings += try datasets(home)
        findings += keys
        findings.append(try prices(home))
        findings.append(await evidence())
        findings.append(disk)
        findings.append(Finding(state: Kernels.availableNames.joined(separator: ", "), name: "kernels"))
        let width = findings.map(\.name.count).max() ?? 0
        for finding in findings {
            let name = finding.name + String(repeating: " ", count: width - finding.name.count)
            let words = finding.state.map { "ok       \(name)  \($0)" } ?? "missing  \(name)  \(finding.remedy)"
            Console.data(words + "\n")
        }
    }

    private func datasets(_ home: String) throws -> [Finding] {
        try Files.names(in: "\(home)/benchmarks").filter { Files.exists("\(home)/benchmarks/\($0)/benchmark.yaml") }
            .map { name in
                let cache = try DatasetCommand.cache(name)
                let states = try cache.benchmark.files.map(cache.state)
                let absent = states.count { $0 == .absent }
                let unofficial = states.count {
                    if case .unverified = $0 { true } else { false }
                }
                let note = unofficial > 0 ? ", \(unofficial) of them not official" : ""
                return Finding(
                    state: absent == 0 ? "\(states.count) files\(note)" : nil, name: "data of \(name)",
                    remedy: "\(absent) of \(states.count) files: evalharness dataset pull \(name)")
            }
    }

    private var keys: [Finding] {
        [("OPENAI_API_KEY", "openai:NAME"), ("ANTHROPIC_API_KEY", "anthropic:NAME")].map { variable, model in
            Finding(
                state: Environment.secret(variable) == nil ? nil : "set", name: variable,
                remedy: "set it to ask \(model); local models and your own servers need none")
        }
    }

    private func prices(_ home: String) throws -> Finding {
        let path = "\(home)/judges/prices.yaml"
        guard Files.exists(path) else {
            return Finding(name: "prices", remedy: "name a file with --prices, or every cost is unknown")
        }
        return Finding(state: "as of \(try PriceFile(path: path).date): --prices replaces them", name: "prices")
    }

    private func evidence() async -> Finding {
        let path = "\(Environment.stateHome)/evalharness/evidence.sqlite"
        guard Files.exists(path) else { return Finding(state: "none yet, \(path)", name: "evidence") }
        do {
            let counts = try await EvidenceStore(path: path).counts()
            return Finding(state: "\(counts.replies) replies in \(path)", name: "evidence")
        } catch {
            return Finding(name: "evidence", remedy: "\(error)")
        }
    }

    /// Where evidence and results go.
    private var disk: Finding {
        var status = statvfs()
        let folder = Files.isFolder(Environment.stateHome) ? Environment.stateHome : "."
        guard statvfs(folder, &status) == 0 else {
            return Finding(name: "disk", remedy: "\(folder): \(Files.reason(errno))")
        }
        let free = Double(status.f_bavail) * Double(status.f_frsize) / Double(1 << 30)
        let words = "\((free * 10).rounded() / 10) GiB free at \(folder)"
        return free > 1
            ? Finding(state: words, name: "disk") : Finding(name: "disk", remedy: "\(words): make room for evidence")
    }
}
