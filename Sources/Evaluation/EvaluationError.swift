/// What can be wrong with the world around an evaluation; each case is one kind of exit.
package enum EvaluationError: Error, Hashable, CustomStringConvertible {
    /// A file holds something other than what it should.
    case badData(String)
    /// A file or a folder that is needed is not there.
    case missingInput(String)
    /// A definition (benchmark, judge, policy) or a combination of flags makes no sense.
    case configuration(String)
    /// Judge, data or template are not what they were, or too many verdicts are missing.
    case integrity(String)
    case cannotCreate(String)
    /// Reading or writing failed half-way: disk full, device error.
    case inputOutput(String)
    /// Someone else is at work on this run.
    case busy(String)

    package var description: String {
        switch self {
        case .badData(let text), .missingInput(let text), .configuration(let text), .integrity(let text),
            .cannotCreate(let text), .inputOutput(let text), .busy(let text):
            text
        }
    }
}
