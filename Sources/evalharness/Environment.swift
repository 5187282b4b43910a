import Chat
import Evaluation
import Glibc

/// What the environment says.
enum Environment {
    static func value(_ name: String) -> String? {
        guard let pointer = getenv(name), pointer.pointee != 0 else { return nil }
        return String(cString: pointer)
    }

    static func secret(_ name: String) -> Secret? { Secret(value(name)) }

    /// Every key that this process could know, to be blotted out of whatever it prints.
    static let secrets: [Secret] = {
        var names = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "EVALHARNESS_API_KEY"]
        for (place, argument) in CommandLine.arguments.enumerated() where argument.hasSuffix("api-key-env") {
            if place + 1 < CommandLine.arguments.count { names.append(CommandLine.arguments[place + 1]) }
        }
        return names.compactMap(secret)
    }()

    static var cacheHome: String { home("XDG_CACHE_HOME", ".cache") }
    static var stateHome: String { home("XDG_STATE_HOME", ".local/state") }

    private static func home(_ variable: String, _ fallback: String) -> String {
        value(variable) ?? "\(value("HOME") ?? ".")/\(fallback)"
    }

    /// The folder that holds `benchmarks/` and `judges/`: `EVALHARNESS_HOME`, or the nearest one above the program or
    /// the working directory.
    static func definitionsHome() throws -> String {
        var candidates = [value("EVALHARNESS_HOME")].compactMap { $0 }
        for start in [executablePath(), currentFolder()] {
            var folder = start
            while !folder.isEmpty, folder != "/" {
                candidates += [folder, "\(folder)/share/evalharness"]
                folder = Files.parent(of: folder)
            }
        }
        guard
            let home = candidates.first(where: { Files.isFolder("\($0)/benchmarks") && Files.isFolder("\($0)/judges") })
        else {
            throw EvaluationError.missingInput(
                "The folders benchmarks/ and judges/ are neither above the program nor above this folder. Set "
                    + "EVALHARNESS_HOME "
                    + "to the folder that holds them.")
        }
        return home
    }

    /// The file of this program, to start it again.
    static func program() throws -> String {
        let path = executablePath()
        if path.isEmpty { throw EvaluationError.missingInput("/proc/self/exe cannot be read: is /proc mounted?") }
        return path
    }

    private static func executablePath() -> String {
        let path = realpath("/proc/self/exe", nil)
        defer { free(path) }
        return path.map { String(cString: $0) } ?? ""
    }

    static func currentFolder() -> String {
        let path = getcwd(nil, 0)
        defer { free(path) }
        return path.map { String(cString: $0) } ?? ""
    }
}
