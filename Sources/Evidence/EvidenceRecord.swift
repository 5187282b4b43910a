internal import Chat
internal import GRDB

/// An answered request as it travels between machines.
struct EvidenceRecord: Hashable, Sendable {
    var key: String
    var model: String
    var request: String
    var completion: String

    init(_ row: Row) {
        key = row["key"]
        model = row["model"]
        request = row["request"]
        completion = row["completion"]
    }

    init(_ json: JSONValue, number: Int) throws(EvidenceError) {
        guard let key = json["key"]?.string, let model = json["model"]?.string, let request = json["request"]?.string,
            let completion = json["completion"]?.string, let replyHash = json["completion_sha256"]?.string
        else { throw .damaged("line \(number) is no record of an evidence export") }
        self.key = key
        self.model = model
        self.request = request
        self.completion = completion
        do {
            try check(replyHash: replyHash)
        } catch {
            throw .damaged("line \(number): \(error)")
        }
    }

    var line: String {
        ([
            "key": .string(key), "model": .string(model), "request": .string(request),
            "completion": .string(completion), "completion_sha256": .string(Digest.sha256(completion)),
        ] as JSONValue).text()
    }

    /// - Throws: `damaged` where the request is not the one that the key names, or the reply is not the one that was
    /// hashed.
    func check(replyHash: String) throws(EvidenceError) {
        guard Digest.sha256(request) == key else { throw .damaged("the request under key \(key) was altered") }
        guard Digest.sha256(completion) == replyHash else { throw .damaged("the reply under key \(key) was altered") }
        guard (try? JSONValue(parsing: request))?["model"]?.string == model else {
            throw .damaged("the model under key \(key) was altered")
        }
        _ = try Completion(recordedText: completion)
    }

    func insert(_ database: Database) throws {
        try database.execute(
            sql: "INSERT OR IGNORE INTO request (key, model, request) VALUES (?, ?, "
                + "?)", arguments: [key, model, request])
        try database.execute(
            sql: "INSERT OR IGNORE INTO reply (key, completion, sha256) VALUES (?, ?, ?)",
            arguments: [key, completion, Digest.sha256(completion)])
    }
}

extension Completion {
    /// The answer as the store keeps it: one JSON object, the raw reply in it.
    var recordedText: String {
        var object: JSONObject = ["text": .string(text), "finish_reason": .string(finishReason.rawValue)]
        if !tokens.isEmpty {
            object["tokens"] = .array(
                tokens.map { token in
                    .array(
                        [.string(token.text), JSONValue(token.logprob)]
                            + token.top.flatMap { [.string($0.text), JSONValue($0.logprob)] })
                })
        }
        if let usage { object["usage"] = [.integer(usage.inputTokens), .integer(usage.outputTokens)] }
        if let servedModel { object["served_model"] = .string(servedModel) }
        object["raw"] = .string(raw)
        return JSONValue.object(object).text()
    }

    /// - Throws: `damaged` where the text is not what `recordedText` writes.
    init(recordedText: String) throws(EvidenceError) {
        guard let json = try? JSONValue(parsing: recordedText), let text = json["text"]?.string,
            let reason = json["finish_reason"]?.string.flatMap(FinishReason.init), let raw = json["raw"]?.string
        else { throw .damaged("a reply is not of the recorded form") }
        var tokens: [Token] = []
        for entry in json["tokens"]?.array ?? [] {
            let cells = entry.array ?? []
            guard cells.count >= 2, cells.count % 2 == 0 else {
                throw .damaged(
                    "a reply's tokens are not of the "
                        + "recorded form")
            }
            let alternatives = stride(from: 0, to: cells.count, by: 2).map { place in
                // A log-probability of minus infinity has no JSON form and was kept as null.
                Alternative(text: cells[place].string ?? "", logprob: cells[place + 1].number ?? -.infinity)
            }
            tokens.append(
                Token(
                    text: alternatives[0].text, logprob: alternatives[0].logprob, top: Array(alternatives.dropFirst())))
        }
        var usage: Usage?
        if let input = json["usage"]?[0]?.integer, let output = json["usage"]?[1]?.integer {
            usage = Usage(inputTokens: input, outputTokens: output)
        }
        self.init(
            text: text, finishReason: reason, tokens: tokens, usage: usage, servedModel: json["served_model"]?.string,
            raw: raw)
    }
}
