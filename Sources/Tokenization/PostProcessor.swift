import Chat

/// What surrounds the ids of a text, and of a pair of texts.
struct PostProcessor: Sendable {
    /// A part of a template, with the type id that its tokens get.
    enum Part: Sendable {
        case text(index: Int, type: Int)
        case special([TokenID], [String], type: Int)
    }

    private(set) var single: [Part]?
    private(set) var pair: [Part]?
    /// Offsets leave out the spaces at a token's ends; of each trimming, whether one leading space was put there.
    private(set) var trims: [Bool] = []

    init(_ section: TokenizerSection?) throws(TokenizationError) {
        if let section { try add(section) }
    }

    /// The ids that come before and after those of a text.
    var surroundings: (before: [TokenID], after: [TokenID]) {
        var before: [TokenID] = []
        var after: [TokenID] = []
        var hasSeenText = false
        for part in single ?? [] {
            switch part {
            case .text: hasSeenText = true
            case .special(let ids, _, _): if hasSeenText { after += ids } else { before += ids }
            }
        }
        return (before, after)
    }

    /// How many special tokens are added to a text, or to two.
    func addedCount(texts: Int) -> Int {
        (texts == 1 ? single : pair)?.reduce(0) { count, part in
            guard case .special(let ids, _, _) = part else { return count }
            return count + ids.count
        } ?? 0
    }
}

extension PostProcessor {
    private mutating func add(_ section: TokenizerSection) throws(TokenizationError) {
        let type = try section.type()
        switch type {
        case "Sequence": for section in try section.sections("processors") { try add(section) }
        case "ByteLevel": try addTrim(section)
        case "TemplateProcessing":
            let tokens = try section.section("special_tokens")
            try setTemplate(
                section, single: try parts(section, "single", tokens, texts: 1),
                pair: try parts(section, "pair", tokens, texts: 2))
        case "BertProcessing", "RobertaProcessing":
            let isRoberta = type == "RobertaProcessing"
            if isRoberta { try addTrim(section) }
            let (first, last) = (try token(section, "cls"), try token(section, "sep"))
            let two = isRoberta ? 0 : 1
            let single: [Part] = [first(0), .text(index: 0, type: 0), last(0)]
            let between = isRoberta ? [last(0)] : []
            try setTemplate(
                section, single: single, pair: single + between + [.text(index: 1, type: two), last(two)])
        default: throw section.unsupported("is the post-processor \(type.quoted)")
        }
        if trims.count > 8 { throw section.unsupported("is one post-processor too many") }
    }

    private mutating func addTrim(_ section: TokenizerSection) throws(TokenizationError) {
        if try section.bool("trim_offsets", default: true) {
            trims.append(try section.bool("add_prefix_space", default: true))
        }
    }

    private mutating func setTemplate(
        _ section: TokenizerSection, single: [Part], pair: [Part]
    ) throws(TokenizationError) {
        if self.single != nil { throw section.unsupported("is a second template") }
        self.single = single
        self.pair = pair
    }

    /// A member like `["</s>", 2]`, as a part whose type is still to be said.
    private func token(_ section: TokenizerSection, _ key: String) throws(TokenizationError) -> (Int) -> Part {
        let value = try section.array(key)
        guard value.count == 2, let text = value[0].string else {
            throw section.malformed("has a \"\(key)\" that is not a token and its id")
        }
        let id = try section.tokenID(value[1], text.quoted)
        return { .special([id], [text], type: $0) }
    }

    private func parts(
        _ section: TokenizerSection, _ key: String, _ tokens: TokenizerSection, texts: Int
    ) throws(TokenizationError) -> [Part] {
        var parts: [Part] = []
        for part in try section.sections(key) {
            if part.present("Sequence") != nil {
                let text = try part.section("Sequence")
                guard let index = ["A", "B"].prefix(texts).firstIndex(of: try text.string("id")) else {
                    throw text.malformed("names a text that is not there")
                }
                parts.append(.text(index: index, type: try text.count("type_id")))
            } else {
                let special = try part.section("SpecialToken")
                let name = try special.string("id")
                let (ids, texts) = try specialToken(try tokens.section(name))
                parts.append(.special(ids, texts, type: try special.count("type_id")))
            }
        }
        return parts
    }

    private func specialToken(_ section: TokenizerSection) throws(TokenizationError) -> ([TokenID], [String]) {
        var ids: [TokenID] = []
        for value in try section.array("ids") { ids.append(try section.tokenID(value, "a special token")) }
        let texts = try section.array("tokens").map { $0.string ?? "" }
        if texts.count != ids.count { throw section.malformed("has not as many tokens as ids") }
        return (ids, texts)
    }
}
