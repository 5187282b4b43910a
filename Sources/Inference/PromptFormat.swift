package import Chat
internal import LanguageModel
package import Tokenization

/// How a checkpoint wants a conversation written: its chat template, its tokenizer, and exactly one beginning token.
package struct PromptFormat: Sendable {
    package let tokenizer: Tokenizer
    package let configuration: TokenizerConfiguration
    package let template: ChatTemplate?
    package let beginToken: Int32?
    /// Every id that ends an answer: the generation configuration's, the tokenizer's, and the template's end of a turn.
    package let endTokens: Set<Int32>

    /// Reads the tokenizer and its configuration from a checkpoint folder.
    ///
    /// - Parameter template: used instead of the checkpoint's own.
    /// - Throws: `CheckpointError`, `TokenizationError`, `TemplateError`.
    package init(folder: String, template: ChatTemplate? = nil, generationEndTokens: [Int32]) throws {
        self.init(
            tokenizer: try Tokenizer(
                bytes: try Checkpoint.tokenizerFile(in: folder), path: "\(folder)/tokenizer.json"),
            configuration: try TokenizerConfiguration(folder: folder), template: template,
            generationEndTokens: generationEndTokens)
    }

    init(
        tokenizer: Tokenizer, configuration: TokenizerConfiguration, template: ChatTemplate? = nil,
        generationEndTokens: [Int32]
    ) {
        self.tokenizer = tokenizer
        self.configuration = configuration
        self.template = template ?? configuration.chatTemplate
        beginToken = configuration.beginToken.flatMap(tokenizer.id(of:))
        var ends = Set(generationEndTokens)
        if let end = configuration.endToken.flatMap(tokenizer.id(of:)) { ends.insert(end) }
        for token in PromptFormat.turnEnds where self.template?.source.contains(token) == true {
            if let id = tokenizer.id(of: token) { ends.insert(id) }
        }
        endTokens = ends
    }

    /// What a template is told when it asks for the date, in seconds since 1970: 26 July 2024, which Llama 3.1's template
    /// takes when it is told none. A clock would make a run's prompts depend on the day that it is resumed.
    private static let today = 1_721_952_000

    /// What templates write behind a turn, in the families that we know.
    private static let turnEnds = ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"]

    /// The prompt's text, as the template writes it, ready for an answer.
    ///
    /// - Throws: `ModelFailure.unsupported` without a template, `ModelFailure.requestFailed` where it refuses the turns.
    package func text(_ messages: [Message]) throws(ModelFailure) -> String {
        guard let template else {
            throw .unsupported(
                "this checkpoint has no chat template, so a conversation cannot be written for it. Give one with "
                    + "--chat-template FILE.")
        }
        do {
            return try template.render(
                messages: messages.map { ["role": .string($0.role.rawValue), "content": .string($0.content)] },
                tools: nil, addGenerationPrompt: true, variables: configuration.templateVariables,
                now: PromptFormat.today
            ).text
        } catch {
            throw .requestFailed("the chat template \(template.name) failed: \(error)")
        }
    }

    /// The prompt's ids, with one beginning token where the tokenizer has one and adds it.
    ///
    /// - Throws: `ModelFailure.requestFailed` where the prompt would begin twice.
    package func ids(_ messages: [Message]) throws(ModelFailure) -> [Int32] {
        try begun(tokenizer.encode(try text(messages), addSpecialTokens: false))
    }

    /// The ids of plain text, for completion without a template.
    package func ids(plain text: String) throws(ModelFailure) -> [Int32] {
        try begun(tokenizer.encode(text, addSpecialTokens: false))
    }

    private func begun(_ ids: [Int32]) throws(ModelFailure) -> [Int32] {
        guard let beginToken else { return ids }
        let count = ids.prefix { $0 == beginToken }.count
        if count > 1 {
            throw .requestFailed(
                "the prompt begins with \(count) tokens \(configuration.beginToken ?? "") instead of one. The chat "
                    + "template writes it, and the messages or the template write it again: remove one of them.")
        }
        return count == 0 && tokenizer.specialTokensAround.before.contains(beginToken) ? [beginToken] + ids : ids
    }
}
