internal import LanguageModel

/// Full pages by the tokens that they hold and all before them, so that a prompt's beginning is computed once.
///
/// The index holds a reference to each of its pages and gives the longest unused ones back when memory is short.
struct PrefixIndex {
    /// What a page holds: its own tokens behind those of the page with serial number `parent` (0: none).
    struct Key: Hashable {
        var parent: UInt64
        var tokens: [Int32]
    }

    private struct Entry {
        var page: Int32
        var serial: UInt64
        var lastUse: UInt64
    }

    private var entries: [Key: Entry] = [:]
    private var nextSerial: UInt64 = 1
    private var clock: UInt64 = 0

    /// The page that holds what `key` says, with one more reference.
    mutating func find(_ key: Key, in cache: KVCache) -> (page: Int32, serial: UInt64)? {
        guard let entry = entries[key] else { return nil }
        clock += 1
        entries[key]!.lastUse = clock
        cache.retain(entry.page)
        return (entry.page, entry.serial)
    }

    /// Makes a computed page known; returns the serial number to find the next page behind it by.
    mutating func insert(_ page: Int32, for key: Key, in cache: KVCache) -> UInt64 {
        if let entry = entries[key] { return entry.serial }
        clock += 1
        let serial = nextSerial
        nextSerial += 1
        cache.retain(page)
        entries[key] = Entry(page: page, serial: serial, lastUse: clock)
        return serial
    }

    /// Gives back the pages that nobody else uses, the longest unused first; half of them, so that it is rarely done.
    ///
    /// - Returns: whether any page became free.
    mutating func evict(from cache: KVCache) -> Bool {
        let unused = entries.filter { !cache.isShared($0.value.page) }.sorted { $0.value.lastUse < $1.value.lastUse }
        for (key, entry) in unused.prefix((unused.count + 1) / 2) {
            entries[key] = nil
            cache.release(entry.page)
        }
        return !unused.isEmpty
    }
}
