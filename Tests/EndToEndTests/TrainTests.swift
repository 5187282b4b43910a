import Chat
import Foundation
import Glibc
import TestSupport
import Testing

/// The built program trains: what it leaves, and that nothing stops it from leaving just that.
@Suite struct TrainTests {
    private let space: Workspace
    private let checkpoint: CheckpointFolder

    init() throws {
        space = try Workspace()
        checkpoint = try CheckpointFolder()
        func message(_ role: String, _ text: String) -> JSONValue {
            ["role": .string(role), "content": .string(text)]
        }
        let lines = (0..<18).map { index -> String in
            let prompt = message("user", "Say \(index).")
            let line: JSONValue = [
                "chosen": [prompt, message("assistant", "The number \(index).")],
                "rejected": [prompt, message("assistant", "No\(String(repeating: "!", count: index % 5 + 1))")],
            ]
            return line.text() + "\n"
        }
        try space.folder.write(lines.dropLast(4).joined(), "train.jsonl")
        try space.folder.write(lines.suffix(4).joined(), "held-out.jsonl")
    }

    private func recipe(_ extra: String = "", objective: String = "method: simpo\nbeta: 2.0\ngamma_beta_ratio: 0.5")
        throws
    {
        func key(_ line: Substring) -> Substring { line.prefix { $0 != ":" } }
        let own = Set(extra.split(separator: "\n").map(key))
        let usual = """
            \(objective)
            learning_rate: 1.0e-3
            model_name_or_path: \(checkpoint.path)
            train_files: train.jsonl
            eval_files: held-out.jsonl
            per_device_train_batch_size: 2
            gradient_accumulation_steps: 2
            num_train_epochs: 3
            logging_steps: 1
            warmup_ratio: 0.1
            """.split(separator: "\n").filter { !own.contains(key($0)) }.joined(separator: "\n")
        try space.folder.write("\(usual)\n\(extra)\n", "recipe.yaml")
    }

    private func train(_ output: String, _ extra: String...) -> [String] {
        ["train", "recipe.yaml", "--output", space.path(output), "--no-progress"] + extra
    }

    private func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: space.path(name))) }

    /// The lines of a log without what a clock says.
    private func log(_ folder: String) throws -> [String] {
        try JSONValue.parseLines(Array(bytes("\(folder)/metrics.jsonl"))).map { line in
            var object = line.object ?? JSONObject()
            object["tokens_per_second"] = .null
            return JSONValue.object(object).text()
        }
    }

    private static let leastMemory = "gradient_checkpointing: segments\ngradient_dtype: bfloat16"

    @Test(arguments: [
        ("method: dpo\nbeta: 0.1", ""), ("method: simpo\nbeta: 2.0\ngamma_beta_ratio: 0.5", leastMemory),
    ])
    func `A run killed and taken up again leaves the same weights and the same log`(
        _ objective: String, _ memory: String
    ) async throws {
        try recipe("save_steps: 1\neval_steps: 4\nnum_train_epochs: 8\n\(memory)", objective: objective)
        let whole = try await space.command(train("whole", "--threads", "1")).run()
        #expect(whole.status == 0, "\(whole.errorText)")
        var kills = 0
        for lines in [1, 6] {
            let file = space.path("killed-\(lines)/metrics.jsonl")
            let killed = try await space.command(train("killed-\(lines)")).run {
                (FileManager.default.contents(atPath: file) ?? Data()).count { $0 == UInt8(ascii: "\n") } >= lines
            }
            if killed.status == 128 + SIGKILL { kills += 1 }
            let resumed = try await space.command(train("killed-\(lines)", "--threads", "2")).run()
            #expect(resumed.status == 0, "\(resumed.errorText)")
            #expect(try bytes("killed-\(lines)/model.safetensors") == bytes("whole/model.safetensors"))
            #expect(try log("killed-\(lines)") == log("whole"))
        }
        #expect(kills > 0, "each run had ended before it was killed")
    }

    @Test func `The folder is a checkpoint with its tokenizer, its recipe and its report`() async throws {
        try recipe()
        let run = try await space.command(train("model", "--json")).run()
        #expect(run.status == 0, "\(run.errorText)")
        let metrics = try JSONValue(parsing: Array(run.standardOutput))
        #expect(metrics["rewards/accuracies"]?.number == 1)
        #expect(metrics["eval_rewards/accuracies"]?.number == 1)
        #expect(
            try bytes("model/tokenizer.json")
                == Data(contentsOf: URL(fileURLWithPath: "\(checkpoint.path)/tokenizer.json")))
        #expect(try bytes("model/recipe.yaml") == bytes("recipe.yaml"))
        #expect(try space.json("model/data_report.json")["rows_kept"]?.integer == 14)
        #expect(String(decoding: try bytes("model/README.md"), as: UTF8.self).contains("SimPO"))
        let inspection = try await space.run("models", "inspect", space.path("model"))
        #expect(inspection.status == 0, "\(inspection.errorText)")
        let analysis = try await space.run(
            "analyze", "recipe.yaml", "--model", space.path("model"), "--plots", space.path("plots"), "--json")
        #expect(analysis.status == 0, "\(analysis.errorText)")
        let found = try JSONValue(parsing: Array(analysis.standardOutput))
        #expect(found["reward_accuracy"]?["value"]?.number == 1)
        #expect(found["contingency"]?["reward_only"]?.integer == 0)
        #expect(found["training"]?["train_steps"]?.integer == 12)
        #expect((found["training"]?["peak_memory_bytes"]?.integer ?? 0) > 1 << 20)
        #expect(SharedData.names(space.path("plots")).count == 4)
    }

    @Test func `Adapters are left in PEFT's files, or merged`() async throws {
        try recipe("bf16: false\nlora: {r: 4, lora_alpha: 8, target_modules: [q_proj, v_proj]}")
        #expect(try await space.command(train("adapter")).run().status == 0)
        #expect(SharedData.exists(space.path("adapter/adapter_model.safetensors")))
        #expect(try space.json("adapter/adapter_config.json")["r"]?.integer == 4)
        #expect(!SharedData.exists(space.path("adapter/model.safetensors")))
        #expect(try space.json("adapter/adapter_config.json")["base_model_name_or_path"]?.string == checkpoint.path)
        for folder in [checkpoint.path, space.path("adapter")] {
            let over = try await space.run("train", "merge", "adapter", "--output", folder)
            #expect(over.status == 78 && over.errorText.contains("written over"), "\(over.errorText)")
        }
        try recipe("bf16: false\nmerge_adapter: true\nlora: {r: 4, lora_alpha: 8, target_modules: [q_proj, v_proj]}")
        #expect(try await space.command(train("merged")).run().status == 0)
        #expect(try await space.run("models", "inspect", space.path("merged")).status == 0)
        // Merged afterwards it is the same model.
        let refused = try await space.run("models", "inspect", space.path("adapter"))
        #expect(refused.status != 0 && refused.errorText.contains("train merge"), "\(refused.errorText)")
        let merge = try await space.run("train", "merge", "adapter", "--output", "later")
        #expect(merge.status == 0, "\(merge.errorText)")
        #expect(try bytes("later/model.safetensors") == bytes("merged/model.safetensors"))
        var accuracies: [JSONValue?] = []
        for model in ["adapter", "merged"] {
            let analysis = try await space.run("analyze", "recipe.yaml", "--model", space.path(model), "--json")
            #expect(analysis.status == 0, "\(analysis.errorText)")
            accuracies.append(try JSONValue(parsing: Array(analysis.standardOutput))["reward_accuracy"])
        }
        #expect(accuracies[0] == accuracies[1])
        // A reference is no base: adapter and merged model are compared to it alike.
        try recipe("bf16: false", objective: "method: dpo\nbeta: 0.1")
        var margins: [JSONValue?] = []
        for model in ["adapter", "merged"] {
            let analysis = try await space.run(
                "analyze", "recipe.yaml", "--model", space.path(model), "--reference", space.path("merged"), "--json")
            #expect(analysis.status == 0, "\(analysis.errorText)")
            margins.append(try JSONValue(parsing: Array(analysis.standardOutput))["margins"]?["mean"])
        }
        for margin in margins { #expect(abs(margin?.number ?? 1) < 1e-4, "\(margins)") }
        let onto = try await space.command(train("merged", "--model", space.path("merged"))).run()
        #expect(onto.status == 78 && onto.errorText.contains("written over"), "\(onto.errorText)")
        let beside = try await space.command(train("adapter")).run()
        #expect(beside.status == 78 && beside.errorText.contains("an adapter of another run"), "\(beside.errorText)")
        #expect(try await space.run("train", "merge", "adapter", "--model", "none", "--output", "x").status == 66)
        #expect(try await space.run("train", "merge", "none", "--output", "x").status == 66)
    }

    /// A program that answers each request with what the shell makes of `text`, where `$line` is the request.
    private func program(_ text: String) throws -> String {
        let path = try space.folder.write(
            """
            #!/bin/sh
            while IFS= read -r line; do
                id=${line#*\\"id\\":}
                printf '{"id":%s,"text":"%s"}\\n' "${id%%[,\\}]*}" "\(text)"
            done
            """, "program.sh")
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }

    private func prepare(_ output: String, scorer: String, _ extra: String...) async throws -> Command.Output {
        try space.folder.write((0..<6).map { "{\"prompt\": \"Count to \($0).\"}\n" }.joined(), "prompts.jsonl")
        return try await space.command(
            [
                "train", "prepare", "--model", checkpoint.path, "--prompts", "prompts.jsonl", "--scorer", scorer,
                "--output", output, "--seeds", "1", "2", "3", "--max-tokens", "12", "--evidence", "store.sqlite",
                "--no-progress",
            ] + extra
        ).run()
    }

    @Test func `Pairs are made of a model's own samples, ranked by a program`() async throws {
        let scorer = "exec:\(try program("${#line}"))"
        let first = try await prepare("pairs.jsonl", scorer: scorer)
        #expect(first.status == 0, "\(first.errorText)")
        #expect(try await prepare("again.jsonl", scorer: scorer).status == 0)
        #expect(try bytes("pairs.jsonl") == bytes("again.jsonl"))
        try recipe()
        let run = try await space.command(train("own", "--train-files", space.path("pairs.jsonl"), "--dry-run")).run()
        #expect(run.status == 0, "\(run.errorText)")
        #expect(run.outputText.contains("of memory"))
    }

    @Test func `A scorer that did not answer with a number is asked again once it is mended`() async throws {
        try space.folder.write("no model loaded", "answer.txt")
        // The program stays the same, and what it reads does not.
        let scorer = "exec:\(try program("$(cat \(space.path("answer.txt")) 2>/dev/null || echo ${#line})"))"
        let broken = try await prepare("pairs.jsonl", scorer: scorer)
        #expect(broken.status == 65, "\(broken.errorText)")
        #expect(broken.errorText.contains("a number is expected"), "\(broken.errorText)")
        try FileManager.default.removeItem(atPath: space.path("answer.txt"))
        let mended = try await prepare("pairs.jsonl", scorer: scorer)
        #expect(mended.status == 0, "\(mended.errorText)")
        #expect(try !bytes("pairs.jsonl").isEmpty)
    }

    @Test func `Pairs are made of a model's own samples, ranked by a judge`() async throws {
        // A judge that says A whatever stands there first: in both orders every comparison is a draw.
        let judge = "exec:\(try program("[[A]]"))"
        let plan = try await prepare(
            "none.jsonl", scorer: "judge:pairwise_label", "--judge-model", judge, "--dry-run")
        #expect(try JSONValue(parsing: Array(plan.standardOutput)) == ["samples": 18, "scorer_calls_at_most": 36])
        let drawn = try await prepare("drawn.jsonl", scorer: "judge:pairwise_label", "--judge-model", judge)
        #expect(drawn.status == 65, "\(drawn.errorText)")
        #expect(drawn.errorText.contains("all scores are the same"), "\(drawn.errorText)")
        #expect(!SharedData.exists(space.path("drawn.jsonl")))
        // In one order only, the first sample wins against the later ones, and the last loses.
        let folder = try space.folder.write(
            """
            id: first
            title: The first
            template: template.txt
            order: {kind: baseline_first}
            parser: {kind: label, first: "[[A]]", second: "[[B]]"}
            decoding: {temperature: 0, max_tokens: 8}
            """, "first/judge.yaml")
        try space.folder.write(
            "<|im_start|>user\n{instruction} {output_1} {output_2}\n<|im_end|>", "first/template.txt")
        let ranked = try await prepare(
            "pairs.jsonl", scorer: "judge:\(folder.dropLast("/judge.yaml".count))", "--judge-model", judge)
        #expect(ranked.status == 0, "\(ranked.errorText)")
        let lines = try JSONValue.parseLines(Array(bytes("pairs.jsonl")))
        #expect(!lines.isEmpty)
        for line in lines {
            let outputs = line["all_generated_responses"]?.array ?? []
            #expect(line["chosen"]?[1]?["content"] == outputs.first)
            #expect(line["all_rm_scores"]?[0]?.number == 1)
        }
        // A reply without a verdict makes no pair.
        let silent = try await prepare(
            "silent.jsonl", scorer: "judge:pairwise_label", "--judge-model", "exec:\(try program("well"))",
            "--evidence",
            "other.sqlite")
        #expect(silent.status == 65, "\(silent.errorText)")
        #expect(silent.errorText.contains("could not be had"), "\(silent.errorText)")
        #expect(!SharedData.exists(space.path("silent.jsonl")))
    }

    @Test func `What cannot be trained is said in a sentence, with its code`() async throws {
        let faults: [(String, String, Int32, String)] = [
            ("beta_: 3", "method: simpo", 78, "means nothing here"),
            ("", "method: simpo\nbeta: 0", 78, "SimPO"),
            ("", "method: ppo", 78, "known are"),
            ("max_length: 64\nmax_prompt_length: 64", "method: simpo", 78, "max_prompt_length"),
            ("lora: {r: 4, lora_alpha: 8, target_modules: [x_proj]}", "method: simpo", 78, "x_proj"),
            ("adam_beta1: 1", "method: simpo", 78, "adam_beta1 is 1.0"),
            ("adam_epsilon: 0", "method: simpo", 78, "adam_epsilon is 0.0"),
            ("gradient_accumulation_steps: 9223372036854775807", "method: simpo", 78, "gradient_accumulation_steps"),
            ("gradient_checkpointing: layers", "method: simpo", 78, "true, false, mlp or segments"),
            ("gradient_dtype: float16", "method: simpo", 78, "bfloat16"),
            ("gradient_dtype: bfloat16\nlora: {r: 4, lora_alpha: 8}", "method: simpo", 78, "without lora"),
            ("warmup_ratio: 2", "method: dpo", 78, "the warm-up is 2.0"),
            ("per_device_train_batch_size: 1", "method: kto", 78, "2 or more"),
        ]
        for (extra, objective, code, words) in faults {
            try recipe(extra, objective: objective)
            let run = try await space.command(train("bad")).run()
            #expect(run.status == code, "\(words): \(run.errorText)")
            #expect(run.errorText.contains(words), "\(run.errorText)")
        }
        try recipe()
        // No place for the weights.
        try space.folder.write("", "bad/model.safetensors/here")
        let unwritable = try await space.command(train("bad")).run()
        #expect(unwritable.status == 74, "\(unwritable.errorText)")
        #expect(unwritable.errorText.contains("bad/model.safetensors"), "\(unwritable.errorText)")
        try space.folder.write("{\"chosen\": 3}\n", "bad.jsonl")
        let run = try await space.command(train("bad", "--train-files", space.path("bad.jsonl"))).run()
        #expect(run.status == 65)
        #expect(run.errorText.contains("line 1"), "\(run.errorText)")
        #expect(try await space.command(train("bad", "--train-files", space.path("none.jsonl"))).run().status == 66)
        #expect(try await space.command(train("bad", "--model", space.path("none"))).run().status == 66)
        let failed = try await space.command(train("trl", "--engine", "trl", "--python", "false")).run()
        #expect(failed.status == 69 && failed.errorText.contains("code 1"), "\(failed.errorText)")
    }

    @Test func `A beta of DPO's size and chosen answers that become less likely are remarked on`() async throws {
        // What chosen rows share with rejected ones becomes less likely in both.
        let lines = (0..<14).map { index -> String in
            let line: JSONValue = [
                "prompt": .string("Say \(index)."), "chosen": "aaaaaaaab",
                "rejected": .string(String(repeating: "a", count: 20 + index)),
            ]
            return line.text() + "\n"
        }
        try space.folder.write(lines.joined(), "alike.jsonl")
        for (file, rate, falls) in [("train.jsonl", "1.0e-3", false), ("alike.jsonl", "1.0e-1", true)] {
            try recipe("learning_rate: \(rate)", objective: "method: simpo\nbeta: 0.1")
            let run = try await space.command(train("remarks-\(falls)", "--train-files", space.path(file))).run()
            #expect(run.status == 0, "\(run.errorText)")
            #expect(run.errorText.contains("beta 0.1 is a value for DPO"), "\(run.errorText)")
            #expect(run.errorText.contains("logps/chosen fell") == falls, "\(run.errorText)")
        }
    }

    @Test func `Every recipe that is shipped can be read`() async throws {
        let folder = "\(SharedData.packageRoot)/recipes"
        var count = 0
        for setting in SharedData.names(folder) {
            for file in SharedData.names("\(folder)/\(setting)") where file.hasSuffix(".yaml") {
                count += 1
                // Everything is read before the checkpoint is missed.
                let run = try await space.run(
                    "train", "\(folder)/\(setting)/\(file)", "--model", space.path("none"), "--dry-run")
                #expect(run.errorText.contains("no checkpoint folder"), "\(setting)/\(file): \(run.errorText)")
            }
        }
        #expect(count >= 17)
    }
}
