import Chat
import Serving
import Testing

@Suite struct ChatCompletionTests {
    let model = ScriptedModel { _ in "Ja, ça va 🦊!" }
    let server: ModelServer

    init() throws {
        var settings = ModelServer.Settings()
        settings.freshSeed = { 7 }
        server = try ModelServer(model.served(), settings: settings)
    }

    private func chat(_ more: JSONObject = [:], content: JSONValue = "Hi") async throws -> Client.Reply {
        var body: JSONObject = ["model": "org/scripted", "messages": [["role": "user", "content": content]]]
        for member in more.members { body[member.key] = member.value }
        return try await Client.post(server, "/v1/chat/completions", .object(body))
    }

    @Test func `An answer has OpenAI's layout and its usage`() async throws {
        let reply = try await chat(["max_tokens": 40])
        #expect(reply.status == 200)
        #expect(reply.headers["content-type"] == "application/json")
        #expect(
            reply.json.object?.keys.sorted() == [
                "choices", "created", "id", "model", "object", "system_fingerprint", "usage",
            ])
        #expect(reply.json["object"] == "chat.completion")
        #expect(reply.json["model"] == "org/scripted")
        #expect(reply.json["system_fingerprint"] == "local:abc")
        #expect(reply.json["id"]?.string?.hasPrefix("chatcmpl-") == true)
        #expect(
            reply.json["choices"] == [
                [
                    "index": 0, "message": ["role": "assistant", "content": "Ja, ça va 🦊!", "refusal": .null],
                    "logprobs": .null, "finish_reason": "stop",
                ]
            ])
        #expect(reply.json["usage"] == ["prompt_tokens": 2, "completion_tokens": 17, "total_tokens": 19])
    }

    @Test func `The longest answer without a limit is what the context leaves, and a limit is kept`() async throws {
        let open = try await chat()
        #expect(model.calls.withLock { $0[0].request.maxTokens } == 63)
        #expect(open.json["choices"]?[0]?["finish_reason"] == "stop")
        let short = try await chat(["max_completion_tokens": 3])
        #expect(short.json["choices"]?[0]?["message"]?["content"] == "Ja,")
        #expect(short.json["choices"]?[0]?["finish_reason"] == "length")
        #expect(short.json["usage"]?["completion_tokens"] == 3)
    }

    @Test func `A stream says the same as the whole answer, in whole characters`() async throws {
        let reply = try await chat(["stream": true, "stream_options": ["include_usage": true]])
        #expect(reply.status == 200)
        #expect(reply.headers["content-type"] == "text/event-stream")
        #expect(reply.events.last == "[DONE]")
        let chunks = reply.chunks
        #expect(chunks.allSatisfy { $0["object"] == "chat.completion.chunk" && $0["id"] == chunks[0]["id"] })
        let deltas = chunks.compactMap { $0["choices"]?[0]?["delta"] }
        #expect(deltas.first == ["role": "assistant", "content": ""])
        #expect(deltas.last == [:])
        let texts = deltas.dropFirst().compactMap { $0["content"]?.string }
        #expect(texts == "Ja, ça va 🦊!".map(String.init))
        let reasons = chunks.compactMap { $0["choices"]?[0]?["finish_reason"]?.string }
        #expect(reasons == ["stop"])
        #expect(chunks.last?["choices"] == [])
        #expect(chunks.last?["usage"] == ["prompt_tokens": 2, "completion_tokens": 17, "total_tokens": 19])
        #expect(chunks.dropLast().allSatisfy { $0["usage"]?.isNull == true })
    }

    @Test func `Log-probabilities carry each token's exact bytes`() async throws {
        let reply = try await chat(["logprobs": true, "top_logprobs": 2, "max_tokens": 6])
        let content = try (reply.json["choices"]?[0]?["logprobs"]?["content"]?.array).required()
        #expect(content.count == 6)
        #expect(
            content[1] == [
                "token": "a", "logprob": -0.5, "bytes": [97],
                "top_logprobs": [
                    ["token": "a", "logprob": -0.5, "bytes": [97]], ["token": "b", "logprob": -1.5, "bytes": [98]],
                ],
            ])
        #expect(content[4]["token"] == "\\xc3")
        #expect(content[4]["bytes"] == [0xC3])
        let plain = try await chat(["logprobs": true])
        #expect(plain.json["choices"]?[0]?["logprobs"]?["content"]?[0]?["top_logprobs"] == [])
        let bytes = plain.json["choices"]?[0]?["logprobs"]?["content"]?.array?.flatMap { $0["bytes"]?.array ?? [] }
        #expect(bytes?.compactMap { $0.integer.map(UInt8.init) } == Array("Ja, ça va 🦊!".utf8))
    }

    @Test(arguments: [true, false])
    func `A stream's log-probabilities are those of the whole answer, with the pieces or behind them`(
        streamsTokens: Bool
    ) async throws {
        let model = ScriptedModel(streamsTokens: streamsTokens) { _ in "é!" }
        let server = try ModelServer(model.served())
        var body: JSONObject = [
            "model": "org/scripted", "messages": [["role": "user", "content": "Hi"]], "logprobs": true,
        ]
        let whole = try await Client.post(server, "/v1/chat/completions", .object(body))
        body["stream"] = true
        let chunks = try await Client.post(server, "/v1/chat/completions", .object(body)).chunks
        let streamed = chunks.flatMap { $0["choices"]?[0]?["logprobs"]?["content"]?.array ?? [] }
        #expect(streamed.count == 3)
        #expect(JSONValue.array(streamed) == whole.json["choices"]?[0]?["logprobs"]?["content"])
        let texts = chunks.compactMap { $0["choices"]?[0]?["delta"]?["content"]?.string }
        #expect(texts.filter { !$0.isEmpty } == ["é", "!"])
    }

    @Test func `Samples differ by their number alone, and the client's seed is kept`() async throws {
        let reply = try await chat(["n": 3, "seed": -1])
        #expect(reply.json["choices"]?.array?.compactMap { $0["index"]?.integer } == [0, 1, 2])
        let calls = model.calls.withLock { $0 }
        #expect(Set(calls.map(\.request.sample)) == [0, 1, 2])
        #expect(calls.allSatisfy { $0.request.seed == .max && $0.count == 1 })
        _ = try await chat()
        #expect(model.calls.withLock { $0.last?.request.seed } == 7)
    }

    @Test func `A stream of several samples tells them apart`() async throws {
        let chunks = try await chat(["n": 2, "stream": true]).chunks
        for index in 0..<2 {
            let own = chunks.compactMap { $0["choices"]?[0] }.filter { $0["index"]?.integer == index }
            #expect(own.compactMap { $0["delta"]?["content"]?.string }.joined() == "Ja, ça va 🦊!")
            #expect(own.compactMap { $0["finish_reason"]?.string } == ["stop"])
        }
    }

    @Test func `The best answers of a beam search come from one search`() async throws {
        let reply = try await chat(["n": 2, "num_beams": 4, "length_penalty": 0.5, "early_stopping": "never"])
        let texts = reply.json["choices"]?.array?.compactMap { $0["message"]?["content"]?.string }
        #expect(texts == ["Ja, ça va 🦊!", "Ja, ça va 🦊!#1"])
        let calls = model.calls.withLock { $0 }
        #expect(calls.map(\.count) == [2])
        #expect(calls[0].request.decoding == .beam(width: 4, lengthPenalty: 0.5, earlyStopping: .never))
        let streamed = try await chat(["n": 2, "use_beam_search": true, "best_of": 4, "stream": true]).chunks
        #expect(streamed.compactMap { $0["choices"]?[0]?["delta"]?["content"]?.string }.count == 4)
    }

    private static let decodings: [(JSONObject, Decoding)] = [
        ([:], Decoding.sampling(temperature: 1, topK: nil, topP: nil, minP: nil)),
        (["temperature": 0], .greedy),
        (["temperature": 0, "top_p": 0.9], .greedy),
        (
            ["temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05],
            .sampling(temperature: 0.7, topK: 40, topP: 0.9, minP: 0.05)
        ),
        (["top_k": -1, "temperature": .null], .sampling(temperature: 1, topK: nil, topP: nil, minP: nil)),
        (["num_beams": 1, "temperature": 0], .greedy),
        (["num_beams": 5], .beam(width: 5, lengthPenalty: 1, earlyStopping: .heuristic)),
        (
            ["use_beam_search": true, "best_of": 3, "temperature": 0, "early_stopping": true],
            .beam(width: 3, lengthPenalty: 1, earlyStopping: .always)
        ),
    ]

    @Test(arguments: Self.decodings)
    func `Fields become a decoding`(fields: JSONObject, decoding: Decoding) async throws {
        #expect(try await chat(fields).status == 200)
        #expect(model.calls.withLock { $0.last?.request.decoding } == decoding)
    }

    @Test func `Stops, penalty, roles and parts reach the model`() async throws {
        let body: JSONValue = [
            "model": "org/scripted", "repetition_penalty": 1.2, "stop": ["\n", "b", "c", "d", "e"],
            "messages": [
                ["role": "developer", "content": "Be brief."],
                ["role": "user", "content": [["type": "text", "text": "One"], ["type": "text", "text": "two"]]],
                ["role": "assistant", "content": "Three", "refusal": .null, "tool_calls": []],
                ["role": "user", "content": "?"],
            ],
        ]
        #expect(try await Client.post(server, "/v1/chat/completions", body).status == 200)
        let request = try model.calls.withLock { $0.last?.request }.required()
        #expect(
            request.messages == [
                Message(role: .system, content: "Be brief."), .user("One\ntwo"),
                Message(role: .assistant, content: "Three"), .user("?"),
            ])
        #expect(request.stop == ["\n", "b", "c", "d", "e"])
        #expect(request.repetitionPenalty == 1.2)
        _ = try await chat(["stop": "end"])
        #expect(model.calls.withLock { $0.last?.request.stop } == ["end"])
    }

    @Test func `What decides nothing is accepted`() async throws {
        let reply = try await chat([
            "user": "me", "metadata": ["a": "b"], "store": true, "frequency_penalty": 0, "presence_penalty": 0.0,
            "tools": [], "tool_choice": "none", "logit_bias": [:], "response_format": ["type": "text"], "n": .null,
            "logprobs": false, "top_logprobs": 0, "best_of": 1, "parallel_tool_calls": true, "stop": .null,
        ])
        #expect(reply.status == 200, "\(reply.text)")
        #expect(model.calls.withLock { $0.last?.request.topLogprobs } == nil)
    }

    private static let refused: [JSONObject] = [
        ["frequency_penalty": 0.5], ["presence_penalty": -1], ["tools": [["type": "function"]]],
        ["response_format": ["type": "json_object"]], ["logit_bias": ["50256": -100]], ["best_of": 2],
        ["suffix": "x"], ["echo": true], ["spelled_wrong": 1], ["temperature": -0.1], ["temperature": "hot"],
        ["top_p": 1.5], ["top_k": 0.5], ["min_p": 2], ["n": 0], ["n": 129], ["max_tokens": 0], ["max_tokens": 1.5],
        ["top_logprobs": 5], ["logprobs": 3], ["stop": ""], ["stop": ["a", 1]], ["seed": 1.5], ["stream": 1],
        ["stream_options": true], ["num_beams": 300], ["length_penalty": 1], ["early_stopping": true],
        ["repetition_penalty": 0], ["messages": []], ["messages": "Hi"], ["model": 3],
    ]

    @Test(arguments: Self.refused)
    func `What is not offered or out of range is refused by name`(field: JSONObject) async throws {
        let reply = try await chat(field)
        #expect(reply.status == 400)
        #expect(reply.error["param"]?.string == field.keys[0])
        #expect(reply.error["type"] == "invalid_request_error")
        #expect(reply.error["message"]?.string?.isEmpty == false)
        #expect(model.counts.withLock { $0.started } == 0)
    }

    private static let contradictions: [(JSONObject, String)] = [
        (["num_beams": 4, "temperature": 0.5], "temperature"), (["num_beams": 2, "n": 3], "n"),
        (["num_beams": 2, "use_beam_search": false], "use_beam_search"), (["num_beams": 2, "best_of": 3], "best_of"),
        (["max_tokens": 2, "max_completion_tokens": 3], "max_tokens"),
        (["messages": [["role": "tool", "content": "x"]]], "messages[0].role"),
        (["messages": [["role": "user", "content": 3]]], "messages[0].content"),
        (["messages": [["role": "user", "content": [["type": "image_url"]]]]], "messages[0].content[0]"),
        (["messages": [["role": "user", "content": "x", "name": "y"]]], "messages[0].name"),
    ]

    @Test(arguments: Self.contradictions)
    func `Contradictions are refused`(fields: JSONObject, name: String) async throws {
        let reply = try await chat(fields)
        #expect(reply.status == 400)
        #expect(reply.error["param"]?.string == name)
    }

    @Test func `A prompt beyond the context has OpenAI's error, and one that fills it gets one token`() async throws {
        let long = try await chat(content: .string(String(repeating: "x", count: 65)))
        #expect(long.status == 400)
        #expect(long.error["code"] == "context_length_exceeded")
        #expect(long.error["message"]?.string?.contains("64 tokens") == true)
        let full = try await chat(content: .string(String(repeating: "x", count: 64)))
        #expect(full.json["choices"]?[0]?["finish_reason"] == "length")
        #expect(full.json["usage"]?["completion_tokens"] == 1)
    }

    @Test func `What the chat template refuses is the client's error, and a failing model the server's`() async throws {
        let turns = try await chat(["messages": [["role": "assistant", "content": "x"]]])
        #expect(turns.status == 400)
        #expect(turns.error["message"] == "turns must alternate")
        let failing = ScriptedModel { _ in throw ModelFailure.requestFailed("the logits are no distribution") }
        let server = try ModelServer(failing.served())
        let body: JSONValue = [
            "model": "org/scripted", "messages": [["role": "user", "content": "x"]], "stream": true,
        ]
        let reply = try await Client.post(server, "/v1/chat/completions", body)
        #expect(reply.status == 500)
        #expect(reply.error["type"] == "server_error")
        #expect(reply.error["message"] == "the logits are no distribution")
    }

    @Test func `A failure within a stream is an event, and the stream is not called whole`() async throws {
        let model = ScriptedModel { call in
            if call.request.sample == 1 { throw ModelFailure.requestFailed("lost") }
            return "a…"
        }
        // One at a time would never come to the second.
        let server = try ModelServer(model.served())
        let body: JSONValue = [
            "model": "org/scripted", "messages": [["role": "user", "content": "x"]], "stream": true, "n": 2,
        ]
        let reply = try await Client.post(server, "/v1/chat/completions", body)
        #expect(!reply.events.contains("[DONE]"))
        let last = try (reply.events.last.map { try JSONValue(parsing: $0) }).required()
        #expect((last["error"] ?? last)["message"] == "lost")
    }
}
