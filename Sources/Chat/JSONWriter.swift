extension JSONValue {
    /// How a document is laid out; floats are always the shortest text that reads back as the same number.
    package enum Layout: Sendable {
        case compact
        case indented(Int)
    }

    /// The document as UTF-8 bytes, members in their order.
    package func serialized(_ layout: Layout = .compact) -> [UInt8] {
        var writer = JSONWriter(layout: layout)
        writer.write(self, depth: 0)
        return writer.output
    }

    package func text(_ layout: Layout = .compact) -> String {
        String(decoding: serialized(layout), as: UTF8.self)
    }

    /// The same document with the members of every object sorted by key: one text for one meaning, to be hashed.
    package var canonical: JSONValue {
        switch self {
        case .array(let values): return .array(values.map(\.canonical))
        case .object(let object):
            var sorted = JSONObject()
            for member in object.members.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                sorted.append(uniqueKey: member.key, member.value.canonical)
            }
            return .object(sorted)
        case .null, .bool, .integer, .number, .string: return self
        }
    }
}

private struct JSONWriter {
    let layout: JSONValue.Layout
    var output: [UInt8] = []

    init(layout: JSONValue.Layout) { self.layout = layout }

    mutating func write(_ value: JSONValue, depth: Int) {
        switch value {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .integer(let value): output += value.description.utf8
        case .number(let value):
            precondition(value.isFinite, "JSON has no \(value)")
            output += value.description.utf8
        case .string(let value): write(value)
        case .array(let values):
            write(open: "[", close: "]", count: values.count, depth: depth) { writer, index in
                writer.write(values[index], depth: depth + 1)
            }
        case .object(let object):
            write(open: "{", close: "}", count: object.members.count, depth: depth) { writer, index in
                writer.write(object.members[index].key)
                writer.output += (writer.isIndented ? ": " : ":").utf8
                writer.write(object.members[index].value, depth: depth + 1)
            }
        }
    }

    private var isIndented: Bool {
        if case .indented = layout { true } else { false }
    }

    private mutating func write(
        open: Unicode.Scalar, close: Unicode.Scalar, count: Int, depth: Int,
        element: (inout JSONWriter, Int) -> Void
    ) {
        output.append(UInt8(ascii: open))
        for index in 0..<count {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            newLine(depth: depth + 1)
            element(&self, index)
        }
        if count > 0 { newLine(depth: depth) }
        output.append(UInt8(ascii: close))
    }

    private mutating func newLine(depth: Int) {
        guard case .indented(let width) = layout else { return }
        output.append(0x0A)
        output.append(contentsOf: repeatElement(0x20, count: depth * width))
    }

    private mutating func write(_ text: String) {
        var text = text
        output.append(UInt8(ascii: "\""))
        text.withUTF8 { utf8 in
            var run = 0
            for (index, byte) in utf8.enumerated() where needsEscape(byte) {
                output.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[run..<index]))
                escape(byte)
                run = index + 1
            }
            output.append(contentsOf: UnsafeBufferPointer(rebasing: utf8[run...]))
        }
        output.append(UInt8(ascii: "\""))
    }

    private func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): output += "\\\"".utf8
        case UInt8(ascii: "\\"): output += "\\\\".utf8
        case 0x0A: output += "\\n".utf8
        case 0x0D: output += "\\r".utf8
        case 0x09: output += "\\t".utf8
        default:
            output += "\\u00".utf8
            output.append(hexDigit(byte >> 4))
            output.append(hexDigit(byte & 15))
        }
    }
}

func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }
