internal import Glibc

/// Jinja's filters, and `tojson` as `transformers` has it.
enum JinjaFilter: String, CaseIterable, Sendable {
    case abs, attr, batch, capitalize, center, `default`, dictsort, escape, filesizeformat, first, float, forceescape
    case format, groupby, indent, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr
    case replace, reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title, tojson, trim
    case truncate, unique, upper, urlencode, wordcount, xmlattr

    init?(_ name: String) {
        switch name {
        case "count": self = .length
        case "d": self = .default
        case "e": self = .escape
        default: self.init(rawValue: name)
        }
    }

    /// The names of the arguments behind the value, in order; nil where any are taken.
    fileprivate var parameters: [String]? {
        switch self {
        case .abs, .capitalize, .escape, .first, .forceescape, .items, .last, .length, .list, .lower, .reverse, .safe,
            .string, .striptags, .title, .upper, .urlencode, .wordcount:
            []
        case .attr: ["name"]
        case .batch: ["linecount", "fill_with"]
        case .center: ["width"]
        case .default: ["default_value", "boolean"]
        case .dictsort: ["case_sensitive", "by", "reverse"]
        case .filesizeformat: ["binary"]
        case .float: ["default"]
        case .groupby: ["attribute", "default", "case_sensitive"]
        case .indent: ["width", "first", "blank"]
        case .int: ["default", "base"]
        case .join: ["d", "attribute"]
        case .max, .min, .unique: ["case_sensitive", "attribute"]
        case .replace: ["old", "new", "count"]
        case .round: ["precision", "method"]
        case .slice: ["slices", "fill_with"]
        case .sort: ["reverse", "case_sensitive", "attribute"]
        case .sum: ["attribute", "start"]
        case .tojson: ["ensure_ascii", "indent", "separators", "sort_keys"]
        case .trim: ["chars"]
        case .truncate: ["length", "killwords", "end", "leeway"]
        case .xmlattr: ["autospace"]
        case .format, .map, .reject, .rejectattr, .select, .selectattr: nil
        }
    }
}

/// Arguments by the name of their parameter.
struct JinjaBoundArguments {
    private var values: [(name: String, value: JinjaValue)] = []

    subscript(name: String) -> JinjaValue? { values.first { $0.name == name }?.value }

    fileprivate mutating func bind(_ name: String, _ value: JinjaValue) { values.append((name, value)) }
}

extension JinjaInterpreter {
    /// Gives each argument the name of its parameter.
    func bound(
        _ arguments: JinjaArguments, to parameters: [String], of owner: String
    ) throws(TemplateError) -> JinjaBoundArguments {
        var bound = JinjaBoundArguments()
        if arguments.isEmpty { return bound }
        guard arguments.positional.count <= parameters.count else {
            throw failure("\(owner) takes at most \(parameters.count) arguments")
        }
        for (name, value) in zip(parameters, arguments.positional) { bound.bind(name, value) }
        for (name, value) in arguments.named {
            guard parameters.contains(name), bound[name] == nil else {
                throw failure("\(owner) takes no (second) argument '\(name)'")
            }
            bound.bind(name, value)
        }
        return bound
    }

    func apply(
        _ filter: JinjaFilter, to value: JinjaValue, _ arguments: JinjaArguments
    ) throws(TemplateError) -> JinjaValue {
        try charge()
        var given = JinjaBoundArguments()
        if let names = filter.parameters { given = try bound(arguments, to: names, of: "'\(filter.rawValue)'") }
        switch filter {
        case .default:
            let isReplaced = value.isUndefined || (given["boolean"]?.isTrue == true && !value.isTrue)
            return isReplaced ? given["default_value"] ?? .string("") : value
        case .trim:
            return rewrapped(try stripped(try text(of: value), try characters(given["chars"])), like: value)
        case .tojson: return .string(try json(value, try layout(given)))
        case .length:
            if case .loop(let state) = value { return .integer(try state.length(self)) }
            try charge(text: value.text?.utf8.count ?? 0)
            guard let length = length(of: value) else { throw failure("a \(value.typeName) has no length") }
            return .integer(length)
        case .upper: return try changed(value) { JinjaText.uppercased($0) }
        case .lower: return try changed(value) { JinjaText.lowercased($0) }
        case .capitalize: return try changed(value) { JinjaText.capitalized($0) }
        case .title: return try changed(value) { titledWords($0) }
        case .string:
            if case .markup = value { return value }
            return .string(try text(of: value))
        case .safe: return .markup(try text(of: value))
        case .escape, .forceescape:
            if case .markup = value, filter == .escape { return value }
            let text = try text(of: value)
            try charge(text: text.utf8.count)
            return .markup(JinjaText.escapedForHTML(text))
        case .striptags: return .string(try withoutTags(try text(of: value)))
        case .replace, .join, .indent, .center, .truncate, .wordcount, .urlencode, .xmlattr, .format, .filesizeformat:
            return try applyText(filter, to: value, arguments, given)
        case .abs, .round, .int, .float: return try applyNumber(filter, to: value, given)
        default: return try applyCollection(filter, to: value, arguments, given)
        }
    }

    // MARK: Text

    private func changed(
        _ value: JinjaValue, _ change: (String) -> String
    ) throws(TemplateError) -> JinjaValue {
        let text = try text(of: value)
        try charge(characters: text)
        return rewrapped(change(text), like: value)
    }

    /// Characters that go cost more than those that stay.
    func stripped(
        _ text: String, _ characters: String?, _ side: JinjaText.Side = .both
    ) throws(TemplateError) -> String {
        try charge(characters?.utf8.count ?? 0)
        let rest = JinjaText.stripped(text, characters, side)
        try charge((text.utf8.count - rest.utf8.count) / 16 + rest.utf8.count / 128)
        return rest
    }

    private func characters(_ value: JinjaValue?) throws(TemplateError) -> String? {
        guard let value, !value.isNone else { return nil }
        guard let text = value.text else { throw failure("the characters to strip must be a string") }
        return text
    }

    private func layout(_ given: JinjaBoundArguments) throws(TemplateError) -> JSONLayout {
        var layout = JSONLayout()
        layout.isASCII = given["ensure_ascii"]?.isTrue ?? false
        layout.isSorted = given["sort_keys"]?.isTrue ?? false
        if let indent = given["indent"], !indent.isNone {
            if let count = indent.index {
                layout.indentation = try repeated(" ", count)
            } else if let text = indent.text {
                layout.indentation = text
            } else {
                throw failure("the indentation of JSON must be an integer or a string")
            }
            layout.itemSeparator = ","
        }
        if let separators = given["separators"], !separators.isNone {
            let texts = try items(of: separators).compactMap(\.text)
            guard texts.count == 2 else { throw failure("the separators of JSON must be two strings") }
            (layout.itemSeparator, layout.keySeparator) = (texts[0], texts[1])
        }
        return layout
    }

    /// Jinja's own `title`: a word begins behind space, a hyphen or an opening bracket.
    private func titledWords(_ text: String) -> String {
        var output = ""
        var word = ""
        func finishWord() {
            let lower = JinjaText.lowercased(JinjaText.string(word.unicodeScalars.dropFirst()))
            output += (word.unicodeScalars.first?.properties.uppercaseMapping ?? "") + lower
            word = ""
        }
        for scalar in text.unicodeScalars {
            if "-({[<".unicodeScalars.contains(scalar) || JinjaText.isSpace(scalar) {
                finishWord()
                output.unicodeScalars.append(scalar)
            } else {
                word.unicodeScalars.append(scalar)
            }
        }
        finishWord()
        return output
    }

    /// Without comments and tags, space as single blanks, the entities of HTML's own signs resolved.
    private func withoutTags(_ text: String) throws(TemplateError) -> String {
        try charge(characters: text)
        var text = text
        for (open, close) in [("<!--", "-->"), ("<", ">")] {
            var output = ""
            var position = 0
            while let start = JinjaText.offset(of: open, in: text, from: position),
                let end = JinjaText.offset(of: close, in: text, from: start)
            {
                try charge()
                output += JinjaText.slice(text, position..<start)
                position = end + close.utf8.count
            }
            text = output + JinjaText.slice(text, position..<text.utf8.count)
        }
        text = JinjaText.splitAtSpace(text, limit: -1).joined(separator: " ")
        for (entity, sign) in [
            ("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&amp;", "&"),
        ] {
            text = try replaced(text, entity, sign, limit: -1)
        }
        return text
    }

    /// `str.replace`; an empty text stands between all characters.
    func replaced(_ text: String, _ old: String, _ new: String, limit count: Int) throws(TemplateError) -> String {
        try charge(text: text.utf8.count)
        var output = ""
        var replacements = 0
        func add(_ part: String) throws(TemplateError) {
            if output.utf8.count + part.utf8.count > limits.output {
                throw limit("a text grows beyond \(limits.output) bytes")
            }
            output += part
        }
        if old.isEmpty {
            var rest = text.unicodeScalars[...]
            while replacements != count {
                try charge()
                try add(new)
                replacements += 1
                guard let scalar = rest.popFirst() else { break }
                try add(String(scalar))
            }
            try add(String(rest))
        } else {
            guard JinjaText.contains(text, old) else { return text }
            let parts = JinjaText.split(text, by: old, limit: count)
            try charge(parts.count)
            for (index, part) in parts.enumerated() {
                if index > 0 { try add(new) }
                try add(part)
            }
        }
        try charge(text: output.utf8.count)
        return output
    }

    private func applyText(
        _ filter: JinjaFilter, to value: JinjaValue, _ arguments: JinjaArguments, _ given: JinjaBoundArguments
    ) throws(TemplateError) -> JinjaValue {
        switch filter {
        case .replace:
            guard let old = given["old"], let new = given["new"] else { throw failure("'replace' needs two texts") }
            let count = try integer(given["count"], "count") ?? -1
            return .string(
                try replaced(try text(of: value), try text(of: old), try text(of: new), limit: count < 0 ? -1 : count))
        case .join:
            let getter = try attributePath(given["attribute"])
            let separator = try given["d"].map { (d) throws(TemplateError) in try text(of: d) } ?? ""
            return .string(try joined(value, separator, getter))
        case .indent: return rewrapped(try indented(try requiredText(value, "indent"), given), like: value)
        case .center:
            let text = try text(of: value)
            return rewrapped(try centered(text, try integer(given["width"], "width") ?? 80), like: value)
        case .truncate: return try truncated(value, given)
        case .wordcount:
            let text = try text(of: value)
            try charge(characters: text)
            return .integer(text.unicodeScalars.split { !JinjaText.isWord($0) }.count)
        case .urlencode: return .string(try urlEncoded(value))
        case .xmlattr: return .string(try attributes(value, given))
        case .filesizeformat: return .string(try fileSize(value, isBinary: given["binary"]?.isTrue ?? false))
        default:
            if !arguments.named.isEmpty, !arguments.positional.isEmpty {
                throw failure("'format' takes positional or named arguments, not both")
            }
            let values =
                arguments.named.isEmpty ? try tuple(arguments.positional) : try dictionary(arguments.named)
            return rewrapped(try formatted(try text(of: value), with: values), like: value)
        }
    }

    private func requiredText(_ value: JinjaValue, _ owner: String) throws(TemplateError) -> String {
        if let text = value.text { return text }
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        throw failure("'\(owner)' needs a string, not a \(value.typeName)")
    }

    func integer(_ value: JinjaValue?, _ name: String) throws(TemplateError) -> Int? {
        guard let value, !value.isNone else { return nil }
        guard let index = value.index else { throw failure("'\(name)' must be an integer, not a \(value.typeName)") }
        return index
    }

    func joined(
        _ value: JinjaValue, _ separator: String, _ getter: [JinjaValue]? = nil
    ) throws(TemplateError) -> String {
        let iterator = try iterator(over: value)
        var output = ""
        var isFirst = true
        while let item = try iterator.next() {
            let part = try text(of: try get(getter ?? [], of: item))
            let size = part.utf8.count + (isFirst ? 0 : separator.utf8.count)
            if output.utf8.count + size > limits.output { throw limit("a text grows beyond \(limits.output) bytes") }
            try charge(1 + size / 128)
            if !isFirst { output += separator }
            output += part
            isFirst = false
        }
        return output
    }

    private func indented(_ text: String, _ given: JinjaBoundArguments) throws(TemplateError) -> String {
        let width = given["width"] ?? .integer(4)
        var indentation = width.text
        if let count = width.index { indentation = try repeated(" ", count) }
        guard let indentation else { throw failure("'width' must be an integer or a string") }
        let isBlank = given["blank"]?.isTrue ?? false
        try charge(characters: text)
        let lines = JinjaText.lines(text + "\n")
        var output = given["first"]?.isTrue == true ? indentation : ""
        for (index, line) in lines.enumerated() {
            if index > 0 { output += "\n" + (isBlank || !line.isEmpty ? indentation : "") }
            output += line
            if output.utf8.count > limits.output { throw limit("a text grows beyond \(limits.output) bytes") }
            try charge(1 + (line.utf8.count + indentation.utf8.count) / 128)
        }
        return output
    }

    func centered(_ text: String, _ width: Int, fill: String = " ") throws(TemplateError) -> String {
        let missing = width - JinjaText.length(text)
        if missing <= 0 { return text }
        try charge(text: missing)
        let left = missing / 2 + (missing & width & 1)
        return JinjaText.repeated(fill, left) + text + JinjaText.repeated(fill, missing - left)
    }

    private func truncated(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        let limit = try integer(given["length"], "length") ?? 255
        let leeway = try integer(given["leeway"], "leeway") ?? 5
        var end = "..."
        if let given = given["end"] { end = try requiredText(given, "end") }
        let room = limit.subtractingReportingOverflow(JinjaText.length(end)).partialValue
        guard room >= 0, leeway >= 0 else { throw failure("'truncate' needs room for its end") }
        try charge(text: value.text?.utf8.count ?? 0)
        guard let length = length(of: value) else { throw failure("a \(value.typeName) has no length") }
        if length - leeway <= limit { return value }
        let text = try requiredText(value, "truncate")
        var kept = Array(text.unicodeScalars.prefix(room))[...]
        if given["killwords"]?.isTrue != true, let space = kept.lastIndex(of: " ") { kept = kept[..<space] }
        return rewrapped(JinjaText.string(kept) + end, like: value)
    }

    private func urlEncoded(_ value: JinjaValue) throws(TemplateError) -> String {
        func quoted(_ value: JinjaValue, isQuery: Bool) throws(TemplateError) -> String {
            let text = try text(of: value)
            try charge(text: 3 * text.utf8.count)
            try charge(characters: text)
            var output = ""
            for byte in text.utf8 {
                let scalar = Unicode.Scalar(byte)
                if byte < 0x80, JinjaText.isAlphanumeric(scalar) || "_.-~".unicodeScalars.contains(scalar) {
                    output.unicodeScalars.append(scalar)
                } else if byte == UInt8(ascii: "/"), !isQuery {
                    output += "/"
                } else if byte == 0x20, isQuery {
                    output += "+"
                } else {
                    output += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
                }
            }
            return output
        }
        var pairs = value
        switch value {
        case .dictionary(let dictionary): pairs = .view(JinjaView(kind: .items, dictionary: dictionary))
        case .list, .tuple, .view, .iterator, .range, .undefined: break
        default: return try quoted(value, isQuery: false)
        }
        var parts: [String] = []
        for pair in try items(of: pairs) {
            let both = try items(of: pair)
            guard both.count == 2 else { throw failure("'urlencode' needs pairs") }
            parts.append(try quoted(both[0], isQuery: true) + "=" + (try quoted(both[1], isQuery: true)))
        }
        let size = parts.reduce(0) { $0 + $1.utf8.count + 1 }
        try charge(text: size)
        return parts.joined(separator: "&")
    }

    private func attributes(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> String {
        guard case .dictionary(let dictionary) = value else { throw failure("'xmlattr' needs a mapping") }
        var output = ""
        for (key, value) in zip(dictionary.keys, dictionary.values) where !value.isNone && !value.isUndefined {
            guard let name = key.text, !name.utf8.contains(where: { " \t\n\r\u{0B}\u{0C}/>=".utf8.contains($0) }) else {
                throw failure("an attribute has a name that XML does not allow")
            }
            let content = escapedUnlessMarkup(value, try text(of: value))
            try charge(text: output.utf8.count + content.utf8.count + name.utf8.count)
            output += " \(JinjaText.escapedForHTML(name))=\"\(content)\""
        }
        return given["autospace"]?.isTrue == false ? String(output.dropFirst()) : output
    }

    private func fileSize(_ value: JinjaValue, isBinary: Bool) throws(TemplateError) -> String {
        guard let bytes = value.text.map(JinjaNumber.number) ?? value.double, bytes.isFinite else {
            throw failure("'filesizeformat' needs a number")
        }
        let base: Double = isBinary ? 1024 : 1000
        if bytes == 1 { return "1 Byte" }
        if bytes < base { return "\(JinjaNumber.printed(bytes.rounded(.towardZero) + 0, "f", precision: 0)) Bytes" }
        var unit = base
        for (index, prefix) in "kMGTPEZY".enumerated() {
            unit *= base
            guard bytes < unit || index == 7 else { continue }
            let name = isBinary ? (prefix == "k" ? "KiB" : "\(prefix)iB") : "\(prefix)B"
            return JinjaNumber.printed(base * bytes / unit, "f", precision: 1) + " " + name
        }
        return ""
    }

    // MARK: Numbers

    private func applyNumber(
        _ filter: JinjaFilter, to value: JinjaValue, _ given: JinjaBoundArguments
    ) throws(TemplateError) -> JinjaValue {
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        switch filter {
        case .int: return try integer(value, given)
        case .float:
            if let number = value.text.map(JinjaNumber.number) ?? value.double { return .number(number) }
            return given["default"] ?? .number(0)
        case .abs:
            if let integer = value.index { return integer < 0 ? try negated(.integer(integer)) : .integer(integer) }
            guard case .number(let number) = value else { throw failure("'abs' needs a number") }
            return .number(number.magnitude)
        default: return try rounded(value, given)
        }
    }

    private func integer(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        let fallback = given["default"] ?? .integer(0)
        if let integer = value.index { return .integer(integer) }
        var number: Double?
        if let text = value.text {
            let base = try integer(given["base"], "base") ?? 10
            let read = JinjaNumber.integer(text, base: base)
            if let integer = read.value { return .integer(integer) }
            if read.isNumber { throw failure("an integer grows beyond 64 bits") }
            number = JinjaNumber.number(text)
            if let number, !number.isFinite { return fallback }
        } else if case .number(let double) = value {
            if double.isInfinite { throw failure("infinity is no integer") }
            number = double
        }
        guard let number, !number.isNaN else { return fallback }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else {
            throw failure("an integer grows beyond 64 bits")
        }
        return .integer(integer)
    }

    private func rounded(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        let digits = try integer(given["precision"] ?? .integer(0), "precision") ?? 0
        let method = given["method"]?.text ?? "common"
        guard let number = value.double else { throw failure("'round' needs a number, not a \(value.typeName)") }
        guard digits.magnitude <= 400 else { throw failure("'round' takes up to 400 digits") }
        switch method {
        case "common":
            guard let integer = value.index else { return .number(JinjaNumber.rounded(number, digits: digits)) }
            return .integer(try rounded(integer, digits))
        case "ceil", "floor":
            if digits >= 0, value.index != nil { return .number(number) }
            let scale = pow(10, Double(digits))
            let scaled = number * scale
            guard scaled.isFinite else { throw failure("'round' cannot round \(JinjaNumber.represented(number))") }
            // Python rounds to an integer, which has no negative zero.
            return .number((scaled.rounded(method == "ceil" ? .up : .down) + 0) / scale)
        default: throw failure("the method of 'round' must be common, ceil or floor")
        }
    }

    /// To the next multiple of a power of ten, ties to even.
    private func rounded(_ integer: Int, _ digits: Int) throws(TemplateError) -> Int {
        if digits >= 0 { return integer }
        if digits < -18 { return 0 }
        var scale = 1
        for _ in 0..<(-digits) { scale *= 10 }
        let remainder = ((integer % scale) + scale) % scale
        let floor = integer.subtractingReportingOverflow(remainder)
        if floor.overflow { throw failure("an integer grows beyond 64 bits") }
        let isUp =
            remainder > scale - remainder || (remainder == scale - remainder && (floor.partialValue / scale) % 2 != 0)
        let result = floor.partialValue.addingReportingOverflow(isUp ? scale : 0)
        if result.overflow { throw failure("an integer grows beyond 64 bits") }
        return result.partialValue
    }

    // MARK: Collections

    /// The keys of a path like `a.b.0`, or nil for the element itself.
    private func attributePath(_ value: JinjaValue?) throws(TemplateError) -> [JinjaValue]? {
        guard let value, !value.isNone else { return nil }
        guard let text = value.text else { return [value] }
        return text.unicodeScalars.split(separator: ".", omittingEmptySubsequences: false).map { part in
            let isNumber = !part.isEmpty && part.allSatisfy(JinjaText.isDigit)
            return (isNumber ? Int(String(part)) : nil).map(JinjaValue.integer) ?? .string(String(part))
        }
    }

    private func get(_ path: [JinjaValue], of element: JinjaValue) throws(TemplateError) -> JinjaValue {
        var value = element
        for key in path {
            try charge()
            value = try item(key, of: value)
        }
        return value
    }

    private func get(
        _ path: [JinjaValue]?, of element: JinjaValue, fallback: JinjaValue?
    ) throws(TemplateError) -> JinjaValue {
        var value = element
        for key in path ?? [] {
            try charge()
            value = try item(key, of: value)
            if value.isUndefined, let fallback, !fallback.isNone { value = fallback }
        }
        return value
    }

    /// Strings compare without their case unless `case_sensitive` is set.
    private func sortKey(_ value: JinjaValue, _ given: JinjaBoundArguments) -> JinjaValue {
        guard given["case_sensitive"]?.isTrue != true, let text = value.text else { return value }
        return .string(JinjaText.lowercased(text))
    }

    private func applyCollection(
        _ filter: JinjaFilter, to value: JinjaValue, _ arguments: JinjaArguments, _ given: JinjaBoundArguments
    ) throws(TemplateError) -> JinjaValue {
        switch filter {
        case .first:
            return try iterator(over: value).next() ?? .undefined(JinjaUndefined(.hint("there is no first element")))
        case .last: return try last(of: value)
        case .list: return try list(try items(of: value))
        case .items: return try members(of: value)
        case .reverse: return try reversed(value)
        case .attr:
            guard let name = given["name"]?.text else { throw failure("'attr' needs a name") }
            if value.isUndefined { return try attribute(name, of: value) }
            return property(name, of: value) ?? .undefined(JinjaUndefined(.hint("there is no attribute '\(name)'")))
        case .sort: return try list(try sorted(value, given))
        case .dictsort: return try sortedMembers(value, given)
        case .min, .max: return try extreme(of: value, given, isMaximum: filter == .max)
        case .unique: return try unique(value, given)
        case .groupby: return try grouped(value, given)
        case .sum: return try sum(value, given)
        case .batch, .slice: return try cut(value, given, filter)
        case .map: return try mapped(value, arguments)
        default: return try selected(value, arguments, filter)
        }
    }

    private func last(of value: JinjaValue) throws(TemplateError) -> JinjaValue {
        switch value {
        case .list(let list), .tuple(let list):
            if let last = list.items.last { return last }
        case .string(let text), .markup(let text):
            if let last = text.unicodeScalars.last { return rewrapped(String(last), like: value) }
        case .range(let range):
            if range.count > 0 { return .integer(range[range.count - 1]) }
        case .undefined: break
        case .dictionary, .view:
            if let last = try items(of: value).last { return last }
        default: throw failure("a \(value.typeName) has no last element")
        }
        return .undefined(JinjaUndefined(.hint("there is no last element")))
    }

    private func members(of value: JinjaValue) throws(TemplateError) -> JinjaValue {
        switch value {
        case .undefined: return .iterator(iterator(over: []))
        case .dictionary(let dictionary):
            return .iterator(try iterator(over: .view(JinjaView(kind: .items, dictionary: dictionary))))
        default:
            // A generator fails when it is walked, not when it is made.
            let error = failure("'items' needs a mapping, not a \(value.typeName)")
            return .iterator(JinjaIterator(depth: 1) { () throws(TemplateError) in throw error })
        }
    }

    private func reversed(_ value: JinjaValue) throws(TemplateError) -> JinjaValue {
        if let text = value.text {
            try charge(text: text.utf8.count)
            return rewrapped(JinjaText.string(text.unicodeScalars.reversed()), like: value)
        }
        let items = Array(try items(of: value).reversed())
        if case .iterator = value { return try list(items) }
        return .iterator(iterator(over: items))
    }

    private func sorted(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> [JinjaValue] {
        var paths: [[JinjaValue]?] = [nil]
        if let text = given["attribute"]?.text {
            paths = []
            for part in text.unicodeScalars.split(separator: ",", omittingEmptySubsequences: false) {
                paths.append(try attributePath(.string(String(part))))
            }
        } else if let path = try attributePath(given["attribute"]) {
            paths = [path]
        }
        var keyed: [(key: JinjaValue, item: JinjaValue)] = []
        for item in try items(of: value) {
            var keys: [JinjaValue] = []
            for path in paths { keys.append(sortKey(try get(path ?? [], of: item), given)) }
            keyed.append((try list(keys), item))
        }
        return try ordered(keyed, isReversed: given["reverse"]?.isTrue ?? false)
    }

    private func ordered(
        _ keyed: [(key: JinjaValue, item: JinjaValue)], isReversed: Bool
    ) throws(TemplateError) -> [JinjaValue] {
        try charge(keyed.count)
        let sorted = try self.sorted(keyed) { (left, right) throws(TemplateError) in
            // Equal elements keep their order in both directions.
            try isReversed ? isLess(right.key, left.key) : isLess(left.key, right.key)
        }
        return sorted.map(\.item)
    }

    private func sortedMembers(
        _ value: JinjaValue, _ given: JinjaBoundArguments
    ) throws(TemplateError) -> JinjaValue {
        guard case .dictionary(let dictionary) = value else { throw failure("'dictsort' needs a mapping") }
        let by = given["by"]?.text ?? "key"
        guard by == "key" || by == "value" else { throw failure("'dictsort' goes by key or value") }
        var keyed: [(key: JinjaValue, item: JinjaValue)] = []
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            keyed.append((sortKey(by == "key" ? key : value, given), try tuple([key, value])))
        }
        return try list(try ordered(keyed, isReversed: given["reverse"]?.isTrue ?? false))
    }

    private func extreme(
        of value: JinjaValue, _ given: JinjaBoundArguments, isMaximum: Bool
    ) throws(TemplateError) -> JinjaValue {
        let path = try attributePath(given["attribute"]) ?? []
        var best: (key: JinjaValue, item: JinjaValue)?
        for item in try items(of: value) {
            let key = sortKey(try get(path, of: item), given)
            guard let current = best else {
                best = (key, item)
                continue
            }
            if try isMaximum ? isLess(current.key, key) : isLess(key, current.key) { best = (key, item) }
        }
        return best?.item ?? .undefined(JinjaUndefined(.hint("there is no element to choose from")))
    }

    private func unique(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        let path = try attributePath(given["attribute"]) ?? []
        let source = try iterator(over: value)
        var seen: Set<JinjaKey> = []
        return .iterator(
            try feed(source) { [self] () throws(TemplateError) in
                while let item = try source.next() {
                    try charge()
                    if seen.insert(try key(sortKey(try get(path, of: item), given))).inserted { return item }
                }
                return nil
            })
    }

    private func grouped(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        guard let attribute = given["attribute"] else { throw failure("'groupby' needs an attribute") }
        let path = try attributePath(attribute)
        var keyed: [(key: JinjaValue, item: JinjaValue)] = []
        for item in try items(of: value) {
            keyed.append((sortKey(try get(path, of: item, fallback: given["default"]), given), item))
        }
        let sorted = try self.sorted(keyed) { (left, right) throws(TemplateError) in try isLess(left.key, right.key) }
        var groups: [(key: JinjaValue, items: [JinjaValue])] = []
        for (key, item) in sorted {
            if let last = groups.last, try isEqual(last.key, key) {
                groups[groups.count - 1].items.append(item)
            } else {
                groups.append((key, [item]))
            }
        }
        var output: [JinjaValue] = []
        for group in groups {
            let name = try get(path, of: group.items[0], fallback: given["default"])
            output.append(try tuple([name, try list(group.items)], fields: ["grouper", "list"]))
        }
        return try list(output)
    }

    private func sum(_ value: JinjaValue, _ given: JinjaBoundArguments) throws(TemplateError) -> JinjaValue {
        let path = try attributePath(given["attribute"]) ?? []
        var total = given["start"] ?? .integer(0)
        if total.text != nil { throw failure("'sum' does not add strings; use 'join'") }
        for item in try items(of: value) { total = try calculate(total, .add, try get(path, of: item)) }
        return total
    }

    private func cut(
        _ value: JinjaValue, _ given: JinjaBoundArguments, _ filter: JinjaFilter
    ) throws(TemplateError) -> JinjaValue {
        guard let size = try integer(given[filter == .batch ? "linecount" : "slices"], "count"), size > 0 else {
            throw failure("'\(filter.rawValue)' needs a count above zero")
        }
        let items = try items(of: value)
        let fill = given["fill_with"].flatMap { $0.isNone ? nil : $0 }
        var parts: [JinjaValue] = []
        if filter == .batch {
            for start in Swift.stride(from: 0, to: items.count, by: size) {
                var part = Array(items[start..<min(items.count, start + min(size, items.count))])
                if let fill { part += try repeatedFill(fill, size - part.count) }
                parts.append(try list(part))
            }
        } else {
            try charge(size)
            var start = 0
            for number in 0..<size {
                let count = items.count / size + (number < items.count % size ? 1 : 0)
                var part = Array(items[start..<(start + count)])
                if let fill, number >= items.count % size { part.append(fill) }
                parts.append(try list(part))
                start += count
            }
        }
        return .iterator(iterator(over: parts))
    }

    private func repeatedFill(_ fill: JinjaValue, _ count: Int) throws(TemplateError) -> [JinjaValue] {
        if count <= 0 { return [] }
        try charge(min(count, limits.steps + 1))
        return Array(repeating: fill, count: count)
    }

    // MARK: Filters of filters and tests

    private func mapped(_ value: JinjaValue, _ arguments: JinjaArguments) throws(TemplateError) -> JinjaValue {
        if !value.isTrue { return .iterator(iterator(over: [])) }
        let source = try iterator(over: value)
        if arguments.positional.isEmpty {
            let given = try bound(arguments, to: ["attribute", "default"], of: "the filter 'map'")
            guard let attribute = given["attribute"] else { throw failure("'map' needs a filter or an attribute") }
            let path = try attributePath(attribute)
            return .iterator(
                try feed(source) { [self] () throws(TemplateError) in
                    guard let item = try source.next() else { return nil }
                    return try get(path, of: item, fallback: given["default"])
                })
        }
        guard let name = arguments.positional[0].text else { throw failure("'map' needs the name of a filter") }
        guard let filter = JinjaFilter(name) else { throw failure("there is no filter named '\(name)'") }
        let rest = JinjaArguments(positional: Array(arguments.positional.dropFirst()), named: arguments.named)
        return .iterator(
            try feed(source) { [self] () throws(TemplateError) in
                guard let item = try source.next() else { return nil }
                return try nested { () throws(TemplateError) in try apply(filter, to: item, rest) }
            })
    }

    private func selected(
        _ value: JinjaValue, _ arguments: JinjaArguments, _ filter: JinjaFilter
    ) throws(TemplateError) -> JinjaValue {
        if !value.isTrue { return .iterator(iterator(over: [])) }
        let source = try iterator(over: value)
        var positional = arguments.positional[...]
        var path: [JinjaValue] = []
        if filter == .selectattr || filter == .rejectattr {
            guard let attribute = positional.popFirst() else {
                throw failure("'\(filter.rawValue)' needs an attribute")
            }
            path = try attributePath(attribute) ?? []
        }
        let wanted = filter == .select || filter == .selectattr
        let test = try namedTest(positional.popFirst())
        let rest = JinjaArguments(positional: Array(positional), named: test == nil ? [] : arguments.named)
        return .iterator(
            try feed(source) { [self] () throws(TemplateError) in
                while let item = try source.next() {
                    try charge()
                    let element = try get(path, of: item)
                    var isTrue = element.isTrue
                    if let test { isTrue = try check(test, element, rest) }
                    if isTrue == wanted { return item }
                }
                return nil
            })
    }

    private func namedTest(_ value: JinjaValue?) throws(TemplateError) -> JinjaTest? {
        guard let value else { return nil }
        guard let name = value.text else { throw failure("a test is chosen by its name") }
        guard let test = JinjaTest(name) else { throw failure("there is no test named '\(name)'") }
        return test
    }
}

/// Jinja's tests.
enum JinjaTest: String, CaseIterable, Sendable {
    case boolean, callable, defined, divisibleby, eq, escaped, even, `false`, filter, float, ge, gt, `in`, integer
    case iterable, le, lower, lt, mapping, ne, none, number, odd, sameas, sequence, string, test, `true`, undefined
    case upper

    init?(_ name: String) {
        switch name {
        case "==", "equalto": self = .eq
        case "!=": self = .ne
        case ">", "greaterthan": self = .gt
        case ">=": self = .ge
        case "<", "lessthan": self = .lt
        case "<=": self = .le
        default: self.init(rawValue: name)
        }
    }

    fileprivate var argumentCount: Int {
        switch self {
        case .divisibleby, .eq, .ge, .gt, .in, .le, .lt, .ne, .sameas: 1
        default: 0
        }
    }

    fileprivate var comparison: JinjaOperator? {
        switch self {
        case .eq: .equal
        case .ne: .notEqual
        case .lt: .less
        case .le: .lessOrEqual
        case .gt: .greater
        case .ge: .greaterOrEqual
        case .in: .contained
        default: nil
        }
    }
}

extension JinjaInterpreter {
    func check(
        _ test: JinjaTest, _ value: JinjaValue, _ arguments: JinjaArguments
    ) throws(TemplateError) -> Bool {
        try charge()
        let others = arguments.positional + arguments.named.map(\.value)
        guard others.count == test.argumentCount else {
            throw failure("the test '\(test.rawValue)' takes \(test.argumentCount) arguments, not \(others.count)")
        }
        if let comparison = test.comparison { return try compare(value, comparison, others[0]) }
        switch test {
        case .defined: return !value.isUndefined
        case .undefined: return value.isUndefined
        case .none: return value.isNone
        case .odd: return try isEqual(try calculate(value, .modulo, .integer(2)), .integer(1))
        case .even: return try isEqual(try calculate(value, .modulo, .integer(2)), .integer(0))
        case .divisibleby: return try isEqual(try calculate(value, .modulo, others[0]), .integer(0))
        case .lower: return JinjaText.isAllLower(try text(of: value))
        case .upper: return JinjaText.isAllUpper(try text(of: value))
        case .filter, .test:
            guard let name = value.text else {
                _ = try key(value)
                return false
            }
            return test == .filter ? JinjaFilter(name) != nil : JinjaTest(name) != nil
        case .sameas: return try isIdentical(value, others[0])
        default: return isOfKind(test, value)
        }
    }

    private func isOfKind(_ test: JinjaTest, _ value: JinjaValue) -> Bool {
        switch (test, value) {
        case (.boolean, .bool), (.integer, .integer), (.float, .number), (.string, .string), (.string, .markup),
            (.mapping, .dictionary), (.escaped, .markup), (.true, .bool(true)), (.false, .bool(false)),
            (.number, .integer), (.number, .number), (.number, .bool):
            true
        case (.sequence, .string), (.sequence, .markup), (.sequence, .list), (.sequence, .tuple),
            (.sequence, .dictionary), (.sequence, .range), (.sequence, .undefined):
            true
        case (.callable, .macro), (.callable, .method), (.callable, .function), (.callable, .joiner),
            (.callable, .loop), (.callable, .undefined):
            true
        case (.iterable, .none), (.iterable, .bool), (.iterable, .integer), (.iterable, .number),
            (.iterable, .namespace), (.iterable, .macro), (.iterable, .method), (.iterable, .function),
            (.iterable, .cycler), (.iterable, .joiner):
            false
        case (.iterable, _): true
        default: false
        }
    }

    /// Python's `is`, where it can be relied on: one object, or a plain value of one type.
    private func isIdentical(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> Bool {
        switch (left, right) {
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)): left === right
        case (.dictionary(let left), .dictionary(let right)): left === right
        case (.undefined(let left), .undefined(let right)): left === right
        case (.bool, .bool), (.integer, .integer), (.string, .string), (.number, .number), (.none, .none):
            try isEqual(left, right)
        case (.bool, _), (_, .bool), (.number, _), (_, .number), (.view, _), (.range, _): false
        default: try isEqual(left, right)
        }
    }
}
