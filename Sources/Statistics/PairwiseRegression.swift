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

    /// Eight games of one pair, as many as follow each other; of the last ones of a pair some never count.
    private struct Block {
        var first, second: Int
        var count = 0
        var outcomes = Lanes()
    }

    private var blocks: [Block] = []
    /// By block and feature.
    private var columns: [Lanes] = []
    /// By game its block, times 8, and its lane.
    private var lanes: [Int] = []

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
        appendLane(first, second, outcome, features)
    }

    private mutating func appendLane(_ first: Int, _ second: Int, _ outcome: Double, _ features: [Double]) {
        let isFull = blocks.last.map { $0.count == Lanes.scalarCount || ($0.first, $0.second) != (first, second) }
        if isFull ?? true {
            blocks.append(Block(first: first, second: second))
            columns += [Lanes](repeating: Lanes(), count: featureCount)
        }
        let block = blocks.count - 1
        let lane = blocks[block].count
        blocks[block].outcomes[lane] = outcome
        blocks[block].count += 1
        for (place, feature) in features.enumerated() { columns[block * featureCount + place][lane] = feature }
        lanes.append(block * Lanes.scalarCount + lane)
    }

    // MARK: Loss

    /// Summed over games, each as often as its weight says, in nats.
    private struct Loss {
        var value = 0.0
        var gradient: [Double]
        var curvature: SymmetricMatrix
    }

    /// - Parameter weights: by block.
    private func loss(at theta: [Double], _ weights: [Lanes]) -> Loss {
        var loss = Loss(
            gradient: [Double](repeating: 0, count: parameterCount), curvature: SymmetricMatrix(parameterCount))
        // Spans: a reference count for each block would cost more than its arithmetic.
        let (theta, blocks, columns, weights) = (theta.span, blocks.span, columns.span, weights.span)
        var value = Lanes()
        var sums = PairSums()
        var factors = InlineArray<8, Lanes>(repeating: Lanes(repeating: 1))
        for index in blocks.indices {
            let block = blocks[index]
            let strengths = (block.first == block.second ? 0 : theta[block.first]) - theta[block.second]
            var logOdds = Lanes(repeating: scale * strengths)
            for feature in 0..<featureCount {
                let column = columns[index * featureCount + feature]
                factors[1 + feature] = column
                logOdds += theta[playerCount + feature] * column
            }
            let isPositive = logOdds .> 0
            let decay = Lanes.exp(-logOdds.replacing(with: -logOdds, where: .!isPositive))
            let share = 1 / (1 + decay)
            let probability = (decay * share).replacing(with: share, where: isPositive)
            let weight = weights[index]
            let rise = Lanes().replacing(with: logOdds, where: isPositive)
            value += weight * (rise + Lanes.log(1 + decay) - block.outcomes * logOdds)
            let slope = weight * (probability - block.outcomes)
            let curvature = weight * probability * (1 - probability)
            for row in 0...featureCount {
                sums.slopes[row] += slope * factors[row]
                let share = curvature * factors[row]
                for other in 0...row { sums.curvatures[row * (row + 1) / 2 + other] += share * factors[other] }
            }
            let isLast = index + 1 == blocks.count
            if isLast || (blocks[index + 1].first, blocks[index + 1].second) != (block.first, block.second) {
                spread(sums, of: (block.first, block.second), into: &loss)
                sums = PairSums()
            }
        }
        loss.value = value.sum()
        return loss
    }

    /// The weights of games as `loss` takes them.
    private func byBlock(_ weights: [Double]) -> [Lanes] {
        var blocks = [Lanes](repeating: Lanes(), count: blocks.count)
        for (lane, weight) in zip(lanes, weights) {
            blocks[lane / Lanes.scalarCount][lane % Lanes.scalarCount] = weight
        }
        return blocks
    }

    /// Sums over games of one pair: of slopes and, in a lower triangle, of curvatures, times 1 and each feature.
    private struct PairSums {
        var slopes = InlineArray<8, Lanes>(repeating: Lanes())
        var curvatures = InlineArray<36, Lanes>(repeating: Lanes())
    }

    private func spread(_ sums: PairSums, of pair: (first: Int, second: Int), into loss: inout Loss) {
        let (first, second) = pair
        let isSelf = first == second
        let slope = scale * sums.slopes[0].sum()
        if !isSelf { loss.gradient[first] += slope }
        loss.gradient[second] -= slope
        let squared = scale * scale * sums.curvatures[0].sum()
        loss.curvature.add(squared, at: second, second)
        if !isSelf {
            loss.curvature.add(squared, at: first, first)
            loss.curvature.add(-squared, at: first, second)
        }
        for feature in 0..<featureCount {
            let row = playerCount + feature
            let start = (1 + feature) * (2 + feature) / 2
            loss.gradient[row] += sums.slopes[1 + feature].sum()
            let cross = scale * sums.curvatures[start].sum()
            loss.curvature.add(-cross, at: row, second)
            if !isSelf { loss.curvature.add(cross, at: row, first) }
            for other in 0...feature {
                loss.curvature.add(sums.curvatures[start + 1 + other].sum(), at: row, playerCount + other)
            }
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
        let blocks = byBlock(weights)
        var current = penalizedLoss(at: theta, blocks, penalty)
        for _ in 0..<200 {
            if current.gradient.allSatisfy({ abs($0) <= tolerance }) {
                return penalty == 0 && isUnbounded(theta, weights) ? nil : theta
            }
            guard let step = current.curvature.solve(current.gradient) else { return nil }
            var fraction = 1.0
            while true {
                let moved = zip(theta, step).map { $0 - fraction * $1 }
                let next = penalizedLoss(at: moved, blocks, penalty)
                fraction /= 2
                if next.value <= current.value + 1e-12 * abs(current.value) || fraction < 1e-10 {
                    (theta, current) = (moved, next)
                    break
                }
            }
        }
        return nil
    }

    private func penalizedLoss(at theta: [Double], _ weights: [Lanes], _ penalty: Double) -> Loss {
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
