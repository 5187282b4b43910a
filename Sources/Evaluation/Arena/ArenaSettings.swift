internal import Chat

extension ArenaJudge.Procedure {
    /// Reads arena-hard-auto v0.1's `judge_config.yaml`.
    package init(v01 path: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: path)
        let templates = try fields.strings("prompt_template")
        guard templates.count == 1 else {
            throw fields.unusable("prompt_template", "should be one template, but there are \(templates.count)")
        }
        self = .v01(
            JudgePrompt(name: "pair", system: try fields.requiredString("system_prompt"), template: templates[0]))
    }

    /// Reads arena-hard-auto v2.0's `arena-hard-v2.0.yaml`, and the categories' system prompts from its `judge_utils.py`.
    package init(v2 path: String, settings: [UInt8], settingsPath: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: path)
        let template = try fields.requiredString("prompt_template")
        let temperature = try fields.required("temperature", try fields.number("temperature"))
        let maxTokens = try fields.required("max_tokens", try fields.positive("max_tokens"))
        guard (0...100).contains(temperature) else { throw fields.unusable("temperature", "should be 0 or more") }
        let constants = try PythonConstants(settings, path: settingsPath)
        var prompts: [String: JudgePrompt] = [:]
        for member in constants.values["JUDGE_SETTINGS"]?.object?.members ?? [] {
            guard let system = member.value["system_prompt"]?.string else {
                throw .badData("\(settingsPath): JUDGE_SETTINGS has no system_prompt for \(member.key).")
            }
            prompts[member.key] = JudgePrompt(name: member.key, system: system, template: template)
        }
        if prompts.isEmpty { throw .badData("\(settingsPath) defines no JUDGE_SETTINGS.") }
        self = .v2(prompts, temperature: temperature, maxTokens: maxTokens)
    }
}

/// The constants of a Python file that holds nothing but texts, and dictionaries of them: `NAME = value` one after the
/// other.
struct PythonConstants {
    private(set) var values: [String: JSONValue] = [:]
    private var text: Substring.UnicodeScalarView
    private let path: String

    /// - Throws: `badData` where anything else stands in the file.
    init(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        let whole = String(decoding: bytes, as: UTF8.self)
        text = whole[...].unicodeScalars
        self.path = path
        while true {
            skipSpace()
            if text.isEmpty { return }
            let name = identifier()
            try expect("=")
            values[name] = try value(depth: 0)
        }
    }

    private mutating func value(depth: Int) throws(EvaluationError) -> JSONValue {
        skipSpace()
        guard depth < 8 else { throw unexpected("a dictionary in a dictionary of this depth") }
        switch text.first {
        case "\"", "'": return .string(try string())
        case "{":
            text.removeFirst()
            var object = JSONObject()
            while true {
                skipSpace()
                if text.first == "}" { break }
                let key = try string()
                try expect(":")
                object[key] = try value(depth: depth + 1)
                skipSpace()
                if text.first == "," { text.removeFirst() } else { break }
            }
            try expect("}")
            return .object(object)
        default:
            let name = identifier()
            guard let known = values[name] else { throw unexpected("a text, a dictionary or a name") }
            return known
        }
    }

    private mutating func string() throws(EvaluationError) -> String {
        skipSpace()
        guard let quote = text.first, quote == "\"" || quote == "'" else { throw unexpected("a text") }
        text.removeFirst()
        var string = ""
        while let scalar = text.popFirst() {
            switch scalar {
            case quote: return string
            case "\n": throw unexpected("the end of a text")
            case "\\":
                let escapes: [Unicode.Scalar: Unicode.Scalar] = [
                    "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", "\"": "\"",
                ]
                guard let code = text.popFirst(), let meant = escapes[code] else { throw unexpected("an escape") }
                string.unicodeScalars.append(meant)
            default: string.unicodeScalars.append(scalar)
            }
        }
        throw unexpected("the end of a text")
    }

    private mutating func identifier() -> String {
        let name = text.prefix { $0 == "_" || $0.properties.isAlphabetic || ("0"..."9").contains($0) }
        text.removeFirst(name.count)
        return String(name)
    }

    private mutating func expect(_ scalar: Unicode.Scalar) throws(EvaluationError) {
        skipSpace()
        guard text.popFirst() == scalar else { throw unexpected("\"\(scalar)\"") }
    }

    /// And comments.
    private mutating func skipSpace() {
        while let scalar = text.first {
            if scalar == "#" {
                text = text.drop { $0 != "\n" }
            } else if scalar.properties.isWhitespace {
                text.removeFirst()
            } else {
                return
            }
        }
    }

    private func unexpected(_ what: String) -> EvaluationError {
        .badData("\(path) should hold constants of text: \(what) is expected before \"\(String(text.prefix(40)))\".")
    }
}
