internal import Chat

/// A request's fields, read one by one; what nobody has read at the end is refused, so nothing is silently ignored.
struct RequestFields {
    private var unread: JSONObject

    /// - Throws: `ServingError.malformed` for what is no JSON object.
    init(_ body: [UInt8]) throws(ServingError) {
        let json: JSONValue
        do {
            json = try JSONValue(parsing: body)
        } catch {
            throw .malformed("its body is no JSON: \(error)")
        }
        guard let object = json.object else { throw .malformed("its body is \(json.kind) instead of an object") }
        unread = object
    }

    /// Nil for a field that is absent or null.
    mutating func take(_ name: String) -> JSONValue? {
        defer { unread[name] = nil }
        return unread[name].flatMap { $0.isNull ? nil : $0 }
    }

    mutating func string(_ name: String) throws(ServingError) -> String? {
        guard let value = take(name) else { return nil }
        guard let string = value.string else { throw RequestFields.mismatch(name, value, "a string") }
        return string
    }

    mutating func bool(_ name: String) throws(ServingError) -> Bool? {
        guard let value = take(name) else { return nil }
        guard let bool = value.bool else { throw RequestFields.mismatch(name, value, "true or false") }
        return bool
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int> = .min ... .max) throws(ServingError) -> Int? {
        guard let value = take(name) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            let bounds =
                range.lowerBound == .min
                ? ""
                : range.upperBound == .max
                    ? " from \(range.lowerBound)" : " from \(range.lowerBound) to \(range.upperBound)"
            throw RequestFields.mismatch(name, value, "an integer\(bounds)")
        }
        return integer
    }

    mutating func number(_ name: String, in range: ClosedRange<Double>) throws(ServingError) -> Double? {
        guard let value = take(name) else { return nil }
        guard let number = value.number, range.contains(number) else {
            let bound = range.upperBound == .greatestFiniteMagnitude ? "" : " to \(range.upperBound)"
            throw RequestFields.mismatch(name, value, "a number from \(range.lowerBound)\(bound)")
        }
        return number
    }

    /// One string or a list of them, none empty.
    mutating func strings(_ name: String) throws(ServingError) -> [String] {
        guard let value = take(name) else { return [] }
        let strings = (value.array ?? [value]).compactMap(\.string)
        guard strings.count == value.array?.count ?? 1, !strings.contains("") else {
            throw RequestFields.mismatch(name, value, "a string or a list of strings, of one character or more each")
        }
        return strings
    }

    /// Refuses what is left, unless it decides nothing.
    mutating func finish() throws(ServingError) {
        for member in unread.members where !RequestFields.decidesNothing(member.key, member.value) {
            if RequestFields.notOffered.contains(member.key) {
                throw .invalid(field: member.key, reason: "this server does not offer it. Leave it out")
            }
            throw .invalid(field: member.key, reason: "unrecognized request argument. Leave it out")
        }
    }

    /// Words about the client, and settings at the value that changes nothing.
    private static func decidesNothing(_ name: String, _ value: JSONValue) -> Bool {
        if value.isNull { return true }
        switch name {
        case "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
            "parallel_tool_calls":
            return true
        case "frequency_penalty", "presence_penalty", "min_tokens": return value.number == 0
        case "tools", "functions", "stop_token_ids": return value.array?.isEmpty ?? false
        case "tool_choice", "function_call": return value.string == "none" || value.string == "auto"
        case "logit_bias": return value.object?.members.isEmpty ?? false
        case "response_format": return value["type"]?.string == "text"
        case "modalities": return value.array == ["text"]
        case "suffix": return value.string == ""
        case "skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt": return value.bool == true
        case "ignore_eos", "include_stop_str_in_output", "continue_final_message", "echo": return value.bool == false
        default: return false
        }
    }

    /// What other servers know, for a better answer than "unrecognized".
    private static let notOffered: Set<String> = [
        "frequency_penalty", "presence_penalty", "min_tokens", "tools", "functions", "tool_choice", "function_call",
        "logit_bias", "response_format", "modalities", "audio", "prediction", "reasoning_effort", "suffix", "best_of",
        "echo", "stop_token_ids", "skip_special_tokens", "spaces_between_special_tokens", "add_generation_prompt",
        "ignore_eos", "include_stop_str_in_output", "continue_final_message", "web_search_options", "verbosity",
        "guided_json", "guided_regex", "guided_choice", "guided_grammar", "prompt_logprobs",
    ]

    static func mismatch(_ name: String, _ value: JSONValue, _ expected: String) -> ServingError {
        let text = value.text()
        let shown = text.utf8.count <= 40 ? text : value.kind
        return .invalid(field: name, reason: "it is \(shown), but it must be \(expected)")
    }
}
