/// One self-contained HTML file: no script, nothing fetched, the same bytes for the same content.
package struct HTMLPage: Sendable {
    package enum Block: Sendable {
        case heading(String)
        case paragraph(String)
        /// Text as it is, such as a command.
        case code(String)
        case table(Table)
        case plot(Plot)
        case contingency(ContingencyTable)
        /// Texts side by side, below a text that they share.
        case texts(String, [(label: String, text: String)])
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
                xml.element("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
                xml.element("title", text: title)
                xml.element("style", text: HTMLPage.style)
            }
            xml.element("body") {
                xml.element("h1", text: title)
                for block in blocks { write(block, xml) }
            }
        }
        return xml.finish()
    }

    private func write(_ block: Block, _ xml: XMLWriter) {
        switch block {
        case .heading(let text): xml.element("h2", text: text)
        case .paragraph(let text): xml.element("p", text: text)
        case .code(let text): xml.element("pre", text: text)
        case .table(let table): write(table, xml)
        case .plot(let plot): xml.element("figure") { plot.draw(into: xml) }
        case .contingency(let table): xml.element("figure") { table.draw(into: xml) }
        case .texts(let shared, let texts):
            xml.element("section") {
                xml.element("p", ["class": "shared"], text: shared)
                xml.element("div", ["class": "texts"]) {
                    for (label, text) in texts {
                        xml.element("div") {
                            xml.element("h3", text: label)
                            // An element without content would be left open by readers of HTML.
                            xml.element("pre", text: text.isEmpty ? "(nothing)" : text)
                        }
                    }
                }
            }
        }
    }

    private func write(_ table: Table, _ xml: XMLWriter) {
        xml.element("table") {
            xml.element("thead") {
                xml.element("tr") { for cell in table.header { xml.element("th", text: shown(cell)) } }
            }
            xml.element("tbody") {
                for row in table.rows { xml.element("tr") { for cell in row { xml.element("td", text: shown(cell)) } } }
            }
        }
    }

    private func shown(_ cell: String) -> String { cell.isEmpty ? "\u{2013}" : cell }

    private static let style = """
        :root { color-scheme: light dark; }
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
        th, td { padding: 0.2rem 0.8rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
        th:first-child, td:first-child { text-align: left; }
        figure { margin: 1rem 0; }
        pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
        section { border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.5rem 0; }
        .shared { font-weight: 600; margin: 0.2rem 0; white-space: pre-wrap; }
        .texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; }
        h3 { font-size: 0.85rem; margin: 0; opacity: 0.7; }
        """
}
