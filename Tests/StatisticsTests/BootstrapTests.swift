import Foundation
import Statistics
import Testing

@Suite("Bootstrap")
struct BootstrapTests {
    @Test("The standard error of a mean is the analytic one")
    func analytic() {
        let values = sample(400, seed: 1)
        let mean = values.reduce(0, +) / 400
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 400
        let interval = bootstrapMean(values, resamples: 4000, seed: 2)
        #expect(abs(interval.value - mean) < 1e-15)
        // A standard deviation of 4,000 draws is known to 1/√8000 = 1.1 %; this is four times that.
        #expect(abs(interval.standardError / (variance / 400).squareRoot() - 1) < 0.045)
        #expect(abs((interval.upper - interval.lower) / interval.standardError - 3.92) < 0.25)
    }

    @Test("Nineteen in twenty intervals hold the true mean")
    func coverage() {
        let hits = (0..<400).count { i in
            let interval = bootstrapMean(sample(100, seed: UInt64(i)), resamples: 200, seed: UInt64(i))
            return interval.lower <= 1.0 / 3 && 1.0 / 3 <= interval.upper
        }
        // 380 ± 4.4; the interval of 100 values is a little short.
        #expect((362...394).contains(hits))
    }

    @Test("The same seed gives the same interval on any number of threads")
    func repeatable() {
        let values = sample(50, seed: 3)
        let first = bootstrapMean(values, resamples: 300, seed: 9)
        #expect(concurrentMap(8) { _ in bootstrapMean(values, resamples: 300, seed: 9) }.allSatisfy { $0 == first })
        #expect(bootstrapMean(values, resamples: 300, seed: 10) != first)
    }

    @Test("A concurrent map is the map")
    func concurrentMapOrder() {
        #expect(concurrentMap(1000) { "\($0 * $0)" } == (0..<1000).map { "\($0 * $0)" })
        #expect(concurrentMap(0) { $0 }.isEmpty)
    }

    @Test("An interval survives JSON")
    func coding() throws {
        let interval = bootstrapMean(sample(20, seed: 1), resamples: 10, seed: 1)
        #expect(try JSONDecoder().decode(Interval.self, from: JSONEncoder().encode(interval)) == interval)
    }

    /// Squares of uniform numbers: skewed, with mean 1/3.
    private func sample(_ count: Int, seed: UInt64) -> [Double] {
        var generator = SeededGenerator(seed: seed, stream: 77)
        return (0..<count).map { _ in pow(Double.random(in: 0..<1, using: &generator), 2) }
    }
}
