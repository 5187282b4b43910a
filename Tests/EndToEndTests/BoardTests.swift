import Chat
import Foundation
import TestSupport
import Testing

/// The whole program on upstream's published outputs and annotations, against the official package's own figures.
@Suite(.enabled(if: SharedData.hasAlpacaEval, "needs the shared AlpacaEval data (EVALHARNESS_DATA)"))
struct BoardTests {
    private let space: Workspace
    private let expected: JSONObject

    init() async throws {
        space = try Workspace()
        let document = try JSONValue(parsing: SharedData.contents("\(SharedData.alpacaEval)/dev_expected.json"))
        expected = try #require(document["models"]?.object)
        let imported = try await space.run(
            "dataset", "import", "alpacaeval", "--from", "\(SharedData.alpacaEval)/import", "--unverified")
        #expect(imported.status == 0, "\(imported.errorText)")
    }

    @Test("Every model of the folder gets the official figures, and the leaderboard has the published order")
    func officialFigures() async throws {
        let folder = "\(SharedData.alpacaEval)/dev"
        let models = SharedData.names(folder).filter { expected[$0] != nil }
        #expect(!models.isEmpty)
        for model in models {
            try writeAnnotations(model, folder)
            let run = try await space.run(
                "run", "alpacaeval", "--model", "outputs:outputs.json", "--judge", "annotations:annotations.json",
                "--name", model,
                "--resamples", "0", "--no-progress")
            #expect(run.status == 0, "\(model): \(run.errorText)")
            try compare(try space.json("results/alpacaeval/\(model)/scores.json"), try #require(expected[model]), model)
        }
        let board = try await space.run("leaderboard", "build", "results/alpacaeval", "--no-pairwise", "--json")
        #expect(board.status == 0, "\(board.errorText)")
        let names =
            try JSONValue(parsing: board.standardOutput)["entries"]?.array?.compactMap { $0["name"]?.string } ?? []
        #expect(Set(names) == Set(models))
        let published = models.filter { publishedWinRate($0) != nil }.sorted {
            publishedWinRate($0)! > publishedWinRate($1)!
        }
        #expect(names.filter { publishedWinRate($0) != nil } == published)
        let header = try String(contentsOfFile: space.path("leaderboard.csv"), encoding: .utf8).split(separator: "\n")[
            0]
        #expect(
            header == ",win_rate,standard_error,n_wins,n_wins_base,n_draws,n_total,discrete_win_rate,mode,avg_length,"
                + "length_controlled_winrate,lc_standard_error")
    }

    private func compare(_ score: JSONValue, _ expected: JSONValue, _ model: String) throws {
        let metrics = try #require(score["metrics"])
        let pairs: [(String, JSONValue?)] = [
            ("win_rate", metrics["win_rate"]?["value"]), ("standard_error", metrics["win_rate"]?["official_se"]),
            ("discrete_win_rate", metrics["discrete_win_rate"]?["value"]),
            ("length_controlled_winrate", metrics["length_controlled_winrate"]?["value"]),
            ("lc_standard_error", metrics["length_controlled_winrate"]?["official_se"]),
            ("n_wins", metrics["n_wins"]), ("n_wins_base", metrics["n_wins_base"]), ("n_draws", metrics["n_draws"]),
            ("n_total", metrics["n_total"]), ("avg_length", metrics["avg_length"]),
        ]
        for (name, value) in pairs {
            let ours = try #require(value?.number, "\(model): \(name)")
            let official = try #require(expected[name]?.number)
            // The solver's own rounding; see docs/length-control.md.
            #expect(abs(ours - official) <= 1e-9, "\(model): \(name) \(ours), official \(official)")
        }
        let design = metrics["length_controlled_winrate"]?["design"]
        if let c = expected["C"]?.number, c != 0 {
            #expect(abs((design?["c"]?.number ?? 0) / c - 1) < 1e-12, "\(model): C")
        }
        for (ours, official) in zip(design?["coefficients"]?.array ?? [], expected["coef"]?.array ?? []) {
            #expect(abs((ours.number ?? .nan) - (official.number ?? 0)) <= 1e-9, "\(model): coefficients")
        }
    }

    private func publishedWinRate(_ model: String) -> Double? {
        expected[model]?["published"]?["length_controlled_winrate"]?.number
    }

    /// Writes upstream's two files of a model: the original annotations, or those that the compact rows stand for.
    private func writeAnnotations(_ model: String, _ folder: String) throws {
        let outputs = try SharedData.contents("\(folder)/\(model)/model_outputs.json.zst")
        try space.folder.write(outputs, "outputs.json")
        let original = "\(folder)/\(model)/annotations.json.zst"
        if SharedData.exists(original) {
            try space.folder.write(try SharedData.contents(original), "annotations.json")
            return
        }
        let rows = try JSONValue.parseLines(
            Array(SharedData.contents("\(folder)/\(model)/annotations.compact.jsonl.zst")))
        let baseline = try JSONValue(
            parsing: SharedData.contents("\(SharedData.alpacaEval)/import/alpaca_eval_gpt4_baseline.json"))
        var texts: [String: JSONValue] = [:]
        for record in try JSONValue(parsing: outputs).array ?? [] {
            texts[record["instruction"]!.string!] = record["output"]
        }
        let annotations = try rows.dropFirst().map { row -> JSONValue in
            let index = try #require(row["b"]?.integer)
            let prompt = try #require(baseline[index])
            let instruction = try #require(prompt["instruction"])
            return [
                "instruction": instruction, "output_1": prompt["output"] ?? .null,
                "generator_1": rows[0]["generator_1"] ?? .null, "output_2": texts[instruction.string ?? ""] ?? .null,
                "generator_2": rows[0]["generator_2"] ?? .null, "annotator": rows[0]["annotator"] ?? .null,
                "preference": row["preference"] ?? .null,
            ]
        }
        try space.folder.write(Data(JSONValue.array(annotations).serialized()), "annotations.json")
    }
}
