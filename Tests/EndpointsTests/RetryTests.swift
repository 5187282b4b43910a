import Chat
import Endpoints
import LoopbackServer
import Testing

@Suite struct RetryTests {
    @Test(arguments: [408, 409, 425, 429, 500, 502, 503, 504, 529])
    func `A fault that may pass is tried again`(status: Int) async throws {
        let stage = try Stage(refusal(status), answer)
        let completion = try await stage.endpoint.complete(.hello)
        #expect(completion.text == "m")
        #expect(stage.server.counts.requests == 2)
        #expect(stage.time.sleeps.count == 1)
    }

    @Test(arguments: [
        ("retry-after", "7", 7.0), ("retry-after", "0.5", 0.5), ("retry-after", "120", 120),
        ("retry-after-ms", "1500", 1.5),
        ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", 10), ("retry-after", "Sunday, 06-Nov-94 08:49:47 GMT", 10),
        ("retry-after", "Sun Nov  6 08:49:47 1994", 10), ("retry-after", "1000000000", 120),
        ("retry-after", "1e9", 120),
        ("retry-after", "Mon, 07 Nov 2044 00:00:00 GMT", 120),
    ])
    func `The wait is what the server asked for, and at most a tenth more`(
        name: String, value: String, seconds: Double
    ) async throws {
        let stage = try Stage(refusal(429, headers: [name: value]), answer)
        _ = try await stage.endpoint.complete(.hello)
        let wait = try #require(stage.time.sleeps.first)
        #expect(stage.time.sleeps.count == 1)
        #expect(wait >= seconds && wait <= seconds * 1.1)
    }

    @Test(arguments: [nil, "-5", "soon", "nan", "Sun, 06 Nov 1994 08:49:27 GMT", "Sun, 99 Nov 1994 99:99:99 GMT", ""])
    func `A wait that means nothing becomes a short one`(value: String?) async throws {
        let stage = try Stage(refusal(429, headers: value.map { ["retry-after": $0] } ?? [:]), answer)
        _ = try await stage.endpoint.complete(.hello)
        let wait = try #require(stage.time.sleeps.first)
        #expect(wait >= 0.25 && wait <= 0.5)
    }

    @Test func `Waits grow, and never repeat`() async throws {
        let stage = try Stage(configure: { $0.attempts = 9 }, refusal(503))
        _ = try await stage.failure()
        let waits = stage.time.sleeps
        #expect(stage.server.counts.requests == 9)
        for (fault, wait) in waits.enumerated() {
            let longest = min(60, 0.5 * Double(1 << fault))
            #expect(wait > longest / 2 && wait <= longest)
        }
        #expect(Set(waits).count == 8)
    }

    @Test func `The same request waits the same times, another request other times`() async throws {
        func waits(_ text: String) async throws -> [Double] {
            let stage = try Stage(refusal(503), refusal(503), answer)
            var request = ChatRequest.hello
            request.messages = [.user(text)]
            _ = try await stage.endpoint.complete(request)
            return stage.time.sleeps
        }
        let first = try await waits("a")
        #expect(try await waits("a") == first)
        #expect(try await waits("b") != first)
    }

    @Test func `The last answer is in the sentence with which a request fails`() async throws {
        let stage = try Stage(configure: { $0.attempts = 3 }, refusal(503, "try later"))
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(
            text == "judge-1 at \(stage.server.url) gave no answer in 3 attempts; the last one: HTTP 503: try later.")
    }

    @Test func `A request is not tried beyond its time`() async throws {
        let stage = try Stage(
            configure: {
                $0.attempts = 100
                $0.totalTimeout = .seconds(30)
            }, refusal(429, headers: ["retry-after": "14"]))
        _ = try await stage.failure()
        #expect(stage.server.counts.requests == 3)
        #expect(stage.time.sleeps.reduce(0, +) < 30)
    }

    @Test func `The same 500 five times in a row is enough`() async throws {
        let stage = try Stage(configure: { $0.attempts = 50 }, refusal(503), refusal(500, "assertion failed"))
        guard case .requestFailed(let text) = try await stage.failure() else { return unexpected() }
        #expect(stage.server.counts.requests == 6)
        #expect(text.contains("assertion failed"))
    }

    @Test(arguments: [
        "insufficient_quota", "billing_hard_limit_reached", "enforced_spend_limit_reached", "credit_balance_exhausted",
    ])
    func `A spent quota stops at once`(code: String) async throws {
        let stage = try Stage(refusal(429, "You exceeded your quota", code: code, headers: ["retry-after": "1"]))
        guard case .providerRefuses(let text) = try await stage.failure() else { return unexpected() }
        #expect(text.contains("You exceeded your quota"))
        #expect(stage.server.counts.requests == 1)
        #expect(stage.time.sleeps.isEmpty)
    }

    @Test func `Anthropic's empty credit balance stops at once`() async throws {
        let stage = try Stage(
            format: .anthropicMessages, refusal(400, "Your credit balance is too low to access the Anthropic API."))
        guard case .providerRefuses = try await stage.failure() else { return unexpected() }
        #expect(stage.server.counts.requests == 1)
    }

    @Test(arguments: [
        (400, "bad_request", ModelFailure.requestFailed("")), (422, "x", .requestFailed("")),
        (404, "route", .requestFailed("")),
        (413, "x", .requestFailed("")), (302, "x", .requestFailed("")), (401, "invalid_api_key", .credentials("")),
        (403, "x", .credentials("")), (404, "model_not_found", .providerRefuses("")), (410, "x", .providerRefuses("")),
        (402, "x", .providerRefuses("")),
    ])
    func `What no waiting mends is not tried again`(status: Int, code: String, expected: ModelFailure) async throws {
        let stage = try Stage(refusal(status, "because", code: code))
        let failure = try await stage.failure()
        #expect(kind(failure) == kind(expected))
        #expect("\(failure)".contains("because"))
        #expect(stage.server.counts.requests == 1)
    }

    private func kind(_ failure: ModelFailure) -> Int {
        switch failure {
        case .requestFailed: 0
        case .providerRefuses: 1
        case .credentials: 2
        case .notRecorded: 3
        case .spendLimit: 4
        case .unsupported: 5
        }
    }

    @Test func `One caller's Retry-After holds the others back, too`() async throws {
        let stage = try Stage(configure: { $0.attempts = 1 }, refusal(429, headers: ["retry-after": "40"]), answer)
        _ = try await stage.failure()
        _ = try await stage.endpoint.complete(.hello)
        #expect(stage.time.sleeps == [40])
    }
}

@Suite struct RateLimitTests {
    @Test func `No minute sees more requests than the limit, and no more than a tenth of it is lost`() async throws {
        let time = FakeTime()
        let limit = RateLimit(requestsPerMinute: 300, tokensPerMinute: nil, time: time.source)
        var starts: [Duration] = []
        for _ in 0..<1500 {
            try await limit.admit(tokens: 100)
            starts.append(time.now)
        }
        for (index, start) in starts.enumerated() {
            #expect(starts[index...].prefix { $0 < start + .seconds(60) }.count <= 300)
        }
        let minutes = (starts.last! - starts.first!) / .seconds(60)
        #expect(1500 / minutes >= 270)
    }

    @Test func `Tokens are limited like requests, and what was not used is given back`() async throws {
        let time = FakeTime()
        let limit = RateLimit(requestsPerMinute: nil, tokensPerMinute: 40_000, time: time.source)
        for _ in 0..<40 { try await limit.admit(tokens: 1000) }
        let spent = time.now
        #expect(spent - .seconds(1000) > .seconds(55))
        for _ in 0..<40 {
            try await limit.admit(tokens: 1000)
            await limit.settle(estimated: 1000, used: 100)
        }
        #expect(time.now - spent < .seconds(12))
    }

    @Test func `A request larger than a minute's tokens still goes`() async throws {
        let time = FakeTime()
        let limit = RateLimit(requestsPerMinute: nil, tokensPerMinute: 1000, time: time.source)
        try await limit.admit(tokens: 5000)
        #expect(time.sleeps.isEmpty)
        try await limit.admit(tokens: 10)
        #expect(time.sleeps[0] > 290)
    }
}
