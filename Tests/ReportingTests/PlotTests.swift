import Foundation
import FoundationXML
import Reporting
import Testing

struct PlotTests {
    private func plot(
        _ series: [Plot.Series], title: String = "t", summary: String = "s", x: Plot.Axis = Plot.Axis("x"),
        y: Plot.Axis = Plot.Axis("y")
    ) -> Plot {
        Plot(title: title, summary: summary, x: x, y: y, series: series)
    }

    private let nasty = "<b>&\"'\u{0}\u{1}\u{7F}\r\n\t]]>\u{202E}\u{FFFE}\u{10FFFF}é漢😀"
    /// Direction marks and control characters become U+FFFD, as on a terminal.
    private let shown =
        "<b>&\"'\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}]]>\u{FFFD}\u{FFFD}\u{10FFFF}é漢😀"

    @Test func `A small plot has exactly these bytes`() {
        let plot = plot([
            Plot.Series("runs", .points([Plot.Point(0, 1), Plot.Point(1, 2), Plot.Point(1, 2)]))
        ])
        #expect(String(decoding: plot.svg, as: UTF8.self) == smallPlot)
    }

    @Test func `Every kind of mark is one element or more in its series' colour`() throws {
        let points = (0..<20).map { Plot.Point(Double($0), Double($0 * $0 % 7)) }
        let bins = Plot.Bin.shares(of: [[1, 2, 2, 3], [2, 3, 4]], bins: 3)
        let marks: [(Plot.Mark, [String])] = [
            (.points(points), ["path"]), (.line(points), ["path"]), (.leastSquares(points), ["path"]),
            (.binnedMeans(points, bins: 4), ["path", "path"]),
            (.bars([Plot.Bar("a", 1, lower: 0.5, upper: 1.5), Plot.Bar("b", -1)]), ["rect", "path", "rect"]),
            (.histogram(bins[0]), ["path"]),
        ]
        for (mark, elements) in marks {
            let document = try Document(plot([Plot.Series("", mark)]).svg)
            let group = try #require(document.elements.first { $0.attributes["class"] == "plot-s0" })
            #expect(group.children.map(\.name) == elements)
        }
        let all = try Document(plot(marks.map { Plot.Series("mark", $0.0) }).svg)
        #expect(Set(all.elements.compactMap { $0.attributes["class"] }).isSuperset(of: (0..<6).map { "plot-s\($0)" }))
    }

    @Test func `What comes from outside is text, in every place`() throws {
        let plot = Plot(
            title: nasty, summary: nasty, x: Plot.Axis(nasty), y: Plot.Axis(nasty),
            series: [Plot.Series(nasty, .bars([Plot.Bar(nasty, 1)]))])
        let document = try Document(plot.svg)
        #expect(document.texts("title") == [shown])
        #expect(document.texts("desc") == [shown])
        #expect(document.elements.first?.attributes["aria-label"] == shown)
        // The title, the legend's entry, the category and both axes.
        #expect(document.texts("text").filter { $0 == shown }.count == 5)
        #expect(!document.elements.contains { $0.name == "b" })
    }

    @Test func `Any text makes a well-formed document`() throws {
        var state: UInt64 = 1
        func random() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        for _ in 0..<200 {
            var text = String.UnicodeScalarView()
            for _ in 0..<random() % 40 {
                let limit: UInt64 = [0x20, 0x80, 0x3000, 0x110000][Int(random() % 4)]
                if let scalar = Unicode.Scalar(UInt32(random() % limit)) { text.append(scalar) }
            }
            let label = String(text)
            let table = ContingencyTable(
                title: label, summary: label, rows: ContingencyTable.Property(label, yes: label, no: label),
                columns: ContingencyTable.Property(label, yes: label, no: label),
                counts: ContingencyTable.Counts(both: 1, rowOnly: 2, columnOnly: 3, neither: 4))
            let plot = plot([Plot.Series(label, .bars([Plot.Bar(label, 2)]))], title: label, summary: label)
            for svg in [plot.svg, table.svg] {
                #expect(throws: Never.self, "\(label.debugDescription)") { try Document(svg) }
            }
        }
    }

    @Test func `Nothing to draw is said`() throws {
        let empty: [[Plot.Series]] = [
            [], [Plot.Series("a", .points([]))], [Plot.Series("a", .line([]))], [Plot.Series("a", .leastSquares([]))],
            [Plot.Series("a", .binnedMeans([], bins: 3))], [Plot.Series("a", .bars([]))],
            [Plot.Series("a", .histogram([]))], [Plot.Series("a", .points([Plot.Point(.nan, 1)]))],
        ]
        for series in empty {
            let document = try Document(plot(series).svg)
            #expect(document.texts("text").contains("no data"))
            #expect(document.texts("text").contains("0.2"))
        }
    }

    @Test func `Numbers that are not finite are left out, and it is said how many`() throws {
        let points = [
            Plot.Point(0, 0), Plot.Point(1, .nan), Plot.Point(.infinity, 1), Plot.Point(2, 2), Plot.Point(3, 1),
            Plot.Point(4, -.infinity), Plot.Point(5, 1),
        ]
        let line = try Document(plot([Plot.Series("a", .line(points))]).svg)
        let starts = try #require(line.paths.first).filter { $0 == "M" || $0 == "L" || $0 == "h" }
        // A dot, a line of two points, a dot.
        #expect(starts == "MhMLMh")
        let note = "3 values are not finite and left out."
        #expect(line.texts("text").contains(note))
        #expect(line.texts("desc") == ["s \(note)"])
        let both = try Document(
            plot([Plot.Series("a", .points(points)), Plot.Series("b", .leastSquares(points))]).svg)
        #expect(both.texts("text").contains(note))
        let means = try Document(plot([Plot.Series("b", .binnedMeans(points, bins: 2))]).svg)
        #expect(means.texts("text").contains(note))
        let bars = try Document(
            plot([Plot.Series("a", .bars([Plot.Bar("x", .nan), Plot.Bar("y", 1, lower: .nan, upper: 2)]))]).svg)
        #expect(bars.texts("text").contains("1 value is not finite and left out."))
        let bins = try Document(plot([Plot.Series("a", .histogram([Plot.Bin(0, 1, value: .nan)]))]).svg)
        #expect(bins.texts("text").contains("1 value is not finite and left out."))
        for document in [line, both, means, bars, bins] {
            #expect(
                !document.elements.contains {
                    $0.attributes.values.contains { $0.contains("nan") || $0.contains("inf") }
                })
        }
    }

    @Test(arguments: [0, 5, -3, 1e-120, 7e99, -2e-5, 1e100])
    func `A single point stands in the middle of its axes`(_ value: Double) throws {
        let document = try Document(plot([Plot.Series("", .points([Plot.Point(value, value)]))]).svg)
        let dot = try #require(document.elements.first { $0.attributes["stroke-linecap"] == "round" }?.attributes["d"])
        let numbers = dot.split(whereSeparator: { !"0123456789.".contains($0) }).compactMap { Double($0) }
        let frame = try #require(document.frame)
        #expect(abs(numbers[0] - frame.left - frame.width / 2) <= 0.5 * frame.width - 1)
        #expect(abs(numbers[1] - frame.top - frame.height / 2) <= 0.5 * frame.height - 1)
    }

    @Test(arguments: [
        ([0, 1], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], ""),
        ([-0.3, 0.35], ["−0.3", "−0.2", "−0.1", "0.0", "0.1", "0.2", "0.3", "0.4"], ""),
        ([-0.5, 0.65], ["−0.6", "−0.4", "−0.2", "0.0", "0.2", "0.4", "0.6", "0.8"], ""),
        ([3, 97], ["0", "20", "40", "60", "80", "100"], ""),
        ([12_000, 50_000], ["10000", "20000", "30000", "40000", "50000"], ""),
        ([0, 3e-7], ["0", "50", "100", "150", "200", "250", "300"], " (×10⁻⁹)"),
        ([0, 2.5e6], ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"], " (×10⁶)"),
        ([0.1, 0.3], ["0.10", "0.15", "0.20", "0.25", "0.30"], ""),
        ([-100, 1e5], ["−20", "0", "20", "40", "60", "80", "100"], " (×10³)"),
        ([4, 4], ["3.6", "3.8", "4.0", "4.2", "4.4"], ""),
        ([1, 1.000_001], ["1.0000000", "1.0000002", "1.0000004", "1.0000006", "1.0000008", "1.0000010"], ""),
    ])
    func `Ticks are round numbers that hold the data`(_ ys: [Double], _ labels: [String], _ unit: String) throws {
        let points = ys.enumerated().map { Plot.Point(Double($0.offset), $0.element) }
        let document = try Document(plot([Plot.Series("", .line(points))], y: Plot.Axis("size")).svg)
        let ticks = document.elements.filter { $0.name == "text" && $0.attributes["text-anchor"] == "end" }
        #expect(ticks.map(\.text) == labels)
        #expect(document.texts("text").contains("size" + unit))
    }

    @Test func `An axis covers what it is told to, and more where the data do`() throws {
        func labels(_ value: Double) throws -> [String] {
            let plot = plot([Plot.Series("", .points([Plot.Point(0, value)]))], y: Plot.Axis("", covering: 0...1))
            return try Document(plot.svg).elements.filter { $0.attributes["text-anchor"] == "end" }.map(\.text)
        }
        #expect(try labels(0.5) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"])
        #expect(try labels(1.9) == ["0.0", "0.5", "1.0", "1.5", "2.0"])
    }

    @Test func `Marks are where the axes say`() throws {
        let bars = [Plot.Bar("a", 2), Plot.Bar("b", -2)]
        let document = try Document(
            plot([Plot.Series("", .bars(bars))], y: Plot.Axis("", covering: -2...2)).svg)
        let frame = try #require(document.frame)
        let rects = document.elements.filter { $0.name == "rect" && $0.attributes["class"] == nil }
        func number(_ index: Int, _ key: String) -> Double { Double(rects[index].attributes[key] ?? "") ?? .nan }
        try #require(rects.count == 2)
        #expect(abs(number(0, "y") - frame.top) <= 0.1)
        #expect(abs(number(0, "height") - frame.height / 2) <= 0.1)
        #expect(abs(number(1, "y") - frame.top - frame.height / 2) <= 0.1)
        #expect(abs(number(1, "y") + number(1, "height") - frame.top - frame.height) <= 0.1)
        #expect(abs(number(0, "x") + number(0, "width") / 2 - frame.left - frame.width / 4) <= 0.1)
    }

    @Test func `The line of least squares is the closest one`() throws {
        // y = 1 + 2x, and two points as far above as below.
        let points = [Plot.Point(0, 1), Plot.Point(4, 9), Plot.Point(2, 8), Plot.Point(2, 2)]
        let document = try Document(plot([Plot.Series("", .leastSquares(points))]).svg)
        let fitted = try Document(plot([Plot.Series("", .line([Plot.Point(0, 1), Plot.Point(4, 9)]))]).svg)
        #expect(document.paths == fitted.paths)
        let upright = plot([Plot.Series("", .leastSquares([Plot.Point(1, 1), Plot.Point(1, 2)]))])
        #expect(try Document(upright.svg).texts("text").contains("no data"))
    }

    @Test func `Means stand in the middle of bins that hold something`() throws {
        let points = [
            Plot.Point(0, 1), Plot.Point(0.5, 3), Plot.Point(9, 10), Plot.Point(10, 20),
        ]
        let document = try Document(plot([Plot.Series("", .binnedMeans(points, bins: 5))]).svg)
        let expected = try Document(plot([Plot.Series("", .line([Plot.Point(1, 2), Plot.Point(9, 15)]))]).svg)
        #expect(document.paths.first == expected.paths.first)
    }

    @Test func `Histograms share their bins and each adds up to its set`() throws {
        let shares = Plot.Bin.shares(of: [[0, 0, 1, 10], [5, 5, .nan, 5], []], bins: 5)
        #expect(shares.map { $0.map(\.value) } == [[0.75, 0, 0, 0, 0.25], [0, 0, 0.75, 0, 0], []])
        try #require(shares.map(\.count) == [5, 5, 0])
        #expect(shares[0].map(\.lower) == [0, 2, 4, 6, 8])
        #expect(shares[1].map(\.upper) == [2, 4, 6, 8, 10])
        let same = Plot.Bin.shares(of: [[3, 3]], bins: 3)[0]
        try #require(same.map(\.value) == [0, 1, 0])
        #expect(same[0].lower == 1.5 && same[2].upper == 4.5)
        #expect(Plot.Bin.shares(of: [[.nan]], bins: 2) == [[]])
        let gap = plot([Plot.Series("", .histogram([Plot.Bin(0, 1, value: 1), Plot.Bin(2, 3, value: 1)]))])
        #expect(try #require(try Document(gap.svg).paths.first).filter { $0 == "Z" }.count == 2)
    }

    @Test func `Many dots make a small file, long labels are cut and many categories thinned`() throws {
        let points = (0..<20_000).map { Plot.Point(Double($0 % 1_000), Double($0 * $0 % 997)) }
        #expect(plot([Plot.Series("", .points(points))]).svg.count < 400_000)
        let long = String(repeating: "word ", count: 500)
        let bars = (0..<200).map { Plot.Bar("\($0) \(long)", 1) }
        let document = try Document(plot([Plot.Series(long, .bars(bars))], title: long, x: Plot.Axis(long)).svg)
        #expect(document.texts("title") == [long])
        #expect(document.texts("text").allSatisfy { $0.count < 100 })
        #expect(document.texts("text").filter { $0.hasSuffix("…") }.count < 20)
        let legend = try Document(
            plot((0..<30).map { Plot.Series("series \($0)", .line([Plot.Point(0, 0), Plot.Point(1, 1)])) }).svg)
        #expect(Set(legend.elements.compactMap { $0.attributes["stroke-dasharray"] }).count == 3)
    }

    @Test func `A contingency table shows counts and shares, and none of nothing`() throws {
        let table = ContingencyTable(
            title: "t", summary: "s", rows: ContingencyTable.Property("reward", yes: "right", no: "wrong"),
            columns: ContingencyTable.Property("likelihood", yes: "higher", no: "lower"),
            counts: ContingencyTable.Counts(both: 21_200, rowOnly: 23_000, columnOnly: 8, neither: 16_792))
        let texts = try Document(table.svg).texts("text")
        #expect(
            texts == [
                "t", "likelihood", "reward", "higher", "lower", "right", "wrong", "21200", "34.8 %", "23000", "37.7 %",
                "8", "0.0 %", "16792", "27.5 %", "61000 in all",
            ])
        var empty = table
        empty.counts = ContingencyTable.Counts(both: 0, rowOnly: 0, columnOnly: 0, neither: 0)
        #expect(try Document(empty.svg).texts("text").filter { $0.contains("%") }.isEmpty)
        let first = try #require(try Document(table.svg).elements.filter { $0.name == "rect" }.dropFirst().first)
        #expect(first.attributes["fill-opacity"] == "0.224")
        var one = table
        one.counts = ContingencyTable.Counts(both: 3, rowOnly: 0, columnOnly: 0, neither: 0)
        let opacities = try Document(one.svg).elements.compactMap { $0.attributes["fill-opacity"] }
        #expect(opacities == ["0.550", "0.050", "0.050", "0.050"])
    }
}

private let smallPlot = """
    <?xml version="1.0" encoding="UTF-8"?>
    <svg xmlns="http://www.w3.org/2000/svg" width="640" height="400" viewBox="0 0 640 400" role="img" \
    aria-label="t" font-family="system-ui, sans-serif" font-size="12">
     <title>t</title>
     <desc>s</desc>
     <style>@media (prefers-color-scheme:dark){.plot-ground{fill:#0d1117}.plot-ink{fill:#e6edf3}\
    .plot-axis{stroke:#9198a1}.plot-rule{stroke:#2a313a}.plot-s0{color:#58b4ef}.plot-s1{color:#ff9e5e}\
    .plot-s2{color:#40d3a6}.plot-s3{color:#eb9bd3}.plot-s4{color:#e3b341}.plot-s5{color:#a5adff}}</style>
     <rect class="plot-ground" width="100%" height="100%" fill="#ffffff"/>
     <g font-size="15" font-weight="600">
      <text class="plot-ink" x="320" y="22" fill="#1f2328" text-anchor="middle">t</text>
     </g>
     <g class="plot-s0" color="#0072b2">
      <circle cx="27" cy="42" r="3" fill="currentColor"/>
     </g>
     <text class="plot-ink" x="42" y="46" fill="#1f2328" text-anchor="start">runs</text>
     <path class="plot-rule" d="M54.1 354h567.9M54.1 294.8h567.9M54.1 235.6h567.9M54.1 176.4h567.9M54.1 \
    117.2h567.9M54.1 58h567.9M54.1 58v296M167.7 58v296M281.3 58v296M394.8 58v296M508.4 58v296M622 58v296" \
    fill="none" stroke="#e4e8ec" stroke-width="1"/>
     <g class="plot-s0" color="#0072b2">
      <path d="M54.1 354h0M622 58h0" fill="none" stroke="currentColor" stroke-width="5" \
    stroke-linecap="round" opacity="0.6"/>
     </g>
     <path class="plot-axis" d="M54.1 58v296h567.9" fill="none" stroke="#59636e" stroke-width="1"/>
     <text class="plot-ink" x="48.1" y="358" fill="#1f2328" text-anchor="end">1.0</text>
     <text class="plot-ink" x="48.1" y="298.8" fill="#1f2328" text-anchor="end">1.2</text>
     <text class="plot-ink" x="48.1" y="239.6" fill="#1f2328" text-anchor="end">1.4</text>
     <text class="plot-ink" x="48.1" y="180.4" fill="#1f2328" text-anchor="end">1.6</text>
     <text class="plot-ink" x="48.1" y="121.2" fill="#1f2328" text-anchor="end">1.8</text>
     <text class="plot-ink" x="48.1" y="62" fill="#1f2328" text-anchor="end">2.0</text>
     <text class="plot-ink" x="54.1" y="371" fill="#1f2328" text-anchor="middle">0.0</text>
     <text class="plot-ink" x="167.7" y="371" fill="#1f2328" text-anchor="middle">0.2</text>
     <text class="plot-ink" x="281.3" y="371" fill="#1f2328" text-anchor="middle">0.4</text>
     <text class="plot-ink" x="394.8" y="371" fill="#1f2328" text-anchor="middle">0.6</text>
     <text class="plot-ink" x="508.4" y="371" fill="#1f2328" text-anchor="middle">0.8</text>
     <text class="plot-ink" x="622" y="371" fill="#1f2328" text-anchor="middle">1.0</text>
     <text class="plot-ink" x="338.1" y="391" fill="#1f2328" text-anchor="middle">x</text>
     <g transform="rotate(-90 16 206)">
      <text class="plot-ink" x="16" y="206" fill="#1f2328" text-anchor="middle">y</text>
     </g>
    </svg>

    """
