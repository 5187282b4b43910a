import Chat
import Inference
import LanguageModel
import Testing

/// Continuous batching over shared pages: what a request gets does not depend on anything but itself.
@Suite struct EngineTests {
    /// Requests of every kind: short and long prompts, shared beginnings, greedy, sampled and beams.
    static func mixture(_ count: Int) -> [DecodingParameters] {
        var state: UInt64 = 11
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let system = (0..<70).map { _ in Int32(3 + random(90)) }
        return (0..<count).map { index in
            let length = [1, 5, 16, 17, 40, 333][random(6)]
            let own = (0..<length).map { _ in Int32(3 + random(90)) }
            let decoding: Decoding =
                switch index % 4 {
                case 0: .greedy
                case 1: .sampling(temperature: 0.8, topK: nil, topP: 0.9, minP: nil)
                case 2: .sampling(temperature: 1.3, topK: 20, topP: nil, minP: nil)
                default: .beam(width: 3, lengthPenalty: 1, earlyStopping: .heuristic)
                }
            var parameters = DecodingParameters(
                decoding: decoding, prompt: index % 3 == 0 ? system + own : own, maxTokens: 3 + random(30),
                endTokens: [2])
            parameters.seed = UInt64(index)
            return parameters
        }
    }

    static func run(_ requests: [DecodingParameters], on engine: Engine) async throws -> [[Hypothesis]] {
        try await withThrowingTaskGroup(of: (Int, [Hypothesis]).self) { group in
            for (index, request) in requests.enumerated() {
                group.addTask { (index, try await engine.generate(request).hypotheses) }
            }
            var results = [[Hypothesis]](repeating: [], count: requests.count)
            for try await (index, hypotheses) in group { results[index] = hypotheses }
            return results
        }
    }

    static func alone(_ requests: [DecodingParameters], _ tiny: TinyCheckpoint, format: PackedMatrix.Format)
        async throws
        -> [[Hypothesis]]
    {
        var results: [[Hypothesis]] = []
        for request in requests {
            // A fresh engine: no prefix is shared, and one thread does all.
            results.append(try await run([request], on: tiny.engine(format: format, threads: 1))[0])
        }
        return results
    }

    @Test(arguments: PackedMatrix.Format.allCases)
    func `A request's tokens and log-probabilities are the same in any company`(_ format: PackedMatrix.Format)
        async throws
    {
        let tiny = try TinyCheckpoint()
        let requests = Self.mixture(24)
        let expected = try await Self.alone(requests, tiny, format: format)
        for threads in [1, 2, 3] {
            let engine = try tiny.engine(format: format, threads: threads)
            #expect(try await Self.run(requests, on: engine) == expected)
            // Once more on the same engine, in another order and with every prefix known.
            let reversed = try await Self.run(requests.reversed(), on: engine)
            #expect(Array(reversed.reversed()) == expected)
        }
    }

    @Test func `Requests that do not fit together are put off and computed again, to the same result`() async throws {
        let tiny = try TinyCheckpoint()
        let requests = Self.mixture(16)
        let expected = try await Self.alone(requests, tiny, format: .f32)
        // The largest request alone needs 30 pages.
        for pages in [34, 60] {
            #expect(try await Self.run(requests, on: tiny.engine(pages: pages)) == expected, "\(pages) pages")
        }
    }

    @Test func `A common beginning is computed once`() async throws {
        let tiny = try TinyCheckpoint()
        let engine = try tiny.engine()
        let system = (0..<160).map { Int32(3 + $0 % 90) }
        let requests = (0..<8).map { index in
            DecodingParameters(
                decoding: .greedy, prompt: system + [Int32(10 + index), 4, 5], maxTokens: 2, endTokens: [])
        }
        _ = try await Self.run(requests, on: engine)
        // 160 common tokens once, 3 of each request's own, and the one generated token that is read again.
        #expect(engine.counts.promptTokens + engine.counts.generatedTokens == 160 + 8 * 3 + 8)
        let again = try await engine.generate(requests[0])
        #expect(again.sharedTokens == 160)
    }

    @Test func `A second turn finds its first turn computed`() async throws {
        let tiny = try TinyCheckpoint()
        let engine = try tiny.engine()
        var parameters = DecodingParameters(
            decoding: .greedy, prompt: (0..<50).map { Int32(3 + $0) }, maxTokens: 40, endTokens: [])
        let first = try await engine.generate(parameters)
        parameters.prompt += first.hypotheses[0].tokens + [7, 8]
        // 89 tokens have been computed: five full pages.
        #expect(try await engine.generate(parameters).sharedTokens == 80)
    }

    @Test func `Log-probabilities of a text are those of generating it`() async throws {
        let tiny = try TinyCheckpoint()
        let engine = try tiny.engine()
        let prompt = (0..<300).map { Int32(3 + $0 % 77) }
        let generated = try await engine.generate(
            DecodingParameters(decoding: .greedy, prompt: prompt, maxTokens: 20, endTokens: [])
        ).hypotheses[0]
        let scored = try await engine.logprobs(of: prompt + generated.tokens).suffix(20)
        for (score, logprob) in zip(scored, generated.logprobs) { #expect(abs(Double(score) - logprob) < 1e-5) }
    }

    @Test func `A full context ends the answer with what there is`() async throws {
        let tiny = try TinyCheckpoint(contextLength: 64)
        let engine = try tiny.engine()
        let prompt = (0..<60).map { Int32(3 + $0) }
        let parameters = DecodingParameters(decoding: .greedy, prompt: prompt, maxTokens: 20, endTokens: [])
        let generation = try await engine.generate(parameters)
        #expect(generation.ending == .outOfContext)
        #expect(generation.hypotheses[0].tokens.count == 5)  // the last one needs no place of its own
        let long = DecodingParameters(
            decoding: .greedy, prompt: prompt + prompt, maxTokens: 20, endTokens: [])
        let refused = try await engine.generate(long)
        #expect(refused.ending == .outOfContext && refused.hypotheses[0].tokens.isEmpty)
    }

    @Test func `A request larger than the cache fails by itself, and the others go on`() async throws {
        let tiny = try TinyCheckpoint()
        let engine = try tiny.engine(pages: 8)
        let large = DecodingParameters(
            decoding: .greedy, prompt: [Int32](repeating: 5, count: 200), maxTokens: 4, endTokens: [])
        let growing = DecodingParameters(
            decoding: .greedy, prompt: [Int32](repeating: 6, count: 100), maxTokens: 100, endTokens: [])
        let small = DecodingParameters(decoding: .greedy, prompt: [5, 6, 7], maxTokens: 4, endTokens: [])
        let failing = Task { try await engine.generate(large) }
        let outgrowing = Task { try await engine.generate(growing) }
        #expect(try await engine.generate(small).hypotheses[0].tokens.count == 4)
        await #expect(throws: InferenceError.self) { try await failing.value }
        await #expect(throws: InferenceError.self) { try await outgrowing.value }
        #expect(try await engine.generate(small).hypotheses[0].tokens.count == 4)
    }

    @Test func `A cancelled request ends, and its memory serves others`() async throws {
        let tiny = try TinyCheckpoint(contextLength: 1 << 20)
        let engine = try tiny.engine(pages: 1 << 16)
        var parameters = DecodingParameters(decoding: .greedy, prompt: [3, 4], maxTokens: 1 << 20, endTokens: [])
        for _ in 0..<5 {
            let before = engine.counts.passes
            let task = Task { [parameters] in try await engine.generate(parameters) }
            while engine.counts.passes < before + 3 { await Task.yield() }
            task.cancel()
            // Without the cancellation it would go on until the cache is full, and fail otherwise.
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        parameters.maxTokens = 1_000
        #expect(try await engine.generate(parameters).hypotheses[0].tokens.count == 1_000)
    }

    @Test func `Bad requests are refused by name`() async throws {
        let engine = try TinyCheckpoint().engine()
        let empty = DecodingParameters(decoding: .greedy, prompt: [], maxTokens: 4, endTokens: [])
        await #expect(throws: InferenceError.emptyPrompt) { try await engine.generate(empty) }
        let strange = DecodingParameters(decoding: .greedy, prompt: [1_000], maxTokens: 4, endTokens: [])
        await #expect(throws: InferenceError.self) { try await engine.generate(strange) }
        await #expect(throws: InferenceError.self) { try await engine.logprobs(of: [1, -4]) }
    }

    @Test func `Every kernel variant generates plain C's tokens in f32`() async throws {
        let tiny = try TinyCheckpoint()
        let requests = Self.mixture(8)
        let plain = try await Self.run(requests, on: tiny.engine(kernels: "plain"))
        for name in Kernels.availableNames {
            let found = try await Self.run(requests, on: tiny.engine(kernels: name))
            #expect(found.map { $0.map(\.tokens) } == plain.map { $0.map(\.tokens) }, "\(name)")
        }
    }
}
