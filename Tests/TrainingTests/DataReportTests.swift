import Chat
import Foundation
import LanguageModel
import TestSupport
import Testing
import Training

/// Data made ready in one call: which rows come out, and what is said of the rest.
@Suite struct DataReportTests {
    // MARK: Goldens

    private static let examples = RenderingGoldens.value("training/examples.json")
    private static let microBatches = RenderingGoldens.value("training/microbatches_trl096.json")

    private func row(_ ids: JSONValue?, _ labels: JSONValue?) throws -> TokenizedRow {
        let (ids, labels) = (try #require(ids).ids, try #require(labels).ids)
        let trained = labels.indices.filter { labels[$0] != -100 }
        let first = try #require(trained.first)
        return TokenizedRow(ids: ids, targets: [first..<first + trained.count])
    }

    private func goldenData(_ use: ExampleUse) throws -> (data: PreparedData, examples: [JSONValue]) {
        let examples = try #require(Self.examples?["examples"]?.array)
        let folder = try TemporaryFolder()
        let lines = examples.map { ($0["messages"] ?? .null).text() }.joined(separator: "\n")
        let settings = DataSettings(
            use: use, style: .simpo, truncation: RowTruncation(maxLength: 2_048, maxPromptLength: 1_800))
        let data = try PreparedData(
            files: [try folder.write(lines, "train.jsonl")],
            folder: "\(SharedData.fixtures)/training/tokenizer",
            settings: settings)
        return (data, examples)
    }

    @Test(.enabled(if: examples != nil, "needs the golden examples"))
    func `Rows of a file are those that the SimPO repository trains on`() throws {
        let (data, examples) = try goldenData(.pairs)
        #expect(data.pairs.count == examples.count)
        for (pair, example) in zip(data.pairs, examples) {
            #expect(try pair.chosen == row(example["chosen_input_ids"], example["chosen_labels"]))
            #expect(try pair.rejected == row(example["rejected_input_ids"], example["rejected_labels"]))
        }
    }

    @Test(.enabled(if: microBatches != nil, "needs the golden micro-batches"))
    func `Pairs read as judged rows are the rows of TRL's KTO`() throws {
        let data = try goldenData(.judged).data
        var compared = 0
        for batch in try #require(Self.microBatches?["kto_micro"]?.array) {
            for (place, label) in (batch["label"]?.array ?? []).enumerated() {
                let mask = try #require(batch["completion_attention_mask"]?[place]).ids.filter { $0 == 1 }
                    .count
                func unpadded(_ key: String) -> JSONValue {
                    .array(Array((batch[key]?[place]?.array ?? []).prefix(mask)))
                }
                let row = try row(unpadded("completion_input_ids"), unpadded("completion_labels"))
                let pair = TokenizedPair(
                    chosen: label == true ? row : nil, rejected: label == true ? nil : row)
                #expect(data.pairs.contains(pair))
                compared += 1
            }
        }
        #expect(compared > 0)
    }

    @Test(.enabled(if: RenderingGoldens.trl != nil, "needs the golden rows"))
    func `Pairs become judged rows in TRL's order`() throws {
        let golden = try #require(RenderingGoldens.trl)
        let family = try #require(golden["families"]?["qwen2"])
        let tokenizer = try TokenizerFolder(golden: family)
        let folder = try TemporaryFolder()
        func data(_ key: String) throws -> PreparedData {
            let lines = try #require(golden[key]?.array).map { $0.text() }.joined(separator: "\n")
            return try PreparedData(
                files: [try folder.write(lines, "\(key).jsonl")], folder: tokenizer.path,
                settings: DataSettings(use: .judged, truncation: RowTruncation(maxLength: 4_096)))
        }
        let pairs = try data("conversations")
        #expect(try pairs.pairs == data("unpaired").pairs)
        #expect(try pairs.fingerprint == data("unpaired").fingerprint)
    }

    // MARK: Our own

    private func settings(
        _ use: ExampleUse = .pairs, _ length: Int = 1_000, _ rules: DataRules = DataRules()
    ) -> DataSettings {
        DataSettings(use: use, truncation: RowTruncation(maxLength: length), rules: rules)
    }

    private func prepare(_ lines: [String], _ settings: DataSettings) throws -> PreparedData {
        let tokenizer = try TokenizerFolder()
        let path = try tokenizer.folder.write(lines.joined(separator: "\n"), "train.jsonl")
        return try PreparedData(files: [path], folder: tokenizer.path, settings: settings)
    }

    private func pair(_ prompt: String, _ chosen: String, _ rejected: String, _ more: String = "")
        -> String
    {
        #"{"prompt": "\#(prompt)", "chosen": "\#(chosen)", "rejected": "\#(rejected)"\#(more)}"#
    }

    private func entry(_ data: PreparedData, _ finding: DataFinding) -> [Int] {
        let entry = data.report.findings.first { $0.finding == finding }
        return entry.map { [$0.count, $0.dropped] } ?? []
    }

    @Test func `Rows are held against the model's vocabulary and positions`() throws {
        let checkpoint = try CheckpointFolder()
        let path = try checkpoint.folder.write(pair("Say a.", "aaaa", "b"), "train.jsonl")
        let data = try PreparedData(files: [path], folder: checkpoint.path, settings: settings())
        let longest = try #require(data.pairs.flatMap(\.rows).map(\.ids.count).max())
        var model = try Checkpoint(folder: checkpoint.path).configuration
        model.positionLimit = longest
        try data.check(for: model, in: "base")
        model.positionLimit = longest - 1
        let long = #expect(throws: TrainingError.self) { try data.check(for: model, in: "base") }
        #expect(long?.description.contains("Set max_length to \(longest - 1)") == true)
        model.vocabularySize = 97
        let unknown = #expect(throws: TrainingError.self) { try data.check(for: model, in: "base") }
        #expect(unknown?.description.contains("vocab_size 97") == true)
    }

    @Test func `Empty prompts, empty turns and rows that are the same once cut are found`() throws {
        let parted = try? prepare([#"{"chosen": "yes", "rejected": "no"}"#, pair("a", "b", "c")], settings())
        #expect(parted.map { entry($0, .emptyPrompt) } == [1, 1])
        let silent = #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]}"#
        let spoken = #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#
        let turns = try prepare([silent, spoken], settings(.demonstrations(.assistant)))
        #expect(entry(turns, .emptyResponse) == [1, 1])
        let long = String(repeating: "x", count: 40)
        let judged = try prepare([pair("a", "1" + long, "2" + long), pair("a", "b", "c")], settings(.judged, 12))
        #expect(entry(judged, .identical) == [2, 2])
        #expect(judged.pairs.count == 2)
    }

    @Test func `What cannot teach is dropped, and every line is accounted for`() throws {
        let data = try prepare(
            [
                pair("a", "b", "c"), pair("a", "b", "c"), pair("a", "b", "b"), pair("a", "", "c"),
                pair("a", "b", " "),
                #"{"chosen": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "#
                    + #""rejected": [{"role": "user", "content": "z"}, {"role": "assistant", "content": "y"}]}"#,
                pair("a", "d", "e", #", "score_chosen": 7, "score_rejected": 7.0"#), pair("a", "c", "b"),
            ], settings())
        #expect(data.pairs.map { $0.chosen?.text } == ["ab</s>", "ad</s>", "ac</s>"])
        #expect(data.lines == ["1 of train.jsonl", "7 of train.jsonl", "8 of train.jsonl"])
        #expect(data.report.read == 8)
        #expect(data.report.kept == 3)
        #expect(
            data.report.findings.map(\.finding) == [
                .promptDiffers, .emptyResponse, .identical, .duplicate, .tiedScores,
            ])
        #expect(entry(data, .emptyResponse) == [2, 2])
        #expect(entry(data, .duplicate) == [1, 1])
        #expect(entry(data, .tiedScores) == [1, 0])
        #expect(data.report.findings[1].lines == ["4 of train.jsonl", "5 of train.jsonl"])
        #expect(data.report.findings.map(\.dropped).reduce(0, +) + data.report.kept == data.report.read)
        #expect(data.files[0].sha256.count == 64)
    }

    @Test func `A response that is both chosen and rejected is neither good nor bad`() throws {
        let data = try prepare([pair("a", "b", "b"), pair("a", "c", "d")], settings(.judged))
        #expect(data.pairs.map { $0.rows[0].text } == ["ac</s>", "ad</s>"])
        #expect(entry(data, .identical) == [2, 2])
    }

    @Test func `Rules say what is dropped, what is kept and what ends the preparation`() throws {
        let lines = [
            pair("a", "b", "c", #", "score_chosen": 1, "score_rejected": 1"#), pair("a", "b", "c"),
        ]
        var rules = DataRules()
        rules.dropped = [.tiedScores]
        #expect(try prepare(lines, settings(.pairs, 1_000, rules)).lines == ["2 of train.jsonl"])
        rules.dropped = []
        #expect(try prepare(lines, settings(.pairs, 1_000, rules)).pairs.count == 2)
        rules.refused = [.duplicate]
        let error = #expect(throws: TrainingError.self) {
            try prepare(lines, settings(.pairs, 1_000, rules))
        }
        #expect(
            error?.description
                == "line 2 of train.jsonl: the same tokens as an earlier example. Correct or remove it")
    }

    @Test func `Rows without targets are never kept`() throws {
        var rules = DataRules()
        rules.dropped = []
        let settings = DataSettings(
            use: .pairs, truncation: RowTruncation(maxLength: 3, kept: .start), rules: rules)
        let data = try prepare([pair("abc", "b", "c"), pair("a", "b", "c")], settings)
        #expect(data.lines == ["2 of train.jsonl"])
        #expect(entry(data, .noTargets) == [1, 1])
        #expect(entry(data, .promptTooLong) == [1, 0])
        #expect(entry(data, .responseTruncated) == [1, 0])
        #expect(entry(data, .endLost) == [1, 0])
    }

    @Test func `Long prompts are cut, or dropped by rule`() throws {
        let lines = [pair("abcdef", "b", "c"), pair("a", "b", "c")]
        var settings = DataSettings(
            use: .pairs, truncation: RowTruncation(maxLength: 6, maxPromptLength: 3))
        let cut = try prepare(lines, settings)
        #expect(cut.pairs.map { $0.chosen?.text } == ["defb</s>", "ab</s>"])
        #expect(entry(cut, .promptTruncated) == [1, 0])
        settings.rules.dropped.insert(.promptTooLong)
        #expect(try prepare(lines, settings).lines == ["2 of train.jsonl"])
    }

    @Test func `An objective takes the examples that it can use`() throws {
        let judged = #"{"prompt": "a", "completion": "b", "label": false}"#
        let demonstration = #"{"prompt": "a", "completion": "b"}"#
        let both = try prepare([pair("a", "b", "c"), pair("d", "e", "f"), judged], settings(.judged))
        #expect(both.pairs.map { $0.chosen?.text ?? "" } == ["ab</s>", "de</s>", "", "", ""])
        #expect(both.pairs.map { $0.rejected?.text ?? "" } == ["", "", "ab</s>", "ac</s>", "df</s>"])
        #expect(both.lines.map { $0.prefix(1) } == ["1", "2", "3", "1", "2"])
        let rows = try prepare(
            [pair("a", "b", "c"), #"{"prompt": "d", "completion": "e"}"#, #"{"text": "f"}"#],
            settings(.demonstrations(.assistant)))
        #expect(rows.pairs.map { $0.chosen?.trainedText } == [["b</s>"], ["e</s>"], ["f</s>"]])
        #expect(rows.pairs.allSatisfy { $0.rejected == nil })
        let all = try prepare([demonstration], settings(.demonstrations(.all)))
        #expect(all.pairs.map { $0.chosen?.trainedText } == [["ab</s>"]])
        for (line, use, sentence) in [
            (
                demonstration, ExampleUse.pairs,
                "train.jsonl, line 1: the objective compares, and this is no pair"
            ),
            (judged, .pairs, "and this is no pair"), (demonstration, .judged, "takes judged completions"),
            (judged, .demonstrations(.all), "not a demonstration"),
        ] {
            let error = #expect(throws: TrainingError.self) { try prepare([line], settings(use)) }
            #expect(error?.description.contains(sentence) == true, "\(String(describing: error))")
        }
    }

    @Test func `Chosen rows come before rejected ones a thousand pairs at a time`() throws {
        let lines = (0..<1_001).map { pair("\($0)", "x", "y") }
        let data = try prepare(lines, settings(.judged))
        #expect(data.pairs.count == 2_002)
        #expect(
            data.pairs.map { $0.chosen != nil } == [true, false].flatMap {
                Array(repeating: $0, count: 1_000)
            } + [true, false])
        #expect(data.lines[1_000] == "1 of train.jsonl")
        #expect(data.lines[2_001] == "1001 of train.jsonl")
    }

    @Test func `Faults in a template name the line`() throws {
        let tokenizer = try TokenizerFolder(template: "{{ raise_exception('no') }}")
        let path = try tokenizer.folder.write(
            "\n" + #"{"messages": [{"role": "user", "content": "a"}]}"#, "train.jsonl")
        let error = #expect(throws: TrainingError.self) {
            try PreparedData(
                files: [path], folder: tokenizer.path, settings: settings(.demonstrations(.all)))
        }
        #expect(error?.description.contains("train.jsonl, line 2: Chat template") == true)
    }

    @Test func `Settings that make no sense are refused before anything is read`() {
        for settings in [
            DataSettings(use: .pairs, truncation: RowTruncation(maxLength: 8, maxPromptLength: 8)),
            DataSettings(
                use: .demonstrations(.all), truncation: RowTruncation(maxLength: 8, maxPromptLength: 4)),
        ] {
            let error = #expect(throws: TrainingError.self) {
                try PreparedData(files: ["/nowhere/a.jsonl"], folder: "/nowhere", settings: settings)
            }
            guard case .configuration? = error else {
                return #expect(Bool(false), "\(String(describing: error))")
            }
        }
    }

    @Test func `Where nothing is left the reasons are given`() throws {
        let error = #expect(throws: TrainingError.self) {
            try prepare([pair("a", "b", "b")], settings())
        }
        #expect(
            error?.description == """
                no example is left to train on. 1 examples read, 0 rows to train on.
                  1, 1 dropped: chosen and rejected are the same tokens (line 1)
                  prompt: 1 tokens on average, 1 at most (1 up to 16)
                  chosen: 2 tokens on average, 2 at most (1 up to 16)
                  rejected: 2 tokens on average, 2 at most (1 up to 16)
                """)
    }

    @Test func `The report reads as a text and as JSON`() throws {
        let long = String(repeating: "x", count: 40)
        let lines = [pair("a", "b", long)] + (0..<7).map { _ in pair("a", "b", long) }
        let report = try prepare(lines, settings()).report
        #expect(
            report.text == """
                8 examples read, 1 rows to train on.
                  7, 7 dropped: the same tokens as an earlier example (lines 2, 3, 4, 5, 6, …)
                  prompt: 1 tokens on average, 1 at most (8 up to 16)
                  chosen: 2 tokens on average, 2 at most (8 up to 16)
                  rejected: 41 tokens on average, 41 at most (8 up to 64)
                a⟦b</s>⟧
                """)
        let json = JSONValue.object(report.json)
        #expect(json["findings"]?["duplicate"]?["count"] == 7)
        #expect(json["findings"]?["duplicate"]?["dropped"] == 7)
        #expect(json["rejected_tokens"]?["up_to"] == ["16": 0, "32": 0, "64": 8])
        #expect(json["files"]?[0]?["sha256"]?.string?.count == 64)
        let coded = try JSONDecoder().decode(DataReport.self, from: try JSONEncoder().encode(report))
        #expect(coded == report)
    }

    @Test func `A long first example is shown by its ends`() throws {
        let report = try prepare([pair("a", String(repeating: "é", count: 450), "c")], settings())
            .report
        let ends = (String(repeating: "é", count: 200), String(repeating: "é", count: 196))
        #expect(report.firstExample == "a⟦\(ends.0) […] \(ends.1)</s>⟧")
    }

    @Test func `The fingerprint is that of the rows, and of nothing else`() throws {
        let lines = [pair("a", "b", "c"), pair("a", "b", "d")]
        let first = try prepare(lines, settings()).fingerprint
        // SHA-256 over counts, targets and ids as little-endian 32-bit integers, row by row; -1 for an absent row.
        let numbers: [[Int32]] = [
            [3, 1, 1, 3, 97, 98, 257], [3, 1, 1, 3, 97, 99, 257], [3, 1, 1, 3, 97, 98, 257],
            [3, 1, 1, 3, 97, 100, 257],
        ]
        let bytes = numbers.joined().flatMap { id in withUnsafeBytes(of: id.littleEndian, Array.init) }
        #expect(first == Digest.sha256(bytes))
        #expect(try prepare([lines[0], lines[0], lines[1]], settings()).fingerprint == first)
        #expect(try prepare([lines[1], lines[0]], settings()).fingerprint != first)
        #expect(try prepare([lines[0]], settings()).fingerprint != first)
        let demonstrations = try prepare(lines, settings(.demonstrations(.completion))).fingerprint
        #expect(try prepare(lines, settings(.demonstrations(.all))).fingerprint != demonstrations)
    }

    @Test func `Several files are one set`() throws {
        let tokenizer = try TokenizerFolder()
        let paths = try ["a", "b"].map { try tokenizer.folder.write(pair("p", "x", $0), "\($0).jsonl") }
        let data = try PreparedData(files: paths, folder: tokenizer.path, settings: settings())
        #expect(data.lines == ["1 of a.jsonl", "1 of b.jsonl"])
        #expect(data.files.map(\.path) == paths)
        let twice = try PreparedData(files: paths + paths, folder: tokenizer.path, settings: settings())
        #expect(
            twice.report.text.contains(
                "2, 2 dropped: the same tokens as an earlier example (lines 1 of a.jsonl, 1 of b"))
    }

    @Test func `A beginning token survives the cut of a prompt, but in the SimPO style`() throws {
        let tokenizer = try TokenizerFolder(addsBeginToken: true)
        let path = try tokenizer.folder.write(pair("abcdef", "x", "y"), "train.jsonl")
        var settings = DataSettings(
            use: .pairs, truncation: RowTruncation(maxLength: 6, maxPromptLength: 3))
        let kept = try PreparedData(files: [path], folder: tokenizer.path, settings: settings)
        #expect(kept.pairs[0].chosen?.text == "<s>efx</s>")
        settings.style = .simpo
        let cut = try PreparedData(files: [path], folder: tokenizer.path, settings: settings)
        #expect(cut.pairs[0].chosen?.text == "defx</s>")
    }
}
