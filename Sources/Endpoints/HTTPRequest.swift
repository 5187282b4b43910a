/// One exchange with a server: no redirect is followed, and nothing is tried twice.
package struct HTTPRequest: Sendable {
    package struct Header: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Takes the body of a 200 or 206 piece by piece on the client's thread; false stops the transfer.
    package typealias Receiver = @Sendable (HTTPResponse, UnsafeRawBufferPointer) -> Bool

    package var address: WebAddress
    package var headers: [Header]
    /// Posted; nil gets.
    package var body: [UInt8]?
    /// From the connection to the last byte of the response; nil waits as long as bytes keep coming.
    package var timeout: Duration?
    package var connectTimeout: Duration = .seconds(15)
    /// Of the body that is kept in memory, counted after decompression.
    package var bodyLimit = 8 << 20
    package var acceptsGzip = true
    package var receiver: Receiver?

    package init(_ address: WebAddress, headers: [Header] = [], body: [UInt8]? = nil, timeout: Duration?) {
        self.address = address
        self.headers = headers
        self.body = body
        self.timeout = timeout
    }
}

package struct HTTPResponse: Sendable {
    package var status: Int
    /// Names in lower case, in the order received.
    package var headers: [HTTPRequest.Header]
    package var body: [UInt8]

    package init(status: Int, headers: [HTTPRequest.Header] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}
