import LanguageModel
import Synchronization
import Testing

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 3, 5])
    func `Every piece of every loop runs once, however fast loops follow one another`(_ threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        #expect(pool.threadCount == threads)
        var wrong = 0
        var runs = [Int32](repeating: 0, count: 64)
        for loop in 0..<60_000 {
            // Counts go up and down, so that a piece claimed from the wrong loop shows.
            let count = 1 + loop * 7 % 60
            runs.withUnsafeMutableBufferPointer { runs in
                let base = runs.baseAddress!
                for index in 0..<64 { base[index] = 0 }
                // Each piece has its own place: only one that ran twice, or for another loop, writes where it should not.
                pool.run(count) { base[$0] += 1 }
                for index in 0..<64 where base[index] != (index < count ? 1 : 0) { wrong += 1 }
            }
        }
        #expect(wrong == 0)
    }

    @Test func `A loop's effects are there when it returns`() {
        let pool = ThreadPool(threadCount: 4)
        let sum = Atomic<Int>(0)
        for _ in 0..<2_000 {
            sum.store(0, ordering: .relaxed)
            pool.run(100) { _ = sum.add($0, ordering: .relaxed) }
            #expect(sum.load(ordering: .relaxed) == 4_950)
        }
    }
}
