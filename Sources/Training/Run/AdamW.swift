internal import CKernels
package import LanguageModel

/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), in the order of `torch.optim.AdamW`: the
/// decay first, norms and biases spared.
package struct AdamW: Hashable, Sendable {
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    package var epsilon: Float = 1e-8
    package var weightDecay: Float = 0

    package init() {}

    /// One update from the gradients of a store that is trained.
    ///
    /// - Parameters:
    ///   - step: counts from 1.
    ///   - gradientScale: what gradients are multiplied by first (clipping).
    package func update(
        _ store: ParameterStore, step: Int, learningRate: Double, gradientScale: Double, kernels: Kernels
    ) {
        guard let training = store.training else { preconditionFailure("these weights are frozen") }
        let function = kernels.functions.adamw!
        for (index, parameter) in store.parameters.enumerated() {
            var settings = adamw()
            settings.learning_rate = Float(learningRate)
            settings.beta1 = beta1
            settings.beta2 = beta2
            settings.epsilon = epsilon
            settings.weight_decay = parameter.isDecayed ? weightDecay : 0
            settings.correction1 = Float(1 - power(Double(beta1), step))
            settings.correction2 = Float(1 - power(Double(beta2), step))
            settings.gradient_scale = Float(gradientScale)
            let chunk = 1 << 16
            kernels.pool.run((parameter.floatCount + chunk - 1) / chunk) { piece in
                let first = parameter.offset + piece * chunk
                let count = min(chunk, parameter.floatCount - piece * chunk)
                training.gradients.withFloats(index, from: piece * chunk, count: count) { gradient in
                    function(
                        &settings, gradient, training.firstMoments.pointer + first,
                        training.secondMoments.pointer + first, store.values.pointer + first, count)
                }
            }
        }
    }

    private func power(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { product, _ in product * base }
    }
}
