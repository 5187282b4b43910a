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
