/// `%` formatting, `str.format` and its little language.
extension JinjaInterpreter {
    /// `format % values`.
    func formatted(_ format: String, with values: JinjaValue) throws(TemplateError) -> String {
        try charge(characters: format)
        var reader = PercentReader(scalars: Array(format.unicodeScalars))
        let arguments = PercentArguments(values)
        var used = 0
        var isNamed = false
        var output = ""
        while let piece = reader.next() {
            switch piece {
            case .text(let text): output += text
            case .broken: throw failure("a % format is incomplete or unknown")
            case .field(var field):
                var value: JinjaValue?
                func take() throws(TemplateError) -> JinjaValue {
                    guard used < arguments.positional.count else { throw failure("a % format has too few values") }
                    used += 1
                    return arguments.positional[used - 1]
                }
                if let name = field.name {
                    guard let mapping = arguments.mapping else { throw failure("a % format needs a mapping") }
                    guard let found = mapping[name] else { throw failure("a % format has no value '\(name)'") }
                    (value, isNamed) = (found, true)
                }
                if field.hasStarWidth { field.setWidth(try integer(try take())) }
                if field.hasStarPrecision { field.precision = max(0, try integer(try take())) }
                if field.letter == "%" {
                    output += "%"
                } else {
                    if value == nil { value = try take() }
                    output += try percent(field, value ?? .none)
                }
            }
            try charge(1)
            if output.utf8.count > limits.output { throw limit("a text grows beyond \(limits.output) bytes") }
        }
        if used < arguments.positional.count, !arguments.isOptional, !isNamed {
            throw failure("a % format has too many values")
        }
        try charge(text: output.utf8.count)
        return output
    }

    private func integer(_ value: JinjaValue) throws(TemplateError) -> Int {
        guard let index = value.index else { throw failure("a % format needs an integer") }
        return index
    }

    private struct PercentArguments {
        var positional: [JinjaValue]
        var mapping: JinjaDictionary?
        /// A mapping or a list may stay unused.
        var isOptional = false

        init(_ value: JinjaValue) {
            switch value {
            case .tuple(let tuple): positional = tuple.items
            case .dictionary(let dictionary):
                (positional, mapping, isOptional) = ([value], dictionary, true)
            case .list, .range, .undefined: (positional, isOptional) = ([value], true)
            default: positional = [value]
            }
        }
    }

    private struct PercentField {
        var name: String?
        var isLeft = false
        var sign = ""
        var isZeroPadded = false
        var isAlternate = false
        var width = 0
        var hasStarWidth = false
        var precision: Int?
        var hasStarPrecision = false
        var letter: Unicode.Scalar = "s"

        mutating func setWidth(_ width: Int) {
            if width < 0 { isLeft = true }
            self.width = width == .min ? .max : abs(width)
        }
    }

    private struct PercentReader {
        enum Piece {
            case text(String)
            case field(PercentField)
            case broken
        }
        let scalars: [Unicode.Scalar]
        var index = 0

        mutating func next() -> Piece? {
            guard index < scalars.count else { return nil }
            if scalars[index] != "%" {
                let end = scalars[index...].firstIndex(of: "%") ?? scalars.count
                defer { index = end }
                return .text(JinjaText.string(scalars[index..<end]))
            }
            index += 1
            return field().map(Piece.field) ?? .broken
        }

        private mutating func field() -> PercentField? {
            var field = PercentField()
            if peek == "(" {
                guard let name = name() else { return nil }
                field.name = name
            }
            flags(&field)
            if skip("*") { field.hasStarWidth = true } else { field.width = number() ?? 0 }
            if skip(".") {
                if skip("*") { field.hasStarPrecision = true } else { field.precision = number() ?? 0 }
            }
            while let letter = peek, letter == "l" || letter == "h" || letter == "L" { index += 1 }
            guard let letter = peek else { return nil }
            index += 1
            field.letter = letter
            return field
        }

        private var peek: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

        private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
            guard peek == scalar else { return false }
            index += 1
            return true
        }

        private mutating func name() -> String? {
            var open = 0
            let start = index + 1
            while let scalar = peek {
                index += 1
                if scalar == "(" { open += 1 }
                if scalar == ")" {
                    open -= 1
                    if open == 0 { return JinjaText.string(scalars[start..<(index - 1)]) }
                }
            }
            return nil
        }

        private mutating func flags(_ field: inout PercentField) {
            while let scalar = peek {
                switch scalar {
                case "-": field.isLeft = true
                case "+": field.sign = "+"
                case " ": field.sign = field.sign.isEmpty ? " " : field.sign
                case "0": field.isZeroPadded = true
                case "#": field.isAlternate = true
                default: return
                }
                index += 1
            }
        }

        private mutating func number() -> Int? {
            var value: Int?
            while let scalar = peek, scalar.value >= 48, scalar.value <= 57 {
                value = min((value ?? 0) * 10 + Int(scalar.value) - 48, 1 << 40)
                index += 1
            }
            return value
        }
    }

    private func percent(_ field: PercentField, _ value: JinjaValue) throws(TemplateError) -> String {
        try charge(text: max(field.width, field.precision ?? 0))
        switch field.letter {
        case "s", "r", "a":
            var text = field.letter == "s" ? try text(of: value) : try represented(value)
            if field.letter == "a" { text = JinjaText.escapedToASCII(text) }
            if let precision = field.precision {
                text = JinjaText.string(text.unicodeScalars.prefix(precision))
            }
            return padded(text, field.width, isLeft: field.isLeft)
        case "c":
            if let text = value.text, JinjaText.length(text) == 1 {
                return padded(text, field.width, isLeft: field.isLeft)
            }
            guard let index = value.index, let scalar = UInt32(exactly: index).flatMap(Unicode.Scalar.init) else {
                throw failure("%c needs a character")
            }
            return padded(String(scalar), field.width, isLeft: field.isLeft)
        case "d", "i", "u": return finished(String(try whole(value)), "", field)
        case "x", "X", "o":
            guard let integer = value.index else { throw failure("%\(field.letter) needs an integer") }
            let isOctal = field.letter == "o"
            let digits = String(integer, radix: isOctal ? 8 : 16, uppercase: field.letter == "X")
            return finished(digits, field.isAlternate ? "0\(field.letter)" : "", field)
        case "e", "E", "f", "F", "g", "G":
            guard let number = value.double else {
                if case .undefined(let undefined) = value { throw failure(undefined.message) }
                throw failure("%\(field.letter) needs a number")
            }
            let text = JinjaNumber.decimal(
                number, field.letter, precision: field.precision ?? 6, isAlternate: field.isAlternate)
            var unprecise = field
            unprecise.precision = nil
            return finished(text, "", unprecise)
        default: throw failure("a % format has the unknown letter '\(field.letter)'")
        }
    }

    private func whole(_ value: JinjaValue) throws(TemplateError) -> Int {
        if let integer = value.index { return integer }
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        guard case .number(let number) = value, number.isFinite else { throw failure("%d needs a number") }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else {
            throw failure("an integer grows beyond 64 bits")
        }
        return integer
    }

    /// Sign, prefix and padding around digits that may begin with a minus.
    private func finished(_ digits: String, _ prefix: String, _ field: PercentField) -> String {
        let isNegative = digits.hasPrefix("-")
        let sign = isNegative ? "-" : field.sign
        var body = isNegative ? String(digits.dropFirst()) : digits
        if let precision = field.precision, body.utf8.count < precision {
            body = JinjaText.repeated("0", precision - body.utf8.count) + body
        }
        let length = sign.utf8.count + prefix.utf8.count + body.utf8.count
        if field.isZeroPadded, !field.isLeft, length < field.width {
            body = JinjaText.repeated("0", field.width - length) + body
        }
        return padded(sign + prefix + body, field.width, isLeft: field.isLeft)
    }

    private func padded(_ text: String, _ width: Int, isLeft: Bool) -> String {
        let missing = width - JinjaText.length(text)
        if missing <= 0 { return text }
        let space = JinjaText.repeated(" ", missing)
        return isLeft ? text + space : space + text
    }

    // MARK: str.format

    /// `format.format(*arguments)`.
    func formatted(_ format: String, _ arguments: JinjaArguments) throws(TemplateError) -> String {
        try charge(characters: format)
        var counter = FieldCounter()
        return try expand(Array(format.unicodeScalars), arguments, &counter, depth: 2)
    }

    /// Fields are either all numbered by hand or all in order.
    private struct FieldCounter {
        var next = 0
        var isManual = false
    }

    private func expand(
        _ scalars: [Unicode.Scalar], _ arguments: JinjaArguments, _ counter: inout FieldCounter, depth: Int
    ) throws(TemplateError) -> String {
        if depth == 0 { throw failure("a format has fields in fields in fields") }
        var output = ""
        var index = 0
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            guard scalar == "{" || scalar == "}" else {
                output.unicodeScalars.append(scalar)
                continue
            }
            if index < scalars.count, scalars[index] == scalar {
                output.unicodeScalars.append(scalar)
                index += 1
                continue
            }
            guard scalar == "{", let end = fieldEnd(scalars, from: index) else {
                throw failure("a format has a single '\(scalar)'")
            }
            output += try field(Array(scalars[index..<end]), arguments, &counter, depth: depth)
            if output.utf8.count > limits.output { throw limit("a text grows beyond \(limits.output) bytes") }
            index = end + 1
        }
        try charge(text: output.utf8.count)
        return output
    }

    private func fieldEnd(_ scalars: [Unicode.Scalar], from start: Int) -> Int? {
        var open = 1
        for index in start..<scalars.count {
            if scalars[index] == "{" { open += 1 }
            if scalars[index] == "}" {
                open -= 1
                if open == 0 { return index }
            }
        }
        return nil
    }

    private func field(
        _ scalars: [Unicode.Scalar], _ arguments: JinjaArguments, _ counter: inout FieldCounter, depth: Int
    ) throws(TemplateError) -> String {
        var brackets = 0
        let nameEnd =
            scalars.firstIndex { scalar in
                if scalar == "[" { brackets += 1 }
                if scalar == "]" { brackets -= 1 }
                return brackets <= 0 && (scalar == "!" || scalar == ":")
            } ?? scalars.count
        var value = try lookUp(Array(scalars[..<nameEnd]), arguments, &counter)
        var rest = scalars[nameEnd...]
        if rest.first == "!" {
            guard rest.count >= 2 else { throw failure("a format ends behind '!'") }
            switch rest[rest.startIndex + 1] {
            case "r": value = .string(try represented(value))
            case "s": value = .string(try text(of: value))
            case "a": value = .string(JinjaText.escapedToASCII(try represented(value)))
            default: throw failure("a format has an unknown conversion")
            }
            rest = rest.dropFirst(2)
            guard rest.isEmpty || rest.first == ":" else { throw failure("a format needs ':' behind a conversion") }
        }
        let specification = try expand(Array(rest.dropFirst()), arguments, &counter, depth: depth - 1)
        return try formatted(value, specification)
    }

    /// `name.attribute[key]`.
    private func lookUp(
        _ scalars: [Unicode.Scalar], _ arguments: JinjaArguments, _ counter: inout FieldCounter
    ) throws(TemplateError) -> JinjaValue {
        let firstEnd = scalars.firstIndex { $0 == "." || $0 == "[" } ?? scalars.count
        var value = try argument(JinjaText.string(scalars[..<firstEnd]), arguments, &counter)
        var index = firstEnd
        while index < scalars.count {
            let isItem = scalars[index] == "["
            let tail = scalars[(index + 1)...]
            let end = tail.firstIndex { isItem ? $0 == "]" : $0 == "." || $0 == "[" } ?? scalars.count
            let name = JinjaText.string(scalars[(index + 1)..<end])
            guard !name.isEmpty, !isItem || end < scalars.count else { throw failure("a format has an empty part") }
            if isItem {
                value = try item(Int(name).map(JinjaValue.integer) ?? .string(name), of: value)
                index = end + 1
                guard index == scalars.count || scalars[index] == "." || scalars[index] == "[" else {
                    throw failure("a format has text behind ']'")
                }
            } else {
                value = try attribute(name, of: value)
                index = end
            }
        }
        return value
    }

    private func argument(
        _ name: String, _ arguments: JinjaArguments, _ counter: inout FieldCounter
    ) throws(TemplateError) -> JinjaValue {
        var position = Int(name)
        if name.isEmpty {
            if counter.isManual { throw failure("a format mixes numbered and unnumbered fields") }
            position = counter.next
            counter.next += 1
        } else if position != nil {
            if counter.next > 0 { throw failure("a format mixes numbered and unnumbered fields") }
            counter.isManual = true
        }
        if let position {
            guard arguments.positional.indices.contains(position) else { throw failure("a format has too few values") }
            return arguments.positional[position]
        }
        guard let found = arguments.named.first(where: { $0.name == name }) else {
            throw failure("a format has no value '\(name)'")
        }
        return found.value
    }

    /// `format(value, specification)`.
    private func formatted(_ value: JinjaValue, _ specification: String) throws(TemplateError) -> String {
        if specification.isEmpty { return try text(of: value) }
        guard let layout = FormatLayout(specification) else {
            throw failure("the format '\(specification)' is unknown")
        }
        try charge(text: max(layout.width, layout.precision ?? 0))
        switch value {
        case .string(let text), .markup(let text): return try formatted(text, layout)
        case .undefined, .none, .list, .tuple, .dictionary, .view, .range, .iterator, .namespace, .macro, .loop,
            .method, .function, .cycler, .joiner:
            throw failure("a \(value.typeName) takes no format")
        case .bool, .integer, .number: return try formatted(number: value, layout)
        }
    }

    private func formatted(_ text: String, _ layout: FormatLayout) throws(TemplateError) -> String {
        guard layout.type == nil || layout.type == "s", layout.sign.isEmpty, layout.grouping == nil,
            !layout.isAlternate, layout.align != "="
        else { throw failure("a string does not take that format") }
        let cut = layout.precision.map { JinjaText.string(text.unicodeScalars.prefix($0)) } ?? text
        return layout.aligned(cut, sign: "", fallback: "<")
    }

    private func formatted(number value: JinjaValue, _ layout: FormatLayout) throws(TemplateError) -> String {
        let type = layout.type
        if let integer = value.index, type.map({ "dnbcoxX".unicodeScalars.contains($0) }) ?? true {
            guard layout.precision == nil else { throw failure("an integer takes no precision") }
            return try formatted(integer, layout)
        }
        guard let number = value.double, type.map({ "eEfFgGn%".unicodeScalars.contains($0) }) ?? true else {
            throw failure("a number does not take that format")
        }
        return formatted(number, layout)
    }

    private func formatted(_ integer: Int, _ layout: FormatLayout) throws(TemplateError) -> String {
        if layout.type == "c" {
            guard let scalar = UInt32(exactly: integer).flatMap(Unicode.Scalar.init) else {
                throw failure("\(integer) is no character")
            }
            return layout.aligned(String(scalar), sign: "", fallback: "<")
        }
        let radixes: [Unicode.Scalar: Int] = ["b": 2, "o": 8, "x": 16, "X": 16]
        let radix = layout.type.flatMap { radixes[$0] } ?? 10
        let digits = String(integer.magnitude, radix: radix, uppercase: layout.type == "X")
        let prefix = layout.isAlternate && radix != 10 ? "0\(layout.type ?? "x")" : ""
        let sign = integer < 0 ? "-" : layout.sign
        return layout.aligned(digits, sign: sign + prefix, fallback: ">", group: radix == 10 ? 3 : 4)
    }

    private func formatted(_ number: Double, _ layout: FormatLayout) -> String {
        var digits: String
        switch layout.type {
        case nil where layout.precision == nil: digits = JinjaNumber.represented(number.magnitude)
        case nil:
            digits = JinjaNumber.decimal(number.magnitude, "g", precision: layout.precision ?? 6)
            if !digits.contains(".") && !digits.contains("e") && number.isFinite { digits += ".0" }
        case "%": digits = JinjaNumber.decimal(number.magnitude * 100, "f", precision: layout.precision ?? 6) + "%"
        case "n": digits = JinjaNumber.decimal(number.magnitude, "g", precision: layout.precision ?? 6)
        case let type?:
            digits = JinjaNumber.decimal(
                number.magnitude, type, precision: layout.precision ?? 6, isAlternate: layout.isAlternate)
        }
        let isNegative = number.sign == .minus && !number.isNaN
        return layout.aligned(digits, sign: isNegative ? "-" : layout.sign, fallback: ">", group: 3)
    }
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`.
private struct FormatLayout {
    var fill: Unicode.Scalar = " "
    var align: Unicode.Scalar?
    var sign = ""
    var isAlternate = false
    var width = 0
    var grouping: Unicode.Scalar?
    var precision: Int?
    var type: Unicode.Scalar?

    init?(_ text: String) {
        var scalars = Array(text.unicodeScalars)[...]
        let aligns: [Unicode.Scalar] = ["<", ">", "=", "^"]
        if scalars.count > 1, aligns.contains(scalars[1]) {
            (fill, align) = (scalars[0], scalars[1])
            scalars = scalars.dropFirst(2)
        } else if let first = scalars.first, aligns.contains(first) {
            align = scalars.removeFirst()
        }
        if let first = scalars.first, ["+", "-", " "].contains(first) {
            sign = first == "-" ? "" : String(first)
            scalars.removeFirst()
        }
        if scalars.first == "#" {
            isAlternate = true
            scalars.removeFirst()
        }
        if scalars.first == "0" {
            if align == nil { (fill, align) = ("0", "=") }
            scalars.removeFirst()
        }
        width = FormatLayout.number(&scalars) ?? 0
        if let first = scalars.first, first == "," || first == "_" { grouping = scalars.removeFirst() }
        if scalars.first == "." {
            scalars.removeFirst()
            guard let number = FormatLayout.number(&scalars) else { return nil }
            precision = number
        }
        type = scalars.popFirst()
        if !scalars.isEmpty { return nil }
        if let type, !"sdnbcoxXeEfFgG%".unicodeScalars.contains(type) { return nil }
    }

    private static func number(_ scalars: inout ArraySlice<Unicode.Scalar>) -> Int? {
        var value: Int?
        while let scalar = scalars.first, scalar.value >= 48, scalar.value <= 57 {
            value = min((value ?? 0) * 10 + Int(scalar.value) - 48, 1 << 40)
            scalars.removeFirst()
        }
        return value
    }

    func aligned(_ body: String, sign: String, fallback: Unicode.Scalar, group: Int = 0) -> String {
        var body = body
        if let grouping, group > 0 { body = FormatLayout.grouped(body, by: group, grouping) }
        let missing = width - JinjaText.length(body) - JinjaText.length(sign)
        if missing <= 0 { return sign + body }
        func padding(_ count: Int) -> String { JinjaText.repeated(String(fill), count) }
        switch align ?? fallback {
        case "<": return sign + body + padding(missing)
        case "^": return padding(missing / 2) + sign + body + padding(missing - missing / 2)
        case "=":
            guard fill == "0", let grouping, group > 0 else { return sign + padding(missing) + body }
            return sign + zeroPadded(body, grouping, group, width - sign.utf8.count)
        default: return padding(missing) + sign + body
        }
    }

    /// Separators go into the zeros too.
    private func zeroPadded(_ body: String, _ grouping: Unicode.Scalar, _ group: Int, _ width: Int) -> String {
        let plain = String(body.unicodeScalars.filter { $0 != grouping })
        let whole = plain.unicodeScalars.prefix { FormatLayout.isDigit($0, group) }.map(Character.init)
        let rest = plain.dropFirst(whole.count)
        let room = max(0, width - rest.utf8.count)
        // The fewest digits that fill the room with their separators; one more where a separator would come first.
        var count = whole.count
        while count + (count - 1) / group < room { count += 1 }
        let digits = JinjaText.repeated("0", count - whole.count) + whole
        return FormatLayout.grouped(digits, by: group, grouping) + rest
    }

    /// Groups of three hold decimal digits, groups of four those of other bases.
    private static func isDigit(_ scalar: Unicode.Scalar, _ group: Int) -> Bool {
        group == 3 ? scalar.value >= 48 && scalar.value <= 57 : Character(scalar).isHexDigit
    }

    private static func grouped(_ body: String, by size: Int, _ separator: Unicode.Scalar) -> String {
        let whole = Array(body.unicodeScalars.prefix { isDigit($0, size) })
        let rest = body.unicodeScalars.dropFirst(whole.count)
        var output = String.UnicodeScalarView()
        for (index, digit) in whole.enumerated() {
            if index > 0, (whole.count - index) % size == 0 { output.append(separator) }
            output.append(digit)
        }
        output.append(contentsOf: rest)
        return String(output)
    }
}

extension JinjaNumber {
    /// One of Python's `e`, `f` and `g` forms; capitals for capital letters.
    static func decimal(
        _ value: Double, _ letter: Unicode.Scalar, precision: Int, isAlternate: Bool = false
    ) -> String {
        let lower = Character(JinjaText.lowercased(String(letter)))
        let isCapital = letter.value < 97
        guard value.isFinite else {
            let word = value.isNaN ? "nan" : value < 0 ? "-inf" : "inf"
            return isCapital ? JinjaText.uppercased(word) : word
        }
        let text = printed(value, lower, precision: precision, isAlternate: isAlternate)
        return isCapital ? JinjaText.uppercased(text) : text
    }
}

extension JinjaText {
    static func escapedToASCII(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { output, scalar in
            if scalar.isASCII {
                output.unicodeScalars.append(scalar)
            } else {
                output += escape(scalar)
            }
        }
    }
}
