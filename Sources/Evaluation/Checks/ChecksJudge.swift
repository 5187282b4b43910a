internal import Chat

/// The judge that asks nobody: of two outputs it prefers the one that meets more of the prompt's checks.
package struct ChecksJudge: Hashable, Sendable {
    package var id: String
    package var title: String

    /// What a check gives is part of every score: a change of their arithmetic changes this.
    package var fingerprint: String { "checks:1" }

    /// The preference is 1, 0, or 0.5 where both are as good; the qualities stand where a reply would.
    package func annotate(_ pair: OutputPair) -> Annotation {
        guard let checks = pair.prompt.checks.first else {
            preconditionFailure("prompt \(pair.prompt.index) has no checks")
        }
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
        let bare = prompts.filter(\.checks.isEmpty)
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
    package func rate(_ output: ModelOutput, turn: Int) -> MTBenchJudge.Rating {
        let quality = quality(output, turn)
        return MTBenchJudge.Rating(
            prompt: output.prompt, model: output.generator, turn: turn, promptName: id, userPrompt: "",
            judgment: "quality \(quality)", verdict: .rating(1 + 9 * quality))
    }

    /// MT-Bench's two games; the order of the outputs changes nothing.
    package func compare(_ first: ModelOutput, _ second: ModelOutput, turn: Int) -> MTBenchJudge.Comparison {
        let (one, other) = (quality(first, turn), quality(second, turn))
        let winner: MTBenchPair.Winner = one == other ? .tie : one > other ? .first : .second
        let game = MTBenchJudge.Game(userPrompt: "", judgment: "quality \(one) and \(other)", winner: winner)
        return MTBenchJudge.Comparison(
            prompt: first.prompt, first: first.generator, second: second.generator, turn: turn, promptName: id,
            games: [game, game])
    }

    /// Arena-Hard's labels of both games; the order of the outputs changes nothing.
    package func judge(_ pair: OutputPair) -> ArenaJudge.Record {
        let (own, other) = (quality(pair.output, 0), quality(pair.baseline, 0))
        let labels = own == other ? ["A=B", "A=B"] : own > other ? ["B>A", "A>B"] : ["A>B", "B>A"]
        return ArenaJudge.Record(
            pair: pair,
            games: labels.map { ArenaJudge.Game(messages: [], judgment: "quality \(own) and \(other)", label: $0) })
    }

    private func quality(_ output: ModelOutput, _ turn: Int) -> Double {
        output.prompt.checks[turn].quality(output.turns[turn])
    }
}
