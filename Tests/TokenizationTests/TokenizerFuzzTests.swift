import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

/// A `tokenizer.json` is downloaded: whatever it says must end in an error or in a tokenizer that works.
@Suite struct TokenizerFuzzTests {
    /// How many files are tried; `EVALHARNESS_FUZZ` raises it.
    static let rounds = ProcessInfo.processInfo.environment["EVALHARNESS_FUZZ"].flatMap { Int($0) } ?? 500

    @Test(.timeLimit(.minutes(60)))
    func `A damaged file is an error or a tokenizer, never a crash`() throws {
        var mutator = Mutator(seed: 20_240_917)
        let seeds = try TokenizerFuzzTests.seeds.map { try JSONValue(parsing: $0) }
        var accepted = 0
        for round in 0..<TokenizerFuzzTests.rounds {
            var document = seeds[round % seeds.count]
            for _ in 0..<(1 + mutator.below(4)) { document = mutator.mutated(document, donor: document) }
            var bytes = Array(document.text.utf8)
            if mutator.below(4) == 0 { mutator.damage(&bytes) }
            guard let tokenizer = accept(bytes) else { continue }
            accepted += 1
            use(tokenizer, &mutator)
        }
        // Both ways must be walked, or the mutations test nothing.
        #expect(accepted > TokenizerFuzzTests.rounds / 20)
        #expect(accepted < TokenizerFuzzTests.rounds)
    }

    /// Nil when the file is refused, which must be with a sentence.
    private func accept(_ bytes: [UInt8]) -> Tokenizer? {
        do {
            return try Tokenizer(bytes: bytes, path: "tokenizer.json")
        } catch {
            #expect(error.description.hasPrefix("tokenizer.json: "))
            return nil
        }
    }

    private func use(_ tokenizer: Tokenizer, _ mutator: inout Mutator) {
        for text in TokenizerFuzzTests.texts {
            let encoding = tokenizer.encodeWithOffsets(text, addSpecialTokens: true)
            let ids = tokenizer.encode(text, addSpecialTokens: true)
            #expect(ids == encoding.ids)
            #expect(ids.count == encoding.offsets.count)
            _ = tokenizer.decode(ids, skipSpecialTokens: true)
            var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
            for id in ids { _ = decoder.append(id) }
            _ = decoder.finish()
        }
        let cut = Truncation(length: mutator.below(6), side: mutator.below(2) == 0 ? .left : .right)
        _ = tokenizer.encode(TokenizerFuzzTests.texts[0], "b a", addSpecialTokens: true, truncation: cut)
        let ids = (0..<40).map { _ in TokenID(truncatingIfNeeded: mutator.below(tokenizer.vocabularySize + 9) - 4) }
        _ = tokenizer.decode(ids + [.min, .max], skipSpecialTokens: false)
        for id in ids { _ = tokenizer.bytes(of: id) }
    }

    static let texts = [
        "ab <s>a é\r\n\n  x'LL 12345 中文 \u{0}\u{FFFD}\u{1F600}e\u{301}\u{323}", "", " ", "<end> <end>▁▁a",
        String(repeating: "a", count: 3000) + String(repeating: " ", count: 3000),
    ]

    static let seeds: [String] = {
        let alphabet = TokenizerTests.byteAlphabet.enumerated().map {
            "\"\($1 == "\"" || $1 == "\\" ? "\\" : "")\($1)\": \($0)"
        }
        let byteLevel = TokenizerTests.byteLevel.replacing(
            "VOCAB",
            with: alphabet.joined(separator: ",")
                + #","he": 256, "ll": 257, "hell": 258, "Ġhe": 259, "hello": 260, "Ã©": 261"#)
        let normalizers = #"""
            {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Lowercase"},
              {"type": "Replace", "pattern": {"Regex": "x{2,}|y+?z"}, "content": "x"},
              {"type": "Strip", "strip_left": true, "strip_right": true}, {"type": "NFD"}, {"type": "StripAccents"}]}
            """#
        let preTokenizers = #"""
            {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": false},
              {"type": "Split", "pattern": {"Regex": "(?i:'s|'ll)|[^\\r\\n\\p{L}]?\\p{L}+|\\s+(?!\\S)|\\s+"},
               "behavior": "MergedWithNext", "invert": false}, {"type": "Punctuation", "behavior": "Contiguous"},
              {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true},
              {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}]}
            """#
        let pieces = TokenizerTests.sentencePieces
        let unigram = #"""
            {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
             "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
             "added_tokens": [{"id": 0, "content": "<s>", "special": true, "normalized": true, "single_word": true}],
             "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": true,
              "vocab": [["<s>", 0], ["▁", -2.5], ["a", -3], ["▁a", -1.5], ["b", -3.25], ["ab", -4]]}}
            """#
        return [
            byteLevel, pieces, unigram,
            pieces.replacing("{\"added_tokens\"", with: "{\"normalizer\": \(normalizers), \"added_tokens\""),
            byteLevel.replacing(
                #"{"type": "ByteLevel", "add_prefix_space": false}"#, with: preTokenizers),
        ]
    }()
}

/// Damages documents, the same way for the same seed.
private struct Mutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((value ^ value >> 31) % UInt64(bound))
    }

    private mutating func one<Element>(of array: [Element]) -> Element { array[below(array.count)] }

    mutating func damage(_ bytes: inout [UInt8]) {
        for _ in 0...below(4) {
            let index = below(bytes.count)
            switch below(4) {
            case 0: bytes[index] = UInt8(below(256))
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(one(of: Array("{}[]\",:0-\\".utf8)), at: index)
            default: bytes.removeLast(below(bytes.count / 8 + 1))
            }
            if bytes.isEmpty { return }
        }
    }

    /// The document with one of its values changed.
    mutating func mutated(_ value: JSONValue, donor: JSONValue) -> JSONValue {
        if below(12) == 0 { return replacement(value, donor) }
        switch value {
        case .array(var array) where !array.isEmpty:
            let index = below(array.count)
            switch below(8) {
            case 0: array.remove(at: index)
            case 1: array.insert(array[index], at: index)
            default: array[index] = mutated(array[index], donor: donor)
            }
            return .array(array)
        case .object(var object) where !object.members.isEmpty:
            let key = one(of: object.keys)
            switch below(10) {
            case 0: object[key] = nil
            case 1: object[key + "x"] = object[key]
            default: object[key] = mutated(object[key] ?? .null, donor: donor)
            }
            return .object(object)
        case .null, .bool, .integer, .number, .string, .array, .object: return replacement(value, donor)
        }
    }

    private mutating func replacement(_ value: JSONValue, _ donor: JSONValue) -> JSONValue {
        switch below(7) {
        case 0: return one(of: [.null, .bool(true), .bool(false), .array([]), .object([:]), .string("")])
        case 1: return one(of: [0, -1, 1, 7, 300, 4_194_303, 4_194_304, .integer(.max), .integer(.min), 1e308, 0.5])
        case 2: return .string(one(of: Mutator.names))
        case 3: return .string(one(of: Mutator.patterns))
        case 4: return one(of: Mutator.parts)
        case 5: return .string(String(repeating: one(of: ["a", "▁", "é", " "]), count: 1 << below(12)))
        default: return descendant(of: donor)
        }
    }

    private mutating func descendant(of value: JSONValue) -> JSONValue {
        var value = value
        for _ in 0..<below(6) {
            switch value {
            case .array(let array) where !array.isEmpty: value = one(of: array)
            case .object(let object) where !object.members.isEmpty: value = one(of: object.members).value
            case .null, .bool, .integer, .number, .string, .array, .object: return value
            }
        }
        return value
    }

    private static let names = [
        "BPE", "Unigram", "WordPiece", "ByteLevel", "Metaspace", "Split", "Digits", "Sequence", "Whitespace", "NFC",
        "NFD", "NFKC", "Replace", "Prepend", "Strip", "Lowercase", "TemplateProcessing", "RobertaProcessing", "Fuse",
        "ByteFallback", "Isolated", "Removed", "MergedWithPrevious", "Contiguous", "always", "first", "never", "A", "B",
        "C", "a b", "▁", " ", "<0x41>", "é", "e\u{301}", "\u{0}",
    ]

    private static let patterns = [
        "(a+)+b", "(?:a|a)*b", "(a|aa)+$", "", "a{1000}", "(?:a{30}){30}", "((((a?)?)?)?)?", "\\", "(", "[^", "[]]",
        "a**",
        "(?!a)", "(?=a)|b", "$", "^", "\\s+(?!\\S)", "(?i:é|s|k)", "\\p{Lu}+|.", "[a-z&&[^aeiou]]+", "(?<!a)b",
        "(?>a*)a", "a*?",
        "x*", "\\x{10FFFF}", "(?:(?:(?:a{9}){9}){9}){9}", String(repeating: "(", count: 300), "a|", "|",
    ]

    private static let parts: [JSONValue] = [
        ["type": "Replace", "pattern": ["String": ""], "content": "aaaaaaaaaa"],
        ["type": "Replace", "pattern": ["Regex": "a"], "content": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        ["type": "Split", "pattern": ["Regex": "(a+)+b"], "behavior": "Isolated", "invert": true],
        ["type": "ByteLevel", "add_prefix_space": true], ["type": "Metaspace", "replacement": "▁"],
        ["type": "Sequence", "normalizers": [], "pretokenizers": [], "decoders": [], "processors": []],
        ["Sequence": ["id": "B", "type_id": 3]], ["SpecialToken": ["id": "<s>", "type_id": 0]],
        ["id": 3, "content": " ", "lstrip": true, "rstrip": true, "normalized": true],
        ["id": 9, "content": "a", "single_word": true, "normalized": false], ["a", "b"], "a b",
    ]
}

extension JSONValue {
    /// As JSON text.
    fileprivate var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .string(let value): JSONValue.quoted(value)
        case .array(let values): "[\(values.map(\.text).joined(separator: ","))]"
        case .object(let object):
            "{\(object.members.map { "\(JSONValue.quoted($0.key)):\($0.value.text)" }.joined(separator: ","))}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" {
                quoted += "\\\(scalar)"
            } else if scalar.value < 0x20 {
                quoted += "\\u00\(scalar.value < 16 ? "0" : "")\(String(scalar.value, radix: 16))"
            } else {
                quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
