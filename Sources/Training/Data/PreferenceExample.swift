package import Chat
internal import Glibc

/// One line of training data: what it says, in whichever of the usual layouts it says it.
///
/// | fields | is |
/// |---|---|
/// | `chosen`, `rejected`, `prompt` or none | a pair; messages may repeat the prompt (UltraFeedback) or not (TRL) |
/// | `prompt`, `completion`, `label` | a completion judged good or bad (KTO) |
/// | `prompt`, `completion` | a demonstration (SFT) |
/// | `messages` | a whole conversation (SFT) |
/// | `text` | a whole text (SFT) |
///
/// Other fields are left alone, but for `score_chosen`, `score_rejected` and `tools`. A field that is null is absent.
package struct PreferenceExample: Hashable, Sendable {
    /// A prompt and what follows it: both text, or both messages.
    package enum Exchange: Hashable, Sendable {
        case plain(prompt: String, response: String)
        case messages(prompt: [JSONValue], response: [JSONValue])
    }

    package enum Content: Hashable, Sendable {
        /// Two responses to one prompt.
        case pair(chosen: Exchange, rejected: Exchange)
        case judged(Exchange, isDesirable: Bool)
        case demonstration(Exchange)
        case conversation([JSONValue])
        case text(String)
        /// Two conversations that part before their last turn, so that there is no prompt of both.
        case differingPrompts
    }

    package let place: DataPlace
    package let content: Content
    package let chosenScore: Double?
    package let rejectedScore: Double?
    /// What the chat template is told of tools.
    package let tools: JSONValue?

    /// - Throws: `TrainingError.badData` that names the place, the field, and what was expected there.
    init(_ value: JSONValue, at place: DataPlace) throws(TrainingError) {
        let fields = try ExampleFields(value, at: place)
        self.place = place
        chosenScore = try fields.number("score_chosen")
        rejectedScore = try fields.number("score_rejected")
        tools = fields["tools"]
        if let tools, tools.array == nil {
            throw fields.fault("\"tools\" is \(tools.kind); a list is expected")
        }
        content = try fields.content()
    }
}

/// The fields of one line, and how they are told apart.
private struct ExampleFields {
    private let object: JSONObject
    private let place: DataPlace

    private enum Text {
        case plain(String)
        case messages([JSONValue])

        var kind: String {
            switch self {
            case .plain: "a text"
            case .messages: "messages"
            }
        }
    }

    init(_ value: JSONValue, at place: DataPlace) throws(TrainingError) {
        guard let object = value.object else {
            throw .badData("\(place) holds \(value.kind); a JSON object is expected")
        }
        self.object = object
        self.place = place
    }

    subscript(key: String) -> JSONValue? { object[key].flatMap { $0.isNull ? nil : $0 } }

    func fault(_ sentence: String) -> TrainingError { .badData("\(place): \(sentence)") }

    func content() throws(TrainingError) -> PreferenceExample.Content {
        let prompt = try text("prompt")
        if self["chosen"] != nil || self["rejected"] != nil {
            guard let chosen = try text("chosen"), let rejected = try text("rejected") else {
                throw fault("\"chosen\" and \"rejected\" come together, and one is missing")
            }
            return try pair(prompt, chosen, rejected)
        }
        if let completion = try text("completion") {
            guard let prompt else { throw fault("\"completion\" has no \"prompt\". Add the field") }
            let exchange = try exchange(prompt, completion, "completion")
            guard let label = self["label"] else { return .demonstration(exchange) }
            guard let isDesirable = label.bool else {
                throw fault("\"label\" is \(label.kind); true (desirable) or false is expected")
            }
            return .judged(exchange, isDesirable: isDesirable)
        }
        if self["messages"] != nil, case .messages(let messages)? = try text("messages") {
            return .conversation(messages)
        }
        switch try text("text") {
        case .plain(let text)?: return .text(text)
        case .messages?:
            throw fault("\"text\" is an array; a string is expected, and messages go into \"messages\"")
        case nil: break
        }
        let found = object.keys.isEmpty ? "no fields" : object.keys.prefix(8).joined(separator: ", ")
        throw fault(
            "found \(found); expected are chosen and rejected, or prompt and completion, or messages, or text"
        )
    }

    // MARK: Pairs

    private func pair(
        _ prompt: Text?, _ chosen: Text, _ rejected: Text
    ) throws(TrainingError) -> PreferenceExample.Content {
        switch (prompt, chosen, rejected) {
        case (nil, .plain(let chosen), .plain(let rejected)):
            if let name = ["question", "instruction", "input", "query"].first(where: { self[$0] != nil }) {
                throw fault("there is no \"prompt\", and \"\(name)\" looks like it. Rename it to \"prompt\"")
            }
            return commonPrefix(chosen, rejected)
        case (nil, .messages(let chosen), .messages(let rejected)):
            return try commonPrefix(chosen, rejected)
        case (.plain?, .messages(let chosen), .messages(let rejected))
        where (chosen + rejected).contains { $0["role"] == "user" }:
            // The text repeats the conversation's first turn.
            return try commonPrefix(chosen, rejected)
        case (.plain(let text)?, .messages(let chosen), .messages(let rejected)):
            let leading = chosen.prefix(while: isPromptTurn)
            guard leading == rejected.prefix(while: isPromptTurn) else { return .differingPrompts }
            let prompt = leading + [["role": "user", "content": .string(text)]]
            func exchange(_ messages: [JSONValue], _ name: String) throws(TrainingError) -> PreferenceExample.Exchange {
                let rest = Array(messages.dropFirst(leading.count))
                return .messages(prompt: Array(prompt), response: try following(Array(prompt), rest, name))
            }
            return .pair(chosen: try exchange(chosen, "chosen"), rejected: try exchange(rejected, "rejected"))
        case (_, .plain, .messages), (_, .messages, .plain):
            throw fault(
                "\"chosen\" is \(chosen.kind) and \"rejected\" \(rejected.kind); both must be the same")
        case (let prompt?, _, _):
            return .pair(
                chosen: try exchange(prompt, chosen, "chosen"),
                rejected: try exchange(prompt, rejected, "rejected"))
        }
    }

    /// The text that both begin with is the prompt, a space at its end excepted (TRL's `extract_prompt`).
    private func commonPrefix(_ chosen: String, _ rejected: String) -> PreferenceExample.Content {
        let (chosen, rejected) = (Array(chosen.unicodeScalars), Array(rejected.unicodeScalars))
        var end = differing(chosen, rejected)
        let part = end < min(chosen.count, rejected.count) && chosen[end] != rejected[end]
        if part, end > 0, chosen[end - 1] == " " { end -= 1 }
        func text(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            return String(text)
        }
        let prompt = text(chosen[..<end])
        return .pair(
            chosen: .plain(prompt: prompt, response: text(chosen[end...])),
            rejected: .plain(prompt: prompt, response: text(rejected[end...])))
    }

    /// The messages that both begin with are the prompt; what follows must be the assistant's alone.
    private func commonPrefix(
        _ chosen: [JSONValue], _ rejected: [JSONValue]
    ) throws(TrainingError) -> PreferenceExample.Content {
        for (messages, name) in [(chosen, "chosen"), (rejected, "rejected")] {
            if messages.count == 1 {
                throw fault(
                    "\"\(name)\" is one message and there is no \"prompt\". Add the field, or the user's turn"
                )
            }
            try checkEnd(of: messages, name)
        }
        // As bytes: to == equivalent spellings of a letter are one, and the order of keys matters.
        let end = differing(
            chosen.map { $0.canonical.serialized() }, rejected.map { $0.canonical.serialized() })
        if end == 0 || chosen[end...].contains(where: isPromptTurn)
            || rejected[end...].contains(where: isPromptTurn)
        {
            return .differingPrompts
        }
        let prompt = Array(chosen[..<end])
        return .pair(
            chosen: .messages(prompt: prompt, response: Array(chosen[end...])),
            rejected: .messages(prompt: prompt, response: Array(rejected[end...])))
    }

    /// Where two sequences part; before the last element of the shorter, where one begins with the other.
    private func differing<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Int {
        let shorter = min(a.count, b.count)
        return (0..<shorter).first { a[$0] != b[$0] } ?? max(0, shorter - 1)
    }

    private func isPromptTurn(_ message: JSONValue) -> Bool {
        ["user", "system", "developer"].contains(message["role"]?.string)
    }

    private func checkEnd(of messages: [JSONValue], _ name: String) throws(TrainingError) {
        guard let role = messages.last?["role"]?.string, role != "assistant" else { return }
        throw fault(
            "the last message of \"\(name)\" has the role \"\(role)\"; \"assistant\" is expected")
    }

    // MARK: A prompt and one response

    private func exchange(
        _ prompt: Text, _ response: Text, _ name: String
    ) throws(TrainingError) -> PreferenceExample.Exchange {
        switch (prompt, response) {
        case (.plain(let prompt), .plain(let response)):
            return .plain(prompt: prompt, response: response)
        case (.plain(let prompt), .messages(let response)):
            let turn: JSONValue = ["role": "user", "content": .string(prompt)]
            return .messages(prompt: [turn], response: try following([turn], response, name))
        case (.messages(let prompt), .plain(let response)):
            return .messages(
                prompt: prompt, response: [["role": "assistant", "content": .string(response)]])
        case (.messages(let prompt), .messages(let response)):
            return .messages(prompt: prompt, response: try following(prompt, response, name))
        }
    }

    /// The messages behind the prompt, which some data repeats before them.
    private func following(
        _ prompt: [JSONValue], _ messages: [JSONValue], _ name: String
    ) throws(TrainingError) -> [JSONValue] {
        try checkEnd(of: messages, name)
        guard messages.contains(where: isPromptTurn) else { return messages }
        let repeats =
            messages.count > prompt.count
            && zip(prompt, messages).allSatisfy { $0.canonical == $1.canonical }
        let rest = Array(messages.dropFirst(repeats ? prompt.count : 0))
        if rest.contains(where: isPromptTurn) {
            throw fault(
                "\"\(name)\" has turns of the user that \"prompt\" does not have. Move them there")
        }
        return rest
    }

    // MARK: Values

    func number(_ key: String) throws(TrainingError) -> Double? {
        guard let value = self[key] else { return nil }
        guard let number = value.number else {
            throw fault("\"\(key)\" is \(value.kind); a number is expected")
        }
        return number
    }

    /// A text or a list of messages; nil where there is neither.
    private func text(_ key: String) throws(TrainingError) -> Text? {
        switch self[key] {
        case nil: return nil
        case .string(let text)? where key != "messages": return .plain(text)
        case .array(let messages)?:
            if messages.isEmpty { throw fault("\"\(key)\" is an empty list; messages are expected") }
            var result: [JSONValue] = []
            for (index, message) in messages.enumerated() {
                result.append(try self.message(message, "message \(index + 1) of \"\(key)\""))
            }
            return .messages(result)
        case let other?:
            let expected = key == "messages" ? "a list of messages" : "a string or a list of messages"
            throw fault("\"\(key)\" is \(other.kind); \(expected) is expected")
        }
    }

    private static let roles = ["system", "developer", "user", "assistant", "tool"]

    /// The message without what is null in it: templates ask whether a member is there.
    private func message(_ value: JSONValue, _ name: String) throws(TrainingError) -> JSONValue {
        guard var message = value.object else {
            throw fault("\(name) is \(value.kind); an object with \"role\" and \"content\" is expected")
        }
        let saysNothing = message["content"]?.isNull == true
        for member in message.members where member.value.isNull { message[member.key] = nil }
        if saysNothing, message["role"] == "assistant", message["tool_calls"] == nil { message["content"] = "" }
        guard let role = message["role"] else {
            throw fault(
                "\(name) has no \"role\"; found \(message.keys.prefix(8).joined(separator: ", "))")
        }
        guard let text = role.string, ExampleFields.roles.contains(text) else {
            let found = role.string.map { "\"\($0.prefix(40))\"" } ?? role.kind
            throw fault("the role of \(name) is \(found); system, user, assistant or tool is expected")
        }
        switch message["content"] {
        case .string?: break
        case nil where message["tool_calls"] != nil: break
        case let other:
            throw fault("the content of \(name) is \(other?.kind ?? "missing"); a string is expected")
        }
        return .object(message)
    }
}

/// A file of training data: JSON Lines, or one JSON array.
package enum PreferenceFile {
    /// Reads a file example by example; its text is never in memory as a whole, unless it is an array.
    ///
    /// - Returns: the SHA-256 of the file's bytes, 64 hexadecimal digits.
    /// - Throws: `TrainingError.missingInput` for a file that cannot be read, `.badData` for one that holds something
    ///   else, with the line; and what `body` throws.
    package static func read(
        _ path: String, each body: (PreferenceExample) throws(TrainingError) -> Void
    ) throws(TrainingError) -> String {
        try readValues(path) { value, place throws(TrainingError) in
            try body(try PreferenceExample(value, at: place))
        }
    }

    static func readValues(
        _ path: String, each body: (JSONValue, DataPlace) throws(TrainingError) -> Void
    ) throws(TrainingError) -> String {
        var lines = try FileLines(path)
        var place = DataPlace(path: path, isElement: lines.isArray, number: 0)
        var count = 0
        while let line = try lines.next() {
            place.number += 1
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            let value: JSONValue
            do {
                value = try JSONValue(parsing: line)
            } catch {
                throw lines.isArray
                    ? .badData("\(path), line \(error.line), column \(error.column): \(error.reason)")
                    : .badData(
                        "\(place), column \(error.column): \(error.reason). Every line must hold one JSON object"
                    )
            }
            guard lines.isArray else {
                count += 1
                try body(value, place)
                continue
            }
            place.number = 0
            for element in value.array ?? [] {
                count += 1
                place.number += 1
                try body(element, place)
            }
        }
        if count == 0 { throw .badData("\(path) holds no examples. Give it one JSON object a line") }
        return lines.finish()
    }
}

/// Where an example stands: `data/train.jsonl, line 3`.
package struct DataPlace: Hashable, Sendable, CustomStringConvertible {
    package var path: String
    /// In an array there are elements, not lines.
    package var isElement: Bool
    /// From 1.
    package var number: Int

    package var description: String { "\(path), \(isElement ? "element" : "line") \(number)" }
}

/// The lines of a file as it is read piece by piece; a file that begins with a bracket is one line.
private struct FileLines {
    let isArray: Bool
    private let descriptor: ReadOnlyFile
    private let digest = RunningDigest()
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false

    init(_ path: String) throws(TrainingError) {
        descriptor = try ReadOnlyFile(path)
        if let first = try descriptor.read() { buffer = first }
        for (magic, name) in FileLines.otherFormats where buffer.starts(with: magic) {
            throw .badData("\(path) is \(name). Export it as JSON Lines: one JSON object a line")
        }
        let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let text = buffer.starts(with: byteOrderMark) ? buffer.dropFirst(3) : buffer[...]
        isArray = text.first { $0 > 0x20 } == UInt8(ascii: "[")
        digest.update(buffer)
    }

    private static let otherFormats: [(magic: [UInt8], name: String)] = [
        (Array("PAR1".utf8), "a Parquet file"), (Array("ARROW1".utf8), "an Arrow file"),
        ([0x1F, 0x8B], "compressed by gzip"), ([0x28, 0xB5, 0x2F, 0xFD], "compressed by zstd"),
        (Array("version https://git-lfs".utf8), "a pointer of Git LFS"),
    ]

    mutating func next() throws(TrainingError) -> ArraySlice<UInt8>? {
        var searched = start
        while true {
            if !isArray, let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { start = end + 1 }
                return buffer[start..<end]
            }
            if isAtEnd {
                defer { start = buffer.count }
                return start < buffer.count ? buffer[start...] : nil
            }
            buffer.removeFirst(start)
            start = 0
            searched = buffer.count
            if let more = try descriptor.read() {
                digest.update(more)
                buffer += more
            } else {
                isAtEnd = true
            }
        }
    }

    func finish() -> String { digest.finish() }
}

private final class ReadOnlyFile {
    private let path: String
    private let descriptor: Int32

    init(_ path: String) throws(TrainingError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw .missingInput(
                "\(path) cannot be read: \(TrainingFiles.reason(errno)). Name a file of JSON Lines")
        }
        self.path = path
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .missingInput("\(path) is not a file. Name a file of JSON Lines")
        }
    }

    deinit { close(descriptor) }

    /// The next bytes, or nil at the end.
    func read() throws(TrainingError) -> [UInt8]? {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, filled in
            while true {
                let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                if count < 0, errno == EINTR { continue }
                if count < 0 { failure = errno }
                filled = max(0, count)
                return
            }
        }
        if failure != 0 {
            throw .missingInput("\(path) cannot be read: \(TrainingFiles.reason(failure))")
        }
        return bytes.isEmpty ? nil : bytes
    }
}
