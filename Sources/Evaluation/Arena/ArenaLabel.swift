internal import Chat

/// Arena-Hard's two ways of judging, after arena-hard-auto 0489bf3 (v0.1) and 196f6b8 (v2.0).
package enum ArenaVersion: String, CaseIterable, Sendable {
    case v01 = "0.1"
    case v2 = "2.0"

    /// What a label says of the answer in place A; nil where upstream gives it no meaning.
    package func outcome(_ label: String) -> ArenaOutcome? {
        switch (label, self) {
        case ("A>B", _), ("B<A", .v2): ArenaOutcome(preferenceForA: 1, isStrong: false)
        case ("A>>B", _), ("B<<A", .v2): ArenaOutcome(preferenceForA: 1, isStrong: true)
        case ("A=B", _), ("B=A", .v2): ArenaOutcome(preferenceForA: 0.5, isStrong: false)
        case ("B>A", _), ("A<B", .v2): ArenaOutcome(preferenceForA: 0, isStrong: false)
        case ("B>>A", _), ("A<<B", .v2): ArenaOutcome(preferenceForA: 0, isStrong: true)
        default: nil
        }
    }

    /// The label in a judge's reply (for v0.1 in all replies of the game, one after the other).
    ///
    /// v0.1 takes the one label in double brackets, however often it stands there; v2.0 reads upper and lower case alike
    /// and takes the last one in double brackets, or else in single ones.
    package func label(in reply: String) -> ArenaReading {
        switch self {
        case .v01:
            let labels = bracketed(Array(reply.utf8), brackets: 2)
            guard let first = labels.first else { return .none }
            return labels.allSatisfy { $0 == first } ? .label(first) : .ambiguous(Set(labels).sorted())
        case .v2:
            let text = Array(reply.uppercased().utf8)
            return (bracketed(text, brackets: 2).last ?? bracketed(text, brackets: 1).last).map { .label($0) } ?? .none
        }
    }
}

package struct ArenaOutcome: Hashable, Sendable {
    /// 1, 0.5 or 0.
    package var preferenceForA: Double
    package var isStrong: Bool
}

package enum ArenaReading: Hashable, Sendable {
    case label(String)
    /// v0.1 asks the judge to go on.
    case none
    /// v0.1 does not ask again.
    case ambiguous([String])

    package var label: String? {
        guard case .label(let text) = self else { return nil }
        return text
    }
}

/// Runs of A, B, <, > and = between so many square brackets, from left to right.
private func bracketed(_ text: [UInt8], brackets: Int) -> [String] {
    let (open, close) = (UInt8(ascii: "["), UInt8(ascii: "]"))
    let alphabet = Set("AB<>=".utf8)
    func stands(_ bracket: UInt8, at place: Int) -> Bool {
        place + brackets <= text.count && text[place..<(place + brackets)].allSatisfy { $0 == bracket }
    }
    var labels: [String] = []
    var place = 0
    while place < text.count {
        guard stands(open, at: place) else {
            place += 1
            continue
        }
        let start = place + brackets
        var end = start
        while end < text.count, alphabet.contains(text[end]) { end += 1 }
        guard end > start, stands(close, at: end) else {
            place += 1
            continue
        }
        labels.append(String(decoding: text[start..<end], as: UTF8.self))
        place = end + brackets
    }
    return labels
}
