let power = 0.8

/// The smallest true difference that a two-sided test at `alpha` finds with a power of 80 %, in the unit of the standard
/// error: (z₁₋α⸝₂ + z₀.₈) · SE.
package func smallestDetectableDifference(standardError: Double, alpha: Double = 0.05) -> Double {
    (normalQuantile(1 - alpha / 2) + normalQuantile(power)) * standardError
}

/// How many prompts would find `difference`, were it true, with a power of 80 %; nil for no difference.
///
/// - Parameters:
///   - standardError: of the difference over `count` prompts; it shrinks with the root of their number.
package func promptsToDetect(_ difference: Double, standardError: Double, count: Int, alpha: Double = 0.05) -> Int? {
    let ratio = smallestDetectableDifference(standardError: standardError, alpha: alpha) / abs(difference)
    let needed = (Double(count) * ratio * ratio).rounded(.up)
    return needed.isFinite && needed < 1e9 ? max(2, Int(needed)) : nil
}

/// Holm's adjustment of several p-values, by which the chance of any wrong rejection stays at the level of one (Holm
/// 1979, https://www.jstor.org/stable/4615733). Nil stays nil and does not count.
package func holmAdjusted(_ values: [Double?]) -> [Double?] {
    let order = values.indices.filter { values[$0] != nil }.sorted { (values[$0] ?? 1) < (values[$1] ?? 1) }
    var adjusted = [Double?](repeating: nil, count: values.count)
    var largest = 0.0
    for (rank, place) in order.enumerated() {
        largest = max(largest, min(1, (values[place] ?? 1) * Double(order.count - rank)))
        adjusted[place] = largest
    }
    return adjusted
}
