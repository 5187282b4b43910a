internal import Chat
internal import Glibc
internal import Statistics

/// The numbers behind one preference, line by line, as someone would check them by hand.
package struct Explanation: Sendable {
    package let text: String

    /// - Parameter row: the annotation's place in `annotations`.
    package init(
        _ annotations: [Annotation], row: Int, calibration: Calibration?, rule: ScoringRule
    ) throws {
        let annotation = annotations[row]
        var lines = [
            "prompt \(annotation.prompt.index), row \(row)",
            "  instruction      \(Explanation.excerpt(annotation.prompt.instruction))",
            "  judge            \(annotation.judge)",
        ]
        lines += Explanation.replyLines(annotation.publishedReply)
        switch annotation.verdict {
        case .preference(let preference, _):
            lines.append("  preference       \(1 + preference) on upstream's scale: 1 is the baseline, 2 the model")
            lines.append("  counts as        \(100 * preference) in the win rate, \(Explanation.outcome(preference))")
        case .rating(let rating): lines.append("  rating           \(rating)")
        case .missing(let reason): lines.append("  missing          \(reason.category): \(reason.detail)")
        }
        lines += try Explanation.lengthLines(annotations, row, calibration, rule)
        text = lines.joined(separator: "\n") + "\n"
    }

    private static func replyLines(_ reply: JSONValue?) -> [String] {
        guard let reply else { return [] }
        var lines: [String] = []
        for choice in reply.array ?? [reply] {
            if let said = choice["message"]?["content"]?.string { lines.append("  reply            \(excerpt(said))") }
            let top = choice["logprobs"]?["content"]?[0]?["top_logprobs"]?.array ?? []
            for token in top {
                let logprob = token["logprob"]?.number ?? -.infinity
                lines.append(
                    "  first token      \(excerpt(token["token"]?.string ?? "")): log p \(logprob), p "
                        + "\(exp(logprob))")
            }
        }
        return lines
    }

    private static func lengthLines(
        _ annotations: [Annotation], _ row: Int, _ calibration: Calibration?, _ rule: ScoringRule
    ) throws -> [String] {
        let annotation = annotations[row]
        var lines = [
            "  lengths          baseline \(annotation.baseline.length), model "
                + "\(annotation.output.length), difference \(annotation.lengthDifference) Unicode scalars"
        ]
        guard let design = rule.design else { return lines }
        let rows = try Stages.lengthControlRows(annotations, design, rule.difficulty, calibration)
        let control = LengthControl(design: design, gamed: design == .v1 ? calibration?.gamed ?? [] : [])
        let fit = try control.fit(rows)
        let deviation = sampleDeviation(rows.map(\.lengthDifference))
        let length = tanh(rows[row].lengthDifference / deviation)
        let coefficients = fit.coefficients
        let difficultyTerm = design == .minimal ? 0 : coefficients[1] * rows[row].difficulty
        let baselineTerm = coefficients[design == .minimal ? 1 : 2]
        lines += [
            "  length term      tanh(\(annotation.lengthDifference) / \(deviation)) = \(length), times "
                + "\(coefficients[0])",
            "  difficulty term  \(rows[row].difficulty) (by \(rule.difficulty.rawValue)) gives \(difficultyTerm)",
            "  baseline term    \(baselineTerm)",
            "  fitted           \(logistic(coefficients[0] * length + difficultyTerm + baselineTerm))",
            "  at equal length  \(control.predictions(fit, rows)[row]), its share of the length-controlled win "
                + "rate \(fit.winRate)",
        ]
        return lines
    }

    private static func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

    private static func sampleDeviation(_ values: [Double]) -> Double {
        let mean = values.reduce(0, +) / Double(values.count)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Double(values.count - 1)).squareRoot()
    }

    private static func outcome(_ preference: Double) -> String {
        preference > 0.5 ? "a win" : preference < 0.5 ? "a loss" : "a draw"
    }

    /// One short line; control and direction characters of a model's text never reach the terminal.
    private static func excerpt(_ text: String) -> String {
        let scalars = text.unicodeScalars.prefix(100).map { scalar -> Unicode.Scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: " "
            default: scalar
            }
        }
        return "“\(String(String.UnicodeScalarView(scalars)))\(text.unicodeScalars.count > 100 ? "…" : "")”"
    }
}
