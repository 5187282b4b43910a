import Evaluation

/// A family of like tasks, each with a generator of prompts, a writer of good and flawed answers, and checks.
package enum StarterFamily: String, CaseIterable, Sendable {
    case sortWords = "sort_words"
    case reverseList = "reverse_list"
    case repeatWord = "repeat_word"
    case firstLetters = "first_letters"
    case bullets
    case nthWord = "nth_word"
    case missingWord = "missing_word"
    case longestWord = "longest_word"
    case oddOneOut = "odd_one_out"
    case countWords = "count_words"
    case countRepeats = "count_repeats"
    case sums
    case compare
    case spellBackwards = "spell_backwards"
    case capitals
    case sortThenCapitals = "sort_then_capitals"
    case nameWithout = "name_without"
    case sentenceWith = "sentence_with"
    case json

    package func turn(_ draw: inout Draw) -> StarterTurn {
        switch self {
        case .sortWords: ListTasks.sortWords(&draw)
        case .reverseList: ListTasks.reverseList(&draw)
        case .repeatWord: ListTasks.repeatWord(&draw)
        case .firstLetters: ListTasks.firstLetters(&draw)
        case .bullets: ListTasks.bullets(&draw)
        case .nthWord: ListTasks.nthWord(&draw)
        case .missingWord: ListTasks.missingWord(&draw)
        case .longestWord: ListTasks.longestWord(&draw)
        case .oddOneOut: ListTasks.oddOneOut(&draw)
        case .countWords: NumberTasks.countWords(&draw)
        case .countRepeats: NumberTasks.countRepeats(&draw)
        case .sums: NumberTasks.sums(&draw)
        case .compare: NumberTasks.compare(&draw)
        case .spellBackwards: WordTasks.spellBackwards(&draw)
        case .capitals: WordTasks.capitals(&draw)
        case .sortThenCapitals: WordTasks.sortThenCapitals(&draw)
        case .nameWithout: WordTasks.nameWithout(&draw)
        case .sentenceWith: WordTasks.sentenceWith(&draw)
        case .json: WordTasks.json(&draw)
        }
    }

    /// Families whose answers a second turn can go on from.
    static let leading: [StarterFamily] = [.sortWords, .reverseList, .sums, .countWords]

    /// A turn, and one about its answer.
    func twoTurns(_ draw: inout Draw) -> [StarterTurn] {
        let first = turn(&draw)
        for item in first.checks.items {
            switch item.check {
            case .order(let words): return [first, ListTasks.followUp(words, &draw)]
            case .number(let number, _): return [first, NumberTasks.followUp(Int(number), &draw)]
            default: continue
            }
        }
        preconditionFailure("nothing follows from \(rawValue)")
    }
}
