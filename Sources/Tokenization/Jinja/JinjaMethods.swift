internal import Glibc

/// What can be called and what lies behind a dot: methods of Python's types, macros, and the global functions.
extension JinjaInterpreter {
    private static let stringMethods: Set<String> = [
        "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "replace", "upper", "lower", "title",
        "capitalize", "find", "join", "format", "rsplit", "splitlines", "index", "rfind", "rindex", "count",
        "partition", "rpartition", "removeprefix", "removesuffix", "zfill", "ljust", "rjust", "center", "expandtabs",
        "swapcase", "casefold", "isalpha", "isdigit", "isalnum", "isspace", "isupper", "islower", "isnumeric",
        "isdecimal", "istitle", "isidentifier", "isascii", "isprintable", "format_map", "encode", "translate",
        "maketrans",
    ]
    private static let dictionaryMethods: Set<String> = ["get", "items", "keys", "values", "copy", "fromkeys"]
    private static let listMethods: Set<String> = ["count", "index", "copy"]
    /// What Python has and the sandbox refuses.
    private static let dictionaryMutators: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
    private static let listMutators: Set<String> = [
        "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
    ]

    func hasMethod(_ value: JinjaValue, _ name: String) -> Bool {
        switch value {
        case .string, .markup: JinjaInterpreter.stringMethods.contains(name)
        case .dictionary: JinjaInterpreter.dictionaryMethods.contains(name)
        case .list: JinjaInterpreter.listMethods.contains(name)
        case .tuple, .range: name == "count" || name == "index"
        case .number: name == "is_integer"
        case .integer, .bool: name == "bit_length"
        case .loop: name == "cycle" || name == "changed"
        case .cycler: name == "next" || name == "reset"
        default: false
        }
    }

    /// An attribute that is not an item: a method, or a member of an object of Jinja's own.
    func property(_ name: String, of value: JinjaValue) -> JinjaValue? {
        if hasMethod(value, name) { return .method(JinjaMethod(receiver: value, name: name)) }
        switch value {
        case .dictionary: return JinjaInterpreter.dictionaryMutators.contains(name) ? refused(name, value) : nil
        case .list: return JinjaInterpreter.listMutators.contains(name) ? refused(name, value) : nil
        case .namespace(let namespace): return namespace[name]
        case .loop(let state): return loopProperty(name, state)
        case .tuple(let list): return list.fields.firstIndex(of: name).map { list.items[$0] }
        case .cycler(let cycler): return name == "current" ? cycler.items[cycler.position] : nil
        case .macro(let closure): return name == "name" ? .string(closure.macro.name) : nil
        case .range(let range):
            let members = ["start": range.start, "stop": range.stop, "step": range.step]
            return members[name].map { .integer($0) }
        default: return nil
        }
    }

    private func refused(_ name: String, _ value: JinjaValue) -> JinjaValue {
        .undefined(JinjaUndefined(.hint("'\(name)' would change a \(value.typeName), and that is not allowed")))
    }

    private func loopProperty(_ name: String, _ state: JinjaLoopState) -> JinjaValue? {
        switch name {
        case "index": .integer(state.index + 1)
        case "index0": .integer(state.index)
        case "first": .bool(state.index == 0)
        case "depth": .integer(state.depth + 1)
        case "depth0": .integer(state.depth)
        case "previtem":
            state.index == 0
                ? .undefined(JinjaUndefined(.hint("there is no previous item")))
                : state.previous ?? .none
        default: nil
        }
    }

    /// The members of `loop` that read ahead and may fail.
    func loopMember(_ name: String, _ state: JinjaLoopState) throws(TemplateError) -> JinjaValue? {
        switch name {
        case "last": .bool(try state.peek() == nil)
        case "nextitem": try state.peek() ?? .undefined(JinjaUndefined(.hint("there is no next item")))
        case "length": .integer(try state.length(self))
        case "revindex": .integer(try state.length(self) - state.index)
        case "revindex0": .integer(try state.length(self) - state.index - 1)
        default: nil
        }
    }

    // MARK: Calls

    func call(_ callee: JinjaValue, _ arguments: JinjaArguments) throws(TemplateError) -> JinjaValue {
        switch callee {
        case .macro(let closure): return try invoke(closure, arguments)
        case .method(let method): return try callMethod(method.name, of: method.receiver, arguments)
        case .function(let function): return try call(function, arguments)
        case .joiner(let joiner):
            defer { joiner.isUsed = true }
            return joiner.isUsed ? joiner.separator : .string("")
        case .loop(let state):
            guard let recursion = state.recursion else { throw failure("a loop needs 'recursive' to be called") }
            guard let source = try bound(arguments, to: ["iterable"], of: "'loop'")["iterable"] else {
                throw failure("'loop' needs what to walk through")
            }
            let text = try recurse(recursion.loop, over: source, in: recursion.scope, depth: state.depth + 1)
            return .string(text)
        case .undefined(let undefined): throw failure(undefined.message)
        default: throw failure("a \(callee.typeName) cannot be called")
        }
    }

    private func call(_ function: JinjaFunction, _ arguments: JinjaArguments) throws(TemplateError) -> JinjaValue {
        switch function {
        case .range: return try range(arguments)
        case .dict: return .dictionary(try mapping(arguments))
        case .namespace:
            let namespace = makeNamespace()
            let mapping = try mapping(arguments)
            for (key, value) in zip(mapping.keys, mapping.values) {
                guard let name = key.text else { throw failure("a namespace needs names") }
                namespace[name] = value
            }
            return .namespace(namespace)
        case .cycler:
            guard !arguments.positional.isEmpty else { throw failure("'cycler' needs at least one item") }
            return .cycler(JinjaCycler(items: arguments.positional, depth: try depth(over: arguments.positional)))
        case .joiner:
            let separator = try bound(arguments, to: ["sep"], of: "'joiner'")["sep"] ?? .string(", ")
            return .joiner(JinjaJoiner(separator: separator, depth: try depth(over: [separator])))
        case .lipsum: throw failure("'lipsum' writes random text and is not allowed")
        case .raiseException:
            let message = try bound(arguments, to: ["message"], of: "'raise_exception'")["message"]
            guard let message else { throw failure("'raise_exception' needs a message") }
            throw .raised(place, try text(of: message))
        case .strftimeNow:
            guard let format = try bound(arguments, to: ["format"], of: "'strftime_now'")["format"]?.text else {
                throw failure("'strftime_now' needs a format")
            }
            return .string(try time(format))
        }
    }

    private func range(_ arguments: JinjaArguments) throws(TemplateError) -> JinjaValue {
        guard arguments.named.isEmpty, (1...3).contains(arguments.positional.count) else {
            throw failure("'range' takes one to three integers")
        }
        var numbers: [Int] = []
        for value in arguments.positional {
            if case .undefined(let undefined) = value { throw failure(undefined.message) }
            guard let number = value.index else { throw failure("'range' takes integers, not a \(value.typeName)") }
            numbers.append(number)
        }
        let (start, stop) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
        let step = numbers.count == 3 ? numbers[2] : 1
        if step == 0 { throw failure("the step of 'range' must not be zero") }
        if step > 0 ? start >= stop : start <= stop {
            return .range(JinjaRange(start: start, stop: stop, step: step, count: 0))
        }
        let distance = step > 0 ? UInt(bitPattern: stop &- start) : UInt(bitPattern: start &- stop)
        let count = (distance - 1) / step.magnitude + 1
        guard count <= UInt(limits.range) else { throw limit("a range has more than \(limits.range) elements") }
        return .range(JinjaRange(start: start, stop: stop, step: step, count: Int(count)))
    }

    /// `dict(mapping or pairs, name=value…)`.
    private func mapping(_ arguments: JinjaArguments) throws(TemplateError) -> JinjaDictionary {
        guard arguments.positional.count <= 1 else { throw failure("a mapping is made from one value") }
        var (keys, values): ([JinjaValue], [JinjaValue]) = ([], [])
        switch arguments.positional.first {
        case nil: break
        case .dictionary(let dictionary): (keys, values) = (dictionary.keys, dictionary.values)
        case let pairs?:
            for pair in try items(of: pairs) {
                let both = try items(of: pair)
                guard both.count == 2 else { throw failure("a mapping is made from pairs") }
                keys.append(both[0])
                values.append(both[1])
            }
        }
        keys += arguments.named.map { .string($0.name) }
        values += arguments.named.map(\.value)
        guard case .dictionary(let dictionary) = try dictionary(keys, values) else { throw failure("no mapping") }
        return dictionary
    }

    /// The local time by the C library's `strftime`.
    private func time(_ format: String) throws(TemplateError) -> String {
        guard format.utf8.count <= 1000, !format.utf8.contains(0) else { throw failure("the time format is too long") }
        var seconds = time_t(now ?? Glibc.time(nil))
        var parts = tm()
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 1 << 16)
        // The dot tells an empty text from one that does not fit.
        let count = strftime(&buffer, buffer.count, format.replacingMicroseconds + ".", &parts)
        guard count > 0 else { throw failure("the time text is too long") }
        return String(decoding: buffer.prefix(count - 1).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: Methods

    func callMethod(
        _ name: String, of value: JinjaValue, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        try charge()
        switch value {
        case .string(let text): return try callMethod(name, ofText: text, arguments)
        case .markup(let text):
            return try marked(try callMethod(name, ofText: text, arguments))
        case .dictionary(let dictionary): return try callMethod(name, of: dictionary, arguments)
        case .list, .tuple, .range: return try callMethod(name, ofItems: value, arguments)
        case .number(let number): return .bool(number == number.rounded() && number.isFinite)
        case .integer, .bool:
            return .integer(Int.bitWidth - Int(value.index?.magnitude ?? 0).leadingZeroBitCount)
        case .loop(let state): return try callMethod(name, of: state, arguments)
        case .cycler(let cycler):
            if name == "reset" {
                cycler.position = 0
                return .none
            }
            defer { cycler.position = (cycler.position + 1) % cycler.items.count }
            return cycler.items[cycler.position]
        default: throw failure("a \(value.typeName) has no method '\(name)'")
        }
    }

    private func callMethod(
        _ name: String, of state: JinjaLoopState, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        guard arguments.named.isEmpty else { throw failure("'loop.\(name)' takes no named arguments") }
        if name == "cycle" {
            guard !arguments.positional.isEmpty else { throw failure("'loop.cycle' needs items") }
            return arguments.positional[state.index % arguments.positional.count]
        }
        if let last = state.lastChanged, try isEqual(try tuple(last), try tuple(arguments.positional)) {
            return .bool(false)
        }
        state.lastChanged = arguments.positional
        return .bool(true)
    }

    private func callMethod(
        _ name: String, of dictionary: JinjaDictionary, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        guard arguments.named.isEmpty else { throw failure("'\(name)' takes no named arguments") }
        let values = arguments.positional
        if name == "get" {
            guard values.count == 1 || values.count == 2 else { throw failure("'get' takes one or two arguments") }
            if let text = values[0].text { return dictionary[text] ?? (values.count > 1 ? values[1] : .none) }
            return dictionary[try key(values[0])] ?? (values.count > 1 ? values[1] : .none)
        }
        guard values.isEmpty else { throw failure("'\(name)' takes no arguments") }
        if name == "copy" { return .dictionary(dictionary) }
        guard let kind = JinjaView.Kind(rawValue: name) else { throw failure("'\(name)' is not supported") }
        return .view(JinjaView(kind: kind, dictionary: dictionary))
    }

    private func callMethod(
        _ name: String, ofItems value: JinjaValue, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        if name == "copy" {
            guard arguments.isEmpty else { throw failure("'copy' takes no arguments") }
            return value
        }
        guard arguments.named.isEmpty, let wanted = arguments.positional.first else {
            throw failure("'\(name)' needs a value")
        }
        var items = try items(of: value)[...]
        if name == "index", arguments.positional.count > 1 {
            let (start, end) = try bounds(arguments.positional.dropFirst(), in: items.count)
            items = items[min(start, items.count)..<max(start, min(end, items.count))]
        }
        var count = 0
        for (position, item) in zip(items.indices, items) where try isEqual(item, wanted) {
            if name == "index" { return .integer(position) }
            count += 1
        }
        if name == "index" { throw failure("the value is not in the \(value.typeName)") }
        return .integer(count)
    }

    /// A start and an end that may count from the end of `count` elements.
    private func bounds(
        _ values: ArraySlice<JinjaValue>, in count: Int
    ) throws(TemplateError) -> (start: Int, end: Int) {
        var bounds = [0, count]
        for (place, value) in values.prefix(2).enumerated() {
            guard let bound = try integer(value, "a bound") else { continue }
            bounds[place] = max(0, min(bound < 0 ? bound + count : bound, place == 0 ? Int.max : count))
        }
        return (bounds[0], bounds[1])
    }

    // MARK: Methods of strings

    /// Strings made from markup are markup.
    private func marked(_ value: JinjaValue) throws(TemplateError) -> JinjaValue {
        switch value {
        case .string(let text): return .markup(text)
        case .list(let parts): return try list(parts.items.map { .markup($0.text ?? "") })
        case .tuple(let parts): return try tuple(parts.items.map { .markup($0.text ?? "") })
        default: return value
        }
    }

    private func callMethod(
        _ name: String, ofText text: String, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        try charge(text: text.utf8.count)
        switch name {
        case "strip", "lstrip", "rstrip":
            let characters = try optionalText(arguments, name)
            let side: JinjaText.Side = name == "strip" ? .both : name == "lstrip" ? .left : .right
            return .string(try stripped(text, characters, side))
        case "startswith", "endswith": return .bool(try hasAffix(text, name, arguments))
        case "split", "rsplit": return try split(text, name, arguments)
        case "replace":
            guard arguments.named.isEmpty, (2...3).contains(arguments.positional.count),
                let old = arguments.positional[0].text, let new = arguments.positional[1].text
            else { throw failure("'replace' needs two strings") }
            let count = arguments.positional.count > 2 ? try integer(arguments.positional[2], "count") ?? -1 : -1
            return .string(try replaced(text, old, new, limit: count < 0 ? -1 : count))
        case "find", "rfind", "index", "rindex", "count": return .integer(try search(text, name, arguments))
        case "join":
            guard arguments.named.isEmpty, arguments.positional.count == 1 else { throw failure("'join' needs a list") }
            let items = try items(of: arguments.positional[0])
            guard items.allSatisfy({ $0.text != nil }) else { throw failure("'join' needs strings") }
            return .string(try joined(try list(items), text))
        case "format": return .string(try formatted(text, arguments))
        case "format_map":
            guard arguments.named.isEmpty, arguments.positional.count == 1,
                case .dictionary(let mapping) = arguments.positional[0]
            else { throw failure("'format_map' needs a mapping") }
            let named = zip(mapping.keys, mapping.values).compactMap { key, value in key.text.map { ($0, value) } }
            return .string(try formatted(text, JinjaArguments(named: named.map { (name: $0.0, value: $0.1) })))
        case "splitlines":
            try charge(characters: text)
            let given = try bound(arguments, to: ["keepends"], of: "'splitlines'")
            let lines = JinjaText.lines(text, keepingBreaks: given["keepends"]?.isTrue ?? false)
            return try list(lines.map { .string($0) })
        case "partition", "rpartition": return try partition(text, arguments, isFromEnd: name == "rpartition")
        case "removeprefix", "removesuffix":
            guard let affix = try optionalText(arguments, name) else { throw failure("'\(name)' needs a string") }
            if name == "removeprefix" {
                guard JinjaText.hasPrefix(text, affix) else { return .string(text) }
                return .string(JinjaText.slice(text, affix.utf8.count..<text.utf8.count))
            }
            guard !affix.isEmpty, JinjaText.hasSuffix(text, affix) else { return .string(text) }
            return .string(JinjaText.slice(text, 0..<(text.utf8.count - affix.utf8.count)))
        case "zfill", "ljust", "rjust", "center", "expandtabs": return .string(try padded(text, name, arguments))
        default: return try plainMethod(name, text, arguments)
        }
    }

    /// Methods without arguments.
    private func plainMethod(
        _ name: String, _ text: String, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        if name == "encode" || name == "translate" || name == "maketrans" {
            throw failure("the method '\(name)' of strings is not supported")
        }
        guard arguments.isEmpty else { throw failure("'\(name)' takes no arguments") }
        try charge(characters: text)
        func all(_ isMember: (Unicode.Scalar) -> Bool) -> JinjaValue {
            .bool(!text.isEmpty && text.unicodeScalars.allSatisfy(isMember))
        }
        switch name {
        case "upper": return .string(JinjaText.uppercased(text))
        case "lower": return .string(JinjaText.lowercased(text))
        case "casefold": return .string(JinjaText.caseFolded(text))
        case "title": return .string(JinjaText.titled(text))
        case "capitalize": return .string(JinjaText.capitalized(text))
        case "swapcase": return .string(JinjaText.swappedCase(text))
        case "isalpha": return all(JinjaText.isAlphabetic)
        case "isdigit": return all(JinjaText.isDigit)
        case "isdecimal": return all(JinjaText.isDecimal)
        case "isnumeric": return all(JinjaText.isNumeric)
        case "isalnum": return all(JinjaText.isAlphanumeric)
        case "isspace": return all(JinjaText.isSpace)
        case "isupper": return .bool(JinjaText.isAllUpper(text))
        case "islower": return .bool(JinjaText.isAllLower(text))
        case "istitle": return .bool(JinjaText.isAllTitle(text))
        case "isidentifier": return .bool(JinjaText.isIdentifier(text))
        case "isascii": return .bool(JinjaText.isASCII(text))
        case "isprintable": return .bool(text.unicodeScalars.allSatisfy(JinjaText.isPrintable))
        default: throw failure("a str has no method '\(name)'")
        }
    }

    private func optionalText(_ arguments: JinjaArguments, _ owner: String) throws(TemplateError) -> String? {
        guard arguments.named.isEmpty, arguments.positional.count <= 1 else {
            throw failure("'\(owner)' takes one argument")
        }
        guard let value = arguments.positional.first, !value.isNone else { return nil }
        guard let text = value.text else { throw failure("'\(owner)' takes a string, not a \(value.typeName)") }
        return text
    }

    private func hasAffix(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(TemplateError) -> Bool {
        guard arguments.named.isEmpty, let first = arguments.positional.first else {
            throw failure("'\(name)' needs a string")
        }
        var text = text
        if arguments.positional.count > 1 {
            let length = JinjaText.length(text)
            let (start, end) = try bounds(arguments.positional.dropFirst(), in: length)
            if start > length { return false }
            text = JinjaText.string(text.unicodeScalars.dropFirst(start).prefix(max(0, end - start)))
        }
        var affixes = [first]
        if case .tuple(let tuple) = first { affixes = tuple.items }
        for affix in affixes {
            guard let affix = affix.text else {
                throw failure("'\(name)' takes a string or a tuple of strings, not a \(affix.typeName)")
            }
            if name == "startswith" ? JinjaText.hasPrefix(text, affix) : JinjaText.hasSuffix(text, affix) {
                return true
            }
        }
        return false
    }

    private func split(
        _ text: String, _ name: String, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        let given = try bound(arguments, to: ["sep", "maxsplit"], of: "'\(name)'")
        let limit = max(-1, try integer(given["maxsplit"], "maxsplit") ?? -1)
        let isFromEnd = name == "rsplit"
        var parts: [String]
        if let separator = given["sep"], !separator.isNone {
            guard let separator = separator.text else {
                if case .undefined(let undefined) = separator { throw failure(undefined.message) }
                throw failure("'\(name)' takes a string, not a \(separator.typeName)")
            }
            if separator.isEmpty { throw failure("the separator of '\(name)' is empty") }
            parts =
                isFromEnd
                ? JinjaText.splitFromEnd(text, by: separator, limit: limit)
                : JinjaText.split(text, by: separator, limit: limit)
        } else {
            parts =
                isFromEnd
                ? JinjaText.splitAtSpaceFromEnd(text, limit: limit) : JinjaText.splitAtSpace(text, limit: limit)
        }
        return try list(parts.map { .string($0) })
    }

    private func search(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(TemplateError) -> Int {
        guard arguments.named.isEmpty, let needle = arguments.positional.first?.text else {
            throw failure("'\(name)' needs a string")
        }
        let length = JinjaText.length(text)
        let (start, end) = try bounds(arguments.positional.dropFirst(), in: length)
        var found: Int?
        if start <= end {
            let part =
                start == 0 && end == length
                ? text : JinjaText.string(text.unicodeScalars.dropFirst(start).prefix(end - start))
            if name == "count" {
                if needle.isEmpty { return JinjaText.length(part) + 1 }
                return JinjaText.count(part, of: needle)
            }
            let isFromEnd = name == "rfind" || name == "rindex"
            let offset =
                isFromEnd
                ? JinjaText.lastOffset(of: needle, in: part)
                : JinjaText.offset(of: needle, in: part)
            found = offset.map { start + JinjaText.length(JinjaText.slice(part, 0..<$0)) }
        } else if name == "count" {
            return 0
        }
        if found == nil, name == "index" || name == "rindex" { throw failure("the text is not in the string") }
        return found ?? -1
    }

    private func partition(
        _ text: String, _ arguments: JinjaArguments, isFromEnd: Bool
    ) throws(TemplateError) -> JinjaValue {
        guard let separator = try optionalText(arguments, "partition"), !separator.isEmpty else {
            throw failure("'partition' needs a separator")
        }
        let found =
            isFromEnd
            ? JinjaText.lastOffset(of: separator, in: text)
            : JinjaText.offset(of: separator, in: text)
        var parts = isFromEnd ? ["", "", text] : [text, "", ""]
        if let found {
            let behind = found + separator.utf8.count
            parts = [
                JinjaText.slice(text, 0..<found), separator, JinjaText.slice(text, behind..<text.utf8.count),
            ]
        }
        return try tuple(parts.map { .string($0) })
    }

    private func padded(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(TemplateError) -> String {
        if name == "expandtabs" {
            let given = try bound(arguments, to: ["tabsize"], of: "'expandtabs'")
            return try expandedTabs(text, try integer(given["tabsize"], "tabsize") ?? 8)
        }
        guard arguments.named.isEmpty, let width = try integer(arguments.positional.first, "width"),
            arguments.positional.count <= (name == "zfill" ? 1 : 2)
        else { throw failure("'\(name)' needs a width") }
        let fill = arguments.positional.count > 1 ? arguments.positional[1].text ?? "" : " "
        guard JinjaText.length(fill) == 1 else { throw failure("'\(name)' fills with one character") }
        let missing = width - JinjaText.length(text)
        if missing <= 0 { return text }
        try charge(text: missing)
        switch name {
        case "zfill":
            let isSigned = text.hasPrefix("-") || text.hasPrefix("+")
            let zeros = JinjaText.repeated("0", missing)
            return isSigned ? text.prefix(1) + zeros + text.dropFirst() : zeros + text
        case "ljust": return text + JinjaText.repeated(fill, missing)
        case "rjust": return JinjaText.repeated(fill, missing) + text
        default: return try centered(text, width, fill: fill)
        }
    }

    private func expandedTabs(_ text: String, _ size: Int) throws(TemplateError) -> String {
        try charge(characters: text)
        var output = ""
        var column = 0
        for scalar in text.unicodeScalars {
            if scalar == "\t" {
                let missing = size > 0 ? size - column % size : 0
                try charge(text: output.utf8.count + missing)
                output += JinjaText.repeated(" ", missing)
                column += missing
            } else {
                output.unicodeScalars.append(scalar)
                column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
            }
        }
        return output
    }
}

extension String {
    /// `%f` is Python's own; the times here have whole seconds.
    fileprivate var replacingMicroseconds: String {
        var output = ""
        var isEscaped = false
        for scalar in unicodeScalars {
            if isEscaped, scalar == "f" {
                output.unicodeScalars.removeLast()
                output += "000000"
            } else {
                output.unicodeScalars.append(scalar)
            }
            isEscaped = !isEscaped && scalar == "%"
        }
        return output
    }
}
