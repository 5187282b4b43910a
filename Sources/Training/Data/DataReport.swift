package import Chat
internal import Statistics

/// Files of examples made into rows of tokens, with an account of every line.
package struct PreparedData: Sendable {
    package private(set) var pairs: [TokenizedPair] = []
    /// Where each pair comes from: `3 of train.jsonl`.
    package private(set) var lines: [String] = []
    package private(set) var files: [File] = []
    package private(set) var report: DataReport
    /// The SHA-256 of all rows and their targets, 64 hexadecimal digits: what log-probabilities of the data depend on.
    package private(set) var fingerprint = ""

    package struct File: Codable, Hashable, Sendable {
        package var path: String
        /// 64 hexadecimal digits over the file's bytes.
        package var sha256: String
    }

    /// Reads the files in order and prepares each example by the settings.
    ///
    /// - Parameter folder: the checkpoint, for its tokenizer and chat template.
    /// - Throws: `TrainingError.configuration` for settings that make no sense, `.missingInput` for files that are not
    ///   there, `.badData` for the first line that is not an example, for what the rules refuse, and where nothing is
    ///   left.
    package init(files paths: [String], folder: String, settings: DataSettings) throws(TrainingError) {
        try settings.checked()
        let preparation = ExamplePreparation(
            settings: settings, rendering: try ExampleRendering(folder: folder, style: settings.style))
        report = DataReport()
        var seen: Set<TokenizedPair> = []
        var block: [PreferenceExample] = []
        for path in paths {
            let sha256 = try PreferenceFile.read(path) { example throws(TrainingError) in
                block.append(example)
                if block.count == PreparedData.blockSize { try prepare(&block, preparation, &seen) }
            }
            files.append(File(path: path, sha256: sha256))
        }
        try prepare(&block, preparation, &seen)
        report.files = files
        report.kept = pairs.count
        guard let first = pairs.first else {
            throw .badData("no example is left to train on. \(report.text)")
        }
        report.firstExample = preparation.rendering.marked(first)
        fingerprint = PreparedData.fingerprint(of: pairs)
    }

    /// Examples that are prepared at a time. Of pairs that are read as judged rows, the chosen ones of a block come
    /// before the rejected ones, as in TRL's `unpair_preference_dataset`: so neighbours have different prompts.
    private static let blockSize = 1_000

    private mutating func prepare(
        _ block: inout [PreferenceExample], _ preparation: ExamplePreparation,
        _ seen: inout Set<TokenizedPair>
    ) throws(TrainingError) {
        let examples = block
        block.removeAll(keepingCapacity: true)
        let results = concurrentMap(examples.count) { preparation.rows(examples[$0]) }
        var rows: [PreparedExample] = []
        for result in results { rows += try result.get() }
        if case .judged = preparation.settings.use {
            rows = rows.filter { !$0.isSecond } + rows.filter(\.isSecond)
        }
        report.read += examples.count
        for var row in rows {
            if let pair = row.pair, seen.contains(pair) { row.findings.insert(.duplicate) }
            if try report.record(row, preparation.settings.rules), let pair = row.pair {
                seen.insert(pair)
                pairs.append(pair)
                lines.append(row.line)
            }
        }
    }

    private static func fingerprint(of pairs: [TokenizedPair]) -> String {
        let digest = RunningDigest()
        func add(_ values: [Int32]) {
            values.map(\.littleEndian).withUnsafeBytes { digest.update($0) }
        }
        for pair in pairs {
            for row in [pair.chosen, pair.rejected] {
                guard let row else {
                    add([-1])
                    continue
                }
                add([Int32(row.ids.count), Int32(row.targets.count)])
                add(row.targets.flatMap { [Int32($0.lowerBound), Int32($0.upperBound)] })
                add(row.ids)
            }
        }
        return digest.finish()
    }
}

/// What an objective takes of an example.
package enum ExampleUse: Hashable, Sendable {
    case pairs
    /// Rows that are good or bad by themselves (KTO); a pair is one of each.
    case judged
    /// Rows to imitate (SFT); of a pair the chosen one.
    case demonstrations(TrainedTokens)
}

/// How examples become rows.
package struct DataSettings: Hashable, Sendable {
    package var use: ExampleUse
    package var style: RenderingStyle
    package var truncation: RowTruncation
    package var rules: DataRules

    package init(
        use: ExampleUse, style: RenderingStyle = .trl, truncation: RowTruncation,
        rules: DataRules = DataRules()
    ) {
        self.use = use
        self.style = style
        self.truncation = truncation
        self.rules = rules
    }

    fileprivate func checked() throws(TrainingError) {
        try truncation.checked()
        if case .demonstrations = use, let length = truncation.maxPromptLength {
            throw .configuration(
                "max_prompt_length is \(length), and demonstrations are cut as a whole. Leave it out, and give "
                    + "max_length alone")
        }
    }
}

// MARK: - Findings

/// Something about an example that its user should know.
package enum DataFinding: String, Codable, CaseIterable, Sendable {
    case promptDiffers = "prompt_differs"
    case emptyPrompt = "empty_prompt"
    case emptyResponse = "empty_response"
    case noTargets = "no_targets"
    case identical
    case duplicate
    case tiedScores = "tied_scores"
    case promptTooLong = "prompt_too_long"
    case promptTruncated = "prompt_truncated"
    case responseTruncated = "response_truncated"
    case endLost = "end_lost"
    case endRepeated = "end_repeated"
    case beginRepaired = "begin_repaired"
    case boundaryMoved = "boundary_moved"

    package var explanation: String {
        switch self {
        case .promptDiffers: "chosen and rejected have different prompts"
        case .emptyPrompt: "the prompt is empty"
        case .emptyResponse: "a response is empty"
        case .noTargets: "no token is left to train"
        case .identical: "chosen and rejected are the same tokens"
        case .duplicate: "the same tokens as an earlier example"
        case .tiedScores: "chosen and rejected have the same score"
        case .promptTooLong: "the prompt is longer than it may be"
        case .promptTruncated: "the prompt was cut"
        case .responseTruncated: "a response was cut"
        case .endLost: "the end of a response was cut off, so that its end token is not trained"
        case .endRepeated: "the end token follows an end that the template wrote"
        case .beginRepaired: "more than one beginning token, made one"
        case .boundaryMoved: "tokens of the prompt merge with the response, and count as response"
        }
    }
}

/// What becomes of examples that something was found about; the rest is kept.
///
/// Examples without targets or without a common prompt cannot be kept: what is not refused of them is dropped.
package struct DataRules: Hashable, Sendable {
    package var dropped: Set<DataFinding> = [
        .promptDiffers, .emptyPrompt, .emptyResponse, .noTargets, .identical, .duplicate,
    ]
    /// End the preparation with an error.
    package var refused: Set<DataFinding> = []

    package init() {}
}

// MARK: - The report

/// What happened to the lines of the data.
package struct DataReport: Codable, Hashable, Sendable {
    package fileprivate(set) var files: [PreparedData.File] = []
    /// Lines read.
    package fileprivate(set) var read = 0
    /// Examples that are trained on.
    package fileprivate(set) var kept = 0
    /// One entry for each finding that there was, in the order of `DataFinding`.
    package var findings: [Entry] { entries.filter { $0.count > 0 } }
    private var entries = DataFinding.allCases.map { Entry(finding: $0) }
    /// Tokens before anything is cut, of every example that could be rendered.
    package private(set) var promptLengths = LengthHistogram()
    package private(set) var chosenLengths = LengthHistogram()
    package private(set) var rejectedLengths = LengthHistogram()
    /// The first example as text, what is trained of it in ⟦ ⟧.
    package fileprivate(set) var firstExample = ""

    package struct Entry: Codable, Hashable, Sendable {
        package let finding: DataFinding
        /// Examples that this is true of.
        package fileprivate(set) var count = 0
        /// Those dropped for it: an example that is dropped for several reasons counts for the first.
        package fileprivate(set) var dropped = 0
        /// Where the first are: `3 of train.jsonl`.
        package fileprivate(set) var lines: [String] = []
    }

    /// Counts an example; whether it is kept.
    ///
    /// - Throws: `TrainingError.badData` for what the rules refuse.
    fileprivate mutating func record(_ example: PreparedExample, _ rules: DataRules)
        throws(TrainingError) -> Bool
    {
        let reasons = DataFinding.allCases.filter(example.findings.contains)
        if let reason = reasons.first(where: rules.refused.contains) {
            throw .badData("line \(example.line): \(reason.explanation). Correct or remove it")
        }
        let unusable = rules.dropped.union([.noTargets, .promptDiffers])
        let reason = reasons.first(where: unusable.contains)
        for place in entries.indices where example.findings.contains(entries[place].finding) {
            entries[place].count += 1
            if entries[place].finding == reason { entries[place].dropped += 1 }
            if entries[place].lines.count < 5 { entries[place].lines.append(example.line) }
        }
        if let lengths = example.lengths {
            promptLengths.add(lengths.prompt)
            lengths.chosen.map { chosenLengths.add($0) }
            lengths.rejected.map { rejectedLengths.add($0) }
        }
        return reason == nil
    }

    package var text: String {
        var lines = ["\(read) examples read, \(kept) rows to train on."]
        for entry in findings {
            let dropped = entry.dropped > 0 ? ", \(entry.dropped) dropped" : ""
            lines.append("  \(entry.count)\(dropped): \(entry.finding.explanation) (\(places(entry)))")
        }
        let lengths = [
            ("prompt", promptLengths), ("chosen", chosenLengths), ("rejected", rejectedLengths),
        ]
        for (name, histogram) in lengths where histogram.count > 0 {
            lines.append("  \(name): \(histogram.text)")
        }
        if !firstExample.isEmpty { lines.append(firstExample) }
        return lines.joined(separator: "\n")
    }

    /// The file's name is left out where there is one file.
    private func places(_ entry: Entry) -> String {
        let names = entry.lines.map { files.count == 1 ? String($0.prefix { $0 != " " }) : $0 }
        let list = names.joined(separator: ", ") + (entry.count > names.count ? ", …" : "")
        return (entry.count == 1 ? "line " : "lines ") + list
    }

    package var json: JSONObject {
        var object: JSONObject = ["examples_read": .integer(read), "rows_kept": .integer(kept)]
        object["files"] = .array(
            files.map { ["path": .string($0.path), "sha256": .string($0.sha256)] })
        var found = JSONObject()
        for entry in findings {
            found[entry.finding.rawValue] = [
                "count": .integer(entry.count), "dropped": .integer(entry.dropped),
                "first": .array(entry.lines.map { .string($0) }),
            ]
        }
        object["findings"] = .object(found)
        object["prompt_tokens"] = promptLengths.json
        object["chosen_tokens"] = chosenLengths.json
        object["rejected_tokens"] = rejectedLengths.json
        object["first_example"] = .string(firstExample)
        return object
    }
}

/// Lengths in tokens, counted between powers of two.
package struct LengthHistogram: Codable, Hashable, Sendable {
    package private(set) var total = 0
    package private(set) var longest = 0
    /// The first counts lengths up to 16, each further one those up to twice as many.
    package private(set) var buckets: [Int] = []

    package var count: Int { buckets.reduce(0, +) }

    mutating func add(_ length: Int) {
        total += length
        longest = max(longest, length)
        var (bucket, limit) = (0, 16)
        while length > limit { (bucket, limit) = (bucket + 1, 2 * limit) }
        while buckets.count <= bucket { buckets.append(0) }
        buckets[bucket] += 1
    }

    private var limits: [(upTo: Int, count: Int)] {
        buckets.enumerated().map { (16 << $0.offset, $0.element) }
    }

    var text: String {
        let parts = limits.filter { $0.count > 0 }.map { "\($0.count) up to \($0.upTo)" }
        return
            "\(total / max(1, count)) tokens on average, \(longest) at most (\(parts.joined(separator: ", ")))"
    }

    var json: JSONValue {
        var object: JSONObject = [
            "count": .integer(count), "total": .integer(total), "longest": .integer(longest),
        ]
        var up = JSONObject()
        for limit in limits { up["\(limit.upTo)"] = .integer(limit.count) }
        object["up_to"] = .object(up)
        return .object(object)
    }
}

// MARK: - One example

/// An example as far as it can be judged by itself.
private struct PreparedExample: Sendable {
    var line: String
    /// Nil where nothing can be rendered.
    var pair: TokenizedPair?
    var findings: Set<DataFinding>
    /// Tokens before anything is cut.
    var lengths: (prompt: Int, chosen: Int?, rejected: Int?)?
    /// The rejected row of a pair that is read as two.
    var isSecond = false
}

private struct ExamplePreparation: Sendable {
    let settings: DataSettings
    let rendering: ExampleRendering

    /// The rows of one example, cut to their lengths.
    func rows(_ example: PreferenceExample) -> Result<[PreparedExample], TrainingError> {
        do throws(TrainingError) {
            var rows = try rendered(example).map { finished($0, example) }
            // Cut, the two rows of a pair may be the same.
            if rows.count == 2, let chosen = rows[0].pair?.chosen, chosen == rows[1].pair?.rejected {
                for place in rows.indices { rows[place].findings.insert(.identical) }
            }
            return .success(rows)
        } catch {
            switch error {
            case .badData(let sentence): return .failure(.badData("\(example.place): \(sentence)"))
            default: return .failure(error)
            }
        }
    }

    private func rendered(_ example: PreferenceExample) throws(TrainingError) -> [PreparedExample] {
        func row(_ exchange: PreferenceExample.Exchange) throws(TrainingError) -> RenderedRow {
            var row = try rendering.row(exchange, tools: example.tools)
            if case .plain(let prompt, _) = exchange, prompt.isBlank { row.findings.insert(.emptyPrompt) }
            return row
        }
        switch (example.content, settings.use) {
        case (.differingPrompts, _):
            return [prepared(nil, nil, example, [.promptDiffers])]
        case (.pair(let chosen, let rejected), .pairs):
            return [prepared(try row(chosen), try row(rejected), example)]
        case (.pair(let chosen, let rejected), .judged):
            var second = prepared(nil, try row(rejected), example)
            second.isSecond = true
            return [prepared(try row(chosen), nil, example), second]
        case (.judged(let exchange, let isDesirable), .judged):
            let row = try row(exchange)
            return [prepared(isDesirable ? row : nil, isDesirable ? nil : row, example)]
        case (.pair(let exchange, _), .demonstrations(let trained)),
            (.demonstration(let exchange), .demonstrations(let trained)):
            let row = try rendering.row(demonstration: exchange, trained: trained, tools: example.tools)
            return [prepared(row, nil, example)]
        case (.conversation(let messages), .demonstrations(let trained)):
            let row = try rendering.row(conversation: messages, trained: trained, tools: example.tools)
            return [prepared(row, nil, example)]
        case (.text(let text), .demonstrations):
            return [prepared(rendering.row(text: text), nil, example)]
        case (_, .pairs):
            throw .badData("the objective compares, and this is no pair. Give it chosen and rejected")
        case (_, .judged):
            throw .badData(
                "the objective takes judged completions. Give prompt, completion and label, or pairs")
        case (.judged, .demonstrations):
            throw .badData(
                "this is a judged completion, not a demonstration. Remove the bad ones, and every label")
        }
    }

    private func prepared(
        _ chosen: RenderedRow?, _ rejected: RenderedRow?, _ example: PreferenceExample,
        _ findings: Set<DataFinding> = []
    ) -> PreparedExample {
        let rows = [chosen, rejected].compactMap { $0 }
        let name = example.place.path.split(separator: "/").last ?? ""
        return PreparedExample(
            line: "\(example.place.number) of \(name)",
            pair: rows.isEmpty ? nil : TokenizedPair(chosen: chosen?.row, rejected: rejected?.row),
            findings: rows.reduce(findings) { $0.union($1.findings) })
    }

    /// Cuts the rows and looks at what is left.
    private func finished(_ example: PreparedExample, _ source: PreferenceExample) -> PreparedExample {
        guard var pair = example.pair else { return example }
        var result = example
        let prompt = pair.rows.map(\.promptCount).max() ?? 0
        func length(_ row: TokenizedRow?) -> Int? { row.map { $0.ids.count - $0.promptCount } }
        result.lengths = (prompt, length(pair.chosen), length(pair.rejected))
        let limit = settings.truncation.maxPromptLength ?? settings.truncation.maxLength - 1
        if prompt > limit { result.findings.insert(.promptTooLong) }
        if let chosen = source.chosenScore, chosen == source.rejectedScore {
            result.findings.insert(.tiedScores)
        }
        let begin = settings.style == .trl ? rendering.beginToken : nil
        result.findings.formUnion(settings.truncation.apply(to: &pair, keeping: begin))
        if pair.rows.contains(where: { $0.targetCount == 0 }) { result.findings.insert(.noTargets) }
        if let chosen = pair.chosen, chosen == pair.rejected { result.findings.insert(.identical) }
        result.pair = pair
        return result
    }
}
