/// Counts of things that are or are not one thing, and are or are not another, as an SVG drawing of four cells.
package struct ContingencyTable: Hashable, Sendable {
    package var title: String
    /// What there is to see, in a sentence or two.
    package var summary: String
    package var rows: Property
    package var columns: Property
    /// By row, then column; a count is not negative.
    package var counts: Counts

    /// What is asked of each thing, and what a yes and a no are called.
    package struct Property: Hashable, Sendable {
        package var name: String
        package var yes: String
        package var no: String

        package init(_ name: String, yes: String, no: String) {
            self.name = name
            self.yes = yes
            self.no = no
        }
    }

    package struct Counts: Hashable, Sendable {
        package var both, rowOnly, columnOnly, neither: Int

        package init(both: Int, rowOnly: Int, columnOnly: Int, neither: Int) {
            self.both = both
            self.rowOnly = rowOnly
            self.columnOnly = columnOnly
            self.neither = neither
        }
    }

    package init(title: String, summary: String, rows: Property, columns: Property, counts: Counts) {
        self.title = title
        self.summary = summary
        self.rows = rows
        self.columns = columns
        self.counts = counts
    }

    package var svg: [UInt8] {
        let xml = XMLWriter()
        draw(into: xml)
        return xml.finish()
    }

    /// The `svg` element alone, to stand in another document.
    func draw(into xml: XMLWriter) {
        let total = counts.both + counts.rowOnly + counts.columnOnly + counts.neither
        SVGFrame.draw(into: xml, width: 480, height: 300, title: title, summary: summary) {
            let (left, top, width, height) = (140.0, 78.0, 160.0, 90.0)
            SVGText.draw(columns.name, left + width, 48, room: 2 * width, xml)
            SVGText.drawUpwards(rows.name, 18, top + height, room: 2 * height, xml)
            for (index, name) in [columns.yes, columns.no].enumerated() {
                SVGText.draw(name, left + width * (Double(index) + 0.5), top - 8, room: width - 4, xml)
            }
            for (index, name) in [rows.yes, rows.no].enumerated() {
                SVGText.draw(
                    name, left - 8, top + height * (Double(index) + 0.5) + 4, anchor: .end, room: left - 36, xml)
            }
            let cells = [counts.both, counts.rowOnly, counts.columnOnly, counts.neither]
            for (index, count) in cells.enumerated() {
                let (x, y) = (left + width * Double(index % 2), top + height * Double(index / 2))
                drawCell(count, of: total, x, y, width - 2, height - 2, xml)
            }
            SVGText.draw("\(total) in all", left + width, top + 2 * height + 24, xml)
        }
    }

    /// The larger the share, the fuller the colour.
    private func drawCell(
        _ count: Int, of total: Int, _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ xml: XMLWriter
    ) {
        let permille = total > 0 ? Int((Double(count) * 1_000 / Double(total)).rounded()) : 0
        xml.element("g", ["class": SVGColor.name(0), "color": SVGColor.light(0)]) {
            xml.element(
                "rect",
                [
                    "x": "\(SVGNumber(x))", "y": "\(SVGNumber(y))", "width": "\(SVGNumber(width))",
                    "height": "\(SVGNumber(height))", "fill": "currentColor",
                    "fill-opacity": "0.\(String(1_050 + permille / 2).dropFirst())", "stroke": "currentColor",
                    "stroke-width": "1",
                ])
        }
        SVGText.draw("\(count)", x + width / 2, y + height / 2 - 2, xml)
        if total > 0 {
            SVGText.draw("\(permille / 10).\(permille % 10) %", x + width / 2, y + height / 2 + 16, xml)
        }
    }
}
