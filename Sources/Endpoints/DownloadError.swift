package enum DownloadError: Error, Hashable, Sendable, CustomStringConvertible {
    case badAddress(String)
    /// The server cannot be reached, or the connection broke again and again; what came is kept.
    case interrupted(url: String, reason: String)
    /// The server answered with a status that is no file.
    case refused(url: String, status: Int)
    /// 401 or 403.
    case credentials(url: String, status: Int)
    case tooLarge(url: String, limit: Int)
    case wrongHash(url: String, expected: String, found: String)
    case busy(path: String)
    case disk(path: String, reason: String)

    package var description: String {
        switch self {
        case .badAddress(let what): what
        case .interrupted(let url, let reason):
            "\(url) could not be downloaded: \(reason). Run the same command again: it continues where it stopped."
        case .refused(let url, let status): "\(url) is not served (HTTP \(status)). Check the address, or HF_ENDPOINT."
        case .credentials(let url, let status):
            "\(url) is not served without permission (HTTP \(status)). Set HF_TOKEN to a token that may read it."
        case .tooLarge(let url, let limit):
            "\(url) is larger than \(limit) bytes, which no file of ours is. Check the address."
        case .wrongHash(let url, let expected, let found):
            "\(url) is not the expected file: its SHA-256 is \(found), expected is \(expected). It was deleted; check "
                + "the address, or HF_ENDPOINT, and run the same command again."
        case .busy(let path): "\(path) is being downloaded by another process. Wait for it to end."
        case .disk(let path, let reason):
            "\(path) cannot be written: \(reason). Mend that and run the same command again."
        }
    }
}
