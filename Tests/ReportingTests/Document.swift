import Foundation
import FoundationXML

/// A document read back by a parser.
final class Document: NSObject, XMLParserDelegate {
    final class Element {
        let name: String
        let attributes: [String: String]
        var text = ""
        var children: [Element] = []

        init(_ name: String, _ attributes: [String: String]) {
            self.name = name
            self.attributes = attributes
        }
    }

    /// In the order in which they begin.
    private(set) var elements: [Element] = []
    private var open: [Element] = []

    init(_ bytes: [UInt8]) throws {
        super.init()
        let parser = XMLParser(data: Data(bytes))
        parser.delegate = self
        if !parser.parse() { throw parser.parserError ?? CocoaError(.fileReadCorruptFile) }
    }

    func parser(
        _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
        attributes: [String: String]
    ) {
        let element = Element(name, attributes)
        open.last?.children.append(element)
        elements.append(element)
        open.append(element)
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) { open.last?.text += text }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
        open.removeLast()
    }

    func texts(_ name: String) -> [String] { elements.filter { $0.name == name }.map(\.text) }

    /// The first series' paths.
    var paths: [String] {
        elements.last { $0.attributes["class"] == "plot-s0" }?.children.compactMap { $0.attributes["d"] } ?? []
    }

    /// The inside of the axes, from the path that draws them: down from the upper left corner, then right.
    var frame: (left: Double, top: Double, width: Double, height: Double)? {
        guard let path = elements.first(where: { $0.attributes["class"] == "plot-axis" })?.attributes["d"] else {
            return nil
        }
        let numbers = path.split(whereSeparator: { !"0123456789.".contains($0) }).compactMap { Double($0) }
        return (numbers[0], numbers[1], numbers[3], numbers[2])
    }
}
