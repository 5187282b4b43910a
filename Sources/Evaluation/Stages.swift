package import Chat

/// The stages of an evaluation: each turns one record into the next, and can be entered on its own.
package enum Stages {
    /// Asks `model` every turn of every prompt, each with what was said before.
    ///
    /// - Parameter decoding: of a prompt.
    /// - Returns: the outputs in the order of the prompts, and by index why the others have none: a prompt of which one
    ///   turn failed has no output.
    /// - Throws: a `ModelFailure` that concerns every request, or `Interrupted`.
    package static func generateOutputs(
        _ prompts: [Prompt], model: any ChatModel, name: String, maxTokens: Int, seed: UInt64?,
        repetitionPenalty: Double? = nil, stop: StopFlag, progress: @Sendable (Int) -> Void,
        decoding: @escaping @Sendable (Prompt) -> Decoding
    ) async throws -> (outputs: [ModelOutput], failures: [Int: Verdict.Reason]) {
        let results = try await mapConcurrently(
            prompts, width: model.maxConcurrentRequests, stop: stop, progress: progress
        ) { prompt -> (output: ModelOutput?, failure: Verdict.Reason?) in
            var messages: [Message] = []
            var turns: [String] = []
            for turn in prompt.turns {
                messages.append(.user(turn))
                let request = ChatRequest(
                    messages: messages, decoding: decoding(prompt), maxTokens: maxTokens, seed: seed,
                    repetitionPenalty: repetitionPenalty)
                do {
                    let completion = try await model.complete(request)
                    if completion.finishReason == .refused, completion.text.isEmpty {
                        return (nil, .refused("the model declined to answer"))
                    }
                    turns.append(completion.text)
                    messages.append(Message(role: .assistant, content: completion.text))
                } catch ModelFailure.requestFailed(let reason) {
                    return (nil, .failed(reason))
                }
            }
            return (ModelOutput(prompt: prompt, turns: turns, generator: name), nil)
        }
        var failures: [Int: Verdict.Reason] = [:]
        for (prompt, result) in zip(prompts, results) { failures[prompt.index] = result.failure }
        return (results.compactMap(\.output), failures)
    }

    /// The pairs to be judged, in the order of the prompts; a prompt without an output has none.
    package static func pairs(_ prompts: [Prompt], baseline: ModelOutputs, outputs: ModelOutputs) -> [OutputPair] {
        prompts.compactMap { prompt in
            guard let reference = baseline[prompt], let output = outputs[prompt] else { return nil }
            return OutputPair(prompt: prompt, baseline: reference, output: output)
        }
    }

    /// Judges every pair.
    ///
    /// - Throws: a `ModelFailure` that concerns every request, or `Interrupted`.
    package static func annotate(
        _ pairs: [OutputPair], judge: Judge, stop: StopFlag, progress: @Sendable (Int) -> Void
    ) async throws -> [Annotation] {
        try await mapConcurrently(
            pairs, width: judge.model.maxConcurrentRequests, stop: stop, progress: progress, judge.annotate)
    }

    /// Replays published annotations on `outputs`, in the order of the published file.
    ///
    /// A row that judged another text than `outputs` and `baseline` hold is missing: its verdict is about something
    /// else.
    ///
    /// - Throws: `badData` where a row's instruction is no prompt of the set, or no row judged these outputs.
    package static func replay(
        _ published: PublishedAnnotations, path: String, prompts: PromptSet, selected: Set<Int>,
        baseline: ModelOutputs?,
        outputs: ModelOutputs?
    ) throws(EvaluationError) -> [Annotation] {
        var annotations: [Annotation] = []
        var agreeing = 0
        for (index, row) in published.rows.enumerated() {
            guard let place = prompts.index(of: row.instruction) else {
                throw .badData(
                    "\(path), record \(index): its instruction is none of the \(prompts.prompts.count) prompts. "
                        + "The annotations "
                        + "belong to another prompt set: name that one with --prompts.")
            }
            guard selected.contains(place) else { continue }
            var prompt = prompts.prompts[place]
            prompt.category = prompt.category ?? row.dataset
            var annotation = Annotation(row, prompt)
            if let outputs, outputs[prompt]?.output != row.modelOutput {
                annotation.verdict = .missing(.failed("the published annotation judged another output of the model"))
            } else if let baseline, baseline[prompt]?.output != row.baselineOutput {
                annotation.verdict = .missing(.failed("the published annotation judged another output of the baseline"))
            } else {
                agreeing += 1
            }
            annotations.append(annotation)
        }
        if agreeing == 0 {
            throw .badData(
                "\(path) judged none of these outputs (\(published.rows.count) annotations). Name the annotations "
                    + "of this very file.")
        }
        return annotations
    }
}
