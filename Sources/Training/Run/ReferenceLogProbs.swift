internal import Chat
internal import Glibc
internal import LanguageModel

/// The log-probabilities of rows under the model before its first step: of all rows once and kept by fingerprint, or of a
/// micro-batch's when it comes.
package struct ReferenceLogProbs {
    package let model: TrainableModel
    package let rowsPerPass: Int

    package init(model: TrainableModel, rowsPerPass: Int) {
        self.model = model
        self.rowsPerPass = rowsPerPass
    }

    /// Sets every example's reference.
    ///
    /// - Parameters:
    ///   - cache: a file that holds the numbers of an earlier run over the same model and rows, or will.
    ///   - fingerprint: of the model, the rows and the arithmetic; a cache of another one is not read.
    ///   - progress: told how many examples are done; throws to stop.
    /// - Throws: `TrainingError`, `.diverged` where a number is not finite, and what `progress` throws.
    package func fill(
        _ examples: inout [TrainingExample], cache: String?, fingerprint: String, progress: (Int) throws -> Void
    ) throws {
        if let cache, let numbers = try read(cache, fingerprint, count: examples.count) {
            for (place, row) in numbers.enumerated() { examples[place].setReference(row) }
            return
        }
        try fill(&examples, progress: progress)
        for example in examples {
            let numbers = [example.reference?.chosen, example.reference?.rejected, example.mismatchedReference]
            guard let bad = numbers.compactMap(\.self).first(where: { !$0.isFinite }) else { continue }
            throw TrainingError.diverged(
                "the reference's log-probability of \(example.source) is \(bad) before the first step: look at that "
                    + "example, and whether every weight of the checkpoint is finite")
        }
        if let cache { try write(examples, cache, fingerprint) }
    }

    /// Sets the references of a micro-batch.
    func fill(_ examples: inout [TrainingExample]) { fill(&examples) { _ in } }

    private func fill(_ examples: inout [TrainingExample], progress: (Int) throws -> Void) rethrows {
        let rows =
            examples.map(\.pair)
            + examples.compactMap { $0.mismatched.map { TokenizedPair(chosen: $0, rejected: nil) } }
        var results: [PairLogProbs] = []
        for pass in TrainingPass.passes(rows, limit: rowsPerPass, withPrompts: false) {
            results += model.logProbs(pass)
            try progress(min(results.count, examples.count))
        }
        var mismatched = examples.count
        for place in examples.indices {
            let pair = results[place]
            var row = [pair.chosen?.sum, pair.rejected?.sum, nil]
            if examples[place].mismatched != nil {
                row[2] = results[mismatched].chosen?.sum
                mismatched += 1
            }
            examples[place].setReference(row)
        }
    }

    private func read(_ path: String, _ fingerprint: String, count: Int) throws -> [[Double?]]? {
        guard access(path, R_OK) == 0 else { return nil }
        let value: JSONValue
        do {
            value = try JSONValue(parsing: try TrainingFiles.read(path))
        } catch is JSONError {
            return nil
        }
        guard value["fingerprint"]?.string == fingerprint, let rows = value["logps"]?.array, rows.count == count else {
            return nil
        }
        return rows.map { row in (row.array ?? []).map(\.number) }
    }

    private func write(_ examples: [TrainingExample], _ path: String, _ fingerprint: String) throws {
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        let rows = examples.map { example -> JSONValue in
            .array([
                number(example.reference?.chosen), number(example.reference?.rejected),
                number(example.mismatchedReference),
            ])
        }
        let object: JSONObject = ["fingerprint": .string(fingerprint), "logps": .array(rows)]
        try TrainingFiles.write(JSONValue.object(object).serialized(), to: path)
    }
}

extension TrainingExample {
    fileprivate mutating func setReference(_ row: [Double?]) {
        reference = Reference(chosen: row.first ?? nil, rejected: row.dropFirst().first ?? nil)
        mismatchedReference = row.dropFirst(2).first ?? nil
    }

    /// KTO's examples: each joined with the response of the one before it in its block, the first with the last's, or
    /// where it is alone in its block with that of the one before.
    ///
    /// - Parameter longest: of a row, in tokens; the end of a longer one is cut.
    package static func mismatch(_ examples: inout [TrainingExample], block: Int, longest: Int) {
        for start in stride(from: 0, to: examples.count, by: block) {
            let end = min(start + block, examples.count)
            for place in start..<end {
                let isAlone = end - start == 1 && start > 0
                let other = place == start && !isAlone ? end - 1 : place - 1
                guard let row = examples[place].pair.rows.first, let donor = examples[other].pair.rows.first else {
                    continue
                }
                let prompt = row.ids[..<(row.targets.first?.lowerBound ?? row.ids.count)]
                let response = donor.ids[(donor.targets.first?.lowerBound ?? donor.ids.count)...]
                let ids = Array((prompt + response).prefix(max(longest, prompt.count)))
                examples[place].mismatched = TokenizedRow(ids: ids, targets: [prompt.count..<ids.count])
            }
        }
    }
}
