internal import Chat

/// What a server says is wrong, in any of the shapes that servers use.
struct ServerError: Hashable {
    var message: String
    /// `type` and `code` as far as they are texts.
    var codes: [String] = []
    var parameter: String?
    /// A status inside the body.
    var status: Int?

    /// What the body of a response with a bad status says; where it is no JSON, its text.
    init(body: [UInt8]) {
        guard let document = try? JSONValue(parsing: body) else {  // not JSON: then its text is what there is to say
            self.init(member: .string(String(decoding: body, as: UTF8.self)))
            return
        }
        let outer = document[0] ?? document
        self.init(member: outer["error"] ?? outer["detail"] ?? outer)
    }

    /// The error inside a reply with a good status, or nil.
    init?(inReply document: JSONValue) {
        if let error = document["error"], !error.isNull {
            self.init(member: error)
        } else if document["object"]?.string == "error" || document["type"]?.string == "error" {
            self.init(member: document)
        } else {
            return nil
        }
    }

    private init(member: JSONValue) {
        message = member.string ?? member["message"]?.string ?? member.text()
        codes = [member["code"]?.string, member["type"]?.string].compactMap { $0 }
        parameter = member["param"]?.string
        status = member["code"]?.integer
    }

    private static let spentCodes: Set = [
        "insufficient_quota", "billing_hard_limit_reached", "enforced_spend_limit_reached", "credit_balance_exhausted",
    ]

    /// No waiting helps: the money is spent.
    var isQuotaSpent: Bool {
        codes.contains { ServerError.spentCodes.contains($0) }
            || message.lowercased().contains("credit balance is too low")
    }

    var isModelMissing: Bool {
        if codes.contains("model_not_found") || codes.contains("not_found_error") { return true }
        let text = message.lowercased()
        return text.contains("model") && ["not exist", "not found", "decommissioned"].contains { text.contains($0) }
    }
}

/// What an endpoint does not take, learned from its refusals: asked once, remembered for every later request.
struct Adaptation: Hashable {
    /// OpenAI's own: extensions of the compatible servers would change nothing there.
    var lacksTopKAndMinP = false
    var usesMaxCompletionTokens = false
    var dropsTemperature = false
    var dropsTopP = false

    mutating func formUnion(_ other: Adaptation) {
        usesMaxCompletionTokens = usesMaxCompletionTokens || other.usesMaxCompletionTokens
        dropsTemperature = dropsTemperature || other.dropsTemperature
        dropsTopP = dropsTopP || other.dropsTopP
    }

    /// This and what `error` adds to it.
    func learning(from error: ServerError) -> Adaptation {
        var next = self
        if Adaptation.refuses("max_tokens", error) { next.usesMaxCompletionTokens = true }
        if error.message.contains("temperature"), error.message.contains("top_p"), error.message.contains("both") {
            next.dropsTopP = true  // one of them, and temperature is the one that the request is about
        } else {
            if Adaptation.refuses("temperature", error) { next.dropsTemperature = true }
            if Adaptation.refuses("top_p", error) { next.dropsTopP = true }
        }
        return next
    }

    private static func refuses(_ parameter: String, _ error: ServerError) -> Bool {
        let text = error.message.lowercased()
        let isNamed =
            error.parameter == parameter
            || ["'", "`", "\""].contains { text.contains("\($0)\(parameter)\($0)") }
        return isNamed && ["not support", "unsupported", "deprecated"].contains { text.contains($0) }
    }

    var sentences: [String] {
        var sentences: [String] = []
        if usesMaxCompletionTokens { sentences.append("max_tokens was sent as max_completion_tokens") }
        if dropsTemperature { sentences.append("temperature was not sent: the endpoint does not take it") }
        if dropsTopP { sentences.append("top_p was not sent: the endpoint does not take it") }
        return sentences
    }
}
