package import Chat

/// A chat model with a template and a parser.
package struct Judge: Sendable {
    package let definition: JudgeDefinition
    package let template: PromptTemplate
    package let model: any ChatModel
    /// Whether the definition's own model answers, rather than one named on the command line.
    package let isOwnModel: Bool
    /// How often a reply without a verdict is asked for again.
    package let retries: Int

    package init(
        definition: JudgeDefinition, template: PromptTemplate, model: any ChatModel, isOwnModel: Bool, retries: Int = 0
    ) {
        self.definition = definition
        self.template = template
        self.model = model
        self.isOwnModel = isOwnModel
        self.retries = retries
    }

    /// What every score calls it: another model than the definition's own is named with it.
    package var label: String { isOwnModel ? definition.id : "\(definition.id)/\(model.name)" }

    /// Judges one pair; a pair of equal outputs is a tie without a call, as upstream decides it.
    ///
    /// - Throws: a `ModelFailure` that concerns every request (quota, credentials, spend limit, no recording), or
    ///   `CancellationError`. A request that merely failed becomes a missing verdict.
    package func annotate(_ pair: OutputPair) async throws -> Annotation {
        var annotation = Annotation(
            prompt: pair.prompt, baseline: pair.baseline, output: pair.output, judge: definition.id,
            verdict: .preference(0.5, weight: 1))
        annotation.judgeModel = model.fingerprint
        if pair.baseline.output == pair.output.output { return annotation }
        var preferences: [Double] = []
        var missing: Verdict.Reason?
        for order in definition.order.orders(instruction: pair.prompt.instruction) {
            let (completion, verdict) = try await play(pair, order)
            annotation.games.append(
                Annotation.Game(order: order, completion: completion, preference: verdict.preference))
            switch verdict {
            case .preference(let preference, _): preferences.append(preference)
            case .missing(let reason): missing = missing ?? reason
            case .rating: preconditionFailure("a pairwise judge gives no ratings")
            }
        }
        annotation.cost = cost(of: annotation.games)
        if let missing {
            annotation.verdict = .missing(missing)
        } else {
            // As the file keeps it, from 1 to 2: scoring the file again must give the same bits.
            let kept = 1 + preferences.reduce(0, +) / Double(preferences.count)
            annotation.verdict = .preference(kept - 1, weight: 1)
        }
        return annotation
    }

    /// The requests that judging `pair` takes, for estimates.
    package func requests(_ pair: OutputPair) -> [ChatRequest] {
        if pair.baseline.output == pair.output.output { return [] }
        return definition.order.orders(instruction: pair.prompt.instruction).map { request(pair, $0) }
    }

    package var fingerprint: String {
        Digest.sha256(
            "\(definition.id)\n\(template.sha256)\n\(definition.order)\n\(definition.parser)\n\(definition.decoding.json.text())\n"
                + "\(definition.maxTokens)\n\(definition.topLogprobs ?? 0)\n\(model.fingerprint)")
    }

    /// One game: the first reply that holds a verdict counts; each further draw is a request of its own in the evidence.
    private func play(_ pair: OutputPair, _ order: PresentationOrder) async throws -> (Completion?, Verdict) {
        var request = request(pair, order)
        var (completion, verdict) = try await answer(request, order)
        while request.sample < retries, case .missing(let reason) = verdict, reason.isReply {
            request.sample += 1
            (completion, verdict) = try await answer(request, order)
        }
        return (completion, verdict)
    }

    private func answer(_ request: ChatRequest, _ order: PresentationOrder) async throws -> (Completion?, Verdict) {
        var completion: Completion
        do {
            completion = try await model.complete(request)
        } catch ModelFailure.requestFailed(let reason) {
            return (nil, .missing(.failed(reason)))
        }
        completion.raw = ""  // the evidence keeps it; thousands of annotations need not
        if completion.finishReason == .refused {
            return (completion, .missing(.refused("the judge declined to answer")))
        }
        switch definition.parser.parse(completion) {
        case .preferenceForFirst(let preference):
            return (completion, .preference(order.preferenceForModel(preference), weight: 1))
        case .unparsable(let reason): return (completion, .missing(.unparsable(reason)))
        }
    }

    private func request(_ pair: OutputPair, _ order: PresentationOrder) -> ChatRequest {
        let (first, second) =
            switch order {
            case .baselineFirst: (pair.baseline.output, pair.output.output)
            case .modelFirst: (pair.output.output, pair.baseline.output)
            }
        return definition.request(
            template.messages(instruction: pair.prompt.instruction, first: first, second: second))
    }

    private func cost(of games: [Annotation.Game]) -> Double? {
        guard let prices = definition.prices else { return nil }
        return games.compactMap { $0.completion?.usage.map(prices.cost) }.reduce(0, +)
    }
}

/// What a judge compares.
package struct OutputPair: Hashable, Sendable {
    package var prompt: Prompt
    package var baseline: ModelOutput
    package var output: ModelOutput

    package init(prompt: Prompt, baseline: ModelOutput, output: ModelOutput) {
        self.prompt = prompt
        self.baseline = baseline
        self.output = output
    }
}
