import Chat
import Evaluation
import Reporting
import Testing

@Suite struct RunReportTests {
    private static let scores: JSONValue = [
        "name": "mine", "benchmark": ["baseline": "theirs", "n": 2], "judge": ["id": "checks"],
        "metrics": ["win_rate": ["value": 75, "se": 5]], "notes": ["mind <this>"],
    ]

    private func annotation(_ index: Int, _ kind: String, _ output: String, _ preference: Double?) -> Annotation {
        let prompt = Prompt(index: index, instruction: "Say <\(index)> & \u{0}", category: kind)
        return Annotation(
            prompt: prompt, baseline: ModelOutput(prompt: prompt, output: "", generator: "theirs"),
            output: ModelOutput(prompt: prompt, output: output, generator: "mine"), judge: "checks",
            verdict: preference.map { .preference($0, weight: 1) } ?? .missing(.unparsable("no")))
    }

    private func report(kernels: String? = nil) -> RunReport {
        RunReport(
            scores: Self.scores,
            annotations: [annotation(0, "a", "</pre><script>", 1), annotation(1, "b", "four", nil)], kernels: kernels)
    }

    @Test func `The lines say what was compared, how long outputs are and what could have been seen`() {
        #expect(
            report().lines == [
                "mine against theirs on 2 prompts, judged by checks.",
                "Average length in characters: mine 9.0, theirs 0.0.",
                "With 80 % power it could have seen a win rate 14.0 points or more away from 50 %.",
            ])
    }

    @Test func `The page holds everything as text, and the same bytes each time`() {
        let html = String(decoding: report().page.html, as: UTF8.self)
        #expect(html.hasPrefix("<!DOCTYPE html>"))
        #expect(!html.contains("<script"))
        for words in [
            "Say &lt;0&gt; &amp; \u{27E8}U+0000\u{27E9}", "&lt;/pre&gt;&lt;script&gt;", "(nothing)", "mine, preferred",
            "mine, no verdict", "mind &lt;this&gt;", "<svg",
        ] { #expect(html.contains(words), "\(words)") }
        // Readers of HTML take a lone start tag for an open element.
        for element in ["<pre/>", "<td/>", "<p/>", "<div/>", "<h3/>"] { #expect(!html.contains(element)) }
        #expect(report().page.html == report().page.html)
        #expect(!html.contains("kernels of this program"))
        #expect(String(decoding: report(kernels: "amx").page.html, as: UTF8.self).contains("the amx kernels"))
    }
}
