import ArgumentParser

/// How many threads the training engine has.
struct ThreadOptions: ParsableArguments {
    @Option(help: "Threads; all cores when left out.") var threads: Int?

    mutating func validate() throws {
        if let threads, !(1...1_024).contains(threads) { throw ValidationError("--threads takes 1 to 1024.") }
    }
}
