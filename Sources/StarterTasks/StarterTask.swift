package import Evaluation

/// One turn of a task: what is asked, how an output is checked, and answers whose quality is known.
package struct StarterTurn: Hashable, Sendable {
    package var prompt: String
    package var checks: CheckList
    /// Answers that meet every check.
    package var good: [String]
    /// Answers that say something else.
    package var wrong: [String]
    /// Answers that say the right thing in another form than was asked for.
    package var offFormat: [String]

    /// - Parameter checks: what the answer must say; that it says so without more words than the longest good answer
    ///   and two more is added, with weight 1.
    init(_ prompt: String, _ checks: [CheckList.Item], good: [String], wrong: [String], offFormat: [String] = []) {
        precondition(!good.isEmpty && !wrong.isEmpty, "\(good.count) good and \(wrong.count) wrong answers")
        let most = good.map { $0.split(whereSeparator: \.isWhitespace).count }.max() ?? 0
        self.prompt = prompt
        self.checks = CheckList(checks + [.init(.count(.words, CountRange(most: most + 2)))])
        self.good = good
        self.wrong = wrong
        self.offFormat = offFormat
    }

    /// A good answer in many words.
    func verbose(_ draw: inout Draw) -> String { draw.one(of: WordBank.padding)(draw.one(of: good)) }

    /// An answer as careless writers give them: a good one in `good` of 1, else wrong, wordy or in another form.
    func answer(good share: Double, _ draw: inout Draw) -> String {
        if draw.chance(share) { return draw.one(of: good) }
        switch draw.number(in: 0...3) {
        case 0, 1: return draw.one(of: wrong)
        case 2: return verbose(&draw)
        default: return draw.one(of: offFormat.isEmpty ? wrong : offFormat)
        }
    }
}

/// A conversation of one or two turns from a family of like ones.
package struct StarterTask: Hashable, Sendable {
    package var family: String
    package var turns: [StarterTurn]

    /// What tells tasks apart: the user's words, in their order.
    package var key: String { turns.map(\.prompt).joined(separator: "\n") }
}
