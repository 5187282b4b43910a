import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

/// Against what `tokenizers` 0.22 gave for the same files: every folder with a `tokenizer.json` and a `cases.json`.
@Suite struct TokenizerGoldenTests {
    static let folders: [String] = {
        guard let walk = FileManager.default.enumerator(atPath: "\(SharedData.fixtures)/tokenizers") else { return [] }
        return walk.compactMap { $0 as? String }.filter { $0.hasSuffix("/cases.json") }.sorted()
            .map { "\(SharedData.fixtures)/tokenizers/\($0.dropLast("/cases.json".count))" }
            .filter { SharedData.exists("\($0)/tokenizer.json") && !isOptionalAndUnsupported($0) }
    }()

    /// A family that is called optional may need a part that is refused by name; any other may not.
    private static func isOptionalAndUnsupported(_ folder: String) -> Bool {
        guard folder.hasSuffix("_optional"), let bytes = try? SharedData.contents("\(folder)/tokenizer.json") else {
            return false
        }
        do {
            _ = try Tokenizer(bytes: [UInt8](bytes), path: folder)
            return false
        } catch {
            guard case .unsupported = error else { return false }
            return true
        }
    }

    @Test(.enabled(if: !folders.isEmpty), arguments: folders)
    func `Every text has the reference's ids, tokens, offsets and decodings`(folder: String) throws {
        let tokenizer = try Golden.tokenizer(folder)
        let golden = try Golden.cases(folder)
        #expect(!golden.cases.isEmpty)
        for value in golden.cases { try check(value, golden, tokenizer) }
    }

    private func check(_ value: JSONValue, _ golden: Golden, _ tokenizer: Tokenizer) throws {
        let text = try #require(value["t"]?.string)
        let ids = try #require(value["i"]).ids
        #expect(tokenizer.encode(text, addSpecialTokens: false) == ids, "\(text.debugDescription)")
        if let prefix = golden.prefix, let suffix = golden.suffix {
            let whole = value["full"]?.ids ?? prefix + ids + suffix
            #expect(tokenizer.encode(text, addSpecialTokens: true) == whole, "\(text.debugDescription)")
        }
        let decoded = value["d"]?.string ?? text
        expectSame(tokenizer.decode(ids, skipSpecialTokens: false), decoded)
        if golden.prefix != nil {
            expectSame(tokenizer.decode(ids, skipSpecialTokens: true), value["ds"]?.string ?? decoded)
        }
        if let tokens = value["tok"]?.array, let offsets = value["off"]?.array {
            let encoding = tokenizer.encodeWithOffsets(text, addSpecialTokens: false)
            #expect(encoding.ids == ids)
            expectSame(encoding.tokens.joined(separator: "|"), tokens.compactMap(\.string).joined(separator: "|"))
            #expect(
                encoding.offsets.map { [$0.lowerBound, $0.upperBound] }
                    == offsets.map { $0.array?.compactMap(\.integer) ?? [] }, "\(text.debugDescription)")
        }
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        let pieces = ids.map { decoder.append($0) }
        if let stream = value["stream"]?.array { #expect(pieces == stream.map { $0.string ?? "" }) }
        expectSame(pieces.joined() + decoder.finish(), decoded)
    }

    @Test(.enabled(if: !folders.isEmpty), arguments: folders)
    func `Pairs, truncations and added tokens are the reference's`(folder: String) throws {
        let tokenizer = try Golden.tokenizer(folder)
        let golden = try Golden.cases(folder)
        for pair in golden.document["pairs"]?.array ?? [] {
            let (first, second) = (try #require(pair["a"]?.string), try #require(pair["b"]?.string))
            let encoding = tokenizer.encode(first, second, addSpecialTokens: true)
            #expect(encoding.ids == pair["ids"]?.ids)
            #expect(encoding.typeIDs == pair["type_ids"]?.array?.compactMap(\.integer))
        }
        for value in golden.document["truncation"]?.array ?? [] {
            let text = try #require(value["t"]?.string)
            for (key, side) in [("right5", Truncation.Side.right), ("left5", .left)] {
                let cut = Truncation(length: 5, side: side)
                #expect(tokenizer.encode(text, addSpecialTokens: true, truncation: cut) == value[key]?.ids)
            }
        }
        for value in golden.document["added"]?.array ?? [] {
            let content = try #require(value["content"]?.string)
            let token = try #require(tokenizer.addedTokens.first { $0.content.utf8.elementsEqual(content.utf8) })
            #expect(Int(token.id) == value["id"]?.integer)
            #expect(token.isSpecial == value["special"]?.bool)
            expectSame(try #require(tokenizer.token(token.id)), content)
        }
        if let prefix = golden.prefix, let suffix = golden.suffix {
            #expect(tokenizer.specialTokensAround == (prefix, suffix))
        }
    }
}

/// The cases of one tokenizer.
struct Golden {
    var document: JSONValue

    static func tokenizer(_ folder: String) throws -> Tokenizer {
        let path = "\(folder)/tokenizer.json"
        return try Tokenizer(bytes: [UInt8](SharedData.contents(path)), path: path)
    }

    static func cases(_ folder: String) throws -> Golden {
        Golden(document: try JSONValue(parsing: SharedData.contents("\(folder)/cases.json")))
    }

    /// The document itself is a list where there is nothing but texts, ids and decodings.
    var cases: [JSONValue] { document.array ?? document["cases"]?.array ?? [] }
    var prefix: [TokenID]? { document["special_prefix"]?.ids }
    var suffix: [TokenID]? { document["special_suffix"]?.ids }
}

extension JSONValue {
    var ids: [TokenID] { (array ?? []).compactMap(\.integer).map(TokenID.init) }
}

/// Scalar by scalar: `==` holds for texts that merely look alike.
func expectSame(_ text: String, _ expected: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(
        text.unicodeScalars.elementsEqual(expected.unicodeScalars),
        "\(text.debugDescription) is not \(expected.debugDescription)", sourceLocation: sourceLocation)
}
