/// Texts to be found at a given place of another text, the bytes of each a path from the root.
struct ByteTrie: Sendable {
    private struct Node {
        var byte: UInt8
        var value: Int32 = -1
        var firstChild: Int32 = -1
        var nextSibling: Int32 = -1
    }

    /// Longer texts are refused: a search costs their length at every place.
    static let longestText = 1024

    private var nodes = [Node(byte: 0)]
    private var rootChildren = [Int32](repeating: -1, count: 256)

    var isEmpty: Bool { nodes.count == 1 }

    /// Adds a text; false, and nothing is added, when it is empty, too long or there already.
    mutating func insert(_ text: some Collection<UInt8>, value: Int32) -> Bool {
        guard !text.isEmpty, text.count <= ByteTrie.longestText else { return false }
        var node = 0
        for byte in text { node = child(of: node, byte) ?? addChild(to: node, byte) }
        guard nodes[node].value < 0 else { return false }
        nodes[node].value = value
        return true
    }

    private mutating func addChild(to parent: Int, _ byte: UInt8) -> Int {
        let index = nodes.count
        nodes.append(Node(byte: byte, nextSibling: nodes[parent].firstChild))
        nodes[parent].firstChild = Int32(index)
        if parent == 0 { rootChildren[Int(byte)] = Int32(index) }
        return index
    }

    private func child(of parent: Int, _ byte: UInt8) -> Int? {
        if parent == 0 {
            let child = Int(rootChildren[Int(byte)])
            return child < 0 ? nil : child
        }
        var child = Int(nodes[parent].firstChild)
        while child >= 0 {
            if nodes[child].byte == byte { return child }
            child = Int(nodes[child].nextSibling)
        }
        return nil
    }

    /// Reports every text that stands at `start`, the shortest first, with its value and where it ends.
    @inline(__always)
    func matches(in text: Span<UInt8>, at start: Int, _ body: (_ value: Int, _ end: Int) -> Void) {
        var node = 0
        var index = start
        while index < text.count, let child = child(of: node, text[index]) {
            node = child
            index += 1
            if nodes[node].value >= 0 { body(Int(nodes[node].value), index) }
        }
    }
}
