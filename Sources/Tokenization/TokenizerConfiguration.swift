package import Chat
internal import Glibc

/// What the files beside a checkpoint's `tokenizer.json` say: special tokens and chat templates.
///
/// `tokenizer_config.json` comes first and `special_tokens_map.json` fills in; `chat_template.jinja` and the files of
/// `additional_chat_templates/` replace templates of the same name. Each file may be absent.
package struct TokenizerConfiguration: Sendable {
    package let beginToken: String?
    package let endToken: String?
    package let padToken: String?
    package let unknownToken: String?
    package let addBeginToken: Bool?
    package let addEndToken: Bool?
    /// Tokens; nil where the file names none or a placeholder beyond every model.
    package let modelMaxLength: Int?
    /// The template named `default`, or the only one.
    package let chatTemplate: ChatTemplate?
    /// Every template's source by its name; they are parsed when asked for.
    package let templateSources: [String: String]
    /// `bos_token`, `eos_token` and the others that are set, as templates name them.
    package let templateVariables: JSONObject

    /// - Throws: `TemplateError.unreadable` for a folder or file that cannot be read, `.badConfiguration` for
    ///   content of
    ///   the wrong kind, `.syntax` or `.limit` for a default template that cannot be parsed.
    package init(folder: String) throws(TemplateError) {
        guard access(folder, R_OK | X_OK) == 0 else {
            throw .unreadable(path: folder, reason: String(cString: strerror(errno)))
        }
        let configuration = try JSONFile("\(folder)/tokenizer_config.json")
        let map = try JSONFile("\(folder)/special_tokens_map.json")
        let tokens = try TokenizerConfiguration.specialTokens(configuration, map)
        templateVariables = tokens
        beginToken = tokens["bos_token"]?.string
        endToken = tokens["eos_token"]?.string
        padToken = tokens["pad_token"]?.string
        unknownToken = tokens["unk_token"]?.string
        addBeginToken = try configuration.bool("add_bos_token")
        addEndToken = try configuration.bool("add_eos_token")
        modelMaxLength = try configuration.length("model_max_length")
        let sources = try TokenizerConfiguration.templates(in: folder, configuration)
        templateSources = sources
        chatTemplate = try TokenizerConfiguration.template("default", sources, folder)
        self.folder = folder
    }

    private let folder: String

    /// The template for a conversation: the one named `tool_use` where tools are given and it exists.
    package func template(withTools: Bool) throws(TemplateError) -> ChatTemplate? {
        if withTools, templateSources["tool_use"] != nil { return try template(named: "tool_use") }
        return chatTemplate
    }

    package func template(named name: String) throws(TemplateError) -> ChatTemplate? {
        try TokenizerConfiguration.template(name, templateSources, folder)
    }

    private static func template(
        _ name: String, _ sources: [String: String], _ folder: String
    ) throws(TemplateError) -> ChatTemplate? {
        guard let source = sources[name] else { return nil }
        return try ChatTemplate(source: source, name: name == "default" ? folder : "\(folder) (\(name))")
    }

    private static let tokenNames = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]

    private static func specialTokens(
        _ configuration: JSONFile, _ map: JSONFile
    ) throws(TemplateError) -> JSONObject {
        var tokens = JSONObject()
        for name in tokenNames {
            var token = try configuration.token(name)
            if token == nil { token = try map.token(name) }
            if let token { tokens[name] = .string(token) }
        }
        for file in [configuration, map] where tokens["additional_special_tokens"] == nil {
            guard let list = file.object["additional_special_tokens"]?.array, !list.isEmpty else { continue }
            var names: [JSONValue] = []
            for token in list { names.append(.string(try file.text(of: token, "additional_special_tokens"))) }
            tokens["additional_special_tokens"] = .array(names)
        }
        return tokens
    }

    private static func templates(
        in folder: String, _ configuration: JSONFile
    ) throws(TemplateError) -> [String: String] {
        var sources: [String: String] = [:]
        switch configuration.object["chat_template"] {
        case nil, .null?: break
        case .string(let source)?: sources["default"] = source
        case .array(let entries)?:
            for entry in entries {
                guard let name = entry["name"]?.string, let source = entry["template"]?.string else {
                    throw configuration.error("each entry of chat_template needs a name and a template")
                }
                sources[name] = source
            }
        case .object(let object)?:
            for member in object.members {
                guard let source = member.value.string else {
                    throw configuration.error("the chat template \(member.key) must be a string")
                }
                sources[member.key] = source
            }
        case let other?:
            throw configuration.error("chat_template must be a string or a list of templates, not \(other.kind)")
        }
        if let source = try readText("\(folder)/chat_template.jinja") { sources["default"] = source }
        for file in names(in: "\(folder)/additional_chat_templates") where file.hasSuffix(".jinja") {
            sources[String(file.dropLast(6))] = try readText("\(folder)/additional_chat_templates/\(file)")
        }
        if sources.count == 1, let only = sources.values.first { sources["default"] = only }
        return sources
    }

    // MARK: Files

    /// The members of a JSON file; none where there is no file.
    private struct JSONFile {
        let path: String
        var object = JSONObject()

        init(_ path: String) throws(TemplateError) {
            self.path = path
            guard let bytes = try read(path) else { return }
            let value: JSONValue
            do throws(JSONError) {
                value = try JSONValue(parsing: bytes)
            } catch {
                throw .badConfiguration(path: path, reason: "it is not valid JSON: \(error.description)")
            }
            guard let object = value.object else {
                throw .badConfiguration(path: path, reason: "it must hold an object, not \(value.kind)")
            }
            self.object = object
        }

        func error(_ reason: String) -> TemplateError { .badConfiguration(path: path, reason: reason) }

        /// A token is a string, or an object that holds it as `content`.
        func token(_ key: String) throws(TemplateError) -> String? {
            guard let value = object[key], !value.isNull else { return nil }
            return try text(of: value, key)
        }

        func text(of token: JSONValue, _ key: String) throws(TemplateError) -> String {
            if let text = token.string ?? token["content"]?.string { return text }
            throw error("\(key) must be a string or an object with a content, not \(token.kind)")
        }

        func bool(_ key: String) throws(TemplateError) -> Bool? {
            guard let value = object[key], !value.isNull else { return nil }
            guard let bool = value.bool else { throw error("\(key) must be true or false, not \(value.kind)") }
            return bool
        }

        func length(_ key: String) throws(TemplateError) -> Int? {
            guard let value = object[key], !value.isNull else { return nil }
            guard let number = value.number, number > 0 else { throw error("\(key) must be a number above zero") }
            // 1e30 stands for "not known" in files that `transformers` writes.
            return number < 1e15 ? Int(number) : nil
        }
    }

    private static func readText(_ path: String) throws(TemplateError) -> String? {
        guard let bytes = try read(path) else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .badConfiguration(path: path, reason: "it is not UTF-8 text")
        }
        return text
    }

    private static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            names.append(name)
        }
        return names.sorted()
    }

    private static let largestFile = 256 << 20

    /// The bytes of a file, or nil where there is none.
    private static func read(_ path: String) throws(TemplateError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT || errno == ENOTDIR { return nil }
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw .unreadable(path: path, reason: String(cString: strerror(errno)))
            }
            bytes.append(contentsOf: chunk[0..<count])
            if bytes.count > largestFile {
                throw .badConfiguration(path: path, reason: "it is over \(largestFile) bytes")
            }
        }
    }
}
