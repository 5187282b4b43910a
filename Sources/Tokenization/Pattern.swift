/// A regular expression over UTF-8 with the meaning that Oniguruma gives it: leftmost, alternatives in order, by
/// Unicode scalars.
///
/// It backtracks, with a budget of steps: patterns come with downloaded files, and some would take years.
struct Pattern: Sendable {
    private enum Instruction {
        case set(Int)
        /// A set over and over; gives back one at a time unless possessive.
        case run(set: Int, least: Int, most: Int, isPossessive: Bool)
        /// Goes on, and remembers the other way.
        case fork(other: Int)
        /// The other way at once when the next byte cannot begin what follows here, else as `fork`.
        case alternative(first: Int, other: Int)
        /// The other way first.
        case forkLast(other: Int)
        case jump(Int)
        /// A program of its own up to its `accept`, which consumes nothing.
        case ahead(isNegative: Bool, end: Int)
        case behind(set: Int, isNegative: Bool)
        /// A program of its own up to its `accept`, which is not entered again.
        case atomic(end: Int)
        case anchor(PatternNode.Anchor)
        case accept
    }

    private var program: [Instruction] = []
    private var sets: [ScalarSet] = []
    private var firsts: [FirstBytes] = []
    private let first: FirstBytes
    private static let longestProgram = 10_000

    init(_ text: String) throws(PatternSyntaxError) {
        try self.init(node: PatternParser.parse(text))
    }

    /// Matches a text itself.
    init(literal text: String) throws(PatternSyntaxError) {
        try self.init(node: .sequence(text.unicodeScalars.map { .set(.scalars($0.value...$0.value)) }))
    }

    /// Matches one scalar of a set.
    init(set: ScalarSet) throws(PatternSyntaxError) { try self.init(node: .set(set)) }

    private init(node: PatternNode) throws(PatternSyntaxError) {
        first = FirstBytes(of: node)
        try compile(node)
        program.append(.accept)
    }
}

/// The steps that a pattern may still take over one text.
struct PatternBudget {
    fileprivate var steps: Int

    /// Published patterns take about ten a byte.
    init(bytes: Int) { steps = 100_000 + 128 * bytes }
}

// MARK: - Matching

extension Pattern {
    private struct Frame {
        var instruction: Int
        var position: Int
        /// For a run, how far it may be given back; otherwise the position.
        var floor: Int
    }

    /// Reports the matches and what lies between them, in order and without gaps; an empty text is one gap.
    ///
    /// When the budget is spent, the rest of the text is a gap.
    func spans(in text: Span<UInt8>, budget: inout PatternBudget, _ body: (Range<Int>, _ isMatch: Bool) -> Void) {
        if text.isEmpty { return body(0..<0, false) }
        var stack: [Frame] = []
        var searchFrom = 0
        var lastEnd: Int?
        var reported = 0
        while searchFrom <= text.count, let match = find(in: text, from: searchFrom, &stack, &budget) {
            // An empty match just after a match is none.
            if match.isEmpty, match.lowerBound == lastEnd {
                searchFrom += searchFrom < text.count ? UTF8.width(text[searchFrom]) : 1
                continue
            }
            if reported < match.lowerBound { body(reported..<match.lowerBound, false) }
            body(match, true)
            reported = match.upperBound
            searchFrom = match.upperBound
            lastEnd = match.upperBound
        }
        if reported < text.count { body(reported..<text.count, false) }
    }

    private func find(
        in text: Span<UInt8>, from start: Int, _ stack: inout [Frame], _ budget: inout PatternBudget
    ) -> Range<Int>? {
        var position = start
        while position <= text.count {
            budget.steps -= 1
            if first.allows(text, position),
                let end = run(text, from: 0, at: position, &stack, &budget)
            {
                return position..<end
            }
            if budget.steps < 0 { return nil }
            position += position < text.count ? UTF8.width(text[position]) : 1
        }
        return nil
    }

    /// The end of the match that begins at `start`, if there is one.
    private func run(
        _ text: Span<UInt8>, from entry: Int, at start: Int, _ stack: inout [Frame], _ budget: inout PatternBudget
    ) -> Int? {
        let base = stack.count
        defer { stack.removeLast(stack.count - base) }
        var instruction = entry
        var position = start
        while budget.steps >= 0 {
            budget.steps -= 1
            var hasFailed = false
            switch program[instruction] {
            case .accept: return position
            case .jump(let target): instruction = target - 1
            case .set(let set):
                if let next = step(over: set, text, position) { position = next } else { hasFailed = true }
            case .run(let set, let least, let most, let isPossessive):
                if let (floor, end) = runLength(of: set, least, most, text, position) {
                    budget.steps -= end - position
                    position = end
                    if !isPossessive, floor < end {
                        stack.append(Frame(instruction: instruction + 1, position: end, floor: floor))
                    }
                } else {
                    hasFailed = true
                }
            case .fork(let other):
                stack.append(Frame(instruction: other, position: position, floor: position))
            case .alternative(let first, let other):
                if firsts[first].allows(text, position) {
                    stack.append(Frame(instruction: other, position: position, floor: position))
                } else {
                    instruction = other - 1
                }
            case .forkLast(let other):
                stack.append(Frame(instruction: instruction + 1, position: position, floor: position))
                instruction = other - 1
            case .ahead(let isNegative, let end):
                hasFailed = (run(text, from: instruction + 1, at: position, &stack, &budget) != nil) == isNegative
                instruction = end - 1
            case .behind(let set, let isNegative):
                hasFailed = (position > 0 && sets[set].contains(text.scalar(before: position).value)) == isNegative
            case .atomic(let end):
                if let next = run(text, from: instruction + 1, at: position, &stack, &budget) {
                    position = next
                    instruction = end - 1
                } else {
                    hasFailed = true
                }
            case .anchor(let anchor): hasFailed = !holds(anchor, text, position)
            }
            if !hasFailed {
                instruction += 1
            } else if let resumed = backtrack(text, base, &stack) {
                (instruction, position) = resumed
            } else {
                return nil
            }
        }
        return nil
    }

    private func backtrack(
        _ text: Span<UInt8>, _ base: Int, _ stack: inout [Frame]
    ) -> (instruction: Int, position: Int)? {
        guard stack.count > base else { return nil }
        let frame = stack[stack.count - 1]
        if frame.position == frame.floor {
            stack.removeLast()
            return (frame.instruction, frame.position)
        }
        var position = frame.position - 1
        while text[position] & 0xC0 == 0x80 { position -= 1 }
        if position == frame.floor { stack.removeLast() } else { stack[stack.count - 1].position = position }
        return (frame.instruction, position)
    }

    @inline(__always)
    private func step(over set: Int, _ text: Span<UInt8>, _ position: Int) -> Int? {
        guard position < text.count else { return nil }
        let (value, width) = text.scalar(at: position)
        return sets[set].contains(value) ? position + width : nil
    }

    /// Where the shortest and the longest run of the set end.
    private func runLength(
        of set: Int, _ least: Int, _ most: Int, _ text: Span<UInt8>, _ start: Int
    ) -> (floor: Int, end: Int)? {
        var position = start
        var floor = start
        var count = 0
        while count < most, position < text.count {
            let (value, width) = text.scalar(at: position)
            if !sets[set].contains(value) { break }
            position += width
            count += 1
            if count == least { floor = position }
        }
        return count < least ? nil : (floor, position)
    }

    private func holds(_ anchor: PatternNode.Anchor, _ text: Span<UInt8>, _ position: Int) -> Bool {
        switch anchor {
        case .textStart: position == 0
        case .textEnd: position == text.count
        case .lineStart: position == 0 || (position < text.count && text[position - 1] == 0x0A)
        case .lineEnd: position == text.count || text[position] == 0x0A
        }
    }
}

// MARK: - Compiling

extension Pattern {
    private mutating func compile(_ node: PatternNode) throws(PatternSyntaxError) {
        if program.count > Pattern.longestProgram { throw PatternSyntaxError(reason: "a pattern of this size") }
        switch node {
        case .set(let set): program.append(.set(index(of: set)))
        case .sequence(let nodes): for node in nodes { try compile(node) }
        case .alternatives(let nodes): try compileAlternatives(nodes)
        case .repetition(let node, let least, let most, let greed):
            try compileRepetition(of: node, least, most, greed)
        case .ahead(let node, let isNegative):
            try compileApart(node) { .ahead(isNegative: isNegative, end: $0) }
        case .behind(let set, let isNegative):
            program.append(.behind(set: index(of: set), isNegative: isNegative))
        case .atomic(let node): try compileApart(node) { .atomic(end: $0) }
        case .anchor(let anchor): program.append(.anchor(anchor))
        }
    }

    private mutating func index(of set: ScalarSet) -> Int {
        if let index = sets.firstIndex(of: set) { return index }
        sets.append(set)
        return sets.count - 1
    }

    private mutating func compileAlternatives(_ nodes: [PatternNode]) throws(PatternSyntaxError) {
        var exits: [Int] = []
        for node in nodes.dropLast() {
            let fork = program.count
            program.append(.accept)
            try compile(node)
            exits.append(program.count)
            program.append(.accept)
            firsts.append(FirstBytes(of: node))
            program[fork] = .alternative(first: firsts.count - 1, other: program.count)
        }
        try compile(nodes[nodes.count - 1])
        for exit in exits { program[exit] = .jump(program.count) }
    }

    private mutating func compileRepetition(
        of node: PatternNode, _ least: Int, _ most: Int?, _ greed: PatternNode.Greed
    ) throws(PatternSyntaxError) {
        if greed == .possessive {
            if case .set(let set) = node {
                program.append(.run(set: index(of: set), least: least, most: most ?? .max, isPossessive: true))
            } else {
                try compile(.atomic(.repetition(node, least: least, most: most, .greedy)))
            }
            return
        }
        if case .set(let set) = node, greed == .greedy {
            program.append(.run(set: index(of: set), least: least, most: most ?? .max, isPossessive: false))
            return
        }
        for _ in 0..<least { try compile(node) }
        if let most {
            var forks: [Int] = []
            for _ in least..<most {
                forks.append(program.count)
                program.append(.accept)
                try compile(node)
            }
            for fork in forks { program[fork] = branch(greed, to: program.count) }
        } else {
            let loop = program.count
            program.append(.accept)
            try compile(node)
            program.append(.jump(loop))
            program[loop] = branch(greed, to: program.count)
        }
    }

    private func branch(_ greed: PatternNode.Greed, to other: Int) -> Instruction {
        greed == .lazy ? .forkLast(other: other) : .fork(other: other)
    }

    private mutating func compileApart(
        _ node: PatternNode, _ instruction: (Int) -> Instruction
    ) throws(PatternSyntaxError) {
        let start = program.count
        program.append(.accept)
        try compile(node)
        program.append(.accept)
        program[start] = instruction(program.count)
    }
}

/// The bytes that a match can begin with.
private struct FirstBytes {
    private var bits: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    private var mayBeEmpty = false

    init(of node: PatternNode) {
        add(node)
        mayBeEmpty = node.matchesEmpty
    }

    @inline(__always)
    func allows(_ text: Span<UInt8>, _ position: Int) -> Bool {
        if mayBeEmpty { return true }
        if position >= text.count { return false }
        let byte = text[position]
        let bit = UInt64(byte & 63)
        return switch byte >> 6 {
        case 0: bits.0 >> bit & 1 != 0
        case 1: bits.1 >> bit & 1 != 0
        case 2: bits.2 >> bit & 1 != 0
        default: bits.3 >> bit & 1 != 0
        }
    }

    private mutating func add(_ node: PatternNode) {
        switch node {
        case .set(let set):
            for value in UInt32(0)..<64 {
                if set.contains(value) { bits.0 |= 1 << UInt64(value) }
                if set.contains(value + 64) { bits.1 |= 1 << UInt64(value) }
            }
            // Any character beyond ASCII: which of them, the set itself decides.
            bits.3 = .max
        case .sequence(let nodes):
            for node in nodes {
                add(node)
                if !node.matchesEmpty { return }
            }
        case .alternatives(let nodes): for node in nodes { add(node) }
        case .repetition(let node, _, _, _), .atomic(let node): add(node)
        case .ahead, .behind, .anchor: break
        }
    }
}
