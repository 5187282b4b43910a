import Testing
import Tokenization

/// Patterns as pre-tokenizers use them: what each piece of a text is, seen through a vocabulary of single bytes.
@Suite struct PatternTests {
    /// The pieces that a `Split` pattern makes; the expected ones are Oniguruma's, by its documented rules.
    private func pieces(_ text: String, _ pattern: String, behavior: String = "Isolated") throws -> [String] {
        let escaped = pattern.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        let json = #"""
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "PATTERN"}, "behavior": "BEHAVIOR", "invert": false},
             "model": {"type": "BPE", "unk_token": "?", "fuse_unk": true, "vocab": {"?": 0}, "merges": []}}
            """#
            .replacing("PATTERN", with: escaped).replacing("BEHAVIOR", with: behavior)
        let tokenizer = try Tokenizer(bytes: Array(json.utf8), path: "t")
        let scalars = Array(text.unicodeScalars)
        return tokenizer.encodeWithOffsets(text, addSpecialTokens: false).offsets.map { range in
            var piece = String.UnicodeScalarView()
            piece.append(contentsOf: scalars[range])
            return String(piece)
        }
    }

    private static let llama3 =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
        + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

    @Test(arguments: [
        ("it'ſabc", ["it", "'ſ", "abc"]), ("'Llama", ["'Ll", "ama"]), ("12345", ["123", "45"]),
        ("a  b", ["a", " ", " b"]), ("a \r\n\n b", ["a", " \r\n\n", " b"]), ("x!\u{85}y", ["x", "!", "\u{85}y"]),
        ("\u{0B}word", ["\u{0B}word"]), ("end  ", ["end", "  "]), ("é中٣", ["é中", "٣"]),
    ])
    func `The Llama 3 pattern cuts where the reference does`(text: String, expected: [String]) throws {
        #expect(try pieces(text, PatternTests.llama3) == expected)
    }

    @Test(arguments: [
        ("a+?b", "aab", ["aab"]), ("a{2}", "aaaaa", ["aa", "aa", "a"]), ("a{,2}b", "aaab", ["a", "aab"]),
        ("(?:ab)+", "ababx", ["abab", "x"]), ("a++a", "aaa", ["aaa"]), ("(?>a|ab)c", "abc", ["abc"]),
        ("(?<=x)y", "xyy", ["x", "y", "y"]), ("(?<!x)y", "xyy", ["xy", "y"]), ("a(?=b)", "aab", ["a", "a", "b"]),
        ("[a-c&&[^b]]", "abc", ["a", "b", "c"]), ("[\\]\\-x]", "]-x", ["]", "-", "x"]), ("^b", "ab\nb", ["ab\n", "b"]),
        ("\\x{4e2d}|\\u4E2E", "中中丮", ["中", "中", "丮"]), ("b$", "bb\nb", ["b", "b", "\n", "b"]), ("a{x", "a{x", ["a{x"]),
        ("", "ab", ["a", "b"]), ("\\p{^L}", "a1", ["a", "1"]), ("(?i)AB", "xaB", ["x", "aB"]),
        ("\\d", "a٣", ["a", "٣"]),
        (".", "a\nb", ["a", "\n", "b"]), ("a|b|", "ab", ["a", "b"]),
    ])
    func `The syntax of patterns is Oniguruma's`(pattern: String, text: String, expected: [String]) throws {
        #expect(try pieces(text, pattern) == expected)
    }

    @Test(arguments: [
        ("Removed", ["the", "final", "countdown"]), ("Isolated", ["the", "-", "final", "-", "-", "countdown"]),
        ("MergedWithPrevious", ["the-", "final-", "-", "countdown"]),
        ("MergedWithNext", ["the", "-final", "-", "-countdown"]),
        ("Contiguous", ["the", "-", "final", "--", "countdown"]),
    ])
    func `A split does with its delimiter what its behaviour says`(behavior: String, expected: [String]) throws {
        #expect(try pieces("the-final--countdown", "-", behavior: behavior) == expected)
    }

    @Test(arguments: [
        "(", ")", "[", "a**", "*", "(?<name>a)", "\\1", "\\p{Klingon}", "(a?)*", "[[:alpha:]]", "(?<=ab)c", "[b-a]",
        "\\x{110000}", "a{2,1}", "a{1,100000}", "((((a{1000}){1000}){1000}){1000})", "\\", "[a", "\\u12", "(?#c)",
    ])
    func `A pattern that is not understood is refused`(pattern: String) throws {
        #expect(throws: TokenizationError.self) { try pieces("x", pattern) }
    }

    @Test(arguments: [
        "(?:a+)+b", "(?:a|aa)+$b", "a*a*a*a*a*a*b", "(?:(?:a{1,50}){1,50})b", "(?=(?:a+)+b)a", "\\s*x",
    ])
    func `A pattern that would take forever gives up`(pattern: String) throws {
        let text = String(repeating: "a", count: 20_000) + String(repeating: " ", count: 20_000)
        #expect(try pieces(text, pattern).joined() == text)
    }
}
