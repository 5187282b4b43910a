import Foundation
import Statistics
import TestSupport
import Testing

@Suite struct RankCorrelationTests {
    @Test func `Equal values share the mean of their ranks`() {
        #expect(averageRanks([30, 10, 20, 10, 30, 30]) == [5, 1.5, 3, 1.5, 5, 5])
        #expect(averageRanks([7, 7]) == [1.5, 1.5])
        #expect(averageRanks([]) == [])
    }

    @Test func `Correlations are scipy's`() throws {
        // scipy 1.17.1, spearmanr.
        #expect(abs(try #require(spearmanCorrelation([1, 2, 3, 4, 5], [5, 6, 7, 8, 7])) - 0.8207826816681233) < 1e-14)
        #expect(
            abs(try #require(spearmanCorrelation([3, -1, 4, -1, 5, 9], [2, 7, 1, 8, 2, 8])) - (-0.1343433226559697))
                < 1e-14)
        #expect(spearmanCorrelation([1, 10, 100], [-1, 0, 1e9]) == 1)
        #expect(spearmanCorrelation([1, 2], [4, 3]) == -1)
    }

    @Test func `There is no correlation of one value, or with a constant`() {
        #expect(spearmanCorrelation([], []) == nil)
        #expect(spearmanCorrelation([1], [2]) == nil)
        #expect(spearmanCorrelation([1, 2, 3], [4, 4, 4]) == nil)
        #expect(spearmanCorrelation([1, 1, 1], [1, 2, 3]) == nil)
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/misc/statistics.json")))
    func `Correlations are the golden ones`() throws {
        let data = try SharedData.contents("\(SharedData.fixtures)/misc/statistics.json")
        let cases = try JSONDecoder().decode(GoldenStatistics.self, from: data).spearman
        #expect(!cases.isEmpty)
        for golden in cases {
            let found = try #require(spearmanCorrelation(golden.x, golden.y))
            // Nine digits.
            #expect(abs(found - golden.spearman) < 1e-9)
        }
    }
}

private struct GoldenStatistics: Decodable {
    struct Case: Decodable {
        var x, y: [Double]
        var spearman: Double
    }

    var spearman: [Case]
}
