internal import Glibc

/// Cosines and sines of every position up to the furthest seen.
package struct RotaryTable {
    package let rotary: ModelConfiguration.Rotary
    private let isReversed: Bool
    private var values = FloatBuffer(count: 0)
    private var positions = 0

    /// - Parameter isReversed: turns the other way: the rotation's transpose, which its gradient takes.
    package init(_ rotary: ModelConfiguration.Rotary, isReversed: Bool = false) {
        self.rotary = rotary
        self.isReversed = isReversed
    }

    /// Pairs that turn.
    package var half: Int { rotary.inverseFrequencies.count }

    package mutating func grow(to count: Int) {
        guard count > positions else { return }
        positions = max(256, count, 2 * positions)
        values = FloatBuffer(count: positions * 2 * half)
        for position in 0..<positions {
            let cosine = values.pointer + position * 2 * half
            for (i, frequency) in rotary.inverseFrequencies.enumerated() {
                let angle = Float(position) * frequency
                cosine[i] = cosf(angle) * rotary.attentionFactor
                cosine[half + i] = sinf(isReversed ? -angle : angle) * rotary.attentionFactor
            }
        }
    }

    /// (half) each.
    package func angles(_ position: Int) -> (cosine: UnsafePointer<Float>, sine: UnsafePointer<Float>) {
        let cosine = UnsafePointer(values.pointer + position * 2 * half)
        return (cosine, cosine + half)
    }
}
