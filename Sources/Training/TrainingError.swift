/// What stops a training run, in a sentence.
package enum TrainingError: Error, Hashable, Sendable {
    /// A recipe, or a combination of its fields, that makes no sense.
    case configuration(String)
    /// A file that is not there or cannot be read.
    case missingInput(String)
    /// Data or a checkpoint that is not what it should be.
    case badData(String)
    /// A loss or a gradient that is not finite.
    case diverged(String)
    /// Something could not be written.
    case inputOutput(String)
}

extension TrainingError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .configuration(let sentence), .missingInput(let sentence), .badData(let sentence),
            .diverged(let sentence), .inputOutput(let sentence):
            sentence
        }
    }
}
