import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

struct ChatTemplateTests {
    static let golden = "\(SharedData.fixtures)/chat_templates"

    @Test(.enabled(if: SharedData.exists(ChatTemplateTests.golden)))
    func `Every golden conversation renders as transformers renders it`() throws {
        for path in SharedData.fixtures("chat_templates") where path.hasSuffix(".json") {
            let fixture = try JSONValue(parsing: try SharedData.contents(path))
            guard let templates = fixture["templates"]?.object, let cases = fixture["cases"]?.array else { continue }
            #expect(!cases.isEmpty)
            for test in cases {
                let name = try #require(test["template"]?.string)
                let template = try #require(templates[name])
                #expect(try ChatTemplateTests.isAsExpected(test, template, name), "\(name): \(test.text())")
            }
        }
    }

    private static func isAsExpected(_ test: JSONValue, _ template: JSONValue, _ name: String) throws -> Bool {
        var variables = JSONObject()
        for member in template.object?.members ?? [] where member.key != "template" {
            variables[member.key] = member.value
        }
        let known = ["template", "messages", "tools", "add_generation_prompt", "text", "error", "generation"]
        for member in test.object?.members ?? [] where !known.contains(member.key) {
            variables[member.key] = member.value
        }
        do throws(TemplateError) {
            let text = try ChatTemplate(source: template["template"]?.string ?? "", name: name).render(
                messages: test["messages"]?.array ?? [], tools: test["tools"],
                addGenerationPrompt: test["add_generation_prompt"]?.bool ?? false, variables: variables
            ).text
            return test["error"] == nil && text.utf8.elementsEqual((test["text"]?.string ?? "").utf8)
        } catch {
            guard let expected = test["error"]?.string else { return false }
            // What the template itself says is part of the contract, whatever else an error says is not.
            guard case .raised(_, let message) = error else { return true }
            return expected.hasSuffix(message)
        }
    }

    static let turns = """
        {{- bos_token }}
        {%- for message in messages %}
            {%- if message.role not in ['user', 'assistant'] %}
                {{- raise_exception('No role ' ~ message.role) }}
            {%- endif %}
            {{- '<' ~ message.role ~ '>' }}
            {%- if message.role == 'assistant' %}
                {%- generation %}{{ message.content|trim }}{% endgeneration %}
            {%- else %}
                {{- message.content|trim }}
            {%- endif %}
            {{- '\\n' }}
        {%- endfor %}
        {%- if tools %}{{ '[' ~ tools|map(attribute='name')|join(',') ~ ']' }}{% endif %}
        {%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}
        """

    @Test func `A conversation is written turn by turn, with the spans that were generated`() throws {
        let template = try ChatTemplate(source: ChatTemplateTests.turns, name: "turns")
        let rendering = try template.render(
            messages: [
                ["role": "user", "content": " hé "], ["role": "assistant", "content": "yé😀"],
                ["role": "user", "content": "more"],
            ], tools: [["name": "f"], ["name": "g"]], addGenerationPrompt: true, variables: ["bos_token": "<s>"])
        #expect(rendering.text == "<s><user>hé\n<assistant>yé😀\n<user>more\n[f,g]<assistant>")
        let bytes = Array(rendering.text.utf8)
        let spans = rendering.generationSpans.map { String(decoding: bytes[$0], as: UTF8.self) }
        #expect(spans == ["yé😀"])
        #expect(rendering.unplacedGenerations == 0)
    }

    @Test func `Tools and documents are none where nobody gives them`() throws {
        let template = try ChatTemplate(
            source: "{{ tools is none }}{{ documents is none }}{{ tools is defined }}{{ other is defined }}",
            name: "none")
        #expect(try template.render(messages: [], addGenerationPrompt: false).text == "TrueTrueTrueFalse")
    }

    @Test func `A generated part inside a macro is counted, not misplaced`() throws {
        let source = "{% macro m() %}a{% generation %}b{% endgeneration %}{% endmacro %}xyz{{ m()|upper }}"
        let rendering = try ChatTemplate(source: source, name: "macro").render([:])
        #expect(rendering.text == "xyzAB")
        #expect(rendering.generationSpans.isEmpty)
        #expect(rendering.unplacedGenerations == 1)
    }

    @Test func `The hash is that of the source`() throws {
        let template = try ChatTemplate(source: "{{ 1 }}", name: "hash")
        #expect(template.sha256 == Digest.sha256("{{ 1 }}"))
    }

    @Test func `Twenty turns take well below a millisecond`() throws {
        let template = try ChatTemplate(source: ChatTemplateTests.turns, name: "turns")
        let words = String(repeating: "some words of a turn ", count: 30)
        let messages: [JSONValue] = (0..<20).map {
            ["role": .string($0 % 2 == 0 ? "user" : "assistant"), "content": .string(words)]
        }
        var fastest = Duration.seconds(1)
        for _ in 0..<20 {
            let time = try ContinuousClock().measure {
                _ = try template.render(messages: messages, addGenerationPrompt: true, variables: ["bos_token": "<s>"])
            }
            fastest = min(fastest, time)
        }
        #expect(fastest < .milliseconds(1))
    }
}
