import Foundation
import TestSupport
import Testing
import Training

struct MetricsLogTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private typealias Values = [(name: String, value: Double)]

    private func text() throws -> String {
        String(decoding: try SharedData.contents("\(folder.path)/metrics.jsonl"), as: UTF8.self)
    }

    private func values(_ step: Int) -> Values { [("loss", 1 / Double(step)), ("rewards/chosen", Double(step))] }

    /// Logs steps, and evaluates at every second one.
    private func log(_ steps: ClosedRange<Int>, resumingAt step: Int? = nil, time: Double = 7) throws {
        let log = try MetricsLog(folder: folder.path, resumingAt: step, clock: { time })
        for step in steps {
            try log.log(step: step, values(step))
            if step % 2 == 0 { try log.log(step: step, [("eval_loss", 2)]) }
        }
    }

    @Test func `A line has its step, the metrics in their order and numbers that read back the same`() throws {
        let log = try MetricsLog(folder: folder.path, resumingAt: nil, clock: { 1 })
        try log.log(step: 5, [("loss", 0.1), ("zebra", 1e-7), ("apple", 3), ("rewards/margins", -1.0 / 3)])
        try log.log(step: 6, [("loss", .nan), ("kl", .infinity), ("nll_loss", -.infinity), ("grad_norm", 2)])
        #expect(
            try text() == """
                {"step":5,"loss":0.1,"zebra":1e-07,"apple":3.0,"rewards/margins":-0.3333333333333333}
                {"step":6,"loss":null,"kl":null,"nll_loss":null,"grad_norm":2.0,\
                "non_finite":{"loss":"NaN","kl":"Infinity","nll_loss":"-Infinity"}}

                """)
    }

    @Test func `The first and the last lines are read back`() throws {
        try log(1...5)
        let ends = try MetricsLog(folder: folder.path, resumingAt: 5).ends()
        #expect(ends.first.map(\.value) == [1, 1])
        #expect(ends.last.map(\.name) == ["loss", "rewards/chosen"])
        #expect(ends.last.map(\.value) == [0.2, 5])
        #expect(ends.heldOut.map(\.name) == ["eval_loss"])
        #expect(ends.heldOut.map(\.value) == [2])
    }

    @Test func `TensorBoard is told the names that transformers gives it`() throws {
        let log = try MetricsLog(folder: folder.path, resumingAt: nil, clock: { 8.5 })
        try log.log(step: 5, [("loss", 0.5), ("rewards/chosen", 2), ("evaluation", 1)])
        try log.log(step: 5, [("eval_loss", 0.25), ("eval_rewards/margins", -1)])
        let name = try #require(SharedData.names("\(folder.path)/runs").first)
        #expect(name.hasPrefix("events.out.tfevents.8."))
        let events = try Event.all(in: Array(SharedData.contents("\(folder.path)/runs/\(name)")))
        try #require(events.map(\.step) == [0, 1, 5, 5])
        #expect(events.map(\.wallTime) == [8.5, 8.5, 8.5, 8.5])
        #expect(events[2].scalars.map(\.tag) == ["train/loss", "train/rewards/chosen", "train/evaluation"])
        #expect(events[3].scalars.map(\.tag) == ["eval/loss", "eval/rewards/margins"])
        #expect(events[3].scalars.map(\.value) == [0.25, -1])
    }

    @Test func `A resumed run leaves the lines of one that was not stopped`() throws {
        try log(1...9)
        let whole = try text()
        try FileManager.default.removeItem(atPath: "\(folder.path)/metrics.jsonl")
        try log(1...6)
        // The step that was being written when the run was killed.
        let file = try #require(FileHandle(forWritingAtPath: "\(folder.path)/metrics.jsonl"))
        try file.seekToEnd()
        try file.write(contentsOf: Data(#"{"step":7,"lo"#.utf8))
        try file.close()
        try log(5...9, resumingAt: 4, time: 8)
        #expect(try text() == whole)
        #expect(SharedData.names(folder.path) == ["metrics.jsonl", "runs"])
        let names = SharedData.names("\(folder.path)/runs")
        try #require(names.count == 2)
        let last = try Event.all(in: Array(SharedData.contents("\(folder.path)/runs/\(names[1])")))
        #expect(last.map(\.step).prefix(3) == [0, 5, 5])
        #expect(last.map(\.startsSession).prefix(3) == [false, true, false])
    }

    @Test func `A run that begins anew begins an empty log, and one resumed at its end adds nothing`() throws {
        try log(1...3)
        let whole = try text()
        _ = try MetricsLog(folder: folder.path, resumingAt: 3, clock: { 7 })
        #expect(try text() == whole)
        _ = try MetricsLog(folder: folder.path, resumingAt: nil, clock: { 7 })
        #expect(try text() == "")
    }

    @Test(arguments: ["no JSON", "[]", "{}", #"{"step":"4"}"#, #"{"step":1.5}"#, ""])
    func `A line that is no record is told with its number, and kept`(_ line: String) throws {
        let lines = "{\"step\":1}\n\(line)\n{\"step\":3}\n"
        try folder.write(lines, "metrics.jsonl")
        let error = try #require(throws: TrainingError.self) {
            try MetricsLog(folder: folder.path, resumingAt: 9, clock: { 7 })
        }
        #expect(error.description.contains("\(folder.path)/metrics.jsonl line 2 is no record"), "\(error)")
        #expect(try text() == lines)
    }

    @Test func `A folder that cannot be made is a sentence`() throws {
        try folder.write("", "file")
        let error = try #require(throws: TrainingError.self) {
            try MetricsLog(folder: "\(folder.path)/file", resumingAt: nil, clock: { 7 })
        }
        #expect(error.description.contains("file/runs cannot be made: Not a directory"), "\(error)")
    }

    @Test func `The clock tells seconds since 1970`() {
        #expect(abs(MetricsLog.systemTime() - Date().timeIntervalSince1970) < 60)
    }
}
