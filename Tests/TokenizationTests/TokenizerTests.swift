import Chat
import Testing
import Tokenization

@Suite struct TokenizerTests {
    /// Byte-level, the GPT-2 pattern, a special token and one that takes whitespace along.
    static let byteLevel = #"""
        {"added_tokens": [
          {"id": 262, "content": "<end>", "special": true, "normalized": false},
          {"id": 263, "content": "<tool>", "special": false, "normalized": false, "rstrip": true, "lstrip": true}],
         "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
         "decoder": {"type": "ByteLevel"},
         "post_processor": {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
           "special_tokens": {"<end>": {"id": "<end>", "ids": [262], "tokens": ["<end>"]}}},
         "model": {"type": "BPE", "merges": ["h e", "l l", "he ll", "Ġ he", "hell o", "Ã ©"], "vocab": {VOCAB}}}
        """#

    static func make(_ json: String) throws -> Tokenizer {
        var entries: [String] = []
        for (id, scalar) in byteAlphabet.enumerated() {
            entries.append("\"\(scalar == "\"" || scalar == "\\" ? "\\" : "")\(scalar)\": \(id)")
        }
        for (index, token) in ["he", "ll", "hell", "Ġhe", "hello", "Ã©"].enumerated() {
            entries.append("\"\(token)\": \(256 + index)")
        }
        let text = json.replacing("VOCAB", with: entries.joined(separator: ","))
        return try Tokenizer(bytes: Array(text.utf8), path: "tokenizer.json")
    }

    /// GPT-2's: printable bytes stand for themselves, the others for U+0100 onwards.
    static let byteAlphabet: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
                return Unicode.Scalar(byte)!
            }
            defer { next += 1 }
            return Unicode.Scalar(next)!
        }
    }()

    @Test func `Merges go by rank and the whole word is one token`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        #expect(tokenizer.encode("hello", addSpecialTokens: false) == [260])
        #expect(tokenizer.encode("hello", addSpecialTokens: true) == [262, 260])
        #expect(tokenizer.encode(" heé", addSpecialTokens: false) == [259, 261])
        #expect(tokenizer.encode(" hellé", addSpecialTokens: false) == [32, 258, 261])
        #expect(tokenizer.vocabularySize == 264)
        #expect(tokenizer.token(259) == "Ġhe")
        #expect(tokenizer.bytes(of: 259) == Array(" he".utf8))
        #expect(tokenizer.bytes(of: 0xC3) == [0xC3])
        #expect(tokenizer.id(of: "<tool>") == 263)
        #expect(tokenizer.token(265) == nil)
    }

    @Test func `An added token takes the whitespace along that its definition names`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        let encoding = tokenizer.encodeWithOffsets("he \n<tool> \t he", addSpecialTokens: false)
        #expect(encoding.ids == [256, 263, 256])
        #expect(encoding.offsets == [0..<2, 2..<13, 13..<15])
        #expect(encoding.tokens == ["he", " \n<tool> \t ", "he"])
    }

    @Test func `Special tokens are left out of a text only when asked`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        let ids: [TokenID] = [262, 260, 263, 264]
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) == "<end>hello<tool>")
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == "hello<tool>")
    }

    @Test func `A stream holds a character back until it is whole`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        let pieces = [0x61, 0xF0, 0x9F, 0x98, 0x80, 0xE2, 0x82].map { decoder.append(TokenID($0)) }
        #expect(pieces == ["a", "", "", "", "😀", "", ""])
        #expect(decoder.finish() == "\u{FFFD}")
    }

    @Test func `An added token whose id the tokenizers library would change is refused`() throws {
        for (id, other) in [("262", "270"), ("263", "264")] {
            let text = TokenizerTests.byteLevel.replacing(
                "{\"id\": \(id), \"content\"", with: "{\"id\": \(other), \"content\"")
            #expect(text != TokenizerTests.byteLevel)
            let error = #expect(throws: TokenizationError.self) { try TokenizerTests.make(text) }
            #expect("\(try #require(error))".contains("the id \(other), and the tokenizers library makes it \(id)"))
        }
    }

    @Test func `A stream that never becomes text is given out all the same`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        let ids = [TokenID](repeating: 0xFF, count: 2000) + [0xE2, 0x82, 0xAC]
        var text = ""
        for id in ids { text += decoder.append(id) }
        #expect(text.unicodeScalars.count > 1000)
        expectSame(text + decoder.finish(), tokenizer.decode(ids, skipSpecialTokens: false))
    }

    @Test func `A pair is cut at its longer text first`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        let cut = Truncation(length: 5, side: .right)
        let encoding = tokenizer.encode("abcdefgh", "xy", addSpecialTokens: true, truncation: cut)
        #expect(encoding.ids == Array("abcxy".utf8).map(TokenID.init))
        #expect(encoding.typeIDs == [0, 0, 0, 1, 1])
        let left = Truncation(length: 5, side: .left)
        #expect(
            tokenizer.encode("abcdefgh", "uvwxyz", addSpecialTokens: true, truncation: left).ids
                == Array("fghyz".utf8).map(TokenID.init))
        #expect(
            tokenizer.encode("abc", addSpecialTokens: true, truncation: Truncation(length: 0, side: .left)) == [262])
    }

    /// SentencePiece-like, with bytes for what has no token; ▁ stands before the first word only.
    static let sentencePieces = #"""
        {"added_tokens": [{"id": 0, "content": "<s>", "special": true, "normalized": false}],
         "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
         "decoder": {"type": "Sequence", "decoders": [
           {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
           {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
         "model": {"type": "BPE", "unk_token": "<s>", "byte_fallback": true, "fuse_unk": true, "vocab": {
           "<s>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4, "ab": 5, "<0xC3>": 6, "<0xA9>": 7, "▁ab": 8},
         "merges": [["▁", "a"], ["a", "b"], ["▁", "ab"]]}}
        """#

    @Test func `Bytes stand in for a character, and the unknown token where they lack`() throws {
        let tokenizer = try Tokenizer(bytes: Array(TokenizerTests.sentencePieces.utf8), path: "t")
        #expect(tokenizer.encode("ab é", addSpecialTokens: false) == [4, 3, 1, 6, 7])
        #expect(tokenizer.encode("xyzé", addSpecialTokens: false) == [1, 6, 7, 0])
        #expect(tokenizer.encode("a<s>a", addSpecialTokens: false) == [4, 0, 2])
        #expect(tokenizer.decode([4, 3, 1, 6, 7], skipSpecialTokens: false) == "ab é")
    }

    @Test func `Byte tokens that are not UTF-8 are one U+FFFD each`() throws {
        let tokenizer = try Tokenizer(bytes: Array(TokenizerTests.sentencePieces.utf8), path: "t")
        expectSame(tokenizer.decode([2, 6, 7, 6, 2], skipSpecialTokens: false), "a\u{FFFD}\u{FFFD}\u{FFFD}a")
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        #expect([2, 6, 7, 6, 2].map { decoder.append($0) } == ["a", "", "é", "", "\u{FFFD}a"])
    }

    @Test(arguments: [
        ("cafe\u{301}", "café"), ("\u{212B}", "\u{C5}"), ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ("\u{1112}\u{1161}\u{11AB}", "\u{D55C}"), ("\u{11935}\u{11930}", "\u{11935}\u{11930}"),
    ])
    func `The composed form is that of Unicode 9`(text: String, composed: String) throws {
        let json = TokenizerTests.byteLevel.replacing(
            "{\"added_tokens\"", with: "{\"normalizer\": {\"type\": \"NFC\"}, \"added_tokens\"")
        let tokenizer = try TokenizerTests.make(json)
        expectSame(
            tokenizer.decode(tokenizer.encode(text, addSpecialTokens: false), skipSpecialTokens: false), composed)
    }

    @Test func `A million times one character is encoded in linear time`() throws {
        let tokenizer = try TokenizerTests.make(TokenizerTests.byteLevel)
        let pieces = try Tokenizer(bytes: Array(TokenizerTests.sentencePieces.utf8), path: "t")
        for character in ["a", " ", "l", "é", "\n", "1", "'", "中"] {
            let text = String(repeating: character, count: 1_000_000 / character.utf8.count)
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            #expect(tokenizer.decode(ids, skipSpecialTokens: false) == text)
            #expect(!pieces.encode(text, addSpecialTokens: false).isEmpty)
        }
    }
}
