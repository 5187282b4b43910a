import Chat
import Evaluation
import Foundation
import TestSupport
import Testing

/// What arena-hard-auto itself printed and computed, case by case as they lie there.
private struct ArenaCase: CustomTestStringConvertible, Sendable {
    var folder: String
    var file: String
    var expected: JSONValue

    var testDescription: String { "\(URL(fileURLWithPath: folder).lastPathComponent)/\(file)" }

    /// Those whose folders' names begin so.
    static func all(_ prefix: String) -> [ArenaCase] {
        SharedData.fixtures("arena").filter { URL(fileURLWithPath: $0).lastPathComponent.hasPrefix(prefix) }.flatMap {
            folder in
            SharedData.names(folder).filter { $0.hasPrefix("expected_") && $0.hasSuffix(".json") }.compactMap { file in
                guard let data = try? SharedData.contents("\(folder)/\(file)"),
                    let expected = try? JSONValue(parsing: Array(data))
                else { return nil }
                return ArenaCase(folder: folder, file: file, expected: expected)
            }
        }
    }

    var arguments: [String] { expected["args"]?.array?.compactMap(\.string) ?? [] }
    var commit: String { String(file.split(separator: "_")[1]) }
    var isError: Bool { expected["error"]?.isNull == false }

    func value(_ flag: String) -> String? {
        guard let place = arguments.firstIndex(of: flag), place + 1 < arguments.count else { return nil }
        return arguments[place + 1]
    }

    func values(_ flags: [String]) -> [String] {
        guard let place = arguments.firstIndex(where: flags.contains) else { return [] }
        return Array(arguments[(place + 1)...].prefix { !$0.hasPrefix("-") })
    }

    func files(_ name: String) throws -> [(path: String, bytes: [UInt8])] {
        let path = "\(folder)/run/data/\(name)"
        return try SharedData.names(path).filter { $0.hasSuffix("jsonl") }.map {
            ("\(path)/\($0)", Array(try SharedData.contents("\(path)/\($0)")))
        }
    }

    func answers(_ benchmark: String) throws -> [ArenaOutputs] {
        try files("\(benchmark)/model_answer").map { try ArenaOutputs.read($0.bytes, path: $0.path) }
    }
}

@Suite struct ArenaGoldenTests {
    // MARK: v0.1

    private static func v01(_ golden: ArenaCase) throws -> (ArenaBattles, ArenaScore) {
        let benchmark = golden.value("--bench-name") ?? "arena-hard-v0.1"
        let baseline = golden.value("--baseline") ?? "gpt-4-0314"
        let isEarly = golden.commit == "583728f" || golden.commit == "0a57614"
        let battles: ArenaBattles
        if golden.arguments.contains("--load-battles") {
            let path = "\(golden.folder)/run/data/arena_hard_battles.jsonl"
            battles = try ArenaBattles(Array(try SharedData.contents(path)), path: path)
        } else {
            let judge = golden.value("--judge-name") ?? "gpt-4-1106-preview"
            let judgments = try golden.files("\(benchmark)/model_judgment/\(judge)").flatMap {
                try ArenaAnnotation.read($0.bytes, path: $0.path)
            }
            battles = ArenaBattles(
                judgments, baseline: isEarly ? "gpt-4-0314" : baseline,
                weight: golden.value("--weight").flatMap { Int($0) } ?? 3,
                firstGameOnly: golden.arguments.contains("--first-game-only"))
        }
        var rule = ArenaScore.Rule(baseline: baseline, anchor: isEarly ? "gpt-4-0314" : nil)
        rule.rounds = golden.value("--num-rounds").flatMap { Int($0) } ?? 100
        rule.resamples = 20
        if golden.arguments.contains("--style-control") { rule.features = [.length, .markdown] }
        if golden.arguments.contains("--length-control-only") { rule.features.insert(.length) }
        if golden.arguments.contains("--markdown-control-only") { rule.features.insert(.markdown) }
        return (battles, try ArenaScore.v01(battles, answers: try golden.answers(benchmark), rule: rule))
    }

    @Test(.enabled(if: !SharedData.fixtures("arena").isEmpty), arguments: ArenaCase.all("ah_v01"))
    fileprivate func `Scores of v0.1 and their intervals are upstream's`(_ golden: ArenaCase) throws {
        if golden.isError { return try Self.survives(golden) }
        let (battles, score) = try Self.v01(golden)
        if let rows = golden.expected["num_battles"]?.integer { #expect(battles.rowCount == rows) }
        if let leaderboard = golden.expected["leaderboard"]?.array {
            for row in leaderboard { try Self.expect(score, row, "winrate", within: 0.005) }
            return
        }
        let isStyled = golden.expected["style"] != nil
        // scikit-learn stops early where there is a penalty; 0.005 is what rounding takes.
        let tolerance = isStyled ? 0.1 : 0.005
        let stats = try #require(golden.expected["stats"]?.array)
        #expect(stats.count == score.entries.count)
        let printsRatings = golden.arguments.contains("--show-elo")
        for row in stats where !printsRatings {
            try Self.expect(score, row, "score", within: tolerance)
            for bound in ["lower", "upper"] { try Self.expect(score, row, bound, within: isStyled ? 0.2 : 0.005) }
        }
        for row in stats { try Self.expect(score, row, "avg_tokens", within: 0) }
        for (model, rating) in golden.expected["elo"]?.object?.members.map({ ($0.key, $0.value.number) }) ?? [] {
            let entry = try #require(score.entries.first { $0.model == model })
            // Beyond, only wins or only losses: the official optimizer stops somewhere.
            guard let rating, abs(rating - 1000) < 2500, !isStyled else { continue }
            #expect(abs((entry.rating ?? .nan) - rating) < 1e-3, "\(model)")
        }
        for (index, coefficient) in (golden.expected["style"]?["coef"]?.array ?? []).enumerated() {
            #expect(abs(score.effects[index] - (coefficient.number ?? .nan)) < 0.02, "\(index)")
        }
    }

    private static func expect(
        _ score: ArenaScore, _ row: JSONValue, _ key: String, within tolerance: Double
    ) throws {
        let model = try #require(row["model"]?.string)
        let entry = try #require(score.entries.first { $0.model == model }, "\(model)")
        let own: Double? =
            switch key {
            case "lower": entry.lower
            case "upper": entry.upper
            case "avg_tokens": Double(entry.averageTokens ?? 0)
            default: entry.score
            }
        guard let official = row[key]?.number else {
            #expect(own == nil, "\(model) \(key)")
            return
        }
        let value = try #require(own, "\(model) \(key) should be \(official)")
        #expect(abs(value - official) <= tolerance + 1e-6, "\(model) \(key): \(value), official \(official)")
    }

    /// Where upstream dies, there is a sentence or a score of what is left.
    private static func survives(_ golden: ArenaCase) throws {
        do {
            let (battles, score) = try v01(golden)
            #expect(score.entries.allSatisfy { 0...100 ~= $0.score })
            if golden.expected["error"]?.string?.hasPrefix("IndexError") == true {
                #expect(battles.unusable["missing game"] ?? 0 > 0)
            }
        } catch let error as EvaluationError {
            #expect(error.description.count > 40, "\(error)")
        }
    }

    // MARK: v2.0

    private static func v2(_ golden: ArenaCase, category: String) throws -> ArenaScore {
        let benchmark = golden.value("--benchmark") ?? "arena-hard-v2.0"
        let named = golden.values(["-j", "--judge-names"])
        let judgments = try (named.isEmpty ? ["gpt-4.1"] : named).flatMap { judge in
            try golden.files("\(benchmark)/model_judgment/\(judge)").flatMap {
                try ArenaAnnotation.read($0.bytes, path: $0.path)
            }
        }
        var rule = ArenaScore.RuleV2(category: category)
        rule.resamples = 20
        let features = golden.values(["-f", "--control-features"])
        if features.contains("length") { rule.features.insert(.length) }
        if features.contains("markdown") { rule.features.insert(.markdown) }
        return try ArenaScore.v2(judgments, answers: try golden.answers(benchmark), rule: rule)
    }

    @Test(.enabled(if: !SharedData.fixtures("arena").isEmpty), arguments: ArenaCase.all("ah_v2"))
    fileprivate func `Scores of v2.0 and their intervals are upstream's`(_ golden: ArenaCase) throws {
        let named = golden.values(["-c", "--category"])
        let categories = named.isEmpty ? ["hard_prompt"] : named
        let features = golden.values(["-f", "--control-features"])
        // Upstream controls for models instead of features where only one of the two is named.
        let isBroken = features == ["length"] || features == ["markdown"]
        for category in categories {
            let score: ArenaScore
            do {
                score = try Self.v2(golden, category: category)
            } catch let error as EvaluationError {
                #expect(golden.isError, "\(error)")
                continue
            }
            #expect(score.entries.allSatisfy { 0...100 ~= $0.score })
            let official = golden.expected["categories"]?.array?.first { $0["category"]?.string == category }
            guard !golden.isError, !isBroken, let official else { continue }
            let tolerance = features.isEmpty ? 1e-10 : 0.05
            for (key, field) in [("point", "scores"), ("lower", "lower"), ("upper", "upper")] {
                for row in official[key]?.array ?? [] {
                    let model = try #require(row["model"]?.string)
                    let entry = try #require(score.entries.first { $0.model == model })
                    let own = try #require(
                        field == "scores" ? entry.score : field == "lower" ? entry.lower : entry.upper)
                    let value = try #require(row[field]?.number)
                    #expect(abs(own - 100 * value) <= tolerance, "\(model) \(key): \(own), official \(100 * value)")
                }
            }
            #expect(score.entries.count == official["table"]?.array?.count)
            let medians = try Self.medianEffects(official, features: 4)
            for (own, official) in zip(score.effects, medians) { #expect(abs(own - official) < 0.01) }
        }
    }

    private static func medianEffects(_ official: JSONValue, features: Int) throws -> [Double] {
        let rounds = try (official["bootstrap_coefs"]?.array ?? []).map { round in
            try (round.array ?? []).suffix(features).map { try #require($0.number) }
        }
        if rounds.isEmpty { return [] }
        return (0..<features).map { feature in
            let sorted = rounds.map { $0[feature] }.sorted()
            return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        }
    }

    @Test(arguments: [StyleFeatures(), .length]) func `A resample without a game of a model says nothing of it`(
        _ features: StyleFeatures
    ) throws {
        func record(_ prompt: Int, _ model: String, _ labels: [String]) -> ArenaAnnotation {
            ArenaAnnotation(id: "q\(prompt)", model: model, category: "hard_prompt", labels: labels)
        }
        let often = (0..<20).map { record($0, "often", $0 % 2 == 0 ? ["A>B", "B>A"] : ["B>A", "A>B"]) }
        let answers = try ["o3-mini-2025-01-31", "often", "rare"].enumerated().map { place, model in
            let lines = (0..<20).map {
                #"{"uid": "q\#($0)", "metadata": {"token_len": \#(10 + (place + 1) * $0 % 7), "#
                    + #""header_count": 0, "list_count": 0, "bold_count": 0}}"#
            }
            return try ArenaOutputs.read(Array(lines.joined(separator: "\n").utf8), path: "\(model).jsonl")
        }
        var rule = ArenaScore.RuleV2(category: "hard_prompt")
        (rule.features, rule.rounds, rule.resamples) = (features, 5, 200)
        let score = try ArenaScore.v2(
            often + [record(3, "rare", ["A>>B", "B>A"])], answers: answers, rule: rule)
        #expect(score.entries.first { $0.model == "often" }?.interval?.failed == 0)
        // (19 / 20)^20 of the resamples are without the prompt.
        let failed = try #require(score.entries.first { $0.model == "rare" }?.interval?.failed)
        #expect(40...110 ~= failed, "\(failed)")
    }

    // MARK: Battles that are not a star

    private static func battles(_ rows: [(String, String, String)]) throws -> ArenaBattles {
        let lines = rows.enumerated().map { index, row in
            #"{"question_id": "q\#(index)", "model_a": "\#(row.0)", "model_b": "\#(row.1)", "winner": "\#(row.2)"}"#
        }
        return try ArenaBattles(Array(lines.joined(separator: "\n").utf8), path: "b.jsonl")
    }

    @Test func `Games of everyone with everyone are fitted together`() throws {
        let games = [("a", "b", 3, 1), ("b", "c", 2, 2), ("c", "a", 1, 4)].flatMap { first, second, wins, losses in
            [(String, String, String)](repeating: (first, second, "model_a"), count: wins)
                + [(String, String, String)](repeating: (first, second, "model_b"), count: losses)
        }
        var rule = ArenaScore.Rule(baseline: "b")
        rule.resamples = 50
        let score = try ArenaScore.v01(Self.battles(games), answers: [], rule: rule)
        // The minimum of the likelihood, found apart by a search over both strengths.
        let strengths = Dictionary(uniqueKeysWithValues: score.entries.map { ($0.model, ($0.rating ?? 0) / 400) })
        func likelihood(_ a: Double, _ c: Double) -> Double {
            func log(_ first: Double, _ second: Double) -> Double { -Foundation.log(1 + pow(10, second - first)) }
            return 3 * log(a, 0) + log(0, a) + 2 * log(0, c) + 2 * log(c, 0) + log(c, a) + 4 * log(a, c)
        }
        let base = try #require(strengths["b"])
        let (a, c) = (try #require(strengths["a"]) - base, try #require(strengths["c"]) - base)
        for (stepA, stepC) in [(1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)] {
            #expect(likelihood(a, c) > likelihood(a + stepA, c + stepC))
        }
        #expect(score.entries.map(\.model).first == "a")
        #expect(score.entries[0].interval != nil)
    }

    @Test(arguments: [
        [("a", "b", "model_a"), ("c", "a", "model_a"), ("c", "b", "model_a"), ("b", "a", "model_a")],
        [("a", "b", "model_a"), ("a", "b", "model_b"), ("c", "d", "model_a"), ("c", "d", "model_b")],
    ])
    func `Without a finite solution there is a sentence, never 50 for everyone`(_ rows: [(String, String, String)])
        throws
    {
        let error = #expect(throws: EvaluationError.self) {
            try ArenaScore.v01(try Self.battles(rows), answers: [], rule: ArenaScore.Rule(baseline: "a"))
        }
        #expect(error?.description.contains("no finite solution") == true, "\(String(describing: error))")
    }

    @Test func `The golden values are there when their folder is`() {
        let isThere = !SharedData.fixtures("arena").isEmpty
        for prefix in ["ah_v01", "ah_v2"] { #expect(ArenaCase.all(prefix).isEmpty != isThere) }
    }
}
