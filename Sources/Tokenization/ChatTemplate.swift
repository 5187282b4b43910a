package import Chat

/// A checkpoint's chat template: messages in, the text that the model was trained on out.
///
/// Templates come with downloaded files, so they are interpreted here without any access to the program, and within
/// bounds. Their language is that of `transformers`: Jinja's sandbox with trimmed blocks, loop controls, `tojson` as
/// plain `json.dumps`, `raise_exception`, `strftime_now` and `{% generation %}`.
package struct ChatTemplate: Sendable {
    package let source: String
    /// What errors call it: a path, or a path and a name.
    package let name: String
    /// 64 hexadecimal digits over the source.
    package let sha256: String
    package let limits: Limits
    private let program: JinjaProgram

    /// How much a rendering may do.
    package struct Limits: Hashable, Sendable {
        /// Expressions, iterations and elements, and one for each 128 bytes of text made or read.
        package var steps = 1_000_000
        /// Bytes of the output, and of every text on the way to it.
        package var output = 4 << 20
        /// Of blocks and brackets in the source, of macro calls, and of generators that feed each other.
        package var depth = 64
        /// Of lists and mappings within each other.
        package var dataDepth = 256
        /// Levels of the walk through the template, macro calls included.
        package var nesting = 600
        /// Elements of a `range`.
        package var range = 100_000

        package init() {}
        package static let standard = Limits()
    }

    package struct Rendering: Hashable, Sendable {
        package var text: String
        /// What `{% generation %}` blocks wrote, as offsets into the text's UTF-8, in the order of their ends.
        package var generationSpans: [Range<Int>]
        /// How many more blocks wrote into a macro, a `set` or a filter, where their place in the text is not known.
        package var unplacedGenerations: Int
    }

    /// - Throws: `TemplateError.syntax` or `.limit` with the line.
    package init(source: String, name: String, limits: Limits = .standard) throws(TemplateError) {
        guard source.utf8.count <= limits.output else {
            throw .limit(TemplateError.Place(template: name, line: 1), "the template is over \(limits.output) bytes")
        }
        self.source = source
        self.name = name
        self.limits = limits
        sha256 = Digest.sha256(source)
        program = try JinjaParser.parse(source: source, name: name, depth: limits.depth)
    }

    /// - Parameters:
    ///   - variables: what the template can name.
    ///   - now: seconds since 1970 for `strftime_now`; nil reads the clock. The time zone is the machine's.
    /// - Throws: `TemplateError.raised` where the template refuses, `.evaluation` or `.limit` where it fails.
    package func render(_ variables: JSONObject, now: Int? = nil) throws(TemplateError) -> Rendering {
        let interpreter = JinjaInterpreter(program: program, name: name, limits: limits, now: now)
        let text = try interpreter.render(variables)
        return Rendering(text: text, generationSpans: interpreter.spans, unplacedGenerations: interpreter.unplacedSpans)
    }

    /// Renders a conversation with the variables that `transformers` passes; absent tools and documents are none.
    ///
    /// - Parameter variables: the special tokens (`bos_token`, …) and whatever else the template takes; they may also
    ///   replace `documents`.
    package func render(
        messages: [JSONValue], tools: JSONValue? = nil, addGenerationPrompt: Bool, variables: JSONObject = [:],
        now: Int? = nil
    ) throws(TemplateError) -> Rendering {
        var all: JSONObject = ["documents": .null]
        for member in variables.members { all[member.key] = member.value }
        all["messages"] = .array(messages)
        all["tools"] = tools ?? .null
        all["add_generation_prompt"] = .bool(addGenerationPrompt)
        return try render(all, now: now)
    }
}
