import Evaluation

/// Lists of words: put in order, turned round, cut, counted.
enum ListTasks {
    static func sortWords(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 3...5), of: WordBank.words)
        let prompt = draw.one(of: [
            "Sort these words alphabetically: \(listed(words)).",
            "Put these words in alphabetical order: \(listed(words)).",
        ])
        return list(prompt, words.sorted(), wrong: [words.sorted().reversed(), draw.disorder(words.sorted())])
    }

    static func reverseList(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 3...6), of: WordBank.words)
        let prompt = draw.one(of: [
            "Reverse this list: \(listed(words)).", "Write this list backwards: \(listed(words)).",
        ])
        return list(prompt, words.reversed(), wrong: [words, draw.disorder(words.reversed())])
    }

    static func repeatWord(_ draw: inout Draw) -> StarterTurn {
        let word = draw.one(of: WordBank.words)
        let count = draw.number(in: 2...6)
        let words = [String](repeating: word, count: count)
        let prompt = draw.one(of: [
            "Say \(word) \(count) times, with commas.", "Repeat the word \(word) \(count) times, with commas between.",
        ])
        return list(prompt, words, wrong: [words + [word], Array(words.dropLast())])
    }

    static func firstLetters(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 3...5), of: WordBank.words)
        let letters = words.map { String($0.prefix(1)) }
        let prompt = draw.one(of: [
            "Write the first letter of each word: \(listed(words)).",
            "What are the first letters of these words: \(listed(words))?",
        ])
        return list(prompt, letters, wrong: [draw.disorder(letters), Array(letters.dropLast())])
    }

    static func bullets(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 2...5), of: WordBank.words)
        let prompt = draw.one(of: [
            "Write as bullet points: \(listed(words)).", "Make a list with a dash before each word: \(listed(words)).",
        ])
        let lines = words.map { "- \($0)" }
        return StarterTurn(
            prompt,
            [
                .init(.order(words), weight: 2),
                .init(.count(.listItems, CountRange(least: words.count, most: words.count)), weight: 2),
            ],
            good: [lines.joined(separator: "\n")],
            wrong: [lines.dropLast().joined(separator: "\n"), draw.disorder(lines).joined(separator: "\n")],
            offFormat: [listed(words)])
    }

    static func nthWord(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 3...5), of: WordBank.words)
        let place = draw.number(in: 0...words.count - 1)
        return chosen(nth(place, words, &draw), words[place], among: words)
    }

    /// The list is shorter than the question takes for granted.
    static func missingWord(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 2...4), of: WordBank.words)
        let ordinal = WordBank.ordinals[draw.number(in: words.count...5)]
        return StarterTurn(
            nth(WordBank.ordinals.firstIndex(of: ordinal) ?? 0, words, &draw),
            [
                .init(.requiredWords(["no \(ordinal)"]), weight: 2), .init(.number(Double(words.count), tolerance: 0)),
                .init(.forbiddenWords(words), weight: 2),
            ],
            good: [
                "Sorry, there is no \(ordinal) word: the list has \(words.count) words.",
                "There is no \(ordinal) word, since the list has only \(words.count).",
            ],
            wrong: words, offFormat: ["No.", "There is no \(ordinal) word in \(listed(words))."])
    }

    static func longestWord(_ draw: inout Draw) -> StarterTurn {
        var words = draw.some(draw.number(in: 3...4), of: WordBank.words)
        while let most = words.map(\.count).max(), words.count(where: { $0.count == most }) > 1 {
            words = draw.some(words.count, of: WordBank.words)
        }
        let longest = words.max { $0.count < $1.count } ?? words[0]
        let prompt = draw.one(of: [
            "Which of these words is the longest: \(listed(words))?", "Name the longest word: \(listed(words)).",
        ])
        return chosen(prompt, longest, among: words)
    }

    static func oddOneOut(_ draw: inout Draw) -> StarterTurn {
        let kinds = draw.some(2, of: WordBank.kinds.map(\.1))
        let stranger = draw.one(of: kinds[1].filter { !kinds[0].contains($0) })
        var words = draw.some(draw.number(in: 2...4), of: kinds[0])
        words.insert(stranger, at: draw.number(in: 0...words.count))
        let prompt = draw.one(of: [
            "Which word does not belong: \(listed(words))?", "Find the odd one out: \(listed(words)).",
        ])
        return chosen(prompt, stranger, among: words)
    }

    // MARK: Second turns

    /// What may be asked of the list that an answer gave.
    static func followUp(_ words: [String], _ draw: inout Draw) -> StarterTurn {
        switch draw.number(in: 0...3) {
        case 0: list("Now write it backwards.", words.reversed(), wrong: [words, draw.disorder(words.reversed())])
        case 1: WordTasks.capitals("Now write it in capital letters.", words)
        case 2: NumberTasks.counted("How many words is that?", words.count)
        default: chosen("Now only the first of them.", words[0], among: words)
        }
    }

    // MARK: Parts

    static func listed(_ words: some Collection<String>) -> String { words.joined(separator: ", ") }

    /// An answer that is a list with commas.
    private static func list(_ prompt: String, _ words: [String], wrong: [[String]]) -> StarterTurn {
        StarterTurn(
            prompt, [.init(.order(words), weight: 3), .init(.count(.lines, CountRange(most: 1)))],
            good: [listed(words)], wrong: wrong.filter { $0 != words }.map(listed),
            offFormat: [words.joined(separator: "\n")])
    }

    /// An answer that is one of the words.
    private static func chosen(_ prompt: String, _ word: String, among words: [String]) -> StarterTurn {
        let others = words.filter { $0 != word }
        return StarterTurn(
            prompt, [.init(.requiredWords([word]), weight: 3), .init(.forbiddenWords(others))],
            good: [word, "It is \(word)."], wrong: others + others.map { "It is \($0)." }, offFormat: [listed(words)])
    }

    private static func nth(_ place: Int, _ words: [String], _ draw: inout Draw) -> String {
        let ordinal = WordBank.ordinals[place]
        return draw.one(of: [
            "What is the \(ordinal) word of this list: \(listed(words))?",
            "Give me the \(ordinal) of these words: \(listed(words)).",
        ])
    }
}
