import Chat
import Foundation
import TestSupport
import Testing

/// The built program in a world of its own: its caches, its state and its results lie in a temporary folder.
struct Workspace {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    static let program: String = {
        // Test bundles lie beside the program that they test.
        let runner = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let here = URL(fileURLWithPath: runner).deletingLastPathComponent().appendingPathComponent("evalharness").path
        return SharedData.exists(here) ? here : "\(SharedData.packageRoot)/.build/debug/evalharness"
    }()

    var results: String { path("results") }

    func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    func command(_ arguments: [String], environment: [String: String] = [:]) -> Command {
        var all = [
            "PATH": "/usr/bin:/bin", "HOME": folder.path, "XDG_CACHE_HOME": path("cache"),
            "XDG_STATE_HOME": path("state"),
            "EVALHARNESS_HOME": SharedData.packageRoot,
        ]
        all.merge(environment) { $1 }
        return Command(Workspace.program, arguments, environment: all, folder: folder.path)
    }

    @discardableResult
    func run(_ arguments: String..., environment: [String: String] = [:]) async throws -> Command.Output {
        try await command(arguments, environment: environment).run()
    }

    func json(_ name: String) throws -> JSONValue {
        try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: path(name))))
    }

    /// The files of a run, to be compared whole.
    func files(_ folder: String) throws -> [String: Data] {
        var contents: [String: Data] = [:]
        for name in SharedData.names(path(folder)) {
            contents[name] = try Data(contentsOf: URL(fileURLWithPath: "\(path(folder))/\(name)"))
        }
        return contents
    }

    /// The same, with an endpoint's address, of which each server has its own, replaced.
    func files(_ folder: String, without address: String) throws -> [String: String] {
        try files(folder).mapValues { String(decoding: $0, as: UTF8.self).replacing(address, with: "ADDRESS") }
    }

    /// Own prompts with a baseline, and a model's outputs for them: every third is longer, the lengths differ.
    func writeStudy(prompts count: Int, outputs answered: Int? = nil) throws {
        let prompts = (0..<count).map { index -> JSONValue in
            [
                "instruction": .string("Task \(index): say something about the number \(index)."),
                "output": .string("The number \(index)\(String(repeating: " is a number", count: index % 7))."),
                "generator": "own-baseline",
            ]
        }
        let outputs = (0..<(answered ?? count)).map { index -> JSONValue in
            [
                "instruction": .string("Task \(index): say something about the number \(index)."),
                "output": .string("\(index)!\(String(repeating: " Indeed, \(index).", count: index % 5 + index % 3))"),
                "generator": "own-model",
            ]
        }
        try folder.write(JSONValue.array(prompts).text(.indented(2)), "prompts.json")
        try folder.write(JSONValue.array(outputs).text(.indented(2)), "outputs.json")
    }

    /// A judge that always answers the same, by a template of our own.
    func writeJudge(_ parser: String, order: String = "{kind: both}", extra: String = "") throws {
        try folder.write(
            """
            id: own
            title: Own judge
            template: template.txt
            order: \(order)
            parser: \(parser)
            decoding: {temperature: 0, max_tokens: 8, top_logprobs: 5}
            \(extra)
            """, "judges/own/judge.yaml")
        try folder.write(
            "<|im_start|>user\n{instruction}\n1: {output_1}\n2: {output_2}\n<|im_end|>\n", "judges/own/template.txt")
    }

    static let labels = #"{kind: label, first: "[[A]]", second: "[[B]]", tie: "[[C]]"}"#

    /// A program that answers every request with `reply`.
    func writeProgram(_ reply: String, name: String = "judge.sh") throws -> String {
        let path = try folder.write(
            """
            #!/bin/sh
            while IFS= read -r line; do
                id=${line#*\\"id\\":}
                id=${id%%[,\\}]*}
                printf '{"id":%s,"text":"%s"}\\n' "$id" '\(reply)'
            done
            """, name)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }
}
