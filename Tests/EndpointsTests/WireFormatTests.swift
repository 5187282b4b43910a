import Chat
import Endpoints
import LoopbackServer
import Testing

@Suite struct WireFormatTests {
    @Test func `The judge's request is the official client's, key by key`() async throws {
        let stage = try Stage(key: "sk-1", answer)
        let completion = try await stage.endpoint.complete(.hello)
        let request = stage.script.requests.withLock { $0[0] }
        #expect(
            request.bodyText == """
                {"model":"judge-1","messages":[{"content":"Be brief.","role":"system"},{"content":"Hello","role":"user"}],\
                "max_tokens":1,"temperature":1.0,"top_p":1.0,"logprobs":true,"top_logprobs":5}
                """)
        #expect(request.method == "POST" && request.target == "/v1/chat/completions")
        #expect(request.headers["authorization"] == "Bearer sk-1")
        #expect(request.headers["content-type"] == "application/json")
        #expect(request.headers["expect"] == nil)
        #expect(
            completion
                == Completion(
                    text: "m", finishReason: .stop,
                    tokens: [
                        .init(
                            text: "m", logprob: -0.25,
                            top: [.init(text: "m", logprob: -0.25), .init(text: "M", logprob: -1.5)])
                    ],
                    usage: .init(inputTokens: 12, outputTokens: 1), servedModel: "judge-1-0613", raw: helloReply))
    }

    @Test func `Greedy is temperature zero, and what is not asked for is not sent`() async throws {
        let stage = try Stage(answer)
        _ = try await stage.endpoint.complete(ChatRequest(messages: [.user("q")], decoding: .greedy, maxTokens: 9))
        var request = ChatRequest(
            messages: [.user("q")], decoding: .sampling(temperature: 0.9, topK: 40, topP: 0.95, minP: 0.1),
            maxTokens: 9,
            stop: ["\n"], seed: 42)
        _ = try await stage.endpoint.complete(request)
        request.seed = .max
        _ = try await stage.endpoint.complete(request)
        let bodies = try stage.script.bodies
        #expect(bodies[0].object?.keys == ["model", "messages", "max_tokens", "temperature"])
        #expect(bodies[0]["temperature"]?.number == 0)
        #expect(
            bodies[1].object?.keys
                == ["model", "messages", "max_tokens", "temperature", "top_p", "top_k", "min_p", "stop", "seed"])
        #expect(bodies[1]["seed"]?.integer == 42)
        #expect(bodies[2]["seed"]?.integer == Int.max)
    }

    @Test func `Beam search is not to be had from an endpoint`() async throws {
        let stage = try Stage(answer)
        let request = ChatRequest(
            messages: [.user("q")], decoding: .beam(width: 4, lengthPenalty: 1, earlyStopping: .never), maxTokens: 9)
        await #expect(throws: ModelFailure.self) { try await stage.endpoint.complete(request) }
        #expect(stage.server.counts.requests == 0)
    }

    @Test func `OpenAI itself gets no top_k`() async throws {
        let endpoint = try ChatEndpoint(
            .init(name: "m", baseURL: "https://api.openai.com/v1", wireFormat: .openAIChat, key: nil))
        let request = ChatRequest(
            messages: [.user("q")], decoding: .sampling(temperature: 1, topK: 4, topP: nil, minP: nil), maxTokens: 9)
        await #expect(throws: ModelFailure.self) { try await endpoint.complete(request) }
        #expect(endpoint.fingerprint == "openai:m")
    }

    @Test func `A reasoning model's dislikes are learned once`() async throws {
        let stage = try Stage(
            refusal(
                400,
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                code: "unsupported_parameter", parameter: "max_tokens"),
            refusal(
                400,
                "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is "
                    + "supported.", code: "unsupported_value", parameter: "temperature"),
            refusal(400, "Unsupported parameter: 'top_p' is not supported with this model.", parameter: "top_p"), answer
        )
        _ = try await stage.endpoint.complete(.hello)
        _ = try await stage.endpoint.complete(.hello)
        let bodies = try stage.script.bodies
        #expect(bodies.count == 5)
        #expect(stage.time.sleeps.isEmpty)
        for body in bodies[3...] {
            #expect(body.object?.keys == ["model", "messages", "max_completion_tokens", "logprobs", "top_logprobs"])
        }
        #expect(stage.endpoint.adaptations.count == 3)
    }

    @Test func `A value that is merely too large changes nothing`() async throws {
        let stage = try Stage(refusal(400, "'max_tokens' is too large: 5000. This model supports at most 4096."))
        _ = try await stage.failure()
        #expect(stage.server.counts.requests == 1)
        #expect(stage.endpoint.adaptations.isEmpty)
    }

    @Test(arguments: [
        (#"{"role":"assistant","content":null}"#, "stop", "", Completion.FinishReason.stop),
        (#"{"content":"x","refusal":"I cannot"}"#, "stop", "x", .refused),
        (#"{"content":"x"}"#, "length", "x", .length),
        (#"{"content":"x"}"#, "content_filter", "x", .refused), (#"{"content":"x"}"#, "tool_calls", "x", .other),
        (#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#, "stop", "ab", .stop),
    ])
    func `Content and finish reasons are read as they are meant`(
        message: String, reason: String, text: String, expected: Completion.FinishReason
    ) async throws {
        let stage = try Stage({
            $0.reply(200, #"{"choices":[{"message":\#(message),"finish_reason":"\#(reason)"}],"error":null}"#)
        })
        let completion = try await stage.endpoint.complete(.hello)
        #expect(completion.text == text)
        #expect(completion.finishReason == expected)
        #expect(completion.usage == nil && completion.tokens.isEmpty)
    }

    @Test func `The older shape of logprobs is read, too`() async throws {
        let stage = try Stage({
            $0.reply(
                200,
                """
                {"choices":[{"message":{"content":"mM"},"finish_reason":"length","logprobs":{"tokens":["m","M"],
                "token_logprobs":[-0.5,-1],"top_logprobs":[{"m":-0.5,"M":-2},null],"text_offset":[0,1]}}]}
                """)
        })
        let completion = try await stage.endpoint.complete(.hello)
        #expect(
            completion.tokens == [
                .init(text: "m", logprob: -0.5, top: [.init(text: "m", logprob: -0.5), .init(text: "M", logprob: -2)]),
                .init(text: "M", logprob: -1, top: []),
            ])
    }

    @Test func `Anthropic's messages make the round trip`() async throws {
        let stage = try Stage(
            format: .anthropicMessages, key: "sk-ant",
            {
                $0.reply(
                    200,
                    """
                    {"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"thinking",
                    "thinking":"hm"},{"type":"text","text":"Hel"},{"type":"text","text":"lo"}],"stop_reason":"max_tokens",
                    "usage":{"input_tokens":7,"output_tokens":2}}
                    """)
            })
        var request = ChatRequest.hello
        request.stop = ["END"]
        let completion = try await stage.endpoint.complete(request)
        let sent = stage.script.requests.withLock { $0[0] }
        #expect(sent.target == "/v1/messages")
        #expect(sent.headers["x-api-key"] == "sk-ant")
        #expect(sent.headers["anthropic-version"] == "2023-06-01")
        #expect(sent.headers["authorization"] == nil)
        #expect(
            sent.bodyText == """
                {"model":"judge-1","max_tokens":1,"system":"Be brief.","messages":[{"content":"Hello","role":"user"}],\
                "temperature":1.0,"stop_sequences":["END"]}
                """)
        #expect(completion.text == "Hello")
        #expect(completion.finishReason == .length)
        #expect(completion.usage == .init(inputTokens: 7, outputTokens: 2))
        #expect(completion.servedModel == "claude-x")
        #expect(completion.tokens.isEmpty)
        #expect(stage.endpoint.fingerprint == "anthropic:judge-1")
    }

    @Test(arguments: [("end_turn", Completion.FinishReason.stop), ("stop_sequence", .stop), ("refusal", .refused)])
    func `Anthropic's stop reasons are read as they are meant`(
        reason: String, expected: Completion.FinishReason
    ) async throws {
        let stage = try Stage(
            format: .anthropicMessages, { $0.reply(200, #"{"content":[],"stop_reason":"\#(reason)"}"#) })
        #expect(try await stage.endpoint.complete(.hello).finishReason == expected)
    }

    @Test func `A fingerprint names the server and hides what its query holds`() throws {
        func fingerprint(_ url: String) throws -> String {
            try ChatEndpoint(.init(name: "m", baseURL: url, wireFormat: .openAIChat, key: nil)).fingerprint
        }
        #expect(try fingerprint("http://localhost:8000/v1/") == "openai-compatible:m@http://localhost:8000/v1")
        #expect(try fingerprint("https://h.example/v1?key=hidden") == "openai-compatible:m@https://h.example/v1")
    }

    @Test(arguments: [
        ("http://example.com/v1", false), ("http://8.8.8.8/v1", false), ("http://172.32.0.1", false),
        ("ftp://localhost", false),
        ("http://134744072/v1", false), ("https://user:secret@example.com/v1", false), ("nonsense", false),
        ("http://127.0.0.1:80", true), ("http://[::1]:80/v1", true), ("http://10.1.2.3", true),
        ("http://172.16.0.1", true),
        ("http://192.168.1.1", true), ("http://vllm:8000/v1", true), ("https://example.com", true),
    ])
    func `Prompts and keys do not travel in the open to public hosts`(url: String, isAllowed: Bool) throws {
        let configuration = ChatEndpoint.Configuration(name: "m", baseURL: url, wireFormat: .openAIChat, key: nil)
        if isAllowed {
            _ = try ChatEndpoint(configuration)
        } else {
            let failure = #expect(throws: ModelFailure.self) { try ChatEndpoint(configuration) }
            #expect(failure.map { !"\($0)".contains("secret") } ?? false)
        }
    }

    @Test func `A key with a line break is refused before it becomes a header`() throws {
        let key = Secret("sk-1\r\nX-Evil: 1")
        #expect(throws: ModelFailure.self) {
            try ChatEndpoint(.init(name: "m", baseURL: "http://localhost", wireFormat: .openAIChat, key: key))
        }
    }
}
