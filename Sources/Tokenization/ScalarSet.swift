/// A set of Unicode scalars, as a pattern's character class describes it.
struct ScalarSet: Hashable, Sendable {
    /// A bit a general category.
    private var categories: UInt32 = 0
    private var ranges: [ClosedRange<UInt32>] = []
    private var hasWordScalars = false
    private var hasNumericScalars = false
    private var alsoIn: [ScalarSet] = []
    private var onlyIn: [ScalarSet] = []
    private var isNegated = false
    /// Membership of U+0000...U+003F and U+0040...U+007F, derived from the above.
    private var asciiLow: UInt64 = 0
    private var asciiHigh: UInt64 = 0

    static let empty = ScalarSet()

    static func scalars(_ ranges: ClosedRange<UInt32>...) -> ScalarSet {
        ScalarSet.built { $0.ranges = ranges }
    }

    /// A general category by its short name, such as `L` or `Lu`; nil when there is none of that name.
    static func category(_ name: String) -> ScalarSet? {
        guard let mask = GeneralCategories.mask(named: name) else { return nil }
        return ScalarSet.built { $0.categories = mask }
    }

    /// The property White_Space (Unicode 16), what `\s` is to the engines that published tokenizers were made with.
    static let whitespace = scalars(
        0x09...0x0D, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029,
        0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000)
    /// Alphabetic, marks, decimal digits, connector punctuation: `\w`.
    static let word = ScalarSet.built { $0.hasWordScalars = true }
    /// Digits and other numbers.
    static let numeric = ScalarSet.built { $0.hasNumericScalars = true }
    static let asciiPunctuation = scalars(0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E)

    private static func built(_ change: (inout ScalarSet) -> Void) -> ScalarSet {
        var set = ScalarSet()
        change(&set)
        set.tabulateASCII()
        return set
    }

    private mutating func tabulateASCII() {
        asciiLow = 0
        asciiHigh = 0
        for value in UInt32(0)..<64 {
            if evaluate(value) { asciiLow |= 1 << UInt64(value) }
            if evaluate(value + 64) { asciiHigh |= 1 << UInt64(value) }
        }
    }

    func union(_ other: ScalarSet) -> ScalarSet {
        ScalarSet.built { set in
            if !isNegated, onlyIn.isEmpty { set = self } else { set.alsoIn = [self] }
            if other.isNegated || !other.onlyIn.isEmpty {
                set.alsoIn.append(other)
            } else {
                set.categories |= other.categories
                set.ranges += other.ranges
                set.hasWordScalars = set.hasWordScalars || other.hasWordScalars
                set.hasNumericScalars = set.hasNumericScalars || other.hasNumericScalars
                set.alsoIn += other.alsoIn
            }
        }
    }

    func intersection(_ other: ScalarSet) -> ScalarSet {
        ScalarSet.built { $0.onlyIn = [self, other] }
    }

    var inverted: ScalarSet {
        ScalarSet.built { set in
            set = self
            set.isNegated.toggle()
        }
    }

    @inline(__always)
    func contains(_ value: UInt32) -> Bool {
        if value < 64 { return asciiLow >> UInt64(value) & 1 != 0 }
        if value < 128 { return asciiHigh >> UInt64(value & 63) & 1 != 0 }
        return evaluate(value)
    }

    private func evaluate(_ value: UInt32) -> Bool {
        if !onlyIn.isEmpty { return onlyIn.allSatisfy { $0.evaluate(value) } != isNegated }
        if categories != 0, categories >> UInt32(GeneralCategories.category(of: value)) & 1 != 0 { return !isNegated }
        for range in ranges where range.contains(value) { return !isNegated }
        if hasWordScalars, GeneralCategories.isWord(value) { return !isNegated }
        if hasNumericScalars, GeneralCategories.isNumeric(value) { return !isNegated }
        for set in alsoIn where set.evaluate(value) { return !isNegated }
        return isNegated
    }
}

/// General categories as Unicode 16 assigned them, the version of the regular expressions in `tokenizers` 0.22: a
/// scalar that came later is unassigned there, and would be split differently.
enum GeneralCategories {
    private static let names = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    ]
    private static let unassigned: UInt8 = 29

    /// The categories that a name stands for, a bit each: `L` is Lu, Ll, Lt, Lm and Lo.
    static func mask(named name: String) -> UInt32? {
        var mask: UInt32 = 0
        for (index, full) in names.enumerated() where full == name || (name.count == 1 && full.hasPrefix(name)) {
            mask |= 1 << UInt32(index)
        }
        return mask == 0 ? nil : mask
    }

    /// The categories of U+0000...U+FFFF.
    private static let basicPlane: [UInt8] = (0...0xFFFF).map { Unicode.Scalar($0).map(lookUp) ?? 27 }

    static func category(of value: UInt32) -> UInt8 {
        value < 0x10000 ? basicPlane[Int(value)] : Unicode.Scalar(value).map(lookUp) ?? unassigned
    }

    private static func lookUp(_ scalar: Unicode.Scalar) -> UInt8 {
        let index = index(of: scalar.properties.generalCategory)
        guard let age = scalar.properties.age else { return index }
        return age.major > 16 ? unassigned : index
    }

    private static func index(of category: Unicode.GeneralCategory) -> UInt8 {
        switch category {
        case .uppercaseLetter: 0
        case .lowercaseLetter: 1
        case .titlecaseLetter: 2
        case .modifierLetter: 3
        case .otherLetter: 4
        case .nonspacingMark: 5
        case .spacingMark: 6
        case .enclosingMark: 7
        case .decimalNumber: 8
        case .letterNumber: 9
        case .otherNumber: 10
        case .connectorPunctuation: 11
        case .dashPunctuation: 12
        case .openPunctuation: 13
        case .closePunctuation: 14
        case .initialPunctuation: 15
        case .finalPunctuation: 16
        case .otherPunctuation: 17
        case .mathSymbol: 18
        case .currencySymbol: 19
        case .modifierSymbol: 20
        case .otherSymbol: 21
        case .spaceSeparator: 22
        case .lineSeparator: 23
        case .paragraphSeparator: 24
        case .control: 25
        case .format: 26
        case .surrogate: 27
        case .privateUse: 28
        case .unassigned: 29
        @unknown default: 29
        }
    }

    static func isWord(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        switch category(of: value) {
        case 0...8, 11: return true
        case unassigned: return false
        default: return scalar.properties.isAlphabetic
        }
    }

    /// By the current version of Unicode: what Rust's own `char::is_numeric` is, which `Digits` uses.
    static func isNumeric(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        switch scalar.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }
}
