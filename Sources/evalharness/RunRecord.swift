import Chat
import Evaluation
import LanguageModel

/// What made a run's numbers, as `run.json` keeps it: no clock and no path, so that equal runs leave equal bytes.
struct RunRecord {
    /// Whose outputs were judged.
    struct Player {
        /// As the command line names it.
        var model: String
        var fingerprint: String
    }

    let subject: ScoreRecord.Subject
    let players: [Player]
    let options: RunOptions
    let benchmark: Benchmark
    let prompts: [Prompt]

    /// What must be the same for a later run to replace this one.
    var identity: JSONObject {
        [
            "prompt set": .string(subject.datasetSHA256), "baseline": .string(subject.baselineSHA256),
            "judge": .string(subject.judgeFingerprint), "model": .string(subject.modelFingerprint),
            "generation": .string(Digest.sha256(generation.text())),
            "selection of prompts": .string(Digest.sha256(prompts.map { "\($0.index)" }.joined(separator: ","))),
        ]
    }

    /// - Parameter files: the SHA-256 of each file that the run left.
    func json(files: JSONObject) -> JSONValue {
        [
            "schema": "evalharness.run/1",
            "evalharness": .string(Version.text),
            "benchmark": .string(subject.benchmark),
            "identity": .object(identity),
            "model": ["name": .string(subject.model), "fingerprint": .string(subject.modelFingerprint)],
            "baseline": ["name": .string(subject.baseline), "sha256": .string(subject.baselineSHA256)],
            "judge": [
                "id": .string(subject.judge), "fingerprint": .string(subject.judgeFingerprint),
                "reference_judge": .bool(subject.isReferenceJudge), "template_substitution": "structural",
            ],
            "generation": generation,
            "n_prompts": .integer(prompts.count),
            "files_sha256": .object(files),
        ]
    }

    /// The vector unit that the outputs were made on, where that can change them: sums of f32 are the same on all.
    var kernels: String? {
        guard let model = options.model, case .local? = try? ModelSource(model) else { return nil }
        return options.asking.engine.dtype == "f32" ? nil : Kernels.availableNames.first
    }

    /// Of several players a list.
    var generation: JSONValue { players.count == 1 ? generation(players[0]) : .array(players.map(generation)) }

    /// Null for outputs made elsewhere: how they were generated is not known here.
    private func generation(_ player: Player) -> JSONValue {
        if player.fingerprint.hasPrefix("outputs:") { return .null }
        var generation: JSONObject = [
            "decoding": decoding,
            "max_tokens": .integer(options.decoding.maxTokens ?? benchmark.maxTokens),
            "seed": JSONValue(options.decoding.seed.map { "\($0)" }),
        ]
        generation["repetition_penalty"] = options.decoding.repetitionPenalty.map(JSONValue.number)
        if case .local(let folder)? = try? ModelSource(player.model) {
            generation["dtype"] = .string(options.asking.engine.dtype)
            generation["chat_template_sha256"] = JSONValue(options.asking.engine.templateSHA256(folder))
        }
        return .object(generation)
    }

    /// MT-Bench's by category.
    private var decoding: JSONValue {
        guard case .mtBench = benchmark.kind else { return options.decoding.decoding(benchmark).json }
        var decodings = JSONObject()
        for prompt in prompts where decodings[prompt.category ?? ""] == nil {
            decodings[prompt.category ?? ""] = options.decoding.decoding(benchmark, prompt).json
        }
        return .object(decodings)
    }
}
