#if canImport(Glibc)
    internal import Glibc
#endif

/// What turns a row's logits into log-probabilities.
struct Normalizer: Sendable {
    /// The greatest logit.
    let maximum: Float
    /// log Σ exp(logit − maximum), in nats.
    let logSum: Double

    /// Nil where the row is no distribution: not a number or plus infinity somewhere, or minus infinity everywhere.
    init?(_ logits: UnsafeBufferPointer<Float>) {
        maximum = logits.maximum()
        // Each of the three makes a term of the sum not a number.
        let sum = logits.sumOfExponentials(minus: maximum)
        guard sum.isFinite else { return nil }
        logSum = log(sum)
    }

    func logprob(_ logit: Float) -> Double {
        Double(logit) - Double(maximum) - logSum
    }

    /// Writes (vocabulary) log-probabilities, rounded step by step as torch's log-softmax rounds them.
    func logprobs(of logits: UnsafeBufferPointer<Float>, into output: UnsafeMutableBufferPointer<Float>) {
        let logSum = Float(logSum)
        for i in logits.indices { output[i] = (logits[i] - maximum) - logSum }
    }

    /// The most probable tokens, best first, ties by id; fewer where the others have no probability.
    func top(_ count: Int, of logits: UnsafeBufferPointer<Float>) -> [TokenLogprob] {
        var best = Best(count: min(count, logits.count))
        best.offer(logits)
        return best.sorted.map { TokenLogprob(token: Int32($0.index), logprob: logprob($0.value)) }
    }
}

/// The greatest values of all that are offered; of equal ones, those of lower index.
struct Best {
    struct Entry {
        var value: Float
        var index: Int

        @inline(__always)
        func precedes(_ other: Entry) -> Bool {
            value > other.value || (value == other.value && index < other.index)
        }
    }

    private let count: Int
    /// A heap with the last of the best on top.
    private var heap: [Entry] = []
    /// What a later value must exceed.
    private var bar = -Float.infinity

    init(count: Int) {
        self.count = count
    }

    /// The best first. Minus infinity is never among them.
    var sorted: [Entry] { heap.sorted { $0.precedes($1) } }

    /// The least of the best; nil before anything was offered.
    var last: Entry? { heap.first }

    /// Offers value + `addend` for each value, with indices from `firstIndex`, which rise from call to call.
    mutating func offer(_ values: UnsafeBufferPointer<Float>, plus addend: Float = 0, firstIndex: Int = 0) {
        let stride = 4 * FloatLanes.scalarCount
        var start = 0
        while start + stride <= values.count {
            if exceedsBar(values, start, addend) {
                for i in start..<start + stride { offer(values[i] + addend, at: firstIndex + i) }
            }
            start += stride
        }
        for i in start..<values.count { offer(values[i] + addend, at: firstIndex + i) }
    }

    @inline(__always)
    private func exceedsBar(_ values: UnsafeBufferPointer<Float>, _ start: Int, _ addend: Float) -> Bool {
        let bar = FloatLanes(repeating: bar)
        let a = (values.lanes(start) + addend) .> bar
        let b = (values.lanes(start + 8) + addend) .> bar
        let c = (values.lanes(start + 16) + addend) .> bar
        let d = (values.lanes(start + 24) + addend) .> bar
        return any((a .| b) .| (c .| d))
    }

    private mutating func offer(_ value: Float, at index: Int) {
        guard value > bar else { return }
        let entry = Entry(value: value, index: index)
        if heap.count < count {
            heap.append(entry)
            siftUp()
        } else {
            heap[0] = entry
            siftDown()
        }
        if heap.count == count { bar = heap[0].value }
    }

    private mutating func siftUp() {
        var child = heap.count - 1
        while child > 0, heap[(child - 1) / 2].precedes(heap[child]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func siftDown() {
        var parent = 0
        while 2 * parent + 1 < heap.count {
            let (left, right) = (2 * parent + 1, 2 * parent + 2)
            let later = right < heap.count && heap[left].precedes(heap[right]) ? right : left
            guard heap[parent].precedes(heap[later]) else { return }
            heap.swapAt(parent, later)
            parent = later
        }
    }
}

/// Eight numbers at once. Multiply and add are kept apart: without -march a fused one is a library call.
typealias FloatLanes = SIMD8<Float>

extension FloatLanes {
    /// e^x within 2 units in the last place, for x up to 0; 0 below −87.3, where single precision runs out.
    @inline(__always)
    static func exponential(_ x: FloatLanes) -> FloatLanes {
        let underflow = x .< -87.3
        let x = x.replacing(with: -87.3, where: underflow)
        // x = k·ln 2 + r with |r| ≤ ln 2 / 2. Adding 1.5·2^23 leaves k, rounded, in the low bits.
        let shifted = x * 1.44269504 + 0x1.8p23
        let k = shifted - 0x1.8p23
        // ln 2 in two parts, of which the first times k is exact; the polynomial is Cephes' `expf`.
        let r = (x - k * 0.693359375) + k * 2.12194440e-4
        let r2 = r * r
        let high = (r * 1.9875691500e-4 + 1.3981999507e-3) * r2 + (r * 8.3334519073e-3 + 4.1665795894e-2)
        let p = (high * r2 + (r * 1.6666665459e-1 + 5.0000001201e-1)) * r2 + r + 1
        let exponent = (unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23) &+ 0x3F80_0000
        return (p * unsafeBitCast(exponent, to: FloatLanes.self)).replacing(with: 0, where: underflow)
    }

    /// Halves are added to halves: one order on every machine.
    @inline(__always)
    var total: Float {
        let four = lowHalf + highHalf
        let two = four.lowHalf + four.highHalf
        return two[0] + two[1]
    }
}

// Loops below are written out, for no call to stand in them.
extension UnsafeBufferPointer<Float> {
    @inline(__always)
    func lanes(_ start: Int) -> FloatLanes {
        UnsafeRawPointer(baseAddress.unsafelyUnwrapped + start).loadUnaligned(as: FloatLanes.self)
    }

    /// The values after the last whole lanes, filled up.
    private func lastLanes(fill: Float) -> FloatLanes {
        var lanes = FloatLanes(repeating: fill)
        for i in wholeCount..<count { lanes[i - wholeCount] = self[i] }
        return lanes
    }

    /// How many values fill whole lanes.
    private var wholeCount: Int { count / FloatLanes.scalarCount * FloatLanes.scalarCount }

    /// The greatest value, minus infinity for none; any of them where one is not a number.
    func maximum() -> Float {
        var (a, b) = (lastLanes(fill: -.infinity), FloatLanes(repeating: -.infinity))
        var start = 0
        while start + 16 <= wholeCount {
            let (x, y) = (lanes(start), lanes(start + 8))
            a = a.replacing(with: x, where: x .> a)
            b = b.replacing(with: y, where: y .> b)
            start += 16
        }
        if start < wholeCount { b = b.replacing(with: lanes(start), where: lanes(start) .> b) }
        return Swift.max(a.max(), b.max())
    }

    /// Σ exp(x − maximum): not a number where a term is.
    func sumOfExponentials(minus maximum: Float) -> Double {
        var sum = Double(FloatLanes.exponential(lastLanes(fill: -.infinity) - maximum).total)
        for chunk in stride(from: 0, to: wholeCount, by: chunkSize) {
            var lanes = FloatLanes.zero
            for start in stride(from: chunk, to: Swift.min(chunk + chunkSize, wholeCount), by: 8) {
                lanes += FloatLanes.exponential(self.lanes(start) - maximum)
            }
            sum += Double(lanes.total)
        }
        return sum
    }

    /// The sum of the chunk that starts at `chunk`; for a count of whole lanes.
    func sum(ofChunk chunk: Int) -> Double {
        var lanes = FloatLanes.zero
        for start in stride(from: chunk, to: Swift.min(chunk + chunkSize, count), by: 8) { lanes += self.lanes(start) }
        return Double(lanes.total)
    }

    /// The sum, and the number, of the values less than `bound`; for a count of whole lanes.
    func sumAndCount(below bound: Float) -> (sum: Double, count: Int) {
        var (sum, counts) = (0.0, SIMD8<Int32>.zero)
        for chunk in stride(from: 0, to: count, by: chunkSize) {
            var lanes = FloatLanes.zero
            for start in stride(from: chunk, to: Swift.min(chunk + chunkSize, count), by: 8) {
                let x = self.lanes(start)
                let isAbove = x .>= bound
                counts &+= SIMD8<Int32>(repeating: 1).replacing(with: 0, where: isAbove)
                lanes += x.replacing(with: 0, where: isAbove)
            }
            sum += Double(lanes.total)
        }
        return (sum, Int(counts.wrappedSum()))
    }

    /// Where values lie within `range`; for a count of whole lanes.
    func indices(of range: Range<Float>) -> [Int] {
        var found: [Int] = []
        for start in stride(from: 0, to: count, by: 8) {
            let x = lanes(start)
            guard any((x .>= range.lowerBound) .& (x .< range.upperBound)) else { continue }
            for i in start..<start + 8 where range.contains(self[i]) { found.append(i) }
        }
        return found
    }
}

/// How many values are added in single precision; their sums are added in double.
let chunkSize = 512
