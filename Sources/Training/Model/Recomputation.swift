/// What of a pass's layers is computed again on the way back instead of being kept from the way forward.
package enum Recomputation: String, CaseIterable, Sendable {
    case none
    /// Gate and up of the MLP, from attention's output: about half of the memory, a sixth of a layer's products.
    case mlp
    /// Every layer from its input.
    case layers
    /// The inputs too, of all layers but the first of each segment of √layers: least memory.
    case segments

    /// Bytes up to which logits are kept: many where memory is spent on speed.
    package var logitBytes: Int {
        switch self {
        case .none, .mlp: 160 << 20
        case .layers, .segments: 16 << 20
        }
    }

    /// How many layers have one kept input.
    package func segment(of layerCount: Int) -> Int {
        self == .segments ? Int(Double(layerCount).squareRoot().rounded(.up)) : 1
    }
}
