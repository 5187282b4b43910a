import ArgumentParser
import Chat
import Evaluation
import Evidence
import Inference

/// The flags of every command that asks models: who judges, how much at once, at what cost, and what is kept.
struct AskingOptions: ParsableArguments {
    @Option(help: "Who answers as the judge, in the same spelling as --model; also annotations:FILE and replay:STORE.")
    var judgeModel: String?

    @Option(help: "Calls in flight at once, to each server where several are named.")
    var concurrency: Int?

    @Option(help: "Stop before the calls to models could cost more than this many US dollars.")
    var maxCost: Double?

    @Option(help: "What models cost: a YAML file in the form of judges/prices.yaml, which is taken when left out.")
    var prices: String?

    @Flag(help: "Say what would be asked, and ask nothing.")
    var dryRun = false

    @Flag(help: "Answer from recorded evidence only; never open a connection.")
    var offline = false

    @Option(help: "The environment variable that holds the key of the model's endpoint.")
    var apiKeyEnv: String?

    @Option(help: "The environment variable that holds the key of the judge's endpoint.")
    var judgeApiKeyEnv: String?

    @Flag(help: "Allow plain http to hosts beyond this machine and its private network.")
    var allowHTTP = false

    @Option(help: "Attempts for one request before it counts as failed.")
    var attempts: Int = 6

    @Option(help: "Ask the judge so many more times where its reply holds no verdict.")
    var retryUnparsable = 0

    @Option(help: "The evidence store; XDG_STATE_HOME/evalharness/evidence.sqlite when left out.")
    var evidence: String?

    @Flag(help: "No progress on stderr.")
    var noProgress = false

    @OptionGroup var engine: EngineOptions

    mutating func validate() throws {
        if let concurrency, !(1...1024).contains(concurrency) {
            throw ValidationError("--concurrency takes 1 to 1024.")
        }
        if let maxCost, !(maxCost >= 0 && maxCost.isFinite) {
            throw ValidationError("--max-cost takes 0 or more dollars.")
        }
        if retryUnparsable < 0 { throw ValidationError("--retry-unparsable takes 0 or more.") }
        if attempts < 1 { throw ValidationError("--attempts takes 1 or more.") }
    }

    /// What `model` costs; nil where nobody says.
    ///
    /// - Parameter known: by its judge's own definition.
    func price(of model: any ChatModel, known: JudgeDefinition.Prices? = nil) throws -> JudgeDefinition.Prices? {
        if prices == nil, let known { return known }
        return try priceFile()[model.fingerprint] ?? known
    }

    func priceFile() throws -> PriceFile {
        try PriceFile(path: try prices ?? "\(Environment.definitionsHome())/judges/prices.yaml")
    }

    /// What a run may spend on `model`; nil where its calls cost nothing that is known.
    ///
    /// - Throws: `configuration` where there is a limit and no price to keep it by.
    func spending(
        on model: any ChatModel, of budget: Budget, known: JudgeDefinition.Prices? = nil
    ) throws -> Spending? {
        if let price = try price(of: model, known: known) { return Spending(of: budget, price: price.cost) }
        guard maxCost != nil, !(model is LocalChatModel) else { return nil }
        throw EvaluationError.configuration(
            "--max-cost needs the price of \(model.fingerprint), and no price file has one. Name a file of your own with "
                + "--prices, in the form of judges/prices.yaml.")
    }

    func openStore() throws -> EvidenceStore {
        let path = evidence ?? "\(Environment.stateHome)/evalharness/evidence.sqlite"
        try Files.makeFolder(Files.parent(of: path))
        return try EvidenceStore(path: path)
    }
}
