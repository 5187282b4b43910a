import Chat

/// A tokenizer as a `tokenizer.json` describes it: text to ids and back, id by id what the reference implementation
/// (`tokenizers` 0.22) gives.
///
/// The file's own `truncation` and `padding` are not applied: they are what the last user had set.
package struct Tokenizer: Sendable {
    private let normalizer: Normalizer
    private let preTokenizer: PreTokenizer
    private let model: Model
    private let postProcessor: PostProcessor
    fileprivate let decoder: TokenDecoder
    private let added: AddedTokens
    private let needsOrigins: Bool

    fileprivate enum Model: Sendable {
        case bytePairs(BytePairEncoding)
        case unigram(Unigram)

        var vocabulary: Vocabulary {
            switch self {
            case .bytePairs(let model): model.vocabulary
            case .unigram(let model): model.vocabulary
            }
        }
    }

    /// Reads the bytes of a `tokenizer.json`; `path` is for messages.
    ///
    /// - Throws: `TokenizationError.malformed` for a file that contradicts itself, `.unsupported` for a part that is
    ///   not computed here; both name it.
    package init(bytes: [UInt8], path: String) throws(TokenizationError) {
        let document: JSONValue
        do {
            document = try JSONValue(parsing: bytes)
        } catch {
            throw .malformed(path: path, place: "the file", problem: "is not JSON: \(error)")
        }
        let file = try TokenizerSection(path: path, place: "the file", value: document)
        func part(_ key: String) throws(TokenizationError) -> TokenizerSection? {
            guard let value = file.present(key) else { return nil }
            return try TokenizerSection(path: path, place: key, value: value)
        }
        guard let section = try part("model") else { throw file.malformed("has no \"model\"") }
        model = try Tokenizer.model(section)
        normalizer = try Normalizer(try part("normalizer"))
        preTokenizer = try PreTokenizer(try part("pre_tokenizer"))
        postProcessor = try PostProcessor(try part("post_processor"))
        decoder = try TokenDecoder(try part("decoder"))
        let sections = file.present("added_tokens") == nil ? [] : try file.sections("added_tokens")
        added = try AddedTokens(sections, model.vocabulary, normalizer)
        needsOrigins = preTokenizer.needsOrigins(after: normalizer)
    }

    private static func model(_ section: TokenizerSection) throws(TokenizationError) -> Model {
        switch try section.optionalString("type") {
        case "BPE": .bytePairs(try BytePairEncoding(section))
        case "Unigram": .unigram(try Unigram(section))
        // Files of before 2021 do not name their model.
        case nil where section.present("merges") != nil: .bytePairs(try BytePairEncoding(section))
        case let type: throw section.unsupported("is the model \((type ?? "without a type").quoted)")
        }
    }
}

// MARK: - The vocabulary

extension Tokenizer {
    /// The greatest id and one.
    package var vocabularySize: Int { max(model.vocabulary.size, added.size) }

    package var addedTokens: [AddedToken] { added.tokens }

    /// The token as it stands in the vocabulary (`Ġthe`, `▁the`, `<0x0A>`); nil for an id without a token.
    package func token(_ id: TokenID) -> String? { utf8(of: id).map { String(decoding: $0, as: UTF8.self) } }

    package func id(of token: String) -> TokenID? { added.id(of: token) ?? model.vocabulary.id(of: token) }

    /// What the token adds to a text, which need not be whole characters; empty for an id without a token.
    package func bytes(of id: TokenID) -> [UInt8] {
        utf8(of: id).map { decoder.contribution(of: $0, isFirst: false).bytes } ?? []
    }

    private func utf8(of id: TokenID) -> ArraySlice<UInt8>? {
        added[id].map { Array($0.content.utf8)[...] } ?? model.vocabulary.utf8(of: id)
    }

    /// The special tokens that encoding puts around a text, such as the one that begins it.
    package var specialTokensAround: (before: [TokenID], after: [TokenID]) { postProcessor.surroundings }
}

// MARK: - Encoding

/// Tokens of a text or of a pair of texts.
package struct Encoding: Hashable, Sendable {
    package var ids: [TokenID] = []
    /// Which text of a pair each belongs to, as the file has it.
    package var typeIDs: [Int] = []
    /// As in the vocabulary; an added token as it stood in the text, with the whitespace that it took along.
    package var tokens: [String] = []
    /// Where each stood in its text, in Unicode scalars; 0..<0 for a special token that was added.
    package var offsets: [Range<Int>] = []
}

/// How many ids to keep of what is too long, those that are added around the text counted in.
package struct Truncation: Hashable, Sendable {
    package enum Side: Sendable { case left, right }

    package var length: Int
    /// The side from which ids are taken away.
    package var side: Side

    package init(length: Int, side: Side) {
        self.length = length
        self.side = side
    }
}

extension Tokenizer {
    package func encode(
        _ text: String, addSpecialTokens: Bool, truncation: Truncation? = nil
    ) -> [TokenID] {
        var ids = TokenCollector(isDetailed: false)
        collect(text, into: &ids)
        return process([ids.encoding], addSpecialTokens, truncation).ids
    }

    /// The ids and type ids of two texts as one sequence; a truncation shortens the longer first.
    package func encode(
        _ first: String, _ second: String, addSpecialTokens: Bool, truncation: Truncation? = nil
    ) -> Encoding {
        let encodings = [first, second].enumerated().map { index, text in
            var tokens = TokenCollector(isDetailed: false)
            collect(text, into: &tokens)
            tokens.encoding.typeIDs = Array(repeating: index, count: tokens.encoding.ids.count)
            return tokens.encoding
        }
        return process(encodings, addSpecialTokens, truncation)
    }

    /// Ids with what they stand for and where it stood.
    package func encodeWithOffsets(_ text: String, addSpecialTokens: Bool) -> Encoding {
        var tokens = TokenCollector(isDetailed: true)
        collect(text, into: &tokens)
        tokens.encoding.typeIDs = Array(repeating: 0, count: tokens.encoding.ids.count)
        tokens.countScalars(in: text)
        return process([tokens.encoding], addSpecialTokens, nil)
    }

    /// Splits off the added tokens, and encodes what lies between them.
    private func collect(_ text: String, into tokens: inout TokenCollector) {
        var encoder = PieceEncoder(model)
        let bytes = Array(text.utf8)
        let tracksOrigins = tokens.isDetailed || needsOrigins
        for part in added.parts(of: bytes.span, isNormalized: false) where !part.range.isEmpty {
            let section = AlignedText(
                bytes: Array(bytes[part.range]), base: part.range.lowerBound, tracksOrigins: tracksOrigins)
            if let id = part.token {
                tokens.add(id, section)
            } else {
                collect(normalizer.apply(to: section), &encoder, &tokens)
            }
        }
    }

    private func collect(_ section: AlignedText, _ encoder: inout PieceEncoder, _ tokens: inout TokenCollector) {
        guard added.looksIntoNormalizedText else { return collectPieces(section, &encoder, &tokens) }
        for part in added.parts(of: section.bytes.span, isNormalized: true) where !part.range.isEmpty {
            let text = AlignedText(section, part.range)
            if let id = part.token { tokens.add(id, text) } else { collectPieces(text, &encoder, &tokens) }
        }
    }

    private func collectPieces(
        _ section: AlignedText, _ encoder: inout PieceEncoder, _ tokens: inout TokenCollector
    ) {
        var buffer = PieceBuffer(section)
        preTokenizer.apply(to: &buffer)
        encoder.encode(&buffer, model, into: &tokens)
    }
}

/// Encodes pieces with a model, and tells what becomes of them.
private struct PieceEncoder {
    private var bytePairs: BytePairEncoding.Encoder?
    private var found: [PieceToken] = []

    init(_ model: Tokenizer.Model) {
        if case .bytePairs(let model) = model { bytePairs = model.encoder() }
    }

    mutating func encode(_ buffer: inout PieceBuffer, _ model: Tokenizer.Model, into tokens: inout TokenCollector) {
        switch model {
        case .bytePairs(let model):
            if !buffer.isByteLevel, model.splitsAtMetaspace { buffer.splitAtMetaspace() }
            let bytes = buffer.text.bytes.span
            for piece in buffer.pieces where !piece.isEmpty {
                found.removeAll(keepingCapacity: true)
                bytePairs?.encode(bytes.extracting(piece), isByteLevel: buffer.isByteLevel, into: &found)
                tokens.add(found, piece, buffer.text, model.vocabulary)
            }
        case .unigram(let model):
            if buffer.isByteLevel { buffer.spellInBytes() }
            let bytes = buffer.text.bytes.span
            for piece in buffer.pieces where !piece.isEmpty {
                found.removeAll(keepingCapacity: true)
                model.encode(bytes.extracting(piece), into: &found)
                tokens.add(found, piece, buffer.text, model.vocabulary)
            }
        }
    }
}

/// Gathers ids and, where asked, their texts and places.
private struct TokenCollector {
    let isDetailed: Bool
    var encoding = Encoding()

    init(isDetailed: Bool) { self.isDetailed = isDetailed }

    /// An added token that stands in the text.
    mutating func add(_ id: TokenID, _ text: AlignedText) {
        encoding.ids.append(id)
        guard isDetailed else { return }
        encoding.tokens.append(String(decoding: text.bytes, as: UTF8.self))
        encoding.offsets.append(span(text, 0..<text.bytes.count))
    }

    mutating func add(_ found: [PieceToken], _ piece: Range<Int>, _ text: AlignedText, _ vocabulary: Vocabulary) {
        var start = piece.lowerBound
        for token in found {
            encoding.ids.append(token.id)
            guard isDetailed else { continue }
            let end = min(start + token.length, piece.upperBound)
            encoding.tokens.append(vocabulary.utf8(of: token.id).map { String(decoding: $0, as: UTF8.self) } ?? "")
            encoding.offsets.append(span(text, start..<end))
            start = end
        }
    }

    private func span(_ text: AlignedText, _ range: Range<Int>) -> Range<Int> {
        if range.isEmpty { return 0..<0 }
        let start = text.origin(at: range.lowerBound).start
        return start..<max(start, text.origin(at: range.upperBound - 1).end)
    }

    /// Turns the offsets from bytes into scalars.
    mutating func countScalars(in text: String) {
        var scalars = [0]
        var count = 0
        for (index, byte) in text.utf8.enumerated() {
            if byte & 0xC0 != 0x80, index > 0 { count += 1 }
            if index > 0 { scalars.append(count) }
        }
        scalars.append(count + 1)
        for index in encoding.offsets.indices where !encoding.offsets[index].isEmpty {
            let range = encoding.offsets[index]
            encoding.offsets[index] = scalars[range.lowerBound]..<scalars[range.upperBound]
        }
    }
}

// MARK: - After the model

extension Tokenizer {
    private func process(
        _ encodings: [Encoding], _ addSpecialTokens: Bool, _ truncation: Truncation?
    ) -> Encoding {
        var encodings = encodings
        if let truncation {
            let added = addSpecialTokens ? postProcessor.addedCount(texts: encodings.count) : 0
            truncate(&encodings, max(0, truncation.length - added), truncation.side)
        }
        for hasPrefixSpace in postProcessor.trims {
            for index in encodings.indices { encodings[index].trimOffsets(hasPrefixSpace: hasPrefixSpace) }
        }
        let template = encodings.count == 1 ? postProcessor.single : postProcessor.pair
        guard let template else { return encodings.dropFirst().reduce(encodings[0]) { $0.joined(with: $1) } }
        return template.reduce(Encoding()) { whole, part in
            switch part {
            case .text(let index, let type): return whole.joined(with: encodings[index].typed(type))
            case .special(let ids, let tokens, let type):
                if !addSpecialTokens { return whole }
                let offsets = ids.map { _ in 0..<0 }
                return whole.joined(with: Encoding(ids: ids, tokens: tokens, offsets: offsets).typed(type))
            }
        }
    }

    /// Shortens the longer of two texts to the other's length first, then both.
    private func truncate(_ encodings: inout [Encoding], _ length: Int, _ side: Truncation.Side) {
        let counts = encodings.map(\.ids.count)
        if counts.reduce(0, +) <= length { return }
        if encodings.count == 1 { return encodings[0].truncate(to: length, side) }
        var shorter = min(counts[0], counts[1])
        var longer = shorter > length ? shorter : max(shorter, length - shorter)
        if shorter + longer > length {
            shorter = length / 2
            longer = shorter + length % 2
        }
        let firstIsLonger = counts[0] > counts[1]
        encodings[0].truncate(to: firstIsLonger ? longer : shorter, side)
        encodings[1].truncate(to: firstIsLonger ? shorter : longer, side)
    }
}

extension Encoding {
    fileprivate func typed(_ type: Int) -> Encoding {
        var typed = self
        typed.typeIDs = Array(repeating: type, count: ids.count)
        return typed
    }

    fileprivate func joined(with other: Encoding) -> Encoding {
        Encoding(
            ids: ids + other.ids, typeIDs: typeIDs + other.typeIDs, tokens: tokens + other.tokens,
            offsets: offsets + other.offsets)
    }

    fileprivate mutating func truncate(to length: Int, _ side: Truncation.Side) {
        func shorten<Element>(_ array: inout [Element]) {
            let excess = max(0, array.count - length)
            if side == .left { array.removeFirst(excess) } else { array.removeLast(excess) }
        }
        shorten(&ids)
        shorten(&typeIDs)
        shorten(&tokens)
        shorten(&offsets)
    }

    /// Leaves the spaces at a token's ends out of its offsets.
    fileprivate mutating func trimOffsets(hasPrefixSpace: Bool) {
        for index in offsets.indices {
            let scalars = tokens[index].unicodeScalars
            func isSpace(_ scalar: Unicode.Scalar) -> Bool {
                scalar.value == 0x120 || ScalarSet.whitespace.contains(scalar.value)
            }
            var leading = scalars.prefix(while: isSpace).count
            let trailing = scalars.reversed().prefix(while: isSpace).count
            var (start, end) = (offsets[index].lowerBound, offsets[index].upperBound)
            if index == 0 || start == 0, hasPrefixSpace, leading == 1 { leading = 0 }
            start = min(start + leading, end)
            if end >= trailing { end = max(end - trailing, start) }
            offsets[index] = start..<end
        }
    }
}

// MARK: - Decoding

extension Tokenizer {
    /// The text of ids; those without a token are passed over.
    package func decode(_ ids: some Sequence<TokenID>, skipSpecialTokens: Bool) -> String {
        var assembly = decoder.assembly(inPieces: false)
        for id in ids { append(id, skipSpecialTokens, to: &assembly) }
        decoder.finish(&assembly)
        return TokenDecoder.take(&assembly)
    }

    fileprivate func append(_ id: TokenID, _ skipSpecialTokens: Bool, to assembly: inout TokenDecoder.Assembly) {
        if skipSpecialTokens, added[id]?.isSpecial == true { return }
        if let token = utf8(of: id) { decoder.append(token, to: &assembly) }
    }

    package func streamingDecoder(skipSpecialTokens: Bool) -> StreamingDecoder {
        StreamingDecoder(self, skipSpecialTokens)
    }
}

/// Text from ids one at a time, in whole characters.
///
/// The pieces together are what `decode` makes of all ids. The one exception: byte tokens (`<0xC3>`) that are not
/// UTF-8 as a whole are all U+FFFD to `decode`, while a piece that was given stays given.
package struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    private var assembly: TokenDecoder.Assembly

    fileprivate init(_ tokenizer: Tokenizer, _ skipSpecialTokens: Bool) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        assembly = tokenizer.decoder.assembly(inPieces: true)
    }

    /// The characters that are whole now; empty when the id may be the beginning of one.
    package mutating func append(_ id: TokenID) -> String {
        tokenizer.append(id, skipSpecialTokens, to: &assembly)
        return TokenDecoder.take(&assembly)
    }

    /// What was held back; a part of a character becomes U+FFFD.
    package mutating func finish() -> String {
        tokenizer.decoder.finish(&assembly)
        return TokenDecoder.take(&assembly)
    }
}
