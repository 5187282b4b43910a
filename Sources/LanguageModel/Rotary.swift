internal import Chat
internal import Glibc

/// How a checkpoint stretches its rotary embedding beyond the lengths it was first trained on.
enum RotaryScaling {
    enum Kind: String, Sendable {
        case none = "default"
        case linear
        case llama3
        case yarn
        case longRope = "longrope"
    }

    case none
    case linear(factor: Double)
    /// Wavelengths above original/low are stretched by the factor, those below original/high kept, with a ramp between.
    case llama3(factor: Double, low: Double, high: Double, original: Double)
    /// A ramp between stretched and kept frequencies, over the pairs that turn `slow`...`fast` times in the original
    /// length (arXiv 2309.00071).
    case yarn(factor: Double, original: Double, fast: Double, slow: Double, truncates: Bool)
    /// One divisor a pair (arXiv 2402.13753).
    case longRope(divisors: [Double])

    /// The angle a position of each of `size / 2` pairs.
    ///
    /// In 32-bit steps and their order as transformers 4.57 takes them, so that the angles agree to the last bits:
    /// at a position of 100,000 a unit in the last place of a frequency is worth 0.006 radians.
    func inverseFrequencies(base: Double, size: Int) -> [Float] {
        let powers = (0..<size / 2).map { pair in
            Float(pow(Double(Float(base)), Double(Float(2 * pair) / Float(size))))
        }
        switch self {
        case .none: return powers.map { 1 / $0 }
        case .linear(let factor): return powers.map { 1 / $0 / Float(factor) }
        case .llama3(let factor, let low, let high, let original):
            return powers.map { llama3(1 / $0, Float(factor), low, high, original) }
        case .yarn(let factor, let original, let fast, let slow, let truncates):
            let ramp = Self.yarnRamp(size, base, original, fast, slow, truncates)
            return zip(powers, ramp).map { power, ramp in
                let kept = 1 - ramp
                return 1 / (Float(factor) * power) * (1 - kept) + 1 / power * kept
            }
        case .longRope(let divisors): return zip(powers, divisors).map { 1 / (Float($1) * $0) }
        }
    }

    private func llama3(_ frequency: Float, _ factor: Float, _ low: Double, _ high: Double, _ original: Double) -> Float
    {
        let wavelength = 1 / frequency * Float(2 * Double.pi)
        if wavelength > Float(original / low) { return frequency / factor }
        if wavelength < Float(original / high) { return frequency }
        let smooth = (1 / wavelength * Float(original) - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
    }

    private static func yarnRamp(
        _ size: Int, _ base: Double, _ original: Double, _ fast: Double, _ slow: Double, _ truncates: Bool
    ) -> [Float] {
        func pair(turning rotations: Double) -> Double {
            Double(size) * log(original / (rotations * 2 * .pi)) / (2 * log(base))
        }
        let first = pair(turning: fast)
        let last = pair(turning: slow)
        let low = max(truncates ? first.rounded(.down) : first, 0)
        var high = min(truncates ? last.rounded(.up) : last, Double(size - 1))
        if low == high { high += 0.001 }
        return (0..<size / 2).map { min(max((Float($0) - Float(low)) / Float(high - low), 0), 1) }
    }
}

/// Reads the rotary settings in both of their spellings: `rope_theta` and `rope_scaling`, or the one object
/// `rope_parameters` that transformers writes from version 5 on.
struct RotaryReader {
    let fields: ConfigurationFields
    let headSize: Int
    let contextLength: Int

    /// One table; two where sliding layers have a base of their own.
    ///
    /// - Throws: `unsupported` naming the field.
    func tables() throws(CheckpointError) -> [ModelConfiguration.Rotary] {
        let isSplit = fields.family.defaults["rope_local_base_freq"] != nil
        guard let parameters = try fields.optionalObject("rope_parameters") else {
            let main = try table(try scalingSettings(), base: try base("rope_theta"))
            return isSplit ? [main, try table(nil, base: try base("rope_local_base_freq"))] : [main]
        }
        if fields.states("rope_scaling") {
            throw fields.fault("rope_scaling", "stands beside \"rope_parameters\"; only one of them may be there")
        }
        if !isSplit { return [try table(Settings(parameters, "rope_parameters", self))] }
        return [try layerTable(parameters, "full_attention"), try layerTable(parameters, "sliding_attention")]
    }

    /// The length beyond which the tables are not those of a text; nil where they are right for every text.
    ///
    /// LongRoPE turns to other factors for a whole text as soon as it passes the original length; what was computed
    /// before that point would be wrong behind it. So such a model is held to its original length, where the short
    /// factors are exact.
    func positionLimit() throws(CheckpointError) -> Int? {
        guard fields.family.scalings.contains(.longRope), let settings = try scaling(),
            try kind(settings) == .longRope
        else { return nil }
        return min(contextLength, try originalLength(settings))
    }

    private func base(_ field: String) throws(CheckpointError) -> Double { try fields.number(field, Self.bases) }
    private static let bases = 1.0001...1e12
    private static let factors = 1e-3...1e6
    private static let lengths = 1.0...1e9

    private func scalingSettings() throws(CheckpointError) -> Settings? {
        guard let object = try fields.optionalObject("rope_scaling") else { return nil }
        return Settings(object, "rope_scaling", self)
    }

    private func scaling() throws(CheckpointError) -> Settings? {
        if let settings = try scalingSettings() { return settings }
        guard let object = try fields.optionalObject("rope_parameters") else { return nil }
        return Settings(object, "rope_parameters", self)
    }

    private func layerTable(_ parameters: JSONObject, _ type: String) throws(CheckpointError)
        -> ModelConfiguration.Rotary
    {
        for key in parameters.keys where key != "full_attention" && key != "sliding_attention" {
            throw fields.fault("rope_parameters", "has \"\(key.abridged)\"; one object a type of layer is expected")
        }
        guard let object = parameters[type]?.object else {
            throw fields.fault("rope_parameters", "has no object \"\(type)\"")
        }
        return try table(Settings(object, "rope_parameters.\(type)", self))
    }

    private func table(_ settings: Settings) throws(CheckpointError) -> ModelConfiguration.Rotary {
        let outer = settings.name == "rope_parameters" && fields.states("rope_theta") ? try base("rope_theta") : nil
        let own = try settings.optionalNumber("rope_theta", Self.bases)
        guard let base = own ?? outer else { throw settings.fault("has no \"rope_theta\"") }
        guard outer == nil || outer == base else {
            throw fields.fault("rope_theta", "contradicts the one in \"rope_parameters\"")
        }
        return try table(settings, base: base)
    }

    private func table(_ settings: Settings?, base: Double) throws(CheckpointError) -> ModelConfiguration.Rotary {
        let size = try rotatedSize(settings)
        let (scaling, attentionFactor) = try scaling(settings, pairs: size / 2)
        let frequencies = scaling.inverseFrequencies(base: base, size: size)
        guard frequencies.allSatisfy({ $0.isFinite && $0 >= 0 }), attentionFactor.isFinite else {
            throw fields.fault(settings?.name ?? "rope_theta", "gives angles that are not finite numbers")
        }
        return ModelConfiguration.Rotary(
            inverseFrequencies: frequencies, attentionFactor: Float(attentionFactor), rotatedSize: size)
    }

    private func rotatedSize(_ settings: Settings?) throws(CheckpointError) -> Int {
        let own = try settings?.optionalNumber("partial_rotary_factor", 0...1)
        let outer = try fields.optionalNumber("partial_rotary_factor", 0...1)
        let size = Int(Double(headSize) * (own ?? outer ?? 1))
        let isPartial = fields.family.defaults["partial_rotary_factor"] != nil
        guard size >= 2, size % 2 == 0, isPartial || size == headSize else {
            throw fields.fault(
                "partial_rotary_factor", "turns \(size) of \(headSize) elements of a head, which is not computed")
        }
        return size
    }

    private func kind(_ settings: Settings) throws(CheckpointError) -> RotaryScaling.Kind {
        // "su" and "yarn" are the names that Phi-3's first releases gave to LongRoPE.
        let isPhi3 = fields.family.scalings.contains(.longRope)
        var names: Set<String> = []
        for key in ["rope_type", "type"] {
            guard let name = try settings.text(key) else { continue }
            names.insert(isPhi3 && (name == "su" || name == "yarn") ? "longrope" : name)
        }
        guard let name = names.first else { throw settings.fault("has no \"rope_type\"") }
        guard names.count == 1 else { throw settings.fault("has both \"rope_type\" and \"type\", and they differ") }
        guard let kind = RotaryScaling.Kind(rawValue: name), fields.family.scalings.contains(kind) else {
            let advice = name == "dynamic" ? " (its angles change with the length of the text)" : ""
            throw settings.fault(
                "is of type \"\(name.abridged)\", which is not computed for \(fields.modelType) models" + advice)
        }
        return kind
    }

    /// What the frequencies are made by, and what cosine and sine are multiplied by.
    private func scaling(
        _ settings: Settings?, pairs: Int
    ) throws(CheckpointError) -> (RotaryScaling, Double) {
        guard let settings else { return (.none, 1) }
        let kind = try kind(settings)
        try settings.checkKeys(of: kind)
        switch kind {
        case .none: return (.none, 1)
        case .linear: return (.linear(factor: try settings.number("factor", Self.factors)), 1)
        case .llama3: return (try llama3(settings), 1)
        case .yarn: return (try yarn(settings), try yarnAttentionFactor(settings))
        case .longRope: return (try longRope(settings, pairs: pairs), try longRopeAttentionFactor(settings))
        }
    }

    private func llama3(_ settings: Settings) throws(CheckpointError) -> RotaryScaling {
        let low = try settings.number("low_freq_factor", Self.factors)
        let high = try settings.number("high_freq_factor", Self.factors)
        guard low < high else { throw settings.fault("has a low_freq_factor that is not below its high_freq_factor") }
        return .llama3(
            factor: try settings.number("factor", Self.factors), low: low, high: high,
            original: try settings.number("original_max_position_embeddings", Self.lengths))
    }

    private func yarn(_ settings: Settings) throws(CheckpointError) -> RotaryScaling {
        .yarn(
            factor: try settings.number("factor", Self.factors),
            original: try settings.optionalNumber("original_max_position_embeddings", Self.lengths)
                ?? Double(contextLength),
            fast: try settings.optionalNumber("beta_fast", Self.factors) ?? 32,
            slow: try settings.optionalNumber("beta_slow", Self.factors) ?? 1,
            truncates: try settings.optionalBool("truncate") ?? true)
    }

    private func yarnAttentionFactor(_ settings: Settings) throws(CheckpointError) -> Double {
        if let stated = try settings.optionalNumber("attention_factor", Self.factors) { return stated }
        let factor = try settings.number("factor", Self.factors)
        func scale(_ weight: Double) -> Double { factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1 }
        let part = try settings.optionalNumber("mscale", 0...1e3) ?? 0
        let whole = try settings.optionalNumber("mscale_all_dim", 0...1e3) ?? 0
        return part != 0 && whole != 0 ? scale(part) / scale(whole) : scale(1)
    }

    private func longRope(_ settings: Settings, pairs: Int) throws(CheckpointError) -> RotaryScaling {
        for key in ["short_factor", "long_factor"] {
            let count = try settings.numbers(key, Self.factors).count
            guard count == pairs else { throw settings.fault("has \(count) values in \"\(key)\" for \(pairs) pairs") }
        }
        return .longRope(divisors: try settings.numbers("short_factor", Self.factors))
    }

    private func longRopeAttentionFactor(_ settings: Settings) throws(CheckpointError) -> Double {
        if let stated = try settings.optionalNumber("attention_factor", Self.factors) { return stated }
        let original = Double(try originalLength(settings))
        let factor = Double(contextLength) / original
        return factor <= 1 ? 1 : (1 + log(factor) / log(original)).squareRoot()
    }

    private func originalLength(_ settings: Settings) throws(CheckpointError) -> Int {
        if let own = try settings.optionalNumber("original_max_position_embeddings", 2...1e9) { return Int(own) }
        return try fields.integer("original_max_position_embeddings", 2...ModelConfiguration.longestContext)
    }

    /// One object of rotary settings.
    private struct Settings {
        let object: JSONObject
        let name: String
        let fields: ConfigurationFields

        init(_ object: JSONObject, _ name: String, _ reader: RotaryReader) {
            self.object = object
            self.name = name
            fields = reader.fields
        }

        func fault(_ problem: String) -> CheckpointError { fields.fault(name, problem) }

        func checkKeys(of kind: RotaryScaling.Kind) throws(CheckpointError) {
            var known: Set<String> = ["rope_type", "type", "original_max_position_embeddings"]
            if name != "rope_scaling" { known.formUnion(["rope_theta", "partial_rotary_factor"]) }
            switch kind {
            case .none: break
            case .linear: known.formUnion(["factor"])
            case .llama3: known.formUnion(["factor", "low_freq_factor", "high_freq_factor"])
            case .yarn:
                known.formUnion([
                    "factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
                ])
            case .longRope: known.formUnion(["factor", "attention_factor", "short_factor", "long_factor"])
            }
            for member in object.members where !member.value.isNull && !known.contains(member.key) {
                throw fault("has \"\(member.key.abridged)\", which is not known for type \(kind.rawValue)")
            }
        }

        func optionalNumber(_ key: String, _ range: ClosedRange<Double>) throws(CheckpointError) -> Double? {
            guard let value = object[key], !value.isNull else { return nil }
            guard let number = value.number, range.contains(number) else {
                throw fault(
                    "has \(fields.text(value)) as \"\(key)\"; a number from \(range.lowerBound) to "
                        + "\(range.upperBound) is expected"
                )
            }
            return number
        }

        func number(_ key: String, _ range: ClosedRange<Double>) throws(CheckpointError) -> Double {
            guard let number = try optionalNumber(key, range) else { throw fault("has no \"\(key)\"") }
            return number
        }

        func numbers(_ key: String, _ range: ClosedRange<Double>) throws(CheckpointError) -> [Double] {
            let numbers = (object[key]?.array ?? []).compactMap(\.number)
            guard !numbers.isEmpty, numbers.count == object[key]?.array?.count, numbers.allSatisfy(range.contains)
            else {
                throw fault("has no \"\(key)\" that is a list of numbers above 0")
            }
            return numbers
        }

        func optionalBool(_ key: String) throws(CheckpointError) -> Bool? {
            guard let value = object[key], !value.isNull else { return nil }
            guard let bool = value.bool else {
                throw fault("has \(fields.text(value)) as \"\(key)\"; true or false is expected")
            }
            return bool
        }

        func text(_ key: String) throws(CheckpointError) -> String? {
            guard let value = object[key], !value.isNull else { return nil }
            guard let text = value.string else {
                throw fault("has \(fields.text(value)) as \"\(key)\"; a text is expected")
            }
            return text
        }
    }
}
