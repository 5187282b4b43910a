internal import Chat
internal import Glibc
internal import Synchronization

/// One request on its way to the model and back.
struct Generating: Sendable {
    enum Interface { case chat, text }

    let call: GenerationCall
    let interface: Interface
    let model: ServedModel
    private let id: String
    private let created: Int

    init(call: GenerationCall, interface: Interface, model: ServedModel) {
        self.call = call
        self.interface = interface
        self.model = model
        id = (interface == .chat ? "chatcmpl-" : "cmpl-") + String(UInt64.random(in: 0 ... .max), radix: 16)
        created = time(nil)
    }

    /// - Throws: `ServingError`, `CancellationError`, or what the model throws.
    func run(to reply: HTTPReply) async throws {
        for prompt in call.prompts { try require(prompt.ids) }
        let stream: @Sendable (JSONValue) -> Void = { reply.stream(chunk([$0])) }
        let writers = (0..<call.prompts.count * call.count).map { index in
            ChoiceWriter(
                index: index, interface: interface, logsTokens: call.request.topLogprobs != nil,
                send: call.isStreamed ? stream : nil)
        }
        let echoes = try await concurrently(call.prompts, echo)
        let used = try await concurrently(jobs) { job in
            for choice in job.choices { if let echo = echoes[job.prompt] { writers[choice].write(echo: echo) } }
            return try await generate(job, writers)
        }
        let usage = usage(completionTokens: used.reduce(0, +))
        if call.isStreamed {
            if call.includesUsage { reply.stream(chunk([], usage: usage)) }
            reply.finishStream(isWhole: true)
        } else {
            reply.send(200, body("", writers.map(\.choice), usage: usage))
        }
    }

    private func require(_ ids: [Int32]) throws(ServingError) {
        let field = interface == .chat ? "messages" : "prompt"
        if ids.isEmpty { throw .invalid(field: field, reason: "there is no token in it to go on from") }
        if ids.count > model.contextLength {
            throw .contextLengthExceeded(field: field, limit: model.contextLength, found: ids.count)
        }
    }

    // MARK: Asking the model

    /// What one call of the model makes: one choice, or all of a beam search.
    private struct Job {
        var prompt: Int
        var choices: Range<Int>
    }

    private var jobs: [Job] {
        let width = if case .beam = call.request.decoding { call.count } else { 1 }
        return call.prompts.indices.flatMap { prompt in
            stride(from: prompt * call.count, to: (prompt + 1) * call.count, by: width).map {
                Job(prompt: prompt, choices: $0..<$0 + width)
            }
        }
    }

    /// The prompt as the beginning of its answers; nil where none was asked for.
    private func echo(_ prompt: GenerationCall.Prompt) async throws -> ServedModel.Piece? {
        guard call.echoes else { return nil }
        let text = prompt.text ?? String(decoding: prompt.ids.flatMap(model.bytes), as: UTF8.self)
        guard let top = call.request.topLogprobs else { return ServedModel.Piece(text: text) }
        return ServedModel.Piece(text: text, tokens: try await model.score(prompt.ids, top))
    }

    /// - Returns: how many tokens were generated.
    private func generate(_ job: Job, _ writers: [ChoiceWriter]) async throws -> Int {
        let prompt = call.prompts[job.prompt].ids
        var answers = [ServedModel.Answer(text: "", finishReason: .length, tokenCount: 0)]
        if call.request.maxTokens > 0 {
            var request = call.request
            request.sample = job.choices.lowerBound % call.count
            request.maxTokens = min(request.maxTokens, model.contextLength - prompt.count + 1)
            let writer = writers[job.choices.lowerBound]
            let onPiece: ServedModel.OnPiece = { writer.write($0) }
            let isWatched = call.isStreamed && job.choices.count == 1
            answers = try await model.generate(prompt, request, job.choices.count, isWatched ? onPiece : nil)
        }
        guard answers.count >= job.choices.count || call.request.maxTokens == 0 else {
            throw ServingError.failed("The model gave \(answers.count) answers instead of \(job.choices.count).")
        }
        for (place, choice) in job.choices.enumerated() {
            writers[choice].finish(answers[min(place, answers.count - 1)])
        }
        return answers.reduce(0) { $0 + $1.tokenCount }
    }

    /// Transforms all inputs, as many at a time as the model takes; results in the order of the inputs.
    private func concurrently<Input: Sendable, Output: Sendable>(
        _ inputs: [Input], _ transform: @escaping @Sendable (Input) async throws -> Output
    ) async throws -> [Output] {
        try await withThrowingTaskGroup(of: (Int, Output).self) { group in
            var outputs = [Output?](repeating: nil, count: inputs.count)
            for (index, input) in inputs.enumerated() {
                if index >= model.concurrency, let (done, output) = try await group.next() { outputs[done] = output }
                group.addTask { (index, try await transform(input)) }
            }
            for try await (done, output) in group { outputs[done] = output }
            return outputs.map { $0! }
        }
    }

    // MARK: Replies

    private func chunk(_ choices: [JSONValue], usage: JSONValue? = nil) -> JSONValue {
        body(".chunk", choices, usage: usage ?? (call.includesUsage ? .null : nil))
    }

    private func body(_ suffix: String, _ choices: [JSONValue], usage: JSONValue?) -> JSONValue {
        var body: JSONObject = [
            "id": .string(id), "object": interface == .chat ? .string("chat.completion\(suffix)") : "text_completion",
            "created": .integer(created), "model": .string(model.name),
            "system_fingerprint": .string(model.fingerprint), "choices": .array(choices),
        ]
        body["usage"] = usage
        return .object(body)
    }

    private func usage(completionTokens: Int) -> JSONValue {
        let promptTokens = call.prompts.reduce(0) { $0 + $1.ids.count }
        return [
            "prompt_tokens": .integer(promptTokens), "completion_tokens": .integer(completionTokens),
            "total_tokens": .integer(promptTokens + completionTokens),
        ]
    }
}
