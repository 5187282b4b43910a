import Chat
import Evaluation
import Foundation
import TestSupport
import Testing

@Suite struct RecordTests {
    private static func prompts(_ count: Int = 3) throws -> PromptSet {
        let records = (0..<count).map { #"{"instruction":"q\#($0)","dataset":"d"}"# }
        return try PromptSet(
            bytes: Array("[\(records.joined(separator: ","))]".utf8), path: "p.json", isOfficial: false)
    }

    @Test(
        "A wrong prompt file is refused with its record and its fault",
        arguments: [
            (#"{"a":1}"#, "array"), ("[]", "no prompts"), ("[1]", "record 0"), (#"[{"output":"x"}]"#, "instruction"),
            (#"[{"instruction":7}]"#, "string"),
            (
                #"[{"instruction":"a"},{"instruction":"a"}]"#,
                "record "
                    + "0"
            ), ("[", "JSON"),
        ])
    func badPrompts(text: String, word: String) {
        do {
            _ = try PromptSet(bytes: Array(text.utf8), path: "p.json", isOfficial: false)
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(word) && error.description.contains("p.json"), "\(error.description)")
        }
    }

    @Test("Outputs may stand in any order and miss prompts; an empty output is an output")
    func outputs() throws {
        let text =
            #"[{"instruction":"q2","output":"","generator":"g"},{"instruction":"q0","output":"é😀","generator":"g"}]"#
        let outputs = try ModelOutputs(bytes: Array(text.utf8), path: "o.json", prompts: Self.prompts(), name: nil)
        #expect(outputs.name == "g")
        #expect(outputs.outputs.map(\.prompt.index) == [2, 0])
        #expect(outputs.averageLength == 1)
        #expect(outputs[try Self.prompts().prompts[1]] == nil)
    }

    @Test("Lengths are counted in Unicode scalars, at every alignment")
    func lengths() throws {
        let prompt = try Self.prompts().prompts[0]
        for text in [
            "", "a", "é", "👩🏽‍🚀", "\r\n", String(repeating: "aé€😀", count: 9), "1234567é", "12345678", "123456€9",
        ] {
            let output = ModelOutput(prompt: prompt, output: text, generator: "g")
            #expect(output.length == text.unicodeScalars.count, "\(text)")
        }
    }

    @Test(
        "Wrong outputs are refused with their record",
        arguments: [
            (#"[{"instruction":"q0","output":null}]"#, "record 0"), (#"[{"instruction":"q0"}]"#, "output"),
            (#"[{"instruction":"q0","output":"a"},{"instruction":"q0","output":"b"}]"#, "record 1"),
            (#"[{"instruction":"q0","output":"a"},{"instruction":"other","output":"b"}]"#, "record 1"),
            (#"[{"instruction":"other","output":"b"}]"#, "none of the 3 prompts"),
            (
                #"[{"instruction":"q0","output":"a","generator":"g"},{"instruction":"q1","output":"b","generator":"h"}]"#,
                "--name"
            ),
        ])
    func badOutputs(text: String, word: String) throws {
        let prompts = try Self.prompts()
        do {
            _ = try ModelOutputs(bytes: Array(text.utf8), path: "o.json", prompts: prompts, name: nil)
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(word), "\(error.description)")
        }
    }

    private static func annotation(_ preference: String, instruction: String = "q0", output: String = "o") -> String {
        """
        {"instruction":"\(instruction)","output_1":"b","generator_1":"B","output_2":"\(output)","generator_2":"M",
         "annotator":"J","preference":\(preference)}
        """
    }

    private static func published(_ records: [String]) throws -> PublishedAnnotations {
        try PublishedAnnotations(bytes: Array("[\(records.joined(separator: ","))]".utf8), path: "a.json")
    }

    @Test("A preference of 0 is a tie, null is missing, and one out of range is refused")
    func preferences() throws {
        let records = ["0", "1", "1.25", "2", "null"].enumerated().map { Self.annotation($1, instruction: "q\($0)") }
        let rows = try Self.published(records).rows
        #expect(rows.map(\.verdict.preference) == [0.5, 0, 0.25, 1, nil])
        for wrong in ["3", "-1", "0.5", "\"1\""] {
            #expect(throws: EvaluationError.self) { try Self.published([Self.annotation(wrong)]) }
        }
    }

    @Test("Two annotations of one prompt are refused: which one counts is not for us to say")
    func repeatedAnnotations() {
        #expect(throws: EvaluationError.self) { try Self.published([Self.annotation("1"), Self.annotation("2")]) }
    }

    @Test("Annotations that another model made do not pass as the official judge's")
    func judgeModel() throws {
        var record = try JSONValue(parsing: Self.annotation("2")).object!
        #expect(try Self.published([JSONValue.object(record).text()]).judge(official: "openai:x") == "J")
        record["judge_model"] = "exec:other"
        #expect(try Self.published([JSONValue.object(record).text()]).judge(official: "openai:x") == "J/exec:other")
    }

    @Test("A published verdict on another output is missing, and a file about others only is refused")
    func replay() throws {
        let prompts = try Self.prompts()
        let text =
            #"[{"instruction":"q0","output":"o","generator":"M"},{"instruction":"q1","output":"new","generator":"M"}]"#
        let outputs = try ModelOutputs(bytes: Array(text.utf8), path: "o.json", prompts: prompts, name: nil)
        let published = try Self.published([Self.annotation("2", instruction: "q1"), Self.annotation("2")])
        let annotations = try Stages.replay(
            published, path: "a.json", prompts: prompts, selected: [0, 1, 2], baseline: nil, outputs: outputs)
        #expect(annotations.map(\.prompt.index) == [1, 0])
        #expect(annotations.map(\.verdict.preference) == [nil, 1])
        #expect(throws: EvaluationError.self) {
            try Stages.replay(
                try Self.published([Self.annotation("2", instruction: "q1")]), path: "a.json", prompts: prompts,
                selected: [0, 1, 2], baseline: nil, outputs: outputs)
        }
        #expect(throws: EvaluationError.self) {
            try Stages.replay(
                try Self.published([Self.annotation("2", instruction: "other")]), path: "a.json", prompts: prompts,
                selected: [0, 1, 2], baseline: nil, outputs: nil)
        }
    }

    @Test("Missing verdicts are counted by reason, bound the win rate, and prompts without an output are among them")
    func missing() throws {
        let prompts = try Self.prompts()
        let published = try Self.published([Self.annotation("2"), Self.annotation("null", instruction: "q1")])
        let annotations = try Stages.replay(
            published, path: "a.json", prompts: prompts, selected: [0, 1, 2], baseline: nil, outputs: nil)
        let score = try Stages.score(
            annotations, promptCount: 3, averageLength: 1, calibration: nil,
            rule: ScoringRule(design: nil, difficulty: .position, resamples: 0, seed: 0))
        #expect(score.winRate.winRate == 100)
        #expect(score.winRate.count == 1)
        #expect(score.missing == ["unparsable": 1, "no_output": 1])
        #expect(score.winRateBounds == (100.0 / 3)...100)
    }

    @Test("A record that evalharness wrote reads back with the same verdict and reason")
    func annotationRoundTrip() throws {
        let prompts = try Self.prompts()
        let published = try Self.published([
            Self.annotation("1.2345678901234567"), Self.annotation("null", instruction: "q1"),
        ])
        let annotations = try Stages.replay(
            published, path: "a.json", prompts: prompts, selected: [0, 1], baseline: nil, outputs: nil)
        let text = JSONValue.array(annotations.map { $0.json(version: "v") }).serialized()
        let again = try PublishedAnnotations(bytes: text, path: "b.json")
        #expect(again.rows.map(\.verdict) == published.rows.map(\.verdict))
    }

    @Test("A model's name never leaves the results folder")
    func folderNames() throws {
        #expect(try RunDirectory(resultsFolder: "r", benchmark: "b", model: "org/m").path == "r/b/org_m")
        for wrong in ["", "..", ".", ".hidden", String(repeating: "x", count: 300)] {
            #expect(throws: EvaluationError.self) { try RunDirectory(resultsFolder: "r", benchmark: "b", model: wrong) }
        }
        #expect(
            try RunDirectory(resultsFolder: "r", benchmark: "b", model: "a\u{0}\u{202E}/../x").path == "r/b/a___.._x")
    }

    @Test("Who takes a run removes the files that killed processes did not finish, and nothing else")
    func partialFiles() throws {
        let folder = try TemporaryFolder()
        let run = RunDirectory(path: "\(folder.path)/r/b/m")
        var kept = ["r/b/m/scores.json", "r/b/m/notes.partial-draft", "r/b/m/model_answer/x.partial-1.jsonl"]
        // Of no process, and of this one.
        let left = ["r/b/m/scores.json.partial-2000000001", "r/b/m/model_answer/x.jsonl.partial-2000000002"]
        kept.append("r/b/m/run.json.partial-\(ProcessInfo.processInfo.processIdentifier)")
        for name in kept + left { try folder.write("", name) }
        _ = try RunLock(run, stateHome: "\(folder.path)/state")
        for name in kept { #expect(SharedData.exists("\(folder.path)/\(name)"), "\(name)") }
        for name in left { #expect(!SharedData.exists("\(folder.path)/\(name)"), "\(name)") }
    }
}
