import Chat
import Serving
import Testing

@Suite struct CompletionTests {
    let model = ScriptedModel { _ in "ab" }
    let server: ModelServer

    init() throws { server = try ModelServer(model.served()) }

    private func complete(_ more: JSONObject) async throws -> Client.Reply {
        var body: JSONObject = ["model": "org/scripted"]
        for member in more.members { body[member.key] = member.value }
        return try await Client.post(server, "/v1/completions", .object(body))
    }

    private static let prompts: [(JSONValue, [[Int32]])] = [
        ("Hi", [[256, 72, 105]]), (["Hi", "é"], [[256, 72, 105], [256, 0xC3, 0xA9]]), ([72, 105], [[72, 105]]),
        ([[72], [105, 257]], [[72], [105, 257]]),
    ]

    @Test(arguments: Self.prompts)
    func `A prompt is a text, texts, ids or lists of ids`(prompt: JSONValue, ids: [[Int32]]) async throws {
        let reply = try await complete(["prompt": prompt])
        #expect(reply.status == 200)
        #expect(Set(model.calls.withLock { $0.map(\.prompt) }) == Set(ids))
        #expect(model.calls.withLock { $0[0].request.maxTokens } == 16)
        #expect(reply.json["object"] == "text_completion")
        #expect(reply.json["choices"]?.array?.compactMap { $0["text"]?.string } == ids.map { _ in "ab" })
        #expect(reply.json["choices"]?.array?.compactMap { $0["index"]?.integer } == Array(ids.indices))
        #expect(reply.json["usage"]?["prompt_tokens"]?.integer == ids.reduce(0) { $0 + $1.count })
    }

    private static let otherPrompts: [JSONValue] = [
        [], "", [""], [[]], [258], [-1], [1.5], ["a", 1], [["a"]], true, .null,
    ]

    @Test(arguments: Self.otherPrompts)
    func `Any other prompt is refused`(prompt: JSONValue) async throws {
        let reply = try await complete(["prompt": prompt])
        // A text of nothing is still the tokenizer's beginning.
        #expect(reply.status == (prompt == "" || prompt == [""] ? 200 : 400))
    }

    @Test func `Log-probabilities are parallel lists, the end token among them`() async throws {
        let reply = try await complete(["prompt": "Hi", "logprobs": 1])
        #expect(
            reply.json["choices"]?[0]?["logprobs"] == [
                "tokens": ["a", "b", "<end>"], "token_logprobs": [-0.5, -1.53125, -0.25],
                "top_logprobs": [["a": -0.5], ["a": -0.5, "b": -1.53125], ["<end>": -0.25]], "text_offset": [0, 1, 2],
            ])
        #expect(reply.json["choices"]?[0]?["finish_reason"] == "stop")
    }

    @Test func `An echo with log-probabilities scores the prompt, as harnesses read it`() async throws {
        // The text of a continuation is scored by token ids, an echo and one token that is thrown away.
        let body: JSONObject = ["prompt": [[72, 97, 0xC3, 0xA9], [97]], "echo": true, "logprobs": 1, "max_tokens": 1]
        let choices = try (try await complete(body).json["choices"]?.array).required()
        #expect(choices[0]["text"] == "Haéa")
        #expect(choices[0]["logprobs"]?["tokens"] == ["H", "a", "bytes:\\xc3", "bytes:\\xa9", "a"])
        #expect(choices[0]["logprobs"]?["token_logprobs"] == [.null, -0.5, -3.046875, -2.640625, -0.5])
        #expect(choices[0]["logprobs"]?["top_logprobs"]?[0] == .null)
        #expect(choices[0]["logprobs"]?["top_logprobs"]?[2] == ["a": -0.5, "bytes:\\xc3": -3.046875])
        #expect(choices[0]["logprobs"]?["text_offset"] == [0, 1, 2, 3, 3])
        #expect(choices[1]["logprobs"]?["tokens"] == ["a", "a"])
    }

    @Test func `An echo of no tokens asks nothing of the model`() async throws {
        let reply = try await complete(["prompt": "Hi", "echo": true, "logprobs": 0, "max_tokens": 0, "n": 2])
        #expect(reply.status == 200)
        #expect(reply.json["choices"]?[1]?["text"] == "Hi")
        #expect(reply.json["choices"]?[1]?["logprobs"]?["tokens"] == ["<begin>", "H", "i"])
        #expect(reply.json["choices"]?[1]?["logprobs"]?["text_offset"] == [0, 0, 1])
        #expect(reply.json["choices"]?[0]?["finish_reason"] == "length")
        #expect(reply.json["usage"]?["completion_tokens"] == 0)
        #expect(model.counts.withLock { $0.started } == 0)
    }

    @Test(arguments: [true, false])
    func `A stream says what the whole says`(streamsTokens: Bool) async throws {
        let server = try ModelServer(ScriptedModel(streamsTokens: streamsTokens) { _ in "çb" }.served())
        var body: JSONObject = ["model": "org/scripted", "prompt": ["é", "H"], "echo": true, "logprobs": 2]
        let whole = try await Client.post(server, "/v1/completions", .object(body))
        body["stream"] = true
        let reply = try await Client.post(server, "/v1/completions", .object(body))
        #expect(reply.events.last == "[DONE]")
        #expect(reply.chunks.allSatisfy { $0["object"] == "text_completion" })
        for index in 0..<2 {
            let own = reply.chunks.compactMap { $0["choices"]?[0] }.filter { $0["index"]?.integer == index }
            let wanted = try (whole.json["choices"]?[index]).required()
            #expect(own.compactMap { $0["text"]?.string }.joined() == wanted["text"]?.string)
            #expect(own.last?["finish_reason"] == wanted["finish_reason"])
            for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let streamed = own.flatMap { $0["logprobs"]?[name]?.array ?? [] }
                #expect(JSONValue.array(streamed) == wanted["logprobs"]?[name])
            }
        }
    }

    @Test func `More prompts than the model takes at once wait for their turn`() async throws {
        let server = try ModelServer(model.served(concurrency: 3))
        let prompts = JSONValue.array((0..<40).map { .string("\($0)") })
        let body: JSONValue = ["model": "org/scripted", "prompt": prompts, "n": 2]
        let reply = try await Client.post(server, "/v1/completions", body)
        #expect(reply.json["choices"]?.array?.compactMap { $0["index"]?.integer } == Array(0..<80))
        #expect(model.counts.withLock { $0.mostInFlight } <= 3)
        #expect(model.counts.withLock { $0.started } == 80)
    }

    private static let refused: [JSONObject] = [
        ["suffix": "x"], ["best_of": 2], ["logprobs": true], ["logprobs": 21], ["max_tokens": -1], ["messages": []],
        ["max_completion_tokens": 3],
    ]

    @Test(arguments: Self.refused)
    func `What this interface does not offer is refused by name`(field: JSONObject) async throws {
        var body = field
        body["prompt"] = "Hi"
        let reply = try await complete(body)
        #expect(reply.status == 400)
        #expect(reply.error["param"]?.string == field.keys[0])
    }
}
