/// Reads tokens into statements; precedence and oddities are Jinja's own.
struct JinjaParser {
    private let tokens: [JinjaToken]
    private let name: String
    private let deepest: Int
    private var index = 0
    private var depth = 0
    private var names: [String] = []
    private var numbers: [String: Int] = [:]
    private var frames: [Frame] = []
    private var current = 0
    /// How many loops lie around this place that `break` can leave.
    private var loopDepth = 0
    /// Filters and tests that do not exist, in places that are always reached.
    private var unknown: [(kind: String, name: String, line: Int)] = []
    /// Inside `if`, an unknown filter is an error only when it is reached.
    private var isSoft = false
    private var blockNames: Set<String> = []

    /// The variables of one body: what it refers to, what it sets before it reads it.
    private struct Frame {
        var parent: Int?
        var references: Set<Int> = []
        var storedFirst: Set<Int> = []
        var branchDepth = 0
        /// Of a macro: the special names that its body reads.
        var isMacro = false
        var special: Set<Int> = []
    }

    static func parse(source: String, name: String, depth: Int) throws(TemplateError) -> JinjaProgram {
        var lexer = JinjaLexer(source: source, name: name)
        var parser = JinjaParser(tokens: try lexer.run(), name: name, deepest: depth)
        return try parser.program()
    }

    private init(tokens: [JinjaToken], name: String, deepest: Int) {
        self.tokens = tokens
        self.name = name
        self.deepest = deepest
    }

    private mutating func program() throws(TemplateError) -> JinjaProgram {
        let frame = openFrame(parent: nil)
        let statements = try statements(until: [])
        if let missing = unknown.first {
            throw error("there is no \(missing.kind) named '\(missing.name)'", line: missing.line)
        }
        return JinjaProgram(
            body: JinjaBody(statements: statements, frame: frame), names: names, numbers: numbers,
            shadows: frames.map(shadows))
    }

    // MARK: Frames

    private mutating func openFrame(parent: Int?) -> Int {
        frames.append(Frame(parent: parent))
        current = frames.count - 1
        return current
    }

    /// A name that is set before it is read hides nothing that an outer frame of the template has.
    private func shadows(_ frame: Frame) -> [Int] {
        frame.storedFirst.sorted().filter { number in
            var ancestor = frame.parent
            while let index = ancestor {
                if frames[index].references.contains(number) { return false }
                ancestor = frames[index].parent
            }
            return true
        }
    }

    private mutating func number(of name: String) -> Int {
        if let number = numbers[name] { return number }
        names.append(name)
        numbers[name] = names.count - 1
        return names.count - 1
    }

    private mutating func load(_ name: String) -> Int {
        let number = number(of: name)
        frames[current].references.insert(number)
        if name == "caller" || name == "kwargs" || name == "varargs" {
            var frame: Int? = current
            while let index = frame {
                if frames[index].isMacro { frames[index].special.insert(number) }
                frame = frames[index].parent
            }
        }
        return number
    }

    private mutating func store(_ number: Int) {
        if frames[current].references.insert(number).inserted, frames[current].branchDepth == 0 {
            frames[current].storedFirst.insert(number)
        }
    }

    private mutating func store(_ target: JinjaTarget, isParameter: Bool = false) {
        switch target {
        case .name(let number): if isParameter { declare(number) } else { store(number) }
        case .attribute(let number, _): frames[current].references.insert(number)
        case .tuple(let targets): for target in targets { store(target, isParameter: isParameter) }
        }
    }

    private mutating func declare(_ number: Int) { frames[current].references.insert(number) }

    /// Parses a body with variables of its own; `declare` names those that it starts with.
    private mutating func body(
        until ends: Set<String>, declaring targets: [JinjaTarget] = []
    ) throws(TemplateError) -> JinjaBody {
        let (outer, wasSoft) = (current, isSoft)
        let frame = openFrame(parent: outer)
        isSoft = false
        for target in targets { store(target, isParameter: true) }
        let statements = try block(until: ends)
        (current, isSoft) = (outer, wasSoft)
        return JinjaBody(statements: statements, frame: frame)
    }

    // MARK: Tokens

    private var token: JinjaToken { tokens[index] }

    private func peek(_ offset: Int = 1) -> JinjaToken.Kind { tokens[min(index + offset, tokens.count - 1)].kind }

    private mutating func next() -> JinjaToken {
        let token = tokens[index]
        if index + 1 < tokens.count { index += 1 }
        return token
    }

    private func isName(_ word: String) -> Bool { token.kind == .name(word) }
    private func isSymbol(_ symbol: String) -> Bool { token.kind == .symbol(symbol) }

    private mutating func skip(name word: String) -> Bool {
        guard isName(word) else { return false }
        index += 1
        return true
    }

    private mutating func skip(symbol: String) -> Bool {
        guard isSymbol(symbol) else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ kind: JinjaToken.Kind) throws(TemplateError) {
        guard token.kind == kind else {
            throw error("expected \(JinjaToken(kind: kind, line: 0).text), found \(token.text)")
        }
        _ = next()
    }

    private mutating func expectName() throws(TemplateError) -> String {
        guard case .name(let word) = token.kind else { throw error("expected a name, found \(token.text)") }
        _ = next()
        return word
    }

    private func error(_ reason: String, line: Int? = nil) -> TemplateError {
        .syntax(TemplateError.Place(template: name, line: line ?? token.line), reason)
    }

    private mutating func enter() throws(TemplateError) {
        depth += 1
        if depth > deepest {
            throw .limit(
                TemplateError.Place(template: name, line: token.line), "blocks and brackets nest deeper than \(deepest)"
            )
        }
    }

    // MARK: Statements

    /// Statements up to a tag that `ends` names (it is left to be read) or the end of the template.
    private mutating func statements(until ends: Set<String>) throws(TemplateError) -> [JinjaStatement] {
        try enter()
        defer { depth -= 1 }
        var statements: [JinjaStatement] = []
        while true {
            switch token.kind {
            case .data(let text):
                statements.append(.text(text))
                _ = next()
            case .variableBegin:
                _ = next()
                statements.append(.output(try tuple()))
                try expect(.variableEnd)
            case .blockBegin:
                _ = next()
                if case .name(let word) = token.kind, ends.contains(word) { return statements }
                if let statement = try statement(expecting: ends) { statements += statement }
                try expect(.blockEnd)
            default:
                if ends.isEmpty { return statements }
                throw error("the template ends where \(list(ends)) should stand")
            }
        }
    }

    private func list(_ tags: Set<String>) -> String { tags.sorted().map { "{% \($0) %}" }.joined(separator: " or ") }

    /// The end of an opening tag, and statements up to one of `ends`.
    private mutating func block(until ends: Set<String>) throws(TemplateError) -> [JinjaStatement] {
        _ = skip(symbol: ":")
        try expect(.blockEnd)
        return try statements(until: ends)
    }

    private mutating func statement(expecting ends: Set<String>) throws(TemplateError) -> [JinjaStatement]? {
        let line = token.line
        guard case .name(let tag) = token.kind else { throw error("expected the name of a tag, found \(token.text)") }
        _ = next()
        switch tag {
        case "for": return [.loop(try loop(line))]
        case "if": return [try conditional()]
        case "set": return [try assignment(line)]
        case "macro": return [.macro(try macro(line))]
        case "call": return [try callBlock(line)]
        case "filter": return [try filterBlock(line)]
        case "with": return [try withBlock()]
        case "block": return [try namedBlock()]
        case "generation": return [try generation()]
        case "print": return try printed()
        case "break", "continue":
            if loopDepth == 0 { throw error("{% \(tag) %} stands outside a loop", line: line) }
            return [tag == "break" ? .breakLoop : .continueLoop]
        case "extends", "include", "import", "from", "autoescape":
            throw error("the tag {% \(tag) %} is not allowed in a chat template", line: line)
        default:
            let expected = ends.isEmpty ? "" : "; \(list(ends)) is expected"
            throw error("there is no tag {% \(tag) %}\(expected)", line: line)
        }
    }

    private mutating func loop(_ line: Int) throws(TemplateError) -> JinjaLoop {
        let target = try assignmentTarget(stoppingAtIn: true, allowsAttributes: false)
        try refuseLoopVariable(target, line)
        try expect(.name("in"))
        let source = try tuple(allowsChoice: false, endWords: ["recursive"])
        var test: JinjaExpression?
        var testFrame = 0
        if skip(name: "if") {
            let outer = current
            testFrame = openFrame(parent: outer)
            store(target, isParameter: true)
            test = try expression()
            current = outer
        }
        let isRecursive = skip(name: "recursive")
        loopDepth += 1
        let loopName = number(of: "loop")
        let body = try body(until: ["endfor", "else"], declaring: [target, .name(loopName)])
        loopDepth -= 1
        var otherwise: JinjaBody?
        if try expectName() == "else" {
            otherwise = try self.body(until: ["endfor"])
            _ = next()
        }
        return JinjaLoop(
            target: target, source: source, test: test, testFrame: testFrame, body: body, otherwise: otherwise,
            isRecursive: isRecursive, line: line)
    }

    private func refuseLoopVariable(_ target: JinjaTarget, _ line: Int) throws(TemplateError) {
        switch target {
        case .name(let number):
            if names[number] == "loop" { throw error("the name 'loop' cannot be set in a loop", line: line) }
        case .tuple(let targets): for target in targets { try refuseLoopVariable(target, line) }
        case .attribute: break
        }
    }

    private mutating func conditional() throws(TemplateError) -> JinjaStatement {
        var branches: [JinjaBranch] = []
        var otherwise: [JinjaStatement] = []
        let wasSoft = isSoft
        isSoft = true
        var isOpen = true
        while isOpen {
            let condition = try tuple(allowsChoice: false)
            let statements = try branch(until: ["elif", "else", "endif"])
            branches.append(JinjaBranch(condition: condition, statements: statements))
            switch try expectName() {
            case "elif": break
            case "else":
                otherwise = try branch(until: ["endif"])
                _ = next()
                isOpen = false
            default: isOpen = false
            }
        }
        isSoft = wasSoft
        return .conditional(branches, otherwise: otherwise)
    }

    private mutating func branch(until ends: Set<String>) throws(TemplateError) -> [JinjaStatement] {
        frames[current].branchDepth += 1
        let statements = try block(until: ends)
        frames[current].branchDepth -= 1
        return statements
    }

    private mutating func assignment(_ line: Int) throws(TemplateError) -> JinjaStatement {
        let target = try assignmentTarget(stoppingAtIn: false, allowsAttributes: true)
        if loopDepth > 0 { try refuseLoopVariable(target, line) }
        if skip(symbol: "=") {
            let value = try tuple()
            store(target)
            return .assign(target, value, line: line)
        }
        let filters = try filters()
        let body = try body(until: ["endset"])
        _ = next()
        store(target)
        return .assignBlock(target, filters: filters, body, line: line)
    }

    private mutating func assignmentTarget(
        stoppingAtIn: Bool, allowsAttributes: Bool
    ) throws(TemplateError) -> JinjaTarget {
        var targets: [JinjaTarget] = []
        var isTuple = false
        while true {
            if isSymbol(")") || token.kind == .blockEnd || (stoppingAtIn && isName("in")) { break }
            targets.append(try singleTarget(allowsAttributes))
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        if isTuple { return .tuple(targets) }
        guard let target = targets.first else { throw error("expected a name to set, found \(token.text)") }
        return target
    }

    private mutating func singleTarget(_ allowsAttributes: Bool) throws(TemplateError) -> JinjaTarget {
        if skip(symbol: "(") {
            try enter()
            defer { depth -= 1 }
            let inner = try assignmentTarget(stoppingAtIn: false, allowsAttributes: false)
            try expect(.symbol(")"))
            return inner
        }
        let word = try expectName()
        if JinjaParser.constants[word] != nil { throw error("'\(word)' cannot be set") }
        if allowsAttributes, skip(symbol: ".") { return .attribute(of: load(word), try expectName()) }
        return .name(number(of: word))
    }

    private mutating func macro(_ line: Int) throws(TemplateError) -> JinjaMacro {
        let name = try expectName()
        if JinjaParser.constants[name] != nil { throw error("'\(name)' cannot be set") }
        let number = number(of: name)
        store(number)
        return try macro(named: name, number: number, hasSignature: true, end: "endmacro", line)
    }

    private mutating func callBlock(_ line: Int) throws(TemplateError) -> JinjaStatement {
        // The parameters belong to the body, the call to the frame around it, and the text has them in this order.
        let hasSignature = isSymbol("(")
        let signatureStart = index
        if hasSignature { try skipBrackets() }
        let call = try expression()
        guard case .postfix(_, let links) = call, case .call? = links.last?.kind else {
            throw error("expected a call behind {% call %}", line: line)
        }
        let bodyStart = index
        index = signatureStart
        let macro = try macro(
            named: "", number: number(of: "caller"), hasSignature: hasSignature, end: "endcall", line,
            bodyStart: bodyStart)
        return .call(macro, call)
    }

    private mutating func skipBrackets() throws(TemplateError) {
        var open = 0
        repeat {
            switch next().kind {
            case .symbol("("), .symbol("["), .symbol("{"): open += 1
            case .symbol(")"), .symbol("]"), .symbol("}"): open -= 1
            case .end: throw error("a bracket is not closed")
            default: break
            }
        } while open > 0
    }

    private mutating func macro(
        named name: String, number: Int, hasSignature: Bool, end: String, _ line: Int, bodyStart: Int? = nil
    ) throws(TemplateError) -> JinjaMacro {
        let (outer, wasSoft, outerLoops) = (current, isSoft, loopDepth)
        let frame = openFrame(parent: outer)
        frames[frame].isMacro = true
        (isSoft, loopDepth) = (false, 0)
        let parameters = hasSignature ? try signature() : []
        frames[frame].special = []  // defaults do not count
        if let bodyStart { index = bodyStart }
        let statements = try block(until: [end])
        _ = next()
        (current, isSoft, loopDepth) = (outer, wasSoft, outerLoops)
        var macro = JinjaMacro(
            name: name, nameNumber: number, parameters: parameters,
            body: JinjaBody(statements: statements, frame: frame), line: line)
        try bindSpecialNames(of: &macro, frame)
        return macro
    }

    private func bindSpecialNames(of macro: inout JinjaMacro, _ frame: Int) throws(TemplateError) {
        func reads(_ word: String) -> Int? { numbers[word].flatMap { frames[frame].special.contains($0) ? $0 : nil } }
        func isParameter(_ word: String) -> Bool { macro.parameters.contains { $0.name == word } }
        if let parameter = macro.parameters.first(where: { $0.name == "caller" }) {
            if reads("caller") != nil, parameter.fallback == nil {
                throw error("the parameter 'caller' needs a default", line: macro.line)
            }
        } else {
            macro.caller = reads("caller")
        }
        macro.keywords = isParameter("kwargs") ? nil : reads("kwargs")
        macro.rest = isParameter("varargs") ? nil : reads("varargs")
    }

    private mutating func signature() throws(TemplateError) -> [JinjaMacro.Parameter] {
        try expect(.symbol("("))
        var parameters: [JinjaMacro.Parameter] = []
        while !isSymbol(")") {
            if !parameters.isEmpty { try expect(.symbol(",")) }
            let word = try expectName()
            if JinjaParser.constants[word] != nil { throw error("'\(word)' cannot be set") }
            if parameters.contains(where: { $0.name == word }) { throw error("the parameter '\(word)' stands twice") }
            let number = number(of: word)
            declare(number)
            var fallback: JinjaExpression?
            if skip(symbol: "=") {
                fallback = try expression()
            } else if parameters.last?.fallback != nil {
                throw error("a parameter without a default follows one with a default")
            }
            parameters.append(JinjaMacro.Parameter(name: word, number: number, fallback: fallback))
        }
        try expect(.symbol(")"))
        return parameters
    }

    private mutating func filterBlock(_ line: Int) throws(TemplateError) -> JinjaStatement {
        let first = try filter(line)
        let filters = try [first] + self.filters()
        let body = try body(until: ["endfilter"])
        _ = next()
        return .filter(filters, body, line: line)
    }

    private mutating func withBlock() throws(TemplateError) -> JinjaStatement {
        var bindings: [JinjaBinding] = []
        while token.kind != .blockEnd {
            if !bindings.isEmpty { try expect(.symbol(",")) }
            let target = try assignmentTarget(stoppingAtIn: false, allowsAttributes: false)
            try expect(.symbol("="))
            bindings.append(JinjaBinding(target: target, value: try expression()))
        }
        let body = try body(until: ["endwith"], declaring: bindings.map(\.target))
        _ = next()
        return .with(bindings, body)
    }

    private mutating func namedBlock() throws(TemplateError) -> JinjaStatement {
        let line = token.line
        let name = try expectName()
        guard blockNames.insert(name).inserted else { throw error("the block '\(name)' stands twice", line: line) }
        let isScoped = skip(name: "scoped")
        if skip(name: "required") { throw error("a required block needs inheritance", line: line) }
        let (outer, wasSoft, outerLoops) = (current, isSoft, loopDepth)
        let frame = openFrame(parent: isScoped ? outer : nil)
        (isSoft, loopDepth) = (false, 0)
        let statements = try block(until: ["endblock"])
        _ = next()
        _ = skip(name: name)
        (current, isSoft, loopDepth) = (outer, wasSoft, outerLoops)
        return .block(JinjaBody(statements: statements, frame: frame), isScoped: isScoped)
    }

    private mutating func generation() throws(TemplateError) -> JinjaStatement {
        let outerLoops = loopDepth
        loopDepth = 0
        let body = try body(until: ["endgeneration"])
        loopDepth = outerLoops
        _ = next()
        return .generation(body)
    }

    private mutating func printed() throws(TemplateError) -> [JinjaStatement] {
        var statements: [JinjaStatement] = []
        while token.kind != .blockEnd {
            if !statements.isEmpty { try expect(.symbol(",")) }
            statements.append(.output(try expression()))
        }
        return statements
    }

    // MARK: Expressions

    private static let constants: [String: JinjaExpression] = [
        "true": .bool(true), "True": .bool(true), "false": .bool(false), "False": .bool(false), "none": .none,
        "None": .none,
    ]

    /// An expression, or several with commas between them as a tuple.
    private mutating func tuple(
        allowsChoice: Bool = true, endWords: Set<String> = [], isBracketed: Bool = false
    ) throws(TemplateError) -> JinjaExpression {
        var elements: [JinjaExpression] = []
        var isTuple = false
        while !isTupleEnd(endWords) {
            elements.append(try expression(allowsChoice: allowsChoice))
            guard skip(symbol: ",") else { break }
            isTuple = true
        }
        if isTuple { return .tuple(elements) }
        if let element = elements.first { return element }
        if isBracketed { return .tuple([]) }
        throw error("expected an expression, found \(token.text)")
    }

    private func isTupleEnd(_ endWords: Set<String>) -> Bool {
        switch token.kind {
        case .variableEnd, .blockEnd, .symbol(")"): true
        case .name(let word): endWords.contains(word)
        default: false
        }
    }

    private mutating func expression(allowsChoice: Bool = true) throws(TemplateError) -> JinjaExpression {
        try enter()
        defer { depth -= 1 }
        return allowsChoice ? try choice() : try or()
    }

    private mutating func choice() throws(TemplateError) -> JinjaExpression {
        let line = token.line
        let unknownBefore = unknown.count
        var value = try or()
        while skip(name: "if") {
            let condition = try or()
            let otherwise = skip(name: "else") ? try expression() : nil
            value = .choice(condition: condition, then: value, otherwise: otherwise, line: line)
            unknown.removeSubrange(unknownBefore...)  // reached only where the condition says so
        }
        return value
    }

    private mutating func or() throws(TemplateError) -> JinjaExpression {
        var operands = [try and()]
        while skip(name: "or") { operands.append(try and()) }
        return operands.count == 1 ? operands[0] : .or(operands)
    }

    private mutating func and() throws(TemplateError) -> JinjaExpression {
        var operands = [try not()]
        while skip(name: "and") { operands.append(try not()) }
        return operands.count == 1 ? operands[0] : .and(operands)
    }

    private mutating func not() throws(TemplateError) -> JinjaExpression {
        guard skip(name: "not") else { return try comparison() }
        try enter()
        defer { depth -= 1 }
        return .not(try not())
    }

    private mutating func comparison() throws(TemplateError) -> JinjaExpression {
        let first = try sum()
        var operands: [JinjaOperand] = []
        while let operation = comparisonOperator() {
            let line = token.line
            operands.append(JinjaOperand(operation: operation, value: try sum(), line: line))
        }
        return operands.isEmpty ? first : .comparison(first, operands)
    }

    private mutating func comparisonOperator() -> JinjaOperator? {
        switch token.kind {
        case .symbol(let symbol):
            guard ["==", "!=", "<", "<=", ">", ">="].contains(symbol) else { return nil }
            index += 1
            return JinjaOperator(rawValue: symbol)
        case .name("in"):
            index += 1
            return .contained
        case .name("not") where peek() == .name("in"):
            index += 2
            return .notContained
        default: return nil
        }
    }

    private mutating func sum() throws(TemplateError) -> JinjaExpression {
        try chain(["+", "-"]) { parser throws(TemplateError) in try parser.concatenation() }
    }

    private mutating func concatenation() throws(TemplateError) -> JinjaExpression {
        let line = token.line
        var parts = [try product()]
        while skip(symbol: "~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts, line: line)
    }

    private mutating func product() throws(TemplateError) -> JinjaExpression {
        try chain(["*", "/", "//", "%"]) { parser throws(TemplateError) in try parser.power() }
    }

    private mutating func power() throws(TemplateError) -> JinjaExpression {
        try chain(["**"]) { parser throws(TemplateError) in try parser.unary() }
    }

    /// Operands of one precedence, evaluated from the left.
    private mutating func chain(
        _ symbols: [String], _ operand: (inout JinjaParser) throws(TemplateError) -> JinjaExpression
    ) throws(TemplateError) -> JinjaExpression {
        let first = try operand(&self)
        var operands: [JinjaOperand] = []
        while case .symbol(let symbol) = token.kind, symbols.contains(symbol),
            let operation = JinjaOperator(rawValue: symbol)
        {
            let line = next().line
            operands.append(JinjaOperand(operation: operation, value: try operand(&self), line: line))
        }
        return operands.isEmpty ? first : .arithmetic(first, operands)
    }

    /// A signed value and its links; a filter behind a sign applies to the signed value.
    private mutating func unary(allowsFilters: Bool = true) throws(TemplateError) -> JinjaExpression {
        let line = token.line
        let base: JinjaExpression
        if isSymbol("-") || isSymbol("+") {
            try enter()
            defer { depth -= 1 }
            let isNegative = next().kind == .symbol("-")
            let value = try unary(allowsFilters: false)
            base = isNegative ? .negative(value, line: line) : .positive(value, line: line)
        } else {
            base = try primary()
        }
        var links = try subscripts()
        if allowsFilters { links += try filtersAndTests() }
        return links.isEmpty ? base : .postfix(base, links)
    }

    private mutating func primary() throws(TemplateError) -> JinjaExpression {
        let start = token
        switch start.kind {
        case .name(let word):
            _ = next()
            return JinjaParser.constants[word] ?? .name(load(word))
        case .string(var text):
            _ = next()
            while case .string(let more) = token.kind {
                text += more
                _ = next()
            }
            return .string(text)
        case .integer(let value):
            _ = next()
            return .integer(value)
        case .number(let value):
            _ = next()
            return .number(value)
        case .symbol("("):
            _ = next()
            let value = try tuple(isBracketed: true)
            try expect(.symbol(")"))
            return value
        case .symbol("["):
            _ = next()
            return .list(try elements(until: "]"))
        case .symbol("{"):
            _ = next()
            return .dictionary(try members(), line: start.line)
        default: throw error("unexpected \(start.text)")
        }
    }

    private mutating func elements(until end: String) throws(TemplateError) -> [JinjaExpression] {
        var elements: [JinjaExpression] = []
        while !isSymbol(end) {
            if !elements.isEmpty {
                try expect(.symbol(","))
                if isSymbol(end) { break }
            }
            elements.append(try expression())
        }
        try expect(.symbol(end))
        return elements
    }

    private mutating func members() throws(TemplateError) -> [(key: JinjaExpression, value: JinjaExpression)] {
        var members: [(key: JinjaExpression, value: JinjaExpression)] = []
        while !isSymbol("}") {
            if !members.isEmpty {
                try expect(.symbol(","))
                if isSymbol("}") { break }
            }
            let key = try expression()
            try expect(.symbol(":"))
            members.append((key, try expression()))
        }
        try expect(.symbol("}"))
        return members
    }

    // MARK: Links

    private mutating func subscripts() throws(TemplateError) -> [JinjaPostfix] {
        var links: [JinjaPostfix] = []
        while true {
            let line = token.line
            if skip(symbol: ".") {
                links.append(JinjaPostfix(kind: try attribute(), line: line))
            } else if skip(symbol: "[") {
                links.append(JinjaPostfix(kind: try item(), line: line))
            } else if isSymbol("(") {
                links.append(JinjaPostfix(kind: .call(try arguments()), line: line))
            } else {
                return links
            }
        }
    }

    private mutating func attribute() throws(TemplateError) -> JinjaPostfix.Kind {
        switch next().kind {
        case .name(let word): return .attribute(word)
        case .integer(let value): return .item(.integer(value))
        default:
            index -= 1
            throw error("expected a name or a number behind a dot, found \(token.text)")
        }
    }

    private mutating func item() throws(TemplateError) -> JinjaPostfix.Kind {
        var items: [JinjaPostfix.Kind] = []
        while !isSymbol("]") {
            if !items.isEmpty { try expect(.symbol(",")) }
            items.append(try itemOrSlice())
        }
        try expect(.symbol("]"))
        if items.count == 1 { return items[0] }
        var keys: [JinjaExpression] = []
        for case .item(let key) in items { keys.append(key) }
        guard keys.count == items.count else { throw error("a slice cannot stand in a list of keys") }
        return .item(.tuple(keys))
    }

    private mutating func itemOrSlice() throws(TemplateError) -> JinjaPostfix.Kind {
        var parts: [JinjaExpression?] = []
        if skip(symbol: ":") {
            parts.append(nil)
        } else {
            let key = try expression()
            guard skip(symbol: ":") else { return .item(key) }
            parts.append(key)
        }
        parts.append(isSymbol(":") || isSymbol("]") || isSymbol(",") ? nil : try expression())
        if skip(symbol: ":") { parts.append(isSymbol("]") || isSymbol(",") ? nil : try expression()) }
        return .slice(start: parts[0], stop: parts[1], step: parts.count > 2 ? parts[2] : nil)
    }

    private mutating func arguments() throws(TemplateError) -> JinjaArgumentList {
        try expect(.symbol("("))
        var list = JinjaArgumentList()
        while !isSymbol(")") {
            if !list.isEmpty {
                try expect(.symbol(","))
                if isSymbol(")") { break }
            }
            try argument(&list)
        }
        try expect(.symbol(")"))
        return list
    }

    private mutating func argument(_ list: inout JinjaArgumentList) throws(TemplateError) {
        let line = token.line
        if skip(symbol: "*") {
            guard list.splat == nil, list.keywordSplat == nil else { throw error("misplaced *", line: line) }
            list.splat = try expression()
        } else if skip(symbol: "**") {
            guard list.keywordSplat == nil else { throw error("misplaced **", line: line) }
            list.keywordSplat = try expression()
        } else if case .name(let word) = token.kind, peek() == .symbol("=") {
            guard list.keywordSplat == nil else { throw error("an argument follows **", line: line) }
            index += 2
            guard !list.named.contains(where: { $0.name == word }) else {
                throw error("the argument '\(word)' stands twice", line: line)
            }
            list.named.append((word, try expression()))
        } else {
            guard list.named.isEmpty, list.splat == nil, list.keywordSplat == nil else {
                throw error("a positional argument follows a named one", line: line)
            }
            list.positional.append(try expression())
        }
    }

    private mutating func filters() throws(TemplateError) -> [JinjaPostfix] {
        var filters: [JinjaPostfix] = []
        while isSymbol("|") {
            let line = next().line
            filters.append(try filter(line))
        }
        return filters
    }

    private mutating func dottedName() throws(TemplateError) -> String {
        var name = try expectName()
        while skip(symbol: ".") { name += "." + (try expectName()) }
        return name
    }

    private mutating func filter(_ line: Int) throws(TemplateError) -> JinjaPostfix {
        let name = try dottedName()
        let filter = JinjaFilter(name)
        if !isSoft, filter == nil { unknown.append(("filter", name, line)) }
        let arguments = isSymbol("(") ? try arguments() : JinjaArgumentList()
        return JinjaPostfix(kind: .filter(filter, name: name, arguments), line: line)
    }

    private mutating func filtersAndTests() throws(TemplateError) -> [JinjaPostfix] {
        var links: [JinjaPostfix] = []
        while true {
            let line = token.line
            if skip(symbol: "|") {
                links.append(try filter(line))
            } else if skip(name: "is") {
                links.append(try test(line))
            } else if isSymbol("(") {
                links.append(JinjaPostfix(kind: .call(try arguments()), line: line))
            } else {
                return links
            }
        }
    }

    private mutating func test(_ line: Int) throws(TemplateError) -> JinjaPostfix {
        let isNegated = skip(name: "not")
        let name = try dottedName()
        let test = JinjaTest(name)
        if !isSoft, test == nil { unknown.append(("test", name, line)) }
        var list = JinjaArgumentList()
        if isSymbol("(") {
            list = try arguments()
        } else if startsTestArgument {
            if isName("is") { throw error("tests cannot be chained with 'is'") }
            let base = try primary()
            let links = try subscripts()
            list.positional = [links.isEmpty ? base : .postfix(base, links)]
        }
        return JinjaPostfix(kind: .test(test, name: name, list, isNegated: isNegated), line: line)
    }

    private var startsTestArgument: Bool {
        switch token.kind {
        case .name(let word): word != "else" && word != "or" && word != "and"
        case .string, .integer, .number, .symbol("["), .symbol("{"): true
        default: false
        }
    }
}
