/// The lower triangle of a symmetric matrix.
struct SymmetricMatrix: Sendable {
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

    mutating func add(_ other: SymmetricMatrix, times factor: Double) {
        for place in values.indices { values[place] += factor * other.values[place] }
    }

    /// The rank that the rows in `kept` have once those in `removed` are projected out, of a positive semidefinite matrix.
    ///
    /// - Parameter scale: of the rows; 1e-9 of it is rounding.
    func rank(of kept: [Int], without removed: Range<Int>, scale: Double) -> Int {
        var rest = self
        var rank = 0
        let order = removed + kept
        for (place, row) in order.enumerated() {
            let pivot = rest[row, row]
            guard pivot > 1e-9 * scale else { continue }
            if place >= removed.count { rank += 1 }
            let later = order[(place + 1)...]
            for one in later {
                let factor = rest[one, row] / pivot
                for other in later where other <= one { rest.add(-factor * rest[other, row], at: one, other) }
            }
        }
        return rank
    }

    private subscript(row: Int, column: Int) -> Double {
        let (row, column) = row >= column ? (row, column) : (column, row)
        return values[row * (row + 1) / 2 + column]
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
