import Chat
import Evaluation
import Evidence

extension Pipeline {
    /// What would be asked, without asking: exactly where the outputs are there, at the most where they are yet to be made.
    func estimate(model: String) async throws -> Estimate {
        var estimate = Estimate()
        var isMade = true
        for (text, role) in [(model, ModelRole.candidate)]
            + [options.baseline].compactMap({ $0.map { ($0, .baseline) } })
        {
            guard let part = try generation(by: text, role) else { continue }
            isMade = false
            estimate.parts.append(part)
        }
        if let part = try await judgment(of: model, isMade: isMade) { estimate.parts.append(part) }
        return estimate
    }

    /// The calls that make a model's outputs, of which later turns hold the earlier ones; nil for outputs that are there.
    func generation(by text: String, _ role: ModelRole) throws -> Estimate.Part? {
        let source = try ModelSource(text)
        switch source {
        case .outputs, .annotations, .replay: return nil
        case .local, .openAI, .anthropic, .openAICompatible, .exec: break
        }
        let most = options.decoding.maxTokens ?? benchmark.maxTokens
        let counter = try PromptCounter(source, home: home)
        let calls = selected.reduce(0) { $0 + $1.turns.count }
        var part = Estimate.Part(
            role: .generation, name: try ownName(of: text), calls: calls, isExact: true,
            outputTokensAtMost: calls * most,
            prices: try options.asking.priceFile()[source.fingerprint])
        if case .local = source { part.isLocal = true }
        part.inputBytes = selected.reduce(0) { sum, prompt in
            prompt.turns.indices.reduce(sum) { $0 + prompt.turns[...$1].reduce($1 * most) { $0 + $1.utf8.count } }
        }
        part.tokenizer = counter?.name
        part.inputTokens = counter.map { counter in
            selected.reduce(0) { sum, prompt in
                prompt.turns.indices.reduce(sum) { sum, turn in
                    sum + turn * most + counter.count(prompt.turns[...turn].map { .user($0) })
                }
            }
        }
        return part
    }

    private func judgment(of model: String, isMade: Bool) async throws -> Estimate.Part? {
        guard case .judge(let judge, _) = try await judging().source else { return nil }
        let definition = judge.definition
        var part = Estimate.Part(
            role: .judge, name: judge.label, calls: 0, isExact: isMade, outputTokensAtMost: 0,
            prices: definition.prices,
            requestsPerMinute: definition.limits.requestsPerMinute, tokensPerMinute: definition.limits.tokensPerMinute)
        let source = try options.asking.judgeModel.map { try ModelSource($0) } ?? definition.model
        let games = definition.order.orders(instruction: "").count
        let canary = games * (options.canary.map { Int((Double(selected.count) * $0).rounded(.up)) } ?? 0)
        guard isMade else {
            part.calls = games * selected.count + canary
            part.outputTokensAtMost = part.calls * definition.maxTokens
            // What the requests hold without the outputs, and these at their longest.
            if options.baseline == nil, let reference = try? await baseline() {
                let empty = selected.compactMap { prompt in
                    reference[prompt].map {
                        OutputPair(
                            prompt: prompt, baseline: $0,
                            output: ModelOutput(prompt: prompt, output: "", generator: ""))
                    }
                }
                let bytes = empty.flatMap(judge.requests).flatMap(\.messages).reduce(0) { $0 + $1.content.utf8.count }
                part.inputBytes = bytes + part.calls * (options.decoding.maxTokens ?? benchmark.maxTokens)
            }
            if case .local? = source { part.isLocal = true }
            return part
        }
        let (outputs, _) = try await outputs(of: model, name: options.name, role: .candidate)
        let pairs = Stages.pairs(selected, baseline: try await baseline(), outputs: outputs)
        let store = try openStore()
        if case .local? = source { part.isLocal = true }
        let counter = try source.flatMap { try PromptCounter($0, home: home) }
        var (bytes, tokens) = (0, 0)
        for request in pairs.flatMap(judge.requests) {
            if try await store.completion(forKey: request.key(modelFingerprint: judge.model.fingerprint)) != nil {
                part.recorded += 1
                continue
            }
            part.calls += 1
            bytes += request.messages.reduce(0) { $0 + $1.content.utf8.count }
            tokens += counter?.count(request.messages) ?? 0
        }
        // The canary's are about as long as the others.
        let share = part.calls > 0 ? Double(part.calls + canary) / Double(part.calls) : 1
        part.calls += canary
        part.inputBytes = Int(Double(bytes) * share)
        part.tokenizer = counter?.name
        part.inputTokens = counter.map { _ in Int(Double(tokens) * share) }
        part.outputTokensAtMost = part.calls * definition.maxTokens
        return part
    }
}
