import Glibc
import Inference
import LanguageModel

/// Measures the engine on one checkpoint: prompts of random tokens, greedy, end tokens ignored; prints one JSON line.
@main struct GenerationBenchmark {
    static func main() async throws {
        let start = now()
        let options = try Options(CommandLine.arguments)
        let pool = ThreadPool(threadCount: options.threads)
        guard let kernels = Kernels(variant: options.kernels, pool: pool) else {
            throw Usage(text: "this CPU has the kernels \(Kernels.availableNames.joined(separator: ", "))")
        }
        let checkpoint = try Checkpoint(folder: options.folder)
        let weights = try Weights(checkpoint, format: options.format, pool: pool)
        let engine = Engine(
            model: DecoderModel(configuration: checkpoint.configuration, weights: weights, kernels: kernels))
        let loaded = now()

        let vocabulary = checkpoint.configuration.vocabularySize
        var state: UInt64 = 7
        let prompts = (0..<options.prompts).map { _ in
            (0..<options.promptLength).map { _ -> Int32 in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int32(4 + Int(state >> 33) % (vocabulary - 4))
            }
        }
        // The first token of the first prompt, alone; then prefill alone; then everything.
        _ = try await generate(engine, [prompts[0]], newTokens: 1)
        let firstToken = now()
        let shifted = prompts.map { $0.map { ($0 + 1) % Int32(vocabulary) } }
        _ = try await generate(engine, shifted, newTokens: 1)
        let prefilled = now()
        let others = prompts.map { $0.map { ($0 + 2) % Int32(vocabulary) } }
        var done = 0
        for first in stride(from: 0, to: others.count, by: options.batch) {
            let group = Array(others[first..<min(first + options.batch, others.count)])
            done += try await generate(engine, group, newTokens: options.newTokens)
        }
        let ended = now()

        let prefill = prefilled - firstToken
        let total = ended - prefilled
        let decode = Double(done) / max(1e-9, total - prefill)
        print(
            """
            {"engine": "evalharness", "kernels": "\(kernels.name)", "dtype": "\(options.format.rawValue)", \
            "batch": \(options.batch), "prompts": \(options.prompts), "prompt_tokens": \(options.promptLength), \
            "new_tokens": \(options.newTokens), "tok_s": \(rounded(Double(done) / total)), \
            "decode_tok_s": \(rounded(decode)), \
            "prefill_tok_s": \(rounded(Double(options.prompts * options.promptLength) / prefill)), \
            "load_s": \(rounded(loaded - start)), "first_token_s": \(rounded(firstToken - start)), \
            "peak_rss_mb": \(peakMemory())}
            """)
    }

    /// - Returns: how many tokens were generated.
    static func generate(_ engine: Engine, _ prompts: [[Int32]], newTokens: Int) async throws -> Int {
        try await withThrowingTaskGroup(of: Int.self) { group in
            for prompt in prompts {
                group.addTask {
                    let parameters = DecodingParameters(
                        decoding: .greedy, prompt: prompt, maxTokens: newTokens, endTokens: [])
                    return try await engine.generate(parameters).hypotheses[0].tokens.count
                }
            }
            return try await group.reduce(0, +)
        }
    }

    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    static func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }

    static func peakMemory() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss / 1_024
    }

    struct Usage: Error, CustomStringConvertible {
        var text: String
        var description: String { text }
    }

    struct Options {
        var folder: String
        var batch = 64
        var prompts = 64
        var promptLength = 128
        var newTokens = 256
        var threads: Int?
        var format = PackedMatrix.Format.bf16
        var kernels: String?

        init(_ arguments: [String]) throws {
            let usage = Usage(
                text: "generation-benchmark FOLDER [--batch N] [--prompts N] [--prompt-len N] [--new N] [--threads N] "
                    + "[--dtype f32|bf16|int8|w8a8] [--kernels NAME]")
            guard arguments.count > 1, arguments.count % 2 == 0 else { throw usage }
            folder = arguments[1]
            for index in stride(from: 2, to: arguments.count, by: 2) {
                let value = arguments[index + 1]
                switch (arguments[index], Int(value)) {
                case ("--batch", let number?): batch = number
                case ("--prompts", let number?): prompts = number
                case ("--prompt-len", let number?): promptLength = number
                case ("--new", let number?): newTokens = number
                case ("--threads", let number?): threads = number
                case ("--kernels", _): kernels = value
                case ("--dtype", _):
                    guard let named = PackedMatrix.Format(rawValue: value) else { throw usage }
                    format = named
                default: throw usage
                }
            }
        }
    }
}
