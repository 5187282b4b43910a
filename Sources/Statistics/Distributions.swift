#if canImport(Glibc)
    import Glibc
#endif

/// The share of a standard normal variable below `z`.
package func normalProbability(below z: Double) -> Double { 0.5 * erfc(-z / 2.0.squareRoot()) }

/// The z below which a share `p` of a standard normal variable lies.
package func normalQuantile(_ p: Double) -> Double {
    precondition(p > 0 && p < 1, "the \(p) quantile of a normal variable")
    return bisected(-40, 40) { normalProbability(below: $0) < p }
}

/// The share of Student's t with `degrees` of freedom below `t`.
package func studentProbability(below t: Double, degrees: Double) -> Double {
    precondition(degrees > 0, "\(degrees) degrees of freedom")
    let tail = 0.5 * incompleteBeta(degrees / (degrees + t * t), degrees / 2, 0.5)
    return t > 0 ? 1 - tail : tail
}

/// The t below which a share `p` of Student's t lies.
package func studentQuantile(_ p: Double, degrees: Double) -> Double {
    precondition(p > 0 && p < 1, "the \(p) quantile of Student's t")
    return bisected(-1e6, 1e6) { studentProbability(below: $0, degrees: degrees) < p }
}

/// I_x(a, b), by the continued fraction of DLMF 8.17.22 (https://dlmf.nist.gov/8.17.v), evaluated from the front by
/// Lentz's method.
private func incompleteBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
    if x <= 0 || x >= 1 { return x <= 0 ? 0 : 1 }
    // The fraction converges fast on this side of the mean only.
    if x > (a + 1) / (a + b + 2) { return 1 - incompleteBeta(1 - x, b, a) }
    let front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    let tiny = 1e-300
    // Of 1 + 1 / (1 + …), so that the product of Lentz's method starts at 1.
    var (c, d, fraction) = (1.0, 0.0, 1.0)
    for step in 0..<400 {
        let m = Double(step / 2)
        let coefficient =
            step == 0
            ? 1
            : step.isMultiple(of: 2)
                ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 + coefficient * d
        d = 1 / (abs(d) < tiny ? tiny : d)
        c = 1 + coefficient / c
        if abs(c) < tiny { c = tiny }
        fraction *= c * d
        if step > 0, abs(c * d - 1) < 1e-15 { break }
    }
    return front * (fraction - 1)
}

/// Where `isBelow` turns false, to the last bit.
private func bisected(_ lower: Double, _ upper: Double, _ isBelow: (Double) -> Bool) -> Double {
    var (lower, upper) = (lower, upper)
    while true {
        let middle = lower + (upper - lower) / 2
        if middle <= lower || middle >= upper { return middle }
        if isBelow(middle) { lower = middle } else { upper = middle }
    }
}
