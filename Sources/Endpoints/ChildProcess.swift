internal import CCurl
internal import Glibc
internal import Synchronization

/// A program in a process group of its own, with a pipe to its standard input and one from its standard output; its
/// standard error is ours. For one thread.
final class ChildProcess {
    struct Failure: Error {
        var reason: String
    }

    /// All of the environment that a stranger's program sees.
    private static let passedOn = ["PATH", "HOME", "LANG", "TMPDIR"]

    let input: Int32
    let output: Int32
    var outgoing: [UInt8] = []
    private(set) var incoming: [UInt8] = []
    /// How much of `incoming` is known to hold no line end.
    private var searched = 0
    private(set) var process: pid_t = 0

    init(path: String, arguments: [String]) throws(Failure) {
        guard let toChild = makePipe() else { throw Failure(reason: reason(errno)) }
        guard let fromChild = makePipe() else {
            let failure = Failure(reason: reason(errno))
            close(toChild.read)
            close(toChild.write)
            throw failure
        }
        input = toChild.write
        output = fromChild.read
        let status = ChildProcess.spawn(&process, path, arguments, input: toChild.read, output: fromChild.write)
        close(toChild.read)
        close(fromChild.write)
        if status != 0 {
            process = 0
            throw Failure(reason: reason(status))
        }
        for descriptor in [input, output] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
    }

    deinit {
        end()
        close(input)
        close(output)
    }

    /// Kills the whole group.
    ///
    /// - Returns: how the program ended, if it was already ending, as the rest of a sentence that its name begins.
    @discardableResult
    func end() -> String {
        if process == 0 { return "has ended" }
        var status: Int32 = 0
        var waited = waitpid(process, &status, WNOHANG)
        for _ in 0..<10 where waited == 0 && isAtEnd {  // its output is closed: it is about to exit
            poll(nil, 0, 10)
            waited = waitpid(process, &status, WNOHANG)
        }
        kill(-process, SIGKILL)
        let endedItself = waited == process
        if !endedItself { waitpid(process, &status, 0) }
        process = 0
        let signal = status & 0x7F
        if !endedItself { return "closed its output" }
        return signal == 0 ? "exited with status \((status >> 8) & 0xFF)" : "was ended by signal \(signal)"
    }

    private var isAtEnd = false

    /// Writes as much as the pipe takes.
    func flush() {
        let count = write(input, outgoing, outgoing.count)
        if count > 0 { outgoing.removeFirst(count) }
        if count < 0, errno == EPIPE { outgoing.removeAll() }  // its end shows on the output
    }

    /// Reads what is there; false at the end of the output.
    func fill() -> Bool {
        let chunk = 1 << 16
        let count = withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 1) { buffer in
            let count = read(output, buffer.baseAddress, chunk)
            if count > 0 { incoming.append(contentsOf: buffer[..<count]) }
            return count
        }
        isAtEnd = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)
        return !isAtEnd
    }

    /// The next whole line, without its end.
    func nextLine() -> ArraySlice<UInt8>? {
        guard let end = incoming[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = incoming.count
            return nil
        }
        let line = incoming[..<end]
        incoming.removeFirst(end + 1)
        searched = 0
        return line
    }

    static func executablePath(_ name: String) -> String? {
        if name.contains("/") { return access(name, X_OK) == 0 ? name : nil }
        let folders = (environment("PATH") ?? "/usr/bin:/bin").split(separator: ":")
        return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    private static func spawn(
        _ process: inout pid_t, _ path: String, _ arguments: [String], input: Int32, output: Int32
    ) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)  // the sockets and files of this process

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)  // our thread blocks all of them
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var argv = arguments.map { strdup($0) } + [nil]
        var environmentList = passedOn.compactMap { name in environment(name).map { strdup("\(name)=\($0)") } } + [nil]
        defer { for text in argv + environmentList { free(text) } }
        return spawning.withLock { _ in
            posix_spawn(&process, path, &actions, &attributes, &argv, &environmentList)
        }
    }
}

/// Held from the making of a pipe until no other program can inherit it: an end that strays hides the end of the
/// output.
private let spawning = Mutex(())

/// A pipe that no program inherits, or nil with `errno`.
func makePipe() -> (read: Int32, write: Int32)? {
    spawning.withLock { _ in
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }
}

func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
