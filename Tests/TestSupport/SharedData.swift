import Foundation

/// Upstream's data and the golden values, which lie beside a checkout and are never part of it.
package enum SharedData {
    /// `EVALHARNESS_DATA`, or `data` beside `EVALHARNESS_FIXTURES`, or `../shared/data`.
    package static let folder: String = {
        let environment = ProcessInfo.processInfo.environment
        if let data = environment["EVALHARNESS_DATA"] { return data }
        if let fixtures = environment["EVALHARNESS_FIXTURES"] { return "\(fixtures)/../data" }
        return "\(packageRoot)/../shared/data"
    }()

    package static var alpacaEval: String { "\(folder)/alpacaeval" }
    package static var hasAlpacaEval: Bool { exists("\(alpacaEval)/dev_expected.json") }

    /// The golden values: `EVALHARNESS_FIXTURES`, or `../shared/fixtures`.
    package static let fixtures: String =
        ProcessInfo.processInfo.environment["EVALHARNESS_FIXTURES"] ?? "\(packageRoot)/../shared/fixtures"

    /// The folders (or files) below one folder of the golden values, in order of name; empty without them.
    package static func fixtures(_ kind: String) -> [String] {
        names("\(fixtures)/\(kind)").map { "\(fixtures)/\(kind)/\($0)" }
    }

    package static let packageRoot = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    package static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// The content of a file; `.zst` is opened by the zstd program.
    package static func contents(_ path: String) throws -> Data {
        if !path.hasSuffix(".zst") { return try Data(contentsOf: URL(fileURLWithPath: path)) }
        let output = try Command("/usr/bin/env", ["zstd", "-dc", path]).runBlocking()
        guard output.status == 0 else { throw CocoaError(.fileReadCorruptFile) }
        return output.standardOutput
    }

    package static func names(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }
}

/// A folder of a test's own, gone when the test ends.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        path = "\(FileManager.default.temporaryDirectory.path)/evalharness-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    package func write(_ text: String, _ name: String) throws -> String { try write(Data(text.utf8), name) }

    @discardableResult
    package func write(_ data: Data, _ name: String) throws -> String {
        let url = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: url)
        return url.path
    }
}
