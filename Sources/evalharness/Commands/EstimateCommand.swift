import ArgumentParser
import Chat
import Evaluation
import Reporting

struct EstimateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "estimate",
        abstract: "Calls, tokens, money and time of a run, before spending anything.",
        discussion: """
            Takes the flags of run, and asks nobody. Where the outputs are there already, the judge's requests are written and \
            counted; where they are yet to be made, the most that they can be. Money is by judges/prices.yaml, a dated file that \
            --prices replaces: a price that is not in it is unknown. run --max-cost stops before a sum is passed.
            """)

    @OptionGroup var options: RunOptions

    func run() async throws {
        var options = options
        options.asking.dryRun = true
        guard let model = options.model else { throw RunCommand.nothingToRun(options.benchmark) }
        let pipeline = try Pipeline(options)
        let estimate =
            pipeline.form == nil
            ? try await pipeline.estimate(model: model)
            : try await ConversationRun(pipeline, models: options.models).estimate()
        estimate.show(asJSON: options.scoring.json)
    }
}

extension Estimate {
    func show(asJSON: Bool) {
        if asJSON { return Console.data(json.text(.indented(2)) + "\n") }
        Console.data(table.text)
        Console.note(
            "In all: " + (costAtMost.map { "at most $\(TextTable.decimal($0, 4))." } ?? "the cost is unknown."))
        for note in notes { Console.note("note: \(note)") }
    }
}
