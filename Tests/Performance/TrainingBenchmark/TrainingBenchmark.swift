import Chat
import Glibc
import LanguageModel
import Training

/// Measures training steps on random weights and random pairs; prints one JSON line.
///
/// DPO's reference log-probabilities come from one pass before the first step, whose time is shared out over the steps
/// since each step's pairs are new; or from a frozen model in memory, a step at a time.
@main struct TrainingBenchmark {
    static func main() throws {
        let options = try Options(CommandLine.arguments)
        let pool = ThreadPool(threadCount: options.threads)
        guard let kernels = Kernels(variant: options.kernels, pool: pool) else {
            throw Usage(text: "this CPU has the kernels \(Kernels.availableNames.joined(separator: ", "))")
        }
        let configuration = try ModelConfiguration(options.shape.configuration, path: "the benchmark's shape")
        let store = ParameterStore(
            configuration.expectedShapes.sorted { $0.key < $1.key }.map { (name: $0.key, shape: $0.value) },
            isTrained: true, gradients: options.gradients)
        fill(store, seed: 1)
        let model = TrainableModel(
            configuration: configuration, weights: store, adapters: nil, kernels: kernels, format: options.format,
            recomputation: options.recomputation)
        var random = Random(state: 7)
        let steps = (0..<options.steps).map { _ in
            (0..<options.pairs).map { _ in pair(&random, options, configuration.vocabularySize) }
        }

        var referenceSeconds = 0.0
        var references: [[PairLogProbs]] = []
        let reference = options.keepsReference ? TrainableModel(model, weights: ParameterStore(frozen: store)) : nil
        if options.isDPO, reference == nil {
            // The first pass brings memory into being.
            _ = model.logProbs(TrainingPass.passes(steps[0], limit: options.rows, withPrompts: false)[0])
            let start = now()
            references = steps.map { examples in
                TrainingPass.passes(examples, limit: options.rows, withPrompts: false).flatMap { model.logProbs($0) }
            }
            referenceSeconds = now() - start
        }
        var times: [Double] = []
        var losses: [Double] = []
        for (index, examples) in steps.enumerated() {
            let start = now()
            store.training!.gradients.clear(pool)
            var done = 0
            var loss = 0.0
            for pass in TrainingPass.passes(examples, limit: options.rows, withPrompts: false) {
                let resident = reference?.logProbs(pass)
                var logProbs = model.forward(pass)
                if options.isDPO {
                    for place in logProbs.indices {
                        let reference = resident?[place] ?? references[index][done + place]
                        logProbs[place].chosen?.reference = reference.chosen?.sum
                        logProbs[place].rejected?.reference = reference.rejected?.sum
                    }
                }
                done += logProbs.count
                let result = options.objective.evaluate(logProbs, in: BatchSize(examples))
                loss += result.loss
                model.backward(pass, result.gradients)
            }
            let norm = store.training!.gradients.norm(kernels)
            AdamW().update(
                store, step: index + 1, learningRate: 1e-6, gradientScale: min(1, 1 / (norm + 1e-6)), kernels: kernels)
            times.append(now() - start)
            losses.append(loss)
        }
        print(report(options, configuration, steps, times, referenceSeconds, losses, kernels.name))
    }

    static func report(
        _ options: Options, _ c: ModelConfiguration, _ steps: [[TokenizedPair]], _ times: [Double],
        _ referenceSeconds: Double, _ losses: [Double], _ kernels: String
    ) -> String {
        // The first step brings memory into being.
        let timed = times.dropFirst().sorted()
        let median = timed[timed.count / 2] + referenceSeconds / Double(steps.count)
        let tokens = steps.joined().reduce(0) { $0 + TrainingPass.rowCount(of: $1) } / steps.count
        let unshared = steps.joined().reduce(0) { $0 + $1.rows.reduce(0) { $0 + $1.ids.count } } / steps.count
        let targets = steps.joined().reduce(0) { $0 + $1.rows.reduce(0) { $0 + $1.targetCount } } / steps.count
        let head = Double(c.vocabularySize * c.hiddenSize)
        let body = Double(c.parameterCount) - head * (c.isTied ? 1 : 2)
        // Forward and backward, every product counted once, and the reference's forward pass.
        let flop = (options.isDPO ? 8.0 : 6.0) * (body * Double(tokens) + head * Double(targets))
        let row: JSONObject = [
            "engine": "evalharness", "method": .string(options.isDPO ? "dpo" : "simpo"),
            "precision": .string(options.format.rawValue), "kernels": .string(kernels),
            "pairs": .integer(options.pairs), "rows_a_pass": .integer(options.rows),
            "recomputed": .string(options.recomputation.rawValue), "gradients": .string(options.gradients.rawValue),
            "reference_in_memory": .bool(options.keepsReference),
            "steps": .integer(timed.count),
            "step_s_median": .number(rounded(median)), "step_s_min": .number(rounded(timed.first ?? 0)),
            "step_s_max": .number(rounded(timed.last ?? 0)),
            "reference_s_a_step": .number(rounded(referenceSeconds / Double(steps.count))),
            "pairs_s": .number(rounded(Double(options.pairs) / median)), "tokens_step": .integer(tokens),
            "unshared_tokens_step": .integer(unshared), "peak_rss_mb": .integer(peakMegabytes()),
            "gflop_step": .number(rounded(flop * 1e-9)), "gflops": .number(rounded(flop * 1e-9 / median)),
            "losses": .array(losses.map { .number($0) }),
        ]
        return JSONValue.object(row).text()
    }

    static func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }

    static func peakMegabytes() -> Int {
        guard let file = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 4_096)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("VmHWM:") { return (Int(text.filter(\.isNumber)) ?? 0) / 1_024 }
        }
        return 0
    }

    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// Norms of one, matrices uniform with a deviation of 0.02, all numbers of bf16 as in most checkpoints.
    static func fill(_ store: ParameterStore, seed: UInt64) {
        var random = Random(state: seed)
        for (index, parameter) in store.parameters.enumerated() {
            let values = store.value(index)
            for row in 0..<parameter.rows {
                for column in 0..<parameter.columns {
                    values[row * parameter.stride + column] =
                        parameter.shape.count == 1 ? 1 : truncatedToBrainFloat(0.035 * (2 * random.unit() - 1))
                }
            }
        }
    }

    static func truncatedToBrainFloat(_ value: Float) -> Float { Float(bitPattern: value.bitPattern & 0xffff_0000) }

    static func pair(_ random: inout Random, _ options: Options, _ vocabulary: Int) -> TokenizedPair {
        func tokens(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32(4 + random.below(vocabulary - 4)) } }
        let prompt = tokens(options.promptLength)
        func row() -> TokenizedRow {
            let ids = prompt + tokens(options.response.lowerBound + random.below(options.response.count))
            return TokenizedRow(ids: ids, targets: [prompt.count..<ids.count])
        }
        return TokenizedPair(chosen: row(), rejected: row())
    }
}

struct Random {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }

    mutating func below(_ bound: Int) -> Int { Int(next()) % bound }
    mutating func unit() -> Float { Float(next()) / Float(1 << 31) }
}

struct Usage: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}

enum Shape: String {
    case smollm2 = "135m"
    case tiny

    var configuration: JSONObject {
        switch self {
        case .smollm2: Shape.llama(576, 30, 9, 3, 1_536, 49_152)
        case .tiny: Shape.llama(128, 2, 2, 1, 256, 2_048)
        }
    }

    private static func llama(
        _ hidden: Int, _ layers: Int, _ heads: Int, _ keyHeads: Int, _ intermediate: Int, _ vocabulary: Int
    ) -> JSONObject {
        [
            "model_type": "llama", "hidden_size": .integer(hidden), "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "num_key_value_heads": .integer(keyHeads), "head_dim": 64,
            "intermediate_size": .integer(intermediate), "vocab_size": .integer(vocabulary),
            "max_position_embeddings": 2_048, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "hidden_act": "silu",
            "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
        ]
    }
}

struct Options {
    var shape = Shape.smollm2
    var isDPO = false
    var format = PackedMatrix.Format.bf16
    var pairs = 4
    var promptLength = 128
    var response = 200...400
    var steps = 4
    var threads = 2
    var rows = 1_024
    var recomputation = Recomputation.none
    var gradients = Gradients.Format.f32
    var keepsReference = false
    var kernels: String?

    init(_ arguments: [String]) throws {
        var rest = arguments.dropFirst()
        while let flag = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Usage(text: "\(flag) needs a value") }
            switch flag {
            case "--shape": shape = try Options.known(Shape(rawValue: value), flag, value)
            case "--method": isDPO = value == "dpo"
            case "--dtype": format = try Options.known(PackedMatrix.Format(rawValue: value), flag, value)
            case "--pairs": pairs = try Options.known(Int(value), flag, value)
            case "--prompt": promptLength = try Options.known(Int(value), flag, value)
            // The first one is not counted.
            case "--steps": steps = try Options.known(Int(value).flatMap { $0 > 1 ? $0 : nil }, flag, value)
            case "--threads": threads = try Options.known(Int(value), flag, value)
            case "--rows": rows = try Options.known(Int(value), flag, value)
            case "--recompute": recomputation = try Options.known(Recomputation(rawValue: value), flag, value)
            case "--gradients": gradients = try Options.known(Gradients.Format(rawValue: value), flag, value)
            case "--reference": keepsReference = value == "memory"
            case "--kernels": kernels = value
            default: throw Usage(text: "there is no option \(flag)")
            }
        }
    }

    private static func known<Value>(_ value: Value?, _ flag: String, _ text: String) throws -> Value {
        guard let value else { throw Usage(text: "\(flag) does not take \(text)") }
        return value
    }

    /// SimPO with beta 2 and a margin of 1, or DPO with beta 0.1.
    var objective: Objective {
        isDPO ? .dpo(Objective.DPO(beta: 0.1)) : .simpo(Objective.SimPO(beta: 2, gamma: 1))
    }
}
