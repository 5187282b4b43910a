import Statistics
import Testing

@Suite("Win rate")
struct WinRateTests {
    @Test("Wins, losses and draws are counted, missing verdicts left out")
    func counts() throws {
        let rate = WinRate(preferences: [1, 0.75, 0.5, 0.25, nil, 0.5, 0])
        #expect(rate.wins == 2 && rate.baselineWins == 2 && rate.draws == 2 && rate.count == 6)
        #expect(rate.winRate == 50)
        #expect(rate.discreteWinRate == 50)
        // Squared distances 0.25, 0.0625, 0, 0.0625, 0, 0.25 sum to 0.625; √(0.625 / 5 / 6).
        #expect(abs(try #require(rate.standardError) - 14.433756729740645) < 1e-12)
    }

    @Test("Values outside 0...1 count for nothing")
    func outOfRange() {
        #expect(WinRate(preferences: [0.9, 2, -2, 0.3]) == WinRate(preferences: [0.9, 0.3]))
    }

    @Test("The discrete win rate rounds before it looks at the range, as upstream")
    func discreteRounding() {
        let rate = WinRate(preferences: [0.9, -0.3, 1.4, -1, 0.5, 2])
        #expect(rate.count == 2 && rate.wins == 1 && rate.draws == 1)
        // Win, loss, win, draw, draw; the last is left out.
        #expect(rate.discreteWinRate == 60)
    }

    @Test("What is undefined is nil")
    func undefined() {
        let none = WinRate(preferences: [nil, nil])
        #expect(none.winRate == nil && none.standardError == nil && none.discreteWinRate == nil)
        #expect(none.count == 0)
        let one = WinRate(preferences: [0.8])
        #expect(one.winRate == 80 && one.standardError == nil && one.discreteWinRate == 100)
    }
}
