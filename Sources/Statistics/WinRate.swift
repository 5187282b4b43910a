/// How often the model is preferred to the baseline, as AlpacaEval 2 counts it.
package struct WinRate: Codable, Hashable, Sendable {
    /// Mean preference in percent; nil when nothing was scored.
    package var winRate: Double?
    /// Standard error of `winRate` in percent (sample deviation over √n); nil below two scored prompts.
    package var standardError: Double?
    /// Prompts with a preference above, below and of exactly one half.
    package var wins, baselineWins, draws: Int
    /// Prompts with a preference in 0...1.
    package var count: Int
    /// Wins plus half the draws, in percent; nil when nothing was scored.
    package var discreteWinRate: Double?

    /// Preferences for the model over the baseline; nil is a missing verdict.
    ///
    /// Values outside 0...1 are left out, as in the official package; only `discreteWinRate` rounds first.
    package init(preferences: [Double?]) {
        let scored = preferences.compactMap { $0 }.filter { 0 <= $0 && $0 <= 1 }
        count = scored.count
        wins = scored.count { $0 > 0.5 }
        baselineWins = scored.count { $0 < 0.5 }
        draws = scored.count { $0 == 0.5 }
        winRate = mean(scored).map { 100 * $0 }
        standardError = sampleStandardDeviation(scored).map { 100 * $0 / Double(scored.count).squareRoot() }
        discreteWinRate = mean(preferences.compactMap { $0.flatMap(Self.discrete) }).map { 100 * $0 }
    }

    /// Loss 0, draw ½, win 1; nil leaves the prompt out.
    ///
    /// The official package rounds 1 + preference to an integer, and an integer 0 is a draw, before it looks at the
    /// range. So a preference somewhat outside 0...1 counts here, and nowhere else.
    private static func discrete(_ preference: Double) -> Double? {
        switch preference {
        case 0.5, -1.5 ... -0.5: 0.5
        case -0.5..<0.5: 0
        case 0.5...1.5: 1
        default: nil
        }
    }
}
