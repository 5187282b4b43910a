package import Chat

/// A benchmark as its folder under `benchmarks/` defines it.
package struct Benchmark: Hashable, Sendable {
    /// One file of upstream's, pinned: where it comes from and what it must hash to.
    package struct DataFile: Hashable, Sendable {
        package enum Role: String, Sendable, CaseIterable {
            case prompts
            case difficulty = "instruction_difficulty"
            case gamed = "gamed_annotations"
            case template = "judge_template"
            case judgeConfiguration = "judge_configuration"
            case judgePrompts = "judge_prompts"
            case references
            case baselineOutputs = "baseline_answers"
            /// The ranks of upstream's tokenizer: its set says which.
            case tokenRanks = "token_ranks"
        }

        package var role: Role
        /// Which of several files of one role it is.
        package var set: String?
        package var name: String
        package var url: String
        package var checksum: Checksum
        package var licence: String
    }

    /// How the outputs are made and judged.
    package enum Kind: Hashable, Sendable {
        /// One output to each instruction, compared with a baseline's.
        case instructions
        /// Two turns, each rated by itself; temperatures by category, and the set of reference answers.
        case mtBench(temperatures: [String: Double], references: String)
        /// One output to each prompt, compared with a baseline's in both orders; v2.0 has a baseline a category.
        case arenaHard(ArenaVersion, baselines: [String: String])
    }

    /// What runs when no model is named: prompts, models and a judge of our own, with nothing to download.
    ///
    /// Paths are from the folder that holds `benchmarks/`.
    package struct Starter: Hashable, Sendable {
        package var prompts: String
        package var model: String
        /// Nil where models are rated by themselves.
        package var baseline: String?
        package var judge: String
        package var maxTokens: Int
        package var seed: Int
        /// The precision of the engine, as `--dtype` takes it.
        package var precision: String
    }

    package var id: String
    package var title: String
    package var kind: Kind
    package var baseline: String
    /// A folder under `judges/`; for questions the model that judges, as `--judge-model` takes it.
    package var judge: String
    package var files: [DataFile]
    package var decoding: Decoding
    package var maxTokens: Int
    package var starter: Starter?

    /// Reads `benchmarks/<name>/benchmark.yaml`.
    package init(folder: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: folder + "/benchmark.yaml")
        id = try fields.requiredString("id")
        title = try fields.requiredString("title")
        kind = try Benchmark.kind(&fields)
        baseline = try fields.requiredString("baseline")
        judge = try fields.requiredString("judge")
        var generation = try fields.required("generation", try fields.object("generation"))
        decoding = try DecodingDefinition.read(&generation)
        maxTokens = try generation.required("max_tokens", try generation.positive("max_tokens"))
        try generation.refuseUnknown()
        files = []
        for var file in try fields.objects("files") { files.append(try DataFile(&file)) }
        if var starterFields = try fields.object("starter") { starter = try Starter(&starterFields) }
        try fields.refuseUnknown()
    }

    /// - Parameter set: which of several; nil takes the first.
    package func file(_ role: DataFile.Role, set: String? = nil) -> DataFile? {
        files.first { $0.role == role && (set == nil || $0.set == set) }
    }

    private static func kind(_ fields: inout Fields) throws(EvaluationError) -> Kind {
        switch try fields.string("kind") ?? "instructions" {
        case "instructions": return .instructions
        case "arena_hard": return .arenaHard(.v01, baselines: [:])
        case "arena_hard_v2": return .arenaHard(.v2, baselines: try fields.mapping("baselines"))
        case "mt_bench":
            var temperatures: [String: Double] = [:]
            for (category, value) in try fields.numbers("temperatures") { temperatures[category] = value }
            return .mtBench(temperatures: temperatures, references: try fields.requiredString("references"))
        case let other:
            throw fields.unusable(
                "kind", "\"\(other)\" is unknown; known are instructions, mt_bench, arena_hard, arena_hard_v2")
        }
    }
}

extension Benchmark.Starter {
    fileprivate init(_ fields: inout Fields) throws(EvaluationError) {
        prompts = try fields.requiredString("prompts")
        model = try fields.requiredString("model")
        baseline = try fields.string("baseline")
        judge = try fields.requiredString("judge")
        maxTokens = try fields.required("max_tokens", try fields.positive("max_tokens"))
        seed = try fields.integer("seed") ?? 0
        precision = try fields.requiredString("dtype")
        try fields.refuseUnknown()
    }
}

extension Benchmark.DataFile {
    fileprivate init(_ fields: inout Fields) throws(EvaluationError) {
        let roleName = try fields.requiredString("role")
        guard let role = Role(rawValue: roleName) else {
            let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw fields.unusable("role", "\"\(roleName)\" is unknown; known are \(known)")
        }
        self.role = role
        name = try fields.requiredString("name")
        url = try fields.requiredString("url")
        checksum = try Self.checksum(&fields)
        licence = try fields.requiredString("licence")
        set = try fields.string("set")
        if name.contains("/") || name.hasPrefix(".") { throw fields.unusable("name", "should be a plain file name") }
        try fields.refuseUnknown()
    }

    /// `sha256`, or `git_blob` where upstream's repository alone names what the file holds.
    fileprivate static func checksum(_ fields: inout Fields) throws(EvaluationError) -> Checksum {
        let (key, count) = try fields.string("git_blob") == nil ? ("sha256", 64) : ("git_blob", 40)
        let digits = try fields.requiredString(key)
        guard digits.utf8.count == count, digits.allSatisfy(\.isHexDigit) else {
            throw fields.unusable(key, "should be \(count) hexadecimal digits")
        }
        return key == "sha256" ? .sha256(digits.lowercased()) : .gitBlob(digits.lowercased())
    }
}

/// `temperature`, `top_p`, `top_k`, `min_p` in a definition file.
enum DecodingDefinition {
    static func read(_ fields: inout Fields) throws(EvaluationError) -> Decoding {
        let temperature = try fields.required("temperature", try fields.number("temperature"))
        let topP = try fields.number("top_p")
        let topK = try fields.integer("top_k")
        let minP = try fields.number("min_p")
        guard (0...100).contains(temperature) else { throw fields.unusable("temperature", "should be 0 or more") }
        if let topP, !(topP > 0 && topP <= 1) { throw fields.unusable("top_p", "should be more than 0, up to 1") }
        if let topK, topK < 1 { throw fields.unusable("top_k", "should be 1 or more") }
        if let minP, !(0...1).contains(minP) { throw fields.unusable("min_p", "should be 0 to 1") }
        if temperature == 0 { return .greedy }
        return .sampling(temperature: temperature, topK: topK, topP: topP, minP: minP)
    }
}
