import ArgumentParser
import Chat
import Evaluation
import Inference
import LanguageModel
import Tokenization

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "The checkpoints that the engine loads.",
        subcommands: [List.self, Inspect.self, Verify.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The families that the engine computes.")

        func run() {
            for type in ModelConfiguration.knownTypes { Console.data("\(type)\n") }
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Architecture, parameters, chat template, special tokens and the first rendered prompt.")

        @Argument(help: "A checkpoint folder.") var folder: String
        @Option(help: "What the rendered prompt asks.") var prompt = "What is the capital of France?"
        @Option(help: "A Jinja file used instead of the checkpoint's own chat template.") var chatTemplate: String?
        @Flag(help: "Print JSON.") var json = false

        func run() throws {
            let inspection = try ModelInspection(folder: folder)
            let format = try PromptFormat(
                folder: folder, template: try EngineOptions.template(chatTemplate),
                generationEndTokens: inspection.checkpoint.generationEndTokens)
            let report = try self.report(inspection, format)
            Console.data(json ? report.text(.indented(2)) + "\n" : ModelsCommand.table(report))
            if let fault = inspection.comparison.firstFault(in: folder) { throw fault }
        }

        private func report(_ inspection: ModelInspection, _ format: PromptFormat) throws -> JSONValue {
            let checkpoint = inspection.checkpoint
            let c = checkpoint.configuration
            var report: JSONObject = [
                "model_type": .string(c.modelType), "parameters": .integer(c.parameterCount),
                "layers": .integer(c.layers.count), "hidden_size": .integer(c.hiddenSize),
                "intermediate_size": .integer(c.intermediateSize), "heads": .integer(c.headCount),
                "key_value_heads": .integer(c.keyValueHeadCount), "head_size": .integer(c.headSize),
                "vocabulary_size": .integer(c.vocabularySize), "context_length": .integer(c.contextLength),
                "sliding_window": JSONValue(c.layers.compactMap(\.window).first),
                "tied_embeddings": .bool(c.isTied),
                "dtype": .string(inspection.types.map(\.dataType.rawValue).joined(separator: ", ")),
                "fingerprint": .string(checkpoint.fingerprint),
                "missing_tensors": names(inspection.comparison.missing),
                "misshapen_tensors": names(inspection.comparison.misshapen.map(\.name)),
                "mistyped_tensors": names(inspection.comparison.mistyped),
                "unexpected_tensors": names(inspection.comparison.unexpected),
                "ignored_tensors": names(inspection.comparison.ignored),
                "tokenizer_vocabulary": .integer(format.tokenizer.vocabularySize),
                "begin_token": token(format.configuration.beginToken, format),
                "end_tokens": .array(
                    format.endTokens.sorted().map { .string("\(format.tokenizer.token($0) ?? "?") (\($0))") }),
                "pad_token": token(format.configuration.padToken, format),
                "chat_template_sha256": JSONValue(format.template?.sha256),
            ]
            if format.template != nil {
                let messages = [Message.user(prompt)]
                let ids = try format.ids(messages)
                report["first_prompt"] = .string(try format.text(messages))
                report["first_prompt_ids"] = .array(ids.map { .integer(Int($0)) })
            }
            return .object(report)
        }

        private func names(_ tensors: [String]) -> JSONValue { .array(tensors.map(JSONValue.string)) }

        private func token(_ text: String?, _ format: PromptFormat) -> JSONValue {
            guard let text else { return .null }
            return .string("\(text) (\(format.tokenizer.id(of: text).map { "\($0)" } ?? "not in the vocabulary"))")
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Every shape against config.json, every weight finite, and the files' SHA-256.")

        @Argument(help: "A checkpoint folder.") var folder: String

        func run() throws {
            let inspection = try ModelInspection(folder: folder)
            if let fault = inspection.comparison.firstFault(in: folder) { throw fault }
            let verification = inspection.verify()
            for file in verification.files { Console.data("\(file.sha256)  \(file.path)\n") }
            if let first = verification.nonFinite.first {
                throw EvaluationError.badData(
                    "\(folder): \(verification.nonFinite.count) tensors hold values that are not finite; the first is "
                        + "\(first.tensor)[\(first.index)] = \(first.value), \(first.count) in that tensor. The "
                        + "checkpoint is damaged: take an earlier one, or copy it again.")
            }
            Console.data(
                "\(inspection.checkpoint.tensors.count) tensors have the shapes of config.json, and every weight is "
                    + "finite.\n")
        }
    }

    private static func table(_ report: JSONValue) -> String {
        (report.object?.members ?? []).map { member in
            let value =
                switch member.value {
                case .string(let text): text
                case .array(let items): items.map { $0.string ?? $0.text() }.joined(separator: " ")
                default: member.value.text()
                }
            return "\(member.key)\(String(repeating: " ", count: max(1, 24 - member.key.count)))\(value)\n"
        }.joined()
    }
}
