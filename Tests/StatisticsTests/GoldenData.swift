import Foundation
import Statistics
import TestSupport

/// Upstream's data and results, read where they lie; nothing of them is in the repository.
enum GoldenData {
    static let isPresent = SharedData.hasAlpacaEval
    static let whenAbsent = "needs AlpacaEval's data; set EVALHARNESS_DATA to the directory that holds alpacaeval/"

    static func alpacaEval(_ path: String) -> URL {
        URL(filePath: SharedData.alpacaEval).appending(path: path)
    }

    /// The parsed file; `.zst` files are unpacked first.
    static func json(_ path: String) throws -> [String: Any] {
        let data = try SharedData.contents(alpacaEval(path).path)
        return try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    }

    /// One object a line.
    static func jsonLines(_ path: String) throws -> [[String: Any]] {
        try SharedData.contents(alpacaEval(path).path).split(separator: UInt8(ascii: "\n")).map {
            try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any] ?? [:]
        }
    }
}

/// The calibration files that every AlpacaEval 2 fit shares.
struct Calibration {
    var gamed: [GamedRow] = []
    /// By row label of the first occurrence of each index.
    var difficulty: [Double] = []

    init() throws {
        let text = try String(contentsOf: GoldenData.alpacaEval("glm/df_gamed.recovered.csv"), encoding: .utf8)
        var seen: Set<String> = []
        for line in text.split(separator: "\n").dropFirst() {
            let cells = line.split(separator: ",").map(String.init)
            guard let preference = Double(cells[1]), let length = Double(cells[3]), let difficulty = Double(cells[4])
            else { throw CocoaError(.fileReadCorruptFile) }
            gamed.append(
                GamedRow(preference: preference, standardizedLengthDifference: length, difficulty: difficulty))
            if seen.insert(cells[2]).inserted { self.difficulty.append(difficulty) }
        }
    }
}

/// What the official package computed for one model.
struct GoldenCase {
    var name: String
    /// 1...2 as upstream; nil is missing, 0 a draw.
    var officialPreferences: [Double?]
    /// Baseline minus model.
    var lengthDifferences: [Double]
    var sameGenerator = false
    var metrics: Metrics?
    var fits: [LengthControlDesign: Fit] = [:]

    struct Metrics {
        var winRate, standardError, discreteWinRate: Double
        var wins, baselineWins, draws, count: Int
    }

    struct Fit {
        var winRate, standardError: Double
        var inverseRegularization: Double?
        var coefficients: [Double]?
        var scores: [[Double]]?
        var meanScores: [Double]?
    }

    var preferences: [Double?] {
        officialPreferences.map { $0.map { $0 == 0 ? 0.5 : $0 - 1 } }
    }

    func rows(_ difficulty: [Double]) -> [LengthControlRow] {
        zip(preferences, lengthDifferences).enumerated().map { i, pair in
            LengthControlRow(preference: pair.0, lengthDifference: pair.1, difficulty: difficulty[i])
        }
    }

    static func models() throws -> [GoldenCase] {
        let models = try GoldenData.json("dev_expected.json")["models"] as? [String: [String: Any]] ?? [:]
        return try models.sorted { $0.key < $1.key }.map { name, expected in
            let rows = try GoldenData.jsonLines("dev/\(name)/annotations.compact.jsonl.zst").dropFirst()
            var golden = GoldenCase(
                name: name, officialPreferences: rows.map { number($0["preference"]) },
                lengthDifferences: rows.map { (number($0["len_1"]) ?? .nan) - (number($0["len_2"]) ?? .nan) })
            golden.sameGenerator = expected["generator_1"] as? String == expected["generator_2"] as? String
            golden.metrics = Metrics(expected)
            golden.fits[.v1] = Fit(expected)
            for design in [LengthControlDesign.noRegularization, .minimal] {
                golden.fits[design] = (expected[design.rawValue] as? [String: Any]).flatMap(Fit.init)
            }
            return golden
        }
    }

    static func synthetic() throws -> [GoldenCase] {
        try GoldenData.json("synthetic/dev.json.zst").sorted { $0.key < $1.key }.compactMap { name, value in
            guard let value = value as? [String: Any], let expected = value["expected"] as? [String: Any],
                let preferences = value["preference"] as? [Any], let baseline = value["len_1"] as? [Any],
                let model = value["len_2"] as? [Any]
            else { return nil }
            return GoldenCase(
                name: name, officialPreferences: preferences.map(number),
                lengthDifferences: zip(baseline, model).map { (number($0) ?? .nan) - (number($1) ?? .nan) },
                metrics: Metrics(expected), fits: Fit(expected).map { [.v1: $0] } ?? [:])
        }
    }

    /// A case without metrics is one where the official package crashes.
    static func edges() throws -> [GoldenCase] {
        try GoldenData.json("edge/edge_cases.json.zst").sorted { $0.key < $1.key }.compactMap { name, value in
            guard let value = value as? [String: Any], let expected = value["out"] as? [String: Any],
                let rows = value["rows"] as? [[String: Any]], let options = value["kwargs"] as? [String: Any]
            else { return nil }
            let design = (options["glm_name"] as? String).flatMap(LengthControlDesign.init(rawValue:)) ?? .v1
            return GoldenCase(
                name: name, officialPreferences: rows.map { number($0["preference"]) },
                lengthDifferences: rows.map { (number($0["len1"]) ?? .nan) - (number($0["len2"]) ?? .nan) },
                sameGenerator: value["generator_1"] as? String == value["generator_2"] as? String,
                metrics: Metrics(expected), fits: Fit(expected).map { [design: $0] } ?? [:])
        }
    }
}

extension GoldenCase.Metrics {
    init?(_ expected: [String: Any]) {
        guard let winRate = number(expected["win_rate"]), let standardError = number(expected["standard_error"]),
            let discrete = number(expected["discrete_win_rate"]), let wins = number(expected["n_wins"]),
            let baselineWins = number(expected["n_wins_base"]), let draws = number(expected["n_draws"]),
            let count = number(expected["n_total"])
        else { return nil }
        self.init(
            winRate: winRate, standardError: standardError, discreteWinRate: discrete, wins: Int(wins),
            baselineWins: Int(baselineWins), draws: Int(draws), count: Int(count))
    }
}

extension GoldenCase.Fit {
    init?(_ expected: [String: Any]) {
        guard let winRate = number(expected["length_controlled_winrate"] ?? expected["lc"]),
            let standardError = number(expected["lc_standard_error"] ?? expected["se"])
        else { return nil }
        self.init(
            winRate: winRate, standardError: standardError, inverseRegularization: number(expected["C"]),
            coefficients: expected["coef"] as? [Double], scores: expected["cv_scores"] as? [[Double]],
            meanScores: expected["cv_mean_scores"] as? [Double])
    }
}

private func number(_ value: Any?) -> Double? {
    (value as? NSNumber)?.doubleValue
}
