import Foundation
import Statistics

// Known truths, drawn again and again: how often intervals cover them, and what a gate says of them.
//
// Usage: CoverageSimulation [REPEATS]

let repeats = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 2_000
let world = World()

print("\(repeats) repeats each\n")
print("What 95 % intervals cover, %                              n     coverage   mean width")
report("win rate difference, paired", prompts: 805) { world.pairedMeans($0, prompts: 805) }
report("the same of 100 prompts", prompts: 100) { world.pairedMeans($0, prompts: 100) }
report("rating difference, two turns a prompt", prompts: 80) { world.clusteredMeans($0, prompts: 80) }
report("win rate difference, games and copies", prompts: 500) { world.games($0, prompts: 500) }
report("length-controlled win rate", prompts: 805) { world.lengthControlled($0, isDifference: false) }
report("length-controlled difference, paired", prompts: 805) { world.lengthControlled($0, isDifference: true) }

print(
    "\nA gate on the win rate over 805 prompts, margin 5 points, one-sided 5 %; D is the smallest detectable difference"
)
print("true change        design        regression   within margin   inconclusive   judged, median")
for effect in Effect.allCases { gate(effect) }

/// One interval and the truth that it should cover.
struct Trial: Sendable {
    var truth: Double
    var interval: Interval
}

func report(_ name: String, prompts: Int, _ trial: @Sendable (UInt64) -> Trial) {
    let trials = concurrentMap(repeats) { trial(UInt64($0)) }
    let covered = trials.count { $0.interval.lower <= $0.truth && $0.truth <= $0.interval.upper }
    let width = trials.reduce(0) { $0 + $1.interval.upper - $1.interval.lower } / Double(repeats)
    print(
        name.padding(toLength: 52, withPad: " ", startingAt: 0),
        String(format: "%6d     %6.2f %%   %8.3f", prompts, 100 * Double(covered) / Double(repeats), width))
}

enum Effect: String, CaseIterable {
    case none
    case margin = "the margin"
    case detectable = "the margin and D"
    case large = "twice that"
}

func gate(_ effect: Effect) {
    let margin = 5.0
    let detectable = smallestDetectableDifference(standardError: world.standardError(prompts: 805))
    let shift =
        switch effect {
        case .none: 0.0
        case .margin: -margin
        case .detectable: -margin - detectable
        case .large: 2 * (-margin - detectable)
        }
    for design in Design.allCases {
        let verdicts = concurrentMap(repeats) { world.gate(UInt64($0), shift: shift, margin: margin, design: design) }
        func share(_ decision: SequentialTest.Decision?) -> Double {
            100 * Double(verdicts.count { $0.decision == decision }) / Double(repeats)
        }
        let judged = verdicts.map { Double($0.judged) }.sorted()
        print(
            "\(effect.rawValue) (\(String(format: "%+.1f", shift)))".padding(toLength: 24, withPad: " ", startingAt: 0),
            design.rawValue.padding(toLength: 22, withPad: " ", startingAt: 0),
            String(
                format: "%6.1f %%      %6.1f %%        %6.1f %%        %4.0f of 805", share(.below), share(.above),
                share(nil),
                quantile(0.5, ofSorted: judged)))
    }
}
