/// Several outputs for one prompt, each two different texts against each other: what ranks them is a judge of pairs.
package struct RoundRobin: Hashable, Sendable {
    /// Every two different texts once, in the order of the outputs.
    package let pairs: [OutputPair]
    private let outputs: [String]

    package init(prompt: Prompt, outputs: [String]) {
        self.outputs = outputs
        var texts: [String] = []
        for output in outputs where !texts.contains(where: { $0.utf8.elementsEqual(output.utf8) }) {
            texts.append(output)
        }
        let players = texts.map { ModelOutput(prompt: prompt, output: $0, generator: "sample") }
        pairs = players.indices.flatMap { first in
            players[(first + 1)...].map { OutputPair(prompt: prompt, baseline: players[first], output: $0) }
        }
    }

    /// For each output the mean preference for its text over the other texts, 0...1; an only text has 0.5.
    ///
    /// - Parameter annotations: of `pairs`, in their order.
    /// - Returns: nil where a verdict is missing, since the others would rank outputs that met different opponents.
    package func scores(_ annotations: [Annotation]) -> [Double]? {
        precondition(annotations.count == pairs.count, "\(annotations.count) annotations of \(pairs.count) pairs")
        var sums: [[UInt8]: (preference: Double, games: Double)] = [:]
        for (pair, annotation) in zip(pairs, annotations) {
            guard let preference = annotation.verdict.preference else { return nil }
            for (text, share) in [(pair.output.output, preference), (pair.baseline.output, 1 - preference)] {
                let sum = sums[Array(text.utf8)] ?? (0, 0)
                sums[Array(text.utf8)] = (sum.preference + share, sum.games + 1)
            }
        }
        return outputs.map { output in sums[Array(output.utf8)].map { $0.preference / $0.games } ?? 0.5 }
    }
}
