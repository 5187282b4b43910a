import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

/// Hostile templates end in a text or an error, in time and in memory, on a small stack.
struct TemplateFuzzTests {
    static let count = ProcessInfo.processInfo.environment["EVALHARNESS_FUZZ"].flatMap(Int.init) ?? 500
    static let variables: JSONObject = [
        "messages": [["role": "user", "content": "Hi é"], ["role": "assistant", "content": "Yes."]],
        "s": "some text", "n": 5, "l": [3, 1, 2], "d": ["a": 1, "b": ["c": [1, 2]]], "add_generation_prompt": true,
        "deep": deep(200), "long": .string(String(repeating: "ab ", count: 100_000)),
    ]

    private static func deep(_ depth: Int) -> JSONValue {
        var value: JSONValue = 1
        for level in 0..<depth { value = level % 2 == 0 ? [value] : ["k": value] }
        return value
    }

    /// Of the calling thread, so that a busy machine makes nothing slow.
    private static func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// How it ended, and how long it took.
    private static func outcome(_ template: String) -> (error: TemplateError?, time: Duration) {
        var error: TemplateError?
        let start = processorTime()
        do throws(TemplateError) {
            let rendering = try ChatTemplate(source: template, name: "fuzz").render(variables, now: 0)
            precondition(rendering.text.utf8.count <= 4 << 20)
        } catch let thrown {
            error = thrown
        }
        return (error, processorTime() - start)
    }

    /// Runs on a thread of its own with half a megabyte of stack, as small as any that a caller may have.
    private static func onSmallStack<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            let thread = Thread { continuation.resume(returning: body()) }
            thread.stackSize = 512 << 10
            thread.start()
        }
    }

    static let bombs: [String] = [
        "{{ 'a' * 10**9 }}", "{{ [0] * 10**9 }}", "{{ 10**9 * 'a' }}", "{{ 'a' * (2**62) }}",
        "{{ range(10**9)|list }}", "{{ range(100001) }}", "{{ range(-2**63 + 1, 2**63 - 1) }}",
        "{{ 9**9**9 }}", "{{ 2**10**10 }}", "{{ 9223372036854775807 + 1 }}", "{{ -9223372036854775807 - 2 }}",
        "{{ '%1000000000d' % 1 }}", "{{ '%*d' % (10**9, 1) }}", "{{ '%.1000000000f' % 1.0 }}",
        "{{ '{:>1000000000}'.format(1) }}", "{{ '{:0999999999,}'.format(1) }}", "{{ '{:.999999999f}'.format(1.5) }}",
        "{{ 'x'|center(10**9) }}", "{{ 'x'.ljust(10**9) }}", "{{ 'x'.zfill(10**9) }}", "{{ '\\t'.expandtabs(10**9) }}",
        "{{ 'a\\nb'|indent(10**9) }}", "{{ [1]|tojson(indent=10**9) }}", "{{ 1.5|round(10**9) }}",
        "{{ [1]|batch(10**9, 0)|list }}", "{{ [1]|slice(10**9)|list }}",
        "{{ ('a' * 100000).replace('a', 'a' * 100000) }}", "{{ ('a' * 100000).replace('', 'b' * 1000) }}",
        "{{ (['a' * 1000] * 100000)|join('b' * 1000) }}", "{{ ('a' * 1000).join(['b'] * 100000) }}",
        "{{ ('a' * 4000000).split('a' * 2000000 + 'b') }}", "{{ ('a' * 4000000).find('a' * 2000000 + 'b') }}",
        "{{ ('a' * 4000000).rsplit('a', 1000000)|length }}", "{{ ('ab' * 1000000).rfind('a' * 100000) }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% for k in range(100000) %}{% endfor %}"
            + "{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = ns.x + ['a' * 1000000] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
            + "{{ ns.x == ns.x }}",
        """
        {% set ns = namespace(x=1, y=1) %}{% for i in range(200) %}{% set ns.x = [ns.x, ns.x] %}\
        {% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}
        """,
        "{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}"
            + "{{ {ns.x: 1} }}",
        "{% set ns = namespace(x=1) %}{% for i in range(200) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
            + "{{ ns.x|tojson }}",
        "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
            + "{{ [ns.x, ns.x]|sort }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns|string }}",
        """
        {% set ns = namespace(x=namespace()) %}{% for i in range(100000) %}\
        {% set ns.x = namespace(y=ns.x) %}{% endfor %}\
        {{ ns.x }}
        """,
        "{% set ns = namespace(g=[1]) %}{% for i in range(100000) %}{% set ns.g = ns.g|map('string') %}"
            + "{% endfor %}{{ ns.g|list }}",
        "{% set ns = namespace(c=1) %}{% for i in range(300) %}{% set ns.c = cycler(ns.c, ns.c) %}"
            + "{% endfor %}{{ ns.c.next() }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% macro m(x) %}{{ m(m(x)) }}{% endmacro %}{{ m(1) }}",
        "{% macro m(n) %}{% for i in range(10) %}{{ m(n) }}{% endfor %}{% endmacro %}{{ m(1) }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}"
            + "{% endmacro %}{{ r() }}",
        "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}",
        """
        {% macro m(x) %}{% for i in [1] if [x] %}{% if 1 %}{% set y %}{{ [m([(x,)])]|map('string')|list }}{% endset %}\
        {% endif %}{% endfor %}{% endmacro %}{{ m(1) }}
        """,
        """
        {% macro m(x) %}{% with y = ((((((((x)))))))) %}{% filter upper %}{% call m({'a': [y]}) %}{{ m(x) ~ caller() }}\
        {% endcall %}{% endfilter %}{% endwith %}{{ caller }}{% endmacro %}{{ m(1) }}
        """,
        """
        {% macro m(x) %}{{ (([(((([[m(x if x else (1 if 1 else (not (not m(x)))))]]|first)))|d(m(x))])[0] ~ 1)|trim }}\
        {% endmacro %}{{ m(1) }}
        """,
        "{% for x in range(5) recursive %}{{ loop(range(5)) }}{% endfor %}",
        "{{ deep }}", "{{ deep == deep }}", "{{ deep|tojson }}", "{{ deep|tojson(indent=4000) }}", "{{ [deep]|sort }}",
        "{{ deep|string|length }}", "{{ long|replace('a', long) }}", "{{ long|list|sort|join }}",
        "{{ long|wordcount }}",
        "{% for c in long %}{% for d in long %}{{ c }}{% endfor %}{% endfor %}", "{{ long|title|urlencode|e|tojson }}",
        "{% for i in range(1000) %}{{ long in long }}{% endfor %}",
        "{% for i in range(100000) %}{{ long|length }}{% endfor %}",
        "{{ strftime_now('%10000000d') }}", "{{ strftime_now('%Y' * 10000) }}", "{{ lipsum(n=1000000) }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(s) }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ('a' * 1000000)|e|striptags }}", "{{ ('<' * 1000000)|striptags }}", "{{ ('<!--' * 100000)|striptags }}",
        "{{ '1' * 4000000 }}", "{{ ('1' * 1000000)|int }}", "{{ ('1' * 1000000)|float }}", "{{ dict(**d)|tojson }}",
        "{% set x = range(100000)|list %}{% for i in x %}{{ i in x }}{% endfor %}",
        "{{ range(100000)|map('string')|join|length }}",
        "{{ range(100000)|list|sort(reverse=true)|unique|list|length }}", "{{ range(100000)|groupby('x')|length }}",
    ]

    @Test func `Bombs end quickly, in an error or in a text within bounds`() async throws {
        let slowest = await TemplateFuzzTests.onSmallStack {
            TemplateFuzzTests.bombs.map { ($0, TemplateFuzzTests.outcome($0).time) }.max { $0.1 < $1.1 }
        }
        let (template, time) = try #require(slowest)
        #expect(time < .seconds(2), "\(template)")
    }

    @Test func `What can only be a bomb is refused as too much`() async {
        for template in ["{{ 'a' * 10**9 }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ range(10**9) }}"] {
            let error = TemplateFuzzTests.outcome(template).error
            guard case .limit? = error else {
                Issue.record("\(template): \(String(describing: error))")
                continue
            }
        }
    }

    @Test(arguments: [
        ("(", ")"), ("[", "]"), ("{1:", "}"), ("not ", ""), ("-", ""), ("1 if 1 else ", ""), ("f(", ")"), ("a[", "]"),
        ("1|d(", ")"), ("1 is eq(", ")"),
    ])
    func `Nesting without end is refused, not followed`(_ open: String, _ close: String) async {
        let source =
            "{{ " + String(repeating: open, count: 50_000) + "1" + String(repeating: close, count: 50_000) + " }}"
        let error = await TemplateFuzzTests.onSmallStack { TemplateFuzzTests.outcome(source).error }
        #expect(error != nil)
    }

    @Test(arguments: [
        ("{% if 1 %}", "{% endif %}"), ("{% for x in [1] %}", "{% endfor %}"), ("{% macro m() %}", "{% endmacro %}"),
        ("{% set x %}", "{% endset %}"), ("{% filter upper %}", "{% endfilter %}"), ("{% with %}", "{% endwith %}"),
        ("{% call m() %}", "{% endcall %}"), ("{% generation %}", "{% endgeneration %}"),
        ("{% if 0 %}{% else %}", "{% endif %}"),
    ])
    func `Blocks without end are refused, not followed`(_ open: String, _ close: String) async {
        let source = String(repeating: open, count: 20_000) + String(repeating: close, count: 20_000)
        let error = await TemplateFuzzTests.onSmallStack { TemplateFuzzTests.outcome(source).error }
        #expect(error != nil)
    }

    @Test func `Long chains are no nesting`() throws {
        let sum = "{{ " + String(repeating: "1 + ", count: 10_000) + "1 }}"
        #expect(try JinjaTests.render(sum) == "10001")
        let text = "{{ s" + String(repeating: "|trim", count: 5000) + String(repeating: " ~ ''", count: 100) + " }}"
        #expect(try JinjaTests.render(text, ["s": " a "]) == "a")
        let branches = "{% if 0 %}" + String(repeating: "{% elif 0 %}", count: 5000) + "{% else %}b{% endif %}"
        #expect(try JinjaTests.render(branches) == "b")
    }

    static let seeds: [String] =
        bombs + [
            ChatTemplateTests.turns,
            "{% macro m(a, b=2) %}{{ a|tojson(indent=b) }}{{ caller(a) if caller }}{% endmacro %}"
                + "{% call(x) m(d) %}{{ x }}{% endcall %}",
            "{% for k, v in d|dictsort if v %}{{ loop.index }}{{ loop.nextitem }}{{ k ~ v }}{% else %}"
                + "{{ n }}{% endfor %}",
            "{% set ns = namespace(a=1) %}{% for m in messages[::-1] %}{% set ns.a = ns.a * 3 %}"
                + "{{ m.content[:2] }}{% endfor %}",
            "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join(', ')|upper|center(40) }}",
            "{% filter upper %}{% raw %}{{ x }}{% endraw %}{# c #}{{ '%s-%5.2f' % ('a', 1.5) }}{% endfilter %}",
            "{{ [1, 'a', none, 2.5]|map('string')|list|sort|unique|batch(2)|list }}{{ '{:>5}|{!r}'.format(n, s) }}",
            "{% with a = l|sort, b = d.b %}{{ a[1:] }}{{ b.c|sum }}"
                + "{{ s.split(' ')[0].title().rjust(9, '*') }}{% endwith %}",
        ]
    static let pieces = [
        "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "*", "**", "//", "%", "~", "|", "(", ")", "[", "]", "{", "}", ",",
        ":",
        ".", "'", "\"", "\\", "=", "==", "<", "if", "else", "endif", "for", "in", "endfor", "set", "macro", "endmacro",
        "is",
        "not", "and", "loop", "ns", "ns.x", "messages", "deep", "long", "10**9", "999999999", "-1", "0", "1.5", "1e308",
        "''",
        "'a'", "none", "range(99999)", "|list", "|join", "|tojson", "|sort", "|map('upper')", "|string", ".items()",
        ".split()", ".format(n)", "[::-1]", "[0]", "\n", " ", "é", "😀", "\u{0}", "recursive", "loop(l)", "m()",
        "caller()",
        "{% break %}", "{% continue %}", "{% generation %}", "{% endgeneration %}", "{% raw %}", "{% endraw %}",
    ]

    private static func mutated(_ random: inout SplitMix) -> String {
        var scalars = Array(seeds[random.below(seeds.count)].unicodeScalars)
        for _ in 0...random.below(4) {
            let place = random.below(scalars.count + 1)
            let end = min(scalars.count, place + random.below(8))
            switch random.below(4) {
            case 0: scalars.removeSubrange(place..<end)
            case 1: scalars.insert(contentsOf: pieces[random.below(pieces.count)].unicodeScalars, at: place)
            case 2: scalars.replaceSubrange(place..<end, with: pieces[random.below(pieces.count)].unicodeScalars)
            default:
                let other = Array(seeds[random.below(seeds.count)].unicodeScalars)
                let from = random.below(other.count)
                scalars.insert(contentsOf: other[from..<min(other.count, from + random.below(60))], at: place)
            }
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }

    @Test func `Mutated templates end in a text or an error, in time`() async throws {
        let worst = await TemplateFuzzTests.onSmallStack {
            var random = SplitMix(state: 20_240_607)
            var worst = (template: "", time: Duration.zero)
            for _ in 0..<TemplateFuzzTests.count {
                let template = TemplateFuzzTests.mutated(&random)
                let time = TemplateFuzzTests.outcome(template).time
                if time > worst.time { worst = (template, time) }
            }
            return worst
        }
        #expect(worst.time < .seconds(2), "\(worst.template)")
    }

    private struct SplitMix {
        var state: UInt64

        mutating func below(_ bound: Int) -> Int {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return Int((value ^ (value >> 31)) % UInt64(bound))
        }
    }
}
