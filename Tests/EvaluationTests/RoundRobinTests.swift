import Chat
import Evaluation
import Testing

@Suite struct RoundRobinTests {
    private let prompt = Prompt(index: 3, instruction: "q")

    private func round(_ outputs: String...) -> RoundRobin { RoundRobin(prompt: prompt, outputs: outputs) }

    /// Annotations of a judge that prefers the later output by `preference` of the two texts.
    private func annotations(
        _ round: RoundRobin, _ preference: (_ first: String, _ second: String) -> Double?
    ) -> [Annotation] {
        round.pairs.map { pair in
            let verdict: Verdict =
                preference(pair.baseline.output, pair.output.output).map { .preference($0, weight: 1) }
                ?? .missing(.unparsable("nothing"))
            return Annotation(
                prompt: pair.prompt, baseline: pair.baseline, output: pair.output, judge: "j", verdict: verdict)
        }
    }

    @Test func `Every two different texts meet once`() {
        let pairs = round("a", "b", "a", "c").pairs
        #expect(pairs.map { $0.baseline.output + $0.output.output } == ["ab", "ac", "bc"])
        #expect(pairs.allSatisfy { $0.prompt == prompt && $0.baseline.prompt == prompt && $0.output.prompt == prompt })
        // Two spellings of one letter are two texts, as they are two rows of tokens.
        #expect(round("\u{E9}", "e\u{301}").pairs.count == 1)
    }

    @Test func `A score is the mean preference over the others, and equal texts share it`() {
        let round = round("a", "b", "a", "c")
        let preferences = ["ab": 0.25, "ac": 1, "bc": 0.75]
        let scores = round.scores(annotations(round) { preferences[$0 + $1] })
        #expect(scores == [0.375, 0.25, 0.375, 0.875])
    }

    @Test func `One text has nobody to meet`() {
        #expect(round("a", "a").scores([]) == [0.5, 0.5])
        #expect(round().scores([]) == [])
    }

    @Test func `Without one of the verdicts there is no score at all`() {
        let round = round("a", "b", "c")
        #expect(round.scores(annotations(round) { $0 + $1 == "bc" ? nil : 1 }) == nil)
    }
}
