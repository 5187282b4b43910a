/// The outside of a drawing: its size, its words for those who cannot see it, its ground and its title.
enum SVGFrame {
    static func draw(
        into xml: XMLWriter, width: Double, height: Double, title: String, summary: String, content: () -> Void
    ) {
        let title = TextTable.printable(title)
        xml.element(
            "svg",
            [
                "xmlns": "http://www.w3.org/2000/svg", "width": "\(SVGNumber(width))", "height": "\(SVGNumber(height))",
                "viewBox": "0 0 \(SVGNumber(width)) \(SVGNumber(height))", "role": "img", "aria-label": title,
                "font-family": "system-ui, sans-serif", "font-size": "12",
            ]
        ) {
            xml.element("title", text: title)
            xml.element("desc", text: TextTable.printable(summary))
            xml.element("style", text: SVGColor.darkStyle)
            xml.element(
                "rect", ["class": "plot-ground", "width": "100%", "height": "100%", "fill": SVGColor.ground])
            xml.element("g", ["font-size": "15", "font-weight": "600"]) {
                SVGText.draw(title, width / 2, 22, room: (width - 20) * 12 / 15, xml)
            }
            content()
        }
    }
}

/// Text in a drawing, cut to the room that it has.
enum SVGText {
    enum Anchor: String { case start, middle, end }

    static func draw(
        _ text: String, _ x: Double, _ y: Double, anchor: Anchor = .middle, room: Double = .infinity, _ xml: XMLWriter
    ) {
        xml.element(
            "text",
            [
                "class": "plot-ink", "x": "\(SVGNumber(x))", "y": "\(SVGNumber(y))", "fill": SVGColor.ink,
                "text-anchor": anchor.rawValue,
            ], text: abridged(TextTable.printable(text), to: room))
    }

    /// Text that runs upwards, its middle at a place.
    static func drawUpwards(_ text: String, _ x: Double, _ y: Double, room: Double, _ xml: XMLWriter) {
        xml.element("g", ["transform": "rotate(-90 \(SVGNumber(x)) \(SVGNumber(y)))"]) {
            draw(text, x, y, room: room, xml)
        }
    }

    /// About how many pixels a text of 12 is wide; the letters of most scripts are narrow, those of East Asia wide.
    static func width(_ text: String) -> Double {
        text.unicodeScalars.reduce(0) { $0 + ($1.value < 0x1100 ? 6.7 : 12) }
    }

    /// As much of a text as fits, with an ellipsis for the rest.
    static func abridged(_ text: String, to room: Double) -> String {
        if width(text) <= room { return text }
        var kept = String.UnicodeScalarView()
        var used = width("…")
        for scalar in text.unicodeScalars {
            used += width(String(scalar))
            if used > room { break }
            kept.append(scalar)
        }
        return String(kept) + "…"
    }
}

/// A number of pixels to the tenth, in the fewest digits.
struct SVGNumber: CustomStringConvertible {
    private let tenths: Int

    init(_ value: Double) { tenths = Int((value * 10).rounded()) }

    var description: String {
        let size = abs(tenths)
        return (tenths < 0 ? "-" : "") + "\(size / 10)" + (size % 10 == 0 ? "" : ".\(size % 10)")
    }
}

/// Colours that can be told apart by readers with colour blindness, and against both grounds.
enum SVGColor {
    static let ground = "#ffffff"
    static let ink = "#1f2328"
    static let axis = "#59636e"
    static let rule = "#e4e8ec"
    private static let lightSeries = ["#0072b2", "#c44601", "#00795c", "#a03e86", "#8a6100", "#4f5bd5"]
    private static let darkSeries = ["#58b4ef", "#ff9e5e", "#40d3a6", "#eb9bd3", "#e3b341", "#a5adff"]

    /// The class that the dark colours are given to.
    static func name(_ series: Int) -> String { "plot-s\(series % lightSeries.count)" }

    static func light(_ series: Int) -> String { lightSeries[series % lightSeries.count] }

    /// Lines that share a colour differ in this.
    static func dashes(_ series: Int) -> String { ["none", "6 4", "2 4"][series / lightSeries.count % 3] }

    /// What differs for a viewer that asks for dark drawings.
    static let darkStyle: String = {
        let series = darkSeries.enumerated().map { ".plot-s\($0.offset){color:\($0.element)}" }.joined()
        return "@media (prefers-color-scheme:dark){.plot-ground{fill:#0d1117}.plot-ink{fill:#e6edf3}"
            + ".plot-axis{stroke:#9198a1}.plot-rule{stroke:#2a313a}\(series)}"
    }()
}
