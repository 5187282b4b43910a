/// One spelling for a model wherever one is named: `--model`, `--baseline`, `--judge-model`.
package enum ModelSource: Hashable, Sendable, CustomStringConvertible {
    case local(path: String)
    case openAI(name: String)
    case anthropic(name: String)
    /// Several base URLs, with commas between them, are servers of the same model.
    case openAICompatible(name: String, baseURL: String)
    case outputs(path: String)
    case annotations(path: String)
    case replay(path: String)
    case exec(program: String)

    /// Reads `scheme:rest`; text without a scheme is a checkpoint directory.
    ///
    /// - Throws: `ModelSourceError` where the scheme is unknown or what follows it is not of its form.
    package init(_ text: String) throws(ModelSourceError) {
        guard let colon = text.firstIndex(of: ":"), !text.hasPrefix("/"), !text.hasPrefix("."),
            !text[..<colon].contains("/")
        else {
            if text.isEmpty { throw ModelSourceError(text: text, expected: ModelSource.forms) }
            self = .local(path: text)
            return
        }
        let rest = String(text[text.index(after: colon)...])
        if rest.isEmpty { throw ModelSourceError(text: text, expected: "something after the colon") }
        switch text[..<colon] {
        case "local": self = .local(path: rest)
        case "openai": self = .openAI(name: rest)
        case "anthropic": self = .anthropic(name: rest)
        case "openai-compatible":
            guard let at = rest.lastIndex(of: "@"), at != rest.startIndex,
                ModelSource.elements(rest[rest.index(after: at)...]).allSatisfy({
                    $0.hasPrefix("http://") || $0.hasPrefix("https://")
                })
            else {
                throw ModelSourceError(
                    text: text,
                    expected: "openai-compatible:NAME@http://host:8000/v1, or several such addresses with commas "
                        + "between them")
            }
            self = .openAICompatible(name: String(rest[..<at]), baseURL: String(rest[rest.index(after: at)...]))
        case "outputs": self = .outputs(path: rest)
        case "annotations": self = .annotations(path: rest)
        case "replay": self = .replay(path: rest)
        case "exec": self = .exec(program: rest)
        default: throw ModelSourceError(text: text, expected: ModelSource.forms)
        }
    }

    /// The servers behind an `openai-compatible:` source, each once; empty for the others.
    package var baseURLs: [String] {
        guard case .openAICompatible(_, let baseURL) = self else { return [] }
        var urls: [String] = []
        for url in ModelSource.elements(baseURL[...]).map(String.init) where !urls.contains(url) { urls.append(url) }
        return urls
    }

    /// What evidence knows the model by, where the spelling decides that: the spelling itself; for a list of servers
    /// the model that they all serve, so that a run goes on with other servers, in another order, or with fewer.
    package var fingerprint: String {
        guard case .openAICompatible(let name, let baseURL) = self, ModelSource.elements(baseURL[...]).count > 1 else {
            return description
        }
        return "openai-compatible:\(name)@replicas"
    }

    private static func elements(_ list: Substring) -> [Substring] {
        list.split(separator: ",", omittingEmptySubsequences: false)
    }

    static let forms =
        "a checkpoint directory, openai:NAME, anthropic:NAME, openai-compatible:NAME@URL[,URL…], outputs:FILE, "
        + "annotations:FILE, "
        + "replay:FILE or exec:PROGRAM"

    package var description: String {
        switch self {
        case .local(let path): "local:\(path)"
        case .openAI(let name): "openai:\(name)"
        case .anthropic(let name): "anthropic:\(name)"
        case .openAICompatible(let name, let baseURL): "openai-compatible:\(name)@\(baseURL)"
        case .outputs(let path): "outputs:\(path)"
        case .annotations(let path): "annotations:\(path)"
        case .replay(let path): "replay:\(path)"
        case .exec(let program): "exec:\(program)"
        }
    }
}

package struct ModelSourceError: Error, Hashable, CustomStringConvertible {
    package var text: String
    package var expected: String

    package var description: String { "\"\(text)\" does not name a model: expected \(expected)." }
}
