package import Chat
package import Evaluation
internal import Statistics

/// The models of one set of judgments in one ranking, with upstream's figures and our own intervals side by side.
package struct JudgmentBoard: Sendable {
    package static let schema = "evalharness.board/1"

    /// What tells it from the other boards of a run.
    package var title: String = ""
    package let table: TextTable
    package let json: JSONValue
    package let notes: [String]
    /// Arena-Hard's in the columns of upstream's leaderboard files, but for the date, which would be a clock's; MT-Bench, for
    /// which upstream writes none, in the words of its tables.
    package let csv: String
    /// Whether style is held equal: of a run, the second board of the same games.
    package var isStyled = false
    /// Games or ratings that are not scored, and all there are.
    package let missing: Int
    package let total: Int

    // MARK: Arena-Hard

    /// - Parameters:
    ///   - benchmark: the identifier, with the category for v2.0.
    ///   - level: of upstream's interval, in percent.
    package init(_ score: ArenaScore, panel: JudgePanel? = nil, benchmark: JSONObject, level: Int) {
        isStyled = !score.features.isEmpty
        title = [benchmark["category"]?.string, isStyled ? "with style control" : "as judged"]
            .compactMap(\.self).joined(separator: ", ")
        table = TextTable(
            ["model", "score", "official \(level) % CI", "95 % CI by prompt", "rows", "avg tokens"],
            score.entries.map { entry in
                [
                    TextTable.printable(entry.model), TextTable.decimal(entry.score, 1),
                    TextTable.range(entry.lower, entry.upper, 1),
                    TextTable.range(entry.interval?.lower, entry.interval?.upper, 1), "\(entry.rows)",
                    entry.averageTokens.map(String.init) ?? "–",
                ]
            })
        missing = score.missing.values.reduce(0, +)
        total = missing + score.games
        notes = (score.notes + JudgmentBoard.words(score.missing) + (panel.map(JudgmentBoard.words) ?? [])).map(
            TextTable.printable)
        csv = JudgmentBoard.csv(
            ["model", "score", "rating_q025", "rating_q975", "CI", "avg_tokens"],
            score.entries.map { entry in
                let (lower, upper) = (entry.lower, entry.upper)
                func side(_ distance: Double?) -> String { TextTable.decimal(distance.map(abs)) }
                let interval = "(-\(side(lower.map { entry.score - $0 })), +\(side(upper.map { $0 - entry.score })))"
                let cells = [entry.score, lower, upper].map { $0.map { TextTable.decimal($0) } ?? "" }
                return [entry.model] + cells + [interval, entry.averageTokens.map { "\($0).0" } ?? ""]
            })
        json = JudgmentBoard.document(
            benchmark,
            [
                "baseline": .string(score.baseline),
                "style_effects": JudgmentBoard.styleEffects(score.features.names, score.effects),
                "panel": panel.map(JudgmentBoard.json) ?? .null,
            ],
            entries: score.entries.map { entry in
                var record: JSONObject = ["name": .string(entry.model)]
                var metric: JSONObject = ["value": .number(entry.score)]
                metric["official_ci\(level)"] = JudgmentBoard.range(entry.lower, entry.upper)
                metric.add(entry.interval)
                metric["n_rows"] = .integer(entry.rows)
                record["metrics"] = ["score": .object(metric)]
                if let rating = entry.rating { record["rating"] = .number(rating) }
                record["avg_tokens"] = entry.averageTokens.map { .integer($0) } ?? .null
                return .object(record)
            }, missing: score.missing, notes: score.notes)
    }

    // MARK: MT-Bench

    package init(_ score: MTBenchScore, panel: JudgePanel? = nil, benchmark: JSONObject) {
        let found = Set(score.entries.flatMap(\.categories.keys))
        let categories =
            MTBenchAnnotation.categories.filter(found.contains)
            + found.subtracting(MTBenchAnnotation.categories).sorted()
        // Those of one's own may be many, with long names.
        let columns = categories.filter(MTBenchAnnotation.categories.contains)
        table = TextTable(
            ["model", "average", "95 % CI"] + JudgmentBoard.styleHeader(score.features)
                + ["turn 1", "turn 2", "ratings", "missing"] + columns,
            score.entries.map { entry in
                [
                    TextTable.printable(entry.model), TextTable.decimal(entry.average),
                    TextTable.range(entry.interval?.lower, entry.interval?.upper),
                ] + JudgmentBoard.styleCells(score.features, entry.styleControlled) + [
                    TextTable.decimal(entry.turns[0]), TextTable.decimal(entry.turns[1]), "\(entry.ratings)",
                    "\(entry.missing)",
                ] + columns.map { TextTable.decimal(entry.categories[$0], 1) }
            })
        missing = score.entries.reduce(0) { $0 + $1.missing } + score.unratedRows
        total = missing + score.entries.reduce(0) { $0 + $1.ratings }
        notes =
            JudgmentBoard.unrated(score.unrated) + JudgmentBoard.untold(score.features, score.effects)
            + (panel.map(JudgmentBoard.words) ?? [])
        csv = JudgmentBoard.csv(
            ["model", "average", "first_turn", "second_turn"],
            score.entries.map { entry in
                [entry.model] + ([entry.average] + entry.turns).map { $0.map(\.description) ?? "" }
            })
        json = JudgmentBoard.document(
            benchmark,
            [
                "style_effects": JudgmentBoard.styleEffects(score.features.plainNames, score.effects),
                "panel": panel.map(JudgmentBoard.json) ?? .null,
            ],
            entries: score.entries.map { entry in
                var average: JSONObject = ["value": .number(entry.average)]
                average.add(entry.interval)
                average["n"] = .integer(entry.ratings)
                average["n_missing"] = .integer(entry.missing)
                var means = JSONObject()
                for name in categories { means[name] = entry.categories[name].map { .number($0) } }
                var metrics: JSONObject = [
                    "average": .object(average), "first_turn": ["value": JSONValue(entry.turns[0])],
                    "second_turn": ["value": JSONValue(entry.turns[1])],
                ]
                metrics.addStyleControlled("style_controlled_average", entry.styleControlled)
                return [
                    "name": .string(entry.model), "metrics": .object(metrics), "categories": .object(means),
                ]
            }, missing: missing > 0 ? ["no rating": missing] : [:], notes: notes)
    }

    package init(
        _ score: MTBenchPairScore, panel: JudgePanel? = nil, benchmark: JSONObject, baseline: String?
    ) {
        table = TextTable(
            ["model", "win rate", "95 % CI"] + JudgmentBoard.styleHeader(score.features)
                + ["wins", "losses", "ties", "inconsistent", "missing"],
            score.entries.map { entry in
                [
                    TextTable.printable(entry.model), TextTable.decimal(100 * entry.adjustedWinRate),
                    TextTable.range(
                        entry.interval.map { 100 * $0.lower }, entry.interval.map { 100 * $0.upper }),
                ] + JudgmentBoard.styleCells(score.features, entry.styleControlled?.times(100)) + [
                    "\(entry.wins)", "\(entry.losses)", "\(entry.ties)", "\(entry.inconsistent)", "\(entry.missing)",
                ]
            })
        missing = score.missing
        total = missing + score.records
        notes =
            JudgmentBoard.unrated(score.unrated) + JudgmentBoard.untold(score.features, score.effects)
            + (panel.map(JudgmentBoard.words) ?? [])
        csv = JudgmentBoard.csv(
            ["model", "win", "loss", "tie", "win_rate", "loss_rate", "win_rate_adjusted"],
            score.entries.map { entry in
                [entry.model] + [entry.wins, entry.losses, entry.ties].map(String.init)
                    + [entry.winRate, entry.lossRate, entry.adjustedWinRate].map(\.description)
            })
        json = JudgmentBoard.document(
            benchmark,
            [
                "baseline": JSONValue(baseline),
                "style_effects": JudgmentBoard.styleEffects(score.features.plainNames, score.effects),
                "panel": panel.map(JudgmentBoard.json) ?? .null,
            ],
            entries: score.entries.map { entry in
                var rate: JSONObject = ["value": .number(entry.adjustedWinRate)]
                rate.add(entry.interval)
                rate["n"] = .integer(entry.count)
                rate["n_missing"] = .integer(entry.missing)
                var metrics: JSONObject = [
                    "win_rate_adjusted": .object(rate), "win_rate": ["value": .number(entry.winRate)],
                    "loss_rate": ["value": .number(entry.lossRate)],
                ]
                metrics.addStyleControlled("style_controlled_win_rate", entry.styleControlled)
                return [
                    "name": .string(entry.model), "metrics": .object(metrics), "wins": .integer(entry.wins),
                    "losses": .integer(entry.losses), "ties": .integer(entry.ties),
                    "inconsistent": .integer(entry.inconsistent),
                ]
            }, missing: missing > 0 ? ["no verdict": missing] : [:], notes: notes)
    }

    // MARK: Parts

    private static func styleHeader(_ features: StyleFeatures) -> [String] {
        switch features {
        case []: []
        case .length: ["at equal length", "95 % CI"]
        case .markdown: ["at equal markdown", "95 % CI"]
        default: ["at equal style", "95 % CI"]
        }
    }

    private static func styleCells(_ features: StyleFeatures, _ interval: Interval?) -> [String] {
        features.isEmpty
            ? [] : [TextTable.decimal(interval?.value), TextTable.range(interval?.lower, interval?.upper)]
    }

    /// By the feature's name; null without style control, and for an effect that is not known.
    private static func styleEffects(_ names: [String], _ effects: [Double]) -> JSONValue {
        if names.isEmpty { return .null }
        var record = JSONObject()
        for (place, name) in names.enumerated() {
            record[name] = JSONValue(effects.indices.contains(place) ? effects[place] : nil)
        }
        return .object(record)
    }

    private static func untold(_ features: StyleFeatures, _ effects: [Double]) -> [String] {
        features.isEmpty || !effects.isEmpty
            ? []
            : [
                "nothing at equal style: nothing tells style from model, since some were never judged for the same prompts, "
                    + "or their styles differ by the same wherever they were"
            ]
    }

    private static func csv(_ header: [String], _ rows: [[String]]) -> String {
        ([header] + rows).map { row in row.map(CSV.cell).joined(separator: ",") + "\n" }.joined()
    }

    private static func document(
        _ benchmark: JSONObject, _ more: JSONObject, entries: [JSONValue], missing: [String: Int], notes: [String]
    ) -> JSONValue {
        var counts = JSONObject()
        for (reason, count) in missing.sorted(by: { $0.key < $1.key }) { counts[reason] = .integer(count) }
        var document: JSONObject = ["schema": .string(schema), "benchmark": .object(benchmark)]
        for member in more.members { document[member.key] = member.value }
        document["entries"] = .array(entries)
        document["missing"] = .object(counts)
        document["notes"] = .array(notes.map { .string($0) })
        return .object(document)
    }

    fileprivate static func range(_ lower: Double?, _ upper: Double?) -> JSONValue {
        guard let lower, let upper else { return .null }
        return [JSONValue(lower), JSONValue(upper)]
    }

    /// The most frequent reasons; a judge that stammers makes as many labels as it likes.
    private static func words(_ missing: [String: Int]) -> [String] {
        if missing.isEmpty { return [] }
        let sorted = missing.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        let others = sorted.dropFirst(8).reduce(0) { $0 + $1.value }
        let named = sorted.prefix(8).map { "\($0.value) × \(String($0.key.prefix(40)))" }
        return ["not scored: " + (named + (others > 0 ? ["\(others) × other labels"] : [])).joined(separator: ", ")]
    }

    private static func words(_ panel: JudgePanel) -> [String] {
        let judges = panel.judges.compactMap { judge -> String? in
            if let average = judge.averageRating {
                return panel.judges.count > 1
                    ? "\(judge.name) rates \(TextTable.decimal(average)) in the mean of \(judge.records) records" : nil
            }
            return judge.positionConsistency.map { consistency in
                "\(judge.name) prefers the same output in both orders in "
                    + "\(TextTable.decimal(100 * consistency, 1)) % of \(judge.records) records, and the output in place A in "
                    + "\(TextTable.decimal(judge.preferenceForA.map { 100 * $0 }, 1)) % of the games"
            }
        }.map(TextTable.printable)
        var words = judges
        if panel.repeated > 0 {
            words.append(
                "\(panel.repeated) records are of what the same judge has judged before: each counts, as upstream")
        }
        if panel.ambiguous > 0 {
            words.append(
                "\(panel.ambiguous) records hold several verdicts: as upstream, the first rating counts, and A before B "
                    + "before C")
        }
        guard let alpha = panel.alpha else { return words }
        return words + [
            "the judges agree with Krippendorff's α \(TextTable.decimal(alpha, 3)) on \(panel.sharedRecords) records"
        ]
    }

    private static func json(_ panel: JudgePanel) -> JSONValue {
        [
            "judges": .array(
                panel.judges.map { judge in
                    [
                        "judge": .string(judge.name), "n": .integer(judge.records),
                        "average_rating": JSONValue(judge.averageRating),
                        "position_consistency": JSONValue(judge.positionConsistency),
                        "preference_for_a": JSONValue(judge.preferenceForA),
                    ]
                }), "krippendorff_alpha": JSONValue(panel.alpha), "n_shared": .integer(panel.sharedRecords),
            "n_repeated": .integer(panel.repeated), "n_ambiguous": .integer(panel.ambiguous),
        ]
    }

    private static func unrated(_ models: [String]) -> [String] {
        models.isEmpty
            ? [] : [TextTable.printable("no verdict at all, so no score: \(models.joined(separator: ", "))")]
    }
}

extension JSONObject {
    fileprivate mutating func addStyleControlled(_ name: String, _ interval: Interval?) {
        guard let interval else { return }
        var metric: JSONObject = ["value": .number(interval.value)]
        if interval.resamples > 0 { metric.add(interval) }
        self[name] = .object(metric)
    }

    fileprivate mutating func add(_ interval: Interval?) {
        guard let interval else { return }
        self["se"] = JSONValue(interval.standardError)
        self["ci95"] = JudgmentBoard.range(interval.lower, interval.upper)
        self["method"] = .string(interval.method)
    }
}
