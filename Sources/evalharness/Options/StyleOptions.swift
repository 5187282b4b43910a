import ArgumentParser
import Evaluation

/// What of the outputs' form a score holds equal, by arena-hard-auto's flags.
struct StyleOptions: ParsableArguments {
    @Flag(help: "Score as if outputs were alike in length and markdown.")
    var styleControl = false

    @Flag(help: "Score as if outputs were alike in length.")
    var lengthControlOnly = false

    @Flag(help: "Score as if outputs were alike in markdown.")
    var markdownControlOnly = false

    mutating func validate() throws {
        if [styleControl, lengthControlOnly, markdownControlOnly].count(where: { $0 }) > 1 {
            throw ValidationError("Take one of --style-control, --length-control-only and --markdown-control-only.")
        }
    }

    var features: StyleFeatures {
        if styleControl { return [.length, .markdown] }
        return lengthControlOnly ? .length : markdownControlOnly ? .markdown : []
    }
}
