import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

/// Cases that Python's jinja2 rendered from templates of our own; see Fixtures/make_jinja_cases.py.
struct JinjaTests {
    static func render(_ template: String, _ variables: JSONObject = [:], limits: ChatTemplate.Limits = .standard)
        throws -> String
    {
        try ChatTemplate(source: template, name: "test", limits: limits).render(variables, now: 1_700_000_000).text
    }

    @Test func `Every template of our own renders as jinja2 renders it, or fails where it fails`() throws {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/jinja_cases.json")
        let fixture = try JSONValue(parsing: try Data(contentsOf: url))
        let variables = try #require(fixture["variables"]?.object)
        let cases = try #require(fixture["cases"]?.array)
        #expect(cases.count > 2000)
        for test in cases {
            let template = try #require(test["template"]?.string)
            let text = try? JinjaTests.render(template, variables)
            // By code points: Swift's == would take composed and decomposed letters for the same.
            #expect(text.map { Array($0.utf8) } == test["text"]?.string.map { Array($0.utf8) }, "\(template)")
        }
    }

    @Test(arguments: [
        ("{{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** -1 }} {{ 7 / 2 }}", "-4 2 0.5 3.5"),
        ("{{ [1, 2.0, 'x', none, true] }} {{ {'a': (1,)} }}", "[1, 2.0, 'x', None, True] {'a': (1,)}"),
        ("{{ 'a😀é'[::-1] }} {{ 'a😀é'|length }} {{ 'a😀é'[1] }}", "é😀a 3 😀"),
        (
            "{{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 0.1 + 0.2 }}",
            "1e+16 1000000000000000.0 0.0001 1e-05 0.30000000000000004"
        ),
        (
            "{{ '<é>'|tojson }} {{ {'b': [1.0, none]}|tojson(indent=1) }}",
            "\"<é>\" {\n \"b\": [\n  1.0,\n  null\n ]\n}"
        ),
        ("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "231"),
        ("{% for i in [1] %}{% break %}{% else %}none{% endfor %}", "none"),
        ("  {% if true %}\n a\n  {% endif %}\nb\n", " a\nb"),
        ("{{ missing }}{{ missing is defined }}{{ missing|default('d') }}", "Falsed"),
        ("{% macro m(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{% endmacro %}{{ m(1) }}{{ m(1, 2, 3) }}", "11()12(3,)"),
        ("{% if false %}{{ 1|unheard_of }}{% endif %}fine", "fine"),
    ])
    func `Values look as Python prints them and names live where Jinja lets them live`(
        _ template: String, _ expected: String
    ) throws {
        #expect(try JinjaTests.render(template) == expected)
    }

    @Test func `Composed and decomposed letters are different texts`() throws {
        let variables: JSONObject = ["a": "\u{E9}", "b": "e\u{301}"]
        #expect(
            try JinjaTests.render("{{ a == b }} {{ a in b }} {{ {a: 1, b: 2}|length }}", variables) == "False False 2")
    }

    @Test func `A generator is walked once and a filtered loop sees what its body sets`() throws {
        let twice =
            "{% set g = [1, 2]|map('string') %}{% for x in g %}{{ x }}{% endfor %}|{% for x in g %}{{ x }}{% endfor %}"
        #expect(try JinjaTests.render(twice) == "12|")
        let lazy = """
            {% set ns = namespace(done=false) %}{% for x in [1, 2, 3] if not ns.done %}{{ x }}\
            {% set ns.done = x == 2 %}\
            {% endfor %}
            """
        #expect(try JinjaTests.render(lazy) == "12")
    }

    @Test func `The clock is the one that is passed in`() throws {
        #expect(
            try JinjaTests.render("{{ strftime_now('%Y-%m %% %f') }}|{{ strftime_now('') }}") == "2023-11 % 000000|")
    }

    @Test(arguments: [
        ("a\n{{ 1|unheard_of }}", 2, "unheard_of"),
        ("\n\n{{ 1 is unheard_of }}", 3, "unheard_of"),
        ("\n{% unheard_of %}", 2, "unheard_of"),
        ("{{ 'a' }}\n{{ 'a'.unheard_of() }}", 2, "unheard_of"),
        ("{% include 'x' %}", 1, "include"),
        ("\n{% extends 'x' %}", 2, "extends"),
        ("{% from 'x' import y %}", 1, "from"),
        ("{% for x in [1] %}\n{{ x.y.z }}{% endfor %}", 2, "'y'"),
        ("\n{{ raise_exception('told you') }}", 2, "told you"),
        ("{% if true %}\n\n", 2, "endif"),
        ("{{ 'a' + 1 }}", 1, "str"),
        ("{{ messages.append(1) }}", 1, "append"),
        ("{{ 2 ** 64 }}", 1, "64 bits"),
        ("{% set d = {} %}{{ d.__class__.mro() }}", 1, "__class__"),
    ])
    func `An error names its line and what it is about`(_ template: String, _ line: Int, _ word: String) throws {
        let error = try #require(throws: TemplateError.self) { try JinjaTests.render(template, ["messages": []]) }
        #expect(error.description.contains("line \(line)"), "\(error)")
        #expect(error.description.contains(word), "\(error)")
        #expect(error.description.contains("test"))
    }

    @Test func `What a template raises keeps its words`() throws {
        let error = try #require(throws: TemplateError.self) {
            try JinjaTests.render("{{ raise_exception('Roles: ' ~ [1]) }}")
        }
        #expect(error == .raised(TemplateError.Place(template: "test", line: 1), "Roles: [1]"))
    }
}
