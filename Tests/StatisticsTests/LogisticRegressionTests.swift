import Foundation
import Statistics
import Testing

@Suite("Logistic regression")
struct LogisticRegressionTests {
    @Test("Gradient and Hessian are the differences of the loss")
    func derivatives() {
        let loss = LogisticLoss(rows(37))
        let beta = Coefficients(-0.7, 0.4, 1.1)
        let value = loss.evaluate(at: beta)
        // Central differences with h: error h² from the third derivative, 1e-16·loss/h from rounding.
        let h = 1e-5
        for i in 0..<3 {
            var (up, down) = (beta, beta)
            up[i] += h
            down[i] -= h
            let (above, below) = (loss.evaluate(at: up), loss.evaluate(at: down))
            #expect(abs((above.loss - below.loss) / (2 * h) - value.gradient[i]) < 1e-7)
            for j in 0..<3 {
                #expect(abs((above.gradient[j] - below.gradient[j]) / (2 * h) - value.hessian[i][j]) < 1e-7)
            }
        }
    }

    @Test("The loss is the sum over both halves of every row")
    func definition() {
        let rows = rows(21)
        let beta = Coefficients(0.3, -0.9, 0.5)
        let expected = rows.reduce(0) { sum, row in
            let eta = beta[0] * row.length + beta[1] * row.difficulty + (row.isModel ? beta[2] : 0)
            return sum + row.positive * log1p(exp(-eta)) + row.negative * log1p(exp(eta))
        }
        #expect(abs(LogisticLoss(rows).evaluate(at: beta).loss - expected) < 1e-12)
    }

    @Test("The converged solution meets the optimality conditions", arguments: [1e-4, 0.05, 0.36, 2.8, 167, 1e4])
    func stationarity(c: Double) throws {
        let loss = LogisticLoss(rows(203))
        let regression = LogisticRegression(inverseRegularization: c, columns: [0, 1, 2])
        let beta = try #require(regression.minimize(loss, from: Coefficients()))
        let gradient = loss.evaluate(at: beta).gradient
        for j in 0..<3 {
            let slope = c * gradient[j]
            // 203 rows with gradients of order 1, times C.
            let tolerance = 1e-9 * max(1, c * 203)
            if beta[j] == 0 {
                #expect(abs(slope) <= 1 + tolerance)
            } else {
                #expect(abs(slope + (beta[j] > 0 ? 1 : -1)) <= tolerance)
            }
        }
        #expect((beta == Coefficients()) == (c < 0.1))
    }

    @Test("The solution does not depend on the start")
    func uniqueMinimum() throws {
        let loss = LogisticLoss(rows(203))
        let regression = LogisticRegression(inverseRegularization: 2.8, columns: [0, 1, 2])
        let first = try #require(regression.minimize(loss, from: Coefficients()))
        for start in [Coefficients(3, -3, 3), Coefficients(-8, 6, -9)] {
            let other = try #require(regression.minimize(loss, from: start))
            #expect(distance(first, other) < 1e-8)
        }
    }

    @Test("liblinear stops near the minimum, and short of it")
    func earlyStop() throws {
        let rows = rows(203)
        let c = 21.5
        let regression = LogisticRegression(inverseRegularization: c, columns: [0, 1, 2])
        let minimum = try #require(regression.minimize(LogisticLoss(rows), from: Coefficients()))
        let stopped = CoordinateDescent(rows).solve(columns: [0, 1, 2], inverseRegularization: c, seed: 843_828_734)
        #expect(distance(minimum, stopped) < 0.01)
        #expect(distance(minimum, stopped) > 1e-10)
    }

    @Test("Columns that are left out keep a coefficient of 0")
    func leftOutColumns() throws {
        let rows = rows(40)
        let regression = LogisticRegression(inverseRegularization: 10, columns: [0, 2])
        let minimum = try #require(regression.minimize(LogisticLoss(rows), from: Coefficients()))
        let stopped = CoordinateDescent(rows).solve(columns: [0, 2], inverseRegularization: 10, seed: 1)
        #expect(minimum[1] == 0 && minimum[0] != 0 && minimum[2] != 0)
        #expect(stopped[1] == 0 && stopped[0] != 0 && stopped[2] != 0)
    }

    @Test("Halves of rows with negative weight take no part in liblinear's fit")
    func negativeWeights() {
        var rows = rows(40)
        rows[39].negative = -1
        let fit = CoordinateDescent(rows).solve(columns: [0, 1, 2], inverseRegularization: 10, seed: 1)
        rows[39].negative = 0
        #expect(CoordinateDescent(rows).solve(columns: [0, 1, 2], inverseRegularization: 10, seed: 1) == fit)
        rows[39].negative = 1
        #expect(CoordinateDescent(rows).solve(columns: [0, 1, 2], inverseRegularization: 10, seed: 1) != fit)
    }

    /// A third of the rows are gamed; targets lean against length and with the last column.
    private func rows(_ count: Int) -> [DesignRow] {
        var generator = SeededGenerator(seed: 42)
        return (0..<count).map { i in
            let length = Double.random(in: -1..<1, using: &generator)
            let noise = Double.random(in: -2..<2, using: &generator)
            let isModel = i % 3 != 0
            let target = 1 / (1 + exp(length - (isModel ? 0.8 : 0) + noise))
            return DesignRow(
                length: length, difficulty: Double.random(in: -3..<3, using: &generator), isModel: isModel,
                positive: target, negative: 1 - target)
        }
    }

    private func distance(_ a: Coefficients, _ b: Coefficients) -> Double {
        ((a - b) * (a - b)).sum().squareRoot()
    }
}
