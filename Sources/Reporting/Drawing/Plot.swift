/// A drawing of numbers as an SVG document, the same bytes for the same plot.
///
/// It has its own ground, light or dark as the viewer wishes, and a title and a description for readers who cannot see
/// it. Numbers that are not finite have no place in it; how many were left out stands in the drawing and in its
/// description.
package struct Plot: Hashable, Sendable {
    package var title: String
    /// What there is to see, in a sentence or two.
    package var summary: String
    package var x: Axis
    package var y: Axis
    /// Drawn one over the other in this order, each in a colour of its own.
    package var series: [Series]

    package init(title: String, summary: String, x: Axis, y: Axis, series: [Series]) {
        self.title = title
        self.summary = summary
        self.x = x
        self.y = y
        self.series = series
    }

    package struct Axis: Hashable, Sendable {
        /// The quantity, and its unit if it has one.
        package var label: String
        /// What the axis shows at least; it reaches as far as the data do.
        package var covered: ClosedRange<Double>?

        package init(_ label: String, covering covered: ClosedRange<Double>? = nil) {
            self.label = label
            self.covered = covered
        }
    }

    package struct Series: Hashable, Sendable {
        /// Its entry in the legend; an empty one has none.
        package var label: String
        package var mark: Mark

        package init(_ label: String, _ mark: Mark) {
            self.label = label
            self.mark = mark
        }
    }

    package enum Mark: Hashable, Sendable {
        /// A dot each.
        case points([Point])
        /// A line through the points in their order, with a gap where one is not finite.
        case line([Point])
        /// The straight line of least squared vertical distances from the points; nothing where all have one x.
        case leastSquares([Point])
        /// A line through the mean y of the points in each of so many equally wide bins of x; empty bins are skipped.
        case binnedMeans([Point], bins: Int)
        /// Bars from 0, those of several series side by side; x then counts the categories from 0.
        case bars([Bar])
        /// Steps from 0.
        case histogram([Bin])
    }

    package struct Point: Hashable, Sendable {
        package var x, y: Double

        package init(_ x: Double, _ y: Double) {
            self.x = x
            self.y = y
        }
    }

    /// One bar, and the ends of the interval around its value.
    package struct Bar: Hashable, Sendable {
        package var category: String
        package var value: Double
        package var lower, upper: Double?

        package init(_ category: String, _ value: Double, lower: Double? = nil, upper: Double? = nil) {
            self.category = category
            self.value = value
            self.lower = lower
            self.upper = upper
        }
    }

    package struct Bin: Hashable, Sendable {
        package var lower, upper: Double
        package var value: Double

        package init(_ lower: Double, _ upper: Double, value: Double) {
            self.lower = lower
            self.upper = upper
            self.value = value
        }
    }

    package var svg: [UInt8] {
        let xml = XMLWriter()
        draw(into: xml)
        return xml.finish()
    }

    /// The `svg` element alone, to stand in another document.
    func draw(into xml: XMLWriter) { PlotDrawing(self).draw(into: xml) }
}

extension Plot.Bin {
    /// Histograms of several sets over the same equally wide bins: the share of each set in each bin, 0...1.
    ///
    /// Values that are not finite are in no bin, but count as part of their set.
    package static func shares(of sets: [[Double]], bins count: Int) -> [[Plot.Bin]] {
        precondition(count > 0, "\(count) bins")
        let edges = Edges(sets.joined(), count: count)
        return sets.map { values in
            var counts = [Int](repeating: 0, count: count)
            for value in values {
                if let bin = edges?.bin(of: value) { counts[bin] += 1 }
            }
            guard let edges, !values.isEmpty else { return [] }
            return counts.indices.map {
                Plot.Bin(edges[$0], edges[$0 + 1], value: Double(counts[$0]) / Double(values.count))
            }
        }
    }
}

/// The edges of equally wide bins from the least to the greatest of some values.
struct Edges {
    private let lower, upper: Double
    private let count: Int

    /// Nil where no value can be drawn; values that are all the same get bins around them.
    init?(_ values: some Sequence<Double>, count: Int) {
        let drawn = values.filter(\.isDrawable)
        guard let least = drawn.min(), let greatest = drawn.max() else { return nil }
        let isOne = least == greatest
        lower = isOne ? least - 0.5 * max(1, abs(least)) : least
        upper = isOne ? greatest + 0.5 * max(1, abs(greatest)) : greatest
        self.count = count
    }

    subscript(edge: Int) -> Double { lower + (upper - lower) * (Double(edge) / Double(count)) }

    /// The greatest value belongs to the last bin.
    func bin(of value: Double) -> Int? {
        guard value.isDrawable, value >= lower, value <= upper else { return nil }
        return min(count - 1, Int((value - lower) / (upper - lower) * Double(count)))
    }
}

extension Double {
    /// Finite, and so far from the limits that the size of an axis is finite too.
    var isDrawable: Bool { abs(self) <= 1e100 }
}

extension Plot.Point {
    var isDrawable: Bool { x.isDrawable && y.isDrawable }
}

extension [Plot.Point] {
    /// The ends of the line of least squares; nil below two different x.
    var leastSquares: [Plot.Point]? {
        let drawn = filter(\.isDrawable)
        guard let least = drawn.map(\.x).min(), let greatest = drawn.map(\.x).max(), least < greatest else {
            return nil
        }
        let count = Double(drawn.count)
        let centerX = drawn.reduce(0) { $0 + $1.x / count }
        let centerY = drawn.reduce(0) { $0 + $1.y / count }
        var (xx, xy) = (0.0, 0.0)
        for point in drawn {
            xx += (point.x - centerX) * (point.x - centerX)
            xy += (point.x - centerX) * (point.y - centerY)
        }
        let slope = xy / xx
        guard slope.isDrawable else { return nil }
        return [least, greatest].map { Plot.Point($0, centerY + slope * ($0 - centerX)) }
    }

    /// The mean y of the points in each bin of x that has any, at the bin's middle.
    func binnedMeans(_ count: Int) -> [Plot.Point] {
        precondition(count > 0, "\(count) bins")
        let drawn = filter(\.isDrawable)
        guard let edges = Edges(drawn.lazy.map(\.x), count: count) else { return [] }
        var bins = [[Double]](repeating: [], count: count)
        for point in drawn {
            if let bin = edges.bin(of: point.x) { bins[bin].append(point.y) }
        }
        return bins.enumerated().filter { !$0.element.isEmpty }.map { index, values in
            let count = Double(values.count)
            return Plot.Point(
                edges[index] + (edges[index + 1] - edges[index]) / 2, values.reduce(0) { $0 + $1 / count })
        }
    }
}
