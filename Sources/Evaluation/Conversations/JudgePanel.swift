internal import Statistics

/// Several judges of the same outputs, or one: how steady each is, and how far they agree.
package struct JudgePanel: Hashable, Sendable {
    package struct Judge: Hashable, Sendable {
        package var name: String
        /// Records with a verdict, in both games where there are two.
        package var records: Int
        /// The mean rating; nil for a judge of pairs.
        package var averageRating: Double?
        /// The share of records whose games prefer the same output, though it stood in another place; nil for a judge of
        /// single outputs.
        package var positionConsistency: Double?
        /// Mean preference for the output in place A, 0...1: 0.5 where places do not matter; nil for a judge of single
        /// outputs.
        package var preferenceForA: Double?
    }

    /// By name.
    package var judges: [Judge]
    /// Krippendorff's α of their ratings or mean preferences, as intervals; nil below two judges.
    package var alpha: Double?
    /// Records that two judges or more have judged.
    package var sharedRecords: Int
    /// Records of what the same judge has judged before: each counts, as upstream counts it.
    package var repeated: Int
    /// Replies of MT-Bench that name several verdicts, of which upstream takes one.
    package var ambiguous = 0

    /// Arena-Hard's; a record counts with both games.
    package init(_ annotations: [ArenaAnnotation], version: ArenaVersion) {
        var verdicts = Verdicts()
        for annotation in annotations {
            let outcomes = annotation.labels.prefix(2).map { $0.flatMap(version.outcome)?.preferenceForA }
            guard outcomes.count == 2, let first = outcomes[0], let second = outcomes[1] else { continue }
            verdicts.add(annotation.judge, "\(annotation.model)\0\(annotation.id)", forA: (first, second))
        }
        self.init(verdicts)
    }

    /// MT-Bench's ratings.
    package init(_ annotations: [MTBenchAnnotation]) {
        var verdicts = Verdicts()
        for annotation in annotations {
            guard let rating = annotation.rating else { continue }
            verdicts.add(
                annotation.judge, "\(annotation.model)\0\(annotation.prompt)\0\(annotation.turn)", rating: rating)
        }
        self.init(verdicts)
        ambiguous = annotations.count(where: \.isAmbiguous)
    }

    /// MT-Bench's pairs; a record counts with both games.
    package init(_ pairs: [MTBenchPair]) {
        var verdicts = Verdicts()
        for pair in pairs where pair.preferenceForFirst != nil {
            let forFirst = pair.games.map { $0 == .tie ? 0.5 : $0 == .first ? 1 : 0 }
            verdicts.add(
                pair.judge, "\(pair.first)\0\(pair.second)\0\(pair.prompt)\0\(pair.turn)",
                forA: (forFirst[0], 1 - forFirst[1]))
        }
        self.init(verdicts)
        ambiguous = pairs.count(where: \.isAmbiguous)
    }

    /// By judge, in the order of the records.
    private struct Verdicts {
        var ratings: [String: [Double]] = [:]
        var games: [String: [(first: Double, second: Double)]] = [:]
        /// What judges are compared by, by record.
        var values: [String: [String: Double]] = [:]
        var repeated = 0

        mutating func add(_ judge: String?, _ record: String, rating: Double) {
            ratings[judge ?? "unnamed", default: []].append(rating)
            add(judge, record, value: rating)
        }

        private mutating func add(_ judge: String?, _ record: String, value: Double) {
            if values[judge ?? "unnamed", default: [:]].updateValue(value, forKey: record) != nil { repeated += 1 }
        }

        mutating func add(_ judge: String?, _ record: String, forA: (first: Double, second: Double)) {
            games[judge ?? "unnamed", default: []].append(forA)
            add(judge, record, value: (1 - forA.first + forA.second) / 2)
        }
    }

    private init(_ verdicts: Verdicts) {
        judges = verdicts.values.keys.sorted().map { name in
            let games = verdicts.games[name] ?? []
            let consistent = games.count { $0.first == 1 - $0.second }
            return Judge(
                name: name, records: games.count + (verdicts.ratings[name]?.count ?? 0),
                averageRating: verdicts.ratings[name].flatMap(mean),
                positionConsistency: games.isEmpty ? nil : Double(consistent) / Double(games.count),
                preferenceForA: mean(games.flatMap { [$0.first, $0.second] }))
        }
        let keys = Set(verdicts.values.values.flatMap(\.keys)).sorted()
        let ratings = judges.map { judge in keys.map { verdicts.values[judge.name]?[$0] } }
        sharedRecords = keys.indices.count { place in ratings.count { $0[place] != nil } > 1 }
        repeated = verdicts.repeated
        alpha = judges.count > 1 ? krippendorffAlpha(ratings, metric: .interval) : nil
    }
}
