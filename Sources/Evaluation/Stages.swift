package import Chat

/// The stages of an evaluation: each turns one record into the next, and can be entered on its own.
package enum Stages {
    /// Asks `model` every prompt.
    ///
    /// - Returns: the outputs in the order of the prompts, and why the others have none.
    /// - Throws: a `ModelFailure` that concerns every request, or `Interrupted`.
    package static func generateOutputs(
        _ prompts: [Prompt], model: any ChatModel, decoding: Decoding, maxTokens: Int, seed: UInt64?,
        repetitionPenalty: Double? = nil, stop: StopFlag, progress: @Sendable (Int) -> Void
    ) async throws -> (outputs: [ModelOutput], failures: [Int: Verdict.Reason]) {
        let results = try await mapConcurrently(
            prompts, width: model.maxConcurrentRequests, stop: stop, progress: progress
        ) { prompt -> Result<ModelOutput, GenerationFailure> in
            let request = ChatRequest(
                messages: [.user(prompt.instruction)], decoding: decoding, maxTokens: maxTokens, seed: seed,
                repetitionPenalty: repetitionPenalty)
            do {
                let completion = try await model.complete(request)
                if completion.finishReason == .refused, completion.text.isEmpty {
                    return .failure(GenerationFailure(reason: .refused("the model declined to answer")))
                }
                return .success(ModelOutput(prompt: prompt, output: completion.text, generator: model.name))
            } catch ModelFailure.requestFailed(let reason) {
                return .failure(GenerationFailure(reason: .failed(reason)))
            }
        }
        var outputs: [ModelOutput] = []
        var failures: [Int: Verdict.Reason] = [:]
        for (prompt, result) in zip(prompts, results) {
            switch result {
            case .success(let output): outputs.append(output)
            case .failure(let failure): failures[prompt.index] = failure.reason
            }
        }
        return (outputs, failures)
    }

    private struct GenerationFailure: Error { var reason: Verdict.Reason }

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
            prompt.dataset = prompt.dataset ?? row.dataset
            let reference = ModelOutput(prompt: prompt, output: row.baselineOutput, generator: row.baselineGenerator)
            let output = ModelOutput(prompt: prompt, output: row.modelOutput, generator: row.modelGenerator)
            var verdict = row.verdict
            if let outputs, outputs[prompt]?.output != row.modelOutput {
                verdict = .missing(.failed("the published annotation judged another output of the model"))
            } else if let baseline, baseline[prompt]?.output != row.baselineOutput {
                verdict = .missing(.failed("the published annotation judged another output of the baseline"))
            } else {
                agreeing += 1
            }
            var annotation = Annotation(
                prompt: prompt, baseline: reference, output: output, judge: row.annotator, verdict: verdict)
            annotation.judgeModel = row.judgeModel
            annotation.publishedReply = row.reply
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
