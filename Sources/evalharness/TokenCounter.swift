import Evaluation
import Statistics
import Tokenization

/// Counts tokens as the benchmark's own scripts do.
struct TokenCounter {
    private let ranks: TokenRanks
    let provenance: DatasetCache.Provenance

    /// Nil where the benchmark names no ranks, or its file of them is not on this machine.
    ///
    /// - Throws: `missingInput` where the file is not here and needed.
    init?(_ cache: DatasetCache, isNeeded: Bool) throws {
        guard let file = cache.benchmark.file(.tokenRanks) else { return nil }
        if try cache.state(file) == .absent, !isNeeded { return nil }
        guard let encoding = file.set.flatMap(TokenRanks.Encoding.init) else {
            let known = TokenRanks.Encoding.allCases.map(\.rawValue).joined(separator: ", ")
            throw EvaluationError.configuration(
                "\(cache.benchmark.id): \(file.name) should have one of \(known) as its set.")
        }
        let (bytes, provenance) = try cache.load(.tokenRanks)
        ranks = try TokenRanks(bytes, path: provenance.name, encoding: encoding)
        self.provenance = provenance
    }

    /// By the prompt's key.
    func metadata(of outputs: ModelOutputs) -> [String: OutputMetadata] {
        let all = outputs.outputs
        let found = concurrentMap(all.count) { OutputMetadata(all[$0].output, tokens: ranks.count(all[$0].output)) }
        return Dictionary(uniqueKeysWithValues: zip(all.map(\.prompt.key), found))
    }
}
