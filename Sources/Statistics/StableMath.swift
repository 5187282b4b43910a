#if canImport(Glibc)
    import Glibc
#endif

/// 1 / (1 + e^−x), without overflow at either end.
package func sigmoid(_ x: Double) -> Double {
    if x >= 0 { return 1 / (1 + exp(-x)) }
    let e = exp(x)
    return e / (1 + e)
}

/// nil for no values.
package func mean(_ values: [Double]) -> Double? {
    values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
}

/// The deviation with n − 1 in the denominator; nil below two values.
package func sampleStandardDeviation(_ values: [Double]) -> Double? {
    guard values.count > 1, let center = mean(values) else { return nil }
    let squares = values.reduce(0) { $0 + ($1 - center) * ($1 - center) }
    return (squares / Double(values.count - 1)).squareRoot()
}

/// The value below which `fraction` of ascending values lie, interpolated between neighbours.
package func quantile(_ fraction: Double, ofSorted values: [Double]) -> Double {
    precondition(!values.isEmpty && 0 <= fraction && fraction <= 1, "\(fraction) quantile of \(values.count) values")
    let position = fraction * Double(values.count - 1)
    let below = Int(position)
    let above = min(below + 1, values.count - 1)
    return values[below] + (position - Double(below)) * (values[above] - values[below])
}

/// Eight rows of one column.
///
/// glibc's functions take one number and one call each; the ones below stay in vector registers. Multiply and add are
/// kept apart: without -march a fused one is a library call.
package typealias Lanes = SIMD8<Double>

extension Lanes {
    /// `clamped` of the standard library calls a function a lane; this is two instructions.
    @inline(__always)
    static func limited(_ x: Lanes, to limit: Double) -> Lanes {
        let (low, high) = (Lanes(repeating: -limit), Lanes(repeating: limit))
        let below = x.replacing(with: high, where: high .< x)
        return below.replacing(with: low, where: below .< low)
    }

    /// e^x within 2 ulp, for x clamped to ±700.
    @inline(__always)
    package static func exp(_ x: Lanes) -> Lanes {
        // x = k·ln 2 + r with |r| ≤ ln 2 / 2. Adding 1.5·2^52 leaves k, rounded, in the low bits.
        let x = limited(x, to: 700)
        let shifted = x * 1.4426950408889634 + 0x1.8p52
        let k = shifted - 0x1.8p52
        let r = (x - k * ln2High) - k * ln2Low
        // Taylor to r^13, in pairs: a chain of fourteen would leave the multipliers idle.
        let r2 = r * r
        let r4 = r2 * r2
        let p0 = linear(1, 1, r) + linear(1 / 2, 1 / 6, r) * r2
        let p4 = linear(1 / 24, 1 / 120, r) + linear(1 / 720, 1 / 5_040, r) * r2
        let p8 = linear(1 / 40_320, 1 / 362_880, r) + linear(1 / 3_628_800, 1 / 39_916_800, r) * r2
        let p12 = linear(1 / 479_001_600, 1 / 6_227_020_800, r)
        let p = p0 + (p4 + (p8 + p12 * r4) * r4) * r4
        let exponent = (unsafeBitCast(shifted, to: SIMD8<UInt64>.self) &<< 52) &+ 0x3FF0_0000_0000_0000
        return p * unsafeBitCast(exponent, to: Lanes.self)
    }

    /// Natural logarithm within 2 ulp, for positive normal numbers; the polynomial is fdlibm's `e_log.c`.
    @inline(__always)
    package static func log(_ x: Lanes) -> Lanes {
        // x = 2^k · m with m in √½ ..< √2.
        let rootHalf: UInt64 = 0x3FE6_A09E_667F_3BCD
        let bits = unsafeBitCast(x, to: SIMD8<UInt64>.self) &+ (0x3FF0_0000_0000_0000 &- rootHalf)
        let k = unsafeBitCast((bits &>> 52) | 0x4330_0000_0000_0000, to: Lanes.self) - (0x1p52 + 1023)
        let m = unsafeBitCast((bits & 0x000F_FFFF_FFFF_FFFF) &+ rootHalf, to: Lanes.self)
        let f = m - 1
        let s = f / (f + 2)
        let z = s * s
        let z2 = z * z
        let p0 = linear(6.666666666666735130e-01, 3.999999999940941908e-01, z)
        let p2 = linear(2.857142874366239149e-01, 2.222219843214978396e-01, z)
        let p4 = linear(1.818357216161805012e-01, 1.531383769920937332e-01, z)
        let p = p0 + (p2 + (p4 + 1.479819860511658591e-01 * z2) * z2) * z2
        let half = 0.5 * f * f
        return k * ln2High - ((half - (s * (half + p * z) + k * ln2Low)) - f)
    }

    /// tanh x within 1e-15, absolutely.
    @inline(__always)
    package static func tanh(_ x: Lanes) -> Lanes {
        let e = exp(2 * limited(x, to: 20))
        return 1 - 2 / (e + 1)
    }
}

/// a + b·x
@inline(__always)
private func linear(_ a: Double, _ b: Double, _ x: Lanes) -> Lanes {
    b * x + a
}

private let ln2High = 6.93147180369123816490e-01
private let ln2Low = 1.90821492927058770002e-10
