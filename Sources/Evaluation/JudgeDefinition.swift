package import Chat

/// A judge as its folder under `judges/` defines it.
package enum DefinedJudge: Hashable, Sendable {
    /// A chat model that is asked about each pair.
    case model(JudgeDefinition)
    /// This program, by the checks that prompts carry.
    case checks(ChecksJudge)

    /// Reads `judges/<name>/judge.yaml`.
    package init(folder: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: folder + "/judge.yaml")
        switch try fields.string("kind") {
        case nil: self = .model(try JudgeDefinition(folder: folder))
        case "checks":
            self = .checks(
                ChecksJudge(id: try fields.requiredString("id"), title: try fields.requiredString("title")))
            try fields.refuseUnknown()
        case let kind?:
            throw fields.unusable(
                "kind", "\"\(kind)\" is unknown; known is checks, and none for a judge that is a model")
        }
    }

    package var title: String {
        switch self {
        case .model(let definition): definition.title
        case .checks(let judge): judge.title
        }
    }
}

/// A judge that is a chat model: who is asked, how, and how the reply is read.
package struct JudgeDefinition: Hashable, Sendable {
    package enum TemplateSource: Hashable, Sendable {
        /// A file of the judge's folder.
        case file(path: String)
        /// Upstream's own, from the dataset cache.
        case dataset
    }

    /// US dollars for a million tokens, as they were on `date`.
    package struct Prices: Hashable, Sendable {
        package var inputPerMillion: Double
        package var outputPerMillion: Double
        package var date: String

        package init(inputPerMillion: Double, outputPerMillion: Double, date: String) {
            self.inputPerMillion = inputPerMillion
            self.outputPerMillion = outputPerMillion
            self.date = date
        }

        package func cost(_ usage: Completion.Usage) -> Double {
            (Double(usage.inputTokens) * inputPerMillion + Double(usage.outputTokens) * outputPerMillion) / 1e6
        }
    }

    package struct Limits: Hashable, Sendable {
        package var concurrency: Int
        package var requestsPerMinute: Int?
        package var tokensPerMinute: Int?

        package init(concurrency: Int, requestsPerMinute: Int? = nil, tokensPerMinute: Int? = nil) {
            self.concurrency = concurrency
            self.requestsPerMinute = requestsPerMinute
            self.tokensPerMinute = tokensPerMinute
        }
    }

    package var id: String
    package var title: String
    /// Who answers unless `--judge-model` says otherwise; nil where the user has to say.
    package var model: ModelSource?
    package var template: TemplateSource
    package var order: OrderRule
    package var parser: VerdictParser
    package var decoding: Decoding
    package var maxTokens: Int
    package var topLogprobs: Int?
    package var limits: Limits
    package var prices: Prices?

    /// Reads `judges/<name>/judge.yaml`.
    package init(folder: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: folder + "/judge.yaml")
        id = try fields.requiredString("id")
        title = try fields.requiredString("title")
        model = try JudgeDefinition.model(&fields)
        let templateName = try fields.requiredString("template")
        template = templateName == "dataset" ? .dataset : .file(path: "\(folder)/\(templateName)")
        order = try JudgeDefinition.order(&fields)
        var parserFields = try fields.required("parser", try fields.object("parser"))
        parser = try JudgeDefinition.parser(&parserFields)
        var decodingFields = try fields.required("decoding", try fields.object("decoding"))
        decoding = try DecodingDefinition.read(&decodingFields)
        maxTokens = try decodingFields.required("max_tokens", try decodingFields.positive("max_tokens"))
        topLogprobs = try decodingFields.positive("top_logprobs")
        try decodingFields.refuseUnknown()
        limits = Limits(concurrency: 16)
        if var limitFields = try fields.object("limits") {
            limits.concurrency = try limitFields.positive("concurrency") ?? limits.concurrency
            limits.requestsPerMinute = try limitFields.positive("requests_per_minute")
            limits.tokensPerMinute = try limitFields.positive("tokens_per_minute")
            try limitFields.refuseUnknown()
        }
        if var priceFields = try fields.object("prices") { prices = try JudgeDefinition.prices(&priceFields) }
        try fields.refuseUnknown()
        if parser.needsLogprobs, topLogprobs == nil {
            throw .configuration(
                "\(folder)/judge.yaml: its parser reads log-probabilities, so decoding needs "
                    + "top_logprobs.")
        }
    }

    package func request(_ messages: [Message]) -> ChatRequest {
        ChatRequest(messages: messages, decoding: decoding, maxTokens: maxTokens, topLogprobs: topLogprobs)
    }

    private static func model(_ fields: inout Fields) throws(EvaluationError) -> ModelSource? {
        guard let text = try fields.string("model") else { return nil }
        do {
            return try ModelSource(text)
        } catch {
            throw .configuration(error.description)
        }
    }

    private static func order(_ fields: inout Fields) throws(EvaluationError) -> OrderRule {
        var order = try fields.required("order", try fields.object("order"))
        let kind = try order.requiredString("kind")
        let seed = try order.integer("seed")
        try order.refuseUnknown()
        switch kind {
        case "seeded_random": return .seededRandom(seed: seed ?? 0)
        case "both": return .both
        case "baseline_first": return .baselineFirst
        default: throw order.unusable("kind", "\"\(kind)\" is unknown; known are seeded_random, both, baseline_first")
        }
    }

    private static func parser(_ fields: inout Fields) throws(EvaluationError) -> VerdictParser {
        let kind = try fields.requiredString("kind")
        let first = try fields.requiredString("first")
        let second = try fields.requiredString("second")
        if first == second { throw fields.unusable("second", "should differ from first") }
        let parser: VerdictParser
        switch kind {
        case "token_logprobs":
            let placeName = try fields.string("place") ?? "first"
            guard let place = VerdictParser.TokenPlace(rawValue: placeName) else {
                throw fields.unusable("place", "\"\(placeName)\" is unknown; known are first, last")
            }
            parser = .tokenLogprobs(
                first: first, second: second, place: place, binarize: try fields.bool("binarize") ?? false)
        case "label": parser = .label(first: first, second: second, tie: try fields.string("tie"))
        case "ranking": parser = .ranking(first: first, second: second)
        case "json_field":
            parser = .jsonField(
                name: try fields.requiredString("field"), first: first, second: second, tie: try fields.string("tie"))
        default:
            throw fields.unusable(
                "kind",
                "\"\(kind)\" is unknown; known are token_logprobs, label, ranking, "
                    + "json_field")
        }
        try fields.refuseUnknown()
        return parser
    }

    private static func prices(_ fields: inout Fields) throws(EvaluationError) -> Prices {
        let prices = Prices(
            inputPerMillion: try fields.required("input_per_million", try fields.number("input_per_million")),
            outputPerMillion: try fields.required("output_per_million", try fields.number("output_per_million")),
            date: try fields.requiredString("date"))
        if !(prices.inputPerMillion >= 0 && prices.outputPerMillion >= 0) {
            throw fields.unusable("input_per_million", "and output_per_million should be 0 or more")
        }
        try fields.refuseUnknown()
        return prices
    }
}
