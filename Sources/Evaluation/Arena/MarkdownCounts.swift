package import Chat

/// What markdown stands in a text, as arena-hard-auto's `add_markdown_info.py` counts it.
package struct MarkdownCounts: Hashable, Sendable {
    /// Of the levels 1 to 6.
    package var headers = [Int](repeating: 0, count: 6)
    package var ordered = 0
    package var unordered = 0
    /// Between `**` and between `__`.
    package var stars = 0
    package var underscores = 0

    package init(_ text: String) {
        let text = Scalars(MarkdownCounts.withoutCode(Array(text.unicodeScalars)))
        for level in 1...6 { headers[level - 1] = text.headers(level) }
        ordered = text.listItems { place in
            let digits = text.run(from: place) { $0.properties.generalCategory == .decimalNumber }
            return digits > place && text.isScalar(at: digits, ".") ? digits + 1 : nil
        }
        unordered = text.listItems { place in
            text.isScalar(at: place, "-") || text.isScalar(at: place, "*") || text.isScalar(at: place, "+")
                ? place + 1 : nil
        }
        stars = text.emphases("*")
        underscores = text.emphases("_")
    }

    /// As the records keep it.
    package var json: JSONObject {
        var levels = JSONObject()
        for (index, count) in headers.enumerated() { levels["h\(index + 1)"] = .integer(count) }
        return [
            "header_count": .object(levels),
            "list_count": ["ordered": .integer(ordered), "unordered": .integer(unordered)],
            "bold_count": ["**": .integer(stars), "__": .integer(underscores)],
        ]
    }

    /// Without what stands between fences of three backticks, wherever the same text stands.
    private static func withoutCode(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var blocks: [[Unicode.Scalar]] = []
        let fence: [Unicode.Scalar] = ["`", "`", "`"]
        var place = 0
        while place + 3 <= text.count {
            guard text[place..<(place + 3)].elementsEqual(fence) else {
                place += 1
                continue
            }
            var end = place + 3
            while end < text.count, text[end] != "`" { end += 1 }
            if end + 3 <= text.count, text[end..<(end + 3)].elementsEqual(fence) {
                blocks.append(Array(text[(place + 3)..<end]))
                place = end + 3
            } else {
                place += 1
            }
        }
        return blocks.reduce(text) { removing($1, from: $0) }
    }

    private static func removing(_ block: [Unicode.Scalar], from text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        if block.isEmpty { return text }
        var kept: [Unicode.Scalar] = []
        var place = 0
        while place < text.count {
            if text[place] == block[0], text[place...].starts(with: block) {
                place += block.count
            } else {
                kept.append(text[place])
                place += 1
            }
        }
        return kept
    }
}

/// A text in scalars, matched from left to right without overlap as Python's `re.findall` does.
private struct Scalars {
    let text: [Unicode.Scalar]

    init(_ text: [Unicode.Scalar]) { self.text = text }

    func isScalar(at place: Int, _ scalar: Unicode.Scalar) -> Bool { place < text.count && text[place] == scalar }

    /// The end of the run of scalars that `isPart`, from `place` on.
    func run(from place: Int, _ isPart: (Unicode.Scalar) -> Bool) -> Int {
        var end = place
        while end < text.count, isPart(text[end]) { end += 1 }
        return end
    }

    private func startsLine(_ place: Int) -> Bool { place == 0 || text[place - 1] == "\n" }

    private func isSpace(at place: Int) -> Bool { place < text.count && Scalars.isSpace(text[place]) }

    /// Python's `\s` in a Unicode pattern.
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000:
            true
        default: false
        }
    }

    /// `^#{level}\s`
    func headers(_ level: Int) -> Int {
        var count = 0
        var place = 0
        while place < text.count {
            let end = place + level
            if startsLine(place), end <= text.count, text[place..<end].allSatisfy({ $0 == "#" }), isSpace(at: end) {
                count += 1
                place = end + 1
            } else {
                place += 1
            }
        }
        return count
    }

    /// `^\s*`, what `marker` takes, `\s`; white space before the marker may go over several lines.
    ///
    /// - Parameter marker: the place after a marker that stands at a place; nil where there is none.
    func listItems(_ marker: (Int) -> Int?) -> Int {
        var count = 0
        var place = 0
        while place < text.count {
            guard startsLine(place) else {
                place += 1
                continue
            }
            let start = run(from: place, Scalars.isSpace)
            if let end = marker(start), isSpace(at: end) {
                count += 1
                place = end + 1
            } else {
                place = max(start, place + 1)
            }
        }
        return count
    }

    /// Two of the marks, one or more that are neither it nor a line's end, two of the marks.
    func emphases(_ mark: Unicode.Scalar) -> Int {
        var count = 0
        var place = 0
        while place < text.count {
            let start = place + 2
            if isScalar(at: place, mark), isScalar(at: place + 1, mark),
                case let end = run(from: start, { $0 != mark && $0 != "\n" }), end > start, isScalar(at: end, mark),
                isScalar(at: end + 1, mark)
            {
                count += 1
                place = end + 2
            } else {
                place += 1
            }
        }
        return count
    }
}
