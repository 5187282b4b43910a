/// A parsed template: statements, the names that they use, and what each frame hides.
struct JinjaProgram: Sendable {
    var body: JinjaBody
    /// Every name that the template reads or sets, by its number.
    var names: [String]
    var numbers: [String: Int]
    /// For each frame the names that it sets before it reads them: hidden until set, whatever lies outside.
    var shadows: [[Int]]
}

/// Statements with variables of their own.
struct JinjaBody: Sendable {
    var statements: [JinjaStatement]
    /// Index into the program's `shadows`.
    var frame: Int
}

indirect enum JinjaStatement: Sendable {
    case text(String)
    case output(JinjaExpression)
    case assign(JinjaTarget, JinjaExpression, line: Int)
    case assignBlock(JinjaTarget, filters: [JinjaPostfix], JinjaBody, line: Int)
    case conditional([JinjaBranch], otherwise: [JinjaStatement])
    case loop(JinjaLoop)
    case macro(JinjaMacro)
    /// `{% call %}`: the macro is the caller's body.
    case call(JinjaMacro, JinjaExpression)
    case filter([JinjaPostfix], JinjaBody, line: Int)
    case with([JinjaBinding], JinjaBody)
    case block(JinjaBody, isScoped: Bool)
    /// `{% generation %}`: text that the model is trained on.
    case generation(JinjaBody)
    case breakLoop
    case continueLoop
}

struct JinjaBranch: Sendable {
    var condition: JinjaExpression
    var statements: [JinjaStatement]
}

struct JinjaBinding: Sendable {
    var target: JinjaTarget
    var value: JinjaExpression
}

struct JinjaLoop: Sendable {
    var target: JinjaTarget
    var source: JinjaExpression
    var test: JinjaExpression?
    var testFrame: Int
    var body: JinjaBody
    var otherwise: JinjaBody?
    var isRecursive: Bool
    var line: Int
}

struct JinjaMacro: Sendable {
    var name: String
    var nameNumber: Int
    var parameters: [Parameter]
    /// The number of `caller`, `kwargs` or `varargs` where the body reads it.
    var caller: Int?
    var keywords: Int?
    var rest: Int?
    var body: JinjaBody
    var line: Int

    struct Parameter: Sendable {
        var name: String
        var number: Int
        var fallback: JinjaExpression?
    }
}

/// What can stand left of `=` in a set, or behind `for`.
indirect enum JinjaTarget: Sendable {
    case name(Int)
    case attribute(of: Int, String)
    case tuple([JinjaTarget])
}

/// Chains are flat, so that only brackets and blocks nest and a long sum costs no stack.
indirect enum JinjaExpression: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case name(Int)
    case list([JinjaExpression])
    case tuple([JinjaExpression])
    case dictionary([(key: JinjaExpression, value: JinjaExpression)], line: Int)
    case postfix(JinjaExpression, [JinjaPostfix])
    case arithmetic(JinjaExpression, [JinjaOperand])
    case concatenation([JinjaExpression], line: Int)
    case comparison(JinjaExpression, [JinjaOperand])
    case and([JinjaExpression])
    case or([JinjaExpression])
    case not(JinjaExpression)
    case negative(JinjaExpression, line: Int)
    case positive(JinjaExpression, line: Int)
    case choice(condition: JinjaExpression, then: JinjaExpression, otherwise: JinjaExpression?, line: Int)
}

struct JinjaOperand: Sendable {
    var operation: JinjaOperator
    var value: JinjaExpression
    var line: Int
}

enum JinjaOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case contained = "in"
    case notContained = "not in"
}

/// One link of `x.a[0](b)|filter is test`.
struct JinjaPostfix: Sendable {
    indirect enum Kind: Sendable {
        case attribute(String)
        case item(JinjaExpression)
        case slice(start: JinjaExpression?, stop: JinjaExpression?, step: JinjaExpression?)
        case call(JinjaArgumentList)
        /// The filter is nil where there is none of that name: an error when it is reached.
        case filter(JinjaFilter?, name: String, JinjaArgumentList)
        case test(JinjaTest?, name: String, JinjaArgumentList, isNegated: Bool)
    }
    var kind: Kind
    var line: Int
}

struct JinjaArgumentList: Sendable {
    var positional: [JinjaExpression] = []
    var named: [(name: String, value: JinjaExpression)] = []
    /// `*values` and `**mapping`.
    var splat: JinjaExpression?
    var keywordSplat: JinjaExpression?

    var isEmpty: Bool { positional.isEmpty && named.isEmpty && splat == nil && keywordSplat == nil }
}
