import Chat
import Evaluation
import Foundation
import TestSupport
import Testing

/// What FastChat's `show_result.py` printed and computed.
@Suite struct MTBenchGoldenTests {
    private struct Golden: CustomTestStringConvertible, Sendable {
        var path: String
        var input: [UInt8]
        var expected: JSONValue

        var testDescription: String { path }

        /// Every folder with an `expected.json` below those whose names begin so.
        static func all(_ prefix: String) -> [Golden] {
            SharedData.fixtures("arena").filter { URL(fileURLWithPath: $0).lastPathComponent.hasPrefix(prefix) }
                .flatMap { folder in
                    SharedData.names(folder).compactMap { name in
                        let path = "\(folder)/\(name)"
                        guard let data = try? SharedData.contents("\(path)/expected.json"),
                            let expected = try? JSONValue(parsing: Array(data)),
                            let file = SharedData.names(path).first(where: { $0.hasPrefix("input") }),
                            let input = try? SharedData.contents("\(path)/\(file)")
                        else { return nil }
                        return Golden(path: path, input: Array(input), expected: expected)
                    }
                }
        }
    }

    @Test(.enabled(if: !SharedData.fixtures("arena").isEmpty), arguments: Golden.all("mtbench_single"))
    private func `Single grading gives upstream's tables`(_ golden: Golden) throws {
        let grades = try MTBenchAnnotation.read(golden.input, path: golden.path)
        let score = MTBenchScore(grades, resamples: 50)
        try compare(score, golden.expected)
        for (model, categories) in golden.expected["per_category_radar"]?.object?.members.map({ ($0.key, $0.value) })
            ?? []
        {
            let entry = try #require(score.entries.first { $0.model == model })
            for member in categories.object?.members ?? [] {
                #expect(close(entry.categories[member.key], member.value.number), "\(model) \(member.key)")
            }
        }
        if let listed = golden.expected["with_model_list"], let arguments = listed["argv"]?.array?.compactMap(\.string),
            let place = arguments.firstIndex(of: "--model-list")
        {
            let models = Set(arguments[(place + 1)...])
            try compare(MTBenchScore(grades.filter { models.contains($0.model) }, resamples: 0), listed)
        }
    }

    private func compare(_ score: MTBenchScore, _ expected: JSONValue) throws {
        for (key, turn) in [("first_turn", 0), ("second_turn", 1), ("average", nil)] {
            guard let rows = expected[key]?.array else { continue }
            for row in rows {
                let model = try #require(row["model"]?.string)
                let entry = try #require(score.entries.first { $0.model == model }, "\(model)")
                let own = turn.map { entry.turns[$0] } ?? entry.average
                #expect(close(own, row["score"]?.number), "\(model) \(key)")
            }
            #expect(score.entries.count { turn == nil || $0.turns[turn ?? 0] != nil } == rows.count, "\(key)")
        }
    }

    @Test(.enabled(if: !SharedData.fixtures("arena").isEmpty), arguments: Golden.all("mtbench_pair"))
    private func `Pairwise grading gives upstream's tables`(_ golden: Golden) throws {
        let pairs = try MTBenchPair.read(golden.input, path: golden.path)
        var compared = 0
        for (key, expected) in golden.expected.object?.members.map({ ($0.key, $0.value) }) ?? [] {
            guard let arguments = expected["argv"]?.array?.compactMap(\.string),
                let mode = arguments.first(where: {
                    $0.hasPrefix("pairwise")
                })
            else { continue }
            var chosen = pairs
            if let place = arguments.firstIndex(of: "--model-list") {
                let models = Set(arguments[(place + 1)...].prefix { !$0.hasPrefix("--") })
                chosen = pairs.filter { models.contains($0.first) }
            }
            var baseline: String?
            if mode == "pairwise-baseline" {
                let place = arguments.firstIndex(of: "--baseline-model")
                baseline = place.map { arguments[$0 + 1] } ?? "gpt-3.5-turbo"
            }
            let score = MTBenchPairScore(chosen, baseline: baseline, resamples: 50)
            guard let table = expected["table"]?.array else {
                #expect(score.entries.isEmpty, "\(key)")
                continue
            }
            compared += 1
            #expect(table.count == score.entries.count, "\(key)")
            for row in table {
                let model = try #require(row["model"]?.string)
                let entry = try #require(score.entries.first { $0.model == model })
                let own = [
                    "win": Double(entry.wins), "loss": Double(entry.losses), "tie": Double(entry.ties),
                    "win_rate": entry.winRate, "loss_rate": entry.lossRate,
                    "win_rate_adjusted": entry.adjustedWinRate,
                ]
                for (name, value) in own { #expect(close(value, row[name]?.number), "\(key) \(model) \(name)") }
            }
        }
        #expect(compared > 0 || golden.path.hasSuffix("error"))
    }

    private func close(_ own: Double?, _ official: Double?) -> Bool {
        guard let own, let official else { return own == nil && official == nil }
        return abs(own - official) <= 1e-12 * max(1, abs(official))
    }
}
