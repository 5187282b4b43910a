/// liblinear's solver for L1-regularised logistic regression (newGLMNET), stopped where scikit-learn stops it.
///
/// It minimises ‖β‖₁ + C·loss(β) to a tolerance so loose that it shows in the second decimal of a length-controlled win
/// rate and decides which C wins the cross-validation. So the official number is a property of this path, not of the
/// minimum: order of coordinates, shrinking, stopping rules and random draws are upstream's.
/// Yuan, Ho and Lin 2012, https://jmlr.org/papers/v13/yuan12a.html, and `solve_l1r_lr` in liblinear's `linear.cpp`.
///
/// Where upstream walks over the rows once a coordinate step, we walk over the 3 × 3 Hessian that those rows sum to.
package struct CoordinateDescent: Sendable {
    private let loss: LogisticLoss
    /// Loss at β = 0, where every fit starts.
    private let start: LogisticLoss.Value
    /// Rows after duplication, as upstream counts them.
    private let rowCount: Double
    private let tolerance: Double

    private static let curvatureFloor = 1e-12
    private static let sufficientDecrease = 0.01

    package init(_ rows: [DesignRow]) {
        let rows = rows.map(\.withoutNegativeWeights)
        let positives = Double(rows.count { $0.positive > 0 })
        let negatives = Double(rows.count { $0.negative > 0 })
        loss = LogisticLoss(rows)
        start = loss.evaluate(at: Coefficients())
        rowCount = positives + negatives
        tolerance = 1e-4 * max(min(positives, negatives), 1) / rowCount
    }

    /// The coefficients where liblinear stops; those of columns not named stay 0.
    package func solve(columns: [Int], inverseRegularization c: Double, seed: UInt32) -> Coefficients {
        var generator = MersenneTwister(seed: seed)
        var order = columns
        var beta = Coefficients()
        var trial = beta
        var value = start
        var largestViolation = Double.infinity
        var initialViolation = 0.0
        var innerTolerance = 1.0

        for outer in 0..<100 {
            let slope = c * value.gradient
            let outcome = violations(at: beta, slope: slope, order: &order, threshold: largestViolation / rowCount)
            if outer == 0 { initialViolation = outcome.sum }
            if outcome.sum <= tolerance * initialViolation { break }

            var model = QuadraticModel(scale: c, slope: slope, hessian: value.hessian, beta: beta, trial: trial)
            let sweeps = model.descend(
                &order, active: outcome.active, rowCount: rowCount, target: innerTolerance * initialViolation,
                using: &generator)
            trial = model.trial
            if let accepted = lineSearch(from: beta, value, to: &trial, slope: slope, c) {
                beta = trial
                value = accepted
            }
            if sweeps == 1 { innerTolerance *= 0.25 }
            largestViolation = outcome.largest
        }
        return beta
    }

    /// How far each coordinate is from optimal; those that rest at 0 well inside the penalty move to the end of
    /// `order`.
    private func violations(
        at beta: Coefficients, slope: Coefficients, order: inout [Int], threshold: Double
    ) -> (active: Int, sum: Double, largest: Double) {
        var active = order.count
        var sum = 0.0
        var largest = 0.0
        var s = 0
        while s < active {
            let j = order[s]
            guard let violation = violation(of: beta[j], slope: slope[j], threshold: threshold) else {
                active -= 1
                order.swapAt(s, active)
                continue
            }
            largest = max(largest, violation)
            sum += violation
            s += 1
        }
        return (active, sum, largest)
    }

    /// Halves the step until the objective falls enough; nil after 20 refusals.
    private func lineSearch(
        from beta: Coefficients, _ value: LogisticLoss.Value, to trial: inout Coefficients, slope: Coefficients,
        _ c: Double
    ) -> LogisticLoss.Value? {
        let norm = absoluteSum(beta)
        var expected = (slope * (trial - beta)).sum() + absoluteSum(trial) - norm
        for _ in 0..<20 {
            let next = loss.evaluate(at: trial)
            let change = absoluteSum(trial) - norm + c * (next.loss - value.loss)
            if change <= Self.sufficientDecrease * expected { return next }
            trial = 0.5 * (beta + trial)
            expected *= 0.5
        }
        return nil
    }

    /// The objective's second-order model around `beta`, minimised one coordinate at a time.
    private struct QuadraticModel {
        let scale: Double
        let slope: Coefficients
        let hessian: InlineArray<3, Coefficients>
        let beta: Coefficients
        var trial: Coefficients
        var step = Coefficients()

        /// Sweeps over the active coordinates in random order until their violations sum to at most `target`.
        mutating func descend(
            _ order: inout [Int], active outerActive: Int, rowCount: Double, target: Double,
            using generator: inout MersenneTwister
        ) -> Int {
            var active = outerActive
            var largestBefore = Double.infinity
            for sweep in 1...1000 {
                for j in 0..<active {
                    order.swapAt(j + Int(generator.bounded(UInt32(active - j))), j)
                }
                let (sum, largest) = self.sweep(&order, active: &active, threshold: largestBefore / rowCount)
                largestBefore = largest
                guard sum <= target else { continue }
                if active == outerActive { return sweep }
                active = outerActive
                largestBefore = .infinity
            }
            return 1000
        }

        private mutating func sweep(
            _ order: inout [Int], active: inout Int, threshold: Double
        ) -> (sum: Double, largest: Double) {
            var sum = 0.0
            var largest = 0.0
            var s = 0
            while s < active {
                let j = order[s]
                let moved = (trial[j] - beta[j]) * CoordinateDescent.curvatureFloor
                let slope = slope[j] + moved + scale * (hessian[j] * step).sum()
                guard let violation = violation(of: trial[j], slope: slope, threshold: threshold) else {
                    active -= 1
                    order.swapAt(s, active)
                    continue
                }
                largest = max(largest, violation)
                sum += violation
                move(j, slope: slope)
                s += 1
            }
            return (sum, largest)
        }

        private mutating func move(_ j: Int, slope: Double) {
            let curvature = CoordinateDescent.curvatureFloor + scale * hessian[j][j]
            let z = minimizingStep(from: trial[j], slope: slope, curvature: curvature)
            guard abs(z) >= 1e-12 else { return }
            let clipped = min(max(z, -10), 10)
            trial[j] += clipped
            step[j] += clipped
        }
    }
}

/// Distance of |b| + (a function with this slope at b) from stationarity; nil when b = 0 is safe by more than
/// `threshold`.
private func violation(of b: Double, slope: Double, threshold: Double) -> Double? {
    if b > 0 { return abs(slope + 1) }
    if b < 0 { return abs(slope - 1) }
    if slope + 1 < 0 { return -(slope + 1) }
    if slope - 1 > 0 { return slope - 1 }
    return slope + 1 > threshold && slope - 1 < -threshold ? nil : 0
}

/// The z that minimises slope·z + curvature·z²/2 + |b + z|.
func minimizingStep(from b: Double, slope: Double, curvature: Double) -> Double {
    if slope + 1 < curvature * b { return -(slope + 1) / curvature }
    if slope - 1 > curvature * b { return -(slope - 1) / curvature }
    return -b
}

/// ‖β‖₁
func absoluteSum(_ beta: Coefficients) -> Double {
    abs(beta[0]) + abs(beta[1]) + abs(beta[2])
}
