internal import Chat
package import Statistics

/// What upstream's length control needs beside the annotations: the difficulty of each prompt, and how the judge
/// reacted to the same model asked to be verbose or concise.
package struct Calibration: Sendable {
    package var gamed: [GamedRow]
    /// By the prompt's place in the benchmark's own set.
    package var difficulty: [Double]
    package var provenance: [DatasetCache.Provenance]

    /// Reads `df_gamed.csv` and `instruction_difficulty.csv`.
    ///
    /// The fit takes the difficulty from the first file, as upstream does; the second must say the same.
    ///
    /// - Throws: `missingInput` or `integrity` from the cache; `badData` for a malformed row.
    package init(_ cache: DatasetCache) throws(EvaluationError) {
        let gamedFile = try cache.load(.gamed)
        let difficultyFile = try cache.load(.difficulty)
        provenance = [gamedFile.provenance, difficultyFile.provenance]
        var table = try CSVTable(gamedFile.bytes, name: gamedFile.provenance.name)
        gamed = []
        var byIndex: [Int: Double] = [:]
        while let row = try table.next() {
            let difficulty = try row.number("instruction_difficulty")
            gamed.append(
                GamedRow(
                    preference: try row.number("preference"),
                    standardizedLengthDifference: try row.number("std_delta_len"), difficulty: difficulty))
            let index = Int(try row.number("index"))
            if byIndex[index] == nil { byIndex[index] = difficulty }
        }
        difficulty = []
        while let value = byIndex[difficulty.count] { difficulty.append(value) }
        if difficulty.count != byIndex.count {
            throw .badData("\(gamedFile.provenance.name) skips the index \(difficulty.count). Bring the official file.")
        }
        try check(difficultyFile.bytes, name: difficultyFile.provenance.name)
    }

    private func check(_ bytes: [UInt8], name: String) throws(EvaluationError) {
        var table = try CSVTable(bytes, name: name)
        while let row = try table.next() {
            let index = Int(try row.number("index"))
            let value = try row.number("instruction_difficulty")
            guard difficulty.indices.contains(index), abs(difficulty[index] - value) < 1e-6 else {
                throw .badData(
                    "\(name) and the gamed annotations disagree on prompt \(index). Bring both official "
                        + "files.")
            }
        }
    }
}

/// A CSV of plain numbers and names under a header, as upstream's calibration files are.
private struct CSVTable {
    let name: String
    let columns: [String: Int]
    var lines: IndexingIterator<[ArraySlice<UInt8>]>
    var line = 1

    init(_ bytes: [UInt8], name: String) throws(EvaluationError) {
        self.name = name
        let all = bytes.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
        guard let header = all.first.map({ CSVTable.cells($0) }) else {
            throw .badData("\(name) is empty. Bring the official file.")
        }
        columns = Dictionary(
            header.enumerated().map { ($1, $0) },
            uniquingKeysWith: { first, _ in first })
        lines = Array(all.dropFirst()).makeIterator()
    }

    struct Row {
        let table: CSVTable
        let cells: [String]

        func number(_ column: String) throws(EvaluationError) -> Double {
            guard let place = table.columns[column] else {
                throw .badData("\(table.name) has no column \"\(column)\". Bring the official file.")
            }
            guard cells.indices.contains(place), let value = Double(cells[place]), value.isFinite else {
                throw .badData(
                    "\(table.name), line \(table.line): \"\(column)\" is no number. Bring the official "
                        + "file.")
            }
            return value
        }
    }

    mutating func next() throws(EvaluationError) -> Row? {
        guard let text = lines.next() else { return nil }
        line += 1
        return Row(table: self, cells: CSVTable.cells(text))
    }

    private static func cells(_ line: ArraySlice<UInt8>) -> [String] {
        line.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
    }
}
