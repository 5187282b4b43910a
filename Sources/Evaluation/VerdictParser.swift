package import Chat
internal import Glibc

/// How a preference is read off a judge's reply. Each grammar either finds exactly one verdict or says why it does not.
package enum VerdictParser: Hashable, Sendable {
    /// The probabilities of the two identifiers as the reply's first token (or its last, after a chain of thought):
    /// P(first) = p(first) / (p(first) + p(second)). Tokens are compared exactly; the sampled text is ignored.
    case tokenLogprobs(first: String, second: String, place: TokenPlace, binarize: Bool)
    /// A label in the text, such as `[[A]]`. Labels inside quoted text do not count, and two different ones are no
    /// verdict.
    case label(first: String, second: String, tie: String?)
    /// A list of `{"model": …, "rank": …}`, as JSON or as a Python literal.
    case ranking(first: String, second: String)
    /// A field of a JSON reply, which may stand in a code fence.
    case jsonField(name: String, first: String, second: String, tie: String?)

    package enum TokenPlace: String, Sendable { case first, last }

    package enum Outcome: Hashable, Sendable {
        /// For the output that was shown first, 0...1.
        case preferenceForFirst(Double)
        case unparsable(String)
    }

    package func parse(_ completion: Completion) -> Outcome {
        switch self {
        case .tokenLogprobs(let first, let second, let place, let binarize):
            tokenPreference(completion, first, second, place, binarize)
        case .label(let first, let second, let tie): labelPreference(completion.text, first, second, tie)
        case .ranking(let first, let second): rankingPreference(completion.text, first, second)
        case .jsonField(let name, let first, let second, let tie):
            fieldPreference(completion.text, name, first, second, tie)
        }
    }

    /// Whether the judge has to report log-probabilities.
    package var needsLogprobs: Bool {
        if case .tokenLogprobs = self { true } else { false }
    }
}

private func tokenPreference(
    _ completion: Completion, _ first: String, _ second: String, _ place: VerdictParser.TokenPlace, _ binarize: Bool
) -> VerdictParser.Outcome {
    guard let token = place == .first ? completion.tokens.first : completion.tokens.last else {
        return .unparsable("the reply carries no log-probabilities")
    }
    let firstLogprob = token.top.first { $0.text == first }?.logprob
    let secondLogprob = token.top.first { $0.text == second }?.logprob
    if firstLogprob == nil, secondLogprob == nil {
        return .unparsable("neither \"\(first)\" nor \"\(second)\" is among the most probable tokens")
    }
    let firstMass = firstLogprob.map(exp) ?? 0
    let secondMass = secondLogprob.map(exp) ?? 0
    guard firstMass.isFinite, secondMass.isFinite, firstMass + secondMass > 0 else {
        return .unparsable("the log-probabilities of both identifiers are out of range")
    }
    if binarize { return .preferenceForFirst(firstMass > secondMass ? 1 : 0) }
    return .preferenceForFirst(firstMass / (firstMass + secondMass))
}

private func labelPreference(_ reply: String, _ first: String, _ second: String, _ tie: String?)
    -> VerdictParser.Outcome
{
    let text = withoutQuotations(reply)
    let labels = [(first, 1.0), (second, 0.0)] + (tie.map { [($0, 0.5)] } ?? [])
    let found = labels.filter { text.range(of: $0.0) != nil }
    switch found.count {
    case 0: return .unparsable("the reply holds none of the labels")
    case 1: return .preferenceForFirst(found[0].1)
    default: return .unparsable("the reply holds \(found.map(\.0).joined(separator: " and "))")
    }
}

/// The reply without code fences, lines quoted with `>`, and text in quotation marks or backticks: there a judge cites an output.
private func withoutQuotations(_ reply: String) -> String {
    var lines: [String] = []
    var isFenced = false
    for line in reply.split(separator: "\n", omittingEmptySubsequences: false) {
        let start = line.trimmed
        if start.hasPrefix("```") || start.hasPrefix("~~~") || start.hasPrefix("\"\"\"") {
            isFenced.toggle()
            continue
        }
        if !isFenced, !start.hasPrefix(">") { lines.append(String(line)) }
    }
    var text = lines.joined(separator: "\n")
    for mark in ["\"", "`"] as [Character] {
        // Pairs may span lines. An odd mark (5" wide) pairs with nothing: then each line is read for itself.
        let isEven = text.count { $0 == mark } % 2 == 0
        text =
            isEven ? outside(mark, text) : text.split(separator: "\n").map { outside(mark, $0) }.joined(separator: "\n")
    }
    return text.replacing(/“[^”]*”/, with: " ").replacing(/«[^»]*»/, with: " ")
}

/// What stands outside pairs of `mark`; after an odd one, the rest stands outside too.
private func outside(_ mark: Character, _ text: some StringProtocol) -> String {
    let parts = text.split(separator: mark, omittingEmptySubsequences: false)
    return parts.enumerated().filter { index, _ in
        index % 2 == 0 || (parts.count % 2 == 0 && index == parts.count - 1)
    }.map { String($0.element) }.joined(separator: " ")
}

private func rankingPreference(_ reply: String, _ first: String, _ second: String) -> VerdictParser.Outcome {
    guard let json = try? JSONValue(parsing: pythonLiteralAsJSON(withoutFence(reply))) else {
        return .unparsable("the reply is not a list of models and ranks")
    }
    guard let entries = json.array ?? json["ordered_models"]?.array, entries.count == 2 else {
        return .unparsable("the reply does not rank exactly two models")
    }
    var ranks: [String: Int] = [:]
    for entry in entries {
        guard let model = entry["model"]?.string, let rank = entry["rank"]?.integer, ranks[model] == nil else {
            return .unparsable("an entry of the ranking has no model and rank of its own")
        }
        ranks[model] = rank
    }
    switch (ranks[first], ranks[second]) {
    case (1, 2): return .preferenceForFirst(1)
    case (2, 1): return .preferenceForFirst(0)
    default: return .unparsable("the ranking is not 1 and 2 for \"\(first)\" and \"\(second)\"")
    }
}

private func fieldPreference(
    _ reply: String, _ name: String, _ first: String, _ second: String, _ tie: String?
) -> VerdictParser.Outcome {
    let json: JSONValue
    do {
        json = try JSONValue(parsing: withoutFence(reply))
    } catch {
        return .unparsable("the reply is not JSON: \(error.description)")
    }
    guard let value = json[name]?.string else { return .unparsable("the reply has no text field \"\(name)\"") }
    switch value {
    case first: return .preferenceForFirst(1)
    case second: return .preferenceForFirst(0)
    case _ where value == tie: return .preferenceForFirst(0.5)
    default: return .unparsable("the field \"\(name)\" is none of the allowed values")
    }
}

/// A reply that is one code fence, without it.
private func withoutFence(_ reply: String) -> String {
    let text = reply.trimmed
    guard text.hasPrefix("```"), text.hasSuffix("```"), text.utf8.count > 6, let newline = text.firstIndex(of: "\n")
    else {
        return text
    }
    return String(text[newline...].dropLast(3)).trimmed
}

/// Python's single-quoted strings become JSON's double-quoted ones; what is already JSON stays as it is.
private func pythonLiteralAsJSON(_ text: String) -> String {
    var output: [UInt8] = []
    var quote: UInt8?
    var isEscaped = false
    for byte in text.utf8 {
        switch (quote, byte) {
        case (nil, UInt8(ascii: "'")), (nil, UInt8(ascii: "\"")):
            quote = byte
            output.append(UInt8(ascii: "\""))
        case (let open?, _) where isEscaped:
            // JSON knows no \'
            if open == UInt8(ascii: "'"), byte == open { output.removeLast() }
            output.append(byte)
            isEscaped = false
        case (_?, UInt8(ascii: "\\")):
            output.append(byte)
            isEscaped = true
        case (let open?, _) where byte == open:
            quote = nil
            output.append(UInt8(ascii: "\""))
        case (_?, UInt8(ascii: "\"")): output += "\\\"".utf8
        default: output.append(byte)
        }
    }
    return String(decoding: output, as: UTF8.self)
}
