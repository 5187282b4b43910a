import Chat
import Foundation
import TestSupport
import Testing
import Training

@Suite struct ExampleOrderTests {
    @Test func `Epochs are permuted as by transformers' trainer`() {
        // torch 2.13, accelerate 1.15: a prepared DataLoader with a RandomSampler after set_seed(42), three epochs.
        let seven = ExampleOrder.shuffled(seed: 42)
        #expect(seven.indices(epoch: 0, count: 7) == [1, 6, 3, 5, 4, 0, 2])
        #expect(seven.indices(epoch: 1, count: 7) == [3, 1, 2, 4, 5, 0, 6])
        #expect(seven.indices(epoch: 2, count: 7) == [2, 6, 4, 0, 3, 1, 5])
        let seeded = ExampleOrder.shuffled(seed: 3)
        #expect(seeded.indices(epoch: 1, count: 7) == [3, 1, 0, 4, 2, 5, 6])
        #expect(seeded.indices(epoch: 0, count: 1) == [0])
    }

    @Test func `A data set's worth of examples is permuted as by torch`() {
        let permutation = ExampleOrder.shuffled(seed: 42).indices(epoch: 1, count: 61_135)
        #expect(permutation.prefix(6) == [1383, 59605, 39827, 31180, 51248, 43255])
        #expect(permutation.suffix(3) == [20406, 53547, 42452])
        // The whole of it: a polynomial in 31 modulo a prime.
        #expect(permutation.reduce(0) { ($0 * 31 + $1) % 1_000_000_007 } == 485_398_681)
    }

    @Test func `Of a seed torch takes the low 32 bits`() {
        let (high, low) = (ExampleOrder.shuffled(seed: 1 << 32 + 42), ExampleOrder.shuffled(seed: 42))
        #expect(high.indices(epoch: 0, count: 40) == low.indices(epoch: 0, count: 40))
        #expect(low.indices(epoch: 0, count: 40).prefix(6) == [22, 9, 32, 15, 0, 3])
        #expect(ExampleOrder.shuffled(seed: .max).indices(epoch: 1, count: 9).sorted() == Array(0..<9))
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/misc/torch_randperm.json")))
    func `Permutations are torch's golden ones`() throws {
        let file = try JSONValue(parsing: SharedData.contents("\(SharedData.fixtures)/misc/torch_randperm.json"))
        let goldens = try #require(file["cases"]?.array)
        #expect(!goldens.isEmpty)
        for golden in goldens {
            let order = ExampleOrder.shuffled(seed: UInt64(try #require(golden["seed"]?.integer)))
            let expected = try #require(golden["perm"]?.array).compactMap(\.integer)
            #expect(order.indices(epoch: 0, count: try #require(golden["n"]?.integer)) == expected)
        }
    }
}
