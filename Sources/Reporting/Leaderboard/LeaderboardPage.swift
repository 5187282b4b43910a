internal import Chat

/// A leaderboard as a page.
package struct LeaderboardPage: Sendable {
    private let board: Leaderboard

    package init(_ board: Leaderboard) { self.board = board }

    package var page: HTMLPage {
        let benchmark = board.benchmark["id"]?.string ?? "?"
        let judge = board.judge["id"]?.string ?? "?"
        var blocks: [HTMLPage.Block] = [
            .paragraph(
                "\(board.entries.count) models on \(board.benchmark["n"]?.integer ?? 0) prompts against "
                    + "\(board.benchmark["baseline"]?.string ?? "?"), judged by \(judge).")
        ]
        if board.isMixed {
            blocks.append(
                .warning("These runs differ in judge, baseline or data: their numbers do not belong in one ranking."))
        }
        if board.judge["reference_judge"]?.bool == false {
            blocks.append(.warning("\(judge) is not the benchmark's own judge: these are not the board's numbers."))
        }
        blocks += flags.map { .warning($0) }
        blocks += [.heading("Scores"), .table(HTMLPage.Table(ScoreTable.header, board.entries.map(ScoreTable.row)))]
        for (key, title) in [
            ("length_controlled_winrate", "Length-controlled win rate"), ("win_rate", "Win rate"),
        ] {
            blocks.append(
                .forest(
                    ForestPlot(
                        title: title, summary: "Percent, with 95 % intervals; 50 is the baseline.", rows: rows(key),
                        neutral: 50)))
        }
        if !board.pairwise.isEmpty { blocks += [.heading("Pairwise"), .table(pairwise)] }
        return HTMLPage(title: "Leaderboard of \(benchmark)", blocks: blocks)
    }

    private var flags: [String] {
        board.entries.flatMap { entry in
            (entry["integrity"]?["flags"]?.array ?? []).compactMap(\.string)
                .map { "\(entry["name"]?.string ?? "?"): \($0)" }
        }
    }

    private func rows(_ key: String) -> [ForestPlot.Row] {
        board.entries.compactMap { entry in
            guard let metric = entry["metrics"]?[key], let value = metric["value"]?.number else { return nil }
            return ForestPlot.Row(
                entry["name"]?.string ?? "?", value, lower: metric["ci95"]?[0]?.number,
                upper: metric["ci95"]?[1]?.number)
        }
    }

    private var pairwise: HTMLPage.Table {
        HTMLPage.Table(
            ["first", "second", "metric", "difference", "95 % CI", "p, Holm"],
            board.pairwise.map { pair in
                [
                    pair["a"]?.string ?? "?", pair["b"]?.string ?? "?", pair["metric"]?.string ?? "?",
                    TextTable.signed(pair["delta"]?.number ?? .nan),
                    TextTable.range(pair["ci95"]?[0]?.number, pair["ci95"]?[1]?.number),
                    pair["p_holm"]?.number.map(ComparisonReport.p) ?? "",
                ]
            })
    }
}
