internal import Chat

/// Walks a program with a budget: every step, every piece of text and every level of nesting is counted.
final class JinjaInterpreter {
    let program: JinjaProgram
    let name: String
    let limits: ChatTemplate.Limits
    /// Seconds since 1970, or nil for the clock.
    let now: Int?
    /// Of what is being evaluated, for errors.
    var line = 1
    private(set) var spans: [Range<Int>] = []
    private(set) var unplacedSpans = 0
    private var steps = 0
    private var nesting = 0
    private var calls = 0
    private var output = ""
    /// The outputs around the one that is being captured; the first is the template's own.
    private var outer: [String] = []
    private(set) var scope: JinjaScope
    /// Objects that can lie in a circle, emptied at the end.
    private var namespaces: [JinjaNamespace] = []
    private var captured: [JinjaScope] = []

    enum Flow { case onward, leaveLoop, nextIteration }

    init(program: JinjaProgram, name: String, limits: ChatTemplate.Limits, now: Int?) {
        self.program = program
        self.name = name
        self.limits = limits
        self.now = now
        scope = JinjaScope(parent: nil)
    }

    func render(_ variables: JSONObject) throws(TemplateError) -> String {
        defer { breakCircles() }
        try bindGlobals(variables)
        try enter(program.body.frame)
        _ = try execute(program.body.statements)
        return output
    }

    private func bindGlobals(_ variables: JSONObject) throws(TemplateError) {
        for function in JinjaFunction.allCases {
            if let number = program.numbers[function.rawValue] { scope[number] = .function(function) }
        }
        for member in variables.members {
            if let number = program.numbers[member.key] { scope[number] = try value(member.value) }
        }
    }

    private func breakCircles() {
        for namespace in namespaces { namespace.clear() }
        for scope in captured { scope.clear() }
        scope = JinjaScope(parent: nil)
    }

    // MARK: Budget

    func charge(_ count: Int = 1) throws(TemplateError) {
        steps += count
        if steps > limits.steps { throw limit("the template takes more than \(limits.steps) steps") }
    }

    /// Pays for making or reading `count` bytes of text, before it is done.
    func charge(text count: Int) throws(TemplateError) {
        if count > limits.output { throw limit("a text grows beyond \(limits.output) bytes") }
        try charge(count / 128)
    }

    /// Pays for work on each character, which is slower than work on bytes.
    func charge(characters text: String) throws(TemplateError) {
        try charge(text: text.utf8.count)
        try charge(text.utf8.count / 16)
    }

    /// Runs one level of a recursion.
    func nested<Result>(_ body: () throws(TemplateError) -> Result) throws(TemplateError) -> Result {
        nesting += 1
        defer { nesting -= 1 }
        if nesting > limits.nesting { throw limit("the template nests deeper than \(limits.nesting) levels") }
        return try body()
    }

    func failure(_ reason: String) -> TemplateError { .evaluation(place, reason) }
    func limit(_ reason: String) -> TemplateError { .limit(place, reason) }
    var place: TemplateError.Place { TemplateError.Place(template: name, line: line) }

    func string(_ text: String) throws(TemplateError) -> JinjaValue {
        try charge(text: text.utf8.count)
        return .string(text)
    }

    // MARK: Output

    private func write(_ text: String) throws(TemplateError) {
        if output.utf8.count + text.utf8.count > limits.output {
            throw limit("the output grows beyond \(limits.output) bytes")
        }
        try charge(text: text.utf8.count)
        output += text
    }

    /// Blocks write what they got, and only strings can be written.
    private func writeString(_ value: JinjaValue) throws(TemplateError) {
        guard let text = value.text else { throw failure("a block's result is a \(value.typeName), not a string") }
        try write(text)
    }

    /// What `body` writes, kept out of the output.
    private func capture(_ body: () throws(TemplateError) -> Void) throws(TemplateError) -> String {
        outer.append(output)
        output = ""
        defer { output = outer.removeLast() }
        try body()
        return output
    }

    // MARK: Scopes

    private func enter(_ frame: Int) throws(TemplateError) {
        try charge()
        scope = JinjaScope(parent: scope)
        for number in program.shadows[frame] { scope.hide(number) }
    }

    private func inside<Result>(
        _ frame: Int, of parent: JinjaScope, _ body: () throws(TemplateError) -> Result
    ) throws(TemplateError) -> Result {
        let current = scope
        defer { scope = current }
        scope = parent
        try enter(frame)
        return try body()
    }

    func makeNamespace() -> JinjaNamespace {
        let namespace = JinjaNamespace()
        namespaces.append(namespace)
        return namespace
    }

    private func assign(_ value: JinjaValue, to target: JinjaTarget) throws(TemplateError) {
        switch target {
        case .name(let number): scope[number] = value
        case .attribute(let number, let name):
            guard case .namespace(let namespace) = lookup(number) else {
                throw failure("an attribute can be set on a namespace only, and '\(program.names[number])' is none")
            }
            namespace[name] = value
        case .tuple(let targets):
            let values = try items(of: value)
            guard values.count == targets.count else {
                throw failure("\(targets.count) names cannot be set from \(values.count) values")
            }
            for (target, value) in zip(targets, values) { try assign(value, to: target) }
        }
    }

    private func lookup(_ number: Int) -> JinjaValue {
        scope.find(number) ?? .undefined(JinjaUndefined(.name(program.names[number])))
    }

    // MARK: Statements

    private func execute(_ statements: [JinjaStatement]) throws(TemplateError) -> Flow {
        try nested { () throws(TemplateError) in
            for statement in statements {
                let flow = try execute(statement)
                if flow != .onward { return flow }
            }
            return .onward
        }
    }

    private func execute(_ statement: JinjaStatement) throws(TemplateError) -> Flow {
        try charge()
        switch statement {
        case .text(let text): try write(text)
        case .output(let expression): try write(try text(of: try evaluate(expression)))
        case .assign(let target, let expression, let line):
            let value = try evaluate(expression)
            self.line = line
            try assign(value, to: target)
        case .assignBlock(let target, let filters, let body, let line):
            let (value, flow) = try captured(body, filters)
            self.line = line
            if flow != .onward { return flow }
            try assign(value, to: target)
        case .conditional(let branches, let otherwise):
            for branch in branches where try evaluate(branch.condition).isTrue {
                return try execute(branch.statements)
            }
            return try execute(otherwise)
        case .loop(let loop): return try execute(loop)
        case .macro(let macro):
            scope[macro.nameNumber] = closure(macro)
        case .call(let macro, let expression): try writeString(try call(macro, through: expression))
        case .filter(let filters, let body, let line):
            let (value, flow) = try captured(body, filters)
            self.line = line
            if flow != .onward { return flow }
            try writeString(value)
        case .with(let bindings, let body): return try execute(bindings, body)
        case .block(let body, let isScoped):
            let parent = isScoped ? scope : scope.template
            return try inside(body.frame, of: parent) { () throws(TemplateError) in try execute(body.statements) }
        case .generation(let body): try generate(body)
        case .breakLoop: return .leaveLoop
        case .continueLoop: return .nextIteration
        }
        return .onward
    }

    /// The filtered text of a body.
    private func captured(
        _ body: JinjaBody, _ filters: [JinjaPostfix]
    ) throws(TemplateError) -> (JinjaValue, Flow) {
        try inside(body.frame, of: scope) { () throws(TemplateError) in
            var flow = Flow.onward
            let text = try capture { () throws(TemplateError) in flow = try execute(body.statements) }
            if flow != .onward { return (.none, flow) }
            return (try follow(filters, from: .string(text)), flow)
        }
    }

    private func execute(_ bindings: [JinjaBinding], _ body: JinjaBody) throws(TemplateError) -> Flow {
        var values: [JinjaValue] = []
        for binding in bindings { values.append(try evaluate(binding.value)) }
        return try inside(body.frame, of: scope) { () throws(TemplateError) in
            for (binding, value) in zip(bindings, values) { try assign(value, to: binding.target) }
            return try execute(body.statements)
        }
    }

    /// Inside a macro, a set or a filter nobody knows where the text will end up.
    private func generate(_ body: JinjaBody) throws(TemplateError) {
        let start = output.utf8.count
        try inside(body.frame, of: scope) { () throws(TemplateError) in _ = try execute(body.statements) }
        if outer.isEmpty {
            spans.append(start..<output.utf8.count)
        } else {
            unplacedSpans += 1
        }
    }

    // MARK: Loops

    private func execute(_ loop: JinjaLoop) throws(TemplateError) -> Flow {
        let source = try evaluate(loop.source)
        line = loop.line
        if loop.isRecursive {
            try write(try recurse(loop, over: source, in: scope, depth: 0))
            return .onward
        }
        return try run(loop, over: source, depth: 0)
    }

    /// The text of one level of a recursive loop.
    func recurse(
        _ loop: JinjaLoop, over source: JinjaValue, in scope: JinjaScope, depth: Int
    ) throws(TemplateError) -> String {
        try counted { () throws(TemplateError) in
            let current = self.scope
            defer { self.scope = current }
            self.scope = scope
            return try capture { () throws(TemplateError) in _ = try run(loop, over: source, depth: depth) }
        }
    }

    private func run(_ loop: JinjaLoop, over source: JinjaValue, depth: Int) throws(TemplateError) -> Flow {
        var iterator = try iterator(over: source)
        if let test = loop.test { iterator = try filtered(iterator, loop, test) }
        let state = JinjaLoopState(
            iterator: iterator, source: loop.test == nil ? source : nil, depth: depth,
            recursion: loop.isRecursive ? (loop, scope) : nil)
        let parent = scope
        defer { scope = parent }
        let loopNumber = program.numbers["loop"]
        var isComplete = false
        while let item = try state.advance() {
            scope = parent
            try enter(loop.body.frame)
            if let loopNumber { scope[loopNumber] = .loop(state) }
            line = loop.line
            try assign(item, to: loop.target)
            let flow = try execute(loop.body.statements)
            if flow == .leaveLoop { break }
            // As in the original, an iteration that is cut short does not keep the else part from running.
            if flow == .onward { isComplete = true }
        }
        scope = parent
        guard let otherwise = loop.otherwise, !isComplete else { return .onward }
        return try inside(otherwise.frame, of: parent) { () throws(TemplateError) in
            try execute(otherwise.statements)
        }
    }

    private func filtered(
        _ iterator: JinjaIterator, _ loop: JinjaLoop, _ test: JinjaExpression
    ) throws(TemplateError) -> JinjaIterator {
        let parent = scope
        return try feed(iterator) { [self] () throws(TemplateError) in
            while let item = try iterator.next() {
                let isTaken = try inside(loop.testFrame, of: parent) { () throws(TemplateError) in
                    try assign(item, to: loop.target)
                    return try evaluate(test).isTrue
                }
                if isTaken { return item }
            }
            return nil
        }
    }

    // MARK: Macros

    private func closure(_ macro: JinjaMacro) -> JinjaValue {
        captured.append(scope)
        return .macro(JinjaClosure(macro: macro, scope: scope))
    }

    private func call(_ macro: JinjaMacro, through expression: JinjaExpression) throws(TemplateError) -> JinjaValue {
        guard case .postfix(let base, var links) = expression, case .call(let list)? = links.popLast()?.kind else {
            throw failure("expected a call")
        }
        let caller = closure(macro)
        let callee = try follow(links, from: try evaluate(base))
        line = macro.line
        guard !list.named.contains(where: { $0.name == "caller" }) else { throw failure("two values for 'caller'") }
        var arguments = try evaluate(list)
        arguments.named.append(("caller", caller))
        return try call(callee, arguments)
    }

    func invoke(_ closure: JinjaClosure, _ arguments: JinjaArguments) throws(TemplateError) -> JinjaValue {
        let text = try counted { () throws(TemplateError) in
            try inside(closure.macro.body.frame, of: closure.scope) { () throws(TemplateError) in
                try bind(arguments, to: closure.macro)
                return try capture { () throws(TemplateError) in
                    _ = try execute(closure.macro.body.statements)
                }
            }
        }
        return .string(text)
    }

    /// One more level of calls.
    private func counted<Result>(_ body: () throws(TemplateError) -> Result) throws(TemplateError) -> Result {
        calls += 1
        defer { calls -= 1 }
        if calls > limits.depth { throw limit("macros call each other deeper than \(limits.depth)") }
        return try body()
    }

    private func bind(_ arguments: JinjaArguments, to macro: JinjaMacro) throws(TemplateError) {
        var named = arguments.named
        var missing: [JinjaMacro.Parameter] = []
        for (index, parameter) in macro.parameters.enumerated() {
            if index < arguments.positional.count {
                scope[parameter.number] = arguments.positional[index]
            } else if let place = named.firstIndex(where: { $0.name == parameter.name }) {
                scope[parameter.number] = named.remove(at: place).value
            } else {
                scope.hide(parameter.number)
                missing.append(parameter)
            }
        }
        if let number = macro.caller {
            let place = named.firstIndex { $0.name == "caller" }
            scope[number] =
                place.map { named.remove(at: $0).value } ?? .undefined(JinjaUndefined(.hint("No caller defined")))
        }
        try bindRest(arguments, named, to: macro)
        for parameter in missing {
            scope[parameter.number] =
                try parameter.fallback.map { (value) throws(TemplateError) in try evaluate(value) }
                ?? .undefined(JinjaUndefined(.hint("parameter '\(parameter.name)' was not provided")))
        }
    }

    private func bindRest(
        _ arguments: JinjaArguments, _ named: [(name: String, value: JinjaValue)], to macro: JinjaMacro
    ) throws(TemplateError) {
        if let number = macro.keywords {
            scope[number] = try dictionary(named)
        } else if let extra = named.first {
            throw failure("the macro '\(macro.name)' takes no argument '\(extra.name)'")
        }
        if let number = macro.rest {
            scope[number] = try tuple(Array(arguments.positional.dropFirst(macro.parameters.count)))
        } else if arguments.positional.count > macro.parameters.count {
            throw failure("the macro '\(macro.name)' takes at most \(macro.parameters.count) arguments")
        }
    }

    // MARK: Expressions

    func evaluate(_ expression: JinjaExpression) throws(TemplateError) -> JinjaValue {
        try charge()
        switch expression {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .number(let value): return .number(value)
        case .string(let text): return .string(text)
        case .name(let number): return lookup(number)
        default: return try nested { () throws(TemplateError) in try evaluateNested(expression) }
        }
    }

    private func evaluateNested(_ expression: JinjaExpression) throws(TemplateError) -> JinjaValue {
        switch expression {
        case .none, .bool, .integer, .number, .string, .name: return .none
        case .list(let elements): return try list(try evaluate(elements))
        case .tuple(let elements): return try tuple(try evaluate(elements))
        case .dictionary(let members, let line):
            let keys = try evaluate(members.map(\.key))
            let values = try evaluate(members.map(\.value))
            self.line = line
            return try dictionary(keys, values)
        case .postfix(let base, let links): return try follow(links, from: try evaluate(base))
        case .arithmetic(let first, let operands):
            var value = try evaluate(first)
            for operand in operands {
                let right = try evaluate(operand.value)
                line = operand.line
                value = try calculate(value, operand.operation, right)
            }
            return value
        case .concatenation(let parts, let line):
            var joined = ""
            for part in parts {
                let text = try text(of: try evaluate(part))
                self.line = line
                try charge(text: joined.utf8.count + text.utf8.count)
                joined += text
            }
            return .string(joined)
        case .comparison(let first, let operands): return try compare(first, operands)
        case .and(let operands):
            for operand in operands.dropLast() {
                let value = try evaluate(operand)
                if !value.isTrue { return value }
            }
            return try evaluate(operands[operands.count - 1])
        case .or(let operands):
            for operand in operands.dropLast() {
                let value = try evaluate(operand)
                if value.isTrue { return value }
            }
            return try evaluate(operands[operands.count - 1])
        case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
        case .negative(let operand, let line):
            let value = try evaluate(operand)
            self.line = line
            return try negated(value)
        case .positive(let operand, let line):
            let value = try evaluate(operand)
            self.line = line
            return try positive(value)
        case .choice(let condition, let then, let otherwise, let line):
            if try evaluate(condition).isTrue { return try evaluate(then) }
            if let otherwise { return try evaluate(otherwise) }
            return .undefined(JinjaUndefined(.hint("the inline if in line \(line) is false and has no else")))
        }
    }

    private func evaluate(_ expressions: [JinjaExpression]) throws(TemplateError) -> [JinjaValue] {
        var values: [JinjaValue] = []
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        return values
    }

    private func compare(_ first: JinjaExpression, _ operands: [JinjaOperand]) throws(TemplateError) -> JinjaValue {
        var left = try evaluate(first)
        for operand in operands {
            let right = try evaluate(operand.value)
            line = operand.line
            if try !compare(left, operand.operation, right) { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    /// Applies attributes, calls, filters and tests in turn.
    private func follow(_ links: [JinjaPostfix], from start: JinjaValue) throws(TemplateError) -> JinjaValue {
        var value = start
        var index = 0
        while index < links.count {
            let link = links[index]
            index += 1
            line = link.line
            switch link.kind {
            case .attribute(let name):
                if index < links.count, case .call(let list) = links[index].kind, hasMethod(value, name) {
                    let arguments = try evaluate(list)
                    line = links[index].line
                    index += 1
                    value = try callMethod(name, of: value, arguments)
                } else {
                    value = try attribute(name, of: value)
                }
            case .item(let key):
                let key = try evaluate(key)
                line = link.line
                value = try item(key, of: value)
            case .slice(let start, let stop, let step):
                let bounds = try [start, stop, step].map { (part) throws(TemplateError) -> JinjaValue in
                    try part.map { (part) throws(TemplateError) in try evaluate(part) } ?? .none
                }
                line = link.line
                value = try slice(value, bounds[0], bounds[1], bounds[2])
            case .call(let list):
                let arguments = try evaluate(list)
                line = link.line
                value = try call(value, arguments)
            case .filter(let filter, let name, let list):
                let arguments = try evaluate(list)
                line = link.line
                guard let filter else { throw failure("there is no filter named '\(name)'") }
                value = try apply(filter, to: value, arguments)
            case .test(let test, let name, let list, let isNegated):
                let arguments = try evaluate(list)
                line = link.line
                guard let test else { throw failure("there is no test named '\(name)'") }
                value = .bool(try check(test, value, arguments) != isNegated)
            }
        }
        return value
    }

    private func evaluate(_ list: JinjaArgumentList) throws(TemplateError) -> JinjaArguments {
        if list.isEmpty { return JinjaArguments() }
        var arguments = JinjaArguments(positional: try evaluate(list.positional))
        for (name, value) in list.named { arguments.named.append((name, try evaluate(value))) }
        if let splat = list.splat { arguments.positional += try items(of: try evaluate(splat)) }
        guard let splat = list.keywordSplat else { return arguments }
        guard case .dictionary(let dictionary) = try evaluate(splat) else {
            throw failure("an argument behind ** must be a mapping")
        }
        try charge(dictionary.count)
        for (key, value) in zip(dictionary.keys, dictionary.values) {
            guard let name = key.text, !arguments.named.contains(where: { $0.name == name }) else {
                throw failure("an argument behind ** has a key that is no name or stands twice")
            }
            arguments.named.append((name, value))
        }
        return arguments
    }
}

/// The variables of one run of a body; names are numbers.
final class JinjaScope {
    private let parent: JinjaScope?
    private var numbers: [Int] = []
    private var values: [JinjaValue?] = []

    init(parent: JinjaScope?) { self.parent = parent }

    /// The scope of the template's own variables, over the one of those that it was given.
    var template: JinjaScope {
        var scope = self
        while let parent = scope.parent, parent.parent != nil { scope = parent }
        return scope
    }

    /// The value here or in the next scope around that has one; nil where the name is unset or hidden.
    func find(_ number: Int) -> JinjaValue? {
        var scope = self
        while true {
            if let index = scope.numbers.firstIndex(of: number) { return scope.values[index] }
            guard let parent = scope.parent else { return nil }
            scope = parent
        }
    }

    subscript(number: Int) -> JinjaValue? {
        get { numbers.firstIndex(of: number).flatMap { values[$0] } }
        set {
            if let index = numbers.firstIndex(of: number) {
                values[index] = newValue
            } else {
                numbers.append(number)
                values.append(newValue)
            }
        }
    }

    func hide(_ number: Int) { self[number] = nil }

    func clear() { (numbers, values) = ([], []) }
}

struct JinjaArguments {
    var positional: [JinjaValue] = []
    var named: [(name: String, value: JinjaValue)] = []

    var isEmpty: Bool { positional.isEmpty && named.isEmpty }
}

/// The `loop` of a `for`.
final class JinjaLoopState {
    private var iterator: JinjaIterator
    private let source: JinjaValue?
    let depth: Int
    let recursion: (loop: JinjaLoop, scope: JinjaScope)?
    private(set) var index = -1
    private(set) var previous: JinjaValue?
    private var current: JinjaValue?
    private var ahead: JinjaValue?
    private var knownLength: Int?
    var lastChanged: [JinjaValue]?

    init(
        iterator: JinjaIterator, source: JinjaValue?, depth: Int, recursion: (loop: JinjaLoop, scope: JinjaScope)?
    ) {
        self.iterator = iterator
        self.source = source
        self.depth = depth
        self.recursion = recursion
    }

    func advance() throws(TemplateError) -> JinjaValue? {
        let next = try peek()
        ahead = nil
        guard let next else { return nil }
        index += 1
        (previous, current) = (current, next)
        return next
    }

    /// The item after the current one; nothing is read further ahead than that.
    func peek() throws(TemplateError) -> JinjaValue? {
        if ahead == nil { ahead = try iterator.next() }
        return ahead
    }

    func length(_ interpreter: JinjaInterpreter) throws(TemplateError) -> Int {
        if let knownLength { return knownLength }
        if let source, let length = interpreter.length(of: source) {
            knownLength = length
            return length
        }
        var rest: [JinjaValue] = []
        while let item = try iterator.next() {
            try interpreter.charge()
            rest.append(item)
        }
        let length = rest.count + index + 1 + (ahead == nil ? 0 : 1)
        knownLength = length
        var position = 0
        iterator = JinjaIterator(depth: 1) { () throws(TemplateError) in
            guard position < rest.count else { return nil }
            position += 1
            return rest[position - 1]
        }
        return length
    }
}
