/// A plot laid out: where everything is, in pixels from the upper left corner.
struct PlotDrawing {
    private let plot: Plot
    private let xScale, yScale: PlotScale
    private let categories: [String]
    private let leftOut: Int
    private let isEmpty: Bool
    private let legend: [[LegendEntry]]
    private let left, top: Double

    private static let width = 640.0
    private static let height = 400.0
    private static let right = 18.0
    private static let bottom = 46.0

    private var innerWidth: Double { Self.width - left - Self.right }
    private var innerHeight: Double { Self.height - top - Self.bottom }

    private struct LegendEntry {
        var series: Int
        var x: Double
        var label: String
    }

    init(_ plot: Plot) {
        self.plot = plot
        let extent = Extent(plot.series.map(\.mark))
        categories = extent.categories
        leftOut = extent.leftOut
        isEmpty = extent.ys.isEmpty
        xScale = PlotScale(extent.xs + plot.x.ends, intervals: 6)
        yScale = PlotScale(extent.ys + plot.y.ends, intervals: 5)
        legend = Self.legend(plot.series)
        left = 34 + (yScale.ticks.map { SVGText.width($0.label) }.max() ?? 0)
        top = 40 + 18 * Double(legend.count + (leftOut > 0 ? 1 : 0))
    }

    func draw(into xml: XMLWriter) {
        SVGFrame.draw(
            into: xml, width: Self.width, height: Self.height, title: plot.title,
            summary: leftOut == 0 ? plot.summary : "\(plot.summary) \(leftOutNote)"
        ) {
            drawLegend(xml)
            drawGrid(xml)
            for index in plot.series.indices {
                xml.element("g", ["class": SVGColor.name(index), "color": SVGColor.light(index)]) {
                    draw(plot.series[index].mark, index, xml)
                }
            }
            drawAxes(xml)
        }
    }

    private var leftOutNote: String {
        "\(leftOut) \(leftOut == 1 ? "value is" : "values are") not finite and left out."
    }

    private func x(_ value: Double) -> Double {
        // Categories are counted; each has a slot of its own.
        let place = categories.isEmpty ? xScale.place(value) : (value + 0.5) / Double(categories.count)
        return left + innerWidth * place
    }

    private func y(_ value: Double) -> Double { top + innerHeight * (1 - yScale.place(value)) }
}

// MARK: Marks

extension PlotDrawing {
    private func draw(_ mark: Plot.Mark, _ series: Int, _ xml: XMLWriter) {
        switch mark {
        case .points(let points): drawDots(points, xml, opacity: "0.6")
        case .line(let points): drawLine(points, series, xml)
        case .leastSquares(let points): drawLine(points.leastSquares ?? [], series, xml)
        case .binnedMeans(let points, let bins):
            let means = points.binnedMeans(bins)
            drawLine(means, series, xml)
            drawDots(means, xml, opacity: "1")
        case .bars(let bars): drawBars(bars, series, xml)
        case .histogram(let bins): drawSteps(bins, xml)
        }
    }

    /// One path of round ends without length, each place once: thousands of points stay a small file.
    private func drawDots(_ points: [Plot.Point], _ xml: XMLWriter, opacity: String) {
        var seen: Set<String> = []
        var path = ""
        for point in points where point.isDrawable {
            let dot = "M\(SVGNumber(x(point.x))) \(SVGNumber(y(point.y)))h0"
            if seen.insert(dot).inserted { path += dot }
        }
        if path.isEmpty { return }
        xml.element(
            "path",
            [
                "d": path, "fill": "none", "stroke": "currentColor", "stroke-width": "5", "stroke-linecap": "round",
                "opacity": opacity,
            ])
    }

    private func drawLine(_ points: [Plot.Point], _ series: Int, _ xml: XMLWriter) {
        var path = ""
        for run in points.split(whereSeparator: { !$0.isDrawable }) {
            for (index, point) in run.enumerated() {
                path += "\(index == 0 ? "M" : "L")\(SVGNumber(x(point.x))) \(SVGNumber(y(point.y)))"
            }
            // A point between gaps is a dot.
            if run.count == 1 { path += "h0" }
        }
        if path.isEmpty { return }
        xml.element("path", line(path, series))
    }

    private func line(_ path: String, _ series: Int) -> KeyValuePairs<String, String> {
        [
            "d": path, "fill": "none", "stroke": "currentColor", "stroke-width": "2", "stroke-linecap": "round",
            "stroke-linejoin": "round", "stroke-dasharray": SVGColor.dashes(series),
        ]
    }

    private func drawBars(_ bars: [Plot.Bar], _ series: Int, _ xml: XMLWriter) {
        let groups = plot.series.indices.filter { if case .bars = plot.series[$0].mark { true } else { false } }
        let slot = innerWidth / Double(max(1, categories.count))
        let width = 0.8 * slot / Double(groups.count)
        let place = Double(groups.firstIndex(of: series) ?? 0) - Double(groups.count - 1) / 2
        for bar in bars where bar.value.isDrawable {
            guard let category = categories.firstIndex(of: bar.category) else { continue }
            let center = x(Double(category)) + place * width
            let (low, high) = (y(max(0, bar.value)), y(min(0, bar.value)))
            xml.element(
                "rect",
                [
                    "x": "\(SVGNumber(center - width / 2 + 0.5))", "y": "\(SVGNumber(low))",
                    "width": "\(SVGNumber(max(1, width - 1)))", "height": "\(SVGNumber(high - low))",
                    "fill": "currentColor", "opacity": "0.75",
                ])
            guard let (lower, upper) = bar.interval else { continue }
            let cap = min(12, width / 2)
            let start = SVGNumber(center - cap / 2)
            xml.element(
                "path",
                [
                    "class": "plot-axis", "fill": "none", "stroke": SVGColor.axis, "stroke-width": "1.5",
                    "d": "M\(start) \(SVGNumber(y(lower)))h\(SVGNumber(cap))M\(start) \(SVGNumber(y(upper)))h"
                        + "\(SVGNumber(cap))M\(SVGNumber(center)) \(SVGNumber(y(lower)))V\(SVGNumber(y(upper)))",
                ])
        }
    }

    private func drawSteps(_ bins: [Plot.Bin], _ xml: XMLWriter) {
        var path = ""
        var end: Double?
        for bin in bins where bin.isDrawable {
            if bin.lower != end {
                path += end == nil ? "" : "V\(SVGNumber(y(0)))Z"
                path += "M\(SVGNumber(x(bin.lower))) \(SVGNumber(y(0)))"
            }
            path += "V\(SVGNumber(y(bin.value)))H\(SVGNumber(x(bin.upper)))"
            end = bin.upper
        }
        if path.isEmpty { return }
        xml.element(
            "path",
            [
                "d": "\(path)V\(SVGNumber(y(0)))Z", "fill": "currentColor", "fill-opacity": "0.35",
                "stroke": "currentColor", "stroke-width": "1.5", "stroke-linejoin": "round",
            ])
    }
}

// MARK: Axes and legend

extension PlotDrawing {
    private func drawGrid(_ xml: XMLWriter) {
        var path = ""
        for tick in yScale.ticks {
            path += "M\(SVGNumber(left)) \(SVGNumber(top + innerHeight * (1 - tick.place)))h\(SVGNumber(innerWidth))"
        }
        if categories.isEmpty {
            for tick in xScale.ticks {
                path += "M\(SVGNumber(left + innerWidth * tick.place)) \(SVGNumber(top))v\(SVGNumber(innerHeight))"
            }
        }
        xml.element(
            "path",
            ["class": "plot-rule", "d": path, "fill": "none", "stroke": SVGColor.rule, "stroke-width": "1"])
    }

    private func drawAxes(_ xml: XMLWriter) {
        var path = "M\(SVGNumber(left)) \(SVGNumber(top))v\(SVGNumber(innerHeight))h\(SVGNumber(innerWidth))"
        let zero = yScale.place(0)
        if zero > 0, zero < 1 { path += "M\(SVGNumber(left)) \(SVGNumber(y(0)))h\(SVGNumber(innerWidth))" }
        xml.element(
            "path",
            ["class": "plot-axis", "d": path, "fill": "none", "stroke": SVGColor.axis, "stroke-width": "1"])
        for tick in yScale.ticks {
            SVGText.draw(tick.label, left - 6, top + innerHeight * (1 - tick.place) + 4, anchor: .end, xml)
        }
        let foot = top + innerHeight
        if categories.isEmpty {
            for tick in xScale.ticks { SVGText.draw(tick.label, left + innerWidth * tick.place, foot + 17, xml) }
        } else {
            drawCategories(foot + 17, xml)
        }
        let unit = categories.isEmpty ? xScale.unit : ""
        SVGText.draw(plot.x.label + unit, left + innerWidth / 2, foot + 37, room: innerWidth, xml)
        SVGText.drawUpwards(plot.y.label + yScale.unit, 16, top + innerHeight / 2, room: innerHeight, xml)
        if leftOut > 0 { SVGText.draw(leftOutNote, 18, top - 12, anchor: .start, xml) }
        if isEmpty {
            SVGText.draw("no data", left + innerWidth / 2, top + innerHeight / 2, xml)
        }
    }

    private func drawCategories(_ height: Double, _ xml: XMLWriter) {
        let slot = innerWidth / Double(categories.count)
        // Where slots are too narrow for a word, every second or third category is named.
        let every = Int((36 / slot).rounded(.up))
        for (index, category) in categories.enumerated() where index % every == 0 {
            SVGText.draw(category, x(Double(index)), height, room: slot * Double(every) - 4, xml)
        }
    }

    private func drawLegend(_ xml: XMLWriter) {
        for (row, entries) in legend.enumerated() {
            let height = 46 + 18 * Double(row)
            for entry in entries {
                xml.element("g", ["class": SVGColor.name(entry.series), "color": SVGColor.light(entry.series)]) {
                    drawSwatch(plot.series[entry.series].mark, entry.series, entry.x, height - 4, xml)
                }
                SVGText.draw(entry.label, entry.x + 24, height, anchor: .start, xml)
            }
        }
    }

    private func drawSwatch(_ mark: Plot.Mark, _ series: Int, _ x: Double, _ y: Double, _ xml: XMLWriter) {
        switch mark {
        case .points:
            xml.element(
                "circle", ["cx": "\(SVGNumber(x + 9))", "cy": "\(SVGNumber(y))", "r": "3", "fill": "currentColor"])
        case .line, .leastSquares, .binnedMeans:
            xml.element("path", line("M\(SVGNumber(x)) \(SVGNumber(y))h18", series))
        case .bars, .histogram:
            xml.element(
                "rect",
                [
                    "x": "\(SVGNumber(x + 4))", "y": "\(SVGNumber(y - 5))", "width": "10", "height": "10",
                    "fill": "currentColor", "opacity": "0.75",
                ])
        }
    }

    /// Entries in rows, each as wide as its label.
    private static func legend(_ series: [Plot.Series]) -> [[LegendEntry]] {
        var rows: [[LegendEntry]] = []
        var x = width
        for (index, series) in series.enumerated() where !series.label.isEmpty {
            let label = SVGText.abridged(series.label, to: width - 60)
            let needed = 40 + SVGText.width(label)
            if x + needed > width {
                rows.append([])
                x = 18
            }
            rows[rows.count - 1].append(LegendEntry(series: index, x: x, label: label))
            x += needed
        }
        return rows
    }
}

/// What a plot's axes must reach.
private struct Extent {
    private(set) var xs: [Double] = []
    private(set) var ys: [Double] = []
    private(set) var categories: [String] = []
    private(set) var leftOut = 0

    init(_ marks: [Plot.Mark]) {
        let hasDots = marks.contains { if case .points = $0 { true } else { false } }
        for mark in marks {
            switch mark {
            case .points(let points), .line(let points): add(points, drawn: points.filter(\.isDrawable))
            // What a line is made of is most often there as dots too, and counted there.
            case .leastSquares(let points): add(hasDots ? [] : points, drawn: points.leastSquares ?? [])
            case .binnedMeans(let points, let bins): add(hasDots ? [] : points, drawn: points.binnedMeans(bins))
            case .bars(let bars): for bar in bars { add(bar) }
            case .histogram(let bins): for bin in bins { add(bin) }
            }
        }
    }

    private mutating func add(_ points: [Plot.Point], drawn: [Plot.Point]) {
        leftOut += points.count { !$0.isDrawable }
        xs += drawn.map(\.x)
        ys += drawn.map(\.y)
    }

    private mutating func add(_ bar: Plot.Bar) {
        if !categories.contains(bar.category) { categories.append(bar.category) }
        if bar.value.isDrawable {
            ys += [0, bar.value]
            if let interval = bar.interval { ys += [interval.lower, interval.upper] }
        } else {
            leftOut += 1
        }
    }

    private mutating func add(_ bin: Plot.Bin) {
        if bin.isDrawable {
            xs += [bin.lower, bin.upper]
            ys += [0, bin.value]
        } else {
            leftOut += 1
        }
    }
}

extension Plot.Axis {
    fileprivate var ends: [Double] { covered.map { [$0.lowerBound, $0.upperBound] } ?? [] }
}

extension Plot.Bar {
    /// Nil where an end is missing or cannot be drawn.
    fileprivate var interval: (lower: Double, upper: Double)? {
        guard let lower, let upper, lower.isDrawable, upper.isDrawable else { return nil }
        return (lower, upper)
    }
}

extension Plot.Bin {
    fileprivate var isDrawable: Bool { lower.isDrawable && upper.isDrawable && value.isDrawable }
}
