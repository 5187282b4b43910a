package import LanguageModel

extension ParameterStore {
    /// Every weight of a checkpoint, as floats.
    ///
    /// - Throws: `CheckpointError` where a tensor is missing, or has another shape or type than the family's.
    package convenience init(_ checkpoint: Checkpoint, isTrained: Bool, gradients: Gradients.Format = .f32)
        throws(CheckpointError)
    {
        let shapes = checkpoint.configuration.expectedShapes.sorted { $0.key < $1.key }
        self.init(shapes.map { (name: $0.key, shape: $0.value) }, isTrained: isTrained, gradients: gradients)
        for (index, parameter) in parameters.enumerated() {
            fill(index, from: try checkpoint.tensor(parameter.name, shape: parameter.shape))
            for file in checkpoint.files { file.releasePages() }
        }
    }
}
