internal import CKernels
internal import LanguageModel

/// The buffers of the output projection.
struct HeadMemory {
    /// Normed final states of the rows that predict something.
    var states = FloatBuffer(count: 0)
    var dStates = FloatBuffer(count: 0)
    var logits = FloatBuffer(count: 0)
    /// ln sum exp of the logits, a predicting row.
    var logSums: [Float] = []
    /// Whether `logits` are those of all predicting rows.
    var holdsAllLogits = false
}

/// From hidden states to log-probabilities and back, some rows at a time: logits of all rows are never in memory.
extension TrainableModel {
    /// Bytes that logits may take.
    private static let logitBytes = 160 << 20

    private var logitStride: Int { PackedMatrix.padded(configuration.vocabularySize) }

    private var rowsAtOnce: Int { max(16, TrainableModel.logitBytes / (4 * logitStride) / 2 * 2) }

    func predict(_ pass: TrainingPass, keepsLogits: Bool) -> [PairLogProbs] {
        let rows = pass.predictingRows
        var sums = Array(repeating: [0.0, 0.0, 0.0], count: pass.exampleCount)
        let hidden = memory.input(plan.layers.count)
        grow(rows.count)
        memory.head.holdsAllLogits = keepsLogits && rows.count <= rowsAtOnce
        memory.head.logSums = Array(repeating: 0, count: rows.count)
        for first in stride(from: 0, to: rows.count, by: rowsAtOnce) {
            let chunk = first..<min(rows.count, first + rowsAtOnce)
            computeLogits(rows, chunk, hidden)
            let logits = memory.head.logits.pointer
            var logSums = [Float](repeating: 0, count: chunk.count)
            logSums.withUnsafeMutableBufferPointer { logSums in
                let logSums = logSums.baseAddress!
                kernels.pool.run(chunk.count) { place in
                    logSums[place] = kernels.functions.log_sum_exp(
                        logits + place * logitStride, configuration.vocabularySize)
                }
            }
            for place in chunk.indices {
                let logSum = logSums[place - first]
                memory.head.logSums[place] = logSum
                for target in pass.targets[rows[place]] {
                    let logProb = logits[(place - first) * logitStride + Int(target.token)] - logSum
                    sums[target.example][target.part.rawValue] += Double(logProb)
                }
            }
        }
        return sums.indices.map { example in
            func row(_ part: TrainingPass.Part) -> RowLogProbs? {
                let count = pass.counts[example][part.rawValue]
                return count == 0 ? nil : RowLogProbs(sum: sums[example][part.rawValue], count: count)
            }
            var chosen = row(.chosen)
            if let prompt = row(.chosenPrompt) {
                chosen?.prompt = RowLogProbs.Prompt(sum: prompt.sum, count: prompt.count)
            }
            return PairLogProbs(chosen: chosen, rejected: row(.rejected))
        }
    }

    /// Sets d (rows, width) to the gradient with respect to the final hidden states.
    func predictBackward(_ pass: TrainingPass, _ gradients: [PairGradient], into d: Floats) {
        d.update(repeating: 0, count: pass.rowCount * width)
        let rows = pass.predictingRows
        let hidden = memory.input(plan.layers.count)
        let dStates = memory.head.dStates.pointer
        let dNormed = memory.dNormed.pointer
        for first in stride(from: 0, to: rows.count, by: rowsAtOnce) {
            let chunk = first..<min(rows.count, first + rowsAtOnce)
            if !memory.head.holdsAllLogits { computeLogits(rows, chunk, hidden) }
            turnIntoGradients(pass, gradients, rows, chunk)
            kernels.applyBackward(
                plan.output, weights, nil, memory.head.states.pointer + first * width, memory.head.logits.pointer,
                rows: chunk.count, into: dStates)
            // Back to where the rows are in the pass, and through the norm.
            for (place, row) in rows[chunk].enumerated() {
                (dNormed + row * width).update(from: dStates + place * width, count: width)
            }
        }
        memory.head.holdsAllLogits = false
        let isPredicting = Set(rows)
        for row in 0..<pass.rowCount where !isPredicting.contains(row) {
            (dNormed + row * width).update(repeating: 0, count: width)
        }
        kernels.normalizeBackward(
            plan.finalNorm, configuration.norm, weights, hidden, dNormed, into: d, rows: pass.rowCount, stride: width,
            count: configuration.hiddenSize)
    }

    private func grow(_ rows: Int) {
        let rows = (rows + 1) / 2 * 2
        if memory.head.states.count < rows * width { memory.head.states = FloatBuffer(count: rows * width) }
        let atOnce = min(rows, rowsAtOnce)
        if memory.head.logits.count < atOnce * logitStride {
            memory.head.logits = FloatBuffer(count: atOnce * logitStride)
            memory.head.dStates = FloatBuffer(count: atOnce * width)
        }
    }

    /// The logits, capped, of the predicting rows `chunk`.
    private func computeLogits(_ rows: [Int], _ chunk: Range<Int>, _ hidden: Floats) {
        let c = configuration
        let states = memory.head.states.pointer
        kernels.forRows(chunk.count, cost: width) { place in
            let target = states + (chunk.lowerBound + place) * width
            target.update(from: hidden + rows[chunk.lowerBound + place] * width, count: width)
        }
        let first = states + chunk.lowerBound * width
        kernels.normalize(
            plan.finalNorm, c.norm, weights, first, into: first, rows: chunk.count, stride: width, count: c.hiddenSize)
        let logits = memory.head.logits.pointer
        kernels.apply(plan.output, weights, nil, first, rows: chunk.count, into: logits)
        if let cap = c.finalSoftcap {
            kernels.pool.run(chunk.count) {
                kernels.functions.softcap(logits + $0 * logitStride, cap, c.vocabularySize)
            }
        }
    }

    /// From logits to d loss / d logits: Σ over a row's targets of their coefficient * (1[target] - softmax).
    private func turnIntoGradients(
        _ pass: TrainingPass, _ gradients: [PairGradient], _ rows: [Int], _ chunk: Range<Int>
    ) {
        let logits = memory.head.logits.pointer
        let cap = configuration.finalSoftcap ?? 0
        let logSums = memory.head.logSums
        kernels.pool.run(chunk.count) { place in
            let row = logits + place * logitStride
            let targets = pass.targets[rows[chunk.lowerBound + place]]
            let coefficients = targets.map { gradients[$0.example].coefficient($0.part) }
            let ownParts = zip(targets, coefficients).map { target, coefficient in
                let capped = cap > 0 ? Double(row[Int(target.token)] / cap) : 0
                return (Int(target.token), Float(coefficient * (1 - capped * capped)))
            }
            kernels.functions.softmax_backward(
                row, logSums[chunk.lowerBound + place], -Float(coefficients.reduce(0, +)), cap,
                configuration.vocabularySize)
            for (token, own) in ownParts { row[token] += own }
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
