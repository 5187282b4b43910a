import Chat
import Foundation
import Glibc
import TestSupport
import Testing

/// A checkpoint on this machine, from its folder to the files that a run leaves.
@Suite struct LocalModelTests {
    private let space: Workspace
    private let checkpoint: CheckpointFolder

    init() throws {
        space = try Workspace()
        checkpoint = try CheckpointFolder()
        try space.writeStudy(prompts: 40)
        try space.writeJudge(Workspace.labels)
        // A judge that waits while there is a file `hold`.
        let judge = try space.folder.write(
            """
            #!/bin/sh
            while IFS= read -r line; do
                id=${line#*\\"id\\":}
                id=${id%%[,\\}]*}
                while [ -e '\(space.path("hold"))' ]; do sleep 0.02; done
                printf '{"id":%s,"text":"[[A]]"}\\n' "$id"
            done
            """, "judge.sh")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: judge)
    }

    private func run(_ results: String, _ extra: String...) -> [String] {
        [
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", "local:\(checkpoint.path)", "--name", "tiny",
            "--judge", "judges/own", "--judge-model", "exec:\(space.path("judge.sh"))", "--results-dir", results,
            "--evidence", "\(results).sqlite", "--no-progress", "--resamples", "100", "--max-tokens", "24",
        ] + extra
    }

    @Test(arguments: [["--temperature", "0.7", "--seed", "3"], ["--num-beams", "3"]])
    func `Killed in the middle and resumed, with other threads and company, a run leaves the same bytes`(
        _ decoding: [String]
    ) async throws {
        try space.writeStudy(prompts: 300)
        let whole = try await space.command(run("whole") + decoding + ["--threads", "1"]).run()
        #expect(whole.status == 0, "\(whole.errorText)")
        let expected = try space.files("whole/alpacaeval/tiny")
        #expect(expected["model_outputs.json"] != nil && expected["scores.json"] != nil)

        // Held by the judge, the run cannot end before it is killed; most often it is killed while it generates.
        let hold = try space.folder.write("", "hold")
        let killed = space.command(run("killed") + decoding + ["--concurrency", "2"])
        try killed.start()
        try await untilAnswered(12, store: "killed.sqlite")
        kill(killed.processID, SIGKILL)
        // The judge outlives its parent while it waits, and has the parent's standard error.
        try FileManager.default.removeItem(atPath: hold)
        #expect(await killed.finish().status != 0)
        let resumed = try await space.command(run("killed") + decoding + ["--threads", "2"]).run()
        #expect(resumed.status == 0, "\(resumed.errorText)")
        #expect(try space.files("killed/alpacaeval/tiny") == expected)
    }

    /// Waits until the store holds some answers.
    private func untilAnswered(_ count: Int, store: String) async throws {
        while true {
            let stats = try await space.run("evidence", "stats", "--evidence", store)
            let digits = stats.outputText.split { !$0.isNumber }.compactMap { Int($0) }
            if stats.status == 0, digits.contains(where: { $0 >= count && $0 <= 600 }) { return }
            await Task.yield()
        }
    }

    @Test func `A local model judges by its log-probabilities`() async throws {
        try space.writeJudge("{kind: token_logprobs, first: m, second: M}", order: "{kind: seeded_random, seed: 0}")
        let output = try await space.run(
            "run", "alpacaeval", "--prompts", "prompts.json", "--model", "outputs:outputs.json", "--judge",
            "judges/own", "--judge-model", "local:\(checkpoint.path)", "--results-dir", "r", "--evidence", "r.sqlite",
            "--no-progress", "--resamples", "0", "--missing-limit", "1")
        #expect(output.status == 0, "\(output.errorText)")
        let annotations = try space.json("r/alpacaeval/own-model/annotations.json").array ?? []
        #expect(annotations.count == 40)
    }

    @Test func `models inspect tells the architecture, the tokens and the first prompt`() async throws {
        let output = try await space.run("models", "inspect", checkpoint.path, "--json", "--prompt", "Hi")
        #expect(output.status == 0, "\(output.errorText)")
        let report = try JSONValue(parsing: Array(output.standardOutput))
        #expect(report["model_type"]?.string == "llama")
        #expect(report["parameters"]?.integer == 272 * 48 + 2 * (48 * 48 * 2 + 24 * 48 * 2 + 3 * 80 * 48 + 2 * 48) + 48)
        #expect(report["dtype"]?.string == "F32")
        #expect(report["end_tokens"]?.array?.compactMap(\.string) == ["</s> (257)"])
        #expect(report["first_prompt"]?.string == "<s><|user|>\nHi</s>\n<|assistant|>\n")
        #expect(
            report["first_prompt_ids"]?.array?.compactMap(\.integer) == [256, 258, 10, 72, 105, 257, 10, 259, 10])
        #expect(report["chat_template_sha256"]?.string?.count == 64)
    }

    @Test func `models verify finds a weight that is not finite`() async throws {
        let sound = try await space.run("models", "verify", checkpoint.path)
        #expect(sound.status == 0, "\(sound.errorText)")
        let path = "\(checkpoint.path)/model.safetensors"
        var file = try Data(contentsOf: URL(fileURLWithPath: path))
        file.replaceSubrange(file.count - 4..<file.count, with: [0, 0, 0xC0, 0x7F])
        try file.write(to: URL(fileURLWithPath: path))
        let broken = try await space.run("models", "verify", checkpoint.path)
        #expect(broken.status == 65)
        #expect(broken.errorText.contains("[47] = nan"))
    }

    @Test func `Every fault of a checkpoint folder has its sentence and its code`() async throws {
        func expect(_ status: Int32, _ words: String, _ extra: String...) async throws {
            let output = try await space.command(run("faults") + ["--overwrite"] + extra).run()
            #expect(output.status == status, "\(output.errorText)")
            #expect(output.errorText.contains(words), "\(output.errorText)")
        }
        func write(_ text: String, _ name: String) throws { try checkpoint.folder.write(text, name) }
        func text(_ name: String) throws -> String {
            try String(contentsOf: URL(fileURLWithPath: "\(checkpoint.path)/\(name)"), encoding: .utf8)
        }
        let config = try text("config.json")
        try write(config.replacingOccurrences(of: "\"llama\"", with: "\"mamba\""), "config.json")
        try await expect(78, "mamba")
        try write(
            config.replacingOccurrences(of: "\"head_dim\":12", with: "\"head_dim\":12,\"clip_qkv\":8"), "config.json")
        try await expect(78, "clip_qkv")
        try write(config, "config.json")

        let tokenizer = try text("tokenizer_config.json")
        try write("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", "tokenizer_config.json")
        try await expect(78, "--chat-template")
        let template = try space.folder.write("{{ bos_token }}{{ bos_token }}{{ messages[0].content }}", "double.jinja")
        try await expect(69, "begins with 2 tokens <s>", "--chat-template", template)
        try write(tokenizer, "tokenizer_config.json")

        let weights = "\(checkpoint.path)/model.safetensors"
        try FileManager.default.moveItem(atPath: weights, toPath: "\(checkpoint.path)/pytorch_model.bin")
        try await expect(78, "safetensors")
        let absent = try await space.run("models", "inspect", space.path("nowhere"))
        #expect(absent.status == 66)
    }
}
