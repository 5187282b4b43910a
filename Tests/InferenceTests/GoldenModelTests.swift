import Chat
import Foundation
import Inference
import LanguageModel
import TestSupport
import Testing

/// Every checkpoint of the golden values, in f32, against transformers.
@Suite(.enabled(if: !GoldenModel.folders.isEmpty, "needs the golden checkpoints")) struct GoldenModelTests {
    @Test(arguments: GoldenModel.folders)
    func `Logits and log-probabilities are transformers'`(_ folder: String) async throws {
        let golden = try GoldenModel(folder)
        let cache = KVCache(golden.model.configuration, format: .f32, pageCount: 64)
        for forward in golden.expected["forward"]?.array ?? [] {
            let tokens = forward.tokens("input_ids")
            var batch = Batch()
            let pages = (0..<(tokens.count + 15) / 16).map { _ in cache.allocate()! }
            batch.append(tokens, firstPosition: 0, pages: pages)
            golden.model.forward(batch, cache: cache)
            let vocabulary = golden.model.configuration.vocabularySize
            for (position, values) in forward["logits"]?.object?.pairs ?? [] {
                let logits = golden.model.logits(rows: [Int(position)!])
                let expected = (values.array ?? []).map { Float($0.number!) }
                try #require(expected.count == vocabulary)
                let error = zip(logits, expected).map { abs($0 - $1) }.max()!
                #expect(error < 2e-4, "position \(position) of \(tokens.count)")
            }
            for page in pages { cache.release(page) }
            let logprobs = try await golden.engine.logprobs(of: tokens)
            let expected = (forward["token_logprobs"]?.array ?? []).map { Float($0.number!) }
            #expect(logprobs.count == expected.count)
            for (found, wanted) in zip(logprobs, expected) { #expect(abs(found - wanted) < 1e-4) }
        }
    }

    @Test(arguments: GoldenModel.folders)
    func `Greedy continuations are transformers'`(_ folder: String) async throws {
        let golden = try GoldenModel(folder)
        for run in golden.expected["greedy"]?.array ?? [] {
            let margins = run["top1_top2_margins"]?.array?.map { $0.number! } ?? []
            for (name, value) in run.object?.pairs ?? [] {
                guard let plan = GoldenModel.greedyVariants[name], let expected = value.tokens else { continue }
                var parameters = DecodingParameters(
                    decoding: .greedy, prompt: run.tokens("prompt"), maxTokens: expected.count,
                    endTokens: plan.stops ? run.endTokens : [])
                parameters.constraints.repetitionPenalty = plan.penalty
                parameters.constraints.noRepeatNgramSize = plan.ngram
                let found = try await golden.engine.generate(parameters).hypotheses[0].tokens
                // Where two tokens are as good as equal, either continues.
                let sure = plan.isPlain ? margins.firstIndex { $0 < 1e-3 } ?? expected.count : expected.count
                #expect(found.prefix(sure) == expected.prefix(sure), "\(name)")
            }
        }
    }

    @Test(arguments: GoldenModel.folders)
    func `Beams are transformers'`(_ folder: String) async throws {
        let golden = try GoldenModel(folder)
        for run in golden.expected["beam"]?.array ?? [] {
            let width = run["num_beams"]!.integer!
            let early: Decoding.EarlyStopping =
                switch run["early_stopping"] {
                case .bool(true): .always
                case .string("never"): .never
                default: .heuristic
                }
            let parameters = DecodingParameters(
                decoding: .beam(width: width, lengthPenalty: run["length_penalty"]!.number!, earlyStopping: early),
                prompt: run.tokens("prompt"), maxTokens: run["max_new_tokens"]!.integer!,
                endTokens: run.endTokens)
            let found = try await golden.engine.generate(parameters).hypotheses
            let lengths = run["recomputed"]?.array?.compactMap { $0["n_tokens"]?.integer } ?? []
            let sequences = (run["sequences"]?.array ?? []).compactMap(\.tokens)
            let scores = (run["sequences_scores"]?.array ?? []).map { $0.number! }
            #expect(sequences.count == width && scores.count == width && lengths.count == width)
            for (place, (sequence, length)) in zip(sequences, lengths).enumerated() {
                #expect(found[place].tokens == Array(sequence.prefix(length)), "beam \(place)")
                #expect(abs(found[place].score - scores[place]) < 1e-4)
            }
        }
    }
}

/// A golden checkpoint, open.
struct GoldenModel {
    let expected: JSONValue
    let model: DecoderModel
    let engine: Engine

    /// The checkpoints whose values transformers itself is sure of.
    static let folders = SharedData.fixtures("models").filter { folder in
        guard SharedData.exists("\(folder)/expected.json"),
            let config = try? SharedData.contents("\(folder)/config.json")
        else { return false }
        // With LongRoPE transformers answers by the longest row of a batch, and disagrees with itself.
        return !String(decoding: config, as: UTF8.self).contains("longrope")
    }

    struct GreedyVariant {
        var stops = false
        var penalty = 1.0
        var ngram = 0
        var isPlain: Bool { penalty == 1 && ngram == 0 }
    }

    static let greedyVariants: [String: GreedyVariant] = [
        "greedy_no_cache": GreedyVariant(), "hf_generate_no_eos": GreedyVariant(),
        "hf_generate_eos": GreedyVariant(stops: true),
        "hf_generate_eos_rep_penalty_1_3": GreedyVariant(stops: true, penalty: 1.3),
        "hf_generate_eos_no_repeat_ngram_2": GreedyVariant(stops: true, ngram: 2),
    ]

    init(_ folder: String) throws {
        expected = try JSONValue(parsing: Array(Data(contentsOf: URL(fileURLWithPath: "\(folder)/expected.json"))))
        let checkpoint = try Checkpoint(folder: folder)
        let pool = ThreadPool(threadCount: 2)
        let weights = try Weights(checkpoint, format: .f32, pool: pool)
        func open(_ pool: ThreadPool) -> DecoderModel {
            DecoderModel(configuration: checkpoint.configuration, weights: weights, kernels: Kernels(pool: pool)!)
        }
        model = open(pool)
        var settings = Engine.Settings()
        settings.cacheBytes = 16 << 20
        engine = Engine(model: open(ThreadPool(threadCount: 2)), settings: settings)
    }
}

extension JSONValue {
    var tokens: [Int32]? {
        guard let array else { return nil }
        let ids = array.compactMap(\.integer).map(Int32.init)
        return ids.count == array.count ? ids : nil
    }

    var endTokens: Set<Int32> {
        guard let value = self["eos_token_id"] else { return [] }
        return Set((value.array ?? [value]).compactMap(\.integer).map(Int32.init))
    }

    func tokens(_ key: String) -> [Int32] { self[key]?.tokens ?? [] }
}

extension JSONObject {
    var pairs: [(String, JSONValue)] { members.map { ($0.key, $0.value) } }
}
