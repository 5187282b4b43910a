import Chat
import Evaluation
import Reporting
import Statistics

/// A gate that judges prompts in random order, and stops as soon as every rule is decided.
struct SequentialGate {
    private let pipeline: Pipeline
    private let model: String
    private let policy: GatePolicy
    private let order: GatePolicy.Sequential
    private let baseline: RunSnapshot
    private let prior: [RunSnapshot]
    /// Of the baseline those with a verdict, and by the digest of a prompt its place among them.
    private let judgedRows: [RunSnapshot.Row]
    private let places: [String: Int]

    /// - Throws: `configuration` for a benchmark whose prompts are not judged one by one.
    init(
        _ pipeline: Pipeline, model: String, policy: GatePolicy, order: GatePolicy.Sequential, against: String,
        prior: [String]
    ) throws {
        guard pipeline.form == nil else {
            throw EvaluationError.configuration(
                "A sequential gate judges prompts one by one, and \(pipeline.benchmark.id) is scored as a whole: leave out "
                    + "sequential.")
        }
        if pipeline.options.canary ?? 0 > 0 {
            throw EvaluationError.configuration(
                "--canary asks about prompts that a sequential gate may never come to: leave one of the two out.")
        }
        self.pipeline = pipeline
        self.model = model
        self.policy = policy
        self.order = order
        let reader = try SnapshotReader(benchmark: pipeline.benchmark.id, lengthControl: false)
        baseline = try reader.read(against)
        self.prior = try prior.map(reader.read)
        judgedRows = baseline.rows.filter { $0.values != nil }
        places = Dictionary(judgedRows.enumerated().map { ($1.prompt, $0) }) { first, _ in first }
    }

    func decided() async throws -> Gate {
        Interruption.shared.arm()
        let judging = try await pipeline.judging()
        let (outputs, fingerprint) = try await pipeline.outputs(
            of: model, name: pipeline.options.name, role: .candidate)
        let reference = try await pipeline.baseline()
        let subject = pipeline.subject(outputs, fingerprint, reference, judging)
        var candidate = RunSnapshot(
            name: subject.model, benchmark: subject.benchmark, scale: .preference, rows: [],
            provenance: RunSnapshot.provenance(
                run: RunRecord(
                    subject: subject, players: [RunRecord.Player(model: model, fingerprint: fingerprint)],
                    options: pipeline.options, benchmark: pipeline.benchmark, prompts: pipeline.selected
                ).json(files: [:]), scores: .null),
            flags: Audit(outputs, prompts: pipeline.selected).flags.map(\.description))
        // Nothing is spent on runs that cannot be compared.
        let asked = Set(pipeline.selected.map { RunSnapshot.Row(key: $0.key).prompt })
        let faults = Gate.faults(policy, candidate, baseline, prompts: asked)
        if !faults.isEmpty {
            return Gate(
                policy: policy, candidate: candidate, baseline: baseline, faults: faults, rulings: [], saving: nil)
        }
        var tests = try self.tests()
        var judged = 0
        let prompts = shuffled
        for batch in batches(prompts) where tests.contains(where: { $0.decision == nil }) {
            let annotations = try await pipeline.annotate(outputs, reference, judging, only: Array(batch))
            judged += batch.count
            let rows = Dictionary(uniqueKeysWithValues: annotations.map { ($0.prompt.index, RunSnapshot.Row($0)) })
            for prompt in batch {
                let row = rows[prompt.index] ?? RunSnapshot.Row(key: prompt.key)
                candidate.rows.append(row)
                for place in tests.indices { tests[place].add(prompt: places[row.prompt] ?? 0, value: change(row)) }
            }
        }
        // Of all prompts the limit would allow more.
        let found = Gate.faults(
            policy, candidate, baseline, prompts: asked, tolerated: policy.missingLimit > 0 ? 1 : 0)
        return gate(candidate, found, tests, judged: judged, of: prompts.count)
    }

    // MARK: Order

    /// The prompts that the baseline has a verdict on, in an order that the seed alone decides.
    private var shuffled: [Prompt] {
        var generator = SeededGenerator(seed: order.seed)
        let prompts = pipeline.selected.filter { places[RunSnapshot.Row(key: $0.key).prompt] != nil }
        return generator.permutation(of: prompts.count).map { prompts[$0] }
    }

    private func batches(_ prompts: [Prompt]) -> [ArraySlice<Prompt>] {
        stride(from: 0, to: prompts.count, by: order.batch).map { prompts[$0..<min($0 + order.batch, prompts.count)] }
    }

    // MARK: Tests

    /// The candidate's value less the baseline's; nil without a verdict.
    private func change(_ row: RunSnapshot.Row) -> Double? {
        guard let own = row.values?.mean, let place = places[row.prompt] else { return nil }
        return judgedRows[place].values.map { own - $0.mean }
    }

    /// One a rule, at an equal share of alpha.
    private func tests() throws -> [SequentialTest] {
        let others = prior.map { run in
            Dictionary(run.rows.map { ($0.prompt, $0.values?.mean) }) { first, _ in first }
        }
        let variates = judgedRows.map { row in
            [row.values?.mean ?? 0] + others.map { ($0[row.prompt] ?? nil) ?? row.values?.mean ?? 0 }
        }
        return try policy.rules.map { rule in
            guard rule.metric == baseline.scale.metric else {
                throw EvaluationError.configuration(
                    "The policy asks for \(rule.metric.rawValue), and \(pipeline.benchmark.id) has "
                        + "\(baseline.scale.metric.rawValue).")
            }
            return SequentialTest(
                threshold: -rule.margin, alpha: policy.alpha / Double(policy.rules.count), variates: variates,
                largest: rule.metric.span)
        }
    }

    private func gate(
        _ candidate: RunSnapshot, _ faults: [String], _ tests: [SequentialTest], judged: Int, of total: Int
    ) -> Gate {
        let average = mean(judgedRows.compactMap { $0.values?.mean }) ?? 0
        let rulings = zip(policy.rules, tests).compactMap { rule, test in
            test.state.map { Gate.Ruling(rule, test, $0, baseline: average) }
        }
        let calls = candidate.rows.reduce(0) { $0 + $1.calls }
        let costs = candidate.rows.compactMap(\.cost)
        let cost = costs.isEmpty ? nil : costs.reduce(0, +)
        let share = Double(total) / Double(max(1, judged))
        return Gate(
            policy: policy, candidate: candidate, baseline: baseline, faults: faults, rulings: rulings,
            saving: Gate.Saving(
                calls: calls, allCalls: Int((Double(calls) * share).rounded()), prompts: judged, allPrompts: total,
                cost: cost, allCost: cost.map { $0 * share },
                information: tests.compactMap(\.state?.information).max() ?? 0))
    }
}
