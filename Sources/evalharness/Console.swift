import Chat
import Evaluation
import Glibc

/// stdout is data; stderr is words. Nothing leaves without the known keys blotted out.
enum Console {
    static func data(_ text: String) { write(text, to: 1) }

    static func note(_ text: String) { write("\(text)\n", to: 2) }

    /// Part of a line, for a bar that redraws itself.
    static func progress(_ text: String) { write(text, to: 2) }

    static func error(_ text: String) { write("evalharness: \(text)\n", to: 2) }

    static var isErrorTerminal: Bool { isatty(2) == 1 }

    private static func fail(_ sentence: String, code: Int32) -> Never {
        error(sentence)
        exit(code)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        let clean = Environment.secrets.reduce(text) { $1.redact($0) }
        let bytes = Array(clean.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                offset += count
            } else if errno == EPIPE {
                return  // the reader has had enough
            } else if errno != EINTR {
                // Data that did not arrive must not look like success.
                if descriptor == 1 { fail("Standard output cannot be written: \(Files.reason(errno)).", code: 74) }
                return
            }
        }
    }
}
