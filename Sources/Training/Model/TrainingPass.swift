/// Examples packed into the rows of one forward and backward pass, without padding.
///
/// The tokens that a pair's rows begin with are there once: a tree of at most three segments, whose branches see the
/// root and themselves. Positions count from the beginning of each row.
package struct TrainingPass: Sendable {
    /// Consecutive tokens of one tree. Row `firstRow + i` sees the `context` rows from `contextRow` on, and its own
    /// segment up to itself.
    struct Segment: Hashable, Sendable {
        var firstRow: Int
        var count: Int
        var contextRow: Int
        var context: Int
    }

    /// What a sum of log-probabilities is over.
    enum Part: Int, CaseIterable, Sendable { case chosen, rejected, chosenPrompt }

    /// A token that the state of a row predicts, for one sum of one example.
    struct Target: Hashable, Sendable {
        var token: Int32
        var example: Int
        var part: Part
    }

    private(set) var tokens: [Int32] = []
    private(set) var positions: [Int] = []
    /// Roots before their branches.
    private(set) var trees: [[Segment]] = []
    /// The targets of each row's state.
    private(set) var targets: [[Target]] = []
    private(set) var exampleCount = 0
    /// Targets of each part of each example.
    private(set) var counts: [[Int]] = []
    let withPrompts: Bool

    /// - Parameter withPrompts: also the log-probabilities of the chosen rows' prompts.
    package init(withPrompts: Bool = false) { self.withPrompts = withPrompts }

    package var rowCount: Int { tokens.count }

    /// Rows that the example would take.
    package static func rowCount(of pair: TokenizedPair) -> Int {
        pair.rows.reduce(0) { $0 + $1.ids.count } - pair.sharedCount
    }

    package mutating func append(_ pair: TokenizedPair) {
        let example = exampleCount
        exampleCount += 1
        counts.append([0, 0, 0])
        let shared = pair.sharedCount
        let sides = [(pair.chosen, Part.chosen), (pair.rejected, Part.rejected)]
        var tree: [Segment] = []
        var root = 0
        if shared > 0, let row = pair.chosen { root = addSegment(row.ids[..<shared], at: 0, context: (0, 0), &tree) }
        for case (let row?, let part) in sides {
            let first = addSegment(row.ids[shared...], at: shared, context: (root, shared), &tree)
            func state(before index: Int) -> Int { index - 1 < shared ? root + index - 1 : first + index - 1 - shared }
            for index in row.targets.joined() where index > 0 {
                add(Target(token: row.ids[index], example: example, part: part), state(before: index))
            }
            if withPrompts, part == .chosen {
                let trained = Set(row.targets.joined())
                for index in row.ids.indices where index > 0 && !trained.contains(index) {
                    add(Target(token: row.ids[index], example: example, part: .chosenPrompt), state(before: index))
                }
            }
            if shared == 0 {
                trees.append(tree)
                tree = []
            }
        }
        if !tree.isEmpty { trees.append(tree) }
    }

    private mutating func addSegment(
        _ ids: ArraySlice<Int32>, at position: Int, context: (row: Int, count: Int), _ tree: inout [Segment]
    ) -> Int {
        let first = tokens.count
        tokens += ids
        positions += position..<position + ids.count
        targets += Array(repeating: [], count: ids.count)
        tree.append(Segment(firstRow: first, count: ids.count, contextRow: context.row, context: context.count))
        return first
    }

    private mutating func add(_ target: Target, _ row: Int) {
        targets[row].append(target)
        counts[target.example][target.part.rawValue] += 1
    }

    /// The rows whose states predict something.
    var predictingRows: [Int] { targets.indices.filter { !targets[$0].isEmpty } }

    /// Examples in passes of at most `limit` rows each, in their order; a larger example has a pass of its own.
    package static func passes(_ examples: [TokenizedPair], limit: Int, withPrompts: Bool) -> [TrainingPass] {
        var passes: [TrainingPass] = []
        for example in examples {
            let rows = rowCount(of: example)
            if passes.isEmpty || passes[passes.count - 1].rowCount + rows > limit {
                passes.append(TrainingPass(withPrompts: withPrompts))
            }
            passes[passes.count - 1].append(example)
        }
        return passes
    }
}
