/// The rows of one forward pass: some consecutive tokens of each of several sequences, packed without padding.
package struct Batch {
    /// Rows of one sequence, whose earlier positions are in the cache.
    package struct Segment {
        package var firstRow: Int
        package var rowCount: Int
        /// The position of the first row.
        package var firstPosition: Int
        /// The pages of the sequence; those that the rows are written to included, and shared with nobody.
        package var pages: [Int32]

        package init(firstRow: Int, rowCount: Int, firstPosition: Int, pages: [Int32]) {
            self.firstRow = firstRow
            self.rowCount = rowCount
            self.firstPosition = firstPosition
            self.pages = pages
        }
    }

    package private(set) var tokens: [Int32] = []
    package private(set) var segments: [Segment] = []

    package init() {}

    package var rowCount: Int { tokens.count }

    /// Adds the tokens at `firstPosition`... of a sequence; returns the row of the first.
    @discardableResult
    package mutating func append(_ added: some Collection<Int32>, firstPosition: Int, pages: [Int32]) -> Int {
        let row = tokens.count
        precondition((firstPosition + added.count + KVCache.pageSize - 1) / KVCache.pageSize <= pages.count, "pages")
        segments.append(Segment(firstRow: row, rowCount: added.count, firstPosition: firstPosition, pages: pages))
        tokens += added
        return row
    }
}
