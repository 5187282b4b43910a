import ArgumentParser
import Chat
import Evaluation
import Inference
import Tokenization

/// The flags of a model on this machine.
struct EngineOptions: ParsableArguments {
    @Option(help: "What weights are kept as: auto (bf16 where stored so, else f32), f32, bf16, int8 or w8a8.")
    var dtype = "auto"

    @Option(help: "Threads of the engine; all cores when left out.")
    var threads: Int?

    @Option(help: "Memory for keys and values, in GiB; half of the free memory when left out.")
    var cacheMemory: Double?

    @Option(help: "A Jinja file used instead of the checkpoint's own chat template.")
    var chatTemplate: String?

    mutating func validate() throws {
        if LocalChatModel.Precision(rawValue: dtype) == nil {
            let known = LocalChatModel.Precision.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--dtype takes \(known).")
        }
        if let threads, !(1...1_024).contains(threads) { throw ValidationError("--threads takes 1 to 1024.") }
        if let cacheMemory, !(cacheMemory > 0 && cacheMemory < 1e6) {
            throw ValidationError("--cache-memory takes a number of GiB above 0.")
        }
    }

    /// The checkpoint in `folder`, ready to answer.
    func open(_ folder: String, concurrency: Int?) throws -> LocalChatModel {
        guard Files.isFolder(folder) else {
            throw EvaluationError.missingInput(
                "There is no checkpoint folder \(folder). Name a folder with config.json, tokenizer.json and "
                    + "model.safetensors.")
        }
        var settings = LocalChatModel.Settings()
        settings.precision = LocalChatModel.Precision(rawValue: dtype) ?? .automatic
        settings.threads = threads
        settings.maxConcurrentRequests = concurrency ?? settings.maxConcurrentRequests
        settings.engine.cacheBytes = cacheMemory.map { Int($0 * Double(1 << 30)) }
        settings.chatTemplate = try Self.template(chatTemplate)
        return try LocalChatModel(folder: folder, name: Files.name(of: folder), settings: settings)
    }

    /// The SHA-256 of the template that conversations with the checkpoint are written by.
    func templateSHA256(_ folder: String) -> String? {
        if chatTemplate != nil { return try? Self.template(chatTemplate)?.sha256 }
        return try? TokenizerConfiguration(folder: folder).chatTemplate?.sha256
    }

    /// The template in a file; nil for no file.
    static func template(_ path: String?) throws -> ChatTemplate? {
        try path.map {
            try ChatTemplate(source: try Files.readText($0, asked: "The chat template"), name: Files.name(of: $0))
        }
    }
}
