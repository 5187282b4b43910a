package import Chat
package import Evaluation
internal import Statistics

extension RunSnapshot {
    /// Of a run's folder.
    ///
    /// - Parameter prompts: the benchmark's own, where they are at hand: what length control takes the difficulty by.
    /// - Throws: `missingInput` and `badData` as the files demand.
    package init(_ directory: RunDirectory, prompts: PromptSet?) throws(EvaluationError) {
        let run = try Files.readJSON(directory.run, asked: "The record of the run")
        let scores = try Files.readJSON(directory.scores, asked: "The scores of the run")
        guard let benchmark = run["benchmark"]?.string, let name = run["model"]?["name"]?.string else {
            throw .badData("\(directory.run) is no record of a run of evalharness.")
        }
        let provenance = RunSnapshot.provenance(run: run, scores: scores)
        let flags = scores["integrity"]?["flags"]?.array?.compactMap(\.string) ?? []
        if Files.exists(directory.modelJudgment) {
            let bytes = try Files.read(directory.modelJudgment, asked: "The judgments")
            try self.init(
                judgments: bytes, path: directory.modelJudgment, benchmark: benchmark, name: name,
                provenance: provenance)
            if Files.exists(directory.modelAnswer) {
                try addOutputs(Files.read(directory.modelAnswer, asked: "The outputs"), path: directory.modelAnswer)
            }
            self.flags = flags
            unanswered = try RunSnapshot.unanswered(run, rows.count, path: directory.run)
            return
        }
        let published = try PublishedAnnotations(
            bytes: try Files.read(directory.annotations, asked: "The annotations"), path: directory.annotations)
        self.init(published, name: name, benchmark: benchmark, prompts: prompts, provenance: provenance, flags: flags)
        unanswered = try RunSnapshot.unanswered(run, rows.count, path: directory.run)
    }

    /// Of the prompts that a run was about, those that no verdict is about.
    private static func unanswered(_ run: JSONValue, _ judged: Int, path: String) throws(EvaluationError) -> Int {
        max(0, try count(of: run["n_prompts"], path: path) - judged)
    }

    /// Of annotations that someone published.
    package init(
        _ published: PublishedAnnotations, name: String?, benchmark: String, prompts: PromptSet?,
        provenance: JSONObject, flags: [String] = []
    ) {
        self.init(
            name: name ?? published.rows.first?.modelGenerator ?? "", benchmark: benchmark, scale: .preference,
            rows: published.rows.map { Row($0, prompts) }, provenance: provenance, flags: flags)
    }

    /// What the file itself says of its making.
    package static func provenance(of published: PublishedAnnotations, officialJudgeModel: String?) -> JSONObject {
        let judge = published.judge(official: officialJudgeModel)
        return [
            "judge": .string(judge), "judge fingerprint": .string("published:\(judge)"),
            "baseline": .string(Set(published.rows.map(\.baselineGenerator)).sorted().joined(separator: "+")),
            "model": .string(Set(published.rows.map(\.modelGenerator)).sorted().joined(separator: "+")),
            "prompts judged": .integer(published.rows.count),
        ]
    }

    /// Of MT-Bench's single grading, or of Arena-Hard's games.
    private init(
        judgments bytes: [UInt8], path: String, benchmark: String, name: String, provenance: JSONObject
    ) throws(EvaluationError) {
        if benchmark == "mt-bench" {
            let prompts = RunSnapshot.grouped(try MTBenchAnnotation.read(bytes, path: path), by: \.prompt)
            let asked = prompts.map(\.1.count).max() ?? 0
            self.init(
                name: name, benchmark: benchmark, scale: .rating,
                rows: prompts.map { prompt, turns in
                    var row = Row(key: prompt, calls: turns.count)
                    row.category = turns[0].category
                    row.values = RunSnapshot.cluster(turns.compactMap(\.rating))
                    row.asked = asked
                    if row.values != nil { row.lost = asked - turns.count { $0.rating != nil } }
                    return row
                }, provenance: provenance)
            return
        }
        let version: ArenaVersion = benchmark == "arena-hard-v2" ? .v2 : .v01
        let annotations = try ArenaAnnotation.read(bytes, path: path)
        self.init(
            name: name, benchmark: benchmark, scale: .preference,
            rows: RunSnapshot.grouped(annotations, by: \.id).map { id, games in
                var row = Row(key: id, calls: games.reduce(0) { $0 + $1.labels.count })
                row.category = games[0].category
                row.values = RunSnapshot.cluster(games.flatMap { $0.preferences(version) }.map { 100 * $0 })
                row.asked = 2 * games.count
                if row.values != nil { row.lost = games.reduce(0) { $0 + $1.missing(version) } }
                return row
            }, provenance: provenance)
    }

    private mutating func addOutputs(_ bytes: [UInt8], path: String) throws(EvaluationError) {
        var outputs: [String: (digest: String, length: Int)] = [:]
        for (key, turns) in try ConversationOutputs.read(bytes, path: path) {
            let text = turns.joined(separator: "\n")
            outputs[Row(key: key).prompt] = (Row.digest(text), text.unicodeScalars.count)
        }
        for place in rows.indices {
            rows[place].output = outputs[rows[place].prompt]?.digest
            rows[place].length = outputs[rows[place].prompt]?.length
        }
    }

    private static func cluster(_ values: [Double]) -> Cluster? { values.isEmpty ? nil : Cluster(values) }

    private static func grouped<Element>(
        _ elements: [Element], by key: (Element) -> String
    ) -> [(String, [Element])] {
        var order: [String] = []
        var groups: [String: [Element]] = [:]
        for element in elements {
            if groups[key(element)] == nil { order.append(key(element)) }
            groups[key(element), default: []].append(element)
        }
        return order.map { ($0, groups[$0] ?? []) }
    }

    /// By the names under which a policy may ask for them to be alike.
    package static func provenance(run: JSONValue, scores: JSONValue) -> JSONObject {
        var facts = JSONObject()
        facts["prompts"] = run["identity"]?["prompt set"]
        facts["selection of prompts"] = run["identity"]?["selection of prompts"]
        facts["prompts judged"] = run["n_prompts"]
        facts["baseline"] = run["baseline"]?["name"]
        facts["baseline outputs"] = run["baseline"]?["sha256"]
        facts["judge"] = run["judge"]?["id"]
        facts["judge fingerprint"] = run["judge"]?["fingerprint"]
        facts["references"] = scores["judge"]?["references"]
        facts["model"] = run["model"]?["name"]
        facts["model fingerprint"] = run["model"]?["fingerprint"]
        for member in run["generation"]?.object?.members ?? [] {
            facts[member.key.replacing("_", with: " ")] = member.value
        }
        for file in scores["data"]?.array ?? [] {
            if let name = file["file"]?.string ?? file["name"]?.string { facts["data \(name)"] = file["sha256"] }
        }
        for member in scores["scoring"]?.object?.members ?? [] {
            facts["scoring \(member.key.replacing("_", with: " "))"] = member.value
        }
        facts["missing verdicts"] = scores["missing"]
        facts["evalharness"] = run["evalharness"]
        return facts
    }
}

extension RunSnapshot.Row {
    fileprivate init(_ row: PublishedAnnotations.Row, _ prompts: PromptSet?) {
        self.init(
            instruction: row.instruction, output: row.modelOutput, baseline: row.baselineOutput,
            preference: row.verdict.preference,
            calls: row.games.isEmpty ? row.reply.map { $0.array?.count ?? 1 } ?? 0 : row.games.count)
        place = prompts?.index(of: row.instruction)
        category = row.dataset ?? place.flatMap { prompts?.prompts[$0].category }
        cost = row.cost
    }

    package init(_ annotation: Annotation) {
        self.init(
            instruction: annotation.prompt.instruction, output: annotation.output.output,
            baseline: annotation.baseline.output, preference: annotation.verdict.preference,
            calls: annotation.games.count)
        category = annotation.prompt.category
        cost = annotation.cost
    }

    private init(instruction: String, output: String, baseline: String, preference: Double?, calls: Int) {
        self.init(key: instruction, calls: calls)
        promptLength = instruction.unicodeScalars.count
        length = output.unicodeScalars.count
        baselineLength = baseline.unicodeScalars.count
        self.output = Self.digest(output)
        values = preference.map { Cluster([100 * $0]) }
    }
}
