import Chat
import Evaluation
import Reporting
import Tokenization

/// What a run would ask for, and what that would take: what is not known is not a number.
struct Estimate {
    /// The calls to one model.
    struct Part {
        enum Role: String { case generation, judge }

        var role: Role
        var name: String
        var calls: Int
        /// Whether this is how many there are, rather than the most there can be.
        var isExact: Bool
        /// Calls whose answers are recorded already, and cost nothing.
        var recorded = 0
        /// Of the prompts of the calls; nil where these are not written yet.
        var inputBytes: Int?
        var inputTokens: Int?
        /// What the tokens were counted with.
        var tokenizer: String?
        var outputTokensAtMost: Int
        var prices: JudgeDefinition.Prices?
        var requestsPerMinute: Int?
        var tokensPerMinute: Int?
        /// Whether this machine answers, which nobody bills.
        var isLocal = false

        /// A byte is never less than a token.
        private var mostInputTokens: Int? { inputTokens ?? inputBytes }

        /// US dollars.
        var costAtMost: Double? {
            if isLocal || calls == 0 { return 0 }
            return prices.flatMap { prices in
                mostInputTokens.map {
                    prices.cost(Completion.Usage(inputTokens: $0, outputTokens: outputTokensAtMost))
                }
            }
        }

        /// What the limits on requests and tokens leave as the least time.
        var minutesAtLeast: Double? {
            let byRequests = requestsPerMinute.map { Double(calls) / Double($0) }
            let byTokens = tokensPerMinute.flatMap { limit in
                mostInputTokens.map { Double($0 + outputTokensAtMost) / Double(limit) }
            }
            return [byRequests, byTokens].compactMap { $0 }.max()
        }
    }

    var parts: [Part] = []

    var costAtMost: Double? {
        let costs = parts.map(\.costAtMost)
        return costs.contains { $0 == nil } ? nil : costs.compactMap { $0 }.reduce(0, +)
    }

    var table: TextTable {
        TextTable(
            ["asked", "calls", "recorded", "input tokens", "output tokens", "US dollars", "prices of", "minutes"],
            parts.map { part in
                [
                    TextTable.printable(part.name), part.isExact ? "\(part.calls)" : "up to \(part.calls)",
                    "\(part.recorded)", Estimate.tokens(part), "up to \(part.outputTokensAtMost)",
                    part.isLocal ? "none" : part.costAtMost.map { "up to \(TextTable.decimal($0, 4))" } ?? "unknown",
                    part.isLocal ? "–" : part.prices?.date ?? "unknown",
                    part.minutesAtLeast.map { "at least \(TextTable.decimal($0, 1))" } ?? "unknown",
                ]
            })
    }

    private static func tokens(_ part: Part) -> String {
        if let tokens = part.inputTokens { return "\(tokens)" }
        return part.inputBytes.map { "up to \($0)" } ?? "unknown"
    }

    var notes: [String] {
        parts.compactMap { part in
            guard part.calls > 0 else { return nil }
            guard let tokenizer = part.tokenizer else {
                return "\(part.name): its tokenizer is not known here, so a token for every byte is assumed at the most"
            }
            return "\(part.name): tokens counted with \(tokenizer), without what its chat format adds"
        }
    }

    var json: JSONValue {
        let judge = parts.filter { $0.role == .judge }
        let calls = JSONValue.integer(judge.reduce(0) { $0 + $1.calls })
        var object: JSONObject = [
            "schema": "evalharness.estimate/1",
            "generation_calls_at_most": .integer(
                parts.reduce(0) { $0 + ($1.role == .generation ? $1.calls : 0) }),
        ]
        object[judge.allSatisfy(\.isExact) ? "judge_calls" : "judge_calls_at_most"] = calls
        object["recorded"] = .integer(judge.reduce(0) { $0 + $1.recorded })
        object["usd_at_most"] = JSONValue(costAtMost)
        object["parts"] = .array(
            parts.map { part in
                [
                    "role": .string(part.role.rawValue), "name": .string(part.name),
                    "calls": .integer(part.calls), "exact": .bool(part.isExact),
                    "recorded": .integer(part.recorded),
                    "input_tokens": part.inputTokens.map { .integer($0) } ?? .null,
                    "input_bytes": part.inputBytes.map { .integer($0) } ?? .null,
                    "tokenizer": JSONValue(part.tokenizer),
                    "output_tokens_at_most": .integer(part.outputTokensAtMost),
                    "usd_at_most": JSONValue(part.costAtMost), "prices_of": JSONValue(part.prices?.date),
                    "minutes_at_least": JSONValue(part.minutesAtLeast),
                ]
            })
        return .object(object)
    }
}

/// Counts the tokens of a model's prompts, where its tokenizer is known.
struct PromptCounter {
    /// What it counts with.
    let name: String
    private let count: @Sendable (String) -> Int

    /// Nil where nothing here knows the model's tokenizer.
    init?(_ source: ModelSource, home: String) throws {
        switch source {
        case .local(let folder):
            let path = "\(folder)/tokenizer.json"
            guard Files.exists(path) else { return nil }
            let tokenizer = try Tokenizer(bytes: try Files.read(path, asked: "The tokenizer"), path: path)
            name = "its own tokenizer"
            count = { tokenizer.encode($0, addSpecialTokens: false).count }
        case .openAI(let model):
            guard let encoding = PromptCounter.encoding(model),
                let ranks = try PromptCounter.ranks(encoding, home: home)
            else { return nil }
            name = encoding.rawValue
            count = { ranks.count($0) }
        default: return nil
        }
    }

    func count(_ messages: [Message]) -> Int { messages.reduce(0) { $0 + count($1.content) } }

    private static func encoding(_ model: String) -> TokenRanks.Encoding? {
        if ["gpt-4o", "gpt-4.1", "gpt-5", "o1", "o3", "o4"].contains(where: model.hasPrefix) { return .o200k }
        return model.hasPrefix("gpt-4") || model.hasPrefix("gpt-3.5") ? .cl100k : nil
    }

    /// Of any benchmark whose data brings them along and is on this machine.
    private static func ranks(_ encoding: TokenRanks.Encoding, home: String) throws -> TokenRanks? {
        for folder in Files.names(in: "\(home)/benchmarks") {
            guard let benchmark = try? Benchmark(folder: "\(home)/benchmarks/\(folder)"),
                let file = benchmark.file(.tokenRanks), file.set == encoding.rawValue
            else { continue }
            let cache = DatasetCache(benchmark: benchmark, cacheHome: Environment.cacheHome)
            guard try cache.state(file) != .absent else { continue }
            let (bytes, provenance) = try cache.load(.tokenRanks)
            return try TokenRanks(bytes, path: provenance.name, encoding: encoding)
        }
        return nil
    }
}
