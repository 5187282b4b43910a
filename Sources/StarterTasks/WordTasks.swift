import Chat
import Evaluation

/// Letters, case, sentences and forms.
enum WordTasks {
    static func spellBackwards(_ draw: inout Draw) -> StarterTurn {
        let letters = draw.some(draw.number(in: 3...6), of: WordBank.letters)
        let spelled = letters.joined(separator: "-")
        let answer = letters.reversed().joined(separator: "-")
        let prompt = draw.one(of: [
            "Spell \(spelled) backwards, with hyphens.", "Write the letters \(spelled) in reverse, with hyphens.",
        ])
        return StarterTurn(
            prompt, [.init(.requiredWords([answer]), weight: 4)], good: [answer],
            wrong: [spelled, draw.disorder(Array(letters.reversed())).joined(separator: "-")],
            offFormat: [letters.reversed().joined(separator: ", ")])
    }

    static func capitals(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 1...4), of: WordBank.words)
        return capitals(
            draw.one(of: [
                "Write in capital letters: \(ListTasks.listed(words)).",
                "Put this into capitals: \(ListTasks.listed(words)).",
            ]), words)
    }

    static func sortThenCapitals(_ draw: inout Draw) -> StarterTurn {
        let words = draw.some(draw.number(in: 2...4), of: WordBank.words)
        return capitals(
            draw.one(of: [
                "Sort these words alphabetically, then write them in capital letters: \(ListTasks.listed(words)).",
                "First sort, then put into capitals: \(ListTasks.listed(words)).",
            ]), words.sorted())
    }

    static func capitals(_ prompt: String, _ words: [String]) -> StarterTurn {
        let answer = ListTasks.listed(words).uppercased()
        let other = words.count > 1 ? Array(words.reversed()) : [words[0] == "cat" ? "dog" : "cat"]
        return StarterTurn(
            prompt, [.init(.order(words), weight: 2), .init(.letterCase(.upper), weight: 2)], good: [answer],
            wrong: [ListTasks.listed(other).uppercased()], offFormat: [ListTasks.listed(words)])
    }

    static func nameWithout(_ draw: inout Draw) -> StarterTurn {
        let (kind, members) = draw.one(of: WordBank.kinds)
        let excluded = draw.some(draw.number(in: 1...2), of: members)
        let allowed = members.filter { !excluded.contains($0) }
        let count = draw.number(in: 2...3)
        let prompt = draw.one(of: [
            "Name \(count) \(kind), but not \(excluded.joined(separator: " or ")).",
            "Give me \(count) \(kind) other than \(excluded.joined(separator: " and ")).",
        ])
        let strangers = WordBank.places
        return StarterTurn(
            prompt,
            [
                .init(.mentions(allowed, CountRange(least: count, most: count)), weight: 3),
                .init(.forbiddenWords(excluded), weight: 2), .init(.forbiddenWords(strangers)),
            ],
            good: (0..<4).map { _ in ListTasks.listed(draw.some(count, of: allowed)) },
            wrong: [
                ListTasks.listed([excluded[0]] + draw.some(count - 1, of: allowed)),
                ListTasks.listed(draw.some(count, of: strangers)), ListTasks.listed(draw.some(count + 1, of: allowed)),
            ])
    }

    static func sentenceWith(_ draw: inout Draw) -> StarterTurn {
        let (animal, place) = (draw.one(of: WordBank.animals), draw.one(of: WordBank.places))
        let colour = draw.one(of: WordBank.colours)
        let most = draw.number(in: 6...9)
        let prompt = draw.one(of: [
            "Write one sentence with the words \(animal) and \(place), in at most \(most) words.",
            "Use \(animal) and \(place) in one sentence of at most \(most) words.",
        ])
        return StarterTurn(
            prompt,
            [
                .init(.requiredWords([animal, place]), weight: 3), .init(.endsWith(".")),
                .init(.count(.sentences, CountRange(least: 1, most: 1))), .init(.count(.words, CountRange(most: most))),
            ],
            good: [
                "The \(animal) sleeps by the \(place).", "A \(animal) runs to the \(place).",
                "The \(animal) likes the \(place).",
            ],
            wrong: ["The \(animal) is \(colour).", "The \(place) is \(colour)."],
            offFormat: [
                "The \(animal) is \(colour) and very big, and it likes to sleep by the old \(place) every day.",
                "I see a \(animal). It runs to the \(place).", "\(animal) and \(place)",
            ])
    }

    static func json(_ draw: inout Draw) -> StarterTurn {
        let (name, age, city) = (draw.one(of: WordBank.names), draw.number(in: 1...60), draw.one(of: WordBank.cities))
        let withCity = draw.chance(0.5)
        let keys = withCity ? "the keys name, age and city" : "the keys name and age"
        let facts = withCity ? "\(name) is \(age) and lives in \(city)" : "\(name) is \(age)"
        func object(_ age: Int) -> String {
            "{\"name\": \"\(name)\", \"age\": \(age)" + (withCity ? ", \"city\": \"\(city)\"}" : "}")
        }
        var members: JSONObject = ["name": .string(name), "age": .integer(age)]
        if withCity { members["city"] = .string(city) }
        return StarterTurn(
            draw.one(of: ["Write as JSON with \(keys): \(facts).", "\(facts). Give me that as JSON with \(keys)."]),
            [.init(.json(members), weight: 4)], good: [object(age)],
            wrong: [
                object(age + 1), withCity ? "{\"name\": \"\(name)\", \"age\": \(age)}" : "{\"name\": \"\(name)\"}",
            ],
            offFormat: ["name: \(name), age: \(age)" + (withCity ? ", city: \(city)" : "")])
    }
}
