import Evaluation
import Statistics
import Tokenization

/// Counts tokens as the benchmark's own scripts do.
struct TokenCounter {
    private let ranks: TokenRanks

    /// Nil where the benchmark names no ranks, or its file of them is not on this machine.
    init?(_ cache: DatasetCache) throws {
        guard let file = cache.benchmark.file(.tokenRanks), try cache.state(file) != .absent else { return nil }
        guard let encoding = file.set.flatMap(TokenRanks.Encoding.init) else {
            let known = TokenRanks.Encoding.allCases.map(\.rawValue).joined(separator: ", ")
            throw EvaluationError.configuration(
                "\(cache.benchmark.id): \(file.name) should have one of \(known) as its set.")
        }
        let (bytes, provenance) = try cache.load(.tokenRanks)
        ranks = try TokenRanks(bytes, path: provenance.name, encoding: encoding)
    }

    func counts(_ texts: [String]) -> [Int] { concurrentMap(texts.count) { ranks.count(texts[$0]) } }
}
