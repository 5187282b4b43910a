import Chat
import Testing

@Suite struct JSONTests {
    @Test("A document reads back as itself, in order, compact and indented")
    func roundTrip() throws {
        let text = #"{"b":[1,-2.5,1e-05,true,null,"é\n\"\\ 😀"],"a":{},"c":[]}"#
        let value = try JSONValue(parsing: text)
        #expect(value.text() == text)
        #expect(try JSONValue(parsing: value.text(.indented(2))) == value)
        #expect(value.object?.keys == ["b", "a", "c"])
    }

    @Test("Escapes decode to scalars, surrogate pairs joined")
    func escapes() throws {
        let value = try JSONValue(parsing: #""\ud83d\ude00\u00e9\/\b\f\r\t""#)
        #expect(value.string == "😀é/\u{8}\u{C}\r\t")
    }

    @Test("Ambiguous or malformed text is refused, with its place")
    func refusals() {
        let cases = [
            #"{"winner":"A","winner":"B"}"#: "duplicate key", #""\ud83d""#: "half of a surrogate pair",
            #"[1,]"#: "expected a value", #"{"a" 1}"#: "colon", "01": "leading zero", "1e999": "Double", "nul": "ends",
            "[1] 2": "after the document", "\"a\nb\"": "control character", "NaN": "expected a value", "": "ends",
            "[1 2]": "comma", "\"\\x\"": "escape", "1.": "digit",
        ]
        for (text, reason) in cases {
            do {
                let value = try JSONValue(parsing: text)
                Issue.record("\(text) was read as \(value)")
            } catch {
                #expect(error.reason.contains(reason), "\(text): \(error.reason)")
            }
        }
        #expect(throws: JSONError(reason: "expected a value", line: 2, column: 3)) {
            try JSONValue(
                parsing: "[1,\n "
                    + " x]")
        }
    }

    @Test("A document cut anywhere is refused, never half read")
    func truncation() throws {
        let text = #"{"choices":[{"message":{"content":"m"},"logprobs":{"content":[{"token":"m","logprob":-0.5}]}}]}"#
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            #expect(throws: JSONError.self) { try JSONValue(parsing: bytes[..<count]) }
        }
    }

    @Test("Nesting beyond the limit and text that is not UTF-8 are refused")
    func hostileInput() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xFF, 0x22]) }
    }

    @Test func `Keys that Unicode calls equivalent are different keys`() throws {
        // The angstrom sign and the letter; vocabularies hold both.
        let pairs = "\"\u{212B}\": 1, \"\u{C5}\": 2"
        let many = (0..<20).map { "\"k\($0)\": 0" }.joined(separator: ", ")
        for text in ["{\(pairs)}", "{\(many), \(pairs)}"] {
            let object = try JSONValue(parsing: text)
            #expect(object["\u{212B}"]?.integer == 1)
            #expect(object["\u{C5}"]?.integer == 2)
        }
    }

    @Test("A large object with a duplicate far apart is refused too")
    func duplicatesInLargeObjects() {
        let members = (0..<40).map { "\"k\($0)\":\($0)" } + ["\"k3\":1"]
        #expect(throws: JSONError.self) { try JSONValue(parsing: "{\(members.joined(separator: ","))}") }
    }

    @Test("Canonical text does not depend on the order of the keys")
    func canonical() throws {
        let left = try JSONValue(parsing: #"{"b":1,"a":[{"d":2,"c":3}]}"#)
        let right = try JSONValue(parsing: #"{"a":[{"c":3,"d":2}],"b":1}"#)
        #expect(left.canonical.text() == right.canonical.text())
        #expect(left.canonical.text() == #"{"a":[{"c":3,"d":2}],"b":1}"#)
    }

    @Test("JSON Lines name the line of a fault")
    func lines() throws {
        #expect(try JSONValue.parseLines(Array("1\n\n[2]\n".utf8)) == [1, [2]])
        #expect(throws: JSONError(reason: "expected a value", line: 2, column: 1)) {
            try JSONValue.parseLines(Array("1\nx\n".utf8))
        }
    }
}
