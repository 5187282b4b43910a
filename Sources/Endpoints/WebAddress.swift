internal import CCurl
internal import Glibc

/// An http or https address as libcurl itself reads it, so that what is checked is what is connected to.
package struct WebAddress: Hashable, Sendable, CustomStringConvertible {
    package private(set) var scheme: String
    /// Lower case; IPv6 in its brackets.
    package private(set) var host: String
    package private(set) var port: String?
    package private(set) var path: String
    /// With its question mark, or empty.
    package private(set) var query: String

    /// - Parameter base: what a relative `text` (a redirect's, say) is relative to.
    /// - Throws: `badAddress` for another scheme, for user and password in the address, for anything malformed.
    package init(_ text: String, relativeTo base: WebAddress? = nil) throws(HTTPError) {
        guard let url = curl_url() else { throw .other("out of memory") }
        defer { curl_url_cleanup(url) }
        if let base { curl_url_set(url, CURLUPART_URL, base.text, 0) }
        // The text itself may hold a password: no message repeats it.
        switch curl_url_set(url, CURLUPART_URL, text, UInt32(CURLU_DISALLOW_USER)) {
        case CURLUE_OK: break
        case CURLUE_USER_NOT_ALLOWED:
            throw .badAddress("An address must not hold a user or a password. Put the key into the environment.")
        default: throw .badAddress("An address is malformed. Write it as https://host/path.")
        }
        scheme = WebAddress.part(url, CURLUPART_SCHEME) ?? ""
        host = (WebAddress.part(url, CURLUPART_HOST) ?? "").lowercased()
        port = WebAddress.part(url, CURLUPART_PORT)
        path = WebAddress.part(url, CURLUPART_PATH) ?? "/"
        query = WebAddress.part(url, CURLUPART_QUERY).map { "?\($0)" } ?? ""
        guard scheme == "http" || scheme == "https" else {
            throw .badAddress("An address must begin with https:// or http://, not with \(scheme)://.")
        }
    }

    private static func part(_ url: OpaquePointer, _ part: CURLUPart) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(url, part, &text, 0) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }

    /// Scheme, host and port.
    package var origin: String { "\(scheme)://\(host)\(port.map { ":\($0)" } ?? "")" }

    package var text: String { origin + path + query }

    /// Without the query, which may hold a key.
    package var description: String { origin + path.trimmingSuffix("/") }

    /// The address `suffix` below this one; the query stays.
    package func appending(_ suffix: String) -> WebAddress {
        var address = self
        address.path = path.trimmingSuffix("/") + suffix
        return address
    }

    package var isLoopback: Bool {
        if host == "localhost" || host.hasSuffix(".localhost") || host == "[::1]" { return true }
        return ipv4.map { $0 >> 24 == 127 } ?? false
    }

    /// Loopback, a private network's literal address, or a name that only a private network can resolve.
    package var isPrivate: Bool {
        if isLoopback { return true }
        if let ipv4 {
            return ipv4 >> 24 == 10 || ipv4 >> 20 == 0xAC1 || ipv4 >> 16 == 0xC0A8 || ipv4 >> 16 == 0xA9FE
                || ipv4 >> 22 == 0x191  // 100.64/10, carriers' and overlay networks'
        }
        if host.hasPrefix("[") {
            return host.hasPrefix("[fc") || host.hasPrefix("[fd") || host.hasPrefix("[fe8") || host.hasPrefix("[fe9")
                || host.hasPrefix("[fea") || host.hasPrefix("[feb")
        }
        return !host.contains(".") || host.hasSuffix(".local") || host.hasSuffix(".internal")
    }

    private var ipv4: UInt32? {
        var address = in_addr()
        return inet_pton(AF_INET, host, &address) == 1 ? UInt32(bigEndian: address.s_addr) : nil
    }
}

extension String {
    func trimmingSuffix(_ suffix: String) -> String {
        var text = self[...]
        while text.hasSuffix(suffix) { text.removeLast(suffix.count) }
        return String(text)
    }
}
