import Chat
import Evaluation
import Foundation
import Reporting
import Testing

/// Whatever models, judges and users write is text in a report, and nothing but text.
struct HostileTextTests {
    /// Ways to run a script, in ways to get out of where a text stands.
    static let payloads: [String] = {
        let scripts = [
            "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
            "<a href=\"javascript:alert(1)\">x</a>", "<iframe src=https://evil.example></iframe>",
            "<body onload=alert(1)>", "<link rel=stylesheet href=//evil.example/a.css>",
            "<meta http-equiv=refresh content=\"0;url=https://evil.example\">", "<base href=https://evil.example/>",
            "<form action=https://evil.example><input name=a autofocus onfocus=alert(1)>",
            "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
            "<object data=data:text/html,<script>alert(1)</script>>", "<details open ontoggle=alert(1)>",
            "<video><source onerror=alert(1)>", "<style>@import 'https://evil.example/a.css';</style>",
            "<template><script>alert(1)</script></template>", "<embed src=//evil.example>",
            "<input value=\" onmouseover=alert(1) \">", "<marquee onstart=alert(1)>",
            "<?xml-stylesheet href='//evil'?>",
            "<!ENTITY x SYSTEM 'file:///etc/passwd'>", "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<plaintext onmouseover=alert(1)>", "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
        ]
        let exits = [
            "", "\">", "'>", "</pre>", "</title></style>", "-->", "]]>", "</summary></details>", "\u{202E}",
            "</td></tr></table>", "\" onfocus=alert(1) autofocus x=\"", "&#60;",
        ]
        return exits.flatMap { exit in scripts.map { exit + $0 } }
    }()

    private static let attributes: Set<String> = [
        "lang", "charset", "http-equiv", "content", "name", "id", "class", "role", "aria-label", "href", "tabindex",
        "scope", "style", "xmlns", "width", "height", "viewBox", "font-family", "font-size", "font-weight", "fill", "x",
        "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "d", "stroke", "stroke-width", "stroke-linecap",
        "stroke-linejoin", "stroke-dasharray", "opacity", "fill-opacity", "transform", "text-anchor", "color",
    ]
    private static let elements: Set<String> = [
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "nav", "a", "main", "p", "pre", "div",
        "table", "thead", "tbody", "tr", "th", "td", "figure", "section", "details", "summary", "svg", "desc", "g",
        "rect", "text", "line", "circle", "path",
    ]

    @Test func `Three hundred payloads in every place leave no script, handler or address`() throws {
        #expect(Self.payloads.count == 300)
        for (place, payload) in Self.payloads.enumerated() {
            try check(page(payload).html, payload, place)
        }
        let long = Self.payloads.joined(separator: "\n")
        try check(page(long).html, long, -1)
    }

    private func check(_ html: [UInt8], _ payload: String, _ place: Int) throws {
        let document = try Document(html)
        for element in document.elements {
            #expect(Self.elements.contains(element.name), "\(place): \(element.name)")
            for (name, value) in element.attributes {
                #expect(Self.attributes.contains(name), "\(place): \(element.name) \(name)")
                if name == "href" { #expect(value.hasPrefix("#section-"), "\(place): \(value)") }
                if name == "xmlns" { #expect(value == "http://www.w3.org/2000/svg") }
                if name == "content" { #expect(!value.contains("evil")) }
            }
            if element.name == "style" { #expect(!element.text.contains("evil") && !element.text.contains("<")) }
        }
        // A reader of HTML sees a tag wherever a < stands before a letter: none may, but for those above.
        let text = String(decoding: html, as: UTF8.self).lowercased()
        for tag in ["<script", "<img", "<iframe", "<link", "<object", "<embed", "<base", "<form", "<!entity", "<?"] {
            #expect(!text.contains(tag), "\(place): \(tag)")
        }
        #expect(text.contains("content-security-policy"))
    }

    private func page(_ payload: String) -> HTMLPage {
        let scores: JSONValue = [
            "name": .string(payload), "benchmark": ["baseline": .string(payload), "n": 3, "id": .string(payload)],
            "judge": ["id": .string(payload), "reference_judge": false],
            "metrics": ["win_rate": ["value": 60, "se": 5, "ci95": [50, 70]]], "notes": [.string(payload)],
            "integrity": ["flags": [.string(payload)]],
        ]
        let annotations = (0..<3).map { index -> Annotation in
            let prompt = Prompt(index: index, instruction: "\(payload) \(index)", category: "\(payload)\(index % 2)")
            let output = payload + String(repeating: "x", count: index)
            var annotation = Annotation(
                prompt: prompt, baseline: ModelOutput(prompt: prompt, output: payload, generator: payload),
                output: ModelOutput(prompt: prompt, output: output, generator: payload), judge: payload,
                verdict: index == 0 ? .missing(.unparsable(payload)) : .preference(0.3 * Double(index), weight: 1))
            annotation.publishedReply = ["message": ["content": .string(payload)]]
            return annotation
        }
        return RunReport(
            scores: scores, annotations: annotations,
            run: ["generation": ["chat_template_sha256": .string(payload)], "model": ["name": .string(payload)]]
        ).page
    }

    @Test func `Control and direction characters are shown by their code`() throws {
        let html = String(decoding: page("a\u{202E}b\u{1B}[31mc\u{200B}d\u{FEFF}").html, as: UTF8.self)
        for code in ["U+202E", "U+001B", "U+200B", "U+FEFF"] { #expect(html.contains("⟨\(code)⟩"), "\(code)") }
        for hidden in ["\u{202E}", "\u{1B}", "\u{200B}", "\u{FEFF}"] {
            #expect(!html.unicodeScalars.contains(hidden.unicodeScalars.first!))
        }
    }
}
