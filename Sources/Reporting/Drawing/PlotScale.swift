internal import Glibc

/// An axis from tick to tick: its ticks are whole multiples of 1, 2 or 5 times a power of ten.
struct PlotScale {
    /// The multiples of the step that the axis begins and ends with.
    private let first, last: Int
    /// The step is `mantissa` times ten to this.
    private let mantissa: Int
    private let exponent: Int
    /// Labels are in units of ten to this.
    let power: Int

    /// - Parameters:
    ///   - values: what the axis shows; 0...1 where there are none.
    ///   - intervals: about how many there are between ticks.
    init(_ values: [Double], intervals: Int) {
        let drawn = values.filter(\.isDrawable)
        var (lower, upper) = (drawn.min() ?? 0, drawn.max() ?? 1)
        let size = max(abs(lower), abs(upper))
        if upper - lower <= max(1e-9 * size, 1e-100) {
            let space = size < 1e-100 ? 1 : size / 10
            (lower, upper) = (lower - space, upper + space)
        }
        let step = (upper - lower) / Double(intervals)
        var exponent = Int(log10(step).rounded(.down))
        let mantissa: Int
        switch step / PlotScale.powerOfTen(exponent) {
        case ..<1.5: mantissa = 1
        case ..<3.5: mantissa = 2
        case ..<7.5: mantissa = 5
        default:
            mantissa = 1
            exponent += 1
        }
        let unit = Double(mantissa) * PlotScale.powerOfTen(exponent)
        // What lies on a tick but for rounding needs no tick beyond it.
        let first = Int((lower / unit + 1e-9).rounded(.down))
        let last = max(first + 1, Int((upper / unit - 1e-9).rounded(.up)))
        self.first = first
        self.last = last
        self.mantissa = mantissa
        self.exponent = exponent
        let greatest = Double(max(abs(first), abs(last)) * mantissa) * PlotScale.powerOfTen(exponent)
        power = (1e-2..<1e5).contains(greatest) ? 0 : Int((log10(greatest) / 3).rounded(.down)) * 3
    }

    /// Every tick: its place on the axis, 0...1, and its label.
    var ticks: [(place: Double, label: String)] {
        (first...last).map { (Double($0 - first) / Double(last - first), label($0)) }
    }

    /// Where a value is on the axis, 0...1.
    func place(_ value: Double) -> Double {
        (value / (Double(mantissa) * PlotScale.powerOfTen(exponent)) - Double(first)) / Double(last - first)
    }

    /// The tick in decimal digits, counted and not rounded.
    private func label(_ tick: Int) -> String {
        var digits = String(abs(tick) * mantissa)
        let shift = exponent - power
        if shift >= 0 {
            if tick != 0 { digits += String(repeating: "0", count: shift) }
        } else {
            digits = String(repeating: "0", count: max(0, 1 - shift - digits.count)) + digits
            digits = "\(digits.dropLast(-shift)).\(digits.suffix(-shift))"
        }
        return tick < 0 ? "\u{2212}\(digits)" : digits
    }

    /// The unit of the labels for an axis's own label: ` (×10⁻⁶)`.
    var unit: String {
        if power == 0 { return "" }
        let digits: [Character] = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"]
        return " (×10" + (power < 0 ? "⁻" : "")
            + String(String(abs(power)).compactMap(\.wholeNumberValue).map { digits[$0] })
            + ")"
    }

    private static func powerOfTen(_ exponent: Int) -> Double { pow(10, Double(exponent)) }
}
