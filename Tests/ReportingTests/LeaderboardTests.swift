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

    @Test("Names from files cannot move the cursor of a terminal")
    func table() {
        let table = ScoreTable([document("evil\u{1B}[2Jname\u{202E}", lc: 48.995, win: 0.004)]).text
        #expect(!table.unicodeScalars.contains("\u{1B}") && !table.unicodeScalars.contains("\u{202E}"))
        #expect(table.contains("49.00") && table.contains("0.00"))
    }
}
