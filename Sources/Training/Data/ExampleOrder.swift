internal import Statistics

/// The order in which the epochs of a run take its examples.
package enum ExampleOrder: Codable, Hashable, Sendable {
    /// As they lie in the file, every epoch.
    case sequential
    /// A permutation for each epoch, the one that transformers' trainer takes for this seed.
    ///
    /// Trainer hands its `RandomSampler` to accelerate, whose `SeedableRandomSampler` reseeds the generator with
    /// `data_seed` (where none is set: `seed`) + epoch before each epoch and takes `torch.randperm`. So an epoch's
    /// order depends on nothing before it. (As of accelerate 1.15 with `use_seedable_sampler`, the default.)
    case shuffled(seed: UInt64)

    /// Indices 0..<count in the order in which an epoch, counted from 0, takes them.
    package func indices(epoch: Int, count: Int) -> [Int] {
        switch self {
        case .sequential: Array(0..<count)
        case .shuffled(let seed): torchPermutation(of: count, seed: seed &+ UInt64(epoch))
        }
    }
}

/// `torch.randperm(count, generator=torch.Generator().manual_seed(seed))` on a CPU.
///
/// The generator is MT19937 seeded with the low 32 bits; from 2^32 / 20 elements on torch draws 64 bits at a time, and
/// the order here would differ.
private func torchPermutation(of count: Int, seed: UInt64) -> [Int] {
    precondition(count < Int(UInt32.max) / 20, "a permutation of \(count) examples")
    var generator = MersenneTwister(seed: UInt32(truncatingIfNeeded: seed))
    var permutation = Array(0..<count)
    for i in permutation.indices.dropLast() {
        permutation.swapAt(i, i + Int(generator.nextUInt32()) % (count - i))
    }
    return permutation
}
