import ArgumentParser
import Chat
import Evaluation
import Inference
import LanguageModel
import Serving
import Tokenization

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "The engine behind an OpenAI-compatible endpoint on loopback.",
        discussion: """
            Prints the address, http://127.0.0.1:PORT/v1, on standard output when it is ready. The first Ctrl-C finishes \
            what is in flight, the second stops now.
            """)

    @Argument(help: "A checkpoint folder, as PATH or local:PATH.") var model: String
    @Option(help: "The address to listen on. Whoever reaches it may use the model: there is no authentication.")
    var host = "127.0.0.1"
    @Option(help: "The port to listen on; 0 takes a free one.") var port: UInt16 = 8000
    @Option(help: "The model's name for clients; the folder's when left out.") var servedModelName: String?
    @Option(help: "How many answers of one request are in the making at once.") var concurrency: Int?
    @OptionGroup var engine: EngineOptions

    mutating func validate() throws {
        if let concurrency, !(1...1_024).contains(concurrency) {
            throw ValidationError("--concurrency takes 1 to 1024.")
        }
        if servedModelName?.isEmpty == true { throw ValidationError("--served-model-name takes a name.") }
    }

    func run() async throws {
        guard case .local(let folder) = try ModelSource(model) else {
            throw EvaluationError.configuration("\(model) is served elsewhere already. Name a checkpoint folder.")
        }
        let local = try engine.open(folder, concurrency: concurrency)
        let server = try start(.local(local, name: servedModelName ?? local.name))
        Interruption.shared.arm()
        if !server.address.isLoopback {
            Console.note("Warning: whoever reaches \(server.address) may use this model: there is no authentication.")
        }
        Console.data("http://\(server.address)/v1\n")
        while !Interruption.shared.stop.wasRaised { try await Task.sleep(for: .milliseconds(100)) }
        server.stopAccepting()
        await server.waitUntilFinished()
        throw ExitCode(Interruption.shared.exitCode)
    }

    private func start(_ model: ServedModel) throws -> ModelServer {
        var settings = ModelServer.Settings()
        settings.host = host
        settings.port = port
        do {
            return try ModelServer(model, settings: settings)
        } catch {
            throw EvaluationError.inputOutput("\(error)")
        }
    }
}

extension ServedModel {
    static func local(_ model: LocalChatModel, name: String) -> ServedModel {
        let format = model.format
        let configuration = model.engine.model.configuration
        return ServedModel(
            name: name, fingerprint: model.fingerprint, contextLength: configuration.contextLength,
            vocabularySize: configuration.vocabularySize, concurrency: model.maxConcurrentRequests,
            chatPrompt: { try format.ids($0) }, textPrompt: { try format.ids(plain: $0) },
            bytes: { format.tokenizer.bytes(of: $0) },
            generate: { prompt, request, count, onPiece in
                do {
                    let onText = onPiece.map { onPiece in { @Sendable text in onPiece(Piece(text: text)) } }
                    return try await model.answers(request, prompt: prompt, count: count, onText: onText).map {
                        answer($0, format.tokenizer, logsTokens: request.topLogprobs != nil)
                    }
                } catch InferenceError.setting(let name, let value, let expected) {
                    throw ServingError.invalid(field: name, reason: "it is \(value), but it must be \(expected)")
                }
            },
            score: { tokens, top in
                let first = tokens.prefix(1).map { Token(bytes: format.tokenizer.bytes(of: $0), logprob: nil) }
                return try await first
                    + model.scores(of: tokens, top: top).map {
                        token($0.chosen, $0.top, format.tokenizer)
                    }
            })
    }

    private static func answer(
        _ answer: LocalChatModel.Answer, _ tokenizer: Tokenizer, logsTokens: Bool
    ) -> ServedModel.Answer {
        let completion = answer.completion
        let hypothesis = answer.hypothesis
        var tokens = hypothesis.tokens.indices.map { place in
            token(
                TokenLogprob(token: hypothesis.tokens[place], logprob: hypothesis.logprobs[place]),
                hypothesis.top.indices.contains(place) ? hypothesis.top[place] : [], tokenizer)
        }
        let end = hypothesis.ending == .endToken ? tokens.popLast() : nil
        if hypothesis.ending == .stopSequence { tokens = shown(tokens, within: completion.text.utf8.count) }
        return ServedModel.Answer(
            text: completion.text, finishReason: completion.finishReason, tokens: logsTokens ? tokens : [],
            endToken: logsTokens ? end : nil, tokenCount: hypothesis.tokens.count)
    }

    /// The tokens that begin before a stop sequence cuts the text.
    private static func shown(_ tokens: [Token], within count: Int) -> [Token] {
        var start = 0
        return Array(
            tokens.prefix { token in
                defer { start += token.bytes.count }
                return start < count
            })
    }

    private static func token(_ chosen: TokenLogprob, _ top: [TokenLogprob], _ tokenizer: Tokenizer) -> Token {
        Token(
            bytes: tokenizer.bytes(of: chosen.token), logprob: chosen.logprob,
            top: top.map { Alternative(bytes: tokenizer.bytes(of: $0.token), logprob: $0.logprob) })
    }
}
