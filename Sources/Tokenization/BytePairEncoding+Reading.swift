import Chat

extension BytePairEncoding {
    init(_ section: TokenizerSection) throws(TokenizationError) {
        try BytePairEncoding.refuseVariants(section)
        vocabulary = try BytePairEncoding.readVocabulary(section)
        let merges = try BytePairEncoding.readMerges(section, vocabulary)
        self.merges = merges.table
        let vocabulary = vocabulary
        byteCharacters = ByteLevel.scalars.map { vocabulary.id(of: String($0)) ?? -1 }
        byteTokens = BytePairEncoding.readByteTokens(vocabulary, try section.bool("byte_fallback", default: false))
        unknown = try BytePairEncoding.readUnknown(section, vocabulary)
        fusesUnknown = try section.bool("fuse_unk", default: false)
        ignoresMerges = try section.bool("ignore_merges", default: false)
        splitsAtMetaspace =
            !merges.crossMetaspace && !ignoresMerges && unknown != nil && vocabulary.id(of: "▁") != nil
    }

    private static func refuseVariants(_ section: TokenizerSection) throws(TokenizationError) {
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if try section.optionalString(key)?.isEmpty == false { throw section.unsupported("has a \"\(key)\"") }
        }
        if let dropout = section.present("dropout"), dropout.number != 0 {
            throw section.unsupported("has \"dropout\", which makes encoding random")
        }
    }

    private static func readVocabulary(_ section: TokenizerSection) throws(TokenizationError) -> Vocabulary {
        let value = try section.required("vocab")
        guard case .object(let object) = value else {
            throw section.malformed("has a \"vocab\" that is \(value.kind), but must be an object")
        }
        var vocabulary = Vocabulary()
        vocabulary.reserve(object.members.count)
        for member in object.members {
            let id = try section.tokenID(member.value, member.key.quoted)
            if !vocabulary.insert(member.key, id) {
                throw section.malformed("gives the id \(id) of \(member.key.quoted) to another token too")
            }
        }
        if vocabulary.count == 0 { throw section.malformed("has an empty \"vocab\"") }
        return vocabulary
    }

    private static func readUnknown(
        _ section: TokenizerSection, _ vocabulary: Vocabulary
    ) throws(TokenizationError) -> TokenID? {
        guard let name = try section.optionalString("unk_token") else { return nil }
        guard let id = vocabulary.id(of: name) else {
            throw section.malformed("has the unk_token \(name.quoted), which its vocabulary does not hold")
        }
        return id
    }

    private static func readByteTokens(_ vocabulary: Vocabulary, _ isWanted: Bool) -> [TokenID] {
        (UInt8.min...UInt8.max).map { isWanted ? vocabulary.id(of: ByteToken.name(of: $0)) ?? -1 : -1 }
    }
}

// MARK: - Merges

extension BytePairEncoding {
    private struct Merges {
        var table: MergeTable
        /// Whether one makes a token in which ▁ follows something else.
        var crossMetaspace = false
    }

    private static func readMerges(
        _ section: TokenizerSection, _ vocabulary: Vocabulary
    ) throws(TokenizationError) -> Merges {
        let value = try section.required("merges")
        guard case .array(let array) = value else {
            throw section.malformed("has \"merges\" that are \(value.kind), but must be an array")
        }
        var merges = Merges(table: MergeTable(capacity: array.count))
        var joined: [UInt8] = []
        for (rank, value) in array.enumerated() {
            guard let (left, right) = halves(value) else {
                if rank == 0, value.string?.hasPrefix("#version") == true { continue }
                throw section.malformed("has a merge at \(rank) that is not two tokens")
            }
            joined.removeAll(keepingCapacity: true)
            joined.append(utf8Of: left)
            let middle = joined.count
            joined.append(utf8Of: right)
            let bytes = joined.span
            guard let leftID = vocabulary.id(of: bytes.extracting(..<middle)),
                let rightID = vocabulary.id(of: bytes.extracting(middle...)), let id = vocabulary.id(of: bytes)
            else {
                throw section.malformed(
                    "merges \(left.quoted) and \(right.quoted), but its vocabulary lacks one or both")
            }
            merges.table.insert(leftID, rightID, rank: Int32(rank), id: id)
            if !merges.crossMetaspace { merges.crossMetaspace = crossesMetaspace(joined.span) }
        }
        return merges
    }

    /// The two tokens of a merge: `["a", "b"]`, or `"a b"` in files from before 2024.
    private static func halves(_ value: JSONValue) -> (Substring, Substring)? {
        switch value {
        case .array(let pair):
            guard pair.count == 2, let left = pair[0].string, let right = pair[1].string else { return nil }
            return (left[...], right[...])
        case .string(let text):
            guard let space = text.utf8.firstIndex(of: 0x20) else { return nil }
            let right = text[text.utf8.index(after: space)...]
            return right.utf8.contains(0x20) ? nil : (text[..<space], right)
        case .null, .bool, .integer, .number, .object: return nil
        }
    }

    private static func crossesMetaspace(_ token: Span<UInt8>) -> Bool {
        var lastWasMetaspace = true
        var index = 0
        while index < token.count {
            let isMetaspace = token.hasMetaspace(at: index)
            if isMetaspace, !lastWasMetaspace { return true }
            lastWasMetaspace = isMetaspace
            index += UTF8.width(token[index])
        }
        return false
    }
}

extension [UInt8] {
    fileprivate mutating func append(utf8Of text: Substring) {
        var text = text
        text.withUTF8 { append(contentsOf: $0) }
    }
}

extension Span<UInt8> {
    /// Whether ▁ stands at `index`, which must begin a character.
    fileprivate func hasMetaspace(at index: Int) -> Bool {
        self[index] == 0xE2 && self[index + 1] == 0x96 && self[index + 2] == 0x81
    }
}

extension PieceBuffer {
    /// Cuts the pieces before every run of ▁.
    mutating func splitAtMetaspace() {
        var split: [Range<Int>] = []
        let text = text
        let bytes = text.bytes.span
        for piece in pieces {
            var start = piece.lowerBound
            var lastWasMetaspace = true
            var index = start
            while index < piece.upperBound {
                let isMetaspace = bytes.hasMetaspace(at: index)
                if isMetaspace, !lastWasMetaspace {
                    split.append(start..<index)
                    start = index
                }
                lastWasMetaspace = isMetaspace
                index += UTF8.width(bytes[index])
            }
            split.append(start..<piece.upperBound)
        }
        pieces = split
    }
}
