internal import Chat
internal import Glibc
internal import Statistics

/// The style of models' outputs to MT-Bench, which `show_result.py` knows nothing of.
package struct MTBenchStyles: Hashable, Sendable {
    /// By model and prompt, by turn from 0.
    private var styles: [String: [String: [OutputStyle]]] = [:]
    package var features: StyleFeatures

    package init(features: StyleFeatures) { self.features = features }

    package mutating func add(_ outputs: ModelOutputs) {
        for output in outputs.outputs {
            styles[outputs.name, default: [:]][output.prompt.key] = output.turns.map { OutputStyle($0) }
        }
    }

    /// Adds those of FastChat's `model_answer/<model>.jsonl`; the file's stem names the model.
    ///
    /// - Throws: `badData` naming the record without id, or with a turn that is no text.
    package mutating func add(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        let model = Files.stem(of: path)
        for (key, turns) in try ConversationOutputs.read(bytes, path: path) {
            styles[model, default: [:]][key] = turns.map { OutputStyle($0) }
        }
    }

    /// What models would score at equal style.
    struct Controlled {
        var values: [String: Interval] = [:]
        /// Of each feature.
        var effects: [Double]
    }

    /// - Parameter turn: from 1.
    /// - Throws: `badData` naming what lacks an output.
    private func style(of model: String, _ prompt: String, _ turn: Int) throws(EvaluationError) -> OutputStyle {
        guard let turns = styles[model]?[prompt], turns.indices.contains(turn - 1) else {
            throw .badData(
                "Style control needs \(model)'s output for turn \(turn) of prompt \(prompt), and there is none. Name the "
                    + "folder of the outputs with --answers, or leave the model out with --model-list.")
        }
        return turns[turn - 1]
    }

    /// A turn of a prompt: what the ratings that are compared with each other have in common.
    private struct Unit: Hashable {
        var prompt, turn: Int
    }

    /// Mean ratings at equal style; nil where the style cannot be told from the models.
    func ratings(
        _ annotations: [MTBenchAnnotation], resamples: Int, seed: UInt64
    ) throws(EvaluationError) -> Controlled? {
        let models = Set(annotations.map(\.model)).sorted()
        let prompts = Set(annotations.map(\.prompt)).sorted()
        let place = Dictionary(uniqueKeysWithValues: zip(prompts, prompts.indices))
        let number = Dictionary(uniqueKeysWithValues: zip(models, models.indices))
        let units = Set(annotations.map { Unit(prompt: place[$0.prompt] ?? 0, turn: $0.turn) }).sorted {
            ($0.prompt, $0.turn) < ($1.prompt, $1.turn)
        }
        let unit = Dictionary(uniqueKeysWithValues: zip(units, units.indices))
        var rows: [StyleControl.Rating] = []
        for annotation in annotations {
            guard let rating = annotation.rating, let prompt = place[annotation.prompt],
                let unit = unit[Unit(prompt: prompt, turn: annotation.turn)], let model = number[annotation.model]
            else { continue }
            // Lengths and counts spread over decades.
            let style = try style(of: annotation.model, annotation.prompt, annotation.turn)
            rows.append(
                StyleControl.Rating(
                    prompt: prompt, unit: unit, model: model, value: rating,
                    style: style.values(features).map { log1p($0) }))
        }
        return StyleControl.ratings(rows, models: models.count, resamples: resamples, seed: seed)
            .map { MTBenchStyles.named($0, models) }
    }

    /// Win rates at equal style, 0...1; nil where no fit is found, or the style cannot be told from the models.
    func winRates(
        _ pairs: [MTBenchPair], baseline: String?, resamples: Int, seed: UInt64
    ) throws(EvaluationError) -> Controlled? {
        let models = Set(pairs.flatMap { [$0.first, $0.second] }).sorted()
        let prompts = Set(pairs.map(\.prompt)).sorted()
        let place = Dictionary(uniqueKeysWithValues: zip(prompts, prompts.indices))
        let number = Dictionary(uniqueKeysWithValues: zip(models, models.indices))
        var games: [StyleControl.Game] = []
        for pair in pairs {
            guard let preference = pair.preferenceForFirst, let prompt = place[pair.prompt],
                let first = number[pair.first], let second = number[pair.second]
            else { continue }
            let own = try style(of: pair.first, pair.prompt, pair.turn)
            let other = try style(of: pair.second, pair.prompt, pair.turn)
            games.append(
                StyleControl.Game(
                    prompt: prompt, first: first, second: second, preference: preference,
                    difference: own.difference(from: other, features)))
        }
        let scores = StyleControl.winRates(
            games, models: models.count, baseline: baseline.flatMap { number[$0] }, resamples: resamples, seed: seed)
        return scores.map { MTBenchStyles.named($0, models) }
    }

    private static func named(_ scores: StyleControl.Scores, _ models: [String]) -> Controlled {
        var named = Controlled(effects: scores.effects)
        for (model, value) in zip(models, scores.values) { named.values[model] = value }
        return named
    }
}
