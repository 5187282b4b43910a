package import Chat
package import Evaluation
internal import Statistics

/// What a run of MT-Bench or Arena-Hard found, as a page.
package struct ConversationReport: Sendable {
    private let scores: JSONValue
    private let snapshot: RunSnapshot
    private let records: [JSONValue]
    private let outputs: [String: [String]]

    /// - Throws: as the files of the run demand.
    package init(_ directory: RunDirectory, scores: JSONValue, run: JSONValue) throws(EvaluationError) {
        self.scores = scores
        snapshot = try RunSnapshot(directory, prompts: nil)
        let bytes = try Files.read(directory.modelJudgment, asked: "The judgments")
        do {
            records = try JSONValue.parseLines(bytes)
        } catch {
            throw .badData("\(directory.modelJudgment) is not JSON Lines: \(error.description).")
        }
        guard Files.exists(directory.modelAnswer) else {
            outputs = [:]
            return
        }
        let written = try Files.read(directory.modelAnswer, asked: "The outputs")
        outputs = Dictionary(
            try ConversationOutputs.read(written, path: directory.modelAnswer).map { ($0.key, $0.turns) }
        ) { $1 }
    }

    package var page: HTMLPage {
        let judge = scores["judge"]?["id"]?.string ?? "?"
        var blocks: [HTMLPage.Block] = [
            .paragraph(
                "\(snapshot.name) on \(snapshot.rows.count) prompts of \(snapshot.benchmark), judged by \(judge).")
        ]
        blocks += (scores["notes"]?.array ?? []).compactMap(\.string).map { .warning($0) }
        blocks += [.heading("Scores"), .table(metrics)] + kinds
        blocks += [
            .heading("Provenance"),
            .table(
                HTMLPage.Table(
                    ["what", "which"],
                    snapshot.provenance.members.map { [$0.key, $0.value.string ?? $0.value.text()] })),
            .heading("Every judgment"),
        ]
        return HTMLPage(title: "\(snapshot.name) on \(snapshot.benchmark)", blocks: blocks + records.map(block))
    }

    /// Every board's entries, with their intervals.
    private var metrics: HTMLPage.Table {
        let boards = scores["boards"]?.array ?? []
        return HTMLPage.Table(
            ["model", "metric", "value", "95 % CI"],
            boards.flatMap { board in
                (board["entries"]?.array ?? []).flatMap { entry in
                    (entry["metrics"]?.object?.members ?? []).map { metric in
                        let interval = metric.value["ci95"]
                        return [
                            entry["name"]?.string ?? "?",
                            [board["benchmark"]?["category"]?.string, metric.key].compactMap(\.self)
                                .joined(separator: ", "), TextTable.decimal(metric.value["value"]?.number),
                            TextTable.range(interval?[0]?.number, interval?[1]?.number),
                        ]
                    }
                }
            })
    }

    private var kinds: [HTMLPage.Block] {
        let groups = Dictionary(grouping: snapshot.rows) { $0.category ?? "other" }
        if groups.count < 2 { return [] }
        let rows = groups.sorted { $0.key < $1.key }.compactMap { name, rows -> ForestPlot.Row? in
            let values = rows.compactMap { $0.values?.mean }
            guard let average = mean(values) else { return nil }
            let error = sampleStandardDeviation(values).map { 1.96 * $0 / Double(values.count).squareRoot() }
            return ForestPlot.Row(name, average, lower: error.map { average - $0 }, upper: error.map { average + $0 })
        }
        return [
            .heading("By kind of prompt"),
            .forest(
                ForestPlot(
                    title: "\(snapshot.scale.metric.rawValue) of \(snapshot.name) by kind of prompt",
                    summary: "Means of prompts with 95 % intervals.", rows: rows,
                    neutral: snapshot.scale == .preference ? 50 : nil)),
        ]
    }

    private func block(_ record: JSONValue) -> HTMLPage.Block {
        let key = record["question_id"]?.identifier ?? record["uid"]?.identifier ?? "?"
        let turn = record["turn"]?.integer
        let games = record["games"]?.array ?? [record]
        let verdicts = games.map { game in
            game["score"].map { $0.string ?? $0.text() } ?? game["winner"]?.string ?? game["g1_winner"]?.string ?? "–"
        }
        let texts = outputs[key] ?? []
        let shown = turn.map { texts.indices.contains($0 - 1) ? [texts[$0 - 1]] : [] } ?? texts
        var sides = shown.map { (label: "\(snapshot.name)", text: $0) }
        sides += games.enumerated().map { game, record in
            ("reply, game \(game + 1): \(verdicts[game])", ConversationReport.reply(record))
        }
        return .details(
            "\(key)\(turn.map { ", turn \($0)" } ?? "") · \(verdicts.joined(separator: ", "))",
            [.texts(record["category"]?.string ?? "prompt \(key)", sides)])
    }

    private static func reply(_ game: JSONValue) -> String {
        let judgment = game["judgment"] ?? game["g1_judgment"]
        if let text = judgment?.string { return text }
        return judgment?["answer"]?.string ?? judgment.map { $0.text() } ?? ""
    }
}
