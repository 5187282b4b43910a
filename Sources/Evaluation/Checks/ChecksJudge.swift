internal import Chat

/// The judge that asks nobody: of two outputs it prefers the one that meets more of the prompt's checks.
package struct ChecksJudge: Hashable, Sendable {
    package var id: String
    package var title: String

    /// What a check gives is part of every score: a change of their arithmetic changes this.
    package var fingerprint: String { "checks:1" }

    /// The preference is 1, 0, or 0.5 where both are as good; the qualities stand where a reply would.
    package func annotate(_ pair: OutputPair) -> Annotation {
        guard let checks = pair.prompt.checks else { preconditionFailure("prompt \(pair.prompt.index) has no checks") }
        let qualities = [pair.baseline, pair.output].map { checks.quality($0.output) }
        let preference = qualities[1] == qualities[0] ? 0.5 : qualities[1] > qualities[0] ? 1 : 0
        var annotation = Annotation(
            prompt: pair.prompt, baseline: pair.baseline, output: pair.output, judge: id,
            verdict: .preference(preference, weight: 1))
        annotation.judgeModel = fingerprint
        annotation.publishedReply = ["quality_1": .number(qualities[0]), "quality_2": .number(qualities[1])]
        return annotation
    }

    /// - Throws: `configuration` where a prompt has no checks.
    package func checked(_ prompts: [Prompt], path: String) throws(EvaluationError) {
        let bare = prompts.filter { $0.checks == nil }
        guard let first = bare.first else { return }
        throw .configuration(
            "The judge \(id) needs prompts with checks, and \(bare.count) of the \(prompts.count) in \(path) have none, "
                + "prompt \(first.index) for instance. Write \"checks\" into its record, or name another judge.")
    }
}

extension ChecksJudge {
    /// MT-Bench's scale: 1 where nothing is met, 10 where everything is.
    ///
    /// - Parameter turn: from 0.
    package func grade(_ answer: Answer, of name: String, turn: Int) -> MTBenchJudge.Row {
        let quality = answer.question.checks[turn].quality(answer.turns[turn])
        return MTBenchJudge.Row(
            question: answer.question, model: name, turn: turn, promptName: id, userPrompt: "",
            judgment: "quality \(quality)", verdict: .rating(1 + 9 * quality))
    }

    /// Arena-Hard's labels of both games; the order of the answers changes nothing.
    package func judge(
        _ answer: Answer, of name: String, baseline: Answer, of baselineName: String
    ) -> ArenaJudge.Row {
        let checks = answer.question.checks[0]
        let (own, other) = (checks.quality(answer.turns[0]), checks.quality(baseline.turns[0]))
        let labels = own == other ? ["A=B", "A=B"] : own > other ? ["B>A", "A>B"] : ["A>B", "B>A"]
        return ArenaJudge.Row(
            question: answer.question, model: name, baseline: baselineName,
            games: labels.map { label in
                ArenaJudge.Game(userPrompt: "", judgment: "quality \(own) and \(other)", label: label)
            })
    }
}
