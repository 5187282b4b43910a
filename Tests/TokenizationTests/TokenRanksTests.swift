import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

@Suite struct TokenRanksTests {
    /// The 256 bytes, then `merges` in this order.
    private static func file(_ merges: [String]) -> [UInt8] {
        let tokens = (UInt8.min...UInt8.max).map { Data([$0]) } + merges.map { Data($0.utf8) }
        return Array(
            tokens.enumerated().map { "\($1.base64EncodedString()) \($0)\n" }.joined().utf8)
    }

    private static let merges = ["lo", "ow", "er", " l", "low", "lower", " low", "aa", "aaaa", "é", "12", "123"]

    private func ranks(_ encoding: TokenRanks.Encoding = .cl100k) throws -> TokenRanks {
        try TokenRanks(Self.file(Self.merges), path: "r.tiktoken", encoding: encoding)
    }

    @Test(arguments: [
        ("", 0), ("low", 1), ("lower low", 2), ("slow", 2), ("aaaaaaa", 3), ("aaa", 2), ("é", 1), ("1234", 2),
        ("ab", 2),
        // A special token is text: < | e n d o f t e x t | >
        ("<|endoftext|>", 13), ("low\n\nlow", 4), ("日", 3),
    ])
    func `Pairs of the lowest rank merge first, and nothing over the pieces' borders`(_ text: String, _ count: Int)
        throws
    {
        #expect(try ranks().count(text) == count)
    }

    @Test func `As many tokens as the slow way counts, on random pieces`() throws {
        let ranks = try ranks()
        let table = Dictionary(uniqueKeysWithValues: Self.merges.enumerated().map { (Array($1.utf8), $0) })
        var state: UInt64 = 9
        for _ in 0..<300 {
            // One piece: letters only.
            let text = String(
                (0..<40).map { _ in
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    return Array("alower")[Int(state >> 33) % 6]
                })
            var parts = text.utf8.map { [$0] }
            while true {
                let pairs = parts.indices.dropLast().compactMap { place in
                    table[parts[place] + parts[place + 1]].map { (rank: $0, place: place) }
                }
                guard let best = pairs.min(by: { ($0.rank, $0.place) < ($1.rank, $1.place) }) else { break }
                parts.replaceSubrange(best.place...(best.place + 1), with: [parts[best.place] + parts[best.place + 1]])
            }
            #expect(ranks.count(text) == parts.count, "\(text)")
        }
    }

    @Test func `A piece of a hundred thousand letters is counted like any other`() throws {
        #expect(try ranks().count(String(repeating: "a", count: 100_000)) == 25_000)
    }

    @Test func `The newer encoding cuts words where capitals begin`() throws {
        #expect(try ranks(.o200k).count("lowLow") == 1 + 2)
        #expect(try ranks(.cl100k).count("lowLow") == 1 + 2)
        #expect(try ranks(.o200k).count("lowLower") == 1 + 3)
    }

    @Test(arguments: [
        ("IQ== 0\nIQ== 1\n", "line 2"), ("IQ==\n", "line 1"), ("I?== 0\n", "line 1"), ("IQ== -1\n", "line 1"),
        ("IQ== 99999999\n", "line 1"), ("IQ== 0\n", "byte 0"), ("", "byte 0"),
    ])
    func `A file that is none is refused with its place`(_ text: String, _ place: String) {
        let error = #expect(throws: TokenizationError.self) {
            try TokenRanks(Array(text.utf8), path: "r.tiktoken", encoding: .cl100k)
        }
        #expect(error?.description.contains(place) == true, "\(String(describing: error))")
    }

    private static let folder = ProcessInfo.processInfo.environment["EVALHARNESS_TOKEN_RANKS"] ?? ""

    /// Upstream's counts; the ranks, which are not ours to ship, lie where EVALHARNESS_TOKEN_RANKS says.
    @Test(.enabled(if: !folder.isEmpty && !SharedData.fixtures("arena").isEmpty))
    func `The stored counts of published outputs are reproduced`() throws {
        let ranks = try TokenRanks.Encoding.allCases.map { encoding in
            let path = "\(Self.folder)/\(encoding.rawValue).tiktoken"
            return try TokenRanks(Array(SharedData.contents(path)), path: path, encoding: encoding)
        }
        var texts: [String: [String: String]] = [:]
        var compared = 0
        let golden = "\(SharedData.fixtures)/arena/ah_style_metadata/expected_real.jsonl"
        for record in try JSONValue.parseLines(Array(SharedData.contents(golden))) {
            let name = record["answer_file"]?.string?.replacing("upstream/arena-hard", with: "") ?? ""
            let path = "\(SharedData.folder)/arena_hard\(name)"
            if texts[name] == nil { texts[name] = try Self.outputs(path) }
            guard let key = record["uid"]?.string, let text = texts[name]?[key] else { continue }
            #expect(ranks[0].count(text) == record["token_len_cl100k"]?.integer)
            #expect(ranks[1].count(text) == record["token_len_o200k"]?.integer)
            compared += 1
        }
        #expect(compared > 0)
    }

    private static func outputs(_ path: String) throws -> [String: String] {
        var texts: [String: String] = [:]
        for record in try JSONValue.parseLines(Array(SharedData.contents(path))) {
            let content = record["messages"]?.array?.last?["content"]
            if let key = record["uid"]?.string { texts[key] = content?.string ?? content?["answer"]?.string }
        }
        return texts
    }
}
