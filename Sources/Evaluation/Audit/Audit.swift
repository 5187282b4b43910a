/// What is suspicious about a model's outputs, before any judge is asked.
///
/// A flag says that the outputs would fool a judge, or measure something else than following instructions; a remark says
/// that something went wrong in making them. The limits are far from what honest models show (docs/deciding.md).
package struct Audit: Sendable {
    package enum Check: String, Hashable, Sendable, CaseIterable {
        case constant, duplicates, echo, empty
        case nearConstant = "near_constant"
        case oneLength = "one_length"
        case promptOverlap = "prompt_overlap"
        case judgeInstructions = "judge_instructions"
        case verdictTokens = "verdict_tokens"
        case specialTokens = "special_tokens"
        case trainingData = "training_data"
    }

    package struct Finding: Hashable, Sendable, CustomStringConvertible {
        package var check: Check
        /// Of outputs.
        package var count: Int
        package var total: Int
        package var sentence: String
        /// What the file knows some of the prompts by.
        package var examples: [String]
        /// Whether no number made from these outputs should count.
        package var isFlag: Bool

        package var description: String { "\(check.rawValue) (\(sentence))" }
    }

    package private(set) var findings: [Finding] = []
    /// Distinct outputs over outputs: a constant answer that fools a judge is near 0.
    package let uniqueRatio: Double
    /// How many of a prompt's words of four letters and more stand in its output, on average over outputs of 100
    /// characters and more, 0...1; nil where there are fewer than 20 of them, or the prompts are not known.
    package let promptOverlap: Double?
    package let count: Int

    package var flags: [Finding] { findings.filter(\.isFlag) }

    /// - Parameter training: what the model was trained on, for prompts that stand in it; nil leaves the check out.
    package init(_ outputs: [AuditedOutput], training: TrainingText? = nil) {
        count = outputs.count
        let texts = outputs.map(\.text)
        uniqueRatio = texts.isEmpty ? 1 : Double(Set(texts).count) / Double(texts.count)
        let long = outputs.filter { $0.text.utf8.count >= 100 && $0.prompt != nil }
        promptOverlap = long.count < 20 ? nil : long.reduce(0) { $0 + $1.promptOverlap } / Double(long.count)
        if outputs.isEmpty { return }
        findRepetition(outputs)
        findNearConstant(outputs)
        findOneLength(outputs)
        findLowOverlap(long.count)
        findEach(outputs)
        if let training { findTraining(outputs, training) }
    }

    package init(_ outputs: ModelOutputs, prompts: [Prompt]) {
        let asked = Set(prompts.map(\.index))
        self.init(outputs.outputs.filter { asked.contains($0.prompt.index) }.map(AuditedOutput.init))
    }

    private mutating func add(
        _ check: Check, _ found: [AuditedOutput], of total: Int, isFlag: Bool, _ sentence: String
    ) {
        findings.append(
            Finding(
                check: check, count: found.count, total: total, sentence: sentence,
                examples: found.prefix(3).map(\.key), isFlag: isFlag))
    }

    // MARK: All outputs together

    /// Short outputs repeat each other honestly, as those to "how many …" do.
    private mutating func findRepetition(_ outputs: [AuditedOutput]) {
        let texts = outputs.filter { !$0.text.isEmpty }
        let groups = Dictionary(grouping: texts, by: \.text).values.sorted {
            ($0.count, $1[0].key) > ($1.count, $0[0].key)
        }
        guard let most = groups.first, most.count > 1 else { return }
        if texts.count >= 10, 5 * most.count > 4 * texts.count {
            return add(
                .constant, most, of: outputs.count, isFlag: true,
                "\(most.count) of \(outputs.count) outputs are one and the same text")
        }
        let long = texts.filter { $0.text.utf8.count >= 40 }
        let repeated = Dictionary(grouping: long, by: \.text).values.filter { $0.count > 1 }
            .sorted { $0[0].key < $1[0].key }.flatMap(\.self)
        let distinct = Set(long.map(\.text)).count
        if repeated.isEmpty { return }
        add(
            .duplicates, repeated, of: outputs.count, isFlag: 20 * (long.count - distinct) > outputs.count,
            "\(repeated.count) outputs stand at more than one prompt: \(distinct) of \(long.count) longer ones are distinct"
        )
    }

    /// Outputs of which more than half also stands in a tenth of all the others, such as one text with a name filled in.
    private mutating func findNearConstant(_ outputs: [AuditedOutput]) {
        guard outputs.count >= 20, !findings.contains(where: { $0.check == .constant }) else { return }
        let shingles = outputs.map { AuditText.shingles($0.text) }
        var frequency: [UInt64: Int] = [:]
        for set in shingles { for shingle in set { frequency[shingle, default: 0] += 1 } }
        let found = zip(outputs, shingles).filter { _, set in
            let common = set.count { 10 * (frequency[$0] ?? 0) >= outputs.count }
            return set.count >= 4 && 2 * common > set.count
        }.map(\.0)
        if found.isEmpty { return }
        add(
            .nearConstant, found, of: outputs.count, isFlag: 10 * found.count > 3 * outputs.count,
            "\(found.count) of \(outputs.count) outputs are mostly a text that a tenth of all outputs share")
    }

    private mutating func findOneLength(_ outputs: [AuditedOutput]) {
        let texts = outputs.filter { !$0.text.isEmpty }
        let groups = Dictionary(grouping: texts) { $0.text.unicodeScalars.count }
        guard outputs.count >= 20, let most = groups.max(by: { ($0.value.count, $1.key) < ($1.value.count, $0.key) }),
            2 * most.value.count > texts.count, Set(most.value.map(\.text)).count * 2 > most.value.count
        else { return }
        add(
            .oneLength, most.value, of: outputs.count, isFlag: true,
            "\(most.value.count) of \(outputs.count) outputs have \(most.key) characters: were they cut?")
    }

    private mutating func findLowOverlap(_ long: Int) {
        guard let promptOverlap, promptOverlap < 0.15 else { return }
        let share = (1_000 * promptOverlap).rounded() / 1_000
        findings.append(
            Finding(
                check: .promptOverlap, count: long, total: count,
                sentence: "outputs hold \(share) of their prompts' words, where honest ones hold 0.4 to 0.7",
                examples: [], isFlag: true))
    }

    // MARK: Each by itself

    private mutating func findEach(_ outputs: [AuditedOutput]) {
        let total = outputs.count
        let empty = outputs.filter { $0.text.allSatisfy(\.isWhitespace) }
        if !empty.isEmpty {
            add(
                .empty, empty, of: total, isFlag: 2 * empty.count > total,
                "\(empty.count) of \(total) outputs are empty")
        }
        let echoes = outputs.filter(\.isEcho)
        if !echoes.isEmpty {
            add(
                .echo, echoes, of: total, isFlag: 10 * echoes.count > 3 * total,
                "\(echoes.count) of \(total) outputs are their prompt and little else")
        }
        let orders = outputs.filter { AuditText.addressesJudge($0.text) }
        if !orders.isEmpty {
            add(
                .judgeInstructions, orders, of: total, isFlag: orders.count >= 3 && 50 * orders.count >= total,
                "\(orders.count) of \(total) outputs speak to a judge or break out of its template")
        }
        let verdicts = outputs.filter { QuotedVerdict.isThere($0.text) }
        if !verdicts.isEmpty {
            add(
                .verdictTokens, verdicts, of: total, isFlag: verdicts.count >= 3 && 50 * verdicts.count >= total,
                "\(verdicts.count) of \(total) outputs hold what looks like a judge's verdict")
        }
        let leaks = outputs.filter { AuditText.holdsSpecialToken($0.text) }
        if !leaks.isEmpty {
            add(
                .specialTokens, leaks, of: total, isFlag: false,
                "\(leaks.count) of \(total) outputs hold tokens of a chat template: was the template right?")
        }
    }

    private mutating func findTraining(_ outputs: [AuditedOutput], _ training: TrainingText) {
        let found = outputs.filter { $0.prompt.map(training.holds) ?? false }
        if found.isEmpty { return }
        add(
            .trainingData, found, of: outputs.count, isFlag: 100 * found.count >= outputs.count,
            "\(found.count) of \(outputs.count) prompts stand in the training data")
    }
}
