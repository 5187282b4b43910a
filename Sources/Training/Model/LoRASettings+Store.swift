package import LanguageModel
internal import Statistics

extension LoRASettings {
    /// Adapters that change nothing yet: A uniform within ±1/√inputs, as PEFT's Kaiming initialisation, and B zero.
    ///
    /// - Throws: `TrainingError.configuration` for a target that the model does not have.
    package func makeStore(for model: ModelConfiguration, seed: UInt64) throws(TrainingError) -> ParameterStore {
        try checkedForTraining()
        let store = ParameterStore(try shapes(for: model), isTrained: true)
        for (index, parameter) in store.parameters.enumerated() where parameter.name.hasSuffix(".lora_A.weight") {
            var generator = SeededGenerator(seed: seed, stream: UInt64(index))
            let bound = 1 / Double(parameter.columns).squareRoot()
            store.fill(
                index,
                from: (0..<parameter.rows * parameter.columns).map { _ in
                    Float(bound * (Double(generator.next() >> 11) * 0x1p-52 - 1))
                })
        }
        return store
    }

    /// W += scale * B A for every adapter, in f32.
    package func merge(_ adapters: ParameterStore, into weights: ParameterStore, pool: ThreadPool) {
        let suffix = ".lora_A.weight"
        for (index, a) in adapters.parameters.enumerated() where a.name.hasSuffix(suffix) {
            let name = a.name.dropLast(suffix.count)
            guard let b = adapters.index("\(name).lora_B.weight"), let target = weights.index("\(name).weight") else {
                preconditionFailure("\(name) has no B or no weights")
            }
            let (down, up, w) = (adapters.value(index), adapters.value(b), weights.value(target))
            let (upStride, stride) = (adapters.parameters[b].stride, weights.parameters[target].stride)
            let outputs = adapters.parameters[b].rows
            // GPT-2 stores (inputs, outputs).
            let isTransposed = LoRAAdapterFile.isGPT2(name)
            pool.run(weights.parameters[target].rows) { row in
                let w = w + row * stride
                for rank in 0..<a.rows {
                    if isTransposed {
                        let factor = Float(scale) * down[rank * a.stride + row]
                        for output in 0..<outputs { w[output] += factor * up[output * upStride + rank] }
                    } else {
                        let factor = Float(scale) * up[row * upStride + rank]
                        for input in 0..<a.columns { w[input] += factor * down[rank * a.stride + input] }
                    }
                }
            }
        }
    }
}
