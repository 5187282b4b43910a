internal import Chat

/// What one request to either interface asks for.
struct GenerationCall: Sendable {
    struct Prompt: Sendable {
        var ids: [Int32]
        /// The text that the client sent; nil for ids and conversations.
        var text: String?
    }

    var prompts: [Prompt]
    /// What to generate behind each prompt; `sample` is set for each choice.
    var request: ChatRequest
    /// How many answers for each prompt.
    var count: Int
    var isStreamed: Bool
    var includesUsage: Bool
    /// Whether the answers begin with their prompts.
    var echoes = false

    static let mostChoices = 128
    static let mostPrompts = 2_048
    static let mostAlternatives = 20
}

extension GenerationCall {
    /// Reads what both interfaces have in common. The prompts are the caller's to fill in.
    ///
    /// - Parameters:
    ///   - freshSeed: a request without a seed is a new draw every time, as clients expect it of an endpoint.
    ///   - maxTokens: what both interfaces call their limit by their own names.
    init(
        _ fields: inout RequestFields, maxTokens: Int, topLogprobs: Int?, freshSeed: @Sendable () -> UInt64
    ) throws(ServingError) {
        count = try fields.integer("n", in: 1...GenerationCall.mostChoices) ?? 1
        isStreamed = try fields.bool("stream") ?? false
        includesUsage = try GenerationCall.includesUsage(fields.take("stream_options"))
        let seed = try fields.integer("seed").map { UInt64(bitPattern: Int64($0)) }
        request = ChatRequest(
            messages: [], decoding: try GenerationCall.decoding(&fields, count: count), maxTokens: maxTokens,
            stop: try fields.strings("stop"), seed: seed ?? freshSeed(), topLogprobs: topLogprobs,
            repetitionPenalty: try fields.number("repetition_penalty", in: 0.01...100))
        prompts = []
    }

    private static func includesUsage(_ options: JSONValue?) throws(ServingError) -> Bool {
        guard let options else { return false }
        guard let object = options.object else { throw RequestFields.mismatch("stream_options", options, "an object") }
        for member in object.members where member.value.bool == nil {
            throw RequestFields.mismatch("stream_options.\(member.key)", member.value, "true or false")
        }
        return options["include_usage"]?.bool ?? false
    }

    private static func decoding(_ fields: inout RequestFields, count: Int) throws(ServingError) -> Decoding {
        let temperature = try fields.number("temperature", in: 0...(.greatestFiniteMagnitude))
        let topP = try fields.number("top_p", in: 0...1)
        let topK = try fields.integer("top_k", in: -1 ... .max)
        let minP = try fields.number("min_p", in: 0...1)
        if let width = try width(&fields, count: count) {
            let draws = [
                "temperature": (temperature ?? 0) != 0, "top_p": (topP ?? 1) != 1, "top_k": (topK ?? 0) > 0,
                "min_p": (minP ?? 0) != 0,
            ]
            if let name = draws.filter(\.value).keys.min() {
                throw .invalid(field: name, reason: "beam search draws nothing, so it must be left out")
            }
            return .beam(
                width: width, lengthPenalty: try fields.number("length_penalty", in: -100...100) ?? 1,
                earlyStopping: try earlyStopping(fields.take("early_stopping")))
        }
        for name in ["length_penalty", "early_stopping"] where fields.take(name) != nil {
            throw .invalid(field: name, reason: "only beam search has it. Ask for num_beams too")
        }
        if temperature == 0 { return .greedy }
        let k = topK.flatMap { $0 > 0 ? $0 : nil }
        return .sampling(temperature: temperature ?? 1, topK: k, topP: topP, minP: minP)
    }

    /// The beams of a search; nil for every other decoding.
    private static func width(_ fields: inout RequestFields, count: Int) throws(ServingError) -> Int? {
        let beams = try fields.integer("num_beams", in: 1...256)
        let bestOf = try fields.integer("best_of", in: 1...256)
        let searches = try fields.bool("use_beam_search")
        if searches == false, let beams, beams > 1 {
            throw .invalid(field: "use_beam_search", reason: "it is false, but num_beams is \(beams)")
        }
        guard searches ?? ((beams ?? 1) > 1) else {
            if let bestOf, bestOf != count {
                throw .invalid(
                    field: "best_of",
                    reason: "answers are not ranked here. Leave it out, or ask for use_beam_search with it")
            }
            return nil
        }
        let width = beams ?? bestOf ?? count
        if let bestOf, bestOf != width {
            throw .invalid(field: "best_of", reason: "it is \(bestOf), but num_beams is \(width)")
        }
        if count > width { throw .invalid(field: "n", reason: "a search of \(width) beams has no \(count) answers") }
        return width
    }

    private static func earlyStopping(_ value: JSONValue?) throws(ServingError) -> Decoding.EarlyStopping {
        switch value {
        case nil, .bool(false): return .heuristic
        case .bool(true): return .always
        case .string("never"): return .never
        case let value?: throw RequestFields.mismatch("early_stopping", value, "true, false or \"never\"")
        }
    }
}
