import Evaluation
import Glibc

/// A program that runs to its end.
struct ChildCommand {
    struct End {
        /// As a shell gives it: 128 and the signal where one ended it.
        var code: Int32
        var seconds: Double
        /// The most memory that it had at a time.
        var peakBytes: Int
    }

    let words: [String]
    /// A file that takes what it prints; where ours goes when nil.
    var log: String?
    /// A file that takes its standard output alone.
    var output: String?

    /// - Throws: `EvaluationError.missingInput` where it cannot be started.
    func run() throws(EvaluationError) -> End {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let log {
            posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        if let output { posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o644) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // What this process ignores, to finish in its own time, would be ignored by the other as well.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGPIPE] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        let start = ContinuousClock.now
        var process: pid_t = 0
        let status = posix_spawnp(&process, words[0], &actions, &attributes, &arguments, environ)
        guard status == 0 else {
            throw .missingInput("\(words[0]) cannot be started: \(String(cString: strerror(status))).")
        }
        var result: Int32 = 0
        var usage = rusage()
        while wait4(process, &result, 0, &usage) < 0, errno == EINTR {}
        // The status word of a process that ended by itself holds its code in the second byte.
        return End(
            code: result & 0x7f == 0 ? result >> 8 & 0xff : 128 + result & 0x7f,
            seconds: (ContinuousClock.now - start) / .seconds(1), peakBytes: usage.ru_maxrss << 10)
    }
}
