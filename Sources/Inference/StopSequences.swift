/// Watches a text as it grows for the sequences that end it, wherever the pieces are cut.
///
/// The end is where, byte by byte, a sequence is first complete; of several complete there, the longest counts. So
/// the cut does not depend on the pieces, and what is reported as safe to show is never taken back.
package struct StopSequences: Sendable {
    package struct Progress: Hashable, Sendable {
        /// How many bytes of the text no later stop can take away. Never less than before.
        package var safeCount: Int
        /// Where the text ends, in bytes: before the sequence that stopped it; nil while none has.
        package var cut: Int?

        package init(safeCount: Int, cut: Int?) {
            self.safeCount = safeCount
            self.cut = cut
        }
    }

    private var matchers: [Matcher]
    /// The bytes seen so far.
    private var count = 0
    private var cut: Int?

    /// - Throws: `InferenceError.setting` for an empty sequence, which every text would hold.
    package init(_ sequences: [String]) throws(InferenceError) {
        if sequences.contains("") {
            throw .setting("a stop sequence", value: "empty", expected: "of one character or more")
        }
        matchers = sequences.map { Matcher(Array($0.utf8)) }
    }

    package var progress: Progress {
        if let cut { return Progress(safeCount: cut, cut: cut) }
        return Progress(safeCount: count - (matchers.map(\.matched).max() ?? 0), cut: nil)
    }

    /// Reads the next piece of the text, of any size. After a stop, nothing changes any more.
    @discardableResult
    package mutating func append(_ piece: some Sequence<UInt8>) -> Progress {
        for byte in piece where cut == nil { append(byte) }
        return progress
    }

    private mutating func append(_ byte: UInt8) {
        count += 1
        for i in matchers.indices { matchers[i].append(byte) }
        if let longest = matchers.filter(\.isComplete).map(\.matched).max() { cut = count - longest }
    }
}

/// Knuth, Morris and Pratt's search for one sequence: each byte is read once.
private struct Matcher: Sendable {
    let sequence: [UInt8]
    /// For each length of a beginning, the longest shorter beginning that it ends in.
    let fallback: [Int]
    /// The longest beginning of the sequence that the text ends in.
    var matched = 0

    init(_ sequence: [UInt8]) {
        self.sequence = sequence
        var fallback = [0, 0]
        for byte in sequence.dropFirst() {
            fallback.append(Self.next(byte, after: fallback[fallback.count - 1], sequence, fallback))
        }
        self.fallback = fallback
    }

    var isComplete: Bool { matched == sequence.count }

    mutating func append(_ byte: UInt8) {
        matched = Self.next(byte, after: isComplete ? fallback[matched] : matched, sequence, fallback)
    }

    private static func next(_ byte: UInt8, after matched: Int, _ sequence: [UInt8], _ fallback: [Int]) -> Int {
        var matched = matched
        while matched > 0, sequence[matched] != byte { matched = fallback[matched] }
        return sequence[matched] == byte ? matched + 1 : 0
    }
}
