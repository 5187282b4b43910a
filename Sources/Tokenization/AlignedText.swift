/// A span of the text that was given to the tokenizer, in bytes of its UTF-8.
struct Origin: Hashable {
    var start: Int
    var end: Int
}

/// Text on its way through the tokenizer: valid UTF-8, and for every byte what it came from.
struct AlignedText {
    private(set) var bytes: [UInt8]
    /// One a byte; nil while the text is unchanged, or when nobody asked.
    private(set) var origins: [Origin]?
    /// Where the text begins in what was given.
    let base: Int
    let tracksOrigins: Bool

    /// A part of what was given, unchanged.
    init(bytes: [UInt8], base: Int, tracksOrigins: Bool) {
        self.bytes = bytes
        self.base = base
        self.tracksOrigins = tracksOrigins
    }

    /// An empty text that takes the place of `other`.
    init(replacing other: AlignedText) {
        bytes = []
        bytes.reserveCapacity(other.bytes.count + 8)
        origins = other.tracksOrigins ? [] : nil
        base = other.base
        tracksOrigins = other.tracksOrigins
    }

    /// A part of a text, as a text of its own.
    init(_ other: AlignedText, _ range: Range<Int>) {
        bytes = Array(other.bytes[range])
        origins = other.origins.map { Array($0[range]) }
        base =
            other.origins == nil || range.isEmpty
            ? other.base + range.lowerBound : other.origin(at: range.lowerBound).start
        tracksOrigins = other.tracksOrigins
    }

    func origin(at index: Int) -> Origin {
        if let origins { return origins[index] }
        var start = index
        while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return Origin(start: base + start, end: base + start + UTF8.width(bytes[start]))
    }

    /// The origin of what is put in at `index`: that of the character before it.
    func originBefore(_ index: Int) -> Origin {
        index == 0 ? Origin(start: base, end: base) : origin(at: index - 1)
    }

    mutating func append(_ other: AlignedText, _ range: Range<Int>) {
        bytes.append(contentsOf: other.bytes[range])
        if origins != nil { for index in range { origins!.append(other.origin(at: index)) } }
    }

    mutating func append(_ text: some Sequence<UInt8>, _ origin: @autoclosure () -> Origin) {
        let start = bytes.count
        bytes.append(contentsOf: text)
        if origins != nil { origins!.append(contentsOf: repeatElement(origin(), count: bytes.count - start)) }
    }
}

extension UTF8 {
    /// How many bytes the character has that begins with this byte, in valid UTF-8.
    static func width(_ lead: UInt8) -> Int { lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }
}

extension Span<UInt8> {
    /// The scalar at `index`, which must begin one, in valid UTF-8.
    @inline(__always)
    func scalar(at index: Int) -> (value: UInt32, width: Int) {
        let lead = UInt32(self[index])
        if lead < 0x80 { return (lead, 1) }
        let second = UInt32(self[index + 1]) & 0x3F
        if lead < 0xE0 { return ((lead & 0x1F) << 6 | second, 2) }
        let third = UInt32(self[index + 2]) & 0x3F
        if lead < 0xF0 { return ((lead & 0x0F) << 12 | second << 6 | third, 3) }
        return ((lead & 0x07) << 18 | second << 12 | third << 6 | UInt32(self[index + 3]) & 0x3F, 4)
    }

    /// The scalar that ends just before `index`, which must be greater than 0.
    func scalar(before index: Int) -> (value: UInt32, width: Int) {
        var start = index - 1
        while self[start] & 0xC0 == 0x80 { start -= 1 }
        return scalar(at: start)
    }
}

extension Span<UInt8> {
    func allSatisfy(_ predicate: (UInt8) -> Bool) -> Bool {
        for index in indices where !predicate(self[index]) { return false }
        return true
    }
}
