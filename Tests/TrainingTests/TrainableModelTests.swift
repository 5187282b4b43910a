import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing
import Training

/// The training pass of every family, over the golden checkpoints and one of our own.
@Suite struct TrainableModelTests {
    /// The checkpoints whose values transformers itself is sure of: with LongRoPE it answers by the longest row of a
    /// batch, and disagrees with itself.
    static let folders = SharedData.fixtures("models").filter { folder in
        guard SharedData.exists("\(folder)/expected.json"),
            let config = try? SharedData.contents("\(folder)/config.json")
        else { return false }
        return !String(decoding: config, as: UTF8.self).contains("longrope")
    }

    @Test(.enabled(if: !folders.isEmpty, "needs the golden checkpoints"), arguments: folders)
    func `Log-probabilities are transformers'`(_ folder: String) throws {
        let model = try TestModel(folder).model
        let expected = try JSONValue(parsing: Array(SharedData.contents("\(folder)/expected.json")))
        for forward in expected["forward"]?.array ?? [] {
            let ids = try #require(forward["input_ids"]?.array).map { Int32($0.integer!) }
            let logProbs = (forward["token_logprobs"]?.array ?? []).map { $0.number! }
            for start in stride(from: 1, to: ids.count, by: max(1, ids.count / 5)) {
                var pass = TrainingPass()
                let row = TokenizedRow(ids: ids, targets: [start..<ids.count])
                pass.append(TokenizedPair(chosen: row, rejected: nil))
                let sum = try #require(model.logProbs(pass)[0].chosen)
                #expect(sum.count == ids.count - start)
                let wanted = logProbs.suffix(ids.count - start).reduce(0, +)
                #expect(abs(sum.sum - wanted) < 1e-4 * Double(sum.count), "from \(start) of \(ids.count)")
            }
        }
    }

    /// Along each tensor's gradient the loss rises by the gradient's length.
    @Test(arguments: folders + [""])
    func `Gradients are the slope of the loss`(_ folder: String) throws {
        let own = try CheckpointFolder()
        let test = try TestModel(folder.isEmpty ? own.path : folder)
        let passes = test.passes(seed: 5, withPrompts: true)
        let coefficients = [PairGradient(chosen: 0.3, rejected: -0.2, chosenPrompt: 0.1), PairGradient(chosen: -0.4)]
        func loss() -> Double {
            zip(passes, coefficients).reduce(0) { sum, next in
                let row = test.model.logProbs(next.0)[0]
                let parts = [row.chosen?.sum, row.rejected?.sum, row.chosen?.prompt?.sum].map { $0 ?? 0 }
                return sum + parts[0] * next.1.chosen + parts[1] * next.1.rejected + parts[2] * next.1.chosenPrompt
            }
        }
        for (pass, coefficient) in zip(passes, coefficients) {
            _ = test.model.forward(pass)
            test.model.backward(pass, [coefficient])
        }
        let store = test.model.weights
        for (index, parameter) in store.parameters.enumerated() {
            let gradient = UnsafeBufferPointer(start: store.gradient(index)!, count: parameter.floatCount)
            let length = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            if length < 1e-3 { continue }
            let step = min(0.03 / length, 0.01)
            let values = store.value(index)
            let before = Array(UnsafeBufferPointer(start: values, count: parameter.floatCount))
            var losses: [Double] = []
            for sign in [1.0, -1.0] {
                for place in before.indices {
                    values[place] = before[place] + Float(sign * step * Double(gradient[place]) / length)
                }
                losses.append(loss())
            }
            for place in before.indices { values[place] = before[place] }
            let slope = (losses[0] - losses[1]) / (2 * step)
            #expect(abs(slope - length) < 0.02 * length + 2e-3, "\(parameter.name): \(slope), not \(length)")
        }
    }

    @Test(arguments: folders + [""])
    func `Recomputation and threads change no bit of a gradient`(_ folder: String) throws {
        // Segments of three layers, the last one shorter.
        let own = try CheckpointFolder(layerCount: 8)
        let path = folder.isEmpty ? own.path : folder
        let formats: [(PackedMatrix.Format, Gradients.Format)] = [(.f32, .f32), (.bf16, .f32), (.bf16, .bf16)]
        let runs: [(Int, Recomputation)] = [(1, .none), (2, .layers), (3, .none), (2, .mlp), (2, .segments)]
        for (format, gradients) in formats {
            let all = try runs.map { threads, recomputation in
                gradientBits(
                    try TestModel(
                        path, threads: threads, recomputation: recomputation, format: format, gradients: gradients))
            }
            for other in all.dropFirst() { #expect(all[0] == other, "\(format), gradients in \(gradients)") }
        }
    }

    @Test(arguments: folders + [""])
    func `Gradients in bf16 are those in floats, rounded once a pass`(_ folder: String) throws {
        let own = try CheckpointFolder()
        let path = folder.isEmpty ? own.path : folder
        let floats = gradientBits(try TestModel(path))
        let test = try TestModel(path, gradients: .bf16)
        let halves = gradientBits(test)
        for (index, parameter) in test.model.weights.parameters.enumerated() {
            // Their rows are added one after the other.
            let isTable = parameter.name.contains("embed") || parameter.name.hasPrefix("w")
            let exact = floats[index].map { Float(bitPattern: $0) }
            if parameter.isMatrix, !isTable {
                #expect(halves[index] == exact.map(rounded), "\(parameter.name)")
            } else {
                let tolerance = (parameter.isMatrix ? 0.02 : 0) * exact.map(abs).max()!
                let found = halves[index].map { Float(bitPattern: $0) }
                #expect(zip(found, exact).allSatisfy { abs($0 - $1) <= tolerance }, "\(parameter.name)")
            }
        }
    }

    /// The bits of the nearest bf16 number, ties to even.
    private func rounded(_ value: Float) -> UInt32 {
        let bits = value.bitPattern
        return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000
    }

    /// Of a pass of three pairs, for every parameter. Logits are in several blocks, kept where nothing is recomputed.
    private func gradientBits(_ test: TestModel) -> [[UInt32]] {
        test.model.vocabularyBlock = 48
        if test.model.recomputation != .none { test.model.logitBytes = 0 }
        var pass = TrainingPass()
        for pair in test.pairs(seed: 9, count: 3) { pass.append(pair) }
        let sums = test.model.forward(pass)
        test.model.backward(pass, sums.map { _ in PairGradient(chosen: 0.5, rejected: -0.25) })
        let store = test.model.weights
        return store.parameters.enumerated().map { index, parameter in
            store.training!.gradients.withFloats(index, from: 0, count: parameter.floatCount) { values in
                (0..<parameter.floatCount).map { values[$0].bitPattern }
            }
        }
    }

    /// Logits of a few tokens at a time.
    @Test(arguments: folders + [""])
    func `A vocabulary in parts gives the same log-probabilities and gradients`(_ folder: String) throws {
        let own = try CheckpointFolder()
        let path = folder.isEmpty ? own.path : folder
        var sums: [[PairLogProbs]] = []
        var gradients: [[Float]] = []
        for block in [1 << 20, 16] {
            let test = try TestModel(path)
            test.model.vocabularyBlock = block
            var pass = TrainingPass()
            for pair in test.pairs(seed: 9, count: 3) { pass.append(pair) }
            sums.append(test.model.forward(pass))
            test.model.backward(pass, sums[0].map { _ in PairGradient(chosen: 0.5, rejected: -0.25) })
            let store = test.model.weights
            gradients.append(
                store.parameters.indices.flatMap { index in
                    UnsafeBufferPointer(start: store.gradient(index)!, count: store.parameters[index].floatCount)
                })
        }
        for (one, other) in zip(sums[0], sums[1]) {
            #expect(abs(one.chosen!.sum - other.chosen!.sum) < 1e-4)
            #expect(abs(one.rejected!.sum - other.rejected!.sum) < 1e-4)
        }
        let largest = gradients[0].map(abs).max()!
        #expect(zip(gradients[0], gradients[1]).allSatisfy { abs($0 - $1) < 1e-5 * largest })
    }

    /// However large a vocabulary is beside the memory for its logits.
    @Test func `A pair's log-probabilities are the same to the bit in any company, with logits kept or not`() throws {
        let own = try CheckpointFolder()
        let test = try TestModel(own.path, format: .bf16)
        test.model.vocabularyBlock = 48
        test.model.logitBytes = 32 << 10
        let pairs = test.pairs(seed: 2, count: 6)
        var together = TrainingPass()
        for pair in pairs { together.append(pair) }
        let found = test.model.logProbs(together)
        for (pair, sums) in zip(pairs, found) {
            var alone = TrainingPass()
            alone.append(pair)
            #expect(test.model.logProbs(alone)[0] == sums)
            #expect(test.model.forward(alone)[0] == sums)
        }
    }

    @Test(arguments: folders + [""])
    func `A merged adapter computes what it computed beside the weights`(_ folder: String) throws {
        let own = try CheckpointFolder()
        let plain = try TestModel(folder.isEmpty ? own.path : folder)
        let lora = LoRASettings(rank: 3, alpha: 6)
        let store = try lora.makeStore(for: plain.model.configuration, seed: 1)
        for (index, parameter) in store.parameters.enumerated() {
            store.fill(index, from: (0..<parameter.rows * parameter.columns).map { 0.3 * sin(Float(7 * $0 + index)) })
        }
        let beside = TrainableModel(
            configuration: plain.model.configuration, weights: plain.model.weights,
            adapters: (store, LoRAScale(rank: 3, scale: Float(lora.scale))), kernels: plain.kernels, format: .f32)
        let pass = plain.passes(seed: 3, withPrompts: false)[0]
        let before = plain.model.logProbs(pass)[0].chosen!.sum
        let expected = beside.logProbs(pass)[0].chosen!.sum
        lora.merge(store, into: plain.model.weights, pool: plain.kernels.pool)
        let change = abs(expected - before)
        #expect(change > 1e-2)
        #expect(abs(plain.model.logProbs(pass)[0].chosen!.sum - expected) < 0.02 * change)
    }

    @Test func `A pass that predicts nothing leaves no gradient in the head`() throws {
        let own = try CheckpointFolder()
        let test = try TestModel(own.path)
        let ids = test.pairs(seed: 2, count: 1)[0].rows[0].ids
        var pass = TrainingPass()
        pass.append(TokenizedPair(chosen: TokenizedRow(ids: ids, targets: []), rejected: nil))
        _ = test.model.forward(pass)
        test.model.backward(pass, [PairGradient(chosen: 1, rejected: 0)])
        let gradients = try #require(test.model.weights.training).gradients
        #expect(gradients.norm(test.kernels) == 0)
    }

    @Test(arguments: folders + [""])
    func `A pair's rows have the log-probabilities that they have alone`(_ folder: String) throws {
        let own = try CheckpointFolder()
        let test = try TestModel(folder.isEmpty ? own.path : folder)
        let pairs = test.pairs(seed: 2, count: 2)
        var together = TrainingPass()
        for pair in pairs { together.append(pair) }
        let found = test.model.logProbs(together)
        for (pair, sums) in zip(pairs, found) {
            for (row, sum) in [(pair.chosen, sums.chosen), (pair.rejected, sums.rejected)] {
                var alone = TrainingPass()
                alone.append(TokenizedPair(chosen: row, rejected: nil))
                let expected = try #require(test.model.logProbs(alone)[0].chosen)
                #expect(abs(expected.sum - sum!.sum) < 2e-5 * Double(expected.count))
                #expect(expected.count == sum!.count)
            }
        }
    }

    @Test func `A prompt of one token has a log-probability of nothing`() throws {
        let own = try CheckpointFolder()
        let test = try TestModel(own.path)
        func row(_ response: [Int32]) -> TokenizedRow {
            TokenizedRow(ids: [7] + response, targets: [1..<1 + response.count])
        }
        var pass = TrainingPass(withPrompts: true)
        pass.append(TokenizedPair(chosen: row([8, 9]), rejected: row([10])))
        let logProbs = test.model.forward(pass)
        #expect(logProbs[0].chosen?.prompt == RowLogProbs.Prompt(sum: 0, count: 0))
        let loss = Objective.orpo(Objective.ORPO(lambda: 0.1, likelihoodOf: .promptAndResponse))
            .evaluate(logProbs, in: BatchSize(examples: 1, chosenTargets: 2, chosenTokens: 2))
        #expect(loss.loss.isFinite)
    }

    @Test func `Vector kernels train as plain C does`() throws {
        let own = try CheckpointFolder()
        var norms: [Double] = []
        for variant in Kernels.availableNames {
            let test = try TestModel(own.path, variant: variant)
            let pass = test.passes(seed: 1, withPrompts: false)[0]
            _ = test.model.forward(pass)
            test.model.backward(pass, [PairGradient(chosen: 0.5, rejected: -0.25)])
            norms.append(test.model.weights.training!.gradients.norm(test.kernels))
        }
        for norm in norms { #expect(abs(norm - norms.last!) < 1e-5 * norm) }
    }
}

/// A checkpoint to train, and random examples for it.
struct TestModel {
    let model: TrainableModel
    let kernels: Kernels

    init(
        _ folder: String, threads: Int = 2, variant: String? = nil, recomputation: Recomputation = .none,
        format: PackedMatrix.Format = .f32, gradients: Gradients.Format = .f32
    ) throws {
        let checkpoint = try Checkpoint(folder: folder)
        kernels = try #require(Kernels(variant: variant, pool: ThreadPool(threadCount: threads)))
        model = TrainableModel(
            configuration: checkpoint.configuration,
            weights: try ParameterStore(checkpoint, isTrained: true, gradients: gradients),
            adapters: nil, kernels: kernels, format: format, recomputation: recomputation)
    }

    /// Pairs with a common prompt of some 5 tokens, and responses of 3 to 60.
    func pairs(seed: UInt64, count: Int) -> [TokenizedPair] {
        var state = seed
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        func tokens(_ count: Int) -> [Int32] {
            (0..<count).map { _ in Int32(random(model.configuration.vocabularySize)) }
        }
        return (0..<count).map { _ in
            let prompt = tokens(3 + random(5))
            func row() -> TokenizedRow {
                let ids = prompt + tokens(3 + random(58))
                return TokenizedRow(ids: ids, targets: [prompt.count..<ids.count])
            }
            return TokenizedPair(chosen: row(), rejected: row())
        }
    }

    /// One pair, and one row alone.
    func passes(seed: UInt64, withPrompts: Bool) -> [TrainingPass] {
        let pairs = pairs(seed: seed, count: 2)
        var first = TrainingPass(withPrompts: withPrompts)
        first.append(pairs[0])
        var second = TrainingPass()
        second.append(TokenizedPair(chosen: pairs[1].chosen, rejected: nil))
        return [first, second]
    }
}
