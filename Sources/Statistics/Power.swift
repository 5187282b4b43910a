/// The smallest true difference that a two-sided test at 5 % finds with a power of 80 %, in the unit of the standard
/// error: (z₀.₉₇₅ + z₀.₈) · SE.
package func smallestDetectableDifference(standardError: Double) -> Double {
    (1.959963984540054 + 0.8416212335729143) * standardError
}
