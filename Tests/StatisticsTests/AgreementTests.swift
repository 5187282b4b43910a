import Statistics
import Testing

@Suite struct AgreementTests {
    /// Krippendorff's own example of four observers and twelve units (2011, section D), with the values that he gives.
    private static let observers: [[Double?]] = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, nil, nil, nil], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nil, 3],
        [nil, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nil], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nil],
    ]

    @Test(arguments: [(AgreementMetric.nominal, 0.743), (.ordinal, 0.815), (.interval, 0.849)])
    func `Krippendorff's example has his values`(_ metric: AgreementMetric, _ expected: Double) throws {
        let alpha = try #require(krippendorffAlpha(Self.observers, metric: metric))
        #expect(abs(alpha - expected) < 0.0005, "\(alpha)")
    }

    @Test func `Agreement has a value only where ratings can differ`() {
        #expect(krippendorffAlpha([[1, 2, 3], [1, 2, 3]], metric: .interval) == 1)
        #expect(krippendorffAlpha([[1, 1], [1, 1]], metric: .interval) == nil)
        #expect(krippendorffAlpha([[1, nil], [nil, 2]], metric: .nominal) == nil)
        #expect(krippendorffAlpha([], metric: .nominal) == nil)
        #expect((krippendorffAlpha([[1, 2], [2, 1]], metric: .nominal) ?? 1) < 0)
    }
}
