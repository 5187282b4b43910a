internal import Chat
package import Statistics

/// A row of MT-Bench's single grading.
package struct MTBenchAnnotation: Hashable, Sendable {
    /// Its number or name.
    package var prompt: String
    package var model: String
    package var turn: Int
    /// Nil where upstream writes −1: there is no rating.
    package var rating: Double?
    package var category: String?
    package var judge: String?
    /// The reply holds several ratings in double brackets.
    package var isAmbiguous = false

    /// - Parameter category: nil takes upstream's of the prompt's number.
    package init(prompt: String, model: String, turn: Int, rating: Double?, category: String? = nil) {
        self.prompt = prompt
        self.model = model
        self.turn = turn
        self.rating = rating
        self.category = category ?? MTBenchAnnotation.category(prompt)
    }

    /// Reads FastChat's `<judge>_single.jsonl`.
    ///
    /// - Throws: `badData` naming the record that is not one of upstream's, or whose turn or score can be none.
    package static func read(_ bytes: [UInt8], path: String) throws(EvaluationError) -> [MTBenchAnnotation] {
        var annotations: [MTBenchAnnotation] = []
        for (index, record) in try Records.lines(bytes, path: path).enumerated() {
            guard let prompt = record["question_id"]?.identifier, let model = record["model"]?.string,
                let turn = record["turn"]?.integer, let score = record["score"]?.number
            else {
                throw .badData(
                    "\(path), record \(index + 1) should have question_id, model, turn and score. Is it a single grading of "
                        + "MT-Bench?")
            }
            guard turn >= 1, abs(score) <= MTBenchReply.largestRating else {
                throw .badData(
                    "\(path), record \(index + 1) should have a turn from 1 on and a score up to 1e15, but has turn \(turn) "
                        + "and score \(score). Repair the record, or leave it out.")
            }
            var annotation = MTBenchAnnotation(
                prompt: prompt, model: model, turn: turn, rating: score == -1 ? nil : score,
                category: record["category"]?.string)
            annotation.judge = record["judge"]?[0]?.string
            annotation.isAmbiguous = record["judgment"]?.string.map(MTBenchReply.holdsSeveralRatings) ?? false
            annotations.append(annotation)
        }
        return annotations
    }

    /// Ten prompts each, from 81 on.
    package static let categories = [
        "writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities",
    ]

    private static func category(_ prompt: String) -> String? {
        guard let number = Int(prompt), number >= 81, (number - 81) / 10 < categories.count else { return nil }
        return categories[(number - 81) / 10]
    }
}

/// MT-Bench's table of single grading, as FastChat's `show_result.py` (0e6d3e4) computes it.
package struct MTBenchScore: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var model: String
        /// Mean over all rows that have a rating: not the mean of the turns where ratings are missing.
        package var average: Double
        /// Means of the turns; nil without a rating.
        package var turns: [Double?]
        /// Means of both turns by category, without ratings below 0.
        package var categories: [String: Double]
        /// By resampled prompts, with both their turns.
        package var interval: Interval?
        /// The average at equal style; nil where it was not asked for.
        package var styleControlled: Interval?
        package var ratings: Int
        package var missing: Int
    }

    /// By average, the best first. A model without any rating is left out, and in `unrated`.
    package var entries: [Entry] = []
    package var unrated: [String] = []
    package var unratedRows = 0
    package var features: StyleFeatures = []
    /// Of each style feature in points of the rating for its standard deviation; empty where nothing tells style from
    /// model.
    package var effects: [Double] = []

    /// - Parameter resamples: of the interval; 0 for none.
    package init(_ annotations: [MTBenchAnnotation], resamples: Int = 1_000, seed: UInt64 = 0) {
        var models: [String] = []
        var byModel: [String: [MTBenchAnnotation]] = [:]
        for annotation in annotations {
            if byModel[annotation.model] == nil { models.append(annotation.model) }
            byModel[annotation.model, default: []].append(annotation)
        }
        for model in models {
            let rows = byModel[model] ?? []
            let ratings = rows.compactMap(\.rating)
            guard let average = mean(ratings) else {
                unrated.append(model)
                unratedRows += rows.count
                continue
            }
            var entry = Entry(
                model: model, average: average,
                turns: [1, 2].map { turn in mean(rows.filter { $0.turn == turn }.compactMap(\.rating)) },
                categories: [:], ratings: ratings.count, missing: rows.count - ratings.count)
            for (category, rows) in Dictionary(grouping: rows, by: \.category) {
                guard let category, let mean = mean(rows.compactMap(\.rating).filter { $0 >= 0 }) else { continue }
                entry.categories[category] = mean
            }
            if resamples > 1 {
                let prompts = Dictionary(grouping: rows, by: \.prompt).sorted { $0.key < $1.key }
                entry.interval = bootstrapMean(
                    prompts.map { Cluster($0.value.compactMap(\.rating)) }, of: "prompts", resamples: resamples,
                    seed: seed)
            }
            entries.append(entry)
        }
        entries.sort { ($1.average, $0.model) < ($0.average, $1.model) }
    }

    /// Adds what the averages would be at equal style, where that can be told.
    ///
    /// - Throws: `badData` where the style of an output is unknown, or where fewer than two models were rated.
    package mutating func control(
        _ styles: MTBenchStyles, _ annotations: [MTBenchAnnotation], resamples: Int = 1_000, seed: UInt64 = 0
    ) throws(EvaluationError) {
        guard entries.count > 1 else {
            throw .badData(
                "Style control of ratings compares models: it needs those of two or more, for the same prompts.")
        }
        let controlled = try styles.ratings(annotations, resamples: resamples, seed: seed)
        features = styles.features
        effects = controlled?.effects ?? []
        for index in entries.indices { entries[index].styleControlled = controlled?.values[entries[index].model] }
    }
}
