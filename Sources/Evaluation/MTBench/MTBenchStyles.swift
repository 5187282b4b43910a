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
    /// - Throws: `badData` naming the record without id.
    package mutating func add(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        let model = Files.stem(of: path)
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let key = record["question_id"]?.identifier else {
                throw .badData("\(path), record \(index + 1) should have a question_id. Is it an output of MT-Bench?")
            }
            let turns = record["choices"]?[0]?["turns"]?.array ?? []
            styles[model, default: [:]][key] = turns.compactMap(\.string).map { OutputStyle($0) }
        }
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

    /// Mean ratings at equal style, by model; nil where the style cannot be told from the models.
    func ratings(
        _ annotations: [MTBenchAnnotation], resamples: Int, seed: UInt64
    ) throws(EvaluationError) -> [String: Interval]? {
        let models = Set(annotations.map(\.model)).sorted()
        let prompts = Set(annotations.map(\.prompt)).sorted()
        let place = Dictionary(uniqueKeysWithValues: zip(prompts, prompts.indices))
        let number = Dictionary(uniqueKeysWithValues: zip(models, models.indices))
        var rows: [StyleControl.Rating] = []
        for annotation in annotations {
            guard let rating = annotation.rating, let prompt = place[annotation.prompt],
                let model = number[annotation.model]
            else { continue }
            // Lengths and counts spread over decades.
            let style = try style(of: annotation.model, annotation.prompt, annotation.turn)
            rows.append(
                StyleControl.Rating(
                    prompt: prompt, unit: 2 * prompt + annotation.turn - 1, model: model, value: rating,
                    style: style.values(features).map { log1p($0) }))
        }
        guard let scores = StyleControl.ratings(rows, models: models.count, resamples: resamples, seed: seed) else {
            return nil
        }
        return MTBenchStyles.named(scores, models)
    }

    /// Win rates at equal style, 0...1, by model; nil where no fit is found.
    func winRates(
        _ pairs: [MTBenchPair], baseline: String?, resamples: Int, seed: UInt64
    ) throws(EvaluationError) -> [String: Interval]? {
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

    private static func named(_ scores: StyleControl.Scores, _ models: [String]) -> [String: Interval] {
        var named: [String: Interval] = [:]
        for (model, value) in zip(models, scores.values) { named[model] = value }
        return named
    }
}
