package import Chat

/// What style control knows of an output.
package struct OutputStyle: Hashable, Sendable {
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
