/// Rows of cells for a terminal: the first column to the left, the others to the right.
package struct TextTable: Hashable, Sendable {
    /// The first is the header; all have its number of cells.
    private let rows: [[String]]

    package init(_ header: [String], _ rows: [[String]]) { self.rows = [header] + rows }

    package var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + space : space + cell
            }.joined(separator: "  ") + "\n"
        }.joined()
    }

    /// So many decimals; a dash for nothing.
    package static func decimal(_ number: Double?, _ digits: Int = 2) -> String {
        guard let number, number.isFinite else { return "–" }
        if abs(number) > 1e12 { return "\(number)" }
        let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
        let units = Int((abs(number) * Double(scale)).rounded())
        let sign = number < 0 && units > 0 ? "-" : ""
        if digits == 0 { return "\(sign)\(units)" }
        let fraction = "\(units % scale)"
        return "\(sign)\(units / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    /// With its sign, also where it is positive.
    package static func signed(_ number: Double, _ digits: Int = 2) -> String {
        let text = decimal(number, digits)
        return number > 0 && text.contains(where: { "123456789".contains($0) }) ? "+\(text)" : text
    }

    package static func range(_ lower: Double?, _ upper: Double?, _ digits: Int = 2) -> String {
        guard let lower, let upper else { return "–" }
        return "[\(decimal(lower, digits)), \(decimal(upper, digits))]"
    }

    /// Names come from files: control and direction characters never reach the terminal.
    package static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.properties.generalCategory {
                    case .control, .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
                    default: scalar
                    }
                }))
    }
}

extension String {
    /// What would not be seen, or would turn the text around it: control and direction characters by their code.
    var showingHidden: String {
        guard unicodeScalars.contains(where: \.isHidden) else { return self }
        return unicodeScalars.reduce(into: "") { text, scalar in
            if scalar.isHidden {
                let code = String(scalar.value, radix: 16, uppercase: true)
                text += "\u{27E8}U+" + String(repeating: "0", count: max(0, 4 - code.count)) + code + "\u{27E9}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }
}

extension Unicode.Scalar {
    fileprivate var isHidden: Bool {
        switch value {
        // A tab and a new line are seen; joiners belong to scripts and emoji.
        case 0x09, 0x0A, 0x200C, 0x200D: false
        case 0x2028, 0x2029: true
        default:
            properties.generalCategory == .control || properties.generalCategory == .format
                || properties.isNoncharacterCodePoint
        }
    }
}
