/// A regular expression as a tree.
indirect enum PatternNode {
    case set(ScalarSet)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    case repetition(PatternNode, least: Int, most: Int?, Greed)
    case ahead(PatternNode, isNegative: Bool)
    case behind(ScalarSet, isNegative: Bool)
    case atomic(PatternNode)
    case anchor(Anchor)

    enum Greed { case greedy, lazy, possessive }
    enum Anchor { case textStart, textEnd, lineStart, lineEnd }

    var matchesEmpty: Bool {
        switch self {
        case .set: false
        case .sequence(let nodes): nodes.allSatisfy(\.matchesEmpty)
        case .alternatives(let nodes): nodes.contains(where: \.matchesEmpty)
        case .repetition(let node, let least, _, _): least == 0 || node.matchesEmpty
        case .atomic(let node): node.matchesEmpty
        case .ahead, .behind, .anchor: true
        }
    }
}

/// Why a pattern is not understood.
struct PatternSyntaxError: Error {
    var reason: String
}

/// Reads the part of Oniguruma's syntax that published tokenizers use, and refuses the rest by name.
struct PatternParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private var ignoresCase = false
    private static let deepest = 40
    private static let mostRepetitions = 1000

    static func parse(_ pattern: String) throws(PatternSyntaxError) -> PatternNode {
        var parser = PatternParser(scalars: Array(pattern.unicodeScalars))
        let node = try parser.alternatives()
        if parser.position < parser.scalars.count { throw PatternSyntaxError(reason: "a ) without (") }
        return node
    }

    private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

    private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private func sees(_ text: String) -> Bool { scalars[position...].starts(with: text.unicodeScalars) }

    private mutating func take(_ text: String) -> Bool {
        guard sees(text) else { return false }
        position += text.unicodeScalars.count
        return true
    }

    private mutating func scalar(_ context: String) throws(PatternSyntaxError) -> Unicode.Scalar {
        guard let scalar = next else { throw PatternSyntaxError(reason: "it ends inside \(context)") }
        position += 1
        return scalar
    }

    private mutating func alternatives() throws(PatternSyntaxError) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        if depth > PatternParser.deepest { throw PatternSyntaxError(reason: "it nests too deep") }
        let outerCase = ignoresCase
        defer { ignoresCase = outerCase }
        var nodes = [try sequence()]
        while take("|") { nodes.append(try sequence()) }
        return nodes.count == 1 ? nodes[0] : .alternatives(nodes)
    }

    private mutating func sequence() throws(PatternSyntaxError) -> PatternNode {
        var nodes: [PatternNode] = []
        while let scalar = next, scalar != "|", scalar != ")" {
            if let node = try atom() { nodes.append(try quantified(node)) }
        }
        return nodes.count == 1 ? nodes[0] : .sequence(nodes)
    }

    /// Nil for what only switches an option.
    private mutating func atom() throws(PatternSyntaxError) -> PatternNode? {
        let scalar = try scalar("a pattern")
        switch scalar {
        case "(": return try group()
        case "[": return .set(try bracketed())
        case ".": return .set(ScalarSet.scalars(0x0A...0x0A).inverted)
        case "^": return .anchor(.lineStart)
        case "$": return .anchor(.lineEnd)
        case "*", "+", "?": throw PatternSyntaxError(reason: "a \(scalar) with nothing to repeat")
        case "\\": return try escaped()
        default: return .set(literal(scalar))
        }
    }

    private mutating func group() throws(PatternSyntaxError) -> PatternNode? {
        if take("?i)") {
            ignoresCase = true
            return nil
        }
        let outerCase = ignoresCase
        defer { ignoresCase = outerCase }
        var wrap: (PatternNode) -> PatternNode = { $0 }
        if take("?:") {
        } else if take("?i:") {
            ignoresCase = true
        } else if take("?-i:") {
            ignoresCase = false
        } else if take("?=") {
            wrap = { .ahead($0, isNegative: false) }
        } else if take("?!") {
            wrap = { .ahead($0, isNegative: true) }
        } else if take("?>") {
            wrap = { .atomic($0) }
        } else if sees("?<=") || sees("?<!") {
            return try lookBehind()
        } else if sees("?") {
            throw PatternSyntaxError(reason: "a group of the kind (?\(scalars.dropFirst(position + 1).first ?? ")")")
        }
        let node = try alternatives()
        if !take(")") { throw PatternSyntaxError(reason: "a ( without )") }
        return wrap(node)
    }

    private mutating func lookBehind() throws(PatternSyntaxError) -> PatternNode {
        let isNegative = take("?<!")
        if !isNegative { _ = take("?<=") }
        guard case .set(let set) = try alternatives(), take(")") else {
            throw PatternSyntaxError(reason: "a look-behind at more than one character")
        }
        return .behind(set, isNegative: isNegative)
    }

    private mutating func quantified(_ atom: PatternNode) throws(PatternSyntaxError) -> PatternNode {
        var node = atom
        while let (least, most, isInterval) = try quantifier() {
            var greed = PatternNode.Greed.greedy
            if take("?") {
                greed = .lazy
            } else if !isInterval, take("+") {
                greed = .possessive
            }
            if most.map({ $0 > 1 }) ?? true, node.matchesEmpty {
                throw PatternSyntaxError(reason: "a repetition of what may be empty")
            }
            node = .repetition(node, least: least, most: most, greed)
        }
        return node
    }

    private mutating func quantifier() throws(PatternSyntaxError) -> (least: Int, most: Int?, isInterval: Bool)? {
        if take("*") { return (0, nil, false) }
        if take("+") { return (1, nil, false) }
        if take("?") { return (0, 1, false) }
        let start = position
        guard take("{") else { return nil }
        let least = number()
        let most = take(",") ? number() : least
        let isOpen = scalars[start..<position].last == ","
        guard take("}"), least != nil || most != nil else {
            position = start
            return nil
        }
        let bound = most ?? least!
        guard (least ?? 0) <= bound, bound <= PatternParser.mostRepetitions else {
            throw PatternSyntaxError(reason: "a repetition count beyond \(PatternParser.mostRepetitions)")
        }
        return (least ?? 0, isOpen ? nil : most, true)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = next, (0x30...0x39).contains(digit.value) {
            value = min((value ?? 0) * 10 + Int(digit.value - 0x30), PatternParser.mostRepetitions + 1)
            position += 1
        }
        return value
    }

    /// What follows a backslash outside brackets.
    private mutating func escaped() throws(PatternSyntaxError) -> PatternNode {
        if take("A") { return .anchor(.textStart) }
        if take("z") { return .anchor(.textEnd) }
        if let set = try escapedSet() { return .set(set) }
        return .set(literal(try escapedScalar()))
    }

    /// `\s`, `\p{…}` and their like; nil, and nothing taken, for other escapes.
    private mutating func escapedSet() throws(PatternSyntaxError) -> ScalarSet? {
        guard let letter = next else { throw PatternSyntaxError(reason: "it ends in a backslash") }
        let set: ScalarSet
        switch letter {
        case "s", "S": set = .whitespace
        case "d", "D": set = .category("Nd")!
        case "w", "W": set = .word
        case "h", "H": set = .scalars(0x30...0x39, 0x41...0x46, 0x61...0x66)
        case "p", "P": set = try property()
        default: return nil
        }
        if letter != "p", letter != "P" { position += 1 }
        return (0x41...0x5A).contains(letter.value) ? set.inverted : set
    }

    private mutating func property() throws(PatternSyntaxError) -> ScalarSet {
        position += 1
        guard take("{") else { throw PatternSyntaxError(reason: "a \\p without {") }
        let isNegative = take("^")
        var name = String.UnicodeScalarView()
        while let scalar = next, scalar != "}" {
            name.append(scalar)
            position += 1
        }
        if !take("}") { throw PatternSyntaxError(reason: "a \\p{ without }") }
        guard let set = ScalarSet.category(String(name)) else {
            throw PatternSyntaxError(reason: "the property \(String(name).quoted)")
        }
        return isNegative ? set.inverted : set
    }

    private mutating func escapedScalar() throws(PatternSyntaxError) -> Unicode.Scalar {
        let letter = try scalar("an escape")
        switch letter {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "f": return "\u{0C}"
        case "v": return "\u{0B}"
        case "a": return "\u{07}"
        case "e": return "\u{1B}"
        case "u": return try hexadecimal(digits: 4)
        case "x": return take("{") ? try hexadecimal(digits: nil) : try hexadecimal(digits: 2)
        case "0"..."9", "A"..."Z", "a"..."z": throw PatternSyntaxError(reason: "the escape \\\(letter)")
        default: return letter
        }
    }

    /// So many digits, or all up to a closing brace.
    private mutating func hexadecimal(digits: Int?) throws(PatternSyntaxError) -> Unicode.Scalar {
        var value: UInt32 = 0
        var count = 0
        while count < digits ?? 8, let scalar = next, let digit = Character(scalar).hexDigitValue, scalar.isASCII {
            value = value << 4 | UInt32(digit)
            position += 1
            count += 1
        }
        guard digits == nil ? take("}") : count == digits, let scalar = Unicode.Scalar(value) else {
            throw PatternSyntaxError(reason: "a hexadecimal escape that is no character")
        }
        return scalar
    }

    /// A character by itself; without regard to case, all that fold to it one to one.
    private func literal(_ scalar: Unicode.Scalar) -> ScalarSet {
        guard ignoresCase else { return .scalars(scalar.value...scalar.value) }
        var set = ScalarSet.scalars(scalar.value...scalar.value)
        let properties = scalar.properties
        for mapped in [properties.lowercaseMapping, properties.uppercaseMapping, properties.titlecaseMapping] {
            guard let other = mapped.unicodeScalars.first, mapped.unicodeScalars.count == 1 else { continue }
            set = set.union(.scalars(other.value...other.value))
        }
        // The two ASCII letters that a third character folds to: the long s and the Kelvin sign.
        if scalar == "s" || scalar == "S" { set = set.union(.scalars(0x17F...0x17F)) }
        if scalar == "k" || scalar == "K" { set = set.union(.scalars(0x212A...0x212A)) }
        return set
    }

    /// What follows an opening bracket, to its closing one.
    private mutating func bracketed() throws(PatternSyntaxError) -> ScalarSet {
        depth += 1
        defer { depth -= 1 }
        if depth > PatternParser.deepest { throw PatternSyntaxError(reason: "it nests too deep") }
        let isNegative = take("^")
        var set = ScalarSet.empty
        var intersected: ScalarSet?
        var isFirst = true
        while isFirst || !sees("]") {
            if take("&&") {
                intersected = intersected?.intersection(set) ?? set
                set = .empty
            } else {
                set = set.union(try bracketedItem())
            }
            isFirst = false
        }
        position += 1
        if let intersected { set = intersected.intersection(set) }
        return isNegative ? set.inverted : set
    }

    private mutating func bracketedItem() throws(PatternSyntaxError) -> ScalarSet {
        if sees("[:") { throw PatternSyntaxError(reason: "a POSIX bracket") }
        if take("[") { return try bracketed() }
        let isEscaped = take("\\")
        if isEscaped, let set = try escapedSet() { return set }
        let low = isEscaped ? try escapedScalar() : try scalar("brackets")
        guard sees("-"), position + 1 < scalars.count, scalars[position + 1] != "]" else { return literal(low) }
        position += 1
        let high = take("\\") ? try escapedScalar() : try scalar("brackets")
        if low > high { throw PatternSyntaxError(reason: "a range from \(low) to \(high)") }
        return range(low, high)
    }

    private func range(_ low: Unicode.Scalar, _ high: Unicode.Scalar) -> ScalarSet {
        var set = ScalarSet.scalars(low.value...high.value)
        guard ignoresCase else { return set }
        for letter in low.value...high.value where letter <= 0x7F { set = set.union(literal(Unicode.Scalar(letter)!)) }
        return set
    }
}
