#if canImport(Glibc)
    import Glibc
#endif

/// Games between players, each with what besides the players may have swayed the judge: the rows of a logistic regression
/// whose log-odds for the first are scale · (strength of the first − of the second) + features · effects.
///
/// Of a game of a player against itself only the second's strength counts: arena-hard-auto writes both into one column,
/// the second last.
package struct PairwiseRegression: Sendable {
    /// Strengths come first among the parameters, effects after them.
    package let playerCount: Int
    package let featureCount: Int
    package let scale: Double
    private var players: [(first: Int, second: Int)] = []
    /// 1 where the first won, 0 where the second did, 0.5 for a tie.
    private var outcomes: [Double] = []
    /// By game 1, then its features, then zeros.
    private var factors: [Lanes] = []

    /// - Precondition: there are at most 7 features.
    package init(playerCount: Int, featureCount: Int = 0, scale: Double = 1) {
        precondition(featureCount < Lanes.scalarCount, "\(featureCount) features")
        self.playerCount = playerCount
        self.featureCount = featureCount
        self.scale = scale
    }

    package var count: Int { outcomes.count }
    package var parameterCount: Int { playerCount + featureCount }

    package mutating func append(first: Int, second: Int, outcome: Double, features: [Double] = []) {
        precondition(features.count == featureCount, "\(features.count) features of \(featureCount)")
        players.append((first, second))
        outcomes.append(outcome)
        var factors = Lanes()
        factors[0] = 1
        for (place, feature) in features.enumerated() { factors[1 + place] = feature }
        self.factors.append(factors)
    }

    // MARK: Loss

    /// Summed over games, each as often as its weight says, in nats.
    private struct Loss {
        var value = 0.0
        var gradient: [Double]
        var curvature: SymmetricMatrix
    }

    private func loss(at theta: [Double], _ weights: [Double]) -> Loss {
        var loss = Loss(
            gradient: [Double](repeating: 0, count: parameterCount), curvature: SymmetricMatrix(parameterCount))
        var effects = Lanes()
        for feature in 0..<featureCount { effects[1 + feature] = theta[playerCount + feature] }
        // Spans: a reference count for each game would cost more than its arithmetic.
        let (players, outcomes, factors, counts) = (players.span, outcomes.span, factors.span, weights.span)
        var sums = PairSums()
        var pair = (first: -1, second: -1)
        var strengths = 0.0
        for game in outcomes.indices where counts[game] != 0 {
            // Games of one pair mostly follow each other: their sums go into the whole together.
            if players[game] != pair {
                if pair.first >= 0 { spread(sums, of: pair, into: &loss) }
                sums = PairSums()
                pair = players[game]
                strengths = scale * ((pair.first == pair.second ? 0 : theta[pair.first]) - theta[pair.second])
            }
            let logOdds = strengths + (effects * factors[game]).sum()
            let decay = exp(-abs(logOdds))
            let probability = logOdds >= 0 ? 1 / (1 + decay) : decay / (1 + decay)
            let weight = counts[game]
            loss.value += weight * (max(logOdds, 0) + log1p(decay) - outcomes[game] * logOdds)
            sums.slopes += weight * (probability - outcomes[game]) * factors[game]
            let shares = weight * probability * (1 - probability) * factors[game]
            for row in 0...featureCount { sums.curvatures[row] += shares[row] * factors[game] }
        }
        if pair.first >= 0 { spread(sums, of: pair, into: &loss) }
        return loss
    }

    /// Sums over games of one pair: of slopes and curvatures times 1 and each feature.
    private struct PairSums {
        var slopes = Lanes()
        var curvatures = InlineArray<8, Lanes>(repeating: Lanes())
    }

    private func spread(_ sums: PairSums, of pair: (first: Int, second: Int), into loss: inout Loss) {
        let (first, second) = pair
        let isSelf = first == second
        if !isSelf { loss.gradient[first] += scale * sums.slopes[0] }
        loss.gradient[second] -= scale * sums.slopes[0]
        let squared = scale * scale * sums.curvatures[0][0]
        loss.curvature.add(squared, at: second, second)
        if !isSelf {
            loss.curvature.add(squared, at: first, first)
            loss.curvature.add(-squared, at: first, second)
        }
        for feature in 0..<featureCount {
            let row = playerCount + feature
            let sum = sums.curvatures[1 + feature]
            loss.gradient[row] += sums.slopes[1 + feature]
            loss.curvature.add(-scale * sum[0], at: row, second)
            if !isSelf { loss.curvature.add(scale * sum[0], at: row, first) }
            for other in 0...feature { loss.curvature.add(sum[1 + other], at: row, playerCount + other) }
        }
    }

    // MARK: Minima

    /// The minimum of Σ weight · loss + penalty/2 · ‖θ‖², by Newton's method; without a penalty the one of least norm.
    ///
    /// - Parameters:
    ///   - weights: how often each game counts.
    ///   - start: parameters near the minimum, where they are known.
    /// - Returns: nil where 200 steps do not reach it, as where an unpenalized player only wins.
    package func minimum(weights: [Double], penalty: Double, from start: [Double]? = nil) -> [Double]? {
        let tolerance = 1e-10 * max(weights.reduce(0, +), 1)
        var theta = start ?? [Double](repeating: 0, count: parameterCount)
        var current = penalizedLoss(at: theta, weights, penalty)
        for _ in 0..<200 {
            if current.gradient.allSatisfy({ abs($0) <= tolerance }) {
                return penalty == 0 && isUnbounded(theta, weights) ? nil : theta
            }
            guard let step = current.curvature.solve(current.gradient) else { return nil }
            var fraction = 1.0
            while true {
                let moved = zip(theta, step).map { $0 - fraction * $1 }
                let next = penalizedLoss(at: moved, weights, penalty)
                fraction /= 2
                if next.value <= current.value + 1e-12 * abs(current.value) || fraction < 1e-10 {
                    (theta, current) = (moved, next)
                    break
                }
            }
        }
        return nil
    }

    private func penalizedLoss(at theta: [Double], _ weights: [Double], _ penalty: Double) -> Loss {
        var loss = loss(at: theta, weights)
        for index in theta.indices {
            loss.value += penalty / 2 * theta[index] * theta[index]
            loss.gradient[index] += penalty * theta[index]
            loss.curvature.add(penalty, at: index, index)
        }
        // What all strengths share moves no game, nor do those of players without a game: holding their sum, and each a
        // little, makes the system regular and leaves the gradient as it is.
        if penalty == 0 {
            for row in 0..<playerCount {
                for column in 0...row { loss.curvature.add(1, at: row, column) }
                loss.curvature.add(1e-9, at: row, row)
            }
        }
        return loss
    }

    /// Whether a game is as certain as only separation makes it: odds of e^20.
    private func isUnbounded(_ theta: [Double], _ weights: [Double]) -> Bool {
        players.indices.contains { game in
            let (first, second) = players[game]
            return weights[game] > 0 && first != second && scale * abs(theta[first] - theta[second]) > 20
        }
    }

    /// What PyTorch 2.6's `LBFGS` leaves after at most `steps` steps of a fixed rate, from 0.5 everywhere, in f32.
    ///
    /// It stops short of the minimum by design of arena-hard-auto 2.0, which prints what it leaves; rounding to f32 is part
    /// of that: in f64 the last of its sums lie up to 0.1 points of win rate away.
    package func limitedMemorySteps(weights: [Double], rate: Float = 0.1, steps: Int = 50) -> [Double] {
        let tolerance: Float = 1e-9
        var theta = [Float](repeating: 0.5, count: parameterCount)
        var current = roundedLoss(at: theta, weights)
        var history: [Bend] = []
        var direction = current.gradient.map { -$0 }
        var firstCurvature: Float = 1
        for step in 1...steps {
            if current.gradient.allSatisfy({ abs($0) <= tolerance }) { break }
            let length = step == 1 ? min(1, 1 / current.gradient.reduce(0) { $0 + abs($1) }) * rate : rate
            if dot(current.gradient, direction) > -tolerance { break }
            let change = direction.map { $0 * length }
            for index in theta.indices { theta[index] += change[index] }
            if step == steps { break }
            let next = roundedLoss(at: theta, weights)
            if change.allSatisfy({ abs($0) <= tolerance }) || abs(next.value - current.value) < tolerance { break }
            let slopeChange = zip(next.gradient, current.gradient).map { $0 - $1 }
            let product = dot(slopeChange, change)
            if product > 1e-10 {
                if history.count == 100 { history.removeFirst() }
                history.append(Bend(change: change, slopeChange: slopeChange, inverse: 1 / product))
                firstCurvature = product / dot(slopeChange, slopeChange)
            }
            direction = Self.direction(next.gradient, history, firstCurvature)
            current = next
        }
        return theta.map(Double.init)
    }

    /// A step and how the gradient changed along it.
    private struct Bend {
        var change, slopeChange: [Float]
        /// 1 / (change · slopeChange)
        var inverse: Float
    }

    /// Log-odds and probabilities in f32; their sums over games are rounded to it.
    private func roundedLoss(at theta: [Float], _ weights: [Double]) -> (value: Float, gradient: [Float]) {
        var value = 0.0
        var gradient = [Double](repeating: 0, count: parameterCount)
        var effects = SIMD8<Float>()
        for feature in 0..<featureCount { effects[1 + feature] = theta[playerCount + feature] }
        let (players, outcomes, factors, counts) = (players.span, outcomes.span, factors.span, weights.span)
        var slopes = Lanes()
        for game in outcomes.indices where counts[game] != 0 {
            let (first, second) = players[game]
            let products = effects * SIMD8<Float>(factors[game])
            var logOdds = Float(scale) * ((first == second ? 0 : theta[first]) - theta[second])
            for feature in 0..<featureCount { logOdds += products[1 + feature] }
            let outcome = Float(outcomes[game])
            let decay = exp(-abs(logOdds))
            let probability = logOdds >= 0 ? 1 / (1 + decay) : decay / (1 + decay)
            value += counts[game] * Double(max(logOdds, 0) + log1p(decay) - outcome * logOdds)
            let slope = counts[game] * Double(probability - outcome)
            if first != second { gradient[first] += slope * scale }
            gradient[second] -= slope * scale
            slopes += slope * factors[game]
        }
        for feature in 0..<featureCount { gradient[playerCount + feature] = slopes[1 + feature] }
        return (Float(value), gradient.map { Float($0) })
    }

    /// Nocedal's two loops.
    private static func direction(_ gradient: [Float], _ history: [Bend], _ firstCurvature: Float) -> [Float] {
        var direction = gradient.map { -$0 }
        var shares = [Float](repeating: 0, count: history.count)
        for index in history.indices.reversed() {
            let bend = history[index]
            shares[index] = dot(bend.change, direction) * bend.inverse
            for place in direction.indices { direction[place] -= shares[index] * bend.slopeChange[place] }
        }
        for place in direction.indices { direction[place] *= firstCurvature }
        for (bend, share) in zip(history, shares) {
            let rest = share - dot(bend.slopeChange, direction) * bend.inverse
            for place in direction.indices { direction[place] += rest * bend.change[place] }
        }
        return direction
    }
}

private func dot(_ a: [Float], _ b: [Float]) -> Float {
    var sum: Float = 0
    for index in a.indices { sum += a[index] * b[index] }
    return sum
}

/// The lower triangle of a symmetric matrix.
private struct SymmetricMatrix: Sendable {
    private let size: Int
    private var values: [Double]

    init(_ size: Int) {
        self.size = size
        values = [Double](repeating: 0, count: size * (size + 1) / 2)
    }

    mutating func add(_ value: Double, at row: Int, _ column: Int) {
        let (row, column) = row >= column ? (row, column) : (column, row)
        values[row * (row + 1) / 2 + column] += value
    }

    /// x of A·x = b by Cholesky's decomposition; nil where A is not positive definite.
    func solve(_ b: [Double]) -> [Double]? {
        var root = values
        var x = b
        for row in 0..<size {
            let start = row * (row + 1) / 2
            for column in 0...row {
                let other = column * (column + 1) / 2
                var sum = root[start + column]
                for index in 0..<column { sum -= root[start + index] * root[other + index] }
                if column < row {
                    root[start + column] = sum / root[other + column]
                } else {
                    if sum <= 1e-14 * max(values[start + row], 1e-300) { return nil }
                    root[start + row] = sum.squareRoot()
                }
            }
            for index in 0..<row { x[row] -= root[start + index] * x[index] }
            x[row] /= root[start + row]
        }
        for row in (0..<size).reversed() {
            x[row] /= root[row * (row + 1) / 2 + row]
            for index in 0..<row { x[index] -= root[row * (row + 1) / 2 + index] * x[row] }
        }
        return x
    }
}
