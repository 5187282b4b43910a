/// What is cut of examples that are too long.
///
/// With a limit for prompts: the rule of the SimPO repository and of TRL 0.9. Where a row's prompt and the longer of the
/// two responses are over `maxLength`, the prompt is cut to `maxPromptLength`; where they still are, the response is cut
/// to its first `maxLength - maxPromptLength` tokens.
///
/// Without: the rule of TRL 0.29. Every row is cut to `maxLength` as a whole, its response with it.
package struct RowTruncation: Codable, Hashable, Sendable {
    package enum Kept: String, Codable, Sendable {
        case end = "keep_end"
        case start = "keep_start"
    }

    /// Tokens of a row.
    package var maxLength: Int
    /// Tokens of a prompt.
    package var maxPromptLength: Int?
    /// Which part of a prompt, or of a row, stays.
    package var kept: Kept

    package init(maxLength: Int, maxPromptLength: Int? = nil, kept: Kept = .end) {
        self.maxLength = maxLength
        self.maxPromptLength = maxPromptLength
        self.kept = kept
    }

    /// - Throws: `TrainingError.configuration` for lengths that leave nothing of a prompt or of a response.
    package func checked() throws(TrainingError) {
        guard maxLength >= 2 else {
            throw .configuration(
                "max_length is \(maxLength), which leaves no token to predict. Give it 2 or more")
        }
        guard let maxPromptLength else { return }
        guard maxPromptLength >= 1 else {
            throw .configuration(
                "max_prompt_length is \(maxPromptLength). Give it 1 or more, or leave it out")
        }
        guard maxPromptLength < maxLength else {
            throw .configuration(
                "max_prompt_length is \(maxPromptLength) and max_length \(maxLength), which leaves no token for the "
                    + "response of a long prompt. Make max_prompt_length smaller than max_length")
        }
    }

    /// Cuts the rows of one example.
    ///
    /// - Parameter beginToken: stays in front of what is cut from the start.
    /// - Returns: `.promptTruncated`, `.responseTruncated`, `.endLost`, whichever happened.
    package func apply(to pair: inout TokenizedPair, keeping beginToken: Int32?) -> Set<DataFinding> {
        let longest = pair.rows.map { $0.ids.count - $0.promptCount }.max() ?? 0
        var findings: Set<DataFinding> = []
        func cut(_ row: inout TokenizedRow?) {
            guard let whole = row else { return }
            let ranges = keptRanges(of: whole, longestResponse: longest, beginToken)
            let prompt = 0..<whole.promptCount
            let (keptPrompt, keptAll) = (
                ranges.reduce(0) { $0 + $1.clamped(to: prompt).count }, ranges.joined().count
            )
            if keptPrompt < prompt.count { findings.insert(.promptTruncated) }
            if keptAll - keptPrompt < whole.ids.count - prompt.count {
                findings.insert(.responseTruncated)
            }
            if (ranges.last?.upperBound ?? 0) < whole.ids.count { findings.insert(.endLost) }
            row = whole.keeping(ranges)
        }
        cut(&pair.chosen)
        cut(&pair.rejected)
        return findings
    }

    private func keptRanges(of row: TokenizedRow, longestResponse: Int, _ beginToken: Int32?)
        -> [Range<Int>]
    {
        let (prompt, end) = (row.promptCount, row.ids.count)
        guard let maxPromptLength else { return keptRanges(of: 0..<end, maxLength, row, beginToken) }
        guard prompt + longestResponse > maxLength else { return [0..<end] }
        let kept = keptRanges(of: 0..<prompt, maxPromptLength, row, beginToken)
        let isStillLong = min(prompt, maxPromptLength) + longestResponse > maxLength
        let response = prompt..<(isStillLong ? min(end, prompt + maxLength - maxPromptLength) : end)
        return kept + [response]
    }

    /// At most `length` tokens of a range that begins the row.
    private func keptRanges(
        of range: Range<Int>, _ length: Int, _ row: TokenizedRow, _ beginToken: Int32?
    ) -> [Range<Int>] {
        guard range.count > length else { return [range] }
        switch kept {
        case .start: return [0..<length]
        case .end where beginToken != nil && row.ids.first == beginToken:
            return [0..<1, range.upperBound - length + 1..<range.upperBound]
        case .end: return [range.upperBound - length..<range.upperBound]
        }
    }
}

extension TokenizedRow {
    /// Tokens before the first that is trained.
    var promptCount: Int { targets.first?.lowerBound ?? ids.count }

    /// The row of some of its tokens; the ranges are sorted and apart.
    func keeping(_ ranges: [Range<Int>]) -> TokenizedRow {
        var result = TokenizedRow(ids: [], targets: [])
        for range in ranges {
            let shift = result.ids.count - range.lowerBound
            result.ids += ids[range]
            for target in targets where target.overlaps(range) {
                let part = target.clamped(to: range)
                result.train(part.lowerBound + shift..<part.upperBound + shift)
            }
        }
        return result
    }

    mutating func trainAll() { targets = ids.isEmpty ? [] : [0..<ids.count] }

    /// Adds targets behind those that there are.
    mutating func train(_ range: Range<Int>) {
        if range.isEmpty { return }
        if let last = targets.last, last.upperBound == range.lowerBound {
            targets[targets.count - 1] = last.lowerBound..<range.upperBound
        } else {
            targets.append(range)
        }
    }
}
