internal import Glibc

/// Where a server is to be found.
package struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// A numeric address.
    package var host: String
    package var port: UInt16

    /// Whether only programs of this machine reach it.
    package var isLoopback: Bool { host == "::1" || host.hasPrefix("127.") }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A socket that listens, without waiting, on the first address that its host has.
struct Listener {
    let descriptor: Int32
    let address: SocketAddress

    /// - Throws: `ServingError.cannotListen`.
    init(host: String, port: UInt16) throws(ServingError) {
        let name = "\(host):\(port)"
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &found)
        guard status == 0, let found else {
            throw .cannotListen(address: name, reason: String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(found) }
        descriptor = socket(found.pointee.ai_family, found.pointee.ai_socktype, 0)
        Listener.prepare(descriptor)
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard descriptor >= 0, bind(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0,
            listen(descriptor, 512) == 0, let address = Listener.address(of: descriptor)
        else {
            let reason = String(cString: strerror(errno))
            if descriptor >= 0 { close(descriptor) }
            throw .cannotListen(address: name, reason: reason)
        }
        self.address = address
    }

    /// No program started from here inherits the descriptor, and no call on it waits.
    static func prepare(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    private static func address(of descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let isKnown = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size) == 0
                    && getnameinfo(
                        $0, size, &host, socklen_t(host.count), &port, socklen_t(port.count),
                        Int32(NI_NUMERICHOST | NI_NUMERICSERV)) == 0
            }
        }
        guard isKnown, let number = UInt16(text(port)) else { return nil }
        return SocketAddress(host: text(host), port: number)
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
