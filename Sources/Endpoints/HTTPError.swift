/// Why there is no HTTP response. What a server says with a status is a response, not an error.
package enum HTTPError: Error, Hashable, Sendable, CustomStringConvertible {
    case timedOut(String)
    case unknownHost(String)
    case cannotConnect(String)
    /// The server's certificate does not prove who it is.
    case untrusted(String)
    /// TLS failed for another reason than trust.
    case handshake(String)
    /// The connection broke: reset, or closed before the whole response was there.
    case broken(String)
    /// What arrived is not HTTP, or not in the encoding that it claims.
    case undecodable(String)
    case bodyTooLarge(limit: Int)
    case headersTooLarge(limit: Int)
    case badAddress(String)
    /// The receiver of the body wanted no more of it.
    case refusedByReceiver
    case cancelled
    case other(String)

    /// Whether the same request may well succeed a little later.
    package var isTransient: Bool {
        switch self {
        case .timedOut, .unknownHost, .cannotConnect, .handshake, .broken, .undecodable, .other: true
        case .untrusted, .bodyTooLarge, .headersTooLarge, .badAddress, .refusedByReceiver, .cancelled: false
        }
    }

    package var description: String {
        switch self {
        case .timedOut(let detail): "the time ran out (\(detail))"
        case .unknownHost(let detail): "the host has no address (\(detail))"
        case .cannotConnect(let detail): "no connection could be made (\(detail))"
        case .untrusted(let detail): "the server's certificate is not trusted (\(detail))"
        case .handshake(let detail): "TLS failed (\(detail))"
        case .broken(let detail): "the connection broke (\(detail))"
        case .undecodable(let detail): "the reply cannot be decoded (\(detail))"
        case .bodyTooLarge(let limit): "the reply is larger than \(limit) bytes"
        case .headersTooLarge(let limit): "the headers of the reply are larger than \(limit) bytes"
        case .badAddress(let detail): detail
        case .refusedByReceiver: "the transfer was stopped by its receiver"
        case .cancelled: "the request was cancelled"
        case .other(let detail): "the transfer failed (\(detail))"
        }
    }
}
