internal import Chat

/// What a template computes with: Python's values as far as a template can see them.
///
/// Collections are immutable, as the sandbox of the original makes them, so a value cannot contain itself; every
/// collection knows its depth, which bounds each recursion over it.
enum JinjaValue {
    case undefined(JinjaUndefined)
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    /// A string marked as safe HTML: what is added to it is escaped.
    case markup(String)
    case list(JinjaList)
    case tuple(JinjaList)
    case dictionary(JinjaDictionary)
    case view(JinjaView)
    case range(JinjaRange)
    /// A generator: it can be walked once.
    case iterator(JinjaIterator)
    case namespace(JinjaNamespace)
    case macro(JinjaClosure)
    case loop(JinjaLoopState)
    case method(JinjaMethod)
    case function(JinjaFunction)
    case cycler(JinjaCycler)
    case joiner(JinjaJoiner)
}

/// Why a value is missing; the sentence is made only when someone uses it.
final class JinjaUndefined {
    enum Reason {
        case name(String)
        case attribute(String, of: String)
        case hint(String)
    }
    let reason: Reason

    init(_ reason: Reason) { self.reason = reason }

    var message: String {
        switch reason {
        case .name(let name): "'\(name)' is undefined"
        case .attribute(let name, let owner): "\(owner) has no attribute or element \(name)"
        case .hint(let text): text
        }
    }
}

final class JinjaList {
    let items: [JinjaValue]
    /// 1 for a list of plain values.
    let depth: Int
    /// Of a named tuple.
    let fields: [String]

    fileprivate init(items: [JinjaValue], depth: Int, fields: [String]) {
        self.items = items
        self.depth = depth
        self.fields = fields
    }
}

/// Keys in the order in which they were first set.
final class JinjaDictionary {
    let keys: [JinjaValue]
    let values: [JinjaValue]
    let depth: Int
    private var index: [JinjaKey: Int]?

    /// - Parameter index: the place of each key; made when needed where all keys are strings.
    fileprivate init(keys: [JinjaValue], values: [JinjaValue], depth: Int, index: [JinjaKey: Int]? = nil) {
        self.keys = keys
        self.values = values
        self.depth = depth
        self.index = index
    }

    private func place(of key: JinjaKey) -> Int? {
        if let index { return index[key] }
        var made: [JinjaKey: Int] = [:]
        for (position, key) in keys.enumerated() { if let key = JinjaKey(key) { made[key] = position } }
        index = made
        return made[key]
    }

    var count: Int { keys.count }

    subscript(key: String) -> JinjaValue? {
        if keys.count > 8 { return place(of: .string(JinjaKey.Text(text: key))).map { values[$0] } }
        for (position, candidate) in keys.enumerated() {
            if let text = candidate.text, JinjaText.isSame(text, key) { return values[position] }
        }
        return nil
    }

    subscript(key: JinjaKey) -> JinjaValue? { place(of: key).map { values[$0] } }
}

/// `dict.items()` and its like.
final class JinjaView {
    enum Kind: String { case keys, values, items }
    let kind: Kind
    let dictionary: JinjaDictionary

    init(kind: Kind, dictionary: JinjaDictionary) {
        self.kind = kind
        self.dictionary = dictionary
    }
}

final class JinjaRange {
    let start: Int
    let stop: Int
    let step: Int
    let count: Int

    /// - Parameter count: how many values lie in it.
    init(start: Int, stop: Int, step: Int, count: Int) {
        self.start = start
        self.stop = stop
        self.step = step
        self.count = count
    }

    subscript(index: Int) -> Int { start &+ index &* step }
}

/// Values one after the other; lazy, like a generator, so that a test sees what the body has set.
final class JinjaIterator {
    private var pull: (() throws(TemplateError) -> JinjaValue?)?
    /// How many iterators feed this one.
    let depth: Int

    init(depth: Int, _ pull: @escaping () throws(TemplateError) -> JinjaValue?) {
        self.pull = pull
        self.depth = depth
    }

    func next() throws(TemplateError) -> JinjaValue? {
        guard let value = try pull?() else {
            pull = nil
            return nil
        }
        return value
    }

    func end() { pull = nil }
}

final class JinjaNamespace {
    var names: [String] = []
    var values: [JinjaValue] = []

    subscript(name: String) -> JinjaValue? {
        get { names.firstIndex { JinjaText.isSame($0, name) }.map { values[$0] } }
        set {
            guard let newValue else { return }
            if let index = names.firstIndex(where: { JinjaText.isSame($0, name) }) {
                values[index] = newValue
            } else {
                names.append(name)
                values.append(newValue)
            }
        }
    }

    func clear() { (names, values) = ([], []) }
}

/// A macro and the variables around its definition.
final class JinjaClosure {
    let macro: JinjaMacro
    let scope: JinjaScope

    init(macro: JinjaMacro, scope: JinjaScope) {
        self.macro = macro
        self.scope = scope
    }
}

/// A method together with what it is called on.
final class JinjaMethod {
    let receiver: JinjaValue
    let name: String

    init(receiver: JinjaValue, name: String) {
        self.receiver = receiver
        self.name = name
    }
}

final class JinjaCycler {
    let items: [JinjaValue]
    let depth: Int
    var position = 0

    init(items: [JinjaValue], depth: Int) {
        self.items = items
        self.depth = depth
    }
}

final class JinjaJoiner {
    let separator: JinjaValue
    let depth: Int
    var isUsed = false

    init(separator: JinjaValue, depth: Int) {
        self.separator = separator
        self.depth = depth
    }
}

enum JinjaFunction: String, CaseIterable {
    case range, dict, namespace, cycler, joiner, lipsum
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

/// A dictionary key: equal numbers are one key whatever their type.
enum JinjaKey: Hashable {
    case undefined
    case none
    case integer(Int)
    case number(Double)
    case string(Text)
    case tuple([JinjaKey])
    case range([Int])
    case object(ObjectIdentifier)

    struct Text: Hashable {
        let text: String
        static func == (left: Text, right: Text) -> Bool { JinjaText.isSame(left.text, right.text) }
        func hash(into hasher: inout Hasher) {
            JinjaText.withBytes(text) { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    /// Nil for what Python cannot hash, and for tuples, whose elements cost steps.
    init?(_ value: JinjaValue) {
        switch value {
        case .undefined: self = .undefined
        case .none: self = .none
        case .bool(let value): self = .integer(value ? 1 : 0)
        case .integer(let value): self = .integer(value)
        case .number(let value): self = Int(exactly: value).map(JinjaKey.integer) ?? .number(value)
        case .string(let text), .markup(let text): self = .string(Text(text: text))
        case .range(let range): self = .range(range.count == 0 ? [] : [range.count, range.start, range.step])
        case .iterator(let object): self = .object(ObjectIdentifier(object))
        case .namespace(let object): self = .object(ObjectIdentifier(object))
        case .macro(let object): self = .object(ObjectIdentifier(object))
        case .loop(let object): self = .object(ObjectIdentifier(object))
        case .method(let object): self = .object(ObjectIdentifier(object))
        case .cycler(let object): self = .object(ObjectIdentifier(object))
        case .joiner(let object): self = .object(ObjectIdentifier(object))
        case .function(let function): self = .string(Text(text: "function " + function.rawValue))
        case .view(let view) where view.kind == .values: self = .object(ObjectIdentifier(view))
        case .list, .tuple, .dictionary, .view: return nil
        }
    }
}

extension JinjaValue {
    /// The characters of a string of either kind.
    var text: String? {
        switch self {
        case .string(let text), .markup(let text): text
        default: nil
        }
    }

    var isUndefined: Bool {
        if case .undefined = self { true } else { false }
    }

    var isNone: Bool {
        if case .none = self { true } else { false }
    }

    /// The value as an integer where Python takes one: integers and booleans.
    var index: Int? {
        switch self {
        case .integer(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    /// The value as a number where arithmetic takes one.
    var double: Double? {
        if case .number(let value) = self { return value }
        return index.map(Double.init)
    }

    /// How deeply a recursion over the value goes.
    var depth: Int {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .dictionary(let dictionary): dictionary.depth
        case .view(let view): view.dictionary.depth + 1
        case .iterator(let iterator): iterator.depth
        case .method(let method): method.receiver.depth + 1
        case .cycler(let cycler): cycler.depth
        case .joiner(let joiner): joiner.depth
        default: 0
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .integer(let value): value != 0
        case .number(let value): value != 0
        case .string(let text), .markup(let text): !text.isEmpty
        case .list(let list), .tuple(let list): !list.items.isEmpty
        case .dictionary(let dictionary): dictionary.count > 0
        case .view(let view): view.dictionary.count > 0
        case .range(let range): range.count > 0
        case .iterator, .namespace, .macro, .loop, .method, .function, .cycler, .joiner: true
        }
    }

    /// Python's name of the type.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .integer: "int"
        case .number: "float"
        case .string: "str"
        case .markup: "Markup"
        case .list: "list"
        case .tuple: "tuple"
        case .dictionary: "dict"
        case .view(let view): "dict_\(view.kind.rawValue)"
        case .range: "range"
        case .iterator: "generator"
        case .namespace: "Namespace"
        case .macro: "Macro"
        case .loop: "LoopContext"
        case .method: "builtin_function_or_method"
        case .function: "function"
        case .cycler: "Cycler"
        case .joiner: "Joiner"
        }
    }
}

extension JinjaInterpreter {
    // MARK: Making collections; each element costs a step

    func list(_ items: [JinjaValue]) throws(TemplateError) -> JinjaValue { .list(try collection(items)) }

    func tuple(_ items: [JinjaValue], fields: [String] = []) throws(TemplateError) -> JinjaValue {
        .tuple(try collection(items, fields: fields))
    }

    private func collection(_ items: [JinjaValue], fields: [String] = []) throws(TemplateError) -> JinjaList {
        try charge(items.count)
        return JinjaList(items: items, depth: try depth(over: items), fields: fields)
    }

    /// One more than the deepest element's.
    func depth(over items: [JinjaValue]) throws(TemplateError) -> Int {
        var deepest = 0
        for item in items { deepest = max(deepest, item.depth) }
        if deepest >= limits.dataDepth { throw limit("lists nest deeper than \(limits.dataDepth)") }
        return deepest + 1
    }

    /// A later value of an equal key replaces the earlier one in its place.
    func dictionary(_ keys: [JinjaValue], _ values: [JinjaValue]) throws(TemplateError) -> JinjaValue {
        try charge(2 * keys.count)
        var places: [JinjaKey: Int] = [:]
        var (uniqueKeys, uniqueValues): ([JinjaValue], [JinjaValue]) = ([], [])
        for (key, value) in zip(keys, values) {
            let hashed = try self.key(key)
            if let place = places[hashed] {
                uniqueValues[place] = value
            } else {
                places[hashed] = uniqueKeys.count
                uniqueKeys.append(key)
                uniqueValues.append(value)
            }
        }
        let depth = max(try depth(over: uniqueKeys), try depth(over: uniqueValues))
        return .dictionary(JinjaDictionary(keys: uniqueKeys, values: uniqueValues, depth: depth, index: places))
    }

    /// - Throws: `evaluation` for what Python cannot hash.
    func key(_ value: JinjaValue) throws(TemplateError) -> JinjaKey {
        guard case .tuple(let tuple) = value else {
            if let key = JinjaKey(value) { return key }
            throw failure("a \(value.typeName) cannot be the key of a dict")
        }
        try charge(tuple.items.count)
        var keys: [JinjaKey] = []
        for item in tuple.items { keys.append(try key(item)) }
        return .tuple(keys)
    }

    func dictionary(_ named: [(name: String, value: JinjaValue)]) throws(TemplateError) -> JinjaValue {
        try dictionary(named.map { .string($0.name) }, named.map(\.value))
    }
}

extension JinjaInterpreter {
    /// A value of the caller's as the template sees it.
    func value(_ json: JSONValue, depth: Int = 0) throws(TemplateError) -> JinjaValue {
        if depth > limits.dataDepth { throw limit("the variables nest deeper than \(limits.dataDepth)") }
        switch json {
        case .null: return .none
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .number(let value): return .number(value)
        case .string(let text): return .string(text)
        case .array(let elements):
            var items: [JinjaValue] = []
            items.reserveCapacity(elements.count)
            for element in elements { items.append(try value(element, depth: depth + 1)) }
            return .list(JinjaList(items: items, depth: try self.depth(over: items), fields: []))
        case .object(let object):
            var values: [JinjaValue] = []
            values.reserveCapacity(object.members.count)
            for member in object.members { values.append(try value(member.value, depth: depth + 1)) }
            return .dictionary(
                JinjaDictionary(
                    keys: object.members.map { .string($0.key) }, values: values, depth: try self.depth(over: values)))
        }
    }
}
