import Chat
import Foundation
import TestSupport
import Testing
import Training

/// What lines say, and what is said of lines that say nothing.
@Suite struct PreferenceExampleTests {
    // MARK: Goldens

    @Test(.enabled(if: RenderingGoldens.trl != nil, "needs the golden rows"))
    func `The prompt that a pair implies is what TRL extracts`() throws {
        let cases = try #require(RenderingGoldens.trl?["extract_prompt"]?.array)
        for golden in cases {
            let input = try #require(golden["input"])
            let output = try #require(golden["output"]?.object)
            let explicit = try PreferenceExample(json: .object(output)).content
            #expect(try PreferenceExample(json: input).content == explicit, "\(input)")
        }
        #expect(!cases.isEmpty)
    }

    // MARK: Layouts

    private let hi: JSONValue = ["role": "user", "content": "hi"]
    private let yes: JSONValue = ["role": "assistant", "content": "yes"]
    private let no: JSONValue = ["role": "assistant", "content": "no"]

    private var pair: PreferenceExample.Content {
        .pair(
            chosen: .messages(prompt: [hi], response: [yes]),
            rejected: .messages(prompt: [hi], response: [no]))
    }

    private func content(_ fields: JSONObject) throws -> PreferenceExample.Content {
        try PreferenceExample(json: .object(fields)).content
    }

    @Test func `A pair is the same in every layout`() throws {
        let layouts: [JSONObject] = [
            ["chosen": [hi, yes], "rejected": [hi, no]],
            [
                "prompt": "hi", "chosen": [hi, yes], "rejected": [hi, no], "messages": [hi, yes],
                "score_chosen": 8.5,
            ],
            ["prompt": "hi", "chosen": [yes], "rejected": [no]],
            ["prompt": [hi], "chosen": [yes], "rejected": [no]],
            ["prompt": [hi], "chosen": [hi, yes], "rejected": [hi, no]],
            ["prompt": [hi], "chosen": "yes", "rejected": "no"],
            [
                "prompt": .null, "chosen": [hi, yes], "rejected": [hi, no], "label": .null,
                "all_rm_scores": [1, 2],
            ],
            // The order of members and members that are null make no other turn.
            [
                "chosen": [["content": "hi", "role": "user", "tool_calls": .null], yes],
                "rejected": [hi, no],
            ],
        ]
        for layout in layouts {
            guard case .pair(let chosen, let rejected) = try content(layout) else {
                throw CocoaError(.coderInvalidValue)
            }
            guard case .messages(let prompt, let response) = chosen else {
                throw CocoaError(.coderInvalidValue)
            }
            #expect(prompt.map(\.canonical) == [hi.canonical], "\(layout)")
            #expect(response == [yes])
            guard case .messages(_, [no]) = rejected else { return #expect(Bool(false), "\(layout)") }
        }
        #expect(try content(["prompt": [hi], "chosen": [yes], "rejected": [no]]) == pair)
    }

    @Test func `Texts stay texts`() throws {
        #expect(
            try content(["prompt": "a", "chosen": "b", "rejected": ""])
                == .pair(
                    chosen: .plain(prompt: "a", response: "b"), rejected: .plain(prompt: "a", response: "")))
    }

    @Test(arguments: [
        ("The sky is blue", "The sky is green", "The sky is", " blue", " green"),
        ("abc ", "abc d", "abc", " ", " d"), ("ab  ", "ab  d", "ab ", " ", " d"),
        ("same", "same", "sam", "e", "e"),
        ("x", "y", "", "x", "y"), (" x", " y", "", " x", " y"), ("", "y", "", "", "y"),
        // By code point: the accent is the first that differs.
        ("e\u{301}a", "e\u{300}a", "e", "\u{301}a", "\u{300}a"),
    ])
    func `What two texts begin with is their prompt`(
        _ chosen: String, _ rejected: String, _ prompt: String, _ first: String, _ second: String
    ) throws {
        let found = try content(["chosen": .string(chosen), "rejected": .string(rejected)])
        guard case .pair(.plain(let a, let b), .plain(let c, let d)) = found else {
            throw CocoaError(.coderInvalidValue)
        }
        for (text, expected) in [(a, prompt), (b, first), (c, prompt), (d, second)] {
            #expect(Array(text.utf8) == Array(expected.utf8))
        }
    }

    @Test func `A prompt beside a system message is the turn behind it`() throws {
        let system: JSONValue = ["role": "system", "content": "Be brief."]
        #expect(
            try content(["prompt": "hi", "chosen": [system, yes], "rejected": [system, no]])
                == .pair(
                    chosen: .messages(prompt: [system, hi], response: [yes]),
                    rejected: .messages(prompt: [system, hi], response: [no])))
        let other: JSONValue = ["role": "system", "content": "Be long."]
        #expect(
            try content(["prompt": "hi", "chosen": [system, yes], "rejected": [other, no]]) == .differingPrompts)
        // What an assistant did not say is an empty response, which the rules drop.
        #expect(
            try content(["messages": [hi, ["role": "assistant", "content": .null]]])
                == .conversation([hi, ["role": "assistant", "content": ""]]))
        let error = #expect(throws: TrainingError.self) {
            try content(["question": "2 + 2?", "chosen": "4", "rejected": "five"])
        }
        #expect(error?.description.contains("Rename it to \"prompt\"") == true)
    }

    @Test func `Conversations that part early have no common prompt`() throws {
        let other: JSONValue = ["role": "user", "content": "hello"]
        for (chosen, rejected) in [
            ([hi, yes], [other, no]), ([hi, yes, other, yes], [hi, no, other, yes]),
            ([hi, yes], [hi, yes, other, no]),
            // Two spellings of one letter.
            ([.turn("user", "\u{E9}"), yes], [.turn("user", "e\u{301}"), no]),
        ] as [([JSONValue], [JSONValue])] {
            #expect(
                try content(["chosen": .array(chosen), "rejected": .array(rejected)]) == .differingPrompts)
        }
        // The same conversation twice has its last turn as response.
        let same = PreferenceExample.Exchange.messages(prompt: [hi], response: [yes])
        #expect(
            try content(["chosen": [hi, yes], "rejected": [hi, yes]])
                == .pair(chosen: same, rejected: same))
    }

    @Test func `A response may call tools, whose turns are the response's`() throws {
        let call: JSONValue = ["role": "assistant", "tool_calls": [["name": "clock"]]]
        let result: JSONValue = ["role": "tool", "content": "9:30"]
        let example = try PreferenceExample(
            json: [
                "prompt": [hi], "chosen": [call, result, yes], "rejected": [no],
                "tools": [["name": "clock"]],
            ])
        guard case .pair(.messages(_, [call, result, yes]), _) = example.content else {
            return #expect(Bool(false), "\(example.content)")
        }
        #expect(example.tools == [["name": "clock"]])
    }

    @Test func `Demonstrations and judged completions are told apart`() throws {
        let exchange = PreferenceExample.Exchange.plain(prompt: "a", response: "b")
        #expect(try content(["prompt": "a", "completion": "b"]) == .demonstration(exchange))
        #expect(
            try content(["prompt": "a", "completion": "b", "label": false])
                == .judged(exchange, isDesirable: false))
        #expect(try content(["messages": [hi, yes]]) == .conversation([hi, yes]))
        #expect(try content(["text": "a"]) == .text("a"))
        let conversation = PreferenceExample.Exchange.messages(prompt: [hi], response: [yes])
        #expect(try content(["prompt": [hi], "completion": [yes]]) == .demonstration(conversation))
    }

    @Test func `Scores are read`() throws {
        let example = try PreferenceExample(
            json: [
                "prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 8, "score_rejected": 7.5,
            ])
        #expect(example.chosenScore == 8)
        #expect(example.rejectedScore == 7.5)
    }

    // MARK: Faults

    @Test(arguments: [
        ("[1", "column 3"), ("{\"text\": \"a\"", "Every line must hold one JSON object"),
        ("3", "holds a number"),
        ("\"text\"", "holds a string"), ("{}", "found no fields"),
        (#"{"a": 1, "b": 2}"#, "found a, b; expected are"),
        (#"{"text": 3}"#, #""text" is a number; a string or a list"#),
        (#"{"text": [{"role": "user", "content": "a"}]}"#, #"messages go into "messages""#),
        (#"{"chosen": "a"}"#, "come together"), (#"{"prompt": "p", "rejected": "a"}"#, "come together"),
        (#"{"prompt": "p"}"#, "found prompt; expected are"),
        (#"{"chosen": 3, "rejected": "a"}"#, #""chosen" is a number"#),
        (#"{"prompt": true, "chosen": "b", "rejected": "a"}"#, #""prompt" is a boolean"#),
        (#"{"chosen": [], "rejected": []}"#, #""chosen" is an empty list"#),
        (#"{"prompt": [], "completion": "a"}"#, #""prompt" is an empty list"#),
        (#"{"messages": []}"#, #""messages" is an empty list"#),
        (#"{"messages": "a"}"#, "a list of messages is expected"),
        (#"{"messages": ["a"]}"#, #"message 1 of "messages" is a string"#),
        (#"{"messages": [{"from": "human", "value": "a"}]}"#, #"has no "role"; found from, value"#),
        (#"{"messages": [{"role": "human", "content": "a"}]}"#, #"is "human"; system, user"#),
        (#"{"messages": [{"role": 3, "content": "a"}]}"#, "is a number; system, user"),
        (#"{"messages": [{"role": "user"}]}"#, "the content of message 1 of \"messages\" is missing"),
        (
            #"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
            "is an array; a string is expected"
        ),
        (#"{"completion": "a"}"#, #"has no "prompt""#),
        (#"{"prompt": "p", "completion": "a", "label": 1}"#, "true (desirable) or false"),
        (#"{"prompt": "p", "completion": "a", "label": "true"}"#, "is a string; true (desirable)"),
        (
            #"{"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": "8"}"#,
            "a number is expected"
        ),
        (#"{"prompt": "p", "chosen": "a", "rejected": "b", "tools": {}}"#, "a list is expected"),
        (
            #"{"chosen": "a", "rejected": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}"#,
            "both must be the same"
        ),
        (
            #"{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "user", "content": "b"}]}"#,
            #"is one message and there is no "prompt""#
        ),
        (
            #"{"prompt": [{"role": "user", "content": "u"}], "completion": [{"role": "user", "content": "v"}]}"#,
            #"has the role "user"; "assistant" is expected"#
        ),
        (
            #"{"prompt": [{"role": "user", "content": "u"}], "completion": [{"role": "user", "content": "v"}, "#
                + #"{"role": "assistant", "content": "w"}]}"#,
            #"turns of the user that "prompt" does not have"#
        ),
        (#"{"text": "a", "text": "b"}"#, "duplicate key"),
    ])
    func `A line that says nothing is refused with its place`(_ line: String, _ sentence: String)
        throws
    {
        let folder = try TemporaryFolder()
        let path = try folder.write("{\"text\": \"fine\"}\n\n\(line)\n", "data.jsonl")
        let error = #expect(throws: TrainingError.self) { try PreferenceExample.read(path) }
        #expect(
            error?.description.contains("data.jsonl, line 3") == true, "\(String(describing: error))")
        #expect(error?.description.contains(sentence) == true, "\(String(describing: error))")
    }

    // MARK: Files

    private func texts(_ data: Data) throws -> (texts: [String], places: [Int], sha256: String) {
        let folder = try TemporaryFolder()
        var examples: [PreferenceExample] = []
        let sha256 = try PreferenceFile.read(try folder.write(data, "data.jsonl")) {
            examples.append($0)
        }
        let texts = examples.map { example in
            guard case .text(let text) = example.content else { return "not a text" }
            return text
        }
        return (texts, examples.map(\.place.number), sha256)
    }

    @Test
    func `Byte order marks, carriage returns, blank lines and a missing last newline do no harm`()
        throws
    {
        let data = Data("\u{FEFF}{\"text\": \"é\"}\r\n\r\n \t\n{\"text\": \"\\ud83d\\ude00\"}".utf8)
        let found = try texts(data)
        #expect(found.texts == ["é", "\u{1F600}"])
        #expect(found.places == [1, 4])
        #expect(found.sha256 == Digest.sha256(data))
    }

    @Test func `An array is read element by element`() throws {
        let found = try texts(Data("\u{FEFF} \n[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n".utf8))
        #expect(found.texts == ["a", "b"])
        #expect(found.places == [1, 2])
        let folder = try TemporaryFolder()
        let second = #expect(throws: TrainingError.self) {
            try PreferenceExample.read(try folder.write(#"[{"text": "a"}, 3]"#, "data.json"))
        }
        #expect(second?.description.contains("data.json, element 2 holds a number") == true)
        let open = #expect(throws: TrainingError.self) {
            try PreferenceExample.read(try folder.write("[{\"text\": \"a\"},\n", "data.json"))
        }
        #expect(
            open?.description.contains("data.json, line 2, column 1") == true,
            "\(String(describing: open))")
    }

    @Test func `A file of many pieces is read line by line`() throws {
        // Lines of uneven lengths, some longer than what is read at a time.
        let lines = (0..<3_000).map { place in
            "{\"text\": \"\(place) \(String(repeating: "x", count: place % 1_000 == 7 ? 1_300_000 : place % 911))\"}"
        }
        let data = Data(lines.joined(separator: "\n").utf8)
        let found = try texts(data)
        #expect(found.texts.count == 3_000)
        #expect(zip(found.texts, 0...).allSatisfy { $0.hasPrefix("\($1) ") })
        #expect(found.texts[1_007].utf8.count == 1_300_005)
        #expect(found.places == Array(1...3_000))
        #expect(found.sha256 == Digest.sha256(data))
    }

    @Test(arguments: [
        ("", "holds no examples"), ("\n \r\n", "holds no examples"), ("[]", "holds no examples"),
        ("PAR1\u{15}", "is a Parquet file"),
        ("version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ])
    func `A file of something else is called by its name`(_ text: String, _ sentence: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(text, "data.jsonl")
        let error = #expect(throws: TrainingError.self) { try PreferenceExample.read(path) }
        #expect(error?.description.contains(sentence) == true, "\(String(describing: error))")
    }

    @Test func `Bytes that are not UTF-8 are refused`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            Data([0x7B, 0x22, 0x61, 0xFF, 0x22, 0x3A, 0x31, 0x7D]), "data.jsonl")
        let error = #expect(throws: TrainingError.self) { try PreferenceExample.read(path) }
        #expect(error?.description.contains("line 1") == true)
    }

    @Test func `A file that is not there is missing, and so is a folder`() throws {
        let folder = try TemporaryFolder()
        for path in ["\(folder.path)/none.jsonl", folder.path] {
            let error = #expect(throws: TrainingError.self) { try PreferenceExample.read(path) }
            guard case .missingInput? = error else {
                return #expect(Bool(false), "\(String(describing: error))")
            }
        }
    }
}
