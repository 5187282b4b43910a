package import Chat

/// A judge's messages with places for the instruction and the two outputs.
///
/// The text is upstream's ChatML: `<|im_start|>role`, content, `<|im_end|>`. It is cut into messages before anything is
/// filled in, and filled in one pass: neither a marker nor a placeholder inside a model's output can change the
/// messages.
package struct PromptTemplate: Hashable, Sendable {
    package var sha256: String
    private var messages: [(role: Message.Role, pieces: [Piece])] = []

    private enum Piece: Hashable, Sendable {
        case text(String)
        case place(Place)
    }

    package enum Place: String, CaseIterable, Sendable {
        case instruction
        case first = "output_1"
        case second = "output_2"
    }

    /// - Throws: `configuration` for text outside the markers, an unknown role, or a place that is not there exactly
    /// once.
    package init(text: String, name: String) throws(EvaluationError) {
        sha256 = Digest.sha256(text)
        for block in text.trimmed.split(separator: "<|im_start|>", omittingEmptySubsequences: true) {
            guard let end = block.range(of: "<|im_end|>"), let newline = block.firstIndex(of: "\n"),
                newline < end.lowerBound,
                String(block[end.upperBound...]).trimmed.isEmpty,
                let role = Message.Role(rawValue: String(block[..<newline]).trimmed)
            else {
                throw .configuration(
                    "The judge template \(name) should be blocks of <|im_start|>role, text, <|im_end|>, with the "
                        + "roles system, "
                        + "user and assistant.")
            }
            let content = String(block[block.index(after: newline)..<end.lowerBound]).trimmed
            messages.append((role, PromptTemplate.pieces(of: content)))
        }
        for place in Place.allCases {
            let count = messages.reduce(0) { $0 + $1.pieces.count { $0 == .place(place) } }
            if count != 1 {
                throw .configuration(
                    "The judge template \(name) holds {\(place.rawValue)} \(count) times; it "
                        + "should stand once.")
            }
        }
    }

    package func messages(instruction: String, first: String, second: String) -> [Message] {
        messages.map { message in
            let content = message.pieces.map { piece in
                switch piece {
                case .text(let text): text
                case .place(.instruction): instruction
                case .place(.first): first
                case .place(.second): second
                }
            }
            return Message(role: message.role, content: content.joined())
        }
    }

    private static func pieces(of content: String) -> [Piece] {
        var pieces: [Piece] = []
        var rest = content[...]
        while let (place, range) = firstPlace(in: rest) {
            if range.lowerBound > rest.startIndex { pieces.append(.text(String(rest[..<range.lowerBound]))) }
            pieces.append(.place(place))
            rest = rest[range.upperBound...]
        }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        return pieces
    }

    private static func firstPlace(in text: Substring) -> (Place, Range<Substring.Index>)? {
        Place.allCases
            .compactMap { place in text.range(of: "{\(place.rawValue)}").map { (place, $0) } }
            .min { $0.1.lowerBound < $1.1.lowerBound }
    }

    package static func == (left: PromptTemplate, right: PromptTemplate) -> Bool { left.sha256 == right.sha256 }
    package func hash(into hasher: inout Hasher) { hasher.combine(sha256) }
}

extension StringProtocol {
    /// Without the white space at both ends.
    var trimmed: String {
        var view = self[...]
        while let first = view.first, first.isWhitespace { view.removeFirst() }
        while let last = view.last, last.isWhitespace { view.removeLast() }
        return String(view)
    }

    /// The first occurrence of `text`, by Unicode scalars: a combining mark after it does not hide it.
    func range(of text: String) -> Range<Index>? {
        let haystack = utf8
        let needle = Array(text.utf8)
        guard let start = needle.first else { return nil }
        var index = haystack.startIndex
        while let found = haystack[index...].firstIndex(of: start) {
            if haystack[found...].starts(with: needle) {
                return found..<haystack.index(found, offsetBy: needle.count)
            }
            index = haystack.index(after: found)
        }
        return nil
    }
}
