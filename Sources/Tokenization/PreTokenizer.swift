/// A text in pieces that the model will encode one by one.
struct PieceBuffer {
    var text: AlignedText
    var pieces: [Range<Int>]
    /// The pieces are to be read as bytes that the vocabulary spells in the byte-level alphabet.
    var isByteLevel = false

    init(_ text: AlignedText) {
        self.text = text
        pieces = text.bytes.isEmpty ? [] : [0..<text.bytes.count]
    }
}

/// How a text is cut into pieces.
struct PreTokenizer: Sendable {
    /// What becomes of the matches when a text is split at them.
    fileprivate enum Behavior: String {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    fileprivate enum PrependScheme: String {
        case always, first, never
    }

    private enum Step: Sendable {
        case split(Pattern, Behavior, isInverted: Bool)
        case prefixSpace
        /// Spaces become this character, which is put before a piece too.
        case metaspace([UInt8], PrependScheme)
        case byteLevel
    }

    private var steps: [Step] = []
    private static let mostSteps = 32
    private static let mostRewrites = 4

    /// GPT-2's own pattern, which `ByteLevel` brings along.
    private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// What `Whitespace` keeps: words, and what is neither word nor space.
    private static let words = #"[\w\x{200C}\x{200D}]+|[^\w\x{200C}\x{200D}\s]+"#

    init(_ section: TokenizerSection?) throws(TokenizationError) {
        if let section { try add(section) }
    }

    var isEmpty: Bool { steps.isEmpty }

    /// True when a step asks where a piece began, and the answer is not simply its place in a text that others changed.
    func needsOrigins(after normalizer: Normalizer) -> Bool {
        (normalizer.isEmpty ? steps.dropFirst() : steps[...]).contains {
            guard case .metaspace(_, .first) = $0 else { return false }
            return true
        }
    }

    var isByteLevel: Bool {
        guard case .byteLevel? = steps.last else { return false }
        return true
    }

    func apply(to buffer: inout PieceBuffer) {
        for (index, step) in steps.enumerated() {
            switch step {
            case .split(let pattern, let behavior, let isInverted):
                buffer.split(at: pattern, behavior, isInverted: isInverted)
            case .prefixSpace: buffer.prefixSpaces()
            case .metaspace(let character, let scheme): buffer.replaceSpaces(with: character, scheme)
            case .byteLevel where index == steps.count - 1: buffer.isByteLevel = true
            case .byteLevel: buffer.spellInBytes()
            }
        }
    }
}

// MARK: - Reading

extension PreTokenizer {
    private mutating func add(_ section: TokenizerSection) throws(TokenizationError) {
        let type = try section.type()
        switch type {
        case "Sequence": for section in try section.sections("pretokenizers") { try add(section) }
        case "ByteLevel": try addByteLevel(section)
        case "Metaspace": try addMetaspace(section)
        case "Split":
            let isInverted = try section.bool("invert", default: false)
            steps.append(.split(try section.pattern(), try behavior(section), isInverted: isInverted))
        case "Digits":
            let isIndividual = try section.bool("individual_digits", default: false)
            split(at: .numeric, isIndividual ? .isolated : .contiguous)
        case "Punctuation":
            let behavior = section.present("behavior") == nil ? Behavior.isolated : try behavior(section)
            split(at: ScalarSet.category("P")!.union(.asciiPunctuation), behavior)
        case "CharDelimiterSplit":
            let delimiter = try section.scalar("delimiter").value
            split(at: .scalars(delimiter...delimiter), .removed)
        case "WhitespaceSplit": split(at: .whitespace, .removed)
        case "Whitespace":
            if let pattern = try? Pattern(PreTokenizer.words) {
                steps.append(.split(pattern, .removed, isInverted: true))
            }
        default: throw section.unsupported("is the pre-tokenizer \(type.quoted)")
        }
        if steps.count > PreTokenizer.mostSteps || rewrites > PreTokenizer.mostRewrites {
            throw section.unsupported("is one step too many")
        }
    }

    private var rewrites: Int {
        steps.count {
            if case .split = $0 { false } else { true }
        }
    }

    private mutating func split(at set: ScalarSet, _ behavior: Behavior) {
        guard let pattern = try? Pattern(set: set) else { return }
        steps.append(.split(pattern, behavior, isInverted: false))
    }

    private func behavior(_ section: TokenizerSection) throws(TokenizationError) -> Behavior {
        let name = try section.string("behavior")
        guard let behavior = Behavior(rawValue: name) else {
            throw section.malformed("has the unknown behavior \(name.quoted)")
        }
        return behavior
    }

    private mutating func addByteLevel(_ section: TokenizerSection) throws(TokenizationError) {
        if try section.bool("add_prefix_space", default: true) { steps.append(.prefixSpace) }
        if try section.bool("use_regex", default: true), let pattern = try? Pattern(PreTokenizer.gpt2) {
            steps.append(.split(pattern, .isolated, isInverted: false))
        }
        steps.append(.byteLevel)
    }

    private mutating func addMetaspace(_ section: TokenizerSection) throws(TokenizationError) {
        let character = try section.scalar("replacement")
        let name = try section.optionalString("prepend_scheme") ?? "always"
        guard var scheme = PrependScheme(rawValue: name) else {
            throw section.malformed("has the unknown prepend_scheme \(name.quoted)")
        }
        // Files of before 2023 say it this way.
        if try !section.bool("add_prefix_space", default: true) { scheme = .never }
        steps.append(.metaspace(Array(UTF8.encode(character)!), scheme))
        if try section.bool("split", default: true), let pattern = try? Pattern(literal: String(character)) {
            steps.append(.split(pattern, .mergedWithNext, isInverted: false))
        }
    }
}

// MARK: - Steps

extension PieceBuffer {
    fileprivate mutating func split(at pattern: Pattern, _ behavior: PreTokenizer.Behavior, isInverted: Bool) {
        var split: [Range<Int>] = []
        split.reserveCapacity(max(pieces.count, text.bytes.count / 4))
        var budget = PatternBudget(bytes: text.bytes.count)
        let text = text
        let bytes = text.bytes.span
        var joiner = SpanJoiner(behavior)
        for piece in pieces {
            joiner.begin()
            pattern.spans(in: bytes.extracting(piece), budget: &budget) { range, isMatch in
                let range = range.lowerBound + piece.lowerBound..<range.upperBound + piece.lowerBound
                joiner.add(range, isMatch: isMatch != isInverted, to: &split)
            }
            joiner.end(&split)
        }
        pieces = split
    }

    /// A space before every piece that has none.
    fileprivate mutating func prefixSpaces() {
        rewrite { old, piece, new in
            if old.bytes[piece.lowerBound] != 0x20 { new.append([0x20], old.origin(at: piece.lowerBound)) }
            new.append(old, piece)
        }
    }

    fileprivate mutating func replaceSpaces(with character: [UInt8], _ scheme: PreTokenizer.PrependScheme) {
        rewrite { old, piece, new in
            let isPrefixed = old.bytes[piece].starts(with: character) || old.bytes[piece.lowerBound] == 0x20
            let wantsPrefix =
                switch scheme {
                case .always: true
                case .first: old.origin(at: piece.lowerBound).start == 0
                case .never: false
                }
            if wantsPrefix, !isPrefixed { new.append(character, old.origin(at: piece.lowerBound)) }
            var copied = piece.lowerBound
            for index in piece where old.bytes[index] == 0x20 {
                new.append(old, copied..<index)
                new.append(character, old.origin(at: index))
                copied = index + 1
            }
            new.append(old, copied..<piece.upperBound)
        }
    }

    mutating func spellInBytes() {
        rewrite { old, piece, new in
            for index in piece {
                new.append(UTF8.encode(ByteLevel.scalars[Int(old.bytes[index])])!, old.origin(at: index))
            }
        }
    }

    private mutating func rewrite(_ body: (AlignedText, Range<Int>, inout AlignedText) -> Void) {
        var new = AlignedText(replacing: text)
        for index in pieces.indices {
            let start = new.bytes.count
            body(text, pieces[index], &new)
            pieces[index] = start..<new.bytes.count
        }
        text = new
    }
}

/// Turns the matches of a pattern and the gaps between them into pieces.
private struct SpanJoiner {
    private let behavior: PreTokenizer.Behavior
    private var open: Range<Int>?
    private var lastWasMatch = false

    init(_ behavior: PreTokenizer.Behavior) { self.behavior = behavior }

    mutating func begin() { lastWasMatch = false }

    mutating func add(_ range: Range<Int>, isMatch: Bool, to pieces: inout [Range<Int>]) {
        defer { lastWasMatch = isMatch }
        switch behavior {
        case .isolated: if !range.isEmpty { pieces.append(range) }
        case .removed: if !isMatch, !range.isEmpty { pieces.append(range) }
        case .contiguous: join(range, isMatch == lastWasMatch, &pieces)
        case .mergedWithPrevious: join(range, isMatch && !lastWasMatch, &pieces)
        case .mergedWithNext: join(range, lastWasMatch && !isMatch, &pieces)
        }
    }

    private mutating func join(_ range: Range<Int>, _ isJoined: Bool, _ pieces: inout [Range<Int>]) {
        if isJoined, let start = open?.lowerBound {
            open = start..<range.upperBound
        } else {
            end(&pieces)
            open = range
        }
    }

    mutating func end(_ pieces: inout [Range<Int>]) {
        if let open, !open.isEmpty { pieces.append(open) }
        open = nil
    }
}
