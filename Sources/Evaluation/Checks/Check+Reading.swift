package import Chat

extension CheckList {
    /// Reads the `checks` of a prompt's record: a list of objects, each with a `check` that names it; see
    /// `docs/checks.md`.
    ///
    /// - Parameter place: what error messages call the record.
    /// - Throws: `configuration` naming the check and the field that cannot be used.
    package init(_ value: JSONValue, place: String) throws(EvaluationError) {
        guard let list = value.array, !list.isEmpty else {
            throw .configuration("\(place): checks should be a list with at least one check, but is \(value.kind).")
        }
        items = []
        for (index, element) in list.enumerated() {
            var fields = try Fields(element, place: "\(place): checks[\(index)]")
            let weight = try fields.number("weight") ?? 1
            if !(weight > 0 && weight.isFinite) { throw fields.unusable("weight", "should be above 0") }
            items.append(Item(try Check(&fields), weight: weight))
            try fields.refuseUnknown()
        }
    }

    /// The `checks` of a record, as they are read.
    package var json: JSONValue {
        .array(
            items.map { item in
                var object = item.check.json
                if item.weight != 1 { object["weight"] = .number(item.weight) }
                return .object(object)
            })
    }
}

extension Check {
    fileprivate init(_ fields: inout Fields) throws(EvaluationError) {
        let name = try fields.requiredString("check")
        switch name {
        case "equals":
            self = .equals(try fields.texts("texts"), ignoresCase: try fields.bool("ignore_case") ?? true)
        case "contains": self = .contains(try fields.texts("texts"))
        case "starts_with": self = .startsWith(try fields.requiredString("text"))
        case "ends_with": self = .endsWith(try fields.requiredString("text"))
        case "required_words": self = .requiredWords(try fields.phrases("words"))
        case "forbidden_words": self = .forbiddenWords(try fields.phrases("words"))
        case "mentions": self = .mentions(try fields.phrases("items"), try fields.range())
        case "order": self = .order(try fields.phrases("items"))
        case "occurrences": self = .occurrences(of: try fields.requiredString("text"), try fields.range())
        case "letter_case":
            let text = try fields.requiredString("case")
            guard let letterCase = LetterCase(rawValue: text) else {
                throw fields.unusable("case", "\"\(text)\" is unknown; known are upper, lower")
            }
            self = .letterCase(letterCase)
        case "number":
            let value = try fields.required("value", try fields.number("value"))
            let tolerance = try fields.number("tolerance") ?? 0
            if !(tolerance >= 0) { throw fields.unusable("tolerance", "should be 0 or more") }
            self = .number(value, tolerance: tolerance)
        case "json": self = .json(try fields.members())
        default:
            guard let unit = TextUnit(rawValue: name) else {
                throw fields.unusable(
                    "check", "\"\(name)\" is unknown; known are \(Check.names.joined(separator: ", "))")
            }
            self = .count(unit, try fields.range())
        }
    }

    private static let names =
        [
            "equals", "contains", "starts_with", "ends_with", "required_words", "forbidden_words", "mentions", "order",
            "occurrences", "letter_case", "number", "json",
        ] + TextUnit.allCases.map(\.rawValue)

    fileprivate var json: JSONObject {
        switch self {
        case .equals(let texts, let ignoresCase):
            var object: JSONObject = ["check": "equals", "texts": Check.list(texts)]
            if !ignoresCase { object["ignore_case"] = false }
            return object
        case .contains(let texts): return ["check": "contains", "texts": Check.list(texts)]
        case .startsWith(let text): return ["check": "starts_with", "text": .string(text)]
        case .endsWith(let text): return ["check": "ends_with", "text": .string(text)]
        case .requiredWords(let words): return ["check": "required_words", "words": Check.list(words)]
        case .forbiddenWords(let words): return ["check": "forbidden_words", "words": Check.list(words)]
        case .mentions(let items, let range): return range.json(["check": "mentions", "items": Check.list(items)])
        case .order(let items): return ["check": "order", "items": Check.list(items)]
        case .count(let unit, let range): return range.json(["check": .string(unit.rawValue)])
        case .occurrences(let text, let range):
            return range.json(["check": "occurrences", "text": .string(text)])
        case .letterCase(let letterCase): return ["check": "letter_case", "case": .string(letterCase.rawValue)]
        case .number(let value, let tolerance):
            var object: JSONObject = ["check": "number", "value": .number(value)]
            if tolerance != 0 { object["tolerance"] = .number(tolerance) }
            return object
        case .json(let members):
            return members.members.isEmpty ? ["check": "json"] : ["check": "json", "members": .object(members)]
        }
    }

    private static func list(_ texts: [String]) -> JSONValue { .array(texts.map { .string($0) }) }
}

extension CountRange {
    fileprivate func json(_ object: JSONObject) -> JSONObject {
        var object = object
        if least > 0 { object["min"] = .integer(least) }
        if let most { object["max"] = .integer(most) }
        return object
    }
}

extension Fields {
    fileprivate mutating func texts(_ key: String) throws(EvaluationError) -> [String] {
        let texts = try strings(key)
        if texts.isEmpty || texts.contains(where: { $0.trimmed.isEmpty }) {
            throw unusable(key, "should be a list of texts, none of them empty")
        }
        return texts
    }

    /// Texts that are looked for word by word.
    fileprivate mutating func phrases(_ key: String) throws(EvaluationError) -> [String] {
        let phrases = try texts(key)
        if let empty = phrases.first(where: { OutputText($0).count(.words) == 0 }) {
            throw unusable(key, "holds \"\(empty)\", which has neither a letter nor a digit")
        }
        return phrases
    }

    fileprivate mutating func range() throws(EvaluationError) -> CountRange {
        let (least, most) = (try integer("min"), try integer("max"))
        guard least != nil || most != nil, least ?? 0 >= 0, most ?? Int.max >= least ?? 0 else {
            throw unusable(
                "min", "and max should be whole numbers of 0 or more, one of them at least, and min at most max")
        }
        return CountRange(least: least ?? 0, most: most)
    }

    fileprivate mutating func members() throws(EvaluationError) -> JSONObject {
        guard let value = value("members") else { return JSONObject() }
        guard let object = value.object else { throw unusable("members", "should be an object of the members wanted") }
        return object
    }
}
