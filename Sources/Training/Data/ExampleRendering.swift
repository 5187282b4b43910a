package import Chat
internal import LanguageModel
internal import Tokenization

/// How prompts and responses become tokens.
package enum RenderingStyle: String, Codable, CaseIterable, Sendable {
    /// The prompt ends with the header of the assistant's turn, as it does at inference; every row begins with one
    /// beginning token where the tokenizer adds it, and the end of the response is trained.
    ///
    /// The tokens are those of TRL 0.29 but for rows that TRL begins twice or, with a template that leaves the
    /// beginning token to the tokenizer, not at all.
    case trl
    /// The SimPO repository's tokens: the assistant's header counts as response, an empty system message goes before
    /// conversations of templates that know one, the end token follows whatever the template ends with.
    ///
    /// Taken too are three inputs that the repository refuses: a response that merges with more than the last token of
    /// its prompt (the boundary moves back to the first merged token), a template that refuses the assistant's turn by
    /// itself (the turn is taken from the whole conversation), and a tokenizer without a beginning token.
    case simpo
    /// TRL 0.29 to the token, the beginning tokens that it doubles or leaves out included.
    case trl029 = "trl-0.29"
}

/// Which tokens of a demonstration are trained.
package enum TrainedTokens: String, Codable, CaseIterable, Sendable {
    case all
    /// The assistant's turns: what the template's `{% generation %}` blocks write, and in a template without them what
    /// each turn adds to the text before it. Of a plain text, all.
    case assistant
    /// What follows the prompt: of a conversation, the last turn. Of a plain text, all.
    case completion
}

/// A row, and what was found on the way to it.
package struct RenderedRow: Hashable, Sendable {
    package var row: TokenizedRow
    package var findings: Set<DataFinding> = []
}

/// Renders examples with a checkpoint's chat template and tokenizer.
package struct ExampleRendering: Sendable {
    package let style: RenderingStyle
    /// The id that rows begin with, where the tokenizer has one.
    package let beginToken: Int32?
    private let tokenizer: Tokenizer
    private let endToken: (text: String, id: Int32)
    private let template: ChatTemplate?
    private let variables: JSONObject
    private let folder: String
    private let specialTokens: Set<Int32>

    /// Reads the tokenizer, its configuration and the chat template from a checkpoint's folder.
    ///
    /// - Throws: `TrainingError.missingInput` or `.badData` for files that are not there or damaged, `.configuration`
    ///   for a tokenizer without an end token.
    package init(folder: String, style: RenderingStyle) throws(TrainingError) {
        self.style = style
        self.folder = folder
        let configuration: TokenizerConfiguration
        do {
            let file = try Checkpoint.tokenizerFile(in: folder)
            tokenizer = try Tokenizer(bytes: file, path: "\(folder)/tokenizer.json")
            configuration = try TokenizerConfiguration(folder: folder)
        } catch let error as CheckpointError {
            throw .missingInput(error.description)
        } catch {
            throw .badData("\(error)")
        }
        template = configuration.chatTemplate
        variables = configuration.templateVariables
        beginToken = configuration.beginToken.flatMap(tokenizer.id(of:))
        guard let end = configuration.endToken, let id = tokenizer.id(of: end) else {
            throw .configuration(
                "\(folder)/tokenizer_config.json names no eos_token of the vocabulary, so a model could not learn to "
                    + "stop. Add it there")
        }
        endToken = (end, id)
        specialTokens = Set(tokenizer.addedTokens.lazy.filter(\.isSpecial).map(\.id)).union([id])
    }

    // MARK: A prompt and a response

    /// A row of a prompt and the response to it, which is what is trained.
    ///
    /// - Throws: `TrainingError.badData` where the template refuses the messages or writes the prompt differently once
    ///   a response follows, `.configuration` for messages without a template.
    package func row(
        _ exchange: PreferenceExample.Exchange, tools: JSONValue? = nil
    ) throws(TrainingError) -> RenderedRow {
        let (prompt, whole) = try texts(exchange, tools)
        let addsSpecialTokens = style == .trl029 && exchange.isPlain
        let promptIDs = tokenizer.encode(prompt, addSpecialTokens: addsSpecialTokens)
        var ids = tokenizer.encode(whole, addSpecialTokens: addsSpecialTokens)
        var boundary = zip(promptIDs, ids).prefix { $0 == $1 }.count
        var result = RenderedRow(row: TokenizedRow(ids: [], targets: []))
        if style == .trl029 {
            boundary = promptIDs.count
            ids = promptIDs + ids.dropFirst(boundary)
        } else if boundary < promptIDs.count {
            result.findings.insert(.boundaryMoved)
        }
        result.row.ids = ids
        result.row.train(boundary..<ids.count)
        if exchange.isEmptyResponse { result.findings.insert(.emptyResponse) }
        begin(&result)
        end(&result, from: result.row.promptCount)
        return result
    }

    /// The text of the prompt, and of the prompt and the response.
    private func texts(
        _ exchange: PreferenceExample.Exchange, _ tools: JSONValue?
    ) throws(TrainingError) -> (prompt: String, whole: String) {
        switch (exchange, style) {
        case (.plain(let prompt, let response), .simpo): return (prompt, prompt + response)
        case (.plain(let prompt, let response), .trl), (.plain(let prompt, let response), .trl029):
            return (prompt, prompt + ended(response))
        case (.messages(let prompt, let response), .simpo):
            let prompt = withSystemMessage(prompt)
            let text = try self.text(prompt, tools)
            return (text, text + (try loneText(response, after: (prompt, text), tools)))
        case (.messages(let prompt, let response), .trl),
            (.messages(let prompt, let response), .trl029):
            let whole = try text(prompt + response, tools)
            return (try openedText(prompt, tools, in: whole), whole)
        }
    }

    /// The text of messages up to where the assistant's words begin, as it stands in the whole text.
    private func openedText(
        _ prompt: [JSONValue], _ tools: JSONValue?, in whole: String
    ) throws(TrainingError) -> String {
        let opened = try text(prompt, tools, generationPrompt: true)
        if whole.utf8.starts(with: opened.utf8) { return opened }
        // Some templates open a turn with more than they leave of it, such as the beginning of a thought.
        guard whole.utf8.starts(with: try text(prompt, tools).utf8) else {
            throw .badData(
                "the chat template of \(folder) writes the turns before a response differently once the response "
                    + "follows, so the two cannot be told apart. Use a template that leaves earlier turns as they are")
        }
        return opened
    }

    /// The text of the assistant's turn by itself, without the beginning token that the template may write again.
    private func loneText(
        _ response: [JSONValue], after prompt: (messages: [JSONValue], text: String),
        _ tools: JSONValue?
    ) throws(TrainingError) -> String {
        let text: String
        do {
            text = try self.text(response, tools)
        } catch {
            // Mistral's own template wants turns to alternate from the user's on.
            let whole = try self.text(prompt.messages + response, tools)
            guard whole.utf8.starts(with: prompt.text.utf8) else { throw error }
            return String(decoding: whole.utf8.dropFirst(prompt.text.utf8.count), as: UTF8.self)
        }
        guard let begin = variables["bos_token"]?.string, text.utf8.starts(with: begin.utf8) else {
            return text
        }
        return String(decoding: text.utf8.dropFirst(begin.utf8.count), as: UTF8.self)
    }

    /// An empty system message goes first where the template knows of one and the conversation has none.
    private func withSystemMessage(_ messages: [JSONValue]) -> [JSONValue] {
        guard let template, messages.first?["role"] != "system" else { return messages }
        guard template.source.contains("system") || template.source.contains("<|im_start|>") else {
            return messages
        }
        return [["role": "system", "content": ""]] + messages
    }

    // MARK: Demonstrations

    /// A row of a conversation.
    ///
    /// - Throws: as `row`.
    package func row(
        conversation: [JSONValue], trained: TrainedTokens, tools: JSONValue? = nil
    ) throws(TrainingError) -> RenderedRow {
        let messages = style == .simpo ? withSystemMessage(conversation) : conversation
        let isEnded = messages.last?["role"] == "assistant"
        if trained == .completion {
            guard isEnded, messages.count > 1 else {
                throw .badData(
                    "the last of the messages must be the assistant's, behind others, to be the completion")
            }
            return try row(
                .messages(prompt: messages.dropLast(), response: messages.suffix(1)), tools: tools)
        }
        let rendering = try render(messages, tools, generationPrompt: false)
        let encoding = tokenizer.encodeWithOffsets(rendering.text, addSpecialTokens: false)
        var result = RenderedRow(row: TokenizedRow(ids: encoding.ids, targets: []))
        if trained == .assistant {
            for span in try assistantSpans(messages, tools, rendering) {
                let (tokens, isExact) = encoding.tokens(of: span, in: rendering.text)
                result.row.train(tokens)
                if !isExact { result.findings.insert(.boundaryMoved) }
            }
        }
        if conversation.contains(where: { $0["role"] == "assistant" && $0["content"]?.string?.isBlank == true }) {
            result.findings.insert(.emptyResponse)
        }
        begin(&result)
        if isEnded { end(&result, from: 0) }
        if trained == .all { result.row.trainAll() }
        return result
    }

    /// A row of a text, all of it trained.
    package func row(text: String) -> RenderedRow {
        let ids = tokenizer.encode(ended(text), addSpecialTokens: style == .trl029)
        var result = RenderedRow(row: TokenizedRow(ids: ids, targets: []))
        if text.isBlank { result.findings.insert(.emptyResponse) }
        begin(&result)
        result.row.trainAll()
        return result
    }

    /// A row of a prompt and its completion.
    package func row(
        demonstration: PreferenceExample.Exchange, trained: TrainedTokens, tools: JSONValue? = nil
    ) throws(TrainingError) -> RenderedRow {
        var result = try row(demonstration, tools: tools)
        if trained == .all { result.row.trainAll() }
        return result
    }

    /// Where the assistant's turns stand in a conversation's text, as offsets into its UTF-8.
    private func assistantSpans(
        _ messages: [JSONValue], _ tools: JSONValue?, _ rendering: ChatTemplate.Rendering
    ) throws(TrainingError) -> [Range<Int>] {
        if !rendering.generationSpans.isEmpty {
            return rendering.generationSpans.sorted { $0.lowerBound < $1.lowerBound }
        }
        var spans: [Range<Int>] = []
        for index in messages.indices where messages[index]["role"] == "assistant" {
            let through = try text(Array(messages[...index]), tools)
            guard rendering.text.utf8.starts(with: through.utf8) else {
                throw .badData(
                    "the chat template of \(folder) writes turn \(index + 1) differently once others follow, so the "
                        + "assistant's words cannot be found. Use a template with {% generation %} blocks, or train "
                        + "all tokens or the completion alone")
            }
            let opened = index == 0 ? "" : try openedText(Array(messages[..<index]), tools, in: through)
            let start = zip(opened.utf8, through.utf8).prefix { $0 == $1 }.count
            spans.append(start..<through.utf8.count)
        }
        return spans
    }

    // MARK: Beginnings and ends

    /// Exactly one beginning token, by the rule that prompts follow at inference.
    private func begin(_ result: inout RenderedRow) {
        guard let beginToken, style != .trl029 else { return }
        let count = result.row.ids.prefix { $0 == beginToken }.count
        if count > 1 {
            result.row = result.row.keeping([count - 1..<result.row.ids.count])
            result.findings.insert(.beginRepaired)
        } else if count == 0,
            style == .simpo || tokenizer.specialTokensAround.before.contains(beginToken)
        {
            let targets = result.row.targets.map { $0.lowerBound + 1..<$0.upperBound + 1 }
            result.row = TokenizedRow(ids: [beginToken] + result.row.ids, targets: targets)
        }
    }

    /// The end token goes behind a response that has no end: never a second time, but in the SimPO repository's rows.
    private func end(_ result: inout RenderedRow, from start: Int) {
        let ids = result.row.ids
        switch style {
        case .trl029: return
        case .trl where isEnded(ids[start...]): return
        case .simpo where ids.last == endToken.id && start < ids.count: return
        case .simpo where isEnded(ids[start...]): result.findings.insert(.endRepeated)
        case .trl, .simpo: break
        }
        result.row.ids.append(endToken.id)
        result.row.train(ids.count..<ids.count + 1)
    }

    /// Whether a special token stands at the end, white space behind it aside.
    private func isEnded(_ ids: ArraySlice<Int32>) -> Bool {
        for id in ids.reversed() {
            if specialTokens.contains(id) { return id != beginToken }
            let isSpace = tokenizer.bytes(of: id).allSatisfy { $0 == 0x20 || (0x09...0x0D).contains($0) }
            if !isSpace { return false }
        }
        return false
    }

    private func ended(_ text: String) -> String {
        text.utf8.suffix(endToken.text.utf8.count).elementsEqual(endToken.text.utf8)
            ? text : text + endToken.text
    }

    // MARK: The template

    /// What a template is told when it asks for the date, in seconds since 1970: 26 July 2024, as at inference.
    private static let today = 1_721_952_000

    private func text(
        _ messages: [JSONValue], _ tools: JSONValue?, generationPrompt: Bool = false
    ) throws(TrainingError) -> String {
        try render(messages, tools, generationPrompt: generationPrompt).text
    }

    private func render(
        _ messages: [JSONValue], _ tools: JSONValue?, generationPrompt: Bool
    ) throws(TrainingError) -> ChatTemplate.Rendering {
        guard let template else {
            throw .configuration(
                "\(folder) has no chat template, so messages cannot be written for it. Put one into "
                    + "\(folder)/chat_template.jinja, or give prompts and responses as plain text")
        }
        do {
            return try template.render(
                messages: messages, tools: tools, addGenerationPrompt: generationPrompt,
                variables: variables,
                now: ExampleRendering.today)
        } catch {
            throw .badData(error.description)
        }
    }
}

extension ExampleRendering {
    /// The text of a pair's first row, what is trained in ⟦ ⟧ and the middle of long parts left out.
    func marked(_ pair: TokenizedPair) -> String {
        guard let row = pair.rows.first else { return "" }
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        var text = ""
        var start = 0
        func add(_ range: Range<Int>, isLast: Bool) -> String {
            var part = row.ids[range].map { decoder.append($0) }.joined()
            if isLast { part += decoder.finish() }
            let scalars = part.unicodeScalars
            guard scalars.count > 400 else { return part }
            return String(scalars.prefix(200)) + " […] " + String(scalars.suffix(200))
        }
        for target in row.targets {
            text += add(start..<target.lowerBound, isLast: false)
            text += "⟦" + add(target, isLast: target.upperBound == row.ids.count) + "⟧"
            start = target.upperBound
        }
        return start < row.ids.count ? text + add(start..<row.ids.count, isLast: true) : text
    }
}

extension PreferenceExample.Exchange {
    var isPlain: Bool {
        switch self {
        case .plain: true
        case .messages: false
        }
    }

    /// Nothing but white space, and no call of a tool.
    var isEmptyResponse: Bool {
        switch self {
        case .plain(_, let response): response.isBlank
        case .messages(_, let response):
            response.allSatisfy { $0["tool_calls"] == nil && ($0["content"]?.string ?? "").isBlank }
        }
    }
}

extension String {
    var isBlank: Bool { unicodeScalars.allSatisfy(\.properties.isWhitespace) }
}

extension Encoding {
    /// The tokens that write a span of the text's UTF-8, and whether they write nothing else.
    fileprivate func tokens(of span: Range<Int>, in text: String) -> (
        tokens: Range<Int>, isExact: Bool
    ) {
        let utf8 = text.utf8
        func scalars(_ offset: Int) -> Int {
            utf8.prefix(offset).reduce(0) { $0 + ($1 & 0xC0 != 0x80 ? 1 : 0) }
        }
        let (start, end) = (scalars(span.lowerBound), scalars(span.upperBound))
        guard let first = offsets.firstIndex(where: { $0.upperBound > start && !$0.isEmpty }),
            let last = offsets.lastIndex(where: { $0.lowerBound < end && !$0.isEmpty }), first <= last
        else { return (0..<0, true) }
        let isExact = offsets[first].lowerBound >= start && offsets[last].upperBound <= end
        return (first..<last + 1, isExact)
    }
}
