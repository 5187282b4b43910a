import Chat
import Evaluation
import Foundation
import TestSupport
import Testing

@Suite struct ArenaReplyTests {
    private static func records(_ name: String) throws -> [JSONValue] {
        let data = Array(try SharedData.contents("\(SharedData.fixtures)/arena/\(name)"))
        return name.hasSuffix("jsonl") ? try JSONValue.parseLines(data) : [try JSONValue(parsing: data)]
    }

    private static let hasFixtures = !SharedData.fixtures("arena").isEmpty

    @Test(.enabled(if: hasFixtures)) func `Labels are read as both versions of upstream read them`() throws {
        let cases = try #require(try Self.records("ah_judge/cases.json").first?["verdict_cases"]?.array)
        for golden in cases {
            let text = try #require(golden["judgment"]?.string)
            let first = ArenaVersion.v01.label(in: text)
            #expect(first.label == golden["v01_0489bf3"]?["score"]?.string, "\(text)")
            #expect((first == .none) == golden["v01_0489bf3"]?["try_again"]?.bool, "\(text)")
            #expect(ArenaVersion.v2.label(in: text).label == golden["v2_196f6b8"]?["score"]?.string, "\(text)")
        }
        for golden in try Self.records("ah_judge/real_verdict_extraction.jsonl") {
            let text = try #require(golden["judgment"]?.string)
            #expect(ArenaVersion.v01.label(in: text).label == golden["v01"]?.string)
            #expect((ArenaVersion.v01.label(in: text) == .none) == golden["v01_try_again"]?.bool)
            #expect(ArenaVersion.v2.label(in: text).label == golden["v2"]?.string)
        }
    }

    @Test func `A label is one in double brackets, and v2 takes the last`() {
        #expect(ArenaVersion.v01.label(in: "so [[A>>B]], yes [[A>>B]]") == .label("A>>B"))
        #expect(ArenaVersion.v01.label(in: "[[A>B]] or [[B>A]]") == .ambiguous(["A>B", "B>A"]))
        #expect(ArenaVersion.v01.label(in: "[A>B] [[ A>B ]] [[a>b]]") == .none)
        #expect(ArenaVersion.v01.label(in: "[[[A=B]]]") == .label("A=B"))
        #expect(ArenaVersion.v2.label(in: "[[a>b]] then [[b>a]] and [a=b]") == .label("B>A"))
        #expect(ArenaVersion.v2.label(in: "only [a=b]") == .label("A=B"))
        #expect(ArenaVersion.v01.outcome("A<B") == nil)
        #expect(ArenaVersion.v2.outcome("A<<B")?.preferenceForA == 0)
        #expect(ArenaVersion.v2.outcome("A<<B")?.isStrong == true)
    }

    @Test(.enabled(if: hasFixtures)) func `Markdown is counted as upstream counts it`() throws {
        let nasty = try #require(try Self.records("ah_style_metadata/nasty.json").first?["cases"]?.array)
        for golden in nasty {
            let text = try #require(golden["text"]?.string)
            for (key, value) in MarkdownCounts(text).json.members.map({ ($0.key, $0.value) }) {
                #expect(value == golden[key], "\(key) of \(text.debugDescription)")
            }
        }
    }

    /// The records name answer files of upstream's as they lie below `upstream/`; those that are in the data are counted.
    @Test(.enabled(if: hasFixtures)) func `Markdown of published answers is counted as it was recorded`() throws {
        var answers: [String: [String: String]] = [:]
        var compared = 0
        for golden in try Self.records("ah_style_metadata/expected_real.jsonl") {
            let file = try #require(golden["answer_file"]?.string)
            let path = "\(SharedData.folder)/\(file.replacing("upstream/arena-hard", with: "arena_hard"))"
            if answers[file] == nil { answers[file] = SharedData.exists(path) ? try Self.texts(path) : [:] }
            guard let id = golden["uid"]?.string ?? golden["question_id"]?.string, let text = answers[file]?[id] else {
                continue
            }
            compared += 1
            for member in MarkdownCounts(text).json.members {
                #expect(member.value == golden[member.key], "\(member.key) of \(id)")
            }
        }
        #expect(compared > 0 || !SharedData.exists("\(SharedData.folder)/arena_hard"))
    }

    private static func texts(_ path: String) throws -> [String: String] {
        var texts: [String: String] = [:]
        for record in try JSONValue.parseLines(Array(try SharedData.contents(path))) {
            let answer =
                record["messages"]?.array?.last?["content"]?["answer"]?.string
                ?? record["choices"]?[0]?["turns"]?[0]?["content"]?.string
            if let id = record["uid"]?.string ?? record["question_id"]?.string { texts[id] = answer }
        }
        return texts
    }

    @Test func `Markdown in code does not count, and many blank lines take no long time`() {
        let text = "# Title\n- one\n 2. two\n**bold** and __bold__\n```\n# no\n- no\n```\n### Level\n"
        let counts = MarkdownCounts(text)
        #expect(counts.headers == [1, 0, 1, 0, 0, 0])
        for count in [counts.ordered, counts.unordered, counts.stars, counts.underscores] { #expect(count == 1) }
        #expect(MarkdownCounts(String(repeating: "\n", count: 300_000) + "- x").unordered == 1)
        #expect(MarkdownCounts(String(repeating: " \n", count: 300_000) + "x").unordered == 0)
    }

    // MARK: MT-Bench

    @Test(.enabled(if: hasFixtures)) func `Ratings and winners are read as llm_judge reads them`() throws {
        let cases = try #require(try Self.records("mtbench_judge/cases.json").first)
        for golden in cases["rating_cases"]?.array ?? [] {
            let text = try #require(golden["judgment"]?.string)
            let official = golden["score"]?.number
            switch MTBenchReply.rating(text) {
            case .rating(let value): #expect(value == official, "\(text)")
            default: #expect(official == nil || official == -1, "\(text)")
            }
        }
        func name(_ reply: String?, first: String, second: String) -> String {
            switch MTBenchReply.winner(reply ?? "") {
            case .a: first
            case .b: second
            case .tie: "tie"
            case nil: "error"
            }
        }
        for golden in cases["pair_verdict_cases"]?.array ?? [] where golden["error"]?.isNull != false {
            let games = [
                name(golden["g1_judgment"]?.string, first: "model_1", second: "model_2"),
                name(golden["g2_judgment"]?.string, first: "model_2", second: "model_1"),
            ]
            #expect(games == [golden["g1_winner"]?.string, golden["g2_winner"]?.string])
        }
    }

    @Test func `A winner is found whatever stands behind its brackets`() {
        for (reply, expected) in [("[[A]]\u{301}", MTBenchReply.Winner.a), ("\u{200D}[[C]]\u{FE0F}", .tie)] {
            #expect(MTBenchReply.winner(reply) == expected)
        }
        #expect(MTBenchReply.winner("[A]") == nil)
    }

    @Test(
        arguments: [
            ("Rating: [[7]]", 7.0), ("[5] then [[8.]]", 8.0), ("only [6.5]", 6.5), ("[[5]] … [[9]]", 5), ("[[00]]", 0),
            ("[[09.5]]", 9.5), ("[[08]]", nil), ("[[007]]", nil), ("[[ 7 ]]", nil), ("[[-7]]", nil), ("[[٣]]", nil),
            ("7/10", nil), ("[[7", nil), ("[[[3]]]", 3),
            ("[[" + String(repeating: "9", count: 400) + "]]", nil), ("[[100000000000000000000000]]", nil),
            ("[[1000000000000000]]", 1e15),
        ] as [(String, Double?)])
    func `A rating is the first number in brackets`(_ reply: String, _ expected: Double?) {
        guard case .rating(let value) = MTBenchReply.rating(reply) else {
            #expect(expected == nil, "\(reply)")
            return
        }
        #expect(value == expected, "\(reply)")
    }
}
