internal import CKernels
internal import Glibc
internal import LanguageModel

/// What the output projection remembers.
struct HeadMemory {
    /// ln sum exp of the logits, a predicting row.
    var logSums: [Float] = []
    /// Whether `logits` are those of the whole vocabulary.
    var holdsAllLogits = false
}

/// From hidden states to log-probabilities and back, a block of the vocabulary at a time: where the logits of all are more
/// than may be in memory, they are computed again on the way back.
extension TrainableModel {
    private var blocks: [Range<Int>] {
        stride(from: 0, to: configuration.vocabularySize, by: vocabularyBlock).map {
            $0..<min($0 + vocabularyBlock, configuration.vocabularySize)
        }
    }

    func predict(_ pass: TrainingPass, keepsLogits: Bool) -> [PairLogProbs] {
        let rows = pass.predictingRows
        takeStates(rows)
        let vocabulary = PackedMatrix.padded(configuration.vocabularySize)
        memory.head.holdsAllLogits = keepsLogits && 4 * rows.count * vocabulary <= logitBytes
        let held = even(rows.count) * (memory.head.holdsAllLogits ? vocabulary : min(vocabularyBlock, vocabulary))
        memory.growShared(to: held)
        var logSums = [Double](repeating: -.infinity, count: rows.count)
        var targetLogits = rows.map { [Float](repeating: 0, count: pass.targets[$0].count) }
        for block in blocks {
            computeLogits(rows.count, block)
            let logits = logits(rows.count, block)
            let stride = PackedMatrix.padded(block.count)
            logSums.withUnsafeMutableBufferPointer { logSums in
                let logSums = logSums.baseAddress!
                kernels.pool.run(rows.count) { place in
                    let sum = Double(kernels.functions.log_sum_exp(logits + place * stride, block.count))
                    let most = max(sum, logSums[place])
                    logSums[place] =
                        block.lowerBound == 0 ? sum : most + log(exp(sum - most) + exp(logSums[place] - most))
                }
            }
            for (place, row) in rows.enumerated() {
                for (index, target) in pass.targets[row].enumerated() where block.contains(Int(target.token)) {
                    targetLogits[place][index] = logits[place * stride + Int(target.token) - block.lowerBound]
                }
            }
        }
        memory.head.logSums = logSums.map { Float($0) }
        return sums(pass, rows, targetLogits)
    }

    /// Σ log π of each example's targets.
    private func sums(_ pass: TrainingPass, _ rows: [Int], _ targetLogits: [[Float]]) -> [PairLogProbs] {
        var sums = Array(repeating: [0.0, 0.0, 0.0], count: pass.exampleCount)
        for (place, row) in rows.enumerated() {
            for (target, logit) in zip(pass.targets[row], targetLogits[place]) {
                sums[target.example][target.part.rawValue] += Double(logit - memory.head.logSums[place])
            }
        }
        return sums.indices.map { example in
            func row(_ part: TrainingPass.Part) -> RowLogProbs? {
                let count = pass.counts[example][part.rawValue]
                return count == 0 ? nil : RowLogProbs(sum: sums[example][part.rawValue], count: count)
            }
            var chosen = row(.chosen)
            if pass.withPrompts {
                // Nothing predicts a prompt of one token.
                let part = TrainingPass.Part.chosenPrompt.rawValue
                chosen?.prompt = RowLogProbs.Prompt(sum: sums[example][part], count: pass.counts[example][part])
            }
            return PairLogProbs(chosen: chosen, rejected: row(.rejected))
        }
    }

    /// Sets d (rows, width) to the gradient with respect to the final hidden states.
    func predictBackward(_ pass: TrainingPass, _ gradients: [PairGradient], into d: Floats) {
        let rows = pass.predictingRows
        let dStates = memory.dStates
        for block in blocks where !rows.isEmpty {
            if !memory.head.holdsAllLogits { computeLogits(rows.count, block) }
            turnIntoGradients(pass, gradients, rows, block)
            kernels.applyBackward(
                projection(block), weights, nil, memory.states, logits(rows.count, block),
                rows: rows.count, into: dStates, add: block.lowerBound > 0)
        }
        memory.head.holdsAllLogits = false
        // Back to where the rows are in the pass, and through the norm.
        let dNormed = memory.dNormed.pointer
        dNormed.update(repeating: 0, count: pass.rowCount * width)
        for (place, row) in rows.enumerated() {
            (dNormed + row * width).update(from: dStates + place * width, count: width)
        }
        d.update(repeating: 0, count: pass.rowCount * width)
        kernels.normalizeBackward(
            plan.finalNorm, configuration.norm, weights, memory.input(plan.layers.count), dNormed, into: d,
            rows: pass.rowCount, stride: width, count: configuration.hiddenSize)
    }

    /// The normed final states of the rows that predict something.
    private func takeStates(_ rows: [Int]) {
        let hidden = memory.input(plan.layers.count)
        let states = memory.states
        kernels.forRows(rows.count, cost: width) { place in
            (states + place * width).update(from: hidden + rows[place] * width, count: width)
        }
        kernels.normalize(
            plan.finalNorm, configuration.norm, weights, states, into: states, rows: rows.count, stride: width,
            count: configuration.hiddenSize)
    }

    /// The output projection of a block.
    private func projection(_ block: Range<Int>) -> Projection {
        var part = plan.output.parts[0]
        part.firstOutput = block.lowerBound
        part.count = block.count
        return Projection(parts: [part], inputs: plan.output.inputs)
    }

    /// Where the logits of a block are, (rows, block).
    private func logits(_ rows: Int, _ block: Range<Int>) -> Floats {
        memory.logits + (memory.head.holdsAllLogits ? even(rows) * block.lowerBound : 0)
    }

    /// The last of so many rows may be one that is multiplied by zero.
    private func even(_ rows: Int) -> Int { (rows + 1) / 2 * 2 }

    /// The logits of a block, capped.
    private func computeLogits(_ rows: Int, _ block: Range<Int>) {
        let logits = logits(rows, block)
        kernels.apply(projection(block), weights, nil, memory.states, rows: rows, into: logits)
        if let cap = configuration.finalSoftcap {
            let stride = PackedMatrix.padded(block.count)
            kernels.pool.run(rows) { kernels.functions.softcap(logits + $0 * stride, cap, block.count) }
        }
    }

    /// From logits to d loss / d logits: Σ over a row's targets of their coefficient * (1[target] - softmax).
    private func turnIntoGradients(
        _ pass: TrainingPass, _ gradients: [PairGradient], _ rows: [Int], _ block: Range<Int>
    ) {
        let logits = logits(rows.count, block)
        let stride = PackedMatrix.padded(block.count)
        let cap = configuration.finalSoftcap ?? 0
        let logSums = memory.head.logSums
        kernels.pool.run(rows.count) { place in
            let row = logits + place * stride
            var sum = 0.0
            var ownParts: [(column: Int, gradient: Float)] = []
            for target in pass.targets[rows[place]] {
                let coefficient = gradients[target.example].coefficient(target.part)
                sum += coefficient
                guard block.contains(Int(target.token)) else { continue }
                let column = Int(target.token) - block.lowerBound
                let capped = cap > 0 ? Double(row[column] / cap) : 0
                ownParts.append((column, Float(coefficient * (1 - capped * capped))))
            }
            kernels.functions.softmax_backward(row, logSums[place], -Float(sum), cap, block.count)
            for (column, gradient) in ownParts { row[column] += gradient }
        }
    }
}

extension PairGradient {
    fileprivate func coefficient(_ part: TrainingPass.Part) -> Double {
        switch part {
        case .chosen: chosen
        case .rejected: rejected
        case .chosenPrompt: chosenPrompt
        }
    }
}
