package import Chat
import Evaluation
import Statistics

/// Tasks in numbers: those to train on, and those that nothing is trained on.
package struct StarterSet: Hashable, Sendable {
    package enum Split: Sendable { case training, heldOut }

    package var tasks: [StarterTask]

    /// Tasks of all families in turn; held-out ones each once, while one to train on may come again.
    ///
    /// A prompt belongs to one split whatever the seed: the first digit of its SHA-256 decides.
    ///
    /// - Parameter twoTurns: how many of them have a second turn; they come last.
    package init(_ split: Split, count: Int, twoTurns: Int = 0, seed: UInt64) {
        var draw = Draw(SeededGenerator(seed: seed))
        var seen: Set<String> = []
        tasks = []
        while tasks.count < count {
            let isDouble = tasks.count >= count - twoTurns
            let families = isDouble ? StarterFamily.leading : StarterFamily.allCases
            let family = families[tasks.count % families.count]
            var task: StarterTask
            var attempts = 0
            repeat {
                let turns = isDouble ? family.twoTurns(&draw) : [family.turn(&draw)]
                task = StarterTask(family: family.rawValue, turns: turns)
                attempts += 1
                precondition(attempts < 100_000, "\(family.rawValue) has fewer than \(tasks.count) prompts")
            } while Self.split(of: task) != split || (split == .heldOut && !seen.insert(task.key).inserted)
            tasks.append(task)
        }
    }

    private static func split(of task: StarterTask) -> Split {
        Digest.sha256(task.turns[0].prompt).hasPrefix("0") ? .heldOut : .training
    }

    // MARK: Files, as JSON Lines

    /// The starter prompts of each benchmark, as they lie under `benchmarks/`: nothing is trained on them.
    package static var benchmarks: [(benchmark: String, lines: [JSONValue])] {
        [
            ("alpacaeval", StarterSet(.heldOut, count: 300, seed: 3).benchmarkPrompts()),
            ("mt-bench", StarterSet(.heldOut, count: 100, twoTurns: 100, seed: 4).benchmarkQuestions()),
            ("arena-hard", StarterSet(.heldOut, count: 200, seed: 5).benchmarkQuestions()),
        ]
    }

    /// Conversations to learn from, `good` of 1 of the answers good ones.
    package func demonstrations(good: Double, seed: UInt64) -> [JSONValue] {
        var draw = Draw(SeededGenerator(seed: seed))
        return tasks.map { task in
            let messages = task.turns.flatMap { turn in
                [Self.message("user", turn.prompt), Self.message("assistant", turn.answer(good: good, &draw))]
            }
            return ["messages": .array(messages)]
        }
    }

    /// Prompts to sample outputs for, with the checks that rank them; a second turn follows a good first answer.
    package func samplingPrompts() -> [JSONValue] {
        tasks.map { task in
            var messages: [JSONValue] = []
            for turn in task.turns.dropLast() {
                messages += [Self.message("user", turn.prompt), Self.message("assistant", turn.good[0])]
            }
            let last = task.turns[task.turns.count - 1]
            let prompt: JSONValue =
                messages.isEmpty ? .string(last.prompt) : .array(messages + [Self.message("user", last.prompt)])
            return ["prompt": prompt, "checks": last.checks.json]
        }
    }

    /// The prompts of a benchmark of single turns.
    package func benchmarkPrompts() -> [JSONValue] {
        tasks.map { task in
            [
                "instruction": .string(task.turns[0].prompt), "dataset": .string(task.family),
                "checks": task.turns[0].checks.json,
            ]
        }
    }

    /// The questions of a benchmark of two turns, with the checks of each turn.
    package func benchmarkQuestions() -> [JSONValue] {
        tasks.enumerated().map { index, task in
            [
                "question_id": .integer(index + 1), "category": .string(task.family),
                "turns": .array(task.turns.map { .string($0.prompt) }),
                "checks": .array(task.turns.map(\.checks.json)),
            ]
        }
    }

    private static func message(_ role: String, _ content: String) -> JSONValue {
        ["role": .string(role), "content": .string(content)]
    }
}
