/// What can be wrong with a checkpoint folder; each case is one kind of fault.
package enum CheckpointError: Error, Hashable, CustomStringConvertible {
    /// Something that is needed is not there or may not be read.
    case unreadable(path: String, reason: String)
    /// The bytes break the rules of their format.
    case malformed(path: String, problem: String)
    /// A field of a configuration asks for what is not computed here, or has a value that makes no sense.
    case unsupported(path: String, field: String, problem: String)
    /// The weights are not those that the configuration describes.
    case mismatch(path: String, tensor: String, problem: String)

    package var description: String {
        switch self {
        case .unreadable(let path, let reason):
            "\(path) cannot be read: \(reason). Check the path; a checkpoint is a folder with config.json and "
                + "model.safetensors."
        case .malformed(let path, let problem):
            "\(path) is damaged: \(problem). Copy or export the file again."
        case .unsupported(let path, let field, let problem):
            "\(path): \"\(field)\" \(problem)."
        case .mismatch(let path, let tensor, let problem):
            "\(path): the tensor \"\(tensor)\" \(problem). The weights and config.json must come from one export."
        }
    }
}

extension String {
    /// At most 80 scalars of a text from outside, control characters made visible: fit for an error message.
    var abridged: String {
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars.prefix(80) {
            text.append(scalar.value < 0x20 || scalar.value == 0x7F ? "\u{FFFD}" : scalar)
        }
        return unicodeScalars.dropFirst(80).isEmpty ? String(text) : String(text) + "…"
    }
}
