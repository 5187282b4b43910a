import Chat
import Foundation
import TestSupport
import Testing

/// Judgments of MT-Bench and Arena-Hard that others made, good and bad.
@Suite struct JudgmentTests {
    private static func game(_ label: String?) -> String {
        label.map { #"{"user_prompt": "p", "judgment": "j", "score": "\#($0)"}"# } ?? #"{"score": null}"#
    }

    private static func record(_ id: String, _ labels: [String?], model: String = "mine") -> String {
        let games = labels.map(game).joined(separator: ", ")
        return #"{"question_id": "\#(id)", "model": "\#(model)", "judge": "j", "games": [\#(games)]}"#
    }

    private func arena(_ records: [String], _ more: String...) async throws -> (Command.Output, JSONValue?) {
        let space = try Workspace()
        try space.folder.write(records.joined(separator: "\n") + "\n", "judge/mine.jsonl")
        let run = try await space.command(
            ["score", "arena-hard", "--judgments", "judge", "--json", "--missing-limit", "0.5"] + more
        ).run()
        return (run, try? JSONValue(parsing: Array(run.standardOutput)))
    }

    private func score(_ document: JSONValue?, _ model: String) -> Double? {
        let entry = document?["entries"]?.array?.first { $0["name"]?.string == model }
        return entry?["metrics"]?["score"]?["value"]?.number
    }

    @Test func `Both games count, strong verdicts three times, and what means nothing is counted apart`() async throws {
        let (run, document) = try await arena([
            Self.record("a", ["B>>A", "A>B"]), Self.record("b", ["A>B", "A=B"]),
            Self.record("c", ["A>>A", nil]), Self.record("d", ["B>A"]),
        ])
        #expect(run.status == 0, "\(run.errorText)")
        // Wins 3 + 1 + 1, losses 1, ties 1 of 7.
        #expect(abs((score(document, "mine") ?? 0) - 100 * 5.5 / 7) < 1e-9)
        #expect(score(document, "gpt-4-0314") == 50)
        #expect(document?["missing"]?["A>>A"]?.integer == 1)
        #expect(document?["missing"]?["no label"]?.integer == 1)
        #expect(document?["missing"]?["missing game"]?.integer == 1)
    }

    @Test func `A model that only wins has 100 percent, an interval below it, and a note`() async throws {
        let (run, document) = try await arena((0..<20).map { Self.record("q\($0)", ["B>A", "A>>B"]) })
        #expect(run.status == 0, "\(run.errorText)")
        #expect(abs((score(document, "mine") ?? 0) - 100) < 1e-6)
        let interval = document?["entries"]?[0]?["metrics"]?["score"]?["ci95"]
        #expect(interval?[0]?.number ?? 100 < 90)
        #expect(document?["notes"]?[0]?.string?.contains("only wins") == true)
    }

    @Test func `Too many missing verdicts are refused, after the table`() async throws {
        let space = try Workspace()
        try space.folder.write(
            [Self.record("a", ["A>B", nil]), Self.record("b", ["A>B", "B>A"])].joined(separator: "\n"), "j.jsonl")
        let run = try await space.run("score", "arena-hard", "--judgments", "j.jsonl")
        #expect(run.status == 3)
        #expect(run.errorText.contains("1 of 4 verdicts are missing"), "\(run.errorText)")
        #expect(String(decoding: run.standardOutput, as: UTF8.self).contains("gpt-4-0314"))
    }

    @Test(arguments: [
        ("not json\n", 65, "not JSON Lines"), (#"{"question_id": "a", "model": "m"}"#, 65, "games"),
        (#"{"model": "m", "games": []}"#, 65, "question_id"),
        (#"{"question_id": "a", "model": "m", "games": []}"#, 65, "nothing to score"),
    ])
    func `Judgments that are none are one sentence`(_ text: String, _ code: Int32, _ words: String) async throws {
        let space = try Workspace()
        try space.folder.write(text, "judge.jsonl")
        let run = try await space.run("score", "arena-hard", "--judgments", "judge.jsonl")
        #expect(run.status == code)
        #expect(run.errorText.contains(words), "\(run.errorText)")
    }

    @Test func `Without judgments, with strange flags or without counts of style it says what to do`() async throws {
        let space = try Workspace()
        let bare = try await space.run("score", "mt-bench")
        #expect(bare.status == 66)
        #expect(bare.errorText.contains("--judgments"), "\(bare.errorText)")
        try space.folder.write(Self.record("a", ["A>B", "B>A"]), "j.jsonl")
        let styled = try await space.run("score", "arena-hard", "--judgments", "j.jsonl", "--style-control")
        #expect(styled.status == 78)
        #expect(styled.errorText.contains("--answers"), "\(styled.errorText)")
        let both = try await space.run(
            "score", "arena-hard", "--judgments", "j.jsonl", "--style-control", "--length-control-only")
        #expect(both.status == 64)
        let heavy = try await space.run(
            "score", "arena-hard", "--judgments", "j.jsonl", "--weight", "9223372036854775807")
        #expect(heavy.status == 64)
        let second = try await space.run("score", "arena-hard-v2", "--judgments", "j.jsonl", "--first-game-only")
        #expect(second.status == 78)
    }

    @Test func `MT-Bench counts what has no rating, and takes each mode`() async throws {
        let space = try Workspace()
        let grades = [(81, 1, 7.0), (81, 2, 9), (82, 1, -1), (82, 2, 8)].map { question, turn, score in
            #"{"question_id": \#(question), "model": "m", "judge": ["j", "single-v1"], "score": \#(score), "turn": \#(turn)}"#
        }
        try space.folder.write(grades.joined(separator: "\n"), "single.jsonl")
        let single = try await space.run(
            "score", "mt-bench", "--judgments", "single.jsonl", "--json", "--missing-limit", "1")
        let document = try JSONValue(parsing: Array(single.standardOutput))
        let metrics = document["entries"]?[0]?["metrics"]
        #expect(metrics?["average"]?["value"]?.number == 8)
        #expect(metrics?["first_turn"]?["value"]?.number == 7)
        #expect(metrics?["average"]?["n_missing"]?.integer == 1)
        try space.folder.write(
            #"{"question_id": 81, "model": "m", "judge": ["j", "x"], "score": 1e20, "turn": 1}"#, "huge.jsonl")
        let huge = try await space.run("score", "mt-bench", "--judgments", "huge.jsonl")
        #expect(huge.status == 65)
        #expect(huge.errorText.contains("record 1 should have"), "\(huge.errorText)")
        let pair = #"{"question_id": 81, "model_1": "a", "model_2": "b", "g1_winner": "model_1", "g2_winner": "tie"}"#
        try space.folder.write(pair, "pair.jsonl")
        let pairs = try await space.run(
            "score", "mt-bench", "--mode", "pairwise-all", "--judgments", "pair.jsonl", "--json")
        let table = try JSONValue(parsing: Array(pairs.standardOutput))
        #expect(table["entries"]?[0]?["ties"]?.integer == 1)
        let stranger = try await space.run(
            "score", "mt-bench", "--mode", "pairwise-baseline", "--judgments", "pair.jsonl")
        #expect(stranger.status == 65)
        #expect(stranger.errorText.contains("--baseline"), "\(stranger.errorText)")
    }

    @Test func `Where there is no judgment of whom was asked for it says of whom there are`() async throws {
        let space = try Workspace()
        try space.folder.write("", "empty.jsonl")
        let grade = #"{"question_id": 81, "model": "m", "judge": ["j", "x"], "score": 7, "turn": 1}"#
        try space.folder.write(grade, "single.jsonl")
        let pair = #"{"question_id": 81, "model_1": "m", "model_2": "b", "g1_winner": "tie", "g2_winner": "tie"}"#
        try space.folder.write(pair, "pair.jsonl")
        for mode in ["single", "pairwise-baseline", "pairwise-all"] {
            let score = ["score", "mt-bench", "--mode", mode, "--judgments"]
            let empty = try await space.command(score + ["empty.jsonl"]).run()
            #expect(empty.status == 65)
            #expect(empty.errorText.contains("no judgment"), "\(empty.errorText)")
            let file = mode == "single" ? "single.jsonl" : "pair.jsonl"
            let stranger = try await space.command(score + [file, "--model-list", "x"]).run()
            #expect(stranger.status == 65)
            #expect(stranger.errorText.contains("there are those of m"), "\(stranger.errorText)")
        }
    }

    @Test func `Arena-Hard 2.0's judgments are against the baseline that they name`() async throws {
        let space = try Workspace()
        func record(_ id: String, _ category: String, _ baseline: String) -> String {
            #"{"uid": "\#(id)", "model": "m", "category": "\#(category)", "judge": "j", "baseline": "\#(baseline)", "#
                + #""games": [{"score": "A>B"}, {"score": "B>A"}]}"#
        }
        let records = [record("a", "hard_prompt", "y"), record("b", "hard_prompt", "y"), record("c", "math", "z")]
        try space.folder.write(records.joined(separator: "\n"), "j.jsonl")
        let score = ["score", "arena-hard-v2", "--judgments", "j.jsonl", "--json"]
        let run = try await space.command(score).run()
        #expect(try JSONValue(parsing: Array(run.standardOutput))["baseline"]?.string == "y", "\(run.errorText)")
        let other = try await space.command(score + ["--baseline", "z"]).run()
        #expect(other.status == 3)
        try space.folder.write(
            (records + [record("d", "hard_prompt", "z")]).joined(separator: "\n"), "j.jsonl")
        let mixed = try await space.command(score).run()
        #expect(mixed.status == 3)
        #expect(mixed.errorText.contains("y and z"), "\(mixed.errorText)")
    }

    @Test func `Whatever the process, the same games at equal style give the same bits`() async throws {
        let space = try Workspace()
        var pairs: [String] = []
        for first in 0..<8 {
            try space.folder.write(
                (0..<10).map {
                    let text = String(repeating: "x", count: 1 + (first * $0 * $0 + 5 * first) % 23)
                    return #"{"question_id": \#($0), "choices": [{"turns": ["\#(text)"]}]}"#
                }.joined(separator: "\n"), "answers/m\(first).jsonl")
            for (second, prompt) in (0..<first).flatMap({ second in (0..<10).map { (second, $0) } }) {
                let winner = ["model_1", "tie", "model_2"][(first + second * prompt) % 3]
                pairs.append(
                    #"{"question_id": \#(prompt), "model_1": "m\#(first)", "model_2": "m\#(second)", "#
                        + #""g1_winner": "\#(winner)", "g2_winner": "\#(winner)"}"#)
            }
        }
        try space.folder.write(pairs.joined(separator: "\n"), "pairs.jsonl")
        var documents: Set<Data> = []
        for _ in 0..<4 {
            let run = try await space.run(
                "score", "mt-bench", "--mode", "pairwise-all", "--judgments", "pairs.jsonl", "--answers", "answers",
                "--length-control-only", "--resamples", "100", "--json")
            #expect(run.status == 0, "\(run.errorText)")
            documents.insert(run.standardOutput)
        }
        #expect(documents.count == 1)
    }

    @Test func `Ratings at equal style come with the features and their effects, or with a note`() async throws {
        let space = try Workspace()
        var grades: [String] = []
        for (place, model) in ["a", "b"].enumerated() {
            for question in 81...90 {
                grades.append(
                    #"{"question_id": \#(question), "model": "\#(model)", "judge": ["j", "x"], "#
                        + #""score": \#(1 + (place + question * question) % 9), "turn": 1}"#)
            }
            for (folder, length) in [("apart", { _ in 10 + 90 * place }), ("mixed", { (place + 2) * $0 % 17 })]
                as [(String, (Int) -> Int)]
            {
                try space.folder.write(
                    (81...90).map {
                        let text = String(repeating: "x", count: length($0))
                        return #"{"question_id": \#($0), "choices": [{"turns": ["\#(text)"]}]}"#
                    }.joined(separator: "\n"), "\(folder)/\(model).jsonl")
            }
        }
        try space.folder.write(grades.joined(separator: "\n"), "j.jsonl")
        func board(_ answers: String) async throws -> JSONValue {
            let run = try await space.run(
                "score", "mt-bench", "--judgments", "j.jsonl", "--answers", answers, "--length-control-only", "--json")
            #expect(run.status == 0, "\(run.errorText)")
            return try JSONValue(parsing: Array(run.standardOutput))
        }
        let mixed = try await board("mixed")
        #expect(mixed["style_effects"]?["length"]?.number != nil)
        #expect(mixed["entries"]?[0]?["metrics"]?["style_controlled_average"]?["value"]?.number != nil)
        let apart = try await board("apart")
        #expect(apart["style_effects"] == ["length": .null])
        #expect(apart["entries"]?[0]?["metrics"]?["style_controlled_average"] == nil)
        #expect(apart["notes"]?[0]?.string?.contains("nothing at equal style") == true)
    }

    private static let official = "\(SharedData.fixtures)/arena/ah_v01_official_two"

    @Test(.enabled(if: SharedData.exists(official)))
    func `A leaderboard of the official verdicts has the published figures`() async throws {
        let space = try Workspace()
        let run = try await space.run(
            "leaderboard", "build", "--benchmark", "arena-hard", "--battles",
            "\(Self.official)/arena_hard_battles.jsonl", "--answers",
            "\(Self.official)/run/data/arena-hard-v0.1/model_answer", "--output", "board.json")
        #expect(run.status == 0, "\(run.errorText)")
        #expect(
            try String(contentsOfFile: space.path("board.csv"), encoding: .utf8) == """
                model,score,rating_q025,rating_q975,CI,avg_tokens
                gpt-4-0314,50.00,50.00,50.00,"(-0.00, +0.00)",423.0
                gpt-4-0613,37.90,35.90,40.04,"(-2.00, +2.14)",354.0
                gpt-3.5-turbo-0125,23.34,21.21,24.70,"(-2.13, +1.36)",329.0

                """)
        #expect(try space.json("board.json")["schema"]?.string == "evalharness.board/1")
    }

    @Test func `What stands in a file never steers the terminal`() async throws {
        let space = try Workspace()
        try space.folder.write(
            [Self.record("a", ["A>B", "B>A"]), Self.record("b", [#"\u001b[2J"#, "A>B"])].joined(separator: "\n"),
            "j.jsonl")
        let run = try await space.run("score", "arena-hard", "--judgments", "j.jsonl", "--missing-limit", "1")
        #expect(run.status == 0, "\(run.errorText)")
        #expect(run.errorText.contains("not scored: 1"), "\(run.errorText)")
        #expect(!run.errorText.contains("\u{1b}"))
    }

    @Test func `Several judges are a panel with their consistency and agreement`() async throws {
        let space = try Workspace()
        let labels = [["A>B", "B>A"], ["B>A", "A>B"], ["A>B", "A>B"]]
        for (judge, flipped) in [("one", false), ("two", true)] {
            let records = labels.enumerated().map { index, labels in
                Self.record("q\(index)", flipped && index == 2 ? ["B>A", "A>B"] : labels).replacing(
                    #""judge": "j""#, with: #""judge": "\#(judge)""#)
            }
            try space.folder.write(records.joined(separator: "\n"), "\(judge)/mine.jsonl")
        }
        let run = try await space.run("score", "arena-hard", "--judgments", "one", "two", "--json")
        let panel = try JSONValue(parsing: Array(run.standardOutput))["panel"]
        #expect(panel?["judges"]?[0]?["position_consistency"]?.number == 2.0 / 3)
        #expect(panel?["judges"]?[1]?["position_consistency"]?.number == 1)
        #expect(panel?["n_shared"]?.integer == 3)
        // Ratings 0, 1, 0.5 and 0, 1, 1: squared distances of 0.5 within records, of 14.5 between all, over 6 ratings.
        #expect(abs((panel?["krippendorff_alpha"]?.number ?? 0) - (1 - 5 * 0.5 / 14.5)) < 1e-12)
    }

    @Test func `A leaderboard of judgments is written beside its CSV`() async throws {
        let space = try Workspace()
        try space.folder.write(
            [Self.record("a", ["A>B", "A>B"], model: "x,y"), Self.record("b", ["B>A", "A>B"], model: "x,y")].joined(
                separator: "\n"), "j.jsonl")
        let run = try await space.run("leaderboard", "build", "--benchmark", "arena-hard", "--judgments", "j.jsonl")
        #expect(run.status == 0, "\(run.errorText)")
        let csv = try String(contentsOfFile: space.path("leaderboard.csv"), encoding: .utf8)
        #expect(csv.contains("\"x,y\",75.00,"), "\(csv)")
    }
}
