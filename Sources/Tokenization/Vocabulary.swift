/// The number of a token: a row of the embedding.
package typealias TokenID = Int32

/// Tokens and their ids, both ways: the texts lie end to end in one array, and an open-addressing table finds them.
///
/// Texts are as in the file: a byte-level vocabulary holds `Ġthe` for " the".
struct Vocabulary: Sendable {
    /// Ids must be smaller, so that a hostile file cannot make a table of gigabytes.
    static let largestSize = 1 << 22

    private struct Slot {
        var hash: UInt32 = 0
        /// -1 when the slot is free.
        var entry: Int32 = -1
    }

    private var texts: [UInt8] = []
    /// Of each entry, where its text ends.
    private var ends: [Int32] = []
    private var ids: [TokenID] = []
    /// Of each id, its entry; -1 is a hole.
    private var entries: [Int32] = []
    /// A power of two, at least twice the number of entries.
    private var slots = Array(repeating: Slot(), count: 16)
    /// Of this process alone, so that no file can be made of texts that collide.
    private let seed = UInt64(bitPattern: Int64(Hasher().finalize())) | 1

    var count: Int { ids.count }
    /// The greatest id and one.
    var size: Int { entries.count }

    mutating func reserve(_ count: Int) {
        ends.reserveCapacity(count)
        ids.reserveCapacity(count)
        entries.reserveCapacity(count)
        while slots.count < 2 * count { slots = Array(repeating: Slot(), count: 2 * slots.count) }
    }

    /// Adds a token; false, and nothing is added, when its text or its id is taken.
    mutating func insert(_ text: String, _ id: TokenID) -> Bool {
        var text = text
        return text.withUTF8 { insert($0.span, id) }
    }

    mutating func insert(_ text: Span<UInt8>, _ id: TokenID) -> Bool {
        if Int(id) < entries.count, entries[Int(id)] >= 0 { return false }
        if 2 * (count + 1) > slots.count { grow() }
        let hash = hash(text)
        let index = slot(of: text, hash)
        if slots[index].entry >= 0 { return false }
        slots[index] = Slot(hash: hash, entry: Int32(count))
        while entries.count <= Int(id) { entries.append(-1) }
        entries[Int(id)] = Int32(count)
        text.withUnsafeBufferPointer { texts.append(contentsOf: $0) }
        ends.append(Int32(texts.count))
        ids.append(id)
        return true
    }

    private mutating func grow() {
        let old = slots
        slots = Array(repeating: Slot(), count: 2 * old.count)
        for slot in old where slot.entry >= 0 {
            var index = Int(slot.hash) & (slots.count - 1)
            while slots[index].entry >= 0 { index = (index + 1) & (slots.count - 1) }
            slots[index] = slot
        }
    }

    private func range(_ entry: Int) -> Range<Int> { (entry == 0 ? 0 : Int(ends[entry - 1]))..<Int(ends[entry]) }

    private func hash(_ text: Span<UInt8>) -> UInt32 {
        var hash = seed &+ UInt64(text.count)
        var word: UInt64 = 0
        for index in text.indices {
            word = word << 8 | UInt64(text[index])
            if index & 7 == 7 {
                hash = mix(hash ^ word)
                word = 0
            }
        }
        return UInt32(truncatingIfNeeded: mix(hash ^ word))
    }

    private func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15 ^ seed)
        return product.high ^ product.low
    }

    /// The slot that holds the text, or the free one where it belongs.
    private func slot(of text: Span<UInt8>, _ hash: UInt32) -> Int {
        var index = Int(hash) & (slots.count - 1)
        while slots[index].entry >= 0, slots[index].hash != hash || !holds(Int(slots[index].entry), text) {
            index = (index + 1) & (slots.count - 1)
        }
        return index
    }

    private func holds(_ entry: Int, _ text: Span<UInt8>) -> Bool {
        let range = range(entry)
        guard range.count == text.count else { return false }
        for index in text.indices where texts[range.lowerBound + index] != text[index] { return false }
        return true
    }

    func id(of text: Span<UInt8>) -> TokenID? {
        let entry = slots[slot(of: text, hash(text))].entry
        return entry < 0 ? nil : ids[Int(entry)]
    }

    func id(of text: String) -> TokenID? {
        var text = text
        return text.withUTF8 { id(of: $0.span) }
    }

    /// The text of a token in UTF-8; nil for an id without a token.
    func utf8(of id: TokenID) -> ArraySlice<UInt8>? {
        guard id >= 0, Int(id) < entries.count, entries[Int(id)] >= 0 else { return nil }
        return texts[range(Int(entries[Int(id)]))]
    }
}
