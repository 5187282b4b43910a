package import Chat

/// What of an output's form style control holds equal.
package struct StyleFeatures: OptionSet, Hashable, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    package static let length = StyleFeatures(rawValue: 1)
    package static let markdown = StyleFeatures(rawValue: 2)

    /// A name a column, for benchmarks whose upstream has none.
    package var plainNames: [String] { names.map { $0 == "token_len" ? "length" : $0 } }

    /// In arena-hard-auto's words, a name a column.
    package var names: [String] {
        (contains(.length) ? ["token_len"] : [])
            + (contains(.markdown) ? ["header_count", "list_count", "bold_count"] : [])
    }
}

/// What style control knows of an output.
package struct OutputStyle: Hashable, Sendable {
    /// Where no tokenizer is the benchmark's own, Unicode scalars.
    package var tokens: Int
    package var headers: Int
    package var lists: Int
    package var bolds: Int

    package init(tokens: Int, headers: Int, lists: Int, bolds: Int) {
        self.tokens = tokens
        self.headers = headers
        self.lists = lists
        self.bolds = bolds
    }

    /// Reads upstream's `conv_metadata` (v0.1) or `metadata` (v2.0), whose kinds are summed.
    package init?(_ record: JSONValue) {
        func sum(_ key: String) -> Int? {
            guard let value = record[key] else { return nil }
            let counts = value.object?.members.map(\.value.integer) ?? [value.integer]
            let known = counts.compactMap { $0 }
            // What is not a count of something in an output is none at all.
            guard known.count == counts.count, known.allSatisfy({ (0...1_000_000_000).contains($0) }) else {
                return nil
            }
            return known.reduce(0, +)
        }
        guard let tokens = sum("token_len"), let headers = sum("header_count"), let lists = sum("list_count"),
            let bolds = sum("bold_count")
        else { return nil }
        self.init(tokens: tokens, headers: headers, lists: lists, bolds: bolds)
    }

    /// Of a text whose length is counted in Unicode scalars.
    package init(_ text: String) {
        self = OutputMetadata(text, tokens: text.unicodeScalars.count).style
    }

    /// What style control works on: (own − other) / (own + other + 1) of each feature, as arena-hard-auto v0.1 has it.
    func difference(from other: OutputStyle, _ features: StyleFeatures) -> [Double] {
        zip(values(features), other.values(features)).map { ($0 - $1) / ($0 + $1 + 1) }
    }

    /// A number for each of the features.
    func values(_ features: StyleFeatures) -> [Double] {
        (features.contains(.length) ? [Double(tokens)] : []) + (features.contains(.markdown) ? markdown : [])
    }

    var markdown: [Double] { [Double(headers), Double(lists), Double(bolds)] }
}

/// Upstream's record of an output's form.
package struct OutputMetadata: Hashable, Sendable {
    package var tokens: Int
    package var markdown: MarkdownCounts

    package init(_ output: String, tokens: Int) {
        self.tokens = tokens
        markdown = MarkdownCounts(output)
    }

    /// As `conv_metadata` (v0.1) and `metadata` (v2.0) keep it.
    package var json: JSONObject {
        var record: JSONObject = ["token_len": .integer(tokens)]
        for member in markdown.json.members { record[member.key] = member.value }
        return record
    }

    package var style: OutputStyle {
        OutputStyle(
            tokens: tokens, headers: markdown.headers.reduce(0, +), lists: markdown.ordered + markdown.unordered,
            bolds: markdown.stars + markdown.underscores)
    }
}
