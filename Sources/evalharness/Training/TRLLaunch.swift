import ArgumentParser
import Evaluation

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
    /// - Throws: `EvaluationError.missingInput` where there is no such program, `ExitCode` where it fails: 69, or as a shell
    ///   says it where a signal ended it.
    func start(_ program: String, run: String) throws {
        var words = launcher.map { $0.split(separator: " ").map(String.init) } ?? [python]
        if processes > 1 { words += ["-m", "torch.distributed.run", "--nproc-per-node", "\(processes)"] }
        words += [program, run]
        Console.note(words.joined(separator: " "))
        let code = try ChildCommand(words: words).run().code
        if code != 0 {
            Console.error("TRL ended with code \(code). Its last lines say why; \(run) is kept.")
            // Its 1 is no verdict of ours.
            throw ExitCode(code > 128 ? code : 69)
        }
    }
}
