/// Why a chat template cannot be read or rendered, and at which of its lines.
package enum TemplateError: Error, Hashable, CustomStringConvertible {
    /// The text is not a template in the language that is understood here.
    case syntax(Place, String)
    /// An expression has no value: a type that does not fit, an undefined name, an unknown filter.
    case evaluation(Place, String)
    /// The template itself refused its input (`raise_exception`).
    case raised(Place, String)
    /// The template asked for more steps, text or nesting than it may have.
    case limit(Place, String)
    /// A file of the checkpoint cannot be read.
    case unreadable(path: String, reason: String)
    /// A file of the checkpoint holds something other than what it should.
    case badConfiguration(path: String, reason: String)

    /// A line of a named template, counted from 1.
    package struct Place: Hashable, Sendable {
        package var template: String
        package var line: Int

        package init(template: String, line: Int) {
            self.template = template
            self.line = line
        }
    }

    package var description: String {
        switch self {
        case .syntax(let place, let reason):
            "Chat template \(place.template), line \(place.line): \(reason). "
                + "Correct the template; it must be Jinja without imports, includes or inheritance."
        case .evaluation(let place, let reason):
            "Chat template \(place.template), line \(place.line): \(reason). "
                + "Correct the template, or pass the messages and variables that it expects."
        case .raised(let place, let message):
            "Chat template \(place.template), line \(place.line), refused the conversation: \(message)"
        case .limit(let place, let reason):
            "Chat template \(place.template), line \(place.line): \(reason). "
                + "Use a template that does less; templates are bounded because they come with downloaded files."
        case .unreadable(let path, let reason):
            "\(path) cannot be read: \(reason). Check the path and its permissions."
        case .badConfiguration(let path, let reason):
            "\(path): \(reason). Restore the file from where the checkpoint came."
        }
    }
}
