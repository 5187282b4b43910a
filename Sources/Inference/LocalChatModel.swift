package import Chat
internal import LanguageModel
package import Tokenization

/// A checkpoint on this machine that answers conversations.
package final class LocalChatModel: ChatModel {
    package let name: String
    /// The checkpoint's own, the chat template's hash and the precision that it computes in.
    package let fingerprint: String
    package let maxConcurrentRequests: Int
    package let format: PromptFormat
    package let engine: Engine

    package struct Settings: Sendable {
        package var precision: Precision = .automatic
        package var threads: Int?
        package var maxConcurrentRequests = 64
        package var engine = Engine.Settings()
        /// Used instead of the checkpoint's own chat template.
        package var chatTemplate: ChatTemplate?

        package init() {}
    }

    /// What weights are kept as.
    package enum Precision: String, CaseIterable, Sendable {
        /// bf16 for weights stored so, f32 for all others.
        case automatic = "auto"
        case f32, bf16
        /// Weights of 8 bits, a scale for each column.
        case int8
        /// Weights and activations of 8 bits.
        case w8a8
    }

    /// - Throws: `CheckpointError`, `TokenizationError`, or what the tokenizer's configuration throws.
    package init(folder: String, name: String, settings: Settings = Settings()) throws {
        let checkpoint = try Checkpoint(folder: folder)
        format = try PromptFormat(
            folder: folder, template: settings.chatTemplate, generationEndTokens: checkpoint.generationEndTokens)
        let pool = ThreadPool(threadCount: settings.threads)
        let precision = LocalChatModel.format(settings.precision, checkpoint)
        guard let kernels = Kernels(pool: pool) else { preconditionFailure("plain C kernels are always there") }
        engine = Engine(
            model: DecoderModel(
                configuration: checkpoint.configuration,
                weights: try Weights(checkpoint, format: precision, pool: pool), kernels: kernels),
            settings: settings.engine)
        self.name = name
        fingerprint =
            "local:\(checkpoint.fingerprint.prefix(32)):\(precision.rawValue)"
            + (settings.chatTemplate.map { ":template-\($0.sha256.prefix(16))" } ?? "")
        maxConcurrentRequests = settings.maxConcurrentRequests
    }

    private static func format(_ precision: Precision, _ checkpoint: Checkpoint) -> PackedMatrix.Format {
        switch precision {
        case .automatic: checkpoint.storedDataType == .bf16 ? .bf16 : .f32
        case .f32: .f32
        case .bf16: .bf16
        case .int8: .int8
        case .w8a8: .w8a8
        }
    }

    /// - Throws: `ModelFailure`, also where the conversation is longer than the context: no answer is not an empty one.
    package func complete(_ request: ChatRequest) async throws -> Completion {
        let prompt = try format.ids(request.messages)
        let limit = engine.model.configuration.contextLength
        if prompt.count > limit {
            throw ModelFailure.requestFailed(
                "\(name): the conversation has \(prompt.count) tokens, and the model's context \(limit).")
        }
        return try await completions(request, prompt: prompt, count: 1)[0]
    }

    /// The completions of `answers`.
    ///
    /// - Throws: `ModelFailure`, or `CancellationError`.
    package func completions(
        _ request: ChatRequest, prompt: [Int32], count: Int, onText: (@Sendable (String) -> Void)? = nil
    ) async throws -> [Completion] {
        do {
            return try await answers(request, prompt: prompt, count: count, onText: onText).map(\.completion)
        } catch let failure as InferenceError {
            throw ModelFailure.requestFailed("\(name): \(failure)")
        }
    }

    /// A completion, and the tokens that it was read from.
    package struct Answer: Sendable {
        package var completion: Completion
        package var hypothesis: Hypothesis
    }

    /// The `count` best answers of a beam search, or the one of any other decoding.
    ///
    /// - Parameters:
    ///   - prompt: the ids to go on from.
    ///   - onText: called with each piece of the answer that is sure to stay; never for beams.
    /// - Throws: `InferenceError`, `ModelFailure.unsupported`, or `CancellationError`.
    package func answers(
        _ request: ChatRequest, prompt: [Int32], count: Int, onText: (@Sendable (String) -> Void)? = nil
    ) async throws -> [Answer] {
        let stops: StopSequences
        var parameters = DecodingParameters(
            decoding: request.decoding, prompt: prompt, maxTokens: request.maxTokens, endTokens: format.endTokens)
        parameters.topLogprobs = request.topLogprobs ?? 0
        parameters.constraints.repetitionPenalty = request.repetitionPenalty ?? 1
        parameters.seed = LocalChatModel.seed(of: request, prompt: prompt)
        do {
            stops = try StopSequences(request.stop)
        } catch {
            throw ModelFailure.unsupported("\(error)")
        }
        if !request.stop.isEmpty { parameters.endsInStop = stopFinder(request.stop) }
        let writer = onText.map { TextWriter(format, stops, write: $0) }
        let onToken: (@Sendable (Int32) -> Void)? = writer.map { writer in { @Sendable in writer.append($0) } }
        let generation = try await engine.generate(parameters, onToken: onToken)
        writer?.finish()
        return generation.hypotheses.prefix(count).map {
            Answer(completion: completion($0, generation, stops, request), hypothesis: $0)
        }
    }

    /// One seed a prompt and a draw: the same request draws the same tokens, every other prompt others.
    private static func seed(of request: ChatRequest, prompt: [Int32]) -> UInt64 {
        let parts = [request.seed.map { "\($0)" } ?? "-", "\(request.sample)"] + prompt.map { "\($0)" }
        return UInt64(Digest.sha256(parts.joined(separator: " ")).prefix(16), radix: 16) ?? 0
    }

    /// Looks for a stop string in the bytes of the newest tokens.
    private func stopFinder(_ stops: [String]) -> @Sendable ([Int32]) -> Bool {
        let patterns = stops.map { Array($0.utf8) }
        let longest = patterns.map(\.count).max() ?? 0
        return { [tokenizer = format.tokenizer] tokens in
            // The newest token ends the match: it and at most `longest` bytes before it are enough.
            guard let last = tokens.last else { return false }
            var tail = tokenizer.bytes(of: last)
            let fresh = tail.count
            for token in tokens.dropLast().reversed() where tail.count < longest + fresh {
                tail = tokenizer.bytes(of: token) + tail
            }
            return patterns.contains { pattern in
                tail.count >= pattern.count
                    && (0...tail.count - pattern.count).contains {
                        tail[$0..<$0 + pattern.count].elementsEqual(pattern)
                    }
            }
        }
    }

    private func completion(
        _ hypothesis: Hypothesis, _ generation: Generation, _ stops: StopSequences, _ request: ChatRequest
    ) -> Completion {
        let tokenizer = format.tokenizer
        let answer = hypothesis.ending == .endToken ? hypothesis.tokens.dropLast() : hypothesis.tokens[...]
        let whole = tokenizer.decode(answer, skipSpecialTokens: true)
        var search = stops
        let cut = search.append(whole.utf8).cut
        let text = cut.map { String(decoding: whole.utf8.prefix($0), as: UTF8.self) } ?? whole
        let reason: Completion.FinishReason =
            switch hypothesis.ending {
            case .endToken, .stopSequence: .stop
            case .length: .length
            case nil: generation.ending == .outOfContext ? .outOfContext : .other
            }
        var tokens: [Completion.Token] = []
        if request.topLogprobs != nil {
            for place in answer.indices {
                let top = hypothesis.top.indices.contains(place) ? hypothesis.top[place] : []
                tokens.append(
                    Completion.Token(
                        text: spelling(answer[place]), logprob: hypothesis.logprobs[place],
                        top: top.map { Completion.Alternative(text: spelling($0.token), logprob: $0.logprob) }))
            }
        }
        let raw: JSONValue = [
            "ids": .array(hypothesis.tokens.map { .integer(Int($0)) }), "score": .number(hypothesis.score),
            "shared_tokens": .integer(generation.sharedTokens),
        ]
        return Completion(
            text: text, finishReason: cut != nil ? .stop : reason, tokens: tokens,
            usage: Completion.Usage(inputTokens: generation.promptTokens, outputTokens: hypothesis.tokens.count),
            servedModel: name, raw: raw.text())
    }

    /// What one token adds to a text.
    private func spelling(_ token: Int32) -> String {
        String(decoding: format.tokenizer.bytes(of: token), as: UTF8.self)
    }
}

extension LocalChatModel {
    /// Each token but the first of a text, given those before it, with the `top` most probable ones in its place.
    ///
    /// - Throws: `InferenceError`, or `CancellationError`.
    package func scores(
        of tokens: [Int32], top: Int
    ) async throws -> [(chosen: TokenLogprob, top: [TokenLogprob])] {
        let logprobs = try await engine.logprobs(of: tokens)
        let alternatives = try await self.alternatives(to: tokens, count: top)
        return logprobs.indices.map { place in
            let chosen = TokenLogprob(token: tokens[place + 1], logprob: Double(logprobs[place]))
            guard top > 0 else { return (chosen, []) }
            // One number for one token, whichever of the two sums gave it: readers compare them for equality.
            return (alternatives[place].first { $0.token == chosen.token } ?? chosen, alternatives[place])
        }
    }

    /// The most probable tokens behind every beginning of a text; beginnings share what is computed of them.
    private func alternatives(to tokens: [Int32], count: Int) async throws -> [[TokenLogprob]] {
        guard count > 0, tokens.count > 1 else { return [] }
        @Sendable func next(_ length: Int) async throws -> [TokenLogprob] {
            var parameters = DecodingParameters(
                decoding: .greedy, prompt: Array(tokens[..<length]), maxTokens: 1, endTokens: [])
            parameters.topLogprobs = count
            return try await engine.generate(parameters).hypotheses[0].top[0]
        }
        // The longest first: the others find its pages.
        var alternatives = [[TokenLogprob]](repeating: [], count: tokens.count - 1)
        alternatives[tokens.count - 2] = try await next(tokens.count - 1)
        for start in stride(from: 1, to: tokens.count - 1, by: maxConcurrentRequests) {
            try await withThrowingTaskGroup(of: (Int, [TokenLogprob]).self) { group in
                for length in start..<min(start + maxConcurrentRequests, tokens.count - 1) {
                    group.addTask { (length, try await next(length)) }
                }
                for try await (length, top) in group { alternatives[length - 1] = top }
            }
        }
        return alternatives
    }
}

/// Streams an answer: holds back unfinished characters and what may become a stop string.
private final class TextWriter: @unchecked Sendable {
    // Called on the engine's thread while the request runs, and once afterwards.
    private let format: PromptFormat
    private var decoder: StreamingDecoder
    private var stops: StopSequences
    private var bytes: [UInt8] = []
    private var written = 0
    private let write: @Sendable (String) -> Void

    init(_ format: PromptFormat, _ stops: StopSequences, write: @escaping @Sendable (String) -> Void) {
        self.format = format
        decoder = format.tokenizer.streamingDecoder(skipSpecialTokens: true)
        self.stops = stops
        self.write = write
    }

    func append(_ token: Int32) {
        if format.endTokens.contains(token) { return }
        add(decoder.append(token))
    }

    func finish() {
        add(decoder.finish())
        emit(upTo: stops.progress.cut ?? bytes.count)
    }

    private func add(_ piece: String) {
        bytes += piece.utf8
        let progress = stops.append(piece.utf8)
        emit(upTo: progress.cut ?? progress.safeCount)
    }

    private func emit(upTo end: Int) {
        guard end > written else { return }
        write(String(decoding: bytes[written..<end], as: UTF8.self))
        written = end
    }
}
