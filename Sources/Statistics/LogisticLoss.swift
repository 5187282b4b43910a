/// One value for each column of the design: length, difficulty, baseline.
package typealias Coefficients = SIMD3<Double>

/// One row of the design with its fractional target: `positive` is weight · y, `negative` weight · (1 − y).
package struct DesignRow: Hashable, Sendable {
    package var length: Double
    package var difficulty: Double
    /// The third column: 1 for rows of the model, 0 for gamed rows.
    package var isModel: Bool
    package var positive: Double
    package var negative: Double

    package init(length: Double, difficulty: Double, isModel: Bool, positive: Double, negative: Double) {
        self.length = length
        self.difficulty = difficulty
        self.isModel = isModel
        self.positive = positive
        self.negative = negative
    }

    /// A preference outside 0...1 gives one half of its row a negative weight; liblinear drops that half.
    var withoutNegativeWeights: DesignRow {
        var row = self
        row.positive = max(positive, 0)
        row.negative = max(negative, 0)
        return row
    }
}

/// Σ positive·softplus(−x·β) + negative·softplus(x·β) over rows x, with its gradient and Hessian.
///
/// A fractional target is two rows with one x in upstream's design. Both need the same exponential, so here they stay
/// one.
package struct LogisticLoss: Sendable {
    package struct Value {
        package var loss = 0.0
        package var gradient = Coefficients()
        package var hessian = InlineArray<3, Coefficients>(repeating: Coefficients())
    }

    private(set) var gamed: RowBlock
    var model: RowBlock

    package init(_ rows: some Sequence<DesignRow>) {
        gamed = RowBlock()
        model = RowBlock()
        for row in rows {
            if row.isModel { model.append(row) } else { gamed.append(row) }
        }
    }

    /// Value, gradient and Hessian at `beta`.
    package func evaluate(at beta: Coefficients) -> Value {
        let a = gamed.sums(at: Coefficients(beta[0], beta[1], 0))
        let b = model.sums(at: beta)
        var value = Value()
        value.loss = a.loss + b.loss
        value.gradient = Coefficients(a.length + b.length, a.difficulty + b.difficulty, b.one)
        let crossed = a.lengthDifficulty + b.lengthDifficulty
        value.hessian[0] = Coefficients(a.lengthLength + b.lengthLength, crossed, b.lengthOne)
        value.hessian[1] = Coefficients(crossed, a.difficultyDifficulty + b.difficultyDifficulty, b.difficultyOne)
        value.hessian[2] = Coefficients(b.lengthOne, b.difficultyOne, b.oneOne)
        return value
    }

    /// The value alone, each x·β clamped to ±`limit`.
    func loss(at beta: Coefficients, clampedTo limit: Double) -> Double {
        gamed.loss(at: Coefficients(beta[0], beta[1], 0), clampedTo: limit) + model.loss(at: beta, clampedTo: limit)
    }

    /// Σ positive + negative.
    var totalWeight: Double {
        gamed.totalWeight + model.totalWeight
    }
}

/// Rows that share their third column, eight to a vector; the last vector is filled up with rows of weight zero.
struct RowBlock: Sendable {
    private(set) var count = 0
    var length: [Lanes] = []
    var difficulty: [Lanes] = []
    /// positive + negative
    var weight: [Lanes] = []
    var positive: [Lanes] = []

    struct Sums {
        var loss = 0.0
        // Gradient: Σ r·column with the residual r = weight·σ(x·β) − positive.
        var length = 0.0
        var difficulty = 0.0
        var one = 0.0
        // Hessian: Σ v·column·column with the curvature v = weight·σ(x·β)·σ(−x·β).
        var lengthLength = 0.0
        var lengthDifficulty = 0.0
        var lengthOne = 0.0
        var difficultyDifficulty = 0.0
        var difficultyOne = 0.0
        var oneOne = 0.0
    }

    mutating func append(_ row: DesignRow) {
        let (vector, lane) = count.quotientAndRemainder(dividingBy: Lanes.scalarCount)
        if lane == 0 {
            length.append(Lanes())
            difficulty.append(Lanes())
            weight.append(Lanes())
            positive.append(Lanes())
        }
        length[vector][lane] = row.length
        difficulty[vector][lane] = row.difficulty
        weight[vector][lane] = row.positive + row.negative
        positive[vector][lane] = row.positive
        count += 1
    }

    /// All sums at β; the loss of a row is weight·softplus(x·β) − positive·x·β.
    func sums(at beta: Coefficients) -> Sums {
        var loss = Lanes()
        var (r0, r1, r2) = (Lanes(), Lanes(), Lanes())
        var (v00, v01, v02, v11, v12, v22) = (Lanes(), Lanes(), Lanes(), Lanes(), Lanes(), Lanes())
        let (length, difficulty, weight, positive) = (length.span, difficulty.span, weight.span, positive.span)
        for i in length.indices {
            let (x0, x1) = (length[i], difficulty[i])
            let eta = beta[0] * x0 + beta[1] * x1 + beta[2]
            let onePlus = 1 + Lanes.exp(eta)
            let complement = 1 / onePlus
            loss += weight[i] * Lanes.log(onePlus) - positive[i] * eta

            let weighted = weight[i] * (1 - complement)
            let residual = weighted - positive[i]
            r0 += residual * x0
            r1 += residual * x1
            r2 += residual

            let curvature = weighted * complement
            let (scaled0, scaled1) = (curvature * x0, curvature * x1)
            v00 += scaled0 * x0
            v01 += scaled0 * x1
            v02 += scaled0
            v11 += scaled1 * x1
            v12 += scaled1
            v22 += curvature
        }
        return Sums(
            loss: loss.sum(), length: r0.sum(), difficulty: r1.sum(), one: r2.sum(),
            lengthLength: v00.sum(), lengthDifficulty: v01.sum(), lengthOne: v02.sum(),
            difficultyDifficulty: v11.sum(), difficultyOne: v12.sum(), oneOne: v22.sum())
    }

    func loss(at beta: Coefficients, clampedTo limit: Double) -> Double {
        var loss = Lanes()
        for i in length.indices {
            let eta = Lanes.limited(beta[0] * length[i] + beta[1] * difficulty[i] + beta[2], to: limit)
            loss += weight[i] * Lanes.log(1 + Lanes.exp(eta)) - positive[i] * eta
        }
        return loss.sum()
    }

    var totalWeight: Double {
        weight.reduce(Lanes(), +).sum()
    }
}
