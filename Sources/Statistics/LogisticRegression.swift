/// The minimum of ‖β‖₁ + C·loss(β), found by proximal Newton steps to full convergence.
///
/// Unlike ``CoordinateDescent`` the result does not depend on how it was reached, which is what a refit in every
/// bootstrap resample needs. Lee, Sun and Saunders 2014, https://doi.org/10.1137/130921428.
package struct LogisticRegression: Sendable {
    package var inverseRegularization: Double
    /// The columns with a coefficient; those of the others stay 0.
    package var columns: [Int]

    package init(inverseRegularization: Double, columns: [Int]) {
        self.inverseRegularization = inverseRegularization
        self.columns = columns
    }

    /// Of C·Σ weight: the stationarity that counts as converged.
    private static let tolerance = 1e-10

    /// Nil if 100 steps do not converge.
    package func minimize(_ loss: LogisticLoss, from start: Coefficients) -> Coefficients? {
        let c = inverseRegularization
        let tolerance = Self.tolerance * max(c * loss.totalWeight, 1)
        var beta = start
        var value = loss.evaluate(at: beta)
        for _ in 0..<100 {
            if stationarityError(at: beta, gradient: value.gradient) <= tolerance { return beta }
            let step = newtonStep(from: beta, value)
            guard let next = backtrack(from: beta, value, along: step, on: loss) else { return beta }
            (beta, value) = next
        }
        return nil
    }

    /// The largest violation of the optimality conditions: C·gradient = −sign(β) where β ≠ 0, |C·gradient| ≤ 1
    /// elsewhere.
    package func stationarityError(at beta: Coefficients, gradient: Coefficients) -> Double {
        columns.reduce(0) { largest, j in
            let slope = inverseRegularization * gradient[j]
            let error = beta[j] == 0 ? max(abs(slope) - 1, 0) : abs(slope + (beta[j] > 0 ? 1 : -1))
            return max(largest, error)
        }
    }

    /// Minimises the second-order model with the penalty, one coordinate at a time.
    private func newtonStep(from beta: Coefficients, _ value: LogisticLoss.Value) -> Coefficients {
        let c = inverseRegularization
        var step = Coefficients()
        for _ in 0..<500 {
            var moved = 0.0
            for j in columns {
                let slope = c * (value.gradient[j] + (value.hessian[j] * step).sum())
                let curvature = c * value.hessian[j][j] + 1e-12
                let z = minimizingStep(from: beta[j] + step[j], slope: slope, curvature: curvature)
                step[j] += z
                moved = max(moved, abs(z))
            }
            if moved <= 1e-14 * (1 + absoluteSum(beta + step)) { break }
        }
        return step
    }

    /// Halves the step until the objective falls enough; nil when rounding lets it fall no further.
    private func backtrack(
        from beta: Coefficients, _ value: LogisticLoss.Value, along step: Coefficients, on loss: LogisticLoss
    ) -> (Coefficients, LogisticLoss.Value)? {
        let c = inverseRegularization
        let norm = absoluteSum(beta)
        let expected = c * (value.gradient * step).sum() + absoluteSum(beta + step) - norm
        let rounding = 1e-15 * (c * value.loss + norm)
        var fraction = 1.0
        for _ in 0..<30 {
            let candidate = beta + fraction * step
            let next = loss.evaluate(at: candidate)
            let change = c * (next.loss - value.loss) + absoluteSum(candidate) - norm
            if change <= 1e-4 * fraction * expected + rounding { return (candidate, next) }
            fraction *= 0.5
        }
        return nil
    }
}
