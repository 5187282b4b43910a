import ArgumentParser
import Chat
import Evaluation
import LanguageModel
import Training

struct AnalyzeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "analyze", abstract: "What a trained model's rewards and likelihoods say of held-out pairs.",
        discussion: """
            Reward accuracy with its interval, the correlation of likelihood and length, how reward and likelihood rank \
            the same pairs, margins and lengths, and what the training took: the analyses of the SimPO paper. The recipe says the objective and how \
            the pairs become tokens.
            """)

    @Argument(help: "The recipe that the model was trained by.") var recipe: String
    @Option(help: "The trained model; the recipe's output_dir when left out.") var model: String?
    @Option(help: "The reference model of DPO and its like; the recipe's base when left out.") var reference: String?
    @Option(parsing: .upToNextOption, help: "Held-out pairs; the recipe's eval_files when left out.")
    var evalFiles: [String] = []
    @Option(help: "A folder for plots, as SVG.") var plots: String?
    @OptionGroup var threading: ThreadOptions
    @Flag(help: "JSON instead of a table.") var json = false

    func run() async throws {
        var recipe = try Recipe(path: recipe)
        let base = recipe.model
        recipe.override(model: reference, output: model, trainFiles: [], evalFiles: evalFiles)
        guard let folder = recipe.output else {
            throw EvaluationError.configuration("No model is named. Name the trained model's folder with --model.")
        }
        guard !recipe.heldOutFiles.isEmpty else {
            throw EvaluationError.configuration("No held-out pairs are named. Name their files with --eval-files.")
        }
        // Whatever the objective trains on, the analyses compare the two rows of a pair.
        var settings = recipe.data
        settings.use = .pairs
        let tokenizer = LoRAAdapterFile.isAdapter(folder) ? try Self.base(of: folder, base) : folder
        let data = try PreparedData(files: recipe.heldOutFiles, folder: tokenizer, settings: settings)
        Console.note(data.report.text)
        var logProbs = try Self.logProbs(folder, base, data, recipe, threading.threads)
        if recipe.objective.needsReference {
            guard let reference = recipe.model else {
                throw EvaluationError.configuration(
                    "\(recipe.method) compares to a reference model, and none is named. Name it with --reference.")
            }
            for (place, row) in try Self.logProbs(reference, base, data, recipe, threading.threads).enumerated() {
                logProbs[place].chosen?.reference = row.chosen?.sum
                logProbs[place].rejected?.reference = row.rejected?.sum
            }
        }
        let pairs = try Self.evaluated(logProbs, recipe.objective)
        let analysis = try RewardAnalysis(pairs)
        if let plots { try AnalysisPlots(analysis, pairs).write(to: plots) }
        let cost = try TrainingCost(folder: folder)
        guard json else { return Console.data(analysis.table + (cost?.line ?? "")) }
        var object = analysis.json
        object["training"] = cost.map { .object($0.json) } ?? .null
        Console.data(JSONValue.object(object).text(.indented(2)) + "\n")
    }

    private static func logProbs(
        _ folder: String, _ base: String?, _ data: PreparedData, _ recipe: Recipe, _ threads: Int?
    ) throws -> [PairLogProbs] {
        guard let kernels = Kernels(pool: ThreadPool(threadCount: threads)) else {
            preconditionFailure("plain C runs everywhere")
        }
        let isAdapter = LoRAAdapterFile.isAdapter(folder)
        let checkpoint = try Checkpoint(folder: isAdapter ? Self.base(of: folder, base) : folder)
        try data.check(for: checkpoint.configuration, in: checkpoint.folder)
        var adapters: (store: ParameterStore, lora: LoRAScale)?
        if isAdapter {
            let file = try LoRAAdapterFile(folder: folder, for: checkpoint.configuration)
            adapters = (file.store, LoRAScale(rank: file.settings.rank, scale: Float(file.settings.scale)))
        }
        let model = TrainableModel(
            configuration: checkpoint.configuration, weights: try ParameterStore(checkpoint, isTrained: false),
            adapters: adapters, kernels: kernels, format: recipe.precision)
        return TrainingPass.passes(
            data.pairs, limit: recipe.settings.rowsPerPass, withPrompts: recipe.objective.needsPromptLogProbs
        ).flatMap(model.logProbs)
    }

    /// The base that the adapter names, or where there is no such folder the recipe's.
    private static func base(of adapter: String, _ recipes: String?) throws -> String {
        if let named = try LoRAAdapterFile.base(of: adapter), Files.isFolder(named) { return named }
        guard let recipes else {
            throw EvaluationError.configuration(
                "\(adapter) is an adapter, and the base that it names is not here. Write model_name_or_path into the "
                    + "recipe.")
        }
        return recipes
    }

    /// Fine-tuning has no reward: its average log-probability stands for one.
    private static func evaluated(_ logProbs: [PairLogProbs], _ objective: Objective) throws -> [EvaluatedPair] {
        let size = BatchSize(examples: logProbs.count, chosenTargets: 1, chosenTokens: 1)
        return try logProbs.enumerated().map { place, pair in
            guard let chosen = pair.chosen, let rejected = pair.rejected else {
                throw EvaluationError.badData(
                    "Held-out example \(place + 1) is no pair. Analyses take chosen and rejected.")
            }
            // A row-wise objective is asked for each row by itself.
            let parts =
                objective.isPaired
                ? [pair] : [PairLogProbs(chosen: chosen, rejected: nil), PairLogProbs(chosen: nil, rejected: rejected)]
            var rewards: (chosen: Double?, rejected: Double?) = (nil, nil)
            if case .sft = objective {
                rewards = (chosen.average, rejected.average)
            } else {
                for part in parts {
                    let loss = objective.evaluate([part], in: size)
                    rewards.chosen = rewards.chosen ?? loss.chosenRewards[0]
                    rewards.rejected = rewards.rejected ?? loss.rejectedRewards[0]
                }
            }
            return EvaluatedPair(
                chosen: chosen, rejected: rejected, chosenReward: rewards.chosen ?? chosen.average,
                rejectedReward: rewards.rejected ?? rejected.average)
        }
    }
}

extension RewardAnalysis {
    /// For a terminal.
    var table: String {
        func percent(_ accuracy: Accuracy) -> String {
            let parts = [accuracy.fraction, accuracy.lower, accuracy.upper].map { "\(($0 * 1_000).rounded() / 10)" }
            return "\(parts[0]) % [\(parts[1]), \(parts[2])], \(accuracy.ties) ties, n \(accuracy.count)"
        }
        func short(_ value: Double?) -> String { value.map { "\(($0 * 1e4).rounded() / 1e4)" } ?? "-" }
        func line(_ one: Distribution) -> String {
            "\(short(one.mean)) (median \(short(one.median)), 5 % \(short(one.percentile5)), "
                + "95 % \(short(one.percentile95)))"
        }
        return """
            reward accuracy       \(percent(rewardAccuracy))
            likelihood accuracy   \(percent(likelihoodAccuracy))
            likelihood ~ length   Spearman \(short(likelihoodLengthCorrelation))
            reward and likelihood agree: both \(contingency.both), neither \(contingency.neither); \
            reward only \(contingency.rewardOnly), likelihood only \(contingency.likelihoodOnly)
            margin                \(line(margins))
            chosen, reward        \(line(chosenRewards))
            rejected, reward      \(line(rejectedRewards))
            chosen, tokens        \(line(chosenLengths))
            rejected, tokens      \(line(rejectedLengths))

            """
    }

    var json: JSONObject {
        [
            "schema": "evalharness.analysis/1",
            "reward_accuracy": rewardAccuracy.json, "likelihood_accuracy": likelihoodAccuracy.json,
            "likelihood_length_spearman": likelihoodLengthCorrelation.map(JSONValue.number) ?? .null,
            "contingency": [
                "both": .integer(contingency.both), "reward_only": .integer(contingency.rewardOnly),
                "likelihood_only": .integer(contingency.likelihoodOnly), "neither": .integer(contingency.neither),
            ],
            "margins": margins.json, "chosen_rewards": chosenRewards.json, "rejected_rewards": rejectedRewards.json,
            "chosen_likelihoods": chosenLikelihoods.json, "rejected_likelihoods": rejectedLikelihoods.json,
            "chosen_lengths": chosenLengths.json, "rejected_lengths": rejectedLengths.json,
            "margin_histogram": .array(marginHistogram.map(\.json)),
            "margins_by_length_difference": .array(marginsByLengthDifference.map(\.json)),
        ]
    }
}

extension TrainingCost {
    fileprivate var line: String {
        "training              \((seconds * 10).rounded() / 10) s for \(steps) steps, \(peakBytes >> 20) MiB at most\n"
    }
}

extension RewardAnalysis.Accuracy {
    fileprivate var json: JSONValue {
        [
            "value": .number(fraction), "ci95": [.number(lower), .number(upper)], "correct": .integer(correct),
            "ties": .integer(ties), "n": .integer(count), "method": "Wilson",
        ]
    }
}

extension RewardAnalysis.Distribution {
    fileprivate var json: JSONValue {
        [
            "mean": .number(mean), "standard_deviation": standardDeviation.map(JSONValue.number) ?? .null,
            "minimum": .number(minimum), "p5": .number(percentile5), "p25": .number(percentile25),
            "median": .number(median), "p75": .number(percentile75), "p95": .number(percentile95),
            "maximum": .number(maximum),
        ]
    }
}

extension RewardAnalysis.Bin {
    fileprivate var json: JSONValue {
        [
            "lower": .number(lower), "upper": .number(upper), "n": .integer(count),
            "mean_margin": meanMargin.map(JSONValue.number) ?? .null,
        ]
    }
}
