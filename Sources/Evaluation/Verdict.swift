/// What a judge made of one prompt. There is no default: what could not be judged is missing, with its reason.
package enum Verdict: Hashable, Sendable {
    /// For the model over the baseline, 0...1.
    case preference(Double, weight: Double)
    /// A number on the judge's scale.
    case rating(Double)
    case missing(Reason)

    package enum Reason: Hashable, Sendable {
        /// The reply holds no verdict, or more than one.
        case unparsable(String)
        /// The judge declined to answer.
        case refused(String)
        /// No reply could be had.
        case failed(String)
        /// There is nothing to judge: the model has no output for the prompt.
        case noOutput

        package var category: String {
            switch self {
            case .unparsable: "unparsable"
            case .refused: "refused"
            case .failed: "failed"
            case .noOutput: "no_output"
            }
        }

        /// Whether a reply came, so that asking again may bring another.
        var isReply: Bool {
            switch self {
            case .unparsable, .refused: true
            case .failed, .noOutput: false
            }
        }

        package var detail: String {
            switch self {
            case .unparsable(let text), .refused(let text), .failed(let text): text
            case .noOutput: "the model has no output for this prompt"
            }
        }
    }

    package var preference: Double? {
        guard case .preference(let value, _) = self else { return nil }
        return value
    }
}

/// Which of the two outputs the judge is shown first.
package enum PresentationOrder: Hashable, Sendable {
    case baselineFirst
    case modelFirst

    /// The one place where the judge's *first* and *second* become *model* and *baseline*.
    func preferenceForModel(_ preferenceForFirst: Double) -> Double {
        switch self {
        case .baselineFirst: 1 - preferenceForFirst
        case .modelFirst: preferenceForFirst
        }
    }
}
