import Evaluation

/// Counting and small sums.
enum NumberTasks {
    static func countWords(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 2...7), of: WordBank.words)
        return counted(
            draw.one(of: [
                "How many words are in this list: \(ListTasks.listed(words))?",
                "Count these words: \(ListTasks.listed(words)).",
            ]), words.count)
    }

    static func countRepeats(_ draw: inout Draw) -> StarterTurn {
        let two = draw.some(2, of: WordBank.words)
        let words = (0..<draw.number(in: 3...6)).map { _ in draw.one(of: two) }
        return counted(
            draw.one(of: [
                "How many times does \(two[0]) stand here: \(ListTasks.listed(words))?",
                "Count the word \(two[0]) in this list: \(ListTasks.listed(words)).",
            ]), words.count { $0 == two[0] })
    }

    static func sums(_ draw: inout Draw) -> StarterTurn {
        let (a, b) = (draw.number(in: 0...12), draw.number(in: 0...12))
        if draw.chance(0.5) {
            return counted(draw.one(of: ["What is \(a) + \(b)?", "Add \(a) and \(b)."]), a + b)
        }
        return counted(
            draw.one(of: ["What is \(max(a, b)) - \(min(a, b))?", "Take \(min(a, b)) from \(max(a, b))."]), abs(a - b))
    }

    static func compare(_ draw: inout Draw) -> StarterTurn {
        let (a, b) = (draw.number(in: 0...20), draw.number(in: 0...20))
        let (answer, other) = a > b ? ("Yes", "No") : ("No", "Yes")
        let prompt = draw.one(of: [
            "Is \(a) greater than \(b)? Answer yes or no.", "Yes or no: is \(a) more than \(b)?",
        ])
        return StarterTurn(
            prompt, [.init(.requiredWords([answer]), weight: 3), .init(.forbiddenWords([other]))],
            good: ["\(answer).", answer], wrong: ["\(other).", other], offFormat: ["Yes or no.", "I do not know."])
    }

    /// What may be asked of the number that an answer gave.
    static func followUp(_ number: Int, _ draw: inout Draw) -> StarterTurn {
        let more = draw.number(in: 1...5)
        return counted(draw.one(of: ["Now add \(more) to it.", "And \(more) more?"]), number + more)
    }

    /// An answer that is a number.
    static func counted(_ prompt: String, _ number: Int) -> StarterTurn {
        let wrong = [number + 1, abs(number - 1), number + 2]
        return StarterTurn(
            prompt, [.init(.number(Double(number), tolerance: 0), weight: 3)],
            good: ["\(number)", "It is \(number)."], wrong: wrong.map(String.init) + wrong.map { "It is \($0)." })
    }
}
