import Chat
import Endpoints
import Evaluation
import Evidence
import Inference
import LanguageModel
import Statistics
import Tokenization
import Training

/// An error as the shell sees it: one sentence, and the code that INTERFACE promises for its kind.
struct Exit {
    /// Nil for what the argument parser explains and codes itself.
    let code: Int32?
    let sentence: String

    init(_ error: any Error) {
        sentence = "\(error)"
        code =
            switch error {
            case let error as EvaluationError: Exit.code(error)
            case let error as EvidenceError: Exit.code(error)
            case let error as ModelFailure: Exit.code(error)
            case let error as DownloadError: Exit.code(error)
            case let error as CheckpointError: Exit.code(error)
            case let error as TemplateError: Exit.code(error)
            case let error as TokenizationError: Exit.code(error)
            case let error as TrainingError: Exit.code(error)
            case is InferenceError: 78
            case is UnwritableFile: 74
            case is ModelSourceError: 64
            case is LengthControlError: 65
            case is Interrupted: Interruption.shared.exitCode
            case is CancellationError: Interruption.shared.exitCode
            default: nil
            }
    }

    private static func code(_ error: EvaluationError) -> Int32 {
        switch error {
        case .badData: 65
        case .missingInput: 66
        case .configuration: 78
        case .integrity: 3
        case .cannotCreate: 73
        case .inputOutput: 74
        case .busy: 75
        }
    }

    private static func code(_ error: EvidenceError) -> Int32 {
        switch error {
        case .notEvidence, .damaged: 65
        case .newer: 78
        case .diskFull, .failed: 74
        case .cannotOpen: 73
        }
    }

    private static func code(_ error: ModelFailure) -> Int32 {
        switch error {
        case .requestFailed, .providerRefuses: 69
        case .credentials: 77
        case .notRecorded: 66
        case .spendLimit: 75
        case .unsupported: 78
        }
    }

    private static func code(_ error: CheckpointError) -> Int32 {
        switch error {
        case .unreadable: 66
        case .malformed, .mismatch: 65
        case .unsupported: 78
        }
    }

    private static func code(_ error: TemplateError) -> Int32 {
        switch error {
        case .unreadable: 66
        case .syntax, .evaluation, .raised, .limit, .badConfiguration: 65
        }
    }

    private static func code(_ error: TokenizationError) -> Int32 {
        switch error {
        case .malformed: 65
        case .unsupported: 78
        }
    }

    private static func code(_ error: TrainingError) -> Int32 {
        switch error {
        case .configuration, .diverged: 78
        case .missingInput: 66
        case .badData: 65
        case .inputOutput: 74
        }
    }

    private static func code(_ error: DownloadError) -> Int32 {
        switch error {
        case .badAddress: 78
        case .interrupted, .busy: 75
        case .refused, .tooLarge: 69
        case .credentials: 77
        case .wrongHash: 3
        case .disk: 74
        }
    }
}
