/// Why a `tokenizer.json` cannot be used.
package enum TokenizationError: Error, Hashable, CustomStringConvertible {
    /// The file is not a tokenizer, or contradicts itself.
    case malformed(path: String, place: String, problem: String)
    /// The file asks for something that is not computed here.
    case unsupported(path: String, place: String, problem: String)

    package var description: String {
        switch self {
        case .malformed(let path, let place, let problem):
            "\(path): \(place) \(problem). Export or copy the tokenizer again."
        case .unsupported(let path, let place, let problem):
            "\(path): \(place) \(problem), which is not supported. Use a tokenizer of the Llama, Mistral, Qwen, Gemma, "
                + "GPT-2, SmolLM or DeepSeek families."
        }
    }
}

extension StringProtocol {
    /// At most 60 scalars, control characters made visible: fit for an error message.
    var quoted: String {
        var scalars = String.UnicodeScalarView()
        for scalar in unicodeScalars.prefix(60) {
            scalars.append(scalar.value < 0x20 || scalar.value == 0x7F ? "\u{FFFD}" : scalar)
        }
        return "\"\(String(scalars))\(unicodeScalars.dropFirst(60).isEmpty ? "" : "…")\""
    }
}
