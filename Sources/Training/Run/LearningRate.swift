#if canImport(Glibc)
    internal import Glibc
#endif

/// The learning rate of each step of a run, as transformers' schedulers set it.
///
/// The rate rises from 0 in equal steps to its peak, so the first step of a run that warms up moves nothing, and then
/// follows the shape, down to but not including 0 at the end of the run.
package struct LearningRate: Hashable, Sendable {
    /// What the rate does after its peak.
    package enum Shape: String, Codable, CaseIterable, Hashable, Sendable {
        /// ½·(1 + cos(π·progress)) of the peak.
        case cosine
        /// 1 − progress of the peak.
        case linear
        /// The peak from the first step on, whatever the warm-up.
        case constant
        case constantWithWarmUp = "constant_with_warmup"
    }

    /// How long the rate rises.
    package enum WarmUp: Hashable, Sendable {
        case steps(Int)
        /// A fraction of all steps, rounded up.
        case ratio(Double)
    }

    package let peak: Double
    package let shape: Shape
    package let warmUpSteps: Int
    package let totalSteps: Int

    /// - Throws: `TrainingError.configuration` for a peak that is not above 0, or a warm-up that is none.
    package init(peak: Double, shape: Shape, warmUp: WarmUp, totalSteps: Int) throws(TrainingError) {
        precondition(totalSteps > 0, "a run of \(totalSteps) steps")
        guard peak > 0, peak.isFinite else {
            throw .configuration(
                "the learning rate is \(peak), and must be a finite number above 0: correct the recipe")
        }
        let risingSteps: Int
        switch warmUp {
        case .steps(let steps):
            guard steps >= 0 else {
                throw .configuration("the warm-up is \(steps) steps, and must be at least 0: correct the recipe")
            }
            risingSteps = steps
        case .ratio(let ratio):
            guard 0 <= ratio, ratio <= 1 else {
                throw .configuration(
                    "the warm-up is \(ratio) of all steps, and must be in 0...1: correct the recipe, or state steps")
            }
            risingSteps = Int((Double(totalSteps) * ratio).rounded(.up))
        }
        warmUpSteps = shape == .constant ? 0 : risingSteps
        self.peak = peak
        self.shape = shape
        self.totalSteps = totalSteps
    }

    /// The rate with which step `step`, counted from 0, is taken.
    package func rate(at step: Int) -> Double {
        precondition(0 <= step && step < totalSteps, "step \(step) of \(totalSteps)")
        if step < warmUpSteps { return peak * (Double(step) / Double(warmUpSteps)) }
        let progress = Double(step - warmUpSteps) / Double(max(1, totalSteps - warmUpSteps))
        return switch shape {
        case .cosine: peak * 0.5 * (1 + cos(.pi * progress))
        case .linear: peak * (1 - progress)
        case .constant, .constantWithWarmUp: peak
        }
    }
}
