import Chat
import Evaluation
import Reporting
import Testing

@Suite struct LeaderboardTests {
    private func document(_ name: String, lc: Double?, win: Double, judge: String = "j") -> JSONValue {
        [
            "schema": "evalharness.score/1", "name": .string(name),
            "benchmark": ["id": "alpacaeval", "dataset_sha256": "d", "baseline_sha256": "b"],
            "judge": ["id": .string(judge), "fingerprint": "f"],
            "metrics": [
                "length_controlled_winrate": lc.map { ["value": .number($0), "official_se": 1.6966899446296563e-05] }
                    ?? .null,
                "win_rate": ["value": .number(win), "official_se": 1.5],
                "discrete_win_rate": ["value": 48.94278606965174],
                "n_wins": 393, "n_wins_base": 410, "n_draws": 1, "n_total": 804, "avg_length": 2033,
            ],
        ]
    }

    private func board(_ documents: [JSONValue], mixed: Bool = false) throws -> Leaderboard {
        try Leaderboard(scores: documents.enumerated().map { ("run\($0.offset)", $0.element) }, allowMixed: mixed)
    }

    @Test func `An error too large for a number is null`() {
        let annotations = (0..<20).map {
            MTBenchAnnotation(prompt: "\($0)", model: "m", turn: 1, rating: $0 == 0 ? 1e200 : 7)
        }
        let board = JudgmentBoard(MTBenchScore(annotations), benchmark: ["id": "mt-bench"])
        #expect(board.json["entries"]?[0]?["metrics"]?["average"]?["se"]?.isNull == true)
        #expect(board.json.text().contains("\"se\":null"))
    }

    @Test("The CSV has upstream's columns in upstream's order, best first, floats as Python prints them")
    func csv() throws {
        let board = try board([
            document("worse", lc: 10, win: 90), document("a,\"b\"", lc: 48.9320476029715, win: 48.53770930002487),
            document("none", lc: nil, win: 99),
        ])
        #expect(
            board.csv == """
                ,win_rate,standard_error,n_wins,n_wins_base,n_draws,n_total,discrete_win_rate,mode,avg_length,length_controlled_winrate,lc_standard_error
                "a,""b""\",48.53770930002487,1.5,393,410,1,804,48.94278606965174,community,2033,48.9320476029715,1.6966899446296563e-05
                worse,90.0,1.5,393,410,1,804,48.94278606965174,community,2033,10.0,1.6966899446296563e-05
                none,99.0,1.5,393,410,1,804,48.94278606965174,community,2033,,

                """)
    }

    @Test("Runs of different judges do not stand in one ranking unless told")
    func mixing() throws {
        let documents = [document("a", lc: 1, win: 1), document("b", lc: 2, win: 2, judge: "other")]
        #expect(throws: EvaluationError.self) { try board(documents) }
        #expect(try board(documents, mixed: true).entries.count == 2)
        #expect(throws: EvaluationError.self) { try board([]) }
        #expect(throws: EvaluationError.self) { try board([["schema": "other"]]) }
    }

    @Test("A leaderboard reads back and gives the same CSV")
    func roundTrip() throws {
        let board = try board([document("a", lc: 1, win: 1)])
        #expect(try Leaderboard(document: board.json, path: "l.json").csv == board.csv)
    }

    private func merged(_ boards: Leaderboard...) throws -> Leaderboard {
        // As they lie in files.
        let read = try boards.enumerated().map { index, board in
            let document = try JSONValue(parsing: board.json.serialized())
            return ("board\(index)", try Leaderboard(document: document, path: "board\(index)"))
        }
        return try Leaderboard(merging: read)
    }

    @Test func `Leaderboards merge into the one that all their runs together give`() throws {
        let a = document("a", lc: 10, win: 90)
        let b = document("b", lc: nil, win: 99)
        let c = document("c", lc: 30.5, win: 1)
        let all = try board([a, b, c])
        #expect(try merged(board([a, b]), board([c])).json.text() == all.json.text())
        #expect(try merged(board([c]), board([b, c]), board([a, b])).csv == all.csv)
        #expect(try merged(board([a])).json.text() == board([a]).json.text())
    }

    @Test func `Leaderboards that differ in what they measure do not merge, and the difference is named`() throws {
        let a = document("a", lc: 10, win: 90)
        func change(_ change: (inout JSONObject) -> Void) throws -> JSONValue {
            var object = try #require(document("b", lc: 1, win: 1).object)
            change(&object)
            return .object(object)
        }
        func benchmark(_ id: String, _ data: String, _ baseline: String, _ n: Int? = nil) throws -> JSONValue {
            try change {
                $0["benchmark"] = [
                    "id": .string(id), "dataset_sha256": .string(data), "baseline_sha256": .string(baseline),
                    "n": JSONValue(n),
                ]
            }
        }
        for (other, difference) in [
            (document("b", lc: 1, win: 1, judge: "other"), "another judge than board0"),
            (try change { $0["judge"] = ["id": "j", "fingerprint": "g"] }, "another judge fingerprint than board0"),
            (try benchmark("arena", "d", "b"), "another benchmark than"),
            (try benchmark("alpacaeval", "e", "b"), "another prompt set than"),
            (try benchmark("alpacaeval", "d", "c"), "another baseline than"),
            (try benchmark("alpacaeval", "d", "b", 9), "another number of prompts than"),
            (document("a", lc: 10, win: 91), "a has other numbers in board1 than in board0"),
            (try change { ($0["name"], $0["fingerprint"]) = ("a", "f") }, "a has another fingerprint in board1"),
        ] {
            let error = try #require(
                #expect(throws: EvaluationError.self) { try merged(board([a]), board([other])) }, "\(difference)")
            guard case .integrity(let text) = error else {
                Issue.record("\(difference): \(error)")
                continue
            }
            #expect(text.contains(difference), "\(text)")
        }
        let mixed = try board([a, document("b", lc: 1, win: 1, judge: "other")], mixed: true)
        #expect(throws: EvaluationError.self) { try merged(mixed, board([a])) }
        #expect(try board([a, document("b", lc: 1, win: 1)], mixed: true).json["mixed"] == nil)
    }

    @Test func `A leaderboard without entries, or with one that is no score, does not merge`() throws {
        let good = try board([document("a", lc: 1, win: 1)])
        for entries in [[], ["x"], [["name": "b"]], [["metrics": []]]] as [JSONValue] {
            var damaged = try #require(good.json.object)
            damaged["entries"] = entries
            let board = try Leaderboard(document: .object(damaged), path: "l.json")
            #expect(throws: EvaluationError.self) { try Leaderboard(merging: [("l.json", board)]) }
        }
        #expect(throws: EvaluationError.self) { try Leaderboard(merging: []) }
    }

    @Test("Names from files cannot move the cursor of a terminal")
    func table() {
        let table = ScoreTable([document("evil\u{1B}[2Jname\u{202E}", lc: 48.995, win: 0.004)]).text
        #expect(!table.unicodeScalars.contains("\u{1B}") && !table.unicodeScalars.contains("\u{202E}"))
        #expect(table.contains("49.00") && table.contains("0.00"))
    }
}
