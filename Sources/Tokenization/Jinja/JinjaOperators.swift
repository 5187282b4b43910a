internal import Glibc

extension JinjaInterpreter {
    // MARK: Arithmetic

    func calculate(
        _ left: JinjaValue, _ operation: JinjaOperator, _ right: JinjaValue
    ) throws(TemplateError) -> JinjaValue {
        if operation == .modulo, let format = left.text {
            let isMarkup = if case .markup = left { true } else { false }
            let text = try formatted(format, with: right)
            return isMarkup ? .markup(text) : .string(text)
        }
        if case .undefined(let undefined) = left { throw failure(undefined.message) }
        if case .undefined(let undefined) = right { throw failure(undefined.message) }
        if operation == .add, let sum = try joined(left, right) { return sum }
        if operation == .multiply, let repeated = try repeated(left, right) { return repeated }
        if let left = left.index, let right = right.index { return try calculate(left, operation, right) }
        guard let leftNumber = left.double, let rightNumber = right.double else {
            throw mismatch(left, operation, right)
        }
        return .number(try calculate(leftNumber, operation, rightNumber))
    }

    private func mismatch(_ left: JinjaValue, _ operation: JinjaOperator, _ right: JinjaValue) -> TemplateError {
        failure("'\(operation.rawValue)' does not go between a \(left.typeName) and a \(right.typeName)")
    }

    /// Two strings or two lists as one.
    private func joined(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> JinjaValue? {
        switch (left, right) {
        case (.string(let left), .string(let right)):
            try charge(text: left.utf8.count + right.utf8.count)
            return .string(left + right)
        case (.markup, _), (_, .markup):
            guard let leftText = left.text, let rightText = right.text else { return nil }
            let parts = (escapedUnlessMarkup(left, leftText), escapedUnlessMarkup(right, rightText))
            try charge(text: parts.0.utf8.count + parts.1.utf8.count)
            return .markup(parts.0 + parts.1)
        case (.list(let left), .list(let right)):
            try charge(left.items.count + right.items.count)
            return try list(left.items + right.items)
        case (.tuple(let left), .tuple(let right)):
            try charge(left.items.count + right.items.count)
            return try tuple(left.items + right.items)
        default: return nil
        }
    }

    func escapedUnlessMarkup(_ value: JinjaValue, _ text: String) -> String {
        if case .markup = value { text } else { JinjaText.escapedForHTML(text) }
    }

    /// A string or a list so many times.
    private func repeated(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> JinjaValue? {
        let (value, count) = left.index == nil ? (left, right.index) : (right, left.index)
        guard let count else { return nil }
        switch value {
        case .string(let text): return .string(try repeated(text, count))
        case .markup(let text): return .markup(try repeated(text, count))
        case .list(let items): return try list(try repeated(items.items, count))
        case .tuple(let items): return try tuple(try repeated(items.items, count))
        default: return nil
        }
    }

    func repeated(_ text: String, _ count: Int) throws(TemplateError) -> String {
        let (size, overflow) = text.utf8.count.multipliedReportingOverflow(by: max(0, count))
        try charge(text: overflow ? limits.output + 1 : size)
        return JinjaText.repeated(text, count)
    }

    private func repeated(_ items: [JinjaValue], _ count: Int) throws(TemplateError) -> [JinjaValue] {
        let (size, overflow) = items.count.multipliedReportingOverflow(by: max(0, count))
        try charge(overflow ? limits.steps : min(size, limits.steps))
        if items.isEmpty || count <= 0 { return [] }
        var output: [JinjaValue] = []
        output.reserveCapacity(size)
        for _ in 0..<count { output += items }
        return output
    }

    private func calculate(
        _ left: Int, _ operation: JinjaOperator, _ right: Int
    ) throws(TemplateError) -> JinjaValue {
        switch operation {
        case .add: return .integer(try exact(left.addingReportingOverflow(right)))
        case .subtract: return .integer(try exact(left.subtractingReportingOverflow(right)))
        case .multiply: return .integer(try exact(left.multipliedReportingOverflow(by: right)))
        case .floorDivide, .modulo:
            if right == 0 { throw failure("division by zero") }
            let (quotient, overflow) = left.dividedReportingOverflow(by: right)
            if overflow { throw tooLarge }
            let remainder = left - quotient * right
            let isRoundedUp = remainder != 0 && (remainder < 0) != (right < 0)
            if operation == .modulo { return .integer(isRoundedUp ? remainder + right : remainder) }
            return .integer(isRoundedUp ? quotient - 1 : quotient)
        case .power where right >= 0: return .integer(try power(left, right))
        case .divide, .power: return .number(try calculate(Double(left), operation, Double(right)))
        default: throw failure("'\(operation.rawValue)' is no arithmetic")
        }
    }

    private var tooLarge: TemplateError { failure("an integer grows beyond 64 bits") }

    private func exact(_ result: (partialValue: Int, overflow: Bool)) throws(TemplateError) -> Int {
        if result.overflow { throw tooLarge }
        return result.partialValue
    }

    private func power(_ base: Int, _ exponent: Int) throws(TemplateError) -> Int {
        if base == 1 || exponent == 0 { return 1 }
        if base == 0 { return 0 }
        if base == -1 { return exponent % 2 == 0 ? 1 : -1 }
        var result = 1
        for _ in 0..<min(exponent, 64) { result = try exact(result.multipliedReportingOverflow(by: base)) }
        return result
    }

    private func calculate(
        _ left: Double, _ operation: JinjaOperator, _ right: Double
    ) throws(TemplateError) -> Double {
        switch operation {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .divide, .floorDivide, .modulo:
            if right == 0 { throw failure("division by zero") }
            if operation == .divide { return left / right }
            return operation == .modulo ? flooredDivision(left, right).remainder : flooredDivision(left, right).quotient
        case .power:
            if left == 0, right < 0 { throw failure("zero cannot be raised to a negative power") }
            if left < 0, left.isFinite, right.isFinite, right != right.rounded() {
                throw failure("a negative number to a fractional power is no real number")
            }
            let result = pow(left, right)
            if result.isInfinite, left.isFinite, right.isFinite { throw failure("a power is too large") }
            return result
        default: throw failure("'\(operation.rawValue)' is no arithmetic")
        }
    }

    /// Python's `divmod`: the remainder has the sign of the divisor.
    private func flooredDivision(_ left: Double, _ right: Double) -> (quotient: Double, remainder: Double) {
        var remainder = fmod(left, right)
        var quotient = (left - remainder) / right
        if remainder != 0 {
            if (right < 0) != (remainder < 0) {
                remainder += right
                quotient -= 1
            }
        } else {
            remainder = copysign(0, right)
        }
        guard quotient != 0 else { return (copysign(0, left / right), remainder) }
        let floor = quotient.rounded(.down)
        return (quotient - floor > 0.5 ? floor + 1 : floor, remainder)
    }

    func negated(_ value: JinjaValue) throws(TemplateError) -> JinjaValue {
        if let integer = value.index { return .integer(try exact(Int(0).subtractingReportingOverflow(integer))) }
        if case .number(let number) = value { return .number(-number) }
        throw unaryFailure("-", value)
    }

    func positive(_ value: JinjaValue) throws(TemplateError) -> JinjaValue {
        if let integer = value.index { return .integer(integer) }
        if case .number = value { return value }
        throw unaryFailure("+", value)
    }

    private func unaryFailure(_ sign: String, _ value: JinjaValue) -> TemplateError {
        if case .undefined(let undefined) = value { return failure(undefined.message) }
        return failure("'\(sign)' does not go before a \(value.typeName)")
    }

    // MARK: Comparison

    func compare(
        _ left: JinjaValue, _ operation: JinjaOperator, _ right: JinjaValue
    ) throws(TemplateError) -> Bool {
        switch operation {
        case .equal: return try isEqual(left, right)
        case .notEqual: return try !isEqual(left, right)
        case .contained: return try contains(right, left)
        case .notContained: return try !contains(right, left)
        case .less: return try isLess(left, right)
        case .greater: return try isLess(right, left)
        case .lessOrEqual: return try isLessOrEqual(left, right)
        case .greaterOrEqual: return try isLessOrEqual(right, left)
        default: throw failure("'\(operation.rawValue)' is no comparison")
        }
    }

    func isEqual(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> Bool {
        switch (left, right) {
        case (.string(let left), .string(let right)):
            if left.utf8.count != right.utf8.count { return false }
            try charge(text: left.utf8.count)
            return JinjaText.isSame(left, right)
        case (.none, .none), (.undefined, .undefined): return true
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            if left === right { return true }
            return try areEqual(left.items, right.items)
        case (.dictionary(let left), .dictionary(let right)):
            if left === right { return true }
            return try areEqual(left, right)
        case (.range(let left), .range(let right)):
            return left.count == right.count
                && (left.count == 0 || (left.start == right.start && (left.count == 1 || left.step == right.step)))
        case (.view(let left), .view(let right)):
            guard left.kind == right.kind, left.kind != .values else { return false }
            return try areEqual(left.dictionary, right.dictionary)
        case (.number(let left), .number(let right)): return left == right
        default:
            if let left = left.index, let right = right.index { return left == right }
            if let left = left.text, let right = right.text { return JinjaText.isSame(left, right) }
            if let number = left.double, let other = right.double { return try isSame(number, left, other, right) }
            guard let leftKey = objectKey(left), let rightKey = objectKey(right) else { return false }
            return leftKey == rightKey
        }
    }

    /// An integer beyond 2^53 equals no float that only rounds to it.
    private func isSame(
        _ left: Double, _ leftValue: JinjaValue, _ right: Double, _ rightValue: JinjaValue
    ) throws(TemplateError) -> Bool {
        if let integer = leftValue.index { return Int(exactly: right) == integer }
        if let integer = rightValue.index { return Int(exactly: left) == integer }
        return left == right
    }

    private func objectKey(_ value: JinjaValue) -> JinjaKey? {
        switch value {
        case .iterator, .namespace, .macro, .loop, .cycler, .joiner, .function: JinjaKey(value)
        default: nil
        }
    }

    private func areEqual(_ left: [JinjaValue], _ right: [JinjaValue]) throws(TemplateError) -> Bool {
        if left.count != right.count { return false }
        return try nested { () throws(TemplateError) in
            for (left, right) in zip(left, right) {
                try charge()
                if try !isEqual(left, right) { return false }
            }
            return true
        }
    }

    private func areEqual(_ left: JinjaDictionary, _ right: JinjaDictionary) throws(TemplateError) -> Bool {
        if left.count != right.count { return false }
        return try nested { () throws(TemplateError) in
            for (key, value) in zip(left.keys, left.values) {
                try charge()
                guard let other = right[try self.key(key)] else { return false }
                if try !isEqual(value, other) { return false }
            }
            return true
        }
    }

    func isLess(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> Bool {
        try order(left, "<", right) {
            $0 < $1
        } text: {
            JinjaText.isLess($0, $1)
        } counts: {
            $0 < $1
        }
    }

    private func isLessOrEqual(_ left: JinjaValue, _ right: JinjaValue) throws(TemplateError) -> Bool {
        try order(left, "<=", right) {
            $0 <= $1
        } text: {
            !JinjaText.isLess($1, $0)
        } counts: {
            $0 <= $1
        }
    }

    private func order(
        _ left: JinjaValue, _ symbol: String, _ right: JinjaValue, numbers: (Double, Double) -> Bool,
        text: (String, String) -> Bool, counts: (Int, Int) -> Bool
    ) throws(TemplateError) -> Bool {
        try charge()
        if let left = left.index, let right = right.index { return counts(left, right) }
        if let left = left.double, let right = right.double { return numbers(left, right) }
        if let left = left.text, let right = right.text {
            try charge(text: min(left.utf8.count, right.utf8.count))
            return text(left, right)
        }
        switch (left, right) {
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            return try nested { () throws(TemplateError) in
                for (left, right) in zip(left.items, right.items) where try !isEqual(left, right) {
                    return try order(left, symbol, right, numbers: numbers, text: text, counts: counts)
                }
                return counts(left.items.count, right.items.count)
            }
        case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw failure(undefined.message)
        default: throw failure("'\(symbol)' does not go between a \(left.typeName) and a \(right.typeName)")
        }
    }

    func contains(_ container: JinjaValue, _ value: JinjaValue) throws(TemplateError) -> Bool {
        switch container {
        case .string(let text), .markup(let text):
            guard let needle = value.text else {
                if case .undefined(let undefined) = value { throw failure(undefined.message) }
                throw failure("'in' a string needs a string, not a \(value.typeName)")
            }
            try charge(text: text.utf8.count)
            return JinjaText.contains(text, needle)
        case .dictionary(let dictionary): return try entry(of: dictionary, value) != nil
        case .view(let view) where view.kind == .keys: return try entry(of: view.dictionary, value) != nil
        case .range(let range):
            guard let integer = value.index else { break }
            let offset = integer.subtractingReportingOverflow(range.start)
            guard !offset.overflow, range.step != 0, offset.partialValue % range.step == 0 else { return false }
            return (0..<range.count).contains(offset.partialValue / range.step)
        default: break
        }
        let iterator = try iterator(over: container)
        while let item = try iterator.next() {
            try charge()
            if try isEqual(item, value) { return true }
        }
        return false
    }

    private func entry(of dictionary: JinjaDictionary, _ key: JinjaValue) throws(TemplateError) -> JinjaValue? {
        if let text = key.text { return dictionary[text] }
        return dictionary[try self.key(key)]
    }

    // MARK: Parts

    private func missing(_ name: String, of owner: JinjaValue) -> JinjaValue {
        .undefined(JinjaUndefined(.attribute(name, of: "a \(owner.typeName)")))
    }

    /// `value.name`: a method, then an item of that name.
    func attribute(_ name: String, of value: JinjaValue) throws(TemplateError) -> JinjaValue {
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        if let found = property(name, of: value) { return found }
        if case .loop(let state) = value, let member = try loopMember(name, state) { return member }
        if case .dictionary(let dictionary) = value, let item = dictionary[name] { return item }
        return missing("'\(name)'", of: value)
    }

    /// `value[key]`: an item, then a method of that name.
    func item(_ key: JinjaValue, of value: JinjaValue) throws(TemplateError) -> JinjaValue {
        switch value {
        case .undefined(let undefined): throw failure(undefined.message)
        case .dictionary(let dictionary):
            if let name = key.text {
                if let item = dictionary[name] { return item }
            } else if isHashable(key), let item = dictionary[try self.key(key)] {
                return item
            }
        case .list(let list), .tuple(let list):
            if let position = key.index.flatMap({ place($0, list.items.count) }) { return list.items[position] }
        case .range(let range):
            if let position = key.index.flatMap({ place($0, range.count) }) { return .integer(range[position]) }
        case .string(let text), .markup(let text):
            if let index = key.index, let character = try character(index, of: text) {
                return rewrapped(character, like: value)
            }
        default: break
        }
        if let name = key.text {
            if let found = property(name, of: value) { return found }
            if case .loop(let state) = value, let member = try loopMember(name, state) { return member }
        }
        return missing(try represented(key), of: value)
    }

    private func isHashable(_ value: JinjaValue) -> Bool {
        if case .tuple(let tuple) = value { return tuple.items.allSatisfy { JinjaKey($0) != nil } }
        return JinjaKey(value) != nil
    }

    func rewrapped(_ text: String, like value: JinjaValue) -> JinjaValue {
        if case .markup = value { .markup(text) } else { .string(text) }
    }

    /// The position of an index that may count from the end.
    private func place(_ index: Int, _ count: Int) -> Int? {
        let position = index < 0 ? index + count : index
        return position >= 0 && position < count ? position : nil
    }

    private func character(_ index: Int, of text: String) throws(TemplateError) -> String? {
        try charge(text: text.utf8.count)
        let scalars = text.unicodeScalars
        let offset = index < 0 ? index + JinjaText.length(text) : index
        guard offset >= 0, offset < text.utf8.count,
            let place = scalars.index(scalars.startIndex, offsetBy: offset, limitedBy: scalars.endIndex),
            place < scalars.endIndex
        else { return nil }
        return String(scalars[place])
    }

    func slice(
        _ value: JinjaValue, _ start: JinjaValue, _ stop: JinjaValue, _ step: JinjaValue
    ) throws(TemplateError) -> JinjaValue {
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        let bounds = (try bound(start), try bound(stop), try bound(step) ?? 1)
        if bounds.2 == 0 { throw failure("a slice cannot have step 0") }
        switch value {
        case .list(let list):
            return try self.list(try places(bounds, in: list.items.count).map { list.items[$0] })
        case .tuple(let list):
            return try tuple(try places(bounds, in: list.items.count).map { list.items[$0] })
        case .string(let text), .markup(let text):
            try charge(text: text.utf8.count)
            return rewrapped(try sliced(text, bounds), like: value)
        case .range(let range):
            let places = try places(bounds, in: range.count)
            let start = range.start &+ normalized(bounds, range.count).start &* range.step
            let step = range.step.multipliedReportingOverflow(by: bounds.2)
            if step.overflow { throw tooLarge }
            return .range(
                JinjaRange(
                    start: start, stop: range.start &+ normalized(bounds, range.count).stop &* range.step,
                    step: step.partialValue, count: places.count))
        default: throw failure("a \(value.typeName) has no slices")
        }
    }

    private func bound(_ value: JinjaValue) throws(TemplateError) -> Int? {
        if value.isNone { return nil }
        guard let index = value.index else { throw failure("a slice needs integers, not a \(value.typeName)") }
        return index
    }

    private func sliced(_ text: String, _ bounds: (Int?, Int?, Int)) throws(TemplateError) -> String {
        if JinjaText.isASCII(text) {
            let bytes = Array(text.utf8)
            return String(decoding: try places(bounds, in: bytes.count).map { bytes[$0] }, as: UTF8.self)
        }
        let scalars = Array(text.unicodeScalars)
        return JinjaText.string(try places(bounds, in: scalars.count).map { scalars[$0] })
    }

    /// Python's `slice.indices`.
    private func normalized(_ bounds: (Int?, Int?, Int), _ count: Int) -> (start: Int, stop: Int) {
        let (low, high) = bounds.2 < 0 ? (-1, count - 1) : (0, count)
        func clamp(_ bound: Int?, _ fallback: Int) -> Int {
            guard let bound else { return fallback }
            return min(high, max(low, bound < 0 ? bound + count : bound))
        }
        return (clamp(bounds.0, bounds.2 < 0 ? high : low), clamp(bounds.1, bounds.2 < 0 ? low : high))
    }

    private func places(_ bounds: (Int?, Int?, Int), in count: Int) throws(TemplateError) -> [Int] {
        let (start, stop) = normalized(bounds, count)
        let places = Array(Swift.stride(from: start, to: stop, by: bounds.2))
        try charge(places.count / 32)
        return places
    }

    // MARK: Walking

    /// The number of elements where Python's `len` gives one.
    func length(of value: JinjaValue) -> Int? {
        switch value {
        case .undefined: 0
        case .string(let text), .markup(let text): JinjaText.length(text)
        case .list(let list), .tuple(let list): list.items.count
        case .dictionary(let dictionary): dictionary.count
        case .view(let view): view.dictionary.count
        case .range(let range): range.count
        default: nil
        }
    }

    /// An iterator fed by another one.
    func feed(
        _ source: JinjaIterator, _ pull: @escaping () throws(TemplateError) -> JinjaValue?
    ) throws(TemplateError) -> JinjaIterator {
        if source.depth >= limits.depth { throw limit("generators feed each other deeper than \(limits.depth)") }
        return JinjaIterator(depth: source.depth + 1, pull)
    }

    func iterator(over items: [JinjaValue]) -> JinjaIterator {
        var position = 0
        return JinjaIterator(depth: 1) { () throws(TemplateError) in
            guard position < items.count else { return nil }
            position += 1
            return items[position - 1]
        }
    }

    func iterator(over value: JinjaValue) throws(TemplateError) -> JinjaIterator {
        switch value {
        case .undefined: return JinjaIterator(depth: 1) { () throws(TemplateError) in nil }
        case .list(let list), .tuple(let list): return iterator(over: list.items)
        case .dictionary(let dictionary): return iterator(over: dictionary.keys)
        case .view(let view): return try iterator(over: view)
        case .iterator(let iterator): return iterator
        case .string(let text), .markup(let text):
            try charge(text: text.utf8.count)
            var scalars = text.unicodeScalars.makeIterator()
            return JinjaIterator(depth: 1) { () throws(TemplateError) in scalars.next().map { .string(String($0)) } }
        case .range(let range):
            var position = 0
            return JinjaIterator(depth: 1) { () throws(TemplateError) in
                guard position < range.count else { return nil }
                position += 1
                return .integer(range[position - 1])
            }
        case .loop(let state):
            return JinjaIterator(depth: 1) { [self] () throws(TemplateError) in
                guard let item = try state.advance() else { return nil }
                return try tuple([item, .loop(state)])
            }
        default: throw failure("a \(value.typeName) cannot be walked through")
        }
    }

    private func iterator(over view: JinjaView) throws(TemplateError) -> JinjaIterator {
        let dictionary = view.dictionary
        switch view.kind {
        case .keys: return iterator(over: dictionary.keys)
        case .values: return iterator(over: dictionary.values)
        case .items:
            var position = 0
            return JinjaIterator(depth: 1) { [self] () throws(TemplateError) in
                guard position < dictionary.count else { return nil }
                position += 1
                return try tuple([dictionary.keys[position - 1], dictionary.values[position - 1]])
            }
        }
    }

    /// Every element, each for a step.
    func items(of value: JinjaValue) throws(TemplateError) -> [JinjaValue] {
        switch value {
        case .list(let list), .tuple(let list):
            try charge(list.items.count)
            return list.items
        default:
            let iterator = try iterator(over: value)
            var items: [JinjaValue] = []
            while let item = try iterator.next() {
                try charge()
                items.append(item)
            }
            return items
        }
    }
}
