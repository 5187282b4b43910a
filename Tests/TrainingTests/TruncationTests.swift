import TestSupport
import Testing
import Training

/// What is cut of rows that are too long; ExampleRenderingTests has the SimPO repository's rows at every length.
@Suite struct TruncationTests {
    /// A prompt of ids from 100 on, and responses of ids from 200 and 300 on.
    private func pair(_ prompt: Int, _ chosen: Int, _ rejected: Int) -> TokenizedPair {
        func row(_ response: Int, from first: Int32) -> TokenizedRow {
            let ids = (0..<prompt).map { 100 + Int32($0) } + (0..<response).map { first + Int32($0) }
            return TokenizedRow(ids: ids, targets: response > 0 ? [prompt..<ids.count] : [])
        }
        return TokenizedPair(chosen: row(chosen, from: 200), rejected: row(rejected, from: 300))
    }

    private func check(
        _ truncation: RowTruncation, _ pair: TokenizedPair, begin: Int32? = nil, _ chosen: [Int32],
        _ rejected: [Int32],
        _ findings: Set<DataFinding>, _ location: SourceLocation = #_sourceLocation
    ) {
        var pair = pair
        let found = truncation.apply(to: &pair, keeping: begin)
        #expect(pair.chosen?.ids == chosen, sourceLocation: location)
        #expect(pair.rejected?.ids == rejected, sourceLocation: location)
        #expect(found == findings, sourceLocation: location)
        for (row, first) in [(pair.chosen, Int32(200)), (pair.rejected, 300)] {
            guard let row else { continue }
            let expected = row.ids.indices.filter { row.ids[$0] >= first }
            #expect(row.targets.flatMap(Array.init) == expected, sourceLocation: location)
        }
    }

    @Test func `What fits is left alone`() {
        check(
            RowTruncation(maxLength: 5, maxPromptLength: 2), pair(3, 2, 1), [100, 101, 102, 200, 201],
            [100, 101, 102, 300], [])
        check(
            RowTruncation(maxLength: 5), pair(3, 2, 1), [100, 101, 102, 200, 201], [100, 101, 102, 300],
            [])
    }

    @Test func `The longer response decides whether both prompts are cut`() {
        check(
            RowTruncation(maxLength: 6, maxPromptLength: 2), pair(4, 3, 1), [102, 103, 200, 201, 202],
            [102, 103, 300],
            [.promptTruncated])
        check(
            RowTruncation(maxLength: 6, maxPromptLength: 2, kept: .start), pair(4, 3, 1),
            [100, 101, 200, 201, 202],
            [100, 101, 300], [.promptTruncated])
    }

    @Test func `A response is cut to what a full prompt leaves, whatever the prompt's length`() {
        check(
            RowTruncation(maxLength: 6, maxPromptLength: 4), pair(1, 6, 1), [100, 200, 201], [100, 300],
            [.responseTruncated, .endLost])
        check(
            RowTruncation(maxLength: 6, maxPromptLength: 4), pair(7, 3, 4),
            [103, 104, 105, 106, 200, 201],
            [103, 104, 105, 106, 300, 301], [.promptTruncated, .responseTruncated, .endLost])
    }

    @Test func `A beginning token stays in front of a prompt that is cut there`() {
        let cut = RowTruncation(maxLength: 6, maxPromptLength: 3)
        check(
            cut, pair(5, 2, 2), begin: 100, [100, 103, 104, 200, 201], [100, 103, 104, 300, 301],
            [.promptTruncated])
        check(
            cut, pair(5, 2, 2), begin: 99, [102, 103, 104, 200, 201], [102, 103, 104, 300, 301],
            [.promptTruncated])
        check(
            RowTruncation(maxLength: 4), pair(4, 2, 1), begin: 100, [100, 103, 200, 201],
            [100, 102, 103, 300],
            [.promptTruncated])
    }

    @Test func `Whole rows lose their responses from the end, or their prompts from the start`() {
        check(
            RowTruncation(maxLength: 4, kept: .start), pair(3, 3, 1), [100, 101, 102, 200],
            [100, 101, 102, 300],
            [.responseTruncated, .endLost])
        check(
            RowTruncation(maxLength: 4), pair(3, 3, 1), [102, 200, 201, 202], [100, 101, 102, 300],
            [.promptTruncated])
        check(
            RowTruncation(maxLength: 4), pair(1, 6, 4), [202, 203, 204, 205], [300, 301, 302, 303],
            [.promptTruncated, .responseTruncated])
        check(
            RowTruncation(maxLength: 3, kept: .start), pair(3, 1, 0), [100, 101, 102], [100, 101, 102],
            [.responseTruncated, .endLost])
    }

    @Test func `Targets between others keep their places`() {
        var pair = TokenizedPair(
            chosen: TokenizedRow(ids: Array(0..<10), targets: [2..<4, 6..<9]), rejected: nil)
        #expect(
            RowTruncation(maxLength: 5).apply(to: &pair, keeping: 0) == [
                .promptTruncated, .responseTruncated,
            ])
        #expect(pair.chosen == TokenizedRow(ids: [0, 6, 7, 8, 9], targets: [1..<4]))
        pair.chosen = TokenizedRow(ids: Array(0..<10), targets: [2..<4, 6..<9])
        #expect(
            RowTruncation(maxLength: 7, kept: .start).apply(to: &pair, keeping: 0) == [
                .responseTruncated, .endLost,
            ])
        #expect(pair.chosen == TokenizedRow(ids: Array(0..<7), targets: [2..<4, 6..<7]))
    }

    @Test(
        arguments: [
            (1, nil, "leaves no token to predict"), (0, nil, "leaves no token to predict"),
            (8, 0, "Give it 1 or more"),
            (8, -3, "Give it 1 or more"), (8, 8, "leaves no token for the response"),
            (8, 9, "leaves no token for the response"),
        ] as [(Int, Int?, String)])
    func `Lengths that leave nothing are refused`(_ length: Int, _ prompt: Int?, _ sentence: String) {
        let truncation = RowTruncation(maxLength: length, maxPromptLength: prompt)
        let error = #expect(throws: TrainingError.self) { try truncation.checked() }
        #expect(error?.description.contains(sentence) == true, "\(String(describing: error))")
    }

    @Test func `Lengths that leave something are taken`() throws {
        try RowTruncation(maxLength: 2, maxPromptLength: 1).checked()
        try RowTruncation(maxLength: 2).checked()
    }
}
