/// Values with their intervals, a line each, under one scale, as an SVG drawing.
package struct ForestPlot: Hashable, Sendable {
    package struct Row: Hashable, Sendable {
        package var label: String
        package var value: Double
        /// Nil where no interval is known.
        package var lower, upper: Double?

        package init(_ label: String, _ value: Double, lower: Double?, upper: Double?) {
            self.label = label
            self.value = value
            self.lower = lower
            self.upper = upper
        }
    }

    package var title: String
    /// What there is to see, in a sentence or two.
    package var summary: String
    package var rows: [Row]
    /// Where nothing is said either way, such as 50 of a win rate; nil draws no line.
    package var neutral: Double?

    /// - Parameter rows: those that are not finite are left out.
    package init(title: String, summary: String, rows: [Row], neutral: Double?) {
        self.title = title
        self.summary = summary
        self.rows = rows.filter { row in [row.value, row.lower ?? 0, row.upper ?? 0].allSatisfy(\.isFinite) }
        self.neutral = neutral
    }

    private static let width = 640.0
    private static let rowHeight = 22.0
    private static let (left, right, top) = (170.0, 150.0, 40.0)

    private var height: Double { Self.top + Self.rowHeight * Double(rows.count) + 34 }

    private var scale: PlotScale {
        let ends =
            rows.flatMap { [$0.value, $0.lower ?? $0.value, $0.upper ?? $0.value] } + [neutral].compactMap { $0 }
        return PlotScale(ends, intervals: 5)
    }

    /// The `svg` element alone, to stand in another document.
    func draw(into xml: XMLWriter) {
        let scale = scale
        SVGFrame.draw(into: xml, width: Self.width, height: height, title: title, summary: summary) {
            for tick in scale.ticks {
                drawVertical(x(at: tick.place), "plot-rule", SVGColor.rule, xml)
                SVGText.draw(tick.label, x(at: tick.place), height - 12, xml)
            }
            if let neutral { drawVertical(x(neutral, scale), "plot-axis", SVGColor.axis, xml) }
            for (place, row) in rows.enumerated() {
                draw(row, Self.top + Self.rowHeight * (Double(place) + 0.5), scale, xml)
            }
        }
    }

    private func x(_ value: Double, _ scale: PlotScale) -> Double { x(at: scale.place(value)) }

    /// - Parameter place: from one end of the scale to the other, 0...1.
    private func x(at place: Double) -> Double { Self.left + place * (Self.width - Self.left - Self.right) }

    private func drawVertical(_ x: Double, _ name: String, _ color: String, _ xml: XMLWriter) {
        xml.element(
            "line",
            [
                "class": name, "x1": "\(SVGNumber(x))", "x2": "\(SVGNumber(x))", "y1": "\(SVGNumber(Self.top - 6))",
                "y2": "\(SVGNumber(height - 28))", "stroke": color,
            ])
    }

    private func draw(_ row: Row, _ y: Double, _ scale: PlotScale, _ xml: XMLWriter) {
        SVGText.draw(row.label, Self.left - 10, y + 4, anchor: .end, room: Self.left - 14, xml)
        let words =
            TextTable.decimal(row.value, 1) + " " + (row.lower == nil ? "" : TextTable.range(row.lower, row.upper, 1))
        SVGText.draw(words, Self.width - Self.right + 10, y + 4, anchor: .start, room: Self.right - 12, xml)
        xml.element("g", ["class": SVGColor.name(0), "color": SVGColor.light(0)]) {
            if let lower = row.lower, let upper = row.upper {
                xml.element(
                    "line",
                    [
                        "x1": "\(SVGNumber(x(lower, scale)))", "x2": "\(SVGNumber(x(upper, scale)))",
                        "y1": "\(SVGNumber(y))", "y2": "\(SVGNumber(y))", "stroke": "currentColor",
                        "stroke-width": "2",
                    ])
            }
            xml.element(
                "circle",
                [
                    "cx": "\(SVGNumber(x(row.value, scale)))", "cy": "\(SVGNumber(y))", "r": "4",
                    "fill": "currentColor",
                ])
        }
    }
}
