package import Chat

/// Something that a program can decide about an output, as a number from 0 to 1.
package enum Check: Hashable, Sendable {
    /// The whole output, without white space around it, is one of the texts.
    case equals([String], ignoresCase: Bool)
    /// The share of the texts that stand in the output, letter by letter.
    case contains([String])
    case startsWith(String)
    case endsWith(String)
    /// The share of the words that are there, in any case.
    case requiredWords([String])
    /// None of the words is there, in any case.
    case forbiddenWords([String])
    /// How many different items of the list are there, in any case.
    case mentions([String], CountRange)
    /// The items in this order, each where it should be among all that are there: a share of places.
    case order([String])
    case count(TextUnit, CountRange)
    case occurrences(of: String, CountRange)
    case letterCase(LetterCase)
    /// The last number of the output.
    case number(Double, tolerance: Double)
    /// The output is a JSON object, in a fence or not: the share of the members that it has, `null` standing for any value.
    case json(JSONObject)

    package enum LetterCase: String, CaseIterable, Sendable { case upper, lower }

    /// What the check gives for `output`: 1 where it is met, 0 where nothing of it is.
    package func score(_ output: String) -> Double {
        switch self {
        case .equals(let texts, let ignoresCase):
            return texts.contains { OutputText.equals(output, $0, ignoresCase: ignoresCase) } ? 1 : 0
        case .contains(let texts): return share(of: texts) { output.contains($0) }
        case .startsWith(let text): return output.trimmed.hasPrefix(text) ? 1 : 0
        case .endsWith(let text): return output.trimmed.hasSuffix(text) ? 1 : 0
        case .requiredWords(let words):
            let output = OutputText(output)
            return share(of: words) { output.contains($0) }
        case .forbiddenWords(let words):
            let output = OutputText(output)
            return words.contains { output.contains($0) } ? 0 : 1
        case .mentions(let items, let range):
            let output = OutputText(output)
            return range.score(items.count { output.contains($0) })
        case .order(let items): return places(items, OutputText(output).occurrences(of: items))
        case .count(let unit, let range): return range.score(OutputText(output).count(unit))
        case .occurrences(let text, let range): return range.score(output.ranges(of: text).count)
        case .letterCase(let letterCase): return OutputText(output).isWritten(in: letterCase) ? 1 : 0
        case .number(let value, let tolerance):
            guard let last = OutputText(output).lastNumber else { return 0 }
            // 3.4 is 0.1 from 3.3, though not in binary.
            return abs(last - value) <= tolerance + 8 * value.ulp ? 1 : 0
        case .json(let members):
            guard let object = OutputText(output).json?.object else { return 0 }
            return share(of: members.members) { member in
                guard let value = object[member.key] else { return false }
                return member.value.isNull || value.meansTheSame(as: member.value)
            }
        }
    }

    private func share<Element>(of elements: [Element], _ isMet: (Element) -> Bool) -> Double {
        elements.isEmpty ? 1 : Double(elements.count(where: isMet)) / Double(elements.count)
    }

    private func places(_ wanted: [String], _ found: [String]) -> Double {
        let right = zip(wanted, found).count { $0 == $1 }
        return Double(right) / Double(max(wanted.count, found.count, 1))
    }
}

extension JSONValue {
    /// Equal, whatever the order of members and however numbers are written: 7 is 7.0.
    fileprivate func meansTheSame(as other: JSONValue) -> Bool {
        switch (self, other) {
        case (.array(let own), .array(let others)):
            return own.count == others.count && zip(own, others).allSatisfy { $0.meansTheSame(as: $1) }
        case (.object(let own), .object(let others)):
            return own.keys.count == others.keys.count
                && own.members.allSatisfy { member in
                    others[member.key].map { member.value.meansTheSame(as: $0) } ?? false
                }
        case (.integer, .integer): return self == other
        default: return self == other || number.map { $0 == other.number } ?? false
        }
    }
}

/// How many of something there should be.
package struct CountRange: Hashable, Sendable {
    package var least: Int
    /// Nil for any number.
    package var most: Int?

    package init(least: Int = 0, most: Int? = nil) {
        self.least = least
        self.most = most
    }

    /// 1 inside; outside the ratio of the count and the nearer bound, so that a little too much is better than a lot.
    func score(_ count: Int) -> Double {
        if count < least { return Double(count) / Double(least) }
        if let most, count > most { return Double(most) / Double(count) }
        return 1
    }
}

/// The checks of one prompt, each with its weight.
package struct CheckList: Hashable, Sendable {
    package struct Item: Hashable, Sendable {
        package var check: Check
        package var weight: Double

        package init(_ check: Check, weight: Double = 1) {
            self.check = check
            self.weight = weight
        }
    }

    package var items: [Item]

    /// - Precondition: there is an item, and weights are above 0.
    package init(_ items: [Item]) {
        precondition(!items.isEmpty && items.allSatisfy { $0.weight > 0 }, "\(items.count) checks with weights above 0")
        self.items = items
    }

    /// The weighted mean of the checks' scores, 0...1; an empty output has 0.
    package func quality(_ output: String) -> Double {
        if output.trimmed.isEmpty { return 0 }
        let sum = items.reduce(0) { $0 + $1.weight * $1.check.score(output) }
        return sum / items.reduce(0) { $0 + $1.weight }
    }
}
