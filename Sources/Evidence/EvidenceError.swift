internal import GRDB

package enum EvidenceError: Error, Hashable, CustomStringConvertible {
    /// Some other SQLite file.
    case notEvidence(String)
    case newer(String, version: Int)
    /// A hash does not match, or the file is malformed.
    case damaged(String)
    case diskFull(String)
    case cannotOpen(String, reason: String)
    case failed(String, reason: String)

    init(_ error: any Error, path: String) {
        switch error {
        case let error as EvidenceError: self = error
        case let error as DatabaseError:
            let reason = error.message ?? "SQLite error \(error.resultCode.rawValue)"
            switch error.resultCode {
            case .SQLITE_FULL: self = .diskFull(path)
            case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
                self = .cannotOpen(path, reason: reason)
            case .SQLITE_NOTADB: self = .notEvidence(path)
            case .SQLITE_CORRUPT: self = .damaged("\(path): \(reason)")
            default: self = .failed(path, reason: reason)
            }
        default: self = .failed(path, reason: "\(error)")
        }
    }

    package var description: String {
        switch self {
        case .notEvidence(let path): "\(path) is not an evidence store. Name another file with --evidence."
        case .newer(let path, let version):
            "\(path) was written by a newer evalharness (format \(version)). Use that version, or another file "
                + "with --evidence."
        case .damaged(let what): "Evidence is damaged: \(what). Restore the file, or begin a new one with --evidence."
        case .diskFull(let path):
            "The disk is full at \(path). Free some space and run the same command again: it continues."
        case .cannotOpen(let path, let reason):
            "The evidence store \(path) cannot be opened for writing: \(reason). Name another file with --evidence."
        case .failed(let path, let reason): "The evidence store \(path) failed: \(reason)."
        }
    }
}
