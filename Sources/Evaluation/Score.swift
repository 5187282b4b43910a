package import Chat
package import Statistics

/// The values of a benchmark's metrics over one run, each with its interval and what was missing.
package struct Score: Sendable {
    package var winRate: WinRate
    /// Refit or resampled by prompt, in percent; nil where not asked for or not defined.
    package var winRateInterval: Interval?
    /// Win rate in percent if every missing verdict had gone against the model, and for it.
    package var winRateBounds: ClosedRange<Double>?
    package var lengthControlled: LengthControlled?
    /// The same with the difficulty mapped by instruction, where upstream's mapping by row is another one.
    package var lengthControlledByInstruction: LengthControlled?
    /// Win rate in percent at equal style; nil where it was not asked for.
    package var styleControlled: StyleControlled?
    package var averageLength: Int
    package var promptCount: Int
    /// How many verdicts are missing, by the category of the reason.
    package var missing: [String: Int]
    package var notes: [String]

    package var missingCount: Int { missing.values.reduce(0, +) }

    package struct StyleControlled: Sendable {
        package var features: StyleFeatures
        package var winRate: Interval
        /// Of each feature: in log-odds for the root mean square of its difference.
        package var effects: [Double]
    }

    package struct LengthControlled: Sendable {
        package var design: LengthControlDesign
        package var difficulty: DifficultyRule
        package var fit: LengthControlFit
        package var interval: Interval?
    }
}

/// Which prompt's difficulty a row of the annotations gets.
package enum DifficultyRule: String, Hashable, Sendable {
    /// By the row's position, whatever its prompt: upstream's behaviour, wrong as soon as a row is missing or moved,
    /// and contained in the published board.
    case position
    case instruction
}

/// How a run is scored.
package struct ScoringRule: Sendable {
    /// Nil leaves length control out.
    package var design: LengthControlDesign?
    package var difficulty: DifficultyRule
    /// How many times prompts are drawn anew for the intervals; 0 computes none.
    package var resamples: Int
    package var seed: UInt64
    /// Empty leaves style control out.
    package var style: StyleFeatures = []

    package init(design: LengthControlDesign?, difficulty: DifficultyRule, resamples: Int, seed: UInt64) {
        self.design = design
        self.difficulty = difficulty
        self.resamples = resamples
        self.seed = seed
    }

    /// Reads back the `scoring` of a score document; nil where it is not of that form.
    package init?(_ json: JSONValue?) {
        guard let json, let rule = json["difficulty"]?.string.flatMap(DifficultyRule.init),
            let resamples = json["resamples"]?.integer, let seed = json["seed"]?.string.flatMap({ UInt64($0) })
        else { return nil }
        self.init(
            design: json["length_control"]?.string.flatMap(LengthControlDesign.init), difficulty: rule,
            resamples: resamples, seed: seed)
        let style = json["style_control"]?.array?.compactMap(\.string) ?? []
        if style.contains("length") { self.style.insert(.length) }
        if style.contains("header_count") { self.style.insert(.markdown) }
    }
}

extension Stages {
    /// Computes the score of `annotations`, whose order is the row order of upstream's length control.
    ///
    /// - Parameter promptCount: how many prompts the run has; those without an annotation count as missing.
    /// - Throws: `configuration` when the design needs a calibration that was not given.
    package static func score(
        _ annotations: [Annotation], promptCount: Int, averageLength: Int, calibration: Calibration?, rule: ScoringRule
    ) throws(EvaluationError) -> Score {
        let preferences = annotations.map(\.verdict.preference)
        let winRate = WinRate(preferences: preferences)
        var score = Score(
            winRate: winRate, averageLength: averageLength, promptCount: promptCount,
            missing: missing(annotations, promptCount: promptCount), notes: [])
        let valid = preferences.compactMap { $0 }
        if rule.resamples > 0, valid.count > 1 {
            score.winRateInterval = bootstrapMean(valid.map { 100 * $0 }, resamples: rule.resamples, seed: rule.seed)
        }
        if score.missingCount > 0, promptCount > 0 {
            let wins = 100 * valid.reduce(0, +)
            score.winRateBounds =
                (wins / Double(promptCount))...((wins + 100 * Double(score.missingCount)) / Double(promptCount))
        }
        score.styleControlled = styleControlled(annotations, rule)
        if score.styleControlled == nil, !rule.style.isEmpty, !valid.isEmpty {
            score.notes.append(
                "no win rate at equal style: outputs and baseline differ in style by the same for every prompt, so nothing "
                    + "tells style from model")
        }
        guard let design = rule.design else { return score }
        // The gamed rows alone would give a number, of nothing.
        if 2 * valid.count < promptCount {
            score.notes.append("no length-controlled win rate: fewer than half of the verdicts are there")
            return score
        }
        if isSameGenerator(annotations) {
            score.notes.append(
                "model and baseline carry one name: the length-controlled win rate is 50 by alpaca_eval's rule; --name tells "
                    + "them apart")
        }
        do {
            score.lengthControlled = try lengthControlled(annotations, design, rule.difficulty, calibration, rule)
            if rule.difficulty == .position, design != .minimal, !rowsFollowPrompts(annotations) {
                score.lengthControlledByInstruction = try lengthControlled(
                    annotations, design, .instruction, calibration, rule)
                score.notes.append(
                    "length_controlled_winrate takes the difficulty by row position, as alpaca_eval does; rows are "
                        + "missing or moved "
                        + "here, so length_controlled_winrate_by_instruction is the right value")
            }
        } catch let error as LengthControlError {
            score.notes.append("no length-controlled win rate: \(error)")
        } catch let error as EvaluationError {
            throw error
        } catch {
            preconditionFailure("length control throws its own errors only, not \(error)")
        }
        noteDistance(&score)
        if let fit = score.lengthControlled?.fit, !isSameGenerator(annotations),
            fit.coefficients.allSatisfy({ $0 == 0 })
        {
            score.notes.append(
                "length control found nothing to hold on to: cross-validation chose the strongest penalty, which gives 50 "
                    + "whatever the verdicts; take the win rate")
        }
        return score
    }

    private static func styleControlled(_ annotations: [Annotation], _ rule: ScoringRule) -> Score.StyleControlled? {
        if rule.style.isEmpty { return nil }
        let games = annotations.compactMap { annotation in
            annotation.verdict.preference.map { preference in
                StyleControl.Game(
                    prompt: annotation.prompt.index, first: 0, second: 1, preference: preference,
                    difference: OutputStyle(annotation.output.output).difference(
                        from: OutputStyle(annotation.baseline.output), rule.style))
            }
        }
        let scores = StyleControl.winRates(
            games, models: 2, baseline: 1, resamples: rule.resamples, seed: rule.seed)
        return scores.flatMap { scores in
            scores.values[0].map {
                Score.StyleControlled(features: rule.style, winRate: $0.times(100), effects: scores.effects)
            }
        }
    }

    private static func lengthControlled(
        _ annotations: [Annotation], _ design: LengthControlDesign, _ difficulty: DifficultyRule,
        _ calibration: Calibration?, _ rule: ScoringRule
    ) throws -> Score.LengthControlled {
        if isSameGenerator(annotations) {
            return Score.LengthControlled(design: design, difficulty: difficulty, fit: .sameGenerator(design))
        }
        let rows = try lengthControlRows(annotations, design, difficulty, calibration)
        let control = LengthControl(design: design, gamed: design == .v1 ? calibration?.gamed ?? [] : [])
        let fit = try control.fit(rows)
        var result = Score.LengthControlled(design: design, difficulty: difficulty, fit: fit)
        if rule.resamples > 0, rows.count > 1 {
            result.interval = try control.bootstrap(rows, fit: fit, resamples: rule.resamples, seed: rule.seed)
        }
        return result
    }

    /// The rows of the fit, in the order of the annotations.
    package static func lengthControlRows(
        _ annotations: [Annotation], _ design: LengthControlDesign, _ difficulty: DifficultyRule,
        _ calibration: Calibration?
    ) throws(EvaluationError) -> [LengthControlRow] {
        var rows: [LengthControlRow] = []
        for (position, annotation) in annotations.enumerated() {
            var hardness = 0.0
            if design != .minimal {
                guard let calibration else {
                    throw .configuration("\(design.rawValue) needs the benchmark's calibration files.")
                }
                let place = difficulty == .position ? position : annotation.prompt.index
                guard calibration.difficulty.indices.contains(place) else {
                    throw .configuration(
                        "\(design.rawValue) knows the difficulty of \(calibration.difficulty.count) prompts, but "
                            + "there are "
                            + "\(annotations.count) rows. Use --length-control length_controlled_minimal for "
                            + "prompts of your own.")
                }
                hardness = calibration.difficulty[place]
            }
            rows.append(
                LengthControlRow(
                    preference: annotation.verdict.preference, lengthDifference: Double(annotation.lengthDifference),
                    difficulty: hardness))
        }
        return rows
    }

    private static func isSameGenerator(_ annotations: [Annotation]) -> Bool {
        annotations.first.map { $0.baseline.generator == $0.output.generator } ?? false
    }

    private static func rowsFollowPrompts(_ annotations: [Annotation]) -> Bool {
        annotations.enumerated().allSatisfy { $0.offset == $0.element.prompt.index }
    }

    private static func missing(_ annotations: [Annotation], promptCount: Int) -> [String: Int] {
        var counts: [String: Int] = [:]
        for case .missing(let reason) in annotations.map(\.verdict) { counts[reason.category, default: 0] += 1 }
        let unanswered = promptCount - annotations.count
        if unanswered > 0 { counts[Verdict.Reason.noOutput.category, default: 0] += unanswered }
        return counts
    }

    /// Upstream warns where length control moves the win rate further than it usually does.
    private static func noteDistance(_ score: inout Score) {
        guard let controlled = score.lengthControlled?.fit.winRate, let raw = score.winRate.winRate else { return }
        if controlled < min(raw - raw / 4, raw - 10) || controlled > max(raw + (100 - raw) / 4, raw + 10) {
            score.notes.append("length control moves the win rate by an unusual amount: look at the lengths")
        }
    }
}
