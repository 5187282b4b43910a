import Chat
import Evaluation
import Reporting
import Statistics

/// What a study found: the SimPO paper's tables, in small.
struct StudyReport {
    /// One recipe's models against the opponent's of the same seeds, in percent, over all seeds, with intervals over prompts.
    private struct Comparison {
        var winRate: Interval
        /// Nil where the lengths have no spread.
        var lengthControlled: Interval?
        /// Of each seed.
        var winRates: [Double]
    }

    /// One recipe over its seeds.
    private struct Row {
        var method: String
        var comparisons: [String: Comparison] = [:]
        var length: Double
        var quality: Double
        var analyses: [JSONValue]
        var seconds: [Double] = []
        var peakMegabytes: [Double] = []
    }

    private let study: Study
    private let prompts: PromptSet
    private var rows: [Row] = []

    init(_ study: Study) throws {
        self.study = study
        let path = study.path("data/alpacaeval.jsonl")
        prompts = try PromptSet(bytes: try Files.read(path, asked: "The prompts"), path: path, isOfficial: false)
        rows = [try Self.fineTuned(study, prompts)]
        for method in study.methods { rows.append(try row(method)) }
    }

    private static func fineTuned(_ study: Study, _ prompts: PromptSet) throws -> Row {
        let outputs = try outputs("sft", study, prompts)
        return Row(
            method: "sft", length: mean(outputs.map { Double($0.length) }), quality: quality(outputs), analyses: [],
            seconds: [], peakMegabytes: [])
    }

    private func row(_ method: String) throws -> Row {
        let names = study.seeds.map { Study.Run(method: method, seed: $0).name }
        let outputs = try names.map { try Self.outputs($0, study, prompts) }
        var row = Row(
            method: method, length: mean(outputs.joined().map { Double($0.length) }),
            quality: mean(outputs.map(Self.quality)),
            analyses: try names.map { try Files.readJSON(study.path("analysis/\($0).json"), asked: "The analysis") })
        for opponent in Study.opponents {
            let folders = names.map { study.path("against-\(opponent)/alpacaeval/\($0)") }
            guard folders.allSatisfy({ Files.exists("\($0)/scores.json") }) else { continue }
            let opponents = try study.seeds.map { seed in
                let name = opponent == "sft" ? "sft" : Study.Run(method: opponent, seed: seed).name
                return try Self.outputs(name, study, prompts)
            }
            let perSeed = try folders.map { try preferences("\($0)/annotations.json") }
            row.comparisons[opponent] = compare(perSeed, outputs, opponents)
        }
        for name in names {
            let cost = try Files.readJSON(study.path("logs/\(name).json"), asked: "The step's record")
            row.seconds += [cost["seconds"]?.number].compactMap { $0 }
            row.peakMegabytes += [cost["peak_mb"]?.number].compactMap { $0 }
        }
        return row
    }

    /// - Parameters: for each seed, in the order of the prompts.
    private func compare(
        _ preferences: [[Double]], _ outputs: [[ModelOutput]], _ opponents: [[ModelOutput]]
    ) -> Comparison {
        // A prompt's preferences over seeds hang together: the mean of each prompt is what is drawn.
        let perPrompt = prompts.prompts.indices.map { place in mean(preferences.map { 100 * $0[place] }) }
        let rows = preferences.indices.map { seed in
            prompts.prompts.indices.map { place in
                let difference = opponents[seed][place].length - outputs[seed][place].length
                return LengthControlRow(
                    preference: preferences[seed][place], lengthDifference: Double(difference), difficulty: 0)
            }
        }
        let control = LengthControl(design: .minimal, gamed: [])
        return Comparison(
            winRate: bootstrapMean(perPrompt, resamples: Self.resamples, seed: 1),
            lengthControlled: try? control.bootstrapPooled(rows, resamples: Self.resamples, seed: 1),
            winRates: preferences.map { 100 * mean($0) })
    }

    private static let resamples = 2_000

    private static func outputs(_ name: String, _ study: Study, _ prompts: PromptSet) throws -> [ModelOutput] {
        let path = study.path("outputs/alpacaeval/\(name)/model_outputs.json")
        let bytes = try Files.read(path, asked: "The model's outputs")
        return try ModelOutputs(bytes: bytes, path: path, prompts: prompts, name: name).outputs
    }

    private static func quality(_ outputs: [ModelOutput]) -> Double {
        mean(outputs.map { $0.prompt.checks.first?.quality($0.output) ?? 0 })
    }

    /// In the order of the prompts.
    private func preferences(_ path: String) throws -> [Double] {
        let records = try Files.readJSON(path, asked: "The annotations").array ?? []
        let values = records.compactMap { $0["preference"]?.number }
        guard values.count == prompts.prompts.count else {
            throw EvaluationError.badData(
                "\(path) has \(values.count) preferences for \(prompts.prompts.count) prompts. Remove its folder and run "
                    + "the study again.")
        }
        return values.map { $0 - 1 }
    }

    // MARK: Tables

    private static let header = [
        "method", "win rate over SFT", "LC over SFT", "win rate over DPO", "LC over DPO", "quality", "length",
        "reward accuracy", "likelihood ~ length", "seconds", "peak MB",
    ]

    private func cells(_ row: Row) -> [String] {
        var cells = [row.method]
        for opponent in Study.opponents {
            let comparison = row.comparisons[opponent]
            cells.append(comparison.map { Self.shown($0.winRate) } ?? "")
            cells.append(comparison?.lengthControlled.map(Self.shown) ?? "")
        }
        cells += [TextTable.decimal(row.quality, 3), TextTable.decimal(row.length, 1)]
        let accuracies = row.analyses.compactMap { $0["reward_accuracy"]?["value"]?.number }
        cells.append(accuracies.isEmpty ? "" : "\(TextTable.decimal(100 * mean(accuracies), 1)) %")
        let correlations = row.analyses.compactMap { $0["likelihood_length_spearman"]?.number }
        cells.append(correlations.isEmpty ? "" : TextTable.decimal(mean(correlations), 2))
        cells.append(row.seconds.isEmpty ? "" : TextTable.decimal(row.seconds.sorted()[row.seconds.count / 2], 1))
        cells.append(row.peakMegabytes.max().map { TextTable.decimal($0, 0) } ?? "")
        return cells
    }

    private var contingency: HTMLPage.Table {
        let names = ["both", "reward_only", "likelihood_only", "neither"]
        return HTMLPage.Table(
            ["method", "both", "reward only", "likelihood only", "neither"],
            rows.filter { !$0.analyses.isEmpty }.map { row in
                [row.method]
                    + names.map { name in
                        let counts = row.analyses.compactMap { $0["contingency"]?[name]?.number }
                        return TextTable.decimal(mean(counts), 1)
                    }
            })
    }

    /// Markdown, as it stands in `docs/study.md`.
    var table: String {
        func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
        return line(Self.header) + "|" + String(repeating: "---|", count: Self.header.count) + "\n"
            + rows.map { line(cells($0)) }.joined()
    }

    var page: HTMLPage {
        let seeds = study.seeds.map(String.init).joined(separator: ", ")
        return HTMLPage(
            title: "Preference objectives from one fine-tuned model",
            blocks: [
                .paragraph(
                    "Every method begins from the same fine-tuned model and learns from the same pairs of its own samples; "
                        + "seeds \(seeds). \(prompts.prompts.count) held-out prompts, sampled once for each seed and judged by "
                        + "their checks. Win rates are over all seeds, with 95 % intervals over prompts; LC is length control, one "
                        + "regression over all seeds without a penalty."
                ),
                .table(HTMLPage.Table(Self.header, rows.map(cells))), .plot(winRatePlot), .plot(lengthPlot),
                .heading("How reward and likelihood rank held-out pairs"),
                .paragraph(
                    "Pairs whose chosen response has the higher reward, the higher average log-probability, or both."),
                .table(contingency),
            ])
    }

    private var winRatePlot: Plot {
        Plot(
            title: "Win rate", summary: "Percent of held-out prompts, with 95 % intervals over prompts; 50 is a draw.",
            x: Plot.Axis(""), y: Plot.Axis("win rate, %", covering: 0...100),
            series: Study.opponents.map { opponent in
                Plot.Series(
                    "over \(opponent.uppercased())",
                    .bars(
                        rows.filter { $0.method != "sft" }.map { row in
                            let interval = row.comparisons[opponent]?.winRate
                            return Plot.Bar(
                                row.method, interval?.value ?? .nan, lower: interval?.lower, upper: interval?.upper)
                        }))
            })
    }

    private var lengthPlot: Plot {
        Plot(
            title: "Length of outputs", summary: "Mean characters of an output on held-out prompts.",
            x: Plot.Axis(""), y: Plot.Axis("characters", covering: 0...10),
            series: [Plot.Series("", .bars(rows.map { Plot.Bar($0.method, $0.length) }))])
    }

    var json: JSONValue {
        let methods = rows.map { row -> JSONValue in
            var object: JSONObject = [
                "method": .string(row.method), "quality": .number(row.quality), "avg_length": .number(row.length),
                "analyses": .array(row.analyses),
            ]
            for (opponent, comparison) in row.comparisons.sorted(by: { $0.key < $1.key }) {
                object["over_\(opponent)"] = [
                    "win_rate": Self.json(comparison.winRate),
                    "length_controlled_winrate": comparison.lengthControlled.map(Self.json) ?? .null,
                    "win_rate_by_seed": .array(comparison.winRates.map(JSONValue.number)),
                ]
            }
            object["seconds"] = .array(row.seconds.map(JSONValue.number))
            object["peak_mb"] = .array(row.peakMegabytes.map(JSONValue.number))
            return .object(object)
        }
        return [
            "schema": "evalharness.study/1", "n": .integer(prompts.prompts.count),
            "dataset_sha256": .string(prompts.sha256), "seeds": .array(study.seeds.map { .integer($0) }),
            "methods": .array(methods),
        ]
    }

    private static func json(_ interval: Interval) -> JSONValue {
        [
            "value": .number(interval.value), "se": .number(interval.standardError),
            "ci95": [.number(interval.lower), .number(interval.upper)], "method": .string(interval.method),
        ]
    }

    private static func shown(_ interval: Interval) -> String {
        TextTable.decimal(interval.value, 1) + " " + TextTable.range(interval.lower, interval.upper, 1)
    }
}

private func mean(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
}
