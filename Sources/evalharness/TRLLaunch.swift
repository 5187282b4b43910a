import ArgumentParser
import Chat
import Evaluation
import Glibc

/// Trains with TRL in a Python environment that the user names.
struct TRLOptions: ParsableArguments {
    @Option(help: "native, or trl: TRL in a Python environment of yours, on GPUs or several machines.")
    var engine = "native"
    @Option(help: "TRL's Python.") var python = "python3"
    @Option(help: "Processes on this machine, for TRL.") var processes = 1
    @Option(help: "What starts the program instead of Python: \"accelerate launch --config_file FILE\", \"srun …\".")
    var launcher: String?

    mutating func validate() throws {
        if !["native", "trl"].contains(engine) { throw ValidationError("--engine takes native or trl.") }
        if !(1...1_024).contains(processes) { throw ValidationError("--processes takes 1 to 1024.") }
        if launcher != nil, processes > 1 {
            throw ValidationError("--launcher says by itself how many processes there are: leave out --processes.")
        }
    }

    var isTRL: Bool { engine == "trl" }

    /// Runs the program and waits for its end; what it prints goes where ours goes.
    ///
    /// - Throws: `EvaluationError.missingInput` where it cannot be started, `ExitCode` where it fails.
    func start(_ program: String, run: String) throws {
        var words = launcher.map { $0.split(separator: " ").map(String.init) } ?? [python]
        if processes > 1 { words += ["-m", "torch.distributed.run", "--nproc-per-node", "\(processes)"] }
        words += [program, run]
        Console.note(words.joined(separator: " "))
        var arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let status = posix_spawnp(&process, words[0], nil, nil, &arguments, environ)
        guard status == 0 else {
            throw EvaluationError.missingInput(
                "\(words[0]) cannot be started: \(String(cString: strerror(status))). Name a Python that has TRL with "
                    + "--python.")
        }
        var result: Int32 = 0
        while waitpid(process, &result, 0) < 0, errno == EINTR {}
        // The status word of a process that ended by itself holds its code in the second byte.
        let code = result & 0x7f == 0 ? result >> 8 & 0xff : 128 + result & 0x7f
        if code != 0 {
            Console.error("TRL ended with code \(code). Its last lines say why; \(run) is kept.")
            throw ExitCode(code)
        }
    }
}
