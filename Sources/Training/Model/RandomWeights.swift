internal import Glibc
package import LanguageModel
internal import Statistics

extension ParameterStore {
    /// Random weights for a model that begins from nothing: matrices normal with this deviation, norms the identity,
    /// biases zero, the same for a seed on every machine.
    package convenience init(
        random configuration: ModelConfiguration, deviation: Double, seed: UInt64, gradients: Gradients.Format = .f32
    ) {
        let shapes = configuration.expectedShapes.sorted { $0.key < $1.key }
        self.init(shapes.map { (name: $0.key, shape: $0.value) }, isTrained: true, gradients: gradients)
        let identity: Float = configuration.norm.kind == .rmsPlusOne ? 0 : 1
        for (index, parameter) in parameters.enumerated() {
            let values = value(index)
            if parameter.shape.count == 1 {
                let fill = parameter.name.hasSuffix(".bias") ? 0 : identity
                values.update(repeating: fill, count: parameter.columns)
                continue
            }
            var generator = SeededGenerator(seed: seed, stream: UInt64(index))
            for row in 0..<parameter.rows {
                for column in 0..<parameter.columns {
                    values[row * parameter.stride + column] = Float(deviation * normal(&generator))
                }
            }
        }
    }
}

/// A standard normal number, by Box and Muller's method.
private func normal(_ generator: inout SeededGenerator) -> Double {
    let unit = { (bits: UInt64) in Double(bits >> 11) * 0x1p-53 }
    let radius = (-2 * log(1 - unit(generator.next()))).squareRoot()
    return radius * cos(2 * .pi * unit(generator.next()))
}
