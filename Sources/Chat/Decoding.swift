/// How the next token is chosen.
package enum Decoding: Codable, Hashable, Sendable {
    case greedy
    /// Temperature first, then top-k, then nucleus, then min-p: the order of Hugging Face's warpers.
    case sampling(temperature: Double, topK: Int?, topP: Double?, minP: Double?)
    case beam(width: Int, lengthPenalty: Double, earlyStopping: EarlyStopping)

    package enum EarlyStopping: String, Codable, Sendable { case never, heuristic, always }

    package var json: JSONValue {
        switch self {
        case .greedy: ["strategy": "greedy"]
        case .sampling(let temperature, let topK, let topP, let minP):
            [
                "strategy": "sampling", "temperature": .number(temperature), "top_k": JSONValue(topK),
                "top_p": JSONValue(topP), "min_p": JSONValue(minP),
            ]
        case .beam(let width, let lengthPenalty, let earlyStopping):
            [
                "strategy": "beam", "width": .integer(width), "length_penalty": .number(lengthPenalty),
                "early_stopping": .string(earlyStopping.rawValue),
            ]
        }
    }
}
