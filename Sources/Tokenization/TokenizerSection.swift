import Chat

/// One JSON object of a `tokenizer.json` and where it stands, so that an error can name it.
struct TokenizerSection {
    let path: String
    /// Such as `pre_tokenizer.pretokenizers[1]`.
    let place: String
    let object: JSONObject

    init(path: String, place: String, value: JSONValue) throws(TokenizationError) {
        guard let object = value.object else {
            throw .malformed(path: path, place: place, problem: "is \(value.kind), but must be an object")
        }
        self.path = path
        self.place = place
        self.object = object
    }

    func malformed(_ problem: String) -> TokenizationError {
        .malformed(path: path, place: place, problem: problem)
    }

    func unsupported(_ problem: String) -> TokenizationError {
        .unsupported(path: path, place: place, problem: problem)
    }

    private func wrong(_ key: String, _ value: JSONValue, _ expected: String) -> TokenizationError {
        .malformed(path: path, place: "\(place).\(key)", problem: "is \(value.kind), but must be \(expected)")
    }

    /// A member that is there and is not null.
    func present(_ key: String) -> JSONValue? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    func required(_ key: String) throws(TokenizationError) -> JSONValue {
        guard let value = present(key) else { throw malformed("has no \"\(key)\"") }
        return value
    }

    func type() throws(TokenizationError) -> String { try string("type") }

    func string(_ key: String) throws(TokenizationError) -> String {
        let value = try required(key)
        guard let text = value.string else { throw wrong(key, value, "a string") }
        return text
    }

    func optionalString(_ key: String) throws(TokenizationError) -> String? {
        present(key) == nil ? nil : try string(key)
    }

    func bool(_ key: String, default fallback: Bool) throws(TokenizationError) -> Bool {
        guard let value = present(key) else { return fallback }
        guard let bool = value.bool else { throw wrong(key, value, "a boolean") }
        return bool
    }

    /// A count from 0 to 1,000,000.
    func count(_ key: String) throws(TokenizationError) -> Int {
        let value = try required(key)
        guard let count = value.integer, (0...1_000_000).contains(count) else {
            throw wrong(key, value, "a whole number from 0 to 1000000")
        }
        return count
    }

    func scalar(_ key: String) throws(TokenizationError) -> Unicode.Scalar {
        let text = try string(key).unicodeScalars
        guard let first = text.first, text.count == 1 else {
            throw malformed("has a \"\(key)\" that is not 1 character")
        }
        return first
    }

    func array(_ key: String) throws(TokenizationError) -> [JSONValue] {
        let value = try required(key)
        guard let array = value.array else { throw wrong(key, value, "an array") }
        return array
    }

    func section(_ key: String) throws(TokenizationError) -> TokenizerSection {
        try TokenizerSection(path: path, place: "\(place).\(key)", value: try required(key))
    }

    func sections(_ key: String) throws(TokenizationError) -> [TokenizerSection] {
        var sections: [TokenizerSection] = []
        for (index, value) in try array(key).enumerated() {
            sections.append(try TokenizerSection(path: path, place: "\(place).\(key)[\(index)]", value: value))
        }
        return sections
    }

    /// An id within the bounds that a table of ids may have.
    func tokenID(_ value: JSONValue, _ what: @autoclosure () -> String) throws(TokenizationError) -> TokenID {
        guard let id = value.integer, (0..<Vocabulary.largestSize).contains(id) else {
            throw malformed("gives \(what()) an id that is not a whole number from 0 to \(Vocabulary.largestSize - 1)")
        }
        return TokenID(id)
    }
}
