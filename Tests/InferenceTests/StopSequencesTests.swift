import Inference
import Statistics
import Testing

@Suite struct StopSequencesTests {
    @Test func `A stop is found across pieces, and its beginning is held back`() throws {
        var stop = try StopSequences(["\n\nUser:", "END"])
        #expect(stop.append("Hello\n".utf8) == progress(5))
        #expect(stop.append("\nUs".utf8) == progress(5))
        #expect(stop.append("eful".utf8) == progress(13))
        #expect(stop.append(" EN".utf8) == progress(14))
        #expect(stop.append("D of it".utf8) == progress(14, cut: 14))
        #expect(stop.append("END".utf8) == progress(14, cut: 14))
    }

    @Test func `The sequence that is complete first counts, and of several the longest`() throws {
        func cut(_ sequences: [String], _ text: String) throws -> Int? {
            var stop = try StopSequences(sequences)
            return stop.append(text.utf8).cut
        }
        #expect(try cut(["abcd", "bc"], "xabcd") == 2)
        #expect(try cut(["bc", "abc"], "xabcd") == 1)
        #expect(try cut(["aab"], "aaab") == 1)
        #expect(try cut(["é"], "ÃÂé!") == 4)
        #expect(try cut([], "anything") == nil)
    }

    @Test func `An empty stop sequence is refused`() {
        #expect(throws: InferenceError.self) { try StopSequences(["a", ""]) }
    }

    @Test func `Any split of any text gives what a plain search gives`() throws {
        var generator = SeededGenerator(seed: 9)
        func letters(_ count: Int) -> [UInt8] { (0..<count).map { _ in 97 + UInt8(generator.index(below: 2)) } }
        var stops = 0
        for _ in 0..<20_000 {
            let sequences = (0...generator.index(below: 3)).map { _ in letters(1 + generator.index(below: 6)) }
            let text = letters(generator.index(below: 30))
            var matcher = try StopSequences(sequences.map { String(decoding: $0, as: UTF8.self) })
            var (read, shown) = (0, 0)
            while read < text.count {
                let end = min(text.count, read + generator.index(below: 5))
                let progress = matcher.append(text[read..<end])
                read = end
                let expected = plainCut(text.prefix(read), sequences)
                #expect(progress.cut == expected)
                #expect(progress.safeCount == expected ?? plainSafeCount(text.prefix(read), sequences))
                #expect(progress.safeCount >= shown)
                shown = progress.safeCount
            }
            if matcher.progress.cut != nil { stops += 1 }
        }
        #expect(stops > 5_000)
    }

    private func progress(_ safeCount: Int, cut: Int? = nil) -> StopSequences.Progress {
        StopSequences.Progress(safeCount: safeCount, cut: cut)
    }

    private func plainCut(_ text: some Collection<UInt8>, _ sequences: [[UInt8]]) -> Int? {
        for end in 0...text.count {
            let head = Array(text.prefix(end))
            let complete = sequences.filter { head.count >= $0.count && Array(head.suffix($0.count)) == $0 }
            if let longest = complete.map(\.count).max() { return end - longest }
        }
        return nil
    }

    /// All but the longest ending that begins a sequence.
    private func plainSafeCount(_ text: some Collection<UInt8>, _ sequences: [[UInt8]]) -> Int {
        for held in (0...text.count).reversed()
        where held == 0 || sequences.contains(where: { $0.count > held && $0.starts(with: text.suffix(held)) }) {
            return text.count - held
        }
        return text.count
    }
}
