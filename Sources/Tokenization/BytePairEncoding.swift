/// Byte-pair encoding: the characters of a piece are merged two by two, the pair that was learnt first before all
/// others, the leftmost of equals.
struct BytePairEncoding: Sendable {
    let vocabulary: Vocabulary
    let merges: MergeTable
    /// The tokens of the 256 characters of the byte-level alphabet; -1 where there is none.
    let byteCharacters: [TokenID]
    /// The tokens `<0x00>` to `<0xFF>`, for what has no token of its own; -1 where there is none or nobody asked.
    let byteTokens: [TokenID]
    let unknown: TokenID?
    let fusesUnknown: Bool
    /// A piece that is a token is that token, whatever the merges would make of it.
    let ignoresMerges: Bool
    /// No merge reaches over the beginning of a run of ▁, so that the runs may be encoded one by one.
    let splitsAtMetaspace: Bool

    /// Encodes the pieces of one text; remembers what it has seen, for words come again.
    struct Encoder {
        fileprivate var model: BytePairEncoding
        fileprivate var memory = PieceMemory()
        fileprivate var symbols: [Symbol] = []
        fileprivate var queue = MergeQueue()
    }

    func encoder() -> Encoder { Encoder(model: self) }
}

/// A token of a piece, and how many of the piece's bytes it stands for.
struct PieceToken {
    var id: TokenID
    var length: Int
}

// MARK: - Encoding

/// A node of the list of what is still to be merged.
private struct Symbol {
    var id: TokenID
    /// Bytes; 0 once it has been merged into the one before.
    var length: Int32
    var previous: Int32
    var next: Int32
}

extension BytePairEncoding.Encoder {
    mutating func encode(_ piece: Span<UInt8>, isByteLevel: Bool, into tokens: inout [PieceToken]) {
        if memory.recall(piece, into: &tokens) { return }
        let start = tokens.count
        if let whole = model.wholeToken(piece, isByteLevel) {
            tokens.append(PieceToken(id: whole, length: piece.count))
        } else {
            symbols.removeAll(keepingCapacity: true)
            if isByteLevel { addBytes(piece) } else { addCharacters(piece) }
            mergeAll()
            for symbol in symbols where symbol.length > 0 {
                tokens.append(PieceToken(id: symbol.id, length: Int(symbol.length)))
            }
        }
        memory.remember(piece, tokens[start...])
    }

    private mutating func add(_ id: TokenID, _ length: Int) {
        let index = Int32(symbols.count)
        if index > 0 { symbols[Int(index) - 1].next = index }
        symbols.append(Symbol(id: id, length: Int32(clamping: length), previous: index - 1, next: -1))
    }

    private mutating func addBytes(_ piece: Span<UInt8>) {
        var unknownLength = 0
        for index in piece.indices {
            let id = model.byteCharacters[Int(piece[index])]
            if id >= 0 {
                addUnknown(&unknownLength)
                add(id, 1)
            } else {
                noteUnknown(&unknownLength, 1)
            }
        }
        addUnknown(&unknownLength)
    }

    private mutating func addCharacters(_ piece: Span<UInt8>) {
        var unknownLength = 0
        var index = 0
        while index < piece.count {
            let width = UTF8.width(piece[index])
            let character = piece.extracting(index..<index + width)
            if let id = model.vocabulary.id(of: character) {
                addUnknown(&unknownLength)
                add(id, width)
            } else if character.allSatisfy({ model.byteTokens[Int($0)] >= 0 }) {
                // An unknown character that waits to be fused is added after these, as upstream does.
                for byte in character.indices { add(model.byteTokens[Int(character[byte])], 1) }
            } else {
                noteUnknown(&unknownLength, width)
            }
            index += width
        }
        addUnknown(&unknownLength)
    }

    /// Unknown characters side by side become one token when the file says so.
    private mutating func noteUnknown(_ length: inout Int, _ more: Int) {
        if !model.fusesUnknown { addUnknown(&length) }
        length += more
    }

    private mutating func addUnknown(_ length: inout Int) {
        if length > 0, let unknown = model.unknown { add(unknown, length) }
        length = 0
    }

    private mutating func mergeAll() {
        queue.removeAll()
        for index in symbols.indices.dropLast() { enqueue(index) }
        queue.heapify()
        while let (rank, left) = queue.popLeast() {
            let symbol = symbols[left]
            guard symbol.length > 0, symbol.next >= 0 else { continue }
            let right = symbols[Int(symbol.next)]
            // An entry is out of date when its pair has since been merged with something else.
            guard let merge = model.merges.merge(symbol.id, right.id), merge.rank == rank else { continue }
            symbols[left].id = merge.id
            symbols[left].length += right.length
            symbols[Int(symbol.next)].length = 0
            symbols[left].next = right.next
            if right.next >= 0 { symbols[Int(right.next)].previous = Int32(left) }
            if symbol.previous >= 0 { push(Int(symbol.previous)) }
            push(left)
        }
    }

    private mutating func enqueue(_ left: Int) {
        if let merge = model.merges.merge(symbols[left].id, symbols[left + 1].id) {
            queue.append(rank: merge.rank, position: left)
        }
    }

    private mutating func push(_ left: Int) {
        let next = symbols[left].next
        guard next >= 0, let merge = model.merges.merge(symbols[left].id, symbols[Int(next)].id) else { return }
        queue.push(rank: merge.rank, position: left)
    }
}

extension BytePairEncoding {
    fileprivate func wholeToken(_ piece: Span<UInt8>, _ isByteLevel: Bool) -> TokenID? {
        guard ignoresMerges else { return nil }
        return isByteLevel ? vocabulary.id(of: ByteLevel.spell(piece).span) : vocabulary.id(of: piece)
    }
}

/// A heap of merges to be done: the lowest rank first, then the leftmost.
struct MergeQueue {
    private var entries: [UInt64] = []

    mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

    /// Adds without keeping the order; `heapify` restores it.
    mutating func append(rank: Int32, position: Int) {
        entries.append(UInt64(rank) << 32 | UInt64(position))
    }

    mutating func heapify() {
        for index in stride(from: entries.count / 2 - 1, through: 0, by: -1) { siftDown(index) }
    }

    mutating func push(rank: Int32, position: Int) {
        append(rank: rank, position: position)
        var child = entries.count - 1
        while child > 0, entries[child] < entries[(child - 1) / 2] {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popLeast() -> (rank: Int32, position: Int)? {
        guard let least = entries.first else { return nil }
        let last = entries.removeLast()
        if !entries.isEmpty {
            entries[0] = last
            siftDown(0)
        }
        return (Int32(least >> 32), Int(least & 0xFFFF_FFFF))
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        let entry = entries[parent]
        while true {
            var child = 2 * parent + 1
            if child >= entries.count { break }
            if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
            if entry <= entries[child] { break }
            entries[parent] = entries[child]
            parent = child
        }
        entries[parent] = entry
    }
}

/// What pairs of tokens merge into, in an open-addressing table.
struct MergeTable: Sendable {
    private struct Slot {
        var left: TokenID = -1
        var right: TokenID = -1
        var rank: Int32 = 0
        var id: TokenID = 0
    }

    private var slots: [Slot]
    /// Of this process alone, so that no file can be made of pairs that collide.
    private let seed: UInt64

    init(capacity: Int) {
        var size = 16
        while size < 2 * capacity { size *= 2 }
        slots = Array(repeating: Slot(), count: size)
        seed = UInt64(bitPattern: Int64(Hasher().finalize()))
    }

    @inline(__always)
    private func slot(_ left: TokenID, _ right: TokenID) -> Int {
        var hash = (UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))) ^ seed
        hash = (hash ^ hash >> 32) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 29) &* 0xBF58_476D_1CE4_E5B9
        var slot = Int(truncatingIfNeeded: hash >> 32) & (slots.count - 1)
        while slots[slot].left >= 0, slots[slot].left != left || slots[slot].right != right {
            slot = (slot + 1) & (slots.count - 1)
        }
        return slot
    }

    /// Of a pair that comes twice the later counts. There must be room.
    mutating func insert(_ left: TokenID, _ right: TokenID, rank: Int32, id: TokenID) {
        slots[slot(left, right)] = Slot(left: left, right: right, rank: rank, id: id)
    }

    @inline(__always)
    func merge(_ left: TokenID, _ right: TokenID) -> (rank: Int32, id: TokenID)? {
        let slot = slots[slot(left, right)]
        return slot.left < 0 ? nil : (slot.rank, slot.id)
    }
}

/// The tokens of short pieces that came before. A collision forgets the older.
private struct PieceMemory {
    private struct Entry {
        var hash: UInt64 = 0
        var textStart: Int32 = 0
        var tokensStart: Int32 = 0
        var textLength: UInt8 = 0
        var tokenCount: UInt8 = 0
    }

    private var entries: [Entry] = []
    private var texts: [UInt8] = []
    private var tokens: [PieceToken] = []
    private var count = 0
    private static let longestPiece = 48
    private static let mostEntries = 1 << 16

    private func hash(_ piece: Span<UInt8>) -> UInt64 {
        var hash = UInt64(piece.count)
        for index in piece.indices { hash = (hash ^ UInt64(piece[index])) &* 0x9E37_79B9_7F4A_7C15 }
        return hash ^ hash >> 32
    }

    func recall(_ piece: Span<UInt8>, into result: inout [PieceToken]) -> Bool {
        if entries.isEmpty || piece.count > PieceMemory.longestPiece { return false }
        let hash = hash(piece)
        let entry = entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)]
        guard entry.hash == hash, Int(entry.textLength) == piece.count else { return false }
        for index in piece.indices where texts[Int(entry.textStart) + index] != piece[index] { return false }
        let start = Int(entry.tokensStart)
        result.append(contentsOf: tokens[start..<start + Int(entry.tokenCount)])
        return true
    }

    mutating func remember(_ piece: Span<UInt8>, _ result: ArraySlice<PieceToken>) {
        if piece.isEmpty || piece.count > PieceMemory.longestPiece { return }
        if 2 * (count + 1) > entries.count, entries.count < PieceMemory.mostEntries { grow() }
        if count >= PieceMemory.mostEntries { return }
        let hash = hash(piece)
        entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)] = Entry(
            hash: hash, textStart: Int32(texts.count), tokensStart: Int32(tokens.count),
            textLength: UInt8(piece.count), tokenCount: UInt8(result.count))
        for index in piece.indices { texts.append(piece[index]) }
        tokens.append(contentsOf: result)
        count += 1
    }

    private mutating func grow() {
        let old = entries
        entries = Array(repeating: Entry(), count: max(256, 4 * old.count))
        for entry in old where entry.textLength > 0 {
            entries[Int(truncatingIfNeeded: entry.hash) & (entries.count - 1)] = entry
        }
    }
}
