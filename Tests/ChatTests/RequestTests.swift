import Chat
import Testing

@Suite struct RequestTests {
    private let request = ChatRequest(
        messages: [Message(role: .system, content: "s"), .user("u")],
        decoding: .sampling(temperature: 1, topK: nil, topP: 1, minP: nil), maxTokens: 1, topLogprobs: 5)

    @Test("Everything that changes an answer changes the key")
    func keys() {
        var others = [ChatRequest](repeating: request, count: 7)
        others[0].messages[1].content = "v"
        others[1].decoding = .greedy
        others[2].maxTokens = 2
        others[3].stop = ["x"]
        others[4].seed = 1
        others[5].topLogprobs = nil
        others[6].sample = 1
        var keys = Set(others.map { $0.key(modelFingerprint: "a") })
        keys.insert(request.key(modelFingerprint: "a"))
        keys.insert(request.key(modelFingerprint: "b"))
        #expect(keys.count == 9)
        #expect(request.key(modelFingerprint: "a") == request.key(modelFingerprint: "a"))
    }

    @Test("SHA-2 matches its published vectors")
    func digests() {
        #expect(Digest.sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(Digest.hex(Digest.sha512("abc".utf8)).hasPrefix("ddaf35a193617abacc417349ae204131"))
    }

    @Test("A model spelling is read, and a wrong one says what is expected")
    func sources() throws {
        #expect(try ModelSource("openai:gpt-4.1") == .openAI(name: "gpt-4.1"))
        #expect(
            try ModelSource("openai-compatible:org/m@v1@http://127.0.0.1:8000/v1")
                == .openAICompatible(name: "org/m@v1", baseURL: "http://127.0.0.1:8000/v1"))
        let list = "http://a:8000/v1,https://b/v1,http://a:8000/v1"
        let source = try ModelSource("openai-compatible:m@\(list)")
        #expect(source == .openAICompatible(name: "m", baseURL: list))
        #expect(source.baseURLs == ["http://a:8000/v1", "https://b/v1"])
        #expect("\(source)" == "openai-compatible:m@\(list)" && source.fingerprint == "openai-compatible:m@replicas")
        let single = try ModelSource("openai-compatible:m@http://a:8000/v1")
        #expect(single.fingerprint == "openai-compatible:m@http://a:8000/v1")
        #expect(try ModelSource("outputs:a:b.json") == .outputs(path: "a:b.json"))
        #expect(try ModelSource("./checkpoint:1") == .local(path: "./checkpoint:1"))
        #expect(try ModelSource("exec:./judge.sh --fast") == .exec(program: "./judge.sh --fast"))
        for wrong in ["", "gpt:4", "openai:", "openai-compatible:m", "openai-compatible:@http://x"]
            + [
                "http://a,", ",http://a", "http://a,,http://b", "http://a,b:8000/v1", "http://a, http://b",
                "http://a,ftp://b",
            ]
            .map({ "openai-compatible:m@\($0)" })
        {
            #expect(throws: ModelSourceError.self) { try ModelSource(wrong) }
        }
    }

    @Test("A key never prints, and is blotted out as it is, in base64 and percent-encoded")
    func secrets() throws {
        let key = try #require(Secret("sk-canary/+42="))
        #expect("\(key) \(String(reflecting: key))" == "[redacted] [redacted]")
        var dumped = ""
        dump(key, to: &dumped)
        #expect(!dumped.contains("canary"))
        let echo = "bad key sk-canary/+42=, c2stY2FuYXJ5Lys0Mj0=, sk-canary%2F%2B42%3D"
        #expect(key.redact(echo) == "bad key [redacted], [redacted], [redacted]")
        #expect(Secret("") == nil)
    }
}
