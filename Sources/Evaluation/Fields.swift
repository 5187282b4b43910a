package import Chat
internal import Yams

/// One object of a definition file, read field by field; what nobody asked for is an error, so a typo is never a
/// default.
package struct Fields {
    private let object: JSONObject
    /// What the error messages call this object, for instance `judge.yaml: parser`.
    private let place: String
    private var known: Set<String> = []

    package init(_ value: JSONValue, place: String) throws(EvaluationError) {
        guard let object = value.object else {
            throw .configuration("\(place) should be a mapping of names to values, but is \(value.kind).")
        }
        self.object = object
        self.place = place
    }

    /// Reads a YAML file of one mapping.
    package init(yamlFile path: String) throws(EvaluationError) {
        try self.init(yaml: try Files.readText(path, asked: "The definition"), place: path)
    }

    /// Reads one YAML mapping. Aliases unfold, but only so far: a small file cannot become a large one.
    package init(yaml text: String, place: String) throws(EvaluationError) {
        do {
            guard let node = try Yams.compose(yaml: text) else { throw Fields.malformed(place, "it is empty") }
            var budget = Fields.largest
            try self.init(try Fields.json(node, place, &budget), place: place)
        } catch let error as EvaluationError {
            throw error
        } catch {
            throw Fields.malformed(place, "\(error)")
        }
    }

    package mutating func value(_ key: String) -> JSONValue? {
        known.insert(key)
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    package mutating func string(_ key: String) throws(EvaluationError) -> String? {
        guard let value = value(key) else { return nil }
        switch value {
        case .string(let text): return text
        case .integer(let number): return String(number)
        default: throw wrong(key, "text", value)
        }
    }

    package mutating func integer(_ key: String) throws(EvaluationError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let number = value.integer else { throw wrong(key, "a whole number", value) }
        return number
    }

    package mutating func positive(_ key: String) throws(EvaluationError) -> Int? {
        guard let number = try integer(key) else { return nil }
        if number < 1 { throw unusable(key, "should be 1 or more") }
        return number
    }

    package mutating func number(_ key: String) throws(EvaluationError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.number else { throw wrong(key, "a number", value) }
        return number
    }

    package mutating func bool(_ key: String) throws(EvaluationError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let bool = value.bool else { throw wrong(key, "true or false", value) }
        return bool
    }

    /// One text, or a list of them.
    package mutating func strings(_ key: String) throws(EvaluationError) -> [String] {
        guard let value = value(key) else { return [] }
        if let text = value.string { return [text] }
        let texts = (value.array ?? []).compactMap(\.string)
        guard let array = value.array, array.count == texts.count else {
            throw unusable(key, "should be a text or a list of texts")
        }
        return texts
    }

    package mutating func object(_ key: String) throws(EvaluationError) -> Fields? {
        guard let value = value(key) else { return nil }
        return try Fields(value, place: "\(place): \(key)")
    }

    /// A mapping of names to numbers; empty when left out.
    package mutating func numbers(_ key: String) throws(EvaluationError) -> [(name: String, value: Double)] {
        guard let value = value(key) else { return [] }
        guard let object = value.object else { throw wrong(key, "a mapping of names to numbers", value) }
        var numbers: [(name: String, value: Double)] = []
        for member in object.members {
            guard let number = member.value.number else {
                throw wrong("\(key).\(member.key)", "a number", member.value)
            }
            numbers.append((member.key, number))
        }
        return numbers
    }

    /// A mapping of names to texts; empty when left out.
    package mutating func mapping(_ key: String) throws(EvaluationError) -> [String: String] {
        guard let value = value(key) else { return [:] }
        guard let object = value.object else { throw wrong(key, "a mapping of names to texts", value) }
        var texts: [String: String] = [:]
        for member in object.members {
            guard let text = member.value.string else { throw wrong("\(key).\(member.key)", "a text", member.value) }
            texts[member.key] = text
        }
        return texts
    }

    package mutating func objects(_ key: String) throws(EvaluationError) -> [Fields] {
        guard let value = value(key) else { return [] }
        guard let array = value.array else { throw wrong(key, "a list", value) }
        var fields: [Fields] = []
        for (index, element) in array.enumerated() {
            fields.append(try Fields(element, place: "\(place): \(key)[\(index)]"))
        }
        return fields
    }

    /// - Throws: `configuration` naming the field when there is none.
    package func required<Value>(_ key: String, _ value: Value?) throws(EvaluationError) -> Value {
        guard let value else { throw .configuration("\(place) has no \"\(key)\", which it needs.") }
        return value
    }

    package mutating func requiredString(_ key: String) throws(EvaluationError) -> String {
        let value = try string(key)
        return try required(key, value)
    }

    /// To be called when every field was read.
    package func refuseUnknown() throws(EvaluationError) {
        guard let stranger = object.keys.first(where: { !known.contains($0) }) else { return }
        throw .configuration(
            "\(place) has a field \"\(stranger)\" that means nothing here; known are "
                + "\(known.sorted().joined(separator: ", "))."
        )
    }

    package func unusable(_ key: String, _ reason: String) -> EvaluationError {
        .configuration("\(place): \(key) \(reason).")
    }

    private func wrong(_ key: String, _ expected: String, _ value: JSONValue) -> EvaluationError {
        .configuration("\(place): \(key) should be \(expected), but is \(value.kind).")
    }

    private static func malformed(_ path: String, _ reason: String) -> EvaluationError {
        .configuration("\(path) is not a usable YAML definition: \(reason).")
    }

    /// How many values a definition may have, aliases unfolded.
    private static let largest = 10_000

    private static func json(_ node: Node, _ path: String, _ budget: inout Int) throws(EvaluationError) -> JSONValue {
        budget -= 1
        if budget < 0 { throw malformed(path, "it unfolds to more than \(largest) values") }
        switch node {
        case .alias: throw malformed(path, "an alias refers to nothing")
        case .sequence(let sequence):
            var values: [JSONValue] = []
            for node in sequence { values.append(try json(node, path, &budget)) }
            return .array(values)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string else { throw malformed(path, "a key is not plain text") }
                if object[name] != nil { throw malformed(path, "the key \"\(name)\" stands twice") }
                object[name] = try json(value, path, &budget)
            }
            return .object(object)
        case .scalar(let scalar):
            if scalar.style == .singleQuoted || scalar.style == .doubleQuoted || scalar.style == .literal
                || scalar.style == .folded
            {
                return .string(scalar.string)
            }
            if node.null != nil { return .null }
            if let bool = node.bool { return .bool(bool) }
            if let integer = node.int { return .integer(integer) }
            if let number = node.float, number.isFinite { return .number(number) }
            return .string(scalar.string)
        }
    }
}
