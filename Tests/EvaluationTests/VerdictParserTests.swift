import Chat
import Evaluation
import Testing

@Suite struct VerdictParserTests {
    private static func reply(_ text: String, top: [(String, Double)] = []) -> Completion {
        let tokens =
            top.isEmpty
            ? []
            : [
                Completion.Token(text: text, logprob: 0, top: top.map { .init(text: $0.0, logprob: $0.1) })
            ]
        return Completion(text: text, finishReason: .length, tokens: tokens, raw: "")
    }

    private static let weighted = VerdictParser.tokenLogprobs(first: "m", second: "M", place: .first, binarize: false)

    private func preference(_ parser: VerdictParser, _ reply: Completion) -> Double? {
        guard case .preferenceForFirst(let value) = parser.parse(reply) else { return nil }
        return value
    }

    @Test("Log-probabilities weigh the two identifiers against each other; the sampled text counts for nothing")
    func weighted() throws {
        let both = Self.reply("Neither", top: [("m", -0.5), ("M", -1.5), ("The", -3)])
        let value = try #require(preference(Self.weighted, both))
        #expect(abs(value - 0.7310585786300049) < 1e-15)
        #expect(preference(Self.weighted, Self.reply("M", top: [("M", -0.1), ("x", -9)])) == 0)
        #expect(preference(Self.weighted, Self.reply("m", top: [("m", -30)])) == 1)
    }

    @Test("Tokens are compared exactly, and without either identifier there is no verdict")
    func weightedAbsent() {
        #expect(preference(Self.weighted, Self.reply("m", top: [(" m", -0.1), ("M ", -0.2)])) == nil)
        #expect(preference(Self.weighted, Self.reply("m")) == nil)
        #expect(preference(Self.weighted, Self.reply("m", top: [("m", -.infinity), ("M", -2000)])) == nil)
    }

    @Test("Binarized, the likelier identifier wins; equal ones go to the second, as upstream decides")
    func binarized() {
        let parser = VerdictParser.tokenLogprobs(first: "m", second: "M", place: .last, binarize: true)
        #expect(preference(parser, Self.reply("m", top: [("m", -0.2), ("M", -2)])) == 1)
        #expect(preference(parser, Self.reply("m", top: [("m", -1), ("M", -1)])) == 0)
    }

    private static let label = VerdictParser.label(first: "[[A]]", second: "[[B]]", tie: "[[C]]")

    @Test(
        "A label is a verdict only when it is the judge's own, and the only one",
        arguments: [
            ("A is better.\n[[A]]", 1.0), ("[[B]]", 0.0), ("[[A]] yes, [[A]]", 1.0), ("so: [[C]]", 0.5),
            ("[[A]] or [[B]]?", nil), ("", nil), ("[[a]]", nil), ("[A]", nil), ("［［Ａ］］", nil),
            ("Answer B claims \"[[B]]\".\n[[A]]", 1.0), ("> [[B]]\n[[A]]", 1.0), ("```\n[[B]]\n```\n[[A]]", 1.0),
            ("```\n[[A]]\n```", nil), ("> [[A]]", nil), ("Answer A says \"[[A]]\" itself.", nil),
            ("B says: \"First\n[[A]]\nlast\". I cannot decide.", nil), ("B says “[[A]]”.", nil),
            ("A says `[[A]]`.\n[[B]]", 0.0),
            ("It is 5\" wide.\n[[B]]", 0.0), ("\"\"\"\n[[A]]\n\"\"\"\n[[B]]", 0.0),
        ] as [(String, Double?)])
    func labels(text: String, expected: Double?) {
        #expect(preference(Self.label, Self.reply(text)) == expected)
    }

    @Test(
        "A ranking is read as JSON or as a Python literal, and only when it ranks the two models 1 and 2",
        arguments: [
            (#"[{"model": "A", "rank": 1}, {"model": "B", "rank": 2}]"#, 1.0),
            ("[{'model': 'B', 'rank': 1}, {'model': 'A', 'rank': 2}]", 0.0),
            ("```python\n[{'model': 'A', 'rank': 1}, {'model': 'B', 'rank': 2}]\n```", 1.0),
            (#"{"ordered_models": [{"model": "B", "rank": 2}, {"model": "A", "rank": 1}]}"#, 1.0),
            ("[{'model': 'it\\'s', 'rank': 1}, {'model': 'A', 'rank': 2}]", nil),
            ("[{'model': 'A', 'rank': 1}, {'model': 'B', 'rank': 1}]", nil),
            ("[{'model': 'A', 'rank': 1}, {'model': 'A', 'rank': 2}]", nil),
            ("[{'model': 'A', 'rank': 1}]", nil), ("A is better", nil), ("__import__('os')", nil),
        ] as [(String, Double?)])
    func rankings(text: String, expected: Double?) {
        #expect(preference(.ranking(first: "A", second: "B"), Self.reply(text)) == expected)
    }

    @Test(
        "A JSON field is read once: a duplicate key is no verdict",
        arguments: [
            (#"{"reason": "x", "better": "A"}"#, 1.0), ("```json\n{\"better\": \"B\"}\n```", 0.0),
            (#"{"better": "tie"}"#, 0.5), (#"{"better": "A", "better": "B"}"#, nil), (#"{"better": "a"}"#, nil),
            (#"{"better": 1}"#, nil), (#"{"worse": "A"}"#, nil), (#"I say {"better": "A"}"#, nil), ("null", nil),
        ] as [(String, Double?)])
    func fields(text: String, expected: Double?) {
        let parser = VerdictParser.jsonField(name: "better", first: "A", second: "B", tie: "tie")
        #expect(preference(parser, Self.reply(text)) == expected)
    }
}
