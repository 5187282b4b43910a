@_spi(_Unicode) internal import Swift

/// The canonical forms of Unicode, with each scalar's debt to the text before.
///
/// By the data of Unicode 9, as `tokenizers` has it: later scalars neither decompose nor combine.
enum UnicodeNormalization {
    /// A scalar of the new text. `change` 1: it is new, and shares the origin of the one before; 0: it takes the place
    /// of the next old one; -n: of that and n more.
    struct Change {
        var scalar: Unicode.Scalar
        var change: Int
    }

    static func isUnchanged(_ text: AlignedText, composed: Bool) -> Bool {
        // Below U+00C0 nothing decomposes; below U+0300 nothing combines with what is before it.
        let limit: UInt8 = composed ? 0xCC : 0xC3
        if text.bytes.allSatisfy({ $0 < limit }) { return true }
        let string = String(decoding: text.bytes, as: UTF8.self)
        return composed ? string._nfc.elementsEqual(string.unicodeScalars) : false
    }

    static func decompose(_ scalars: some Sequence<Unicode.Scalar>) -> [Change] {
        var changes: [Change] = []
        var pendingFrom = 0
        for scalar in scalars {
            for (index, part) in decomposition(of: scalar).enumerated() {
                if combiningClass(part) == 0 {
                    sortMarks(&changes, from: pendingFrom)
                    pendingFrom = changes.count + 1
                }
                changes.append(Change(scalar: part, change: index == 0 ? 0 : 1))
            }
        }
        sortMarks(&changes, from: pendingFrom)
        return changes
    }

    /// Puts a run of combining marks in the order of their classes, keeping that of equals.
    private static func sortMarks(_ changes: inout [Change], from start: Int) {
        guard start + 1 < changes.count else { return }
        changes[start...].sort { combiningClass($0.scalar) < combiningClass($1.scalar) }
    }

    static func compose(_ parts: [Change]) -> [Change] {
        var composed: [Change] = []
        composed.reserveCapacity(parts.count)
        var starter: Int?
        var lastClass: UInt8?
        for part in parts {
            let partClass = combiningClass(part.scalar)
            let isBlocked = lastClass.map { $0 >= partClass } ?? false
            if let starter, !isBlocked, let whole = composition(composed[starter].scalar, part.scalar) {
                composed[starter].scalar = whole
                composed[starter].change += part.change - 1
                continue
            }
            if partClass == 0 {
                starter = composed.count
                lastClass = nil
            } else if starter != nil {
                lastClass = partClass
            }
            composed.append(part)
        }
        return composed
    }

    private static func isKnown(_ scalar: Unicode.Scalar) -> Bool {
        guard let age = scalar.properties.age else { return false }
        return age.major <= 9
    }

    static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: isKnown(scalar)
        default: false
        }
    }

    private static func combiningClass(_ scalar: Unicode.Scalar) -> UInt8 {
        if scalar.value < 0x300 { return 0 }
        let value = scalar.properties.canonicalCombiningClass.rawValue
        return value == 0 || !isKnown(scalar) ? 0 : value
    }

    private static func decomposition(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        scalar.value < 0xC0 || !isKnown(scalar) ? [scalar] : Array(String(scalar)._nfd)
    }

    private static func composition(_ first: Unicode.Scalar, _ second: Unicode.Scalar) -> Unicode.Scalar? {
        if second.value < 0x300 { return nil }
        var pair = String(first)
        pair.unicodeScalars.append(second)
        var scalars = pair._nfc.makeIterator()
        guard let whole = scalars.next(), scalars.next() == nil, isKnown(whole) else { return nil }
        return whole
    }
}
