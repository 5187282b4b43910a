internal import Glibc

/// Values as text: Python's `str` and `repr`, and `json.dumps`.
extension JinjaInterpreter {
    /// `str(value)`.
    func text(of value: JinjaValue) throws(TemplateError) -> String {
        switch value {
        case .string(let text), .markup(let text): return text
        case .undefined: return ""
        default: return try represented(value)
        }
    }

    /// `repr(value)`; where Python prints an address, only the type is named.
    func represented(_ value: JinjaValue) throws(TemplateError) -> String {
        var output = ""
        try represent(value, to: &output)
        return output
    }

    private func append(_ text: String, to output: inout String) throws(TemplateError) {
        try charge(1 + text.utf8.count / 128)
        if output.utf8.count + text.utf8.count > limits.output {
            throw limit("a text grows beyond \(limits.output) bytes")
        }
        output += text
    }

    private func represent(_ value: JinjaValue, to output: inout String) throws(TemplateError) {
        switch value {
        case .undefined: try append("Undefined", to: &output)
        case .none: try append("None", to: &output)
        case .bool(let value): try append(value ? "True" : "False", to: &output)
        case .integer(let value): try append(String(value), to: &output)
        case .number(let value): try append(JinjaNumber.represented(value), to: &output)
        case .string(let text):
            try charge(characters: text)
            try append(JinjaText.quoted(text), to: &output)
        case .markup(let text):
            try charge(characters: text)
            try append("Markup(\(JinjaText.quoted(text)))", to: &output)
        case .list(let list): try represent(list.items, "[", "]", to: &output)
        case .tuple(let list): try represent(list.items, "(", list.items.count == 1 ? ",)" : ")", to: &output)
        case .dictionary(let dictionary): try represent(dictionary.keys, dictionary.values, to: &output)
        case .view(let view):
            try append("dict_\(view.kind.rawValue)(", to: &output)
            try represent(try items(of: value), "[", "]", to: &output)
            try append(")", to: &output)
        case .range(let range):
            let step = range.step == 1 ? "" : ", \(range.step)"
            try append("range(\(range.start), \(range.stop)\(step))", to: &output)
        case .namespace(let namespace):
            try append("<Namespace ", to: &output)
            try represent(namespace.names.map { .string($0) }, namespace.values, to: &output)
            try append(">", to: &output)
        case .macro(let closure):
            let name = closure.macro.name.isEmpty ? "anonymous" : JinjaText.quoted(closure.macro.name)
            try append("<Macro \(name)>", to: &output)
        case .loop(let state):
            try append("<LoopContext \(state.index + 1)/\(try state.length(self))>", to: &output)
        case .function(.dict): try append("<class 'dict'>", to: &output)
        case .function(let function) where function == .namespace || function == .cycler || function == .joiner:
            try append("<class 'jinja2.utils.\(function.rawValue.capitalizedASCII)'>", to: &output)
        case .iterator, .method, .function, .cycler, .joiner: try append("<\(value.typeName)>", to: &output)
        }
    }

    private func represent(
        _ items: [JinjaValue], _ open: String, _ close: String, to output: inout String
    ) throws(TemplateError) {
        try nested { () throws(TemplateError) in
            try append(open, to: &output)
            for (index, item) in items.enumerated() {
                if index > 0 { try append(", ", to: &output) }
                try represent(item, to: &output)
            }
            try append(close, to: &output)
        }
    }

    private func represent(
        _ keys: [JinjaValue], _ values: [JinjaValue], to output: inout String
    ) throws(TemplateError) {
        try nested { () throws(TemplateError) in
            try append("{", to: &output)
            for (index, (key, value)) in zip(keys, values).enumerated() {
                if index > 0 { try append(", ", to: &output) }
                try represent(key, to: &output)
                try append(": ", to: &output)
                try represent(value, to: &output)
            }
            try append("}", to: &output)
        }
    }

    // MARK: JSON

    struct JSONLayout {
        var isASCII = false
        /// Of each level; nil for one line.
        var indentation: String?
        var itemSeparator = ", "
        var keySeparator = ": "
        var isSorted = false
    }

    /// `json.dumps(value, …)`.
    func json(_ value: JinjaValue, _ layout: JSONLayout) throws(TemplateError) -> String {
        var output = ""
        try write(value, layout, lineBreak: "\n", to: &output)
        return output
    }

    private func write(
        _ value: JinjaValue, _ layout: JSONLayout, lineBreak: String, to output: inout String
    ) throws(TemplateError) {
        switch value {
        case .none: try append("null", to: &output)
        case .bool(let value): try append(value ? "true" : "false", to: &output)
        case .integer(let value): try append(String(value), to: &output)
        case .number(let value): try append(JinjaNumber.json(value), to: &output)
        case .string(let text), .markup(let text): try write(text, layout, to: &output)
        case .list(let list), .tuple(let list):
            let items = list.items
            try write("[", "]", items.count, layout, lineBreak, to: &output) {
                (index, lineBreak, output) throws(TemplateError) in
                try write(items[index], layout, lineBreak: lineBreak, to: &output)
            }
        case .dictionary(let dictionary):
            let order = try layout.isSorted ? sortedPlaces(of: dictionary.keys) : Array(dictionary.keys.indices)
            try write("{", "}", order.count, layout, lineBreak, to: &output) {
                (index, lineBreak, output) throws(TemplateError) in
                try write(try jsonKey(dictionary.keys[order[index]]), layout, to: &output)
                try append(layout.keySeparator, to: &output)
                try write(dictionary.values[order[index]], layout, lineBreak: lineBreak, to: &output)
            }
        default: throw failure("a value of type \(value.typeName) has no JSON form")
        }
    }

    private func write(
        _ open: String, _ close: String, _ count: Int, _ layout: JSONLayout, _ lineBreak: String,
        to output: inout String, element: (Int, String, inout String) throws(TemplateError) -> Void
    ) throws(TemplateError) {
        try append(open, to: &output)
        if count > 0 {
            let inner = lineBreak + (layout.indentation ?? "")
            try charge(text: inner.utf8.count)
            try nested { () throws(TemplateError) in
                for index in 0..<count {
                    if index > 0 { try append(layout.itemSeparator, to: &output) }
                    if layout.indentation != nil { try append(inner, to: &output) }
                    try element(index, inner, &output)
                }
            }
            if layout.indentation != nil { try append(lineBreak, to: &output) }
        }
        try append(close, to: &output)
    }

    private func sortedPlaces(of keys: [JinjaValue]) throws(TemplateError) -> [Int] {
        try sorted(Array(keys.indices)) { (left, right) throws(TemplateError) in try isLess(keys[left], keys[right]) }
    }

    private func jsonKey(_ key: JinjaValue) throws(TemplateError) -> String {
        switch key {
        case .string(let text), .markup(let text): return text
        case .none: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .number(let value): return JinjaNumber.json(value)
        default: throw failure("a \(key.typeName) cannot be a key in JSON")
        }
    }

    private func write(_ text: String, _ layout: JSONLayout, to output: inout String) throws(TemplateError) {
        try layout.isASCII ? charge(characters: text) : charge(text: text.utf8.count)
        try append("\"\(JinjaText.escapedForJSON(text, isASCII: layout.isASCII))\"", to: &output)
    }

    // MARK: Order

    /// A stable merge sort whose comparisons may fail.
    func sorted<Element>(
        _ elements: [Element], by isBefore: (Element, Element) throws(TemplateError) -> Bool
    ) throws(TemplateError) -> [Element] {
        if elements.count < 2 { return elements }
        let middle = elements.count / 2
        let left = try sorted(Array(elements[..<middle]), by: isBefore)
        let right = try sorted(Array(elements[middle...]), by: isBefore)
        var merged: [Element] = []
        merged.reserveCapacity(elements.count)
        var (i, j) = (0, 0)
        while i < left.count, j < right.count {
            try charge()
            if try isBefore(right[j], left[i]) {
                merged.append(right[j])
                j += 1
            } else {
                merged.append(left[i])
                i += 1
            }
        }
        return merged + left[i...] + right[j...]
    }
}

extension String {
    fileprivate var capitalizedASCII: String { JinjaText.capitalized(self) }
}

/// Python's numbers as text, and text as numbers.
enum JinjaNumber {
    /// `repr(float)`: the shortest digits that read back, with an exponent from 1e16 on and below 1e-4.
    static func represented(_ value: Double) -> String {
        if value.isNaN { return "nan" }
        if value.isInfinite { return value < 0 ? "-inf" : "inf" }
        let (digits, exponent) = shortest(value.magnitude)
        let sign = value.sign == .minus ? "-" : ""
        if exponent < -4 || exponent >= 16 {
            let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
            let size = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
            return "\(sign)\(digits.prefix(1))\(fraction)e\(exponent < 0 ? "-" : "+")\(size)"
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        let padded = digits + String(repeating: "0", count: max(0, exponent + 2 - digits.count))
        return sign + padded.prefix(exponent + 1) + "." + padded.dropFirst(exponent + 1)
    }

    /// The digits of a value that is not negative, and the power of ten of the first.
    private static func shortest(_ value: Double) -> (digits: String, exponent: Int) {
        if value == 0 { return ("0", 0) }
        let parts = value.description.split(separator: "e")
        let number = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let all = String(number[0]) + (number.count > 1 ? String(number[1]) : "")
        let leading = all.prefix { $0 == "0" }.count
        var digits = String(all.dropFirst(leading))
        while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
        let written = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        return (digits, number[0].count - 1 - leading + written)
    }

    static func json(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        return represented(value)
    }

    /// The C library's `%.*f`, `%.*e` or `%.*g` with an exactly rounded result.
    static func printed(_ value: Double, _ letter: Character, precision: Int, isAlternate: Bool = false) -> String {
        let format = "%\(isAlternate ? "#" : "").*\(letter)"
        var buffer = [CChar](repeating: 0, count: 400 + precision)
        let count = withVaList([Int32(precision), value]) { vsnprintf(&buffer, buffer.count, format, $0) }
        return String(decoding: buffer.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `round(value, digits)`: the nearest, ties to even, of the value as it is stored.
    static func rounded(_ value: Double, digits: Int) -> Double {
        if !value.isFinite || digits > 323 { return value }
        if digits >= 0 { return Double(printed(value, "f", precision: digits)) ?? value }
        if digits < -308 { return copysign(0, value) }
        let exponent = Int(printed(value, "e", precision: 17).split(separator: "e").last ?? "0") ?? 0
        let kept = exponent + digits
        if kept < -1 { return copysign(0, value) }
        if kept == -1 {
            let half = 5 * pow(10.0, Double(exponent))
            return copysign(value.magnitude > half ? pow(10.0, Double(exponent + 1)) : 0, value)
        }
        return Double(printed(value, "e", precision: kept)) ?? value
    }

    /// `int(text, base)`: nil where Python raises `ValueError`.
    static func integer(_ text: String, base: Int) -> (value: Int?, isNumber: Bool) {
        var digits = Array(JinjaText.stripped(text, nil).utf8)
        var sign = ""
        if let first = digits.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            sign = String(Unicode.Scalar(digits.removeFirst()))
        }
        var base = base
        let prefixes: [UInt8: Int] = [UInt8(ascii: "b"): 2, UInt8(ascii: "o"): 8, UInt8(ascii: "x"): 16]
        if digits.count > 1, digits[0] == UInt8(ascii: "0"), let prefix = prefixes[digits[1] | 0x20],
            base == prefix || base == 0
        {
            digits.removeFirst(2)
            base = prefix
            if digits.first == UInt8(ascii: "_") { digits.removeFirst() }
        } else if base == 0 {
            if digits.first == UInt8(ascii: "0"), digits.contains(where: { $0 != 48 && $0 != 95 }) {
                return (nil, false)
            }
            base = 10
        }
        guard let plain = withoutUnderscores(digits), !plain.isEmpty, (2...36).contains(base),
            plain.allSatisfy({ digit($0) < base })
        else { return (nil, false) }
        return (Int(sign + String(decoding: plain, as: UTF8.self), radix: base), true)
    }

    private static func digit(_ byte: UInt8) -> Int {
        switch byte {
        case 48...57: Int(byte) - 48
        case 65...90: Int(byte) - 55
        case 97...122: Int(byte) - 87
        default: 99
        }
    }

    /// Underscores may stand between digits only; nil where one does not.
    private static func withoutUnderscores(_ digits: [UInt8]) -> [UInt8]? {
        let underscore = UInt8(ascii: "_")
        guard digits.contains(underscore) else { return digits }
        for (index, byte) in digits.enumerated() where byte == underscore {
            guard index > 0, index + 1 < digits.count, digit(digits[index - 1]) < 99, digit(digits[index + 1]) < 99
            else { return nil }
        }
        return digits.filter { $0 != underscore }
    }

    /// `float(text)`.
    static func number(_ text: String) -> Double? {
        guard let plain = withoutUnderscores(Array(JinjaText.stripped(text, nil).utf8)), !plain.isEmpty else {
            return nil
        }
        let word = String(decoding: plain, as: UTF8.self)
        let name = JinjaText.lowercased(word.first == "-" || word.first == "+" ? String(word.dropFirst()) : word)
        if name == "inf" || name == "infinity" { return word.first == "-" ? -.infinity : .infinity }
        if name == "nan" { return .nan }
        guard plain.allSatisfy({ $0 >= 48 && $0 <= 57 || [43, 45, 46, 69, 101].contains($0) }) else { return nil }
        if let value = Double(word) { return value }
        return Double(completed(word))
    }

    /// With a digit on both sides of the point, which Swift asks for and Python does not.
    private static func completed(_ word: String) -> String {
        var word = word
        var sign = ""
        if let first = word.first, first == "-" || first == "+" {
            word.removeFirst()
            if first == "-" { sign = "-" }
        }
        let parts = word.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let next = parts.count == 2 ? parts[1].first ?? "e" : "e"
        guard parts.count == 2, !parts[0].isEmpty || next.isNumber else { return "?" }
        let whole = parts[0].isEmpty ? "0" : String(parts[0])
        return sign + whole + "." + (next.isNumber ? "" : "0") + parts[1]
    }
}
