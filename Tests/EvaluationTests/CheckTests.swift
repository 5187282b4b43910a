import Chat
import Evaluation
import Testing

@Suite struct CheckTests {
    private static func quality(_ checks: JSONValue, _ output: String) throws -> Double {
        try CheckList(checks, place: "a record").quality(output)
    }

    private static let cases: [(String, [String], [String])] = [
        (#"{"check": "equals", "texts": ["Fig tree"]}"#, ["fig tree", " FIG TREE\n"], ["a fig tree", "fig  tree"]),
        (#"{"check": "equals", "texts": ["Fig"], "ignore_case": false}"#, ["Fig"], ["fig"]),
        (#"{"check": "contains", "texts": ["a-b", "C"]}"#, ["x a-b C"], ["x"]),
        (#"{"check": "starts_with", "text": "Dear"}"#, ["\n Dear all"], ["dear all", "My Dear"]),
        (#"{"check": "ends_with", "text": "."}"#, ["So.", "So. "], ["So", "So.)"]),
        (
            #"{"check": "required_words", "words": ["fig", "no third"]}"#,
            ["No third, FIG!", "(fig) there is no \u{201C}third\u{201D}"], ["figs and thirds"]
        ),
        (#"{"check": "forbidden_words", "words": ["fig"]}"#, ["figs", "prefig"], ["a fig.", "Fig", "\"fig\""]),
        (#"{"check": "mentions", "items": ["a b", "c", "d"], "min": 2, "max": 2}"#, ["c, A B, c"], []),
        (#"{"check": "order", "items": ["b", "a", "a b"]}"#, ["B; a\nthen a b."], ["nothing"]),
        (#"{"check": "words", "min": 2, "max": 3}"#, ["a - b", "one two, three!"], []),
        (#"{"check": "sentences", "min": 2, "max": 2}"#, ["A b. C 1.5!", "A? B", "\"A.\" B!"], []),
        (#"{"check": "lines", "max": 1}"#, ["a b", "\n\na\n"], []),
        (#"{"check": "paragraphs", "min": 2, "max": 2}"#, ["a\nb\n\nc", "a\n \n\nb"], []),
        (#"{"check": "characters", "min": 3, "max": 3}"#, [" abc ", "e\u{301}b"], []),
        (#"{"check": "list_items", "min": 2, "max": 2}"#, ["- a\n* b", "So:\n1. a\n 2) b\n-c"], ["a\nb"]),
        (#"{"check": "occurrences", "text": "ab", "min": 2, "max": 2}"#, ["ab cab"], ["b"]),
        (#"{"check": "letter_case", "case": "upper"}"#, ["FIG, 3!"], ["FIg", "3", "fig"]),
        (#"{"check": "letter_case", "case": "lower"}"#, ["fig 3"], ["Fig"]),
        (
            #"{"check": "number", "value": -3.5}"#, ["It is -3.5.", "1, then \u{2212}3.5!", "-3.50"],
            ["3.5", "2-3.5", "-3.5 or 4", "none"]
        ),
        (
            #"{"check": "number", "value": 1234567}"#, ["1,234,567", "1234567", "so 1,234,567."],
            ["1,234,56", "1234,567"]
        ),
        (#"{"check": "number", "value": 3.3, "tolerance": 0.1}"#, ["3.4", "3.2"], ["3.41", "3.19"]),
        (#"{"check": "number", "value": 10, "tolerance": 0.5}"#, ["9.5", "10.5", "3 4 10"], ["9.4", "10, 3"]),
        (
            #"{"check": "json", "members": {"a": 7, "b": null}}"#,
            [#"{"b": [], "a": 7, "c": 1}"#, "```json\n{\"a\": 7,\n\"b\": 1}\n```"],
            ["a: 7", "[7]", #"{"a": 7, "a": 7}"#]
        ),
        (
            #"{"check": "json", "members": {"a": {"b": 7, "c": [1.0]}}}"#,
            [#"{"a": {"c": [1], "b": 7.0}}"#], [#"{"a": {"b": 7}}"#, #"{"a": {"b": 7, "c": [1], "d": 1}}"#]
        ),
        (#"{"check": "json"}"#, ["{}"], ["", "{", "3"]),
    ]

    @Test(arguments: cases)
    func `What a check takes and refuses`(_ check: String, _ met: [String], _ failed: [String]) throws {
        let checks: JSONValue = .array([try JSONValue(parsing: Array(check.utf8))])
        for output in met { #expect(try Self.quality(checks, output) == 1, "\(output)") }
        for output in failed { #expect(try Self.quality(checks, output) == 0, "\(output)") }
        #expect(
            try CheckList(checks, place: "again").json == CheckList(CheckList(checks, place: "p").json, place: "q").json
        )
    }

    @Test(arguments: [
        (#"{"check": "words", "max": 4}"#, "a b c d e f g h", 0.5),
        (#"{"check": "words", "min": 4}"#, "a b c", 0.75),
        (#"{"check": "required_words", "words": ["a", "b", "c", "d"]}"#, "d a x", 0.5),
        (#"{"check": "contains", "texts": ["ab", "x"]}"#, "cab", 0.5),
        // Of four places, the second and the third are taken by others.
        (#"{"check": "order", "items": ["a", "b", "c"]}"#, "a c b c", 0.25),
        (#"{"check": "order", "items": ["a", "b", "c", "d"]}"#, "a b", 0.5),
        (#"{"check": "json", "members": {"a": 7, "b": null}}"#, #"{"a": 8, "b": 1}"#, 0.5),
    ])
    func `What is met in part counts in part`(_ check: String, _ output: String, _ quality: Double) throws {
        #expect(try Self.quality(.array([JSONValue(parsing: Array(check.utf8))]), output) == quality)
    }

    @Test func `Quality is the weighted mean, and nothing is worth nothing`() throws {
        let checks: JSONValue = [
            ["check": "starts_with", "text": "a", "weight": 3], ["check": "forbidden_words", "words": ["b"]],
        ]
        #expect(try Self.quality(checks, "a b") == 0.75)
        #expect(try Self.quality(checks, "c") == 0.25)
        #expect(try Self.quality(checks, " \n") == 0)
    }

    @Test(arguments: [
        (#"[]"#, "at least one check"),
        (#"{"check": "words"}"#, "should be a list"),
        (#"[{"check": "wrods", "max": 3}]"#, "known are equals"),
        (#"[{"check": "words"}]"#, "min and max"),
        (#"[{"check": "words", "min": 4, "max": 3}]"#, "min at most max"),
        (#"[{"check": "words", "max": 3, "mox": 3}]"#, "mox"),
        (#"[{"check": "words", "max": 3, "weight": 0}]"#, "above 0"),
        (#"[{"check": "order", "items": ["a", "--"]}]"#, "neither a letter nor a digit"),
        (#"[{"check": "required_words"}]"#, "none of them empty"),
        (#"[{"check": "letter_case", "case": "title"}]"#, "known are upper, lower"),
        (#"[{"check": "number"}]"#, "has no \"value\""),
        (#"[{"check": "number", "value": 3, "tolerance": -1}]"#, "0 or more"),
        (#"[{"check": "json", "members": 3}]"#, "object of the members"),
    ])
    func `Checks that mean nothing are refused with their place`(_ checks: String, _ words: String) throws {
        let value = try JSONValue(parsing: Array(checks.utf8))
        let error = #expect(throws: EvaluationError.self) { try CheckList(value, place: "p.jsonl, record 3") }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
        #expect(error?.description.contains("p.jsonl, record 3") == true)
    }
}
