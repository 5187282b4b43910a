import ArgumentParser
import Chat
import Evaluation
import Statistics

/// The flags that a benchmark's commands share, by the names that the field uses.
struct RunOptions: ParsableArguments {
    @Argument(help: "The benchmark: a folder under benchmarks/ (alpacaeval, mt-bench, arena-hard).")
    var benchmark: String

    @Option(
        name: .customLong("model"),
        help: "The model under test: PATH, openai:NAME, openai-compatible:NAME@URL, outputs:FILE …")
    var models: [String] = []

    @Option(help: "What it is compared to; the benchmark's own baseline when left out.")
    var baseline: String?

    @Option(help: "Prompts of your own: a JSON array with \"instruction\", and \"output\" for the baseline's.")
    var prompts: String?

    @Option(help: "What the results call the model; the outputs' generator when left out.")
    var name: String?

    @Option(help: "The judge: a folder under judges/, or annotations:FILE.")
    var judge: String?

    @Option(help: "MT-Bench: the set of reference answers that the judge is shown.")
    var references: String?

    @Option(help: "MT-Bench: single, pairwise-baseline, or pairwise-all of several --model.")
    var mode: MTBenchJudge.Mode?

    @Option(help: "Only the first N prompts, or those from A to B (A-B, counted from 0).")
    var limit: String?

    @Option(parsing: .upToNextOption, help: "Only these prompts, by number from 0.")
    var sampleID: [Int] = []

    @Option(help: "Only the i-th of n equal shares of the prompts (i/n, from 1).")
    var shard: String?

    @Option(help: "Where results go.")
    var resultsDir = "results"

    @Flag(help: "Replace the results of another run under the same name.")
    var overwrite = false

    @Option(help: "The largest share of missing verdicts that still exits 0. (default: 0.05)")
    var missingLimit: Double?

    @Option(
        help:
            "Judge this share of the prompts (0 to 1) with the output to another prompt too: an honest judge lets it lose."
    )
    var canary: Double?

    @OptionGroup var asking: AskingOptions
    @OptionGroup var decoding: DecodingOptions
    @OptionGroup var scoring: ScoringOptions
    @OptionGroup var style: StyleOptions

    mutating func validate() throws {
        if let limit { _ = try RunOptions.range(limit) }
        if let shard { _ = try RunOptions.share(shard) }
        if let canary, !(0...1).contains(canary) { throw ValidationError("--canary takes 0 to 1.") }
        if let missingLimit, !(0...1).contains(missingLimit) { throw ValidationError("--missing-limit takes 0 to 1.") }
    }

    /// The run of a newcomer, who named nothing: the benchmark's starter, with what flags say of it.
    ///
    /// - Returns: nil where the benchmark has none, or a flag names other prompts or another baseline.
    func starter() throws -> RunOptions? {
        let home = try Environment.definitionsHome()
        guard prompts == nil, baseline == nil, judge == nil,
            let starter = try Definitions.benchmark(benchmark, home: home).starter
        else { return nil }
        var options = self
        options.models = ["\(home)/\(starter.model)"]
        options.prompts = "\(home)/\(starter.prompts)"
        options.baseline = starter.baseline.map { "\(home)/\($0)" }
        options.judge = starter.judge
        options.decoding.maxTokens = decoding.maxTokens ?? starter.maxTokens
        options.decoding.seed = decoding.seed ?? UInt64(starter.seed)
        options.asking.engine.dtype = starter.precision
        return options
    }

    /// The model under test.
    var model: String? { models.first }

    /// Flags that the benchmark has no use for.
    func check(_ benchmark: Benchmark) throws {
        if case .mtBench = benchmark.kind {
            switch mode ?? .single {
            case .single where baseline != nil:
                throw ValidationError(
                    "\(benchmark.id) rates each model by itself: leave out --baseline, or take --mode pairwise-baseline."
                )
            case .pairwiseBaseline where baseline == nil:
                throw ValidationError("--mode pairwise-baseline needs a --baseline: a model, or outputs:FILE.")
            case .pairwiseAll where models.count < 2 || baseline != nil:
                throw ValidationError("--mode pairwise-all needs --model twice or more, and no --baseline.")
            case .single where !style.features.isEmpty:
                throw ValidationError(
                    "Style control of ratings compares models. Score several runs: evalharness score mt-bench --judgments "
                        + "FILES --answers FOLDER --style-control.")
            case .single, .pairwiseBaseline, .pairwiseAll: break
            }
        } else {
            if references != nil { throw ValidationError("--references is for mt-bench.") }
            if mode != nil { throw ValidationError("--mode is for mt-bench.") }
        }
        if case .arenaHard = benchmark.kind, asking.retryUnparsable > 0 {
            throw ValidationError(
                "--retry-unparsable is not for \(benchmark.id), which judges as upstream does: leave it out.")
        }
        if models.count > 1, mode != .pairwiseAll {
            throw ValidationError(
                "Several --model are compared by mt-bench with --mode pairwise-all; run the others one by one.")
        }
    }

    /// The prompts that this run is about, in their order.
    func selected(_ set: PromptSet) throws -> [Prompt] {
        try selectedPlaces(of: set.prompts.count).map { set.prompts[$0] }
    }

    /// The places, from 0, of those of `count` prompts that this run is about.
    func selectedPlaces(of count: Int) throws -> [Int] {
        var places = Array(0..<count)
        if let limit {
            let range = try RunOptions.range(limit)
            places = places.filter(range.contains)
        }
        if !sampleID.isEmpty {
            if let stranger = sampleID.first(where: { !(0..<count).contains($0) }) {
                throw EvaluationError.configuration(
                    "--sample-id \(stranger): there are prompts 0 to \(count - 1).")
            }
            places = places.filter(sampleID.contains)
        }
        if let shard {
            let (share, total) = try RunOptions.share(shard)
            places = places.filter { $0 % total == share - 1 }
        }
        if places.isEmpty {
            throw EvaluationError.configuration(
                "No prompt is left to run: widen --limit, --sample-id or --shard.")
        }
        return places
    }

    private static func range(_ text: String) throws -> ClosedRange<Int> {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        switch parts.count {
        case 1: if let count = parts[0], count > 0 { return 0...(count - 1) }
        case 2: if let first = parts[0], let last = parts[1], 0 <= first, first <= last { return first...last }
        default: break
        }
        throw ValidationError("--limit takes a count (100) or a range (100-199), not \"\(text)\".")
    }

    private static func share(_ text: String) throws -> (share: Int, count: Int) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
        if parts.count == 2, let share = parts[0], let count = parts[1], 1 <= share, share <= count {
            return (share, count)
        }
        throw ValidationError("--shard takes i/n, such as 1/4, not \"\(text)\".")
    }
}

struct DecodingOptions: ParsableArguments {
    @Option(help: "0 is greedy.") var temperature: Double?
    @Option(help: "Nucleus sampling: the share of probability kept.") var topP: Double?
    @Option(help: "Only the k most probable tokens.") var topK: Int?
    @Option(help: "Only tokens this probable, relative to the most probable.") var minP: Double?
    @Option(help: "Beam search of this width, by a model on this machine.") var numBeams: Int?
    @Option(help: "Beams are ranked by log-probability / length^penalty.") var lengthPenalty: Double = 1
    @Option(help: "When a beam search ends: never, heuristic or always (with the first full set of answers).")
    var earlyStopping: String = "heuristic"
    @Option(help: "Above 1, makes what is already said less likely.") var repetitionPenalty: Double?
    @Option(help: "The longest output, in tokens.") var maxTokens: Int?
    @Option(help: "Seed of the model's sampling and of the intervals.") var seed: UInt64?

    mutating func validate() throws {
        if let temperature, !(0...100).contains(temperature) { throw ValidationError("--temperature takes 0 or more.") }
        if let topP, !(topP > 0 && topP <= 1) { throw ValidationError("--top-p takes more than 0, up to 1.") }
        if let topK, topK < 1 { throw ValidationError("--top-k takes 1 or more.") }
        if let minP, !(0...1).contains(minP) { throw ValidationError("--min-p takes 0 to 1.") }
        if let maxTokens, maxTokens < 1 { throw ValidationError("--max-tokens takes 1 or more.") }
        if let numBeams, !(1...256).contains(numBeams) { throw ValidationError("--num-beams takes 1 to 256.") }
        if numBeams ?? 1 > 1, temperature != nil || topP != nil || topK != nil || minP != nil {
            throw ValidationError(
                "--num-beams searches without sampling: leave out --temperature, --top-p, --top-k and --min-p.")
        }
        if !lengthPenalty.isFinite { throw ValidationError("--length-penalty takes a number.") }
        if Decoding.EarlyStopping(rawValue: earlyStopping) == nil {
            throw ValidationError("--early-stopping takes never, heuristic or always.")
        }
        if let repetitionPenalty, !(repetitionPenalty > 0 && repetitionPenalty.isFinite) {
            throw ValidationError("--repetition-penalty takes more than 0.")
        }
    }

    /// What the command line says, or the prompt, or its category, or the benchmark.
    func decoding(_ benchmark: Benchmark, _ prompt: Prompt? = nil) -> Decoding {
        var own: (temperature: Double, topK: Int?, topP: Double?, minP: Double?) = (0, nil, nil, nil)
        if case .sampling(let temperature, let topK, let topP, let minP) = benchmark.decoding {
            own = (temperature, topK, topP, minP)
        }
        if case .mtBench(let temperatures, _) = benchmark.kind, let prompt {
            own.temperature = prompt.temperature ?? temperatures[prompt.category ?? ""] ?? own.temperature
        }
        if let numBeams, numBeams > 1, let early = Decoding.EarlyStopping(rawValue: earlyStopping) {
            return .beam(width: numBeams, lengthPenalty: lengthPenalty, earlyStopping: early)
        }
        let temperature = temperature ?? own.temperature
        if temperature == 0 { return .greedy }
        return .sampling(
            temperature: temperature, topK: topK ?? own.topK, topP: topP ?? own.topP, minP: minP ?? own.minP)
    }
}

struct ScoringOptions: ParsableArguments {
    @Option(help: "Resamples of the intervals (1000 when left out); 0 computes none.")
    var resamples: Int?

    @Option(help: "length_controlled_v1, length_controlled_noreg, length_controlled_minimal or none.")
    var lengthControl: String?

    @Option(help: "How a row finds its prompt's difficulty: position (as alpaca_eval) or instruction.")
    var difficulty: String?

    @Flag(help: "Print JSON instead of a table.")
    var json = false

    mutating func validate() throws {
        if let resamples, resamples != 0, resamples < 100 {
            throw ValidationError("--resamples takes 0, or 100 or more.")
        }
        if let lengthControl, lengthControl != "none", LengthControlDesign(rawValue: lengthControl) == nil {
            let known = LengthControlDesign.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--length-control takes \(known) or none.")
        }
        if let difficulty, DifficultyRule(rawValue: difficulty) == nil {
            throw ValidationError("--difficulty takes position or instruction.")
        }
    }

    /// Upstream's own design on upstream's own prompts. A part of them gets the difficulty by instruction, since its
    /// rows no longer stand where upstream expects them; prompts of one's own have no difficulty, and get the minimal
    /// design.
    func rule(isOfficialPromptSet: Bool, isWhole: Bool, seed: UInt64) -> ScoringRule {
        let design: LengthControlDesign? =
            switch lengthControl {
            case nil: isOfficialPromptSet ? .v1 : .minimal
            case "none": nil
            case let name?: LengthControlDesign(rawValue: name)
            }
        let difficulty = difficulty.flatMap(DifficultyRule.init) ?? (isWhole ? .position : .instruction)
        return ScoringRule(design: design, difficulty: difficulty, resamples: resamples ?? 1000, seed: seed)
    }
}

extension MTBenchJudge.Mode: ExpressibleByArgument {}
