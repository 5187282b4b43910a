internal import Chat
internal import Synchronization

/// Writes one choice: event by event where it is streamed, as a whole where not.
final class ChoiceWriter: Sendable {
    private struct State {
        var echo = ServedModel.Piece(text: "")
        /// How much of the answer has been written: in bytes, and in tokens.
        var writtenText = 0
        var writtenTokens = 0
        /// Where the next token begins, in characters of the text.
        var offset = 0
        var hasOpened = false
        var choice = JSONValue.null
    }

    private let index: Int
    private let interface: Generating.Interface
    private let logsTokens: Bool
    private let send: (@Sendable (JSONValue) -> Void)?
    private let state = Mutex(State())

    /// - Parameter send: takes the choice of each event; nil keeps all for `choice`.
    init(index: Int, interface: Generating.Interface, logsTokens: Bool, send: (@Sendable (JSONValue) -> Void)?) {
        self.index = index
        self.interface = interface
        self.logsTokens = logsTokens
        self.send = send
    }

    /// The finished choice of an answer that is not streamed.
    var choice: JSONValue { state.withLock { $0.choice } }

    /// The prompt, before its answer.
    func write(echo: ServedModel.Piece) {
        state.withLock { state in
            // A beginning token that the tokenizer added is not in the text.
            if let first = echo.tokens.first, !echo.text.utf8.starts(with: first.bytes) {
                state.offset = -TokenText.characterCount(first.bytes)
            }
            state.echo = echo
            if send != nil { emit(echo, &state) }
        }
    }

    /// A part of the answer, as it comes.
    func write(_ piece: ServedModel.Piece) {
        state.withLock { state in
            state.writtenText += piece.text.utf8.count
            state.writtenTokens += piece.tokens.count
            emit(piece, &state)
        }
    }

    /// What has not been written of the answer, and its end.
    func finish(_ answer: ServedModel.Answer) {
        state.withLock { state in
            var tokens = answer.tokens
            // The older interface lists the end token too: its readers count on one entry a generated token.
            if interface == .text, let end = answer.endToken { tokens.append(end) }
            if let send {
                let rest = ServedModel.Piece(
                    text: String(decoding: answer.text.utf8.dropFirst(state.writtenText), as: UTF8.self),
                    tokens: Array(tokens.dropFirst(state.writtenTokens)))
                if !rest.text.isEmpty || !rest.tokens.isEmpty { emit(rest, &state) }
                open(&state)
                send(end(answer.finishReason))
            } else {
                state.choice = whole(answer, state.echo.tokens + tokens, &state)
            }
        }
    }

    private func emit(_ piece: ServedModel.Piece, _ state: inout State) {
        open(&state)
        let tokens = logsTokens && !piece.tokens.isEmpty ? piece.tokens : nil
        switch interface {
        case .chat: send?(ChatInterface.delta(index, piece.text, tokens: tokens))
        case .text:
            let logprobs = tokens.map { TextInterface.logprobs($0, offset: &state.offset) }
            send?(TextInterface.choice(index, piece.text, logprobs ?? .null, nil))
        }
    }

    private func open(_ state: inout State) {
        if interface == .chat, !state.hasOpened { send?(ChatInterface.opening(index)) }
        state.hasOpened = true
    }

    private func end(_ reason: Completion.FinishReason) -> JSONValue {
        switch interface {
        case .chat: ChatInterface.end(index, reason)
        case .text: TextInterface.choice(index, "", .null, reason)
        }
    }

    private func whole(
        _ answer: ServedModel.Answer, _ tokens: [ServedModel.Token], _ state: inout State
    ) -> JSONValue {
        switch interface {
        case .chat: ChatInterface.choice(index, answer, logsTokens: logsTokens)
        case .text:
            TextInterface.choice(
                index, state.echo.text + answer.text,
                logsTokens ? TextInterface.logprobs(tokens, offset: &state.offset) : .null, answer.finishReason)
        }
    }
}
