package import Statistics

/// Seeded choices.
package struct Draw: Sendable {
    private var generator: SeededGenerator

    package init(_ generator: SeededGenerator) { self.generator = generator }

    mutating func one<Element>(of elements: [Element]) -> Element { elements[generator.index(below: elements.count)] }

    /// So many different ones, in random order.
    mutating func some<Element>(_ count: Int, of elements: [Element]) -> [Element] {
        precondition(count <= elements.count, "\(count) of \(elements.count) elements")
        var rest = elements
        return (0..<count).map { _ in rest.remove(at: generator.index(below: rest.count)) }
    }

    mutating func number(in range: ClosedRange<Int>) -> Int { range.lowerBound + generator.index(below: range.count) }

    /// True in `share` of 1.
    mutating func chance(_ share: Double) -> Bool { Double(generator.index(below: 1 << 30)) < share * Double(1 << 30) }

    /// In another order, where there is one.
    mutating func disorder<Element: Equatable>(_ elements: [Element]) -> [Element] {
        guard elements.count > 1 else { return elements }
        let place = number(in: 0...elements.count - 2)
        var other = elements
        other.swapAt(place, place + 1)
        return other
    }
}
