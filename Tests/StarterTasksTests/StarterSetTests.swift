import Chat
import Evaluation
import Foundation
import StarterTasks
import TestSupport
import Testing

@Suite struct StarterSetTests {
    private static let training = StarterSet(.training, count: 1_900, twoTurns: 190, seed: 5)
    private static let heldOut = StarterSet(.heldOut, count: 300, twoTurns: 100, seed: 5)

    @Test(arguments: StarterFamily.allCases)
    func `Good answers meet every check, and flawed ones do not`(_ family: StarterFamily) {
        let turns = (Self.training.tasks + Self.heldOut.tasks).filter { $0.family == family.rawValue }.flatMap(\.turns)
        #expect(turns.count >= 20)
        for turn in turns {
            for answer in turn.good {
                #expect(turn.checks.quality(answer) == 1, "\(turn.prompt) → \(answer): \(turn.checks.json.text())")
            }
            for answer in turn.wrong + turn.offFormat {
                #expect(turn.checks.quality(answer) < 1, "\(turn.prompt) → \(answer): \(turn.checks.json.text())")
            }
        }
    }

    @Test func `A wordy answer is worse than a good one and better than a wrong one`() throws {
        let demonstrations = Self.training.demonstrations(good: 0, seed: 1)
        var wordy = 0
        for (task, line) in zip(Self.training.tasks, demonstrations) {
            let answers = line["messages"]?.array?.filter { $0["role"] == "assistant" } ?? []
            #expect(answers.count == task.turns.count)
            for (turn, answer) in zip(task.turns, answers) {
                let text = try #require(answer["content"]?.string)
                #expect(turn.checks.quality(text) < 1, "\(turn.prompt) → \(text)")
                let isWordy = turn.good.contains { text.count > $0.count + 40 && text.contains($0) }
                if isWordy { wordy += 1 }
            }
        }
        #expect(wordy > demonstrations.count / 10)
    }

    @Test func `Every family is there, and each held-out task once`() {
        for set in [Self.training, Self.heldOut] {
            #expect(Set(set.tasks.map(\.family)) == Set(StarterFamily.allCases.map(\.rawValue)))
        }
        #expect(Set(Self.heldOut.tasks.map(\.key)).count == Self.heldOut.tasks.count)
        #expect(Self.heldOut.tasks.count { $0.turns.count == 2 } == 100)
    }

    @Test func `No held-out prompt is in any training set`() {
        let heldOut = Set(Self.heldOut.tasks.map { $0.turns[0].prompt })
        for seed in [5, 6, 7] as [UInt64] {
            let prompts = StarterSet(.training, count: 3_000, seed: seed).tasks.map { $0.turns[0].prompt }
            #expect(heldOut.isDisjoint(with: prompts))
        }
    }

    @Test func `A seed makes the same set again, and another one another`() {
        let set = StarterSet(.training, count: 100, seed: 1)
        #expect(set == StarterSet(.training, count: 100, seed: 1))
        #expect(set != StarterSet(.training, count: 100, seed: 2))
    }

    @Test func `The starter prompts of the benchmarks are what the families make`() throws {
        for (benchmark, lines) in StarterSet.benchmarks {
            let path = "\(SharedData.packageRoot)/benchmarks/\(benchmark)/starter/prompts.jsonl"
            let kept = try JSONValue.parseLines(Array(Data(contentsOf: URL(fileURLWithPath: path))))
            #expect(kept.map { $0.text() } == lines.map { $0.text() }, "\(benchmark)")
        }
    }

    @Test func `Files are read back with the same checks`() throws {
        let lines = Self.heldOut.benchmarkPrompts().prefix(200).map { $0.text() }.joined(separator: "\n")
        let set = try PromptSet(bytes: Array(lines.utf8), path: "prompts.jsonl", isOfficial: false)
        #expect(set.prompts.map(\.instruction) == Self.heldOut.tasks.prefix(200).map { $0.turns[0].prompt })
        #expect(set.prompts.map(\.checks) == Self.heldOut.tasks.prefix(200).map { [$0.turns[0].checks] })
        for (question, task) in zip(Self.heldOut.benchmarkQuestions(), Self.heldOut.tasks) {
            let checks = try question["checks"]?.array?.map { try CheckList($0, place: "a turn") }
            #expect(checks == task.turns.map(\.checks))
        }
    }
}
