import Chat
import Evaluation
import Testing

/// MT-Bench at equal style, and what its files may not say.
@Suite struct MTBenchStyleTests {
    private static func styles(_ models: [String], prompts: Int, _ turns: (Int, Int) -> [Int]) throws -> MTBenchStyles {
        var styles = MTBenchStyles(features: .length)
        for (place, model) in models.enumerated() {
            let lines = (0..<prompts).map { prompt in
                let texts = turns(place, prompt).map { #""\#(String(repeating: "x", count: $0))""# }
                return #"{"question_id": \#(prompt), "choices": [{"turns": [\#(texts.joined(separator: ", "))]}]}"#
            }
            try styles.add(Array(lines.joined(separator: "\n").utf8), path: "\(model).jsonl")
        }
        return styles
    }

    @Test func `Prompts of three turns keep each turn to itself`() throws {
        let models = ["a", "b", "c"]
        let styles = try Self.styles(models, prompts: 12) { place, prompt in
            (1...3).map { 1 + (7 * place + 5 * prompt + 3 * $0 * place) % 13 }
        }
        var annotations: [MTBenchAnnotation] = []
        for (place, model) in models.enumerated() {
            for (prompt, turn) in (0..<12).flatMap({ prompt in (1...3).map { (prompt, $0) } }) {
                // As hard as the prompt and the turn are; the third model was not rated for some.
                let hardness = Double((prompt * prompt + 3 * turn) % 8)
                let isRated = place < 2 || prompt % 3 != turn % 3
                annotations.append(
                    MTBenchAnnotation(
                        prompt: "\(prompt)", model: model, turn: turn,
                        rating: isRated ? Double(place) / 2 + hardness : nil))
            }
        }
        var score = MTBenchScore(annotations, resamples: 0)
        try score.control(styles, annotations, resamples: 0)
        let values = try models.map { model in
            try #require(score.entries.first { $0.model == model }?.styleControlled?.value)
        }
        #expect(abs(values[1] - values[0] - 0.5) < 1e-6)
        #expect(abs(values[2] - values[0] - 1) < 1e-6)
        #expect(score.effects.count == 1)
    }

    @Test func `Models that only their length tells apart have no rating at equal length`() throws {
        let models = ["a", "b"]
        let styles = try Self.styles(models, prompts: 10) { place, _ in [place == 0 ? 10 : 100] }
        let annotations = models.flatMap { model in
            (0..<10).map { MTBenchAnnotation(prompt: "\($0)", model: model, turn: 1, rating: Double($0 % 4 + 3)) }
        }
        var score = MTBenchScore(annotations, resamples: 0)
        try score.control(styles, annotations, resamples: 100)
        #expect(score.entries.count == 2)
        #expect(score.entries.allSatisfy { $0.styleControlled == nil })
        #expect(score.features == .length && score.effects.isEmpty)
        #expect(throws: EvaluationError.self) {
            var alone = MTBenchScore(annotations.filter { $0.model == "a" }, resamples: 0)
            try alone.control(styles, annotations.filter { $0.model == "a" })
        }
    }

    @Test func `A pair without a verdict is missing once, though it is of two models`() {
        let pairs = [("a", "b"), ("a", "c"), ("b", "c")].flatMap { first, second in
            (0..<4).map { prompt in
                MTBenchPair(
                    prompt: "\(prompt)", turn: 1, first: first, second: second,
                    games: [.first, prompt == 0 ? .error : .first])
            }
        }
        let all = MTBenchPairScore(pairs, baseline: nil, resamples: 0)
        #expect(all.missing == 3 && all.records == 9)
        let one = MTBenchPairScore(pairs, baseline: "a", resamples: 0)
        #expect(one.missing == 2 && one.records == 6)
    }

    @Test(arguments: [0, -1, Int.min]) func `A turn below 1 is refused with its place`(_ turn: Int) {
        let grade = #"{"question_id": 81, "model": "m", "judge": ["j", "p"], "score": 9, "turn": \#(turn)}"#
        let pair =
            #"{"question_id": 81, "model_1": "a", "model_2": "b", "g1_winner": "tie", "g2_winner": "tie", "turn": \#(turn)}"#
        for error in [
            #expect(throws: EvaluationError.self) { try MTBenchAnnotation.read(Array(grade.utf8), path: "j.jsonl") },
            #expect(throws: EvaluationError.self) { try MTBenchPair.read(Array(pair.utf8), path: "j.jsonl") },
        ] {
            #expect(error?.description.contains("j.jsonl, record 1") == true, "\(String(describing: error))")
        }
    }
}
