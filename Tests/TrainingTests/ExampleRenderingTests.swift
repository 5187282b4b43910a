import Chat
import Foundation
import TestSupport
import Testing
import Training

/// Tokens of prompts and responses, beside those that the SimPO repository (on TRL 0.9.6) and TRL 0.29.1 make.
@Suite struct ExampleRenderingTests {
    // MARK: Goldens

    @Test(.enabled(if: RenderingGoldens.simpo != nil, "needs the golden rows"))
    func `The SimPO style makes the rows of its repository, at every length`() throws {
        let families = try #require(RenderingGoldens.simpo?["families"]?.object)
        var compared = 0
        for family in families.members {
            let folder = try TokenizerFolder(golden: family.value)
            let rendering = try folder.rendering(.simpo)
            let pairs = try (family.value["texts"]?.array ?? []).map { text in
                let line = text["messages"]?.object ?? text.object
                let object = try #require(line)
                return try rendering.pair(try PreferenceExample(json: .object(object)))
            }
            for row in family.value["rows"]?.array ?? [] {
                let place = try #require(row["text"]?.integer)
                let truncation = try #require(RowTruncation(golden: row))
                var (pair, findings) = pairs[place]
                if row["error"] != nil {
                    #expect(findings.contains(.boundaryMoved), "\(family.key) \(place): upstream cannot")
                    continue
                }
                _ = truncation.apply(to: &pair, keeping: nil)
                for side in ["chosen", "rejected"] {
                    let found = try #require(side == "chosen" ? pair.chosen : pair.rejected)
                    let start = try #require(row["\(side)_mask_len"]?.integer)
                    let ids = try #require(row["\(side)_ids"]).ids
                    let expected = TokenizedRow(
                        ids: ids, targets: start < ids.count ? [start..<ids.count] : [])
                    #expect(found == expected, "\(family.key) text \(place) \(side) \(truncation)")
                    compared += 1
                }
            }
        }
        #expect(compared > 0)
    }

    @Test(
        .enabled(if: RenderingGoldens.trl != nil, "needs the golden rows"),
        arguments: [RenderingStyle.trl029, .trl])
    func `TRL's style makes the rows of TRL, and the default begins them exactly once`(
        _ style: RenderingStyle
    ) throws {
        let goldens = try #require(RenderingGoldens.trl)
        let conversations = try #require(goldens["conversations"]?.array)
        for family in goldens["families"]?.object?.members ?? [] {
            let folder = try TokenizerFolder(golden: family.value)
            let rendering = try folder.rendering(style)
            func rows(_ key: String) throws -> [JSONValue] { try #require(family.value[key]?.array) }
            func begun(_ ids: [Int32]) -> [Int32] {
                guard style == .trl, let begin = family.value["bos_id"]?.integer.map(Int32.init) else {
                    return ids
                }
                return [begin] + ids.drop { $0 == begin }
            }
            func check(_ row: TokenizedRow?, _ prompt: [Int32], _ response: [Int32], _ name: Comment) {
                let (ids, start) = (begun(prompt + response), begun(prompt).count)
                #expect(row == TokenizedRow(ids: ids, targets: [start..<ids.count]), name)
            }
            for (index, conversation) in conversations.enumerated() {
                let name = Comment(rawValue: "\(family.key) \(index)")
                for key in ["dpo_conversational", "dpo_plain"] {
                    let golden = try rows(key)[index]
                    let (pair, _) = try rendering.pair(
                        try PreferenceExample(json: golden["text"] ?? conversation))
                    let prompt = try #require(golden["prompt_ids"]).ids
                    check(pair.chosen, prompt, try #require(golden["chosen_ids"]).ids, name)
                    check(pair.rejected, prompt, try #require(golden["rejected_ids"]).ids, name)
                }
                let prompt = try #require(conversation["prompt"]?.array)
                let chosen = try #require(conversation["chosen"]?.array)
                let completion = try rows("sft_prompt_completion")[index]
                let row = try rendering.row(.messages(prompt: prompt, response: chosen)).row
                let ids = try #require(completion["input_ids"]).ids
                let start = try #require(completion["completion_mask"]).ids.firstIndex(of: 1) ?? ids.count
                check(row, Array(ids[..<start]), Array(ids[start...]), name)
                let all = try rendering.row(conversation: prompt + chosen, trained: .all).row
                let messages = try rows("sft_messages")[index]
                let expected = begun(try #require(messages["input_ids"]).ids)
                #expect(all == TokenizedRow(ids: expected, targets: [0..<expected.count]), name)
                let text = rendering.row(text: try #require(chosen[0]["content"]?.string)).row
                let texts = try rows("sft_text")[index]
                let plain = begun(try #require(texts["input_ids"]).ids)
                #expect(text == TokenizedRow(ids: plain, targets: [0..<plain.count]), name)
            }
        }
    }

    // MARK: Our own

    @Test func `The header of the assistant's turn belongs to the prompt`() throws {
        let rendering = try TokenizerFolder().rendering(.trl)
        let row = try rendering.row(.hello("yes")).row
        #expect(row.text == "<s><|user|>\nhi</s>\n<|assistant|>\nyes</s>\n")
        #expect(row.trainedText == ["yes</s>\n"])
    }

    @Test func `In the SimPO style the header is response, and the end token comes again`() throws {
        let rendered = try TokenizerFolder().rendering(.simpo).row(.hello("yes"))
        #expect(rendered.row.text == "<s><|user|>\nhi</s>\n<|assistant|>\nyes</s>\n</s>")
        #expect(rendered.row.trainedText == ["<|assistant|>\nyes</s>\n</s>"])
        #expect(rendered.findings == [.endRepeated])
    }

    @Test func `In the SimPO style a template that knows system messages gets an empty one`() throws {
        let template = CheckpointFolder.chatTemplate + "{# system #}"
        let folder = try TokenizerFolder(template: template)
        let row = try folder.rendering(.simpo).row(.hello("yes")).row
        #expect(row.text.hasPrefix("<s><|system|>\n</s>\n<|user|>\nhi"))
        let trl = try folder.rendering(.trl).row(.hello("yes")).row
        #expect(trl.text.hasPrefix("<s><|user|>"))
    }

    @Test func `In the SimPO style a template that refuses a turn by itself is asked for all turns`()
        throws
    {
        let template = """
            {{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\
            {{ raise_exception('turns must alternate') }}{% endif %}\
            {{ '[' + m['content'] + ']' if m['role'] == 'user' else m['content'] + eos_token }}{% endfor %}
            """
        let folder = try TokenizerFolder(template: template)
        let row = try folder.rendering(.simpo).row(.hello("yes")).row
        #expect(row.text == "<s>[hi]yes</s>")
        #expect(row.trainedText == ["yes</s>"])
    }

    @Test func `A doubled beginning token is made one, and the end is trained as before`() throws {
        let folder = try TokenizerFolder(template: "{{ bos_token }}" + CheckpointFolder.chatTemplate)
        let rendered = try folder.rendering(.trl).row(.hello("yes"))
        #expect(rendered.row.text == "<s><|user|>\nhi</s>\n<|assistant|>\nyes</s>\n")
        #expect(rendered.row.trainedText == ["yes</s>\n"])
        #expect(rendered.findings == [.beginRepaired])
        let upstream = try folder.rendering(.trl029).row(.hello("yes")).row
        #expect(upstream.text.hasPrefix("<s><s><|user|>"))
    }

    @Test func `A beginning token is added where the tokenizer adds it, and nowhere else`() throws {
        let plain = PreferenceExample.Exchange.plain(prompt: "ab", response: "c")
        for (adds, text) in [(true, "<s>abc</s>"), (false, "abc</s>")] {
            let folder = try TokenizerFolder(addsBeginToken: adds)
            let row = try folder.rendering(.trl).row(plain).row
            #expect(row.text == text)
            #expect(row.trainedText == ["c</s>"])
            #expect(try folder.rendering(.simpo).row(plain).row.text == "<s>abc</s>")
        }
    }

    @Test func `A response that ends by itself gets no second end, and one that does not gets one`()
        throws
    {
        let plain = try TokenizerFolder().rendering(.trl)
        #expect(try plain.row(.plain(prompt: "ab", response: "c</s>")).row.trainedText == ["c</s>"])
        let endless = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        let row = try TokenizerFolder(template: endless).rendering(.trl)
            .row(.hello("yes")).row
        #expect(row.text == "user: hi\nassistant: yes\n</s>")
        let other = "{% for m in messages %}{{ m['content'] + '<|system|> ' }}{% endfor %}"
        let ended = try TokenizerFolder(template: other).rendering(.trl)
            .row(.hello("yes")).row
        #expect(ended.text == "hi<|system|> yes<|system|> ")
    }

    @Test func `Tokens that merge over the boundary are response, and counted`() throws {
        let folder = try TokenizerFolder(merges: ["a b", "c d", "ab cd"])
        for style in [RenderingStyle.trl, .simpo] {
            let rendering = try folder.rendering(style)
            let one = try rendering.row(.plain(prompt: "xa", response: "bx"))
            #expect(one.row.trainedText == ["abx</s>"])
            #expect(one.findings == [.boundaryMoved])
            // The whole has fewer tokens than the prompt alone.
            let two = try rendering.row(.plain(prompt: "xabc", response: "d"))
            #expect(two.row.trainedText == ["abcd</s>"])
            #expect(two.findings == [.boundaryMoved])
            let none = try rendering.row(.plain(prompt: "xa", response: "xb"))
            #expect(none.row.trainedText == ["xb</s>"])
            #expect(none.findings.isEmpty)
        }
        let upstream = try folder.rendering(.trl029)
            .row(.plain(prompt: "xa", response: "bx")).row
        #expect(upstream.text == "xax</s>")
    }

    @Test func `A template that opens turns with more than it leaves there keeps what is common`()
        throws
    {
        let template =
            "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] + eos_token }}{% endfor %}"
            + "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
        let rendered = try TokenizerFolder(template: template).rendering(.trl)
            .row(.hello("yes"))
        #expect(rendered.row.trainedText == ["yes</s>"])
        #expect(rendered.findings == [.boundaryMoved])
    }

    @Test func `A template that rewrites earlier turns is refused`() throws {
        let template =
            "{{ messages | length }}{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
        let rendering = try TokenizerFolder(template: template).rendering(.trl)
        let error = #expect(throws: TrainingError.self) { try rendering.row(.hello("yes")) }
        #expect(error?.description.contains("writes the turns before a response differently") == true)
        let turns: [JSONValue] = [.turn("user", "a"), .turn("assistant", "b"), .turn("user", "c")]
        let second = #expect(throws: TrainingError.self) {
            try rendering.row(conversation: turns, trained: .assistant)
        }
        #expect(second?.description.contains("writes turn 2 differently") == true)
    }

    // MARK: Demonstrations

    private static let talk: [JSONValue] = [
        .turn("user", "a"), .turn("assistant", "bé"), .turn("user", "c"), .turn("assistant", "d"),
    ]

    @Test func `Of a conversation all tokens, the assistant's or the last turn are trained`() throws {
        let rendering = try TokenizerFolder().rendering(.trl)
        func trained(_ tokens: TrainedTokens) throws -> [String] {
            try rendering.row(conversation: Self.talk, trained: tokens).row.trainedText
        }
        let text = "<s><|user|>\na</s>\n<|assistant|>\nbé</s>\n<|user|>\nc</s>\n<|assistant|>\nd</s>\n"
        #expect(try trained(.all) == [text])
        #expect(try trained(.assistant) == ["bé</s>\n", "d</s>\n"])
        #expect(try trained(.completion) == ["d</s>\n"])
    }

    @Test func `Generation blocks say which tokens are the assistant's`() throws {
        let template = """
            {{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>é' }}{% if m['role'] == 'assistant' %}\
            {% generation %}{{ m['content'] + eos_token }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}\
            {% endfor %}
            """
        let rendering = try TokenizerFolder(template: template).rendering(.trl)
        let rendered = try rendering.row(conversation: Self.talk, trained: .assistant)
        #expect(rendered.row.trainedText == ["bé</s>", "d</s>"])
        #expect(rendered.findings.isEmpty)
    }

    @Test func `A token that reaches into the assistant's words is trained, and counted`() throws {
        let template = """
            {% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}\
            {% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}
            """
        let folder = try TokenizerFolder(template: template, merges: ["a b"])
        let rendered = try folder.rendering(.trl).row(
            conversation: [.turn("user", "xa"), .turn("assistant", "bc")], trained: .assistant)
        #expect(rendered.row.trainedText == ["abc</s>"])
        #expect(rendered.findings == [.boundaryMoved])
    }

    @Test func `A conversation without an assistant's turn has no targets, and no completion`() throws {
        let rendering = try TokenizerFolder().rendering(.trl)
        let row = try rendering.row(conversation: [.turn("user", "a")], trained: .assistant).row
        #expect(row.targetCount == 0)
        #expect(throws: TrainingError.self) {
            try rendering.row(conversation: [.turn("user", "a")], trained: .completion)
        }
    }

    @Test func `Tools and the date reach the template, and the date stands still`() throws {
        let template = "{{ strftime_now('%Y') }}{{ tools[0].name }}" + CheckpointFolder.chatTemplate
        let rendering = try TokenizerFolder(template: template).rendering(.trl)
        let row = try rendering.row(.hello("yes"), tools: [["name": "clock"]]).row
        #expect(row.text.hasPrefix("2024clock<s>"))
    }

    @Test func `What a folder lacks is said`() throws {
        let bare = try TokenizerFolder(template: nil)
        let rendering = try bare.rendering(.trl)
        let noTemplate = #expect(throws: TrainingError.self) { try rendering.row(.hello("yes")) }
        #expect(noTemplate?.description.contains("has no chat template") == true)
        try bare.folder.write(#"{"bos_token": "<s>"}"#, "tokenizer_config.json")
        let noEnd = #expect(throws: TrainingError.self) { try bare.rendering(.trl) }
        #expect(noEnd?.description.contains("names no eos_token") == true)
        try bare.folder.write("{", "tokenizer.json")
        #expect(throws: TrainingError.self) { try bare.rendering(.trl) }
        let nowhere = #expect(throws: TrainingError.self) {
            try ExampleRendering(folder: "\(bare.path)/nowhere", style: .trl)
        }
        guard case .missingInput? = nowhere else {
            return #expect(Bool(false), "\(String(describing: nowhere))")
        }
    }

    @Test func `A template's refusal is passed on`() throws {
        let template =
            "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}x"
        let rendering = try TokenizerFolder(template: template).rendering(.trl)
        let error = #expect(throws: TrainingError.self) { try rendering.row(.hello("yes")) }
        #expect(error?.description.contains("one turn only") == true)
    }
}

// MARK: - Golden files and folders

enum RenderingGoldens {
    static let simpo = value("data/simpo_tokenize_row.json")
    static let trl = value("data/trl029_preprocessing.json")

    static func value(_ name: String) -> JSONValue? {
        let path = "\(SharedData.fixtures)/\(name)"
        return SharedData.exists(path) ? try? JSONValue(parsing: Array(SharedData.contents(path))) : nil
    }
}

/// A folder with a tokenizer, its configuration and a chat template.
struct TokenizerFolder {
    let folder: TemporaryFolder
    var path: String { folder.path }

    /// The byte tokenizer of `CheckpointFolder`, changed.
    init(
        template: String? = CheckpointFolder.chatTemplate, addsBeginToken: Bool = false,
        merges: [String] = []
    ) throws {
        let checkpoint = try CheckpointFolder()
        var tokenizer = try JSONValue(
            parsing: Array(SharedData.contents("\(checkpoint.path)/tokenizer.json"))
        ).object!
        var model = tokenizer["model"]!.object!
        var vocabulary = model["vocab"]!.object!
        for (place, merge) in merges.enumerated() {
            vocabulary[merge.filter { $0 != " " }] = .integer(261 + place)
        }
        model["vocab"] = .object(vocabulary)
        model["merges"] = .array(merges.map { .string($0) })
        tokenizer["model"] = .object(model)
        if addsBeginToken {
            tokenizer["post_processor"] = [
                "type": "TemplateProcessing",
                "single": [
                    ["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]],
                ],
                "pair": [], "special_tokens": ["<s>": ["id": "<s>", "ids": [256], "tokens": ["<s>"]]],
            ]
        }
        try self.init(
            tokenizer: Data(JSONValue.object(tokenizer).serialized()), begin: "<s>", end: "</s>",
            template: template)
    }

    func rendering(_ style: RenderingStyle) throws -> ExampleRendering {
        try ExampleRendering(folder: path, style: style)
    }

    /// A tokenizer of the golden files, with the tokens and the template that a family of rows has.
    init(golden family: JSONValue) throws {
        let name = try #require(family["tokenizer"]?.string)
        try self.init(
            tokenizer: try SharedData.contents(
                "\(SharedData.fixtures)/tokenizers/\(name)/tokenizer.json"),
            begin: (family["bos_token"] ?? family["bos"])?.string,
            end: try #require((family["eos_token"] ?? family["eos"])?.string),
            template: family["chat_template"]?.string)
    }

    private init(tokenizer: Data, begin: String?, end: String, template: String?) throws {
        folder = try TemporaryFolder()
        try folder.write(tokenizer, "tokenizer.json")
        let names: JSONObject = [
            "bos_token": JSONValue(begin), "eos_token": .string(end),
            "chat_template": JSONValue(template),
        ]
        try folder.write(JSONValue.object(names).text(), "tokenizer_config.json")
    }
}

// MARK: - Words for tests

extension JSONValue {
    var ids: [Int32] { (array ?? []).compactMap { $0.integer.map(Int32.init) } }

    static func turn(_ role: String, _ content: String) -> JSONValue {
        ["role": .string(role), "content": .string(content)]
    }
}

extension PreferenceExample {
    /// The one example of a file with this line.
    init(json: JSONValue) throws {
        let folder = try TemporaryFolder()
        let examples = try PreferenceExample.read(try folder.write(json.text() + "\n", "data.jsonl"))
        self = try #require(examples.first)
    }

    static func read(_ path: String) throws -> [PreferenceExample] {
        var examples: [PreferenceExample] = []
        _ = try PreferenceFile.read(path) { examples.append($0) }
        return examples
    }
}

extension PreferenceExample.Exchange {
    /// The user says hi.
    static func hello(_ response: String) -> Self {
        .messages(prompt: [.turn("user", "hi")], response: [.turn("assistant", response)])
    }
}

extension ExampleRendering {
    func pair(_ example: PreferenceExample) throws -> (TokenizedPair, Set<DataFinding>) {
        guard case .pair(let chosen, let rejected) = example.content else {
            throw CocoaError(.coderInvalidValue)
        }
        let rows = (try row(chosen, tools: example.tools), try row(rejected, tools: example.tools))
        return (
            TokenizedPair(chosen: rows.0.row, rejected: rows.1.row),
            rows.0.findings.union(rows.1.findings)
        )
    }
}

extension TokenizedRow {
    /// Text of the byte tokenizer's ids; merged tokens are those of the tests here.
    var text: String { TokenizedRow.text(ids[...]) }
    /// What is trained, target by target.
    var trainedText: [String] { targets.map { TokenizedRow.text(ids[$0]) } }

    private static func text(_ ids: ArraySlice<Int32>) -> String {
        let special = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
        let merged = ["ab", "cd", "abcd"]
        let bytes = ids.flatMap { id -> [UInt8] in
            switch id {
            case ..<256: [UInt8(id)]
            case ..<261: Array(special[Int(id) - 256].utf8)
            default: Array(merged[Int(id) - 261].utf8)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension RowTruncation {
    init?(golden row: JSONValue) {
        guard let length = row["max_length"]?.integer, let prompt = row["max_prompt_length"]?.integer,
            let kept = row["truncation_mode"]?.string.flatMap(Kept.init)
        else { return nil }
        self.init(maxLength: length, maxPromptLength: prompt, kept: kept)
    }
}
