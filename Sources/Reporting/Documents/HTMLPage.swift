/// One self-contained HTML file: no script, nothing fetched, the same bytes for the same content. Whatever comes from
/// outside is text and nothing else; a policy in the page forbids the rest.
package struct HTMLPage: Sendable {
    package indirect enum Block: Sendable {
        case heading(String)
        case paragraph(String)
        /// Something that a reader must not miss.
        case warning(String)
        /// Text as it is, such as a command.
        case code(String)
        case table(Table)
        case plot(Plot)
        case forest(ForestPlot)
        case contingency(ContingencyTable)
        /// Texts side by side, below a text that they share.
        case texts(String, [(label: String, text: String)])
        /// Closed until a reader opens it.
        case details(String, [Block])
    }

    /// The first cell of a row is words, the others are numbers.
    package struct Table: Hashable, Sendable {
        package var header: [String]
        package var rows: [[String]]

        package init(_ header: [String], _ rows: [[String]]) {
            self.header = header
            self.rows = rows
        }
    }

    package var title: String
    package var blocks: [Block]

    package init(title: String, blocks: [Block]) {
        self.title = title
        self.blocks = blocks
    }

    package var html: [UInt8] {
        let xml = XMLWriter(documentType: "html")
        xml.element("html", ["lang": "en"]) {
            xml.element("head") {
                xml.element("meta", ["charset": "utf-8"])
                xml.element("meta", ["http-equiv": "Content-Security-Policy", "content": HTMLPage.policy])
                xml.element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
                xml.element("title", text: title.showingHidden)
                xml.element("style", text: HTMLPage.style)
            }
            xml.element("body") {
                xml.element("h1", text: title.showingHidden)
                writeContents(xml)
                xml.element("main") {
                    var heading = 0
                    for block in blocks { write(block, &heading, xml) }
                }
            }
        }
        return xml.finish()
    }

    /// Links to the headings, where there are several.
    private func writeContents(_ xml: XMLWriter) {
        let headings = blocks.compactMap { block -> String? in
            if case .heading(let text) = block { text } else { nil }
        }
        if headings.count < 2 { return }
        xml.element("nav", ["aria-label": "Contents"]) {
            for (place, heading) in headings.enumerated() {
                xml.element("a", ["href": "#section-\(place)"], text: heading.showingHidden)
            }
        }
    }

    private func write(_ block: Block, _ heading: inout Int, _ xml: XMLWriter) {
        switch block {
        case .heading(let text):
            xml.element("h2", ["id": "section-\(heading)"], text: text.showingHidden)
            heading += 1
        case .paragraph(let text): xml.element("p", text: text.showingHidden)
        case .warning(let text): xml.element("p", ["class": "warning", "role": "note"], text: text.showingHidden)
        case .code(let text): xml.element("pre", text: HTMLPage.shown(text))
        case .table(let table): write(table, xml)
        case .plot(let plot): xml.element("figure", HTMLPage.scrolled) { plot.draw(into: xml) }
        case .forest(let plot): xml.element("figure", HTMLPage.scrolled) { plot.draw(into: xml) }
        case .contingency(let table): xml.element("figure", HTMLPage.scrolled) { table.draw(into: xml) }
        case .texts(let shared, let texts): write(shared, texts, xml)
        case .details(let summary, let blocks):
            var inner = heading
            xml.element("details") {
                xml.element("summary", text: HTMLPage.shown(summary))
                for block in blocks { write(block, &inner, xml) }
            }
        }
    }

    private func write(_ shared: String, _ texts: [(label: String, text: String)], _ xml: XMLWriter) {
        xml.element("section") {
            xml.element("p", ["class": "shared"], text: HTMLPage.shown(shared))
            xml.element("div", ["class": "texts"]) {
                for (label, text) in texts {
                    xml.element("div") {
                        xml.element("h3", text: HTMLPage.shown(label))
                        xml.element("pre", text: HTMLPage.shown(text))
                    }
                }
            }
        }
    }

    private func write(_ table: Table, _ xml: XMLWriter) {
        xml.element("div", HTMLPage.scrolled) {
            xml.element("table") {
                xml.element("thead") {
                    xml.element("tr") {
                        for cell in table.header { xml.element("th", ["scope": "col"], text: cellText(cell)) }
                    }
                }
                xml.element("tbody") {
                    for row in table.rows {
                        xml.element("tr") { for cell in row { xml.element("td", text: cellText(cell)) } }
                    }
                }
            }
        }
    }

    private func cellText(_ cell: String) -> String { cell.isEmpty ? "\u{2013}" : cell.showingHidden }

    /// An element without content would be left open by readers of HTML.
    private static func shown(_ text: String) -> String { text.isEmpty ? "(nothing)" : text.showingHidden }

    /// What is wider than the screen is scrolled by keyboard too.
    private static var scrolled: KeyValuePairs<String, String> { ["class": "scroll", "tabindex": "0"] }

    private static let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

    private static let style = """
        :root { color-scheme: light dark; }
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
        nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
        .scroll { overflow-x: auto; }
        th, td { padding: 0.2rem 0.8rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); overflow-wrap: normal; }
        th:first-child, td:first-child { text-align: left; }
        td + td { white-space: nowrap; }
        figure { margin: 1rem 0; overflow-x: auto; }
        figure svg { max-width: 100%; min-width: 34rem; height: auto; }
        pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
        section, details { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.5rem 0; }
        details section { border-top: 0; }
        details { content-visibility: auto; contain-intrinsic-size: auto 2.6rem; }
        summary { cursor: pointer; }
        summary:focus-visible, .scroll:focus-visible, a:focus-visible { outline: 2px solid; outline-offset: 2px; }
        .warning { border-left: 0.3rem solid #c44601; padding-left: 0.8rem; font-weight: 600; }
        .shared { font-weight: 600; margin: 0.2rem 0; white-space: pre-wrap; }
        .texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(16rem, 100%), 1fr)); gap: 1rem; }
        h3 { font-size: 0.85rem; margin: 0; opacity: 0.7; }
        """
}
