import Foundation
import LanguageModel
import TestSupport
import Testing
import Training

/// A run as a whole: stopped, resumed, damaged, diverging.
@Suite struct TrainerTests {
    private let checkpoint = Result { try CheckpointFolder() }

    private func trainer(
        _ edit: (inout TrainerSettings) -> Void = { _ in }, examples: Int = 11, threads: Int = 2,
        gradients: Gradients.Format = .f32, state: TrainerState = TrainerState(fingerprint: "run")
    ) throws -> (trainer: Trainer, model: TestModel) {
        let model = try TestModel(checkpoint.get().path, threads: threads, gradients: gradients)
        var settings = TrainerSettings(objective: .simpo(Objective.SimPO(beta: 2, gamma: 1)))
        settings.batchSize = 2
        settings.accumulation = 2
        settings.epochs = 3
        settings.learningRate = 1e-3
        settings.loggingSteps = 2
        settings.rowsPerPass = 100
        edit(&settings)
        let pairs = model.pairs(seed: 4, count: examples)
        let training = pairs.enumerated().map { TrainingExample($1, source: "line \($0 + 1)") }
        let trainer = try Trainer(
            settings, model: model.model, kernels: model.kernels, training: training,
            heldOut: Array(training.prefix(3)), state: state)
        return (trainer, model)
    }

    private func bits(_ store: ParameterStore) -> [UInt32] {
        UnsafeBufferPointer(start: store.values.pointer, count: store.floatCount).map { $0.bitPattern }
    }

    private func lines(_ trainer: Trainer, save: (TrainerState) throws -> Void = { _ in }, stopAfter: Int? = nil) throws
        -> [String]
    {
        var lines: [String] = []
        func observe(_ event: TrainerEvent) {
            guard case .logged(let step, let values) = event else { return }
            lines.append("\(step) \(values.filter { $0.name != "tokens_per_second" })")
        }
        _ = try trainer.run(save: save, shouldStop: { trainer.state.step == stopAfter }, observe: observe)
        return lines
    }

    @Test(arguments: Gradients.Format.allCases)
    func `A run stopped anywhere goes on to the same weights and the same log`(_ gradients: Gradients.Format) throws {
        let whole = try trainer(gradients: gradients)
        let log = try lines(whole.trainer)
        #expect(whole.trainer.totalSteps == 9)
        #expect(log.count == 5)
        for stop in [1, 3, 4, 8] {
            let folder = try TemporaryFolder()
            let checkpoints = TrainerCheckpoints(folder: folder.path, limit: 2)
            let first = try trainer(threads: 1, gradients: gradients)
            var found = try lines(
                first.trainer, save: { try checkpoints.save($0, first.model.model.weights) }, stopAfter: stop)
            let second = try trainer(threads: 3, gradients: gradients)
            let state = try #require(
                try checkpoints.load(into: second.model.model.weights, fingerprint: "run") { _, _ in })
            #expect(state.step == stop)
            let resumed = try trainer(threads: 2, gradients: gradients, state: state)
            _ = try checkpoints.load(into: resumed.model.model.weights, fingerprint: "run") { _, _ in }
            found += try lines(resumed.trainer)
            #expect(found == log)
            #expect(bits(resumed.model.model.weights) == bits(whole.model.model.weights), "stopped after \(stop)")
        }
    }

    @Test func `Gradients in bf16 train as those in floats do`() throws {
        let runs = try Gradients.Format.allCases.map { try trainer(gradients: $0) }
        let norms = try runs.map { try $0.trainer.step() }
        #expect(norms[0] != norms[1])
        #expect(abs(norms[0] - norms[1]) < 4e-3 * norms[0])
        for run in runs { while run.trainer.state.step < run.trainer.totalSteps { _ = try run.trainer.step() } }
        let weights = runs.map { $0.model.model.weights.values }
        // Nine steps move a weight by some 9e-3.
        let square = (0..<weights[0].count).reduce(0.0) { sum, place in
            let difference = Double(weights[0].pointer[place] - weights[1].pointer[place])
            return sum + difference * difference
        }
        #expect((square / Double(weights[0].count)).squareRoot() < 3e-4)
    }

    @Test func `A damaged checkpoint is passed over for the one before it`() throws {
        let folder = try TemporaryFolder()
        let checkpoints = TrainerCheckpoints(folder: folder.path, limit: 2)
        let run = try trainer({ $0.saveSteps = 3 })
        _ = try lines(run.trainer, save: { try checkpoints.save($0, run.model.model.weights) })
        #expect(checkpoints.steps == [6, 9])
        let file = "\(folder.path)/checkpoint-9/second_moments.f32"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: file))
        // What a killed save leaves.
        try FileManager.default.createDirectory(
            atPath: "\(folder.path)/checkpoint-12.partial", withIntermediateDirectories: true)
        let other = try trainer()
        var passedOver: [String] = []
        let state = try checkpoints.load(into: other.model.model.weights, fingerprint: "run") { path, reason in
            passedOver.append("\(path.suffix(12)) \(reason)")
        }
        #expect(state?.step == 6)
        #expect(passedOver.count == 1 && passedOver[0].contains("damaged"))
        let error = #expect(throws: TrainingError.self) {
            try checkpoints.load(into: other.model.model.weights, fingerprint: "another") { _, _ in }
        }
        #expect(error?.description.contains("another recipe") == true)
    }

    @Test func `A newer checkpoint that is damaged does not cost the one just saved`() throws {
        let folder = try TemporaryFolder()
        let checkpoints = TrainerCheckpoints(folder: folder.path, limit: 1)
        try folder.write("{", "checkpoint-20/state.json")
        let run = try trainer({ $0.saveSteps = 4 })
        var kept: [[Int]] = []
        _ = try lines(run.trainer) { state in
            try checkpoints.save(state, run.model.model.weights)
            kept.append(checkpoints.steps)
        }
        #expect(kept == [[4, 20], [8, 20], [9, 20]])
        let state = try checkpoints.load(into: run.model.model.weights, fingerprint: "run") { _, _ in }
        #expect(state?.step == 9)
    }

    @Test func `Another program's checkpoints are not touched`() throws {
        let folder = try TemporaryFolder()
        try folder.write("{}", "checkpoint-9/trainer_state.json")
        let run = try trainer()
        let error = #expect(throws: TrainingError.self) {
            try TrainerCheckpoints(folder: folder.path, limit: 1).load(
                into: run.model.model.weights, fingerprint: "run"
            ) { _, _ in }
        }
        #expect(error?.description.contains("trainer_state.json") == true)
    }

    @Test func `A reference that is no number is named before the first step`() throws {
        let model = try TestModel(checkpoint.get().path)
        let store = model.model.weights
        store.value(store.index("model.layers.1.mlp.down_proj.weight")!)[3] = .nan
        var examples = model.pairs(seed: 4, count: 2).map { TrainingExample($0, source: "line 7") }
        let folder = try TemporaryFolder()
        let error = #expect(throws: TrainingError.self) {
            try ReferenceLogProbs(model: model.model, rowsPerPass: 100).fill(
                &examples, cache: "\(folder.path)/cache.json", fingerprint: "x"
            ) { _ in }
        }
        #expect(error?.description.contains("line 7 is nan before the first step") == true)
        #expect(!SharedData.exists("\(folder.path)/cache.json"))
    }

    @Test func `A logged loss is a mean over steps, other metrics over micro-batches`() throws {
        // Eleven pairs, two at once: a step of four micro-batches and one of two.
        var logs: [[[String: Double]]] = []
        for every in [1, 3] {
            var log: [[String: Double]] = []
            let run = try trainer({
                $0.loggingSteps = every
                $0.epochs = 1
                $0.accumulation = 4
            })
            func observe(_ event: TrainerEvent) {
                guard case .logged(_, let values) = event else { return }
                log.append(Dictionary(uniqueKeysWithValues: values))
            }
            _ = try run.trainer.run(save: { _ in }, shouldStop: { false }, observe: observe)
            logs.append(log)
        }
        #expect(logs.map(\.count) == [2, 1])
        func mean(_ name: String, weights: [Double]) -> Double {
            zip(logs[0], weights).reduce(0) { $0 + ($1.0[name] ?? .nan) * $1.1 } / weights.reduce(0, +)
        }
        let last = logs[1][0]
        #expect(abs((last["loss"] ?? .nan) - mean("loss", weights: [1, 1])) < 1e-12)
        #expect(abs((last["logps/chosen"] ?? .nan) - mean("logps/chosen", weights: [4, 2])) < 1e-12)
    }

    @Test func `A loss that is no number stops with the step and the example`() throws {
        let run = try trainer()
        let store = run.model.model.weights
        store.value(store.index("model.layers.1.mlp.down_proj.weight")!)[3] = .nan
        let error = #expect(throws: TrainingError.self) { try run.trainer.step() }
        #expect(error?.description.contains("step 1: the log-probability of line") == true)
        #expect(run.trainer.state.step == 0)
    }

    @Test func `Micro-batches of pairs may be split over any number of passes`() throws {
        var norms: [Double] = []
        for rows in [1, 90, 5_000] { norms.append(try trainer({ $0.rowsPerPass = rows }).trainer.step()) }
        for norm in norms { #expect(abs(norm - norms[0]) < 1e-5 * norms[0]) }
        // As many examples a step in any division give the same mean.
        let divided = try trainer({
            $0.batchSize = 1
            $0.accumulation = 4
        }).trainer.step()
        #expect(abs(divided - norms[0]) < 1e-5 * norms[0])
    }

    /// Stored in floats, or in bf16 where that holds every weight.
    @Test(arguments: [false, true])
    func `A reference model in memory gives the weights that its precomputed answers give`(_ isRounded: Bool) throws {
        for objective in [
            Objective.dpo(Objective.DPO(beta: 0.1)),
            .kto(Objective.KTO(beta: 0.1, desirableWeight: 1, undesirableWeight: 1)),
        ] {
            var found: [[UInt32]] = []
            var evaluated: [String] = []
            for staysInMemory in [false, true] {
                let model = try TestModel(checkpoint.get().path, format: .bf16)
                let store = model.model.weights
                if isRounded {
                    for (index, parameter) in store.parameters.enumerated() {
                        for place in 0..<parameter.floatCount {
                            let bits = store.value(index)[place].bitPattern
                            store.value(index)[place] = Float(bitPattern: bits & 0xffff_0000)
                        }
                    }
                }
                var settings = TrainerSettings(objective: objective)
                settings.batchSize = 3
                settings.accumulation = 2
                settings.epochs = 2
                settings.learningRate = 1e-3
                settings.order = .sequential
                settings.rowsPerPass = 100
                var examples = model.pairs(seed: 4, count: 11).enumerated().map { place, pair in
                    guard case .kto = objective else { return TrainingExample(pair, source: "\(place)") }
                    let row =
                        place % 2 == 0
                        ? TokenizedPair(chosen: pair.chosen, rejected: nil)
                        : TokenizedPair(chosen: nil, rejected: pair.rejected)
                    return TrainingExample(row, source: "\(place)")
                }
                if objective.needsMismatchedRows { TrainingExample.mismatch(&examples, block: 3, longest: 100) }
                var reference: TrainableModel?
                if staysInMemory {
                    reference = TrainableModel(model.model, weights: ParameterStore(frozen: store))
                } else {
                    try ReferenceLogProbs(model: model.model, rowsPerPass: 100).fill(
                        &examples, cache: nil, fingerprint: ""
                    ) { _ in }
                }
                let trainer = try Trainer(
                    settings, model: model.model, reference: reference, kernels: model.kernels, training: examples,
                    heldOut: Array(examples.prefix(4)), state: TrainerState(fingerprint: ""))
                func observe(_ event: TrainerEvent) {
                    if case .evaluated(_, let values) = event { evaluated.append("\(values)") }
                }
                _ = try trainer.run(save: { _ in }, shouldStop: { false }, observe: observe)
                found.append(bits(store))
            }
            #expect(found[0] == found[1])
            #expect(evaluated.count == 2 && evaluated[0] == evaluated[1])
        }
    }

    @Test func `Held-out pairs are evaluated, and a loss falls`() throws {
        let run = try trainer({ $0.evaluationSteps = 4 })
        var evaluated: [[String: Double]] = []
        func observe(_ event: TrainerEvent) {
            guard case .evaluated(_, let values) = event else { return }
            evaluated.append(Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.value) }))
        }
        _ = try run.trainer.run(save: { _ in }, shouldStop: { false }, observe: observe)
        #expect(evaluated.count == 3)
        #expect(evaluated[2]["eval_loss"]! < evaluated[0]["eval_loss"]!)
        #expect(evaluated[2]["eval_rewards/accuracies"] == 1)
    }

    @Test func `The held-out loss is the mean over examples, whatever the batch`() throws {
        var losses: [Double] = []
        for batch in [1, 2, 3] {
            let run = try trainer({
                $0.batchSize = batch
                $0.maxSteps = 1  // with a rate of 0
            })
            func observe(_ event: TrainerEvent) {
                guard case .evaluated(_, let values) = event else { return }
                losses += values.filter { $0.name == "eval_loss" }.map(\.value)
            }
            _ = try run.trainer.run(save: { _ in }, shouldStop: { false }, observe: observe)
        }
        #expect(losses.count == 3)
        #expect(losses.allSatisfy { abs($0 - losses[0]) < 1e-6 })
    }

    @Test func `Fine-tuning's negative log-likelihood is its loss, however it is accumulated`() throws {
        let run = try trainer({
            $0.objective = .sft(Objective.SFT())
            $0.accumulation = 3
            $0.maxSteps = 1
        })
        var logged: [String: Double] = [:]
        func observe(_ event: TrainerEvent) {
            guard case .logged(_, let values) = event else { return }
            logged = Dictionary(uniqueKeysWithValues: values.map { ($0.name, $0.value) })
        }
        _ = try run.trainer.run(save: { _ in }, shouldStop: { false }, observe: observe)
        #expect(abs(logged["nll_loss"]! / logged["loss"]! - 1) < 1e-9, "\(logged)")
    }

    @Test func `KTO joins each prompt with another's response, also where its block ends with one example`() throws {
        let model = try TestModel(checkpoint.get().path)
        let pairs = model.pairs(seed: 4, count: 5)
        var examples = pairs.map { TrainingExample(TokenizedPair(chosen: $0.chosen, rejected: nil), source: "") }
        TrainingExample.mismatch(&examples, block: 2, longest: 40)
        for (place, other) in [1, 0, 3, 2, 3].enumerated() {
            let (own, donor) = (pairs[place].chosen!, pairs[other].chosen!)
            let ids = own.ids[..<own.targets[0].lowerBound] + donor.ids[donor.targets[0].lowerBound...]
            let expected = TokenizedRow(
                ids: Array(ids.prefix(40)), targets: [own.targets[0].lowerBound..<min(40, ids.count)])
            #expect(examples[place].mismatched == expected, "\(place)")
        }
    }

    @Test func `Settings that make no sense are refused`() throws {
        for edit: (inout TrainerSettings) -> Void in [
            { $0.batchSize = 0 }, { $0.learningRate = -1 }, { $0.maxSteps = 0 },
            { $0.objective = .simpo(Objective.SimPO(beta: 0, gamma: 0)) },
        ] {
            #expect(throws: TrainingError.self) { try trainer(edit) }
        }
        #expect(throws: TrainingError.self) { try trainer(examples: 0) }
    }
}
