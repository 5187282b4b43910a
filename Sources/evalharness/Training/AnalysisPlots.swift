import Evaluation
import Reporting
import Training

/// The drawings of an analysis: the SimPO paper's, of one model.
struct AnalysisPlots {
    private let analysis: RewardAnalysis
    private let pairs: [EvaluatedPair]

    init(_ analysis: RewardAnalysis, _ pairs: [EvaluatedPair]) {
        self.analysis = analysis
        self.pairs = pairs
    }

    /// Writes one SVG file a drawing.
    func write(to folder: String) throws {
        try Files.makeFolder(folder)
        let drawings = [
            ("likelihood-length", likelihoods.svg), ("margin-length", margins.svg), ("rewards", rewards.svg),
            ("contingency", contingency.svg),
        ]
        for (name, svg) in drawings { _ = try Files.write(svg, to: "\(folder)/\(name).svg") }
    }

    private var likelihoods: Plot {
        func points(_ rows: [RowLogProbs]) -> [Plot.Point] { rows.map { Plot.Point(Double($0.count), $0.average) } }
        let (chosen, rejected) = (points(pairs.map(\.chosen)), points(pairs.map(\.rejected)))
        let correlation = analysis.likelihoodLengthCorrelation.map { "\(($0 * 1_000).rounded() / 1_000)" } ?? "none"
        return Plot(
            title: "Likelihood and length", summary: "Spearman's rank correlation is \(correlation).",
            x: Plot.Axis("tokens of the response"), y: Plot.Axis("average log-probability, nats"),
            series: [
                Plot.Series("chosen", .points(chosen)), Plot.Series("rejected", .points(rejected)),
                Plot.Series("mean", .binnedMeans(chosen + rejected, bins: 12)),
            ])
    }

    private var margins: Plot {
        let points = pairs.map { Plot.Point(Double($0.lengthDifference), $0.margin) }
        return Plot(
            title: "Margin and length", summary: "A reward without length bias has a positive mean everywhere.",
            x: Plot.Axis("tokens, chosen minus rejected"), y: Plot.Axis("reward, chosen minus rejected"),
            series: [
                Plot.Series("pairs", .points(points)), Plot.Series("mean", .binnedMeans(points, bins: 12)),
            ])
    }

    private var rewards: Plot {
        let bins = Plot.Bin.shares(of: [pairs.map(\.chosenReward), pairs.map(\.rejectedReward)], bins: 30)
        return Plot(
            title: "Rewards", summary: "The share of the responses in each interval of the reward.",
            x: Plot.Axis("reward"), y: Plot.Axis("share"),
            series: zip(["chosen", "rejected"], bins).map { Plot.Series($0, .histogram($1)) })
    }

    private var contingency: ContingencyTable {
        let counts = analysis.contingency
        return ContingencyTable(
            title: "Reward and likelihood", summary: "How each of the two ranks the same pairs.",
            rows: ContingencyTable.Property("reward", yes: "chosen higher", no: "chosen not higher"),
            columns: ContingencyTable.Property("likelihood", yes: "chosen higher", no: "chosen not higher"),
            counts: ContingencyTable.Counts(
                both: counts.both, rowOnly: counts.rewardOnly, columnOnly: counts.likelihoodOnly,
                neither: counts.neither))
    }
}
