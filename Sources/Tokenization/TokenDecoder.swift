/// How tokens become text again.
struct TokenDecoder: Sendable {
    /// What a token's text is before anything is done to it.
    private enum Spelling {
        /// In the byte-level alphabet.
        case bytes
        case text
        /// This character is a space, and nothing in the first token.
        case metaspace(Unicode.Scalar, dropsInFirst: Bool)
        /// Tokens are words, with spaces between.
        case words
    }

    private var spelling = Spelling.words
    private var replacements: [(Pattern, [UInt8])] = []
    private var readsByteTokens = false
    /// This character is taken from the beginning of the whole text, up to so many times.
    private var stripped: (character: [UInt8], most: Int)?

    init(_ section: TokenizerSection?) throws(TokenizationError) {
        guard let section else { return }
        spelling = .text
        var reader = Reader()
        try add(section, &reader)
    }

    /// A token's own part of the text.
    struct Contribution {
        var bytes: [UInt8]
        /// One byte of `<0x00>` to `<0xFF>`, which is text only together with its neighbours.
        var isByte = false
    }

    func contribution(of token: ArraySlice<UInt8>, isFirst: Bool) -> Contribution {
        switch spelling {
        case .bytes: return Contribution(bytes: ByteLevel.unspell(token))
        case .words: return Contribution(bytes: (isFirst ? [] : [0x20]) + token)
        case .metaspace(let character, let dropsInFirst):
            return Contribution(bytes: TokenDecoder.spaced(token, character, isFirst && dropsInFirst ? "" : " "))
        case .text:
            let text = replacements.reduce(Array(token)) { TokenDecoder.replace($1.0, in: $0, with: $1.1) }
            if readsByteTokens, let byte = ByteToken.byte(of: text) { return Contribution(bytes: [byte], isByte: true) }
            return Contribution(bytes: text)
        }
    }

    private static func spaced(_ token: ArraySlice<UInt8>, _ character: Unicode.Scalar, _ space: String) -> [UInt8] {
        var text = ""
        for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
            if scalar == character { text += space } else { text.unicodeScalars.append(scalar) }
        }
        return Array(text.utf8)
    }

    private static func replace(_ pattern: Pattern, in text: [UInt8], with content: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var budget = PatternBudget(bytes: text.count)
        pattern.spans(in: text.span, budget: &budget) { range, isMatch in
            if isMatch { result += content } else { result += text[range] }
        }
        return result
    }

    /// Text that is being put together from tokens.
    struct Assembly {
        fileprivate var isFirst = true
        /// Bytes that are not yet part of a whole character, or that wait for one.
        fileprivate var pending: [UInt8] = []
        fileprivate var run: ByteRun
        fileprivate var strippable: Int
        /// Characters that were put together and not yet taken.
        fileprivate var text = ""
    }

    /// In pieces: each character as soon as it is whole. Otherwise a row of byte tokens counts as one, as upstream has
    /// it, and all of it is U+FFFD when some of it is not UTF-8.
    func assembly(inPieces: Bool) -> Assembly {
        Assembly(run: ByteRun(isInPieces: inPieces), strippable: stripped?.most ?? 0)
    }
}

/// A row of byte tokens, which is text when it is UTF-8, and otherwise one U+FFFD a byte.
private struct ByteRun {
    let isInPieces: Bool
    /// The bytes that are not text yet.
    private var bytes: [UInt8] = []
    private var isBroken = false

    init(isInPieces: Bool) { self.isInPieces = isInPieces }

    mutating func append(_ byte: UInt8, to text: inout [UInt8]) {
        bytes.append(byte)
        guard isInPieces else { return }
        if isBroken || UTF8.lengthOfWholeCharacters(bytes) > 0 {
            isBroken = isBroken || String(validating: bytes, as: UTF8.self) == nil
            flush(&text)
        }
    }

    private mutating func flush(_ text: inout [UInt8]) {
        if !isBroken, String(validating: bytes, as: UTF8.self) != nil {
            text += bytes
        } else {
            for _ in bytes { text += TokenDecoder.replacementCharacter }
        }
        bytes.removeAll()
    }

    mutating func end(_ text: inout [UInt8]) {
        if !bytes.isEmpty { flush(&text) }
        isBroken = false
    }
}

// MARK: - Assembling

extension TokenDecoder {
    static let replacementCharacter: [UInt8] = [0xEF, 0xBF, 0xBD]

    func append(_ token: ArraySlice<UInt8>, to assembly: inout Assembly) {
        let contribution = contribution(of: token, isFirst: assembly.isFirst)
        assembly.isFirst = false
        if contribution.isByte {
            assembly.run.append(contribution.bytes[0], to: &assembly.pending)
        } else {
            assembly.run.end(&assembly.pending)
            assembly.pending += contribution.bytes
        }
        if assembly.run.isInPieces { settle(&assembly) }
    }

    /// Moves what is whole from `pending` to `text`.
    ///
    /// What ends in U+FFFD waits, for it may be a character of which the rest is still to come; only very much of it
    /// does not.
    private func settle(_ assembly: inout Assembly) {
        strip(&assembly)
        var text = String(decoding: assembly.pending, as: UTF8.self)
        var length = assembly.pending.count
        if text.unicodeScalars.last == "\u{FFFD}" {
            if length < TokenDecoder.mostPending { return }
            length = UTF8.lengthOfWholeCharacters(assembly.pending)
            text = String(decoding: assembly.pending[..<length], as: UTF8.self)
        }
        assembly.text += text
        assembly.pending.removeFirst(length)
    }

    private static let mostPending = 512

    private func strip(_ assembly: inout Assembly) {
        guard let stripped, assembly.strippable > 0, !assembly.pending.isEmpty else { return }
        while assembly.strippable > 0, assembly.pending.starts(with: stripped.character) {
            assembly.pending.removeFirst(stripped.character.count)
            assembly.strippable -= 1
        }
        if !assembly.pending.isEmpty { assembly.strippable = 0 }
    }

    func finish(_ assembly: inout Assembly) {
        assembly.run.end(&assembly.pending)
        strip(&assembly)
        assembly.text += String(decoding: assembly.pending, as: UTF8.self)
        assembly.pending.removeAll()
    }

    /// Takes what was put together so far.
    static func take(_ assembly: inout Assembly) -> String {
        defer { assembly.text = "" }
        return assembly.text
    }
}

extension UTF8 {
    /// The length without a beginning of a character at the end; what can never become one counts as whole.
    static func lengthOfWholeCharacters(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let lead = bytes[bytes.count - back]
            if lead & 0xC0 == 0x80 { continue }
            let isOpen = lead >= 0xC2 && lead <= 0xF4 && width(lead) > back && mayFollow(lead, bytes.suffix(back - 1))
            return isOpen ? bytes.count - back : bytes.count
        }
        return bytes.count
    }

    /// Whether continuation bytes may follow the lead: the first excludes overlong forms, surrogates and beyond.
    private static func mayFollow(_ lead: UInt8, _ continuation: ArraySlice<UInt8>) -> Bool {
        guard let second = continuation.first else { return true }
        return switch lead {
        case 0xE0: second >= 0xA0
        case 0xED: second < 0xA0
        case 0xF0: second >= 0x90
        case 0xF4: second < 0x90
        default: true
        }
    }
}

// MARK: - Reading

extension TokenDecoder {
    /// Which kind of step came last: the steps are carried out in one order, so they must stand in it.
    private struct Reader {
        var stage = 0
        var steps = 0
    }

    private mutating func add(_ section: TokenizerSection, _ reader: inout Reader) throws(TokenizationError) {
        let type = try section.type()
        let stages = ["ByteLevel": 1, "Metaspace": 1, "Replace": 2, "ByteFallback": 3, "Fuse": 4, "Strip": 5]
        if type == "Sequence" {
            for section in try section.sections("decoders") { try add(section, &reader) }
            return
        }
        guard let stage = stages[type] else { throw section.unsupported("is the decoder \(type.quoted)") }
        let isAgain = stage == reader.stage && stage != 2 && stage != 4
        let isAlone = reader.stage == 1 && stage != 4
        if stage < reader.stage || isAgain || isAlone || (stage == 5 && reader.stage != 4) {
            throw section.unsupported("is the decoder \(type.quoted) at this place of the sequence")
        }
        reader = Reader(stage: stage == 4 && reader.stage == 1 ? 1 : stage, steps: reader.steps + 1)
        if reader.steps > 16 { throw section.unsupported("is one decoder too many") }
        try set(type, section)
    }

    private mutating func set(_ type: String, _ section: TokenizerSection) throws(TokenizationError) {
        switch type {
        case "ByteLevel": spelling = .bytes
        case "Metaspace":
            let scheme = try section.optionalString("prepend_scheme") ?? "always"
            let drops = try section.bool("add_prefix_space", default: true) && scheme != "never"
            spelling = .metaspace(try section.scalar("replacement"), dropsInFirst: drops)
        case "Replace":
            let content = Array(try section.string("content").utf8)
            if content.count > 16 { throw section.unsupported("replaces by more than 16 bytes") }
            replacements.append((try section.pattern(), content))
        case "ByteFallback": readsByteTokens = true
        case "Strip":
            if try section.count("stop") > 0 { throw section.unsupported("strips the end of the text") }
            stripped = (Array(UTF8.encode(try section.scalar("content"))!), try section.count("start"))
        default: break
        }
    }
}
