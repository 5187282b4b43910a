internal import CXML2

/// An XML document that libxml2 writes in memory: it escapes whatever comes from outside, and closes what was opened.
///
/// The document is well-formed for any text: a character that XML has no form for is written as U+FFFD.
final class XMLWriter {
    private let buffer: xmlBufferPtr
    private let writer: xmlTextWriterPtr

    /// - Parameter documentType: `html` for a page, which then has no XML declaration.
    init(documentType: String? = nil) {
        guard let buffer = xmlBufferCreate(), let writer = xmlNewTextWriterMemory(buffer, 0) else {
            preconditionFailure("no memory for an XML document")
        }
        self.buffer = buffer
        self.writer = writer
        check(xmlTextWriterSetIndent(writer, documentType == nil ? 1 : 0))
        if let documentType {
            check(xmlTextWriterWriteDTD(writer, documentType, nil, nil, nil))
        } else {
            check(xmlTextWriterStartDocument(writer, nil, "UTF-8", nil))
        }
    }

    deinit {
        xmlFreeTextWriter(writer)
        xmlBufferFree(buffer)
    }

    /// An element of attributes in their order and of what `content` writes.
    func element(
        _ name: String, _ attributes: KeyValuePairs<String, String> = [:], content: () -> Void = {}
    ) {
        check(xmlTextWriterStartElement(writer, name))
        for (key, value) in attributes { check(xmlTextWriterWriteAttribute(writer, key, XMLWriter.valid(value))) }
        content()
        check(xmlTextWriterEndElement(writer))
    }

    /// An element that holds text alone.
    func element(_ name: String, _ attributes: KeyValuePairs<String, String> = [:], text: String) {
        element(name, attributes) { check(xmlTextWriterWriteString(writer, XMLWriter.valid(text))) }
    }

    /// The document's bytes; nothing may be written afterwards.
    func finish() -> [UInt8] {
        check(xmlTextWriterEndDocument(writer))
        check(xmlTextWriterFlush(writer))
        return Array(UnsafeBufferPointer(start: xmlBufferContent(buffer), count: Int(xmlBufferLength(buffer))))
    }

    /// The characters of XML 1.0, section 2.2.
    private static func valid(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    switch scalar.value {
                    case 0x9, 0xA, 0xD, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: scalar
                    default: "\u{FFFD}"
                    }
                }))
    }

    private func check(_ written: Int32) { precondition(written >= 0, "libxml2 refused a call: \(written)") }
}
