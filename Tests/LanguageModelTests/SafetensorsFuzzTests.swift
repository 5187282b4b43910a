import Foundation
import LanguageModel
import TestSupport
import Testing

/// Mutated files: an error or a file whose tensors all lie within it, quickly and in little memory.
struct SafetensorsFuzzTests {
    static let count = ProcessInfo.processInfo.environment["EVALHARNESS_FUZZ"].flatMap(Int.init) ?? 1000

    @Test func `Whatever a file holds, opening it gives an error or sound tensors`() throws {
        let folder = try TemporaryFolder()
        var random = Mutator(seed: 20_240_517)
        var opened = 0
        var slowest = Duration.zero
        for round in 0..<Self.count {
            let path = try folder.write(random.file(), "fuzzed.safetensors")
            slowest = max(
                slowest,
                ContinuousClock().measure {
                    guard let file = try? SafetensorsFile(path: path) else { return }
                    opened += 1
                    expectSound(file, round: round)
                })
        }
        #expect(opened > Self.count / 50, "the mutations leave hardly a file sound")
        #expect(opened < Self.count * 49 / 50, "the mutations break hardly a file")
        #expect(slowest < .seconds(2))
    }

    @Test func `The largest headers, sound, deep or wide, end soon and stay within 512 MB`() async {
        // In a process of its own, or other tests' memory would count.
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            let units = [
                "[", "{\"a\":", "0,", "\"\",", "[],", "[0],", "{},", "{\"\":0},", "[[[0]]],", "\",\",",
                "\"\\u0061\":{},",
            ]
            for unit in units {
                var text = "{\"a\":{\"shape\":[" + String(repeating: unit, count: (16 << 20) / unit.utf8.count - 20)
                if unit.hasSuffix(",") { text += "0]}}" }
                let path = try folder.write(safetensors(text, data: []), "wide.safetensors")
                let before = usage().seconds
                #expect(throws: CheckpointError.self) { try SafetensorsFile(path: path) }
                let (seconds, megabytes) = usage()
                // They take half a second; other tests beside this one stretch that.
                precondition(seconds - before < 8 && megabytes < 512, "\(unit) \(seconds - before) s, \(megabytes) MB")
            }
            let path = try folder.write(fullHeader(), "full.safetensors")
            let before = usage().seconds
            let file = try SafetensorsFile(path: path)
            precondition(file.tensors.count == 65_536, "a tensor is lost")
            let (seconds, megabytes) = usage()
            precondition(seconds - before < 8 && megabytes < 512, "\(seconds - before) s, \(megabytes) MB")
        }
    }

    private func expectSound(_ file: SafetensorsFile, round: Int) {
        var position = 8 + file.headerByteCount
        for tensor in file.tensors {
            #expect(tensor.bytes.count * 8 == tensor.elementCount * tensor.dataType.bitCount, "round \(round)")
            if !tensor.bytes.isEmpty {
                #expect(tensor.bytes.baseAddress == file.bytes.baseAddress! + position, "round \(round)")
            }
            position += tensor.bytes.count
        }
        #expect(position == file.byteCount, "round \(round)")
    }
}

/// A sound file of as many tensors as are accepted.
private func fullHeader() -> Data {
    let entries = (0..<65_536).map { index in
        "\"model.layers.\(index).weight\":{\"dtype\":\"F32\",\"shape\":[1,1,1],"
            + "\"data_offsets\":[\(4 * index),\(4 * index + 4)]}"
    }
    return safetensors("{\(entries.joined(separator: ","))}", data: [UInt8](repeating: 0, count: 4 << 16))
}

/// The processor time that this process has used, and the most memory that it has held.
private func usage() -> (seconds: Double, megabytes: Int) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1e6
    // Not `ru_maxrss`: it begins with what the starting process held.
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split(separator: " ").dropFirst().first
    return (seconds, (peak.flatMap { Int($0) } ?? .max) / 1_024)
}

/// Makes safetensors files and breaks some of what they say.
private struct Mutator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    private mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }

    private mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    mutating func file() -> Data {
        var (entries, size) = tensors()
        let isDamaged = below(8) != 0
        if isDamaged, !entries.isEmpty {
            for _ in 0...below(2) { damage(&entries) }
        }
        if isDamaged, below(6) == 0 { size += below(9) - 4 }
        var header = "{" + entries.map(text).joined(separator: ",") + "}"
        if isDamaged, below(6) == 0 { header = shaken(header) }
        if isDamaged, below(20) == 0 { header = nested(header) }
        var file = safetensors(header, data: [UInt8](repeating: 0x3F, count: max(0, size)))
        if isDamaged { shake(&file) }
        return file
    }

    private struct Entry {
        var name: String
        var type: String
        var shape: String
        var offsets: String
        var extra = ""
    }

    private mutating func tensors() -> ([Entry], Int) {
        var entries: [Entry] = []
        var position = 0
        for index in 0..<below(6) {
            let type = pick(StoredDataType.allCases.filter { $0.bitCount >= 8 })
            let shape = (0..<below(4)).map { _ in below(5) }
            let end = position + shape.reduce(1, *) * type.bitCount / 8
            entries.append(
                Entry(name: "t\(index)", type: type.rawValue, shape: "\(shape)", offsets: "[\(position),\(end)]"))
            position = end
        }
        return (entries, position)
    }

    private mutating func damage(_ entries: inout [Entry]) {
        let index = below(entries.count)
        let huge = pick([
            "4294967296", "9223372036854775807", "9223372036854775808", "-1", "1e18", "0.5", "null", "true",
        ])
        switch below(10) {
        case 0: entries[index].type = pick(["F33", "", "f32", "F16\\u0000", String(repeating: "F", count: 5000)])
        case 1: entries[index].type = pick(StoredDataType.allCases).rawValue
        case 2: entries[index].shape = "[\(huge),\(pick(["0", "1", "2", huge]))]"
        case 3: entries[index].shape = "[" + (0..<below(70)).map { _ in "65536" }.joined(separator: ",") + "]"
        case 4: entries[index].offsets = "[\(pick(["0", huge])),\(huge)]"
        case 5: entries[index].offsets = "[\(below(40)),\(below(40))]"
        case 6:
            entries[index].name = pick([
                "t0", "__metadata__", "", "\\u0000", String(repeating: "a\\u0301", count: 3000),
            ])
        case 7: entries.append(entries[index])
        case 8: entries.remove(at: index)
        default: entries[index].extra = pick([",\"dtype\":\"F32\"", ",\"more\":[[[]]]", ",\"shape\":[1]", ",", "}"])
        }
        if entries.isEmpty { entries.append(Entry(name: "x", type: "U8", shape: "[0]", offsets: "[0,0]")) }
    }

    private func text(_ entry: Entry) -> String {
        "\"\(entry.name)\":{\"dtype\":\"\(entry.type)\",\"shape\":\(entry.shape),\"data_offsets\":\(entry.offsets)"
            + "\(entry.extra)}"
    }

    private mutating func shaken(_ text: String) -> String {
        var bytes = Array(text.utf8)
        for _ in 0...below(4) where !bytes.isEmpty {
            let index = below(bytes.count)
            switch below(3) {
            case 0: bytes[index] = UInt8(below(128))
            case 1: bytes.remove(at: index)
            default: bytes.insert(pick(Array("{}[],:\"0-e\\".utf8)), at: index)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func nested(_ text: String) -> String {
        let depth = pick([3, 100, 255, 256, 257, 5000])
        let opening = pick(["[", "{\"a\":"])
        return "{\"deep\":" + String(repeating: opening, count: depth) + text
    }

    private mutating func shake(_ file: inout Data) {
        switch below(12) {
        case 0: file[below(8)] = UInt8(below(256))
        case 1: file = file.prefix(below(file.count + 1))
        case 2: file.append(contentsOf: [UInt8](repeating: 0, count: 1 + below(9)))
        case 3: file.replaceSubrange(0..<8, with: [UInt8](repeating: UInt8(pick([0, 127, 128, 255])), count: 8))
        default: break
        }
    }
}
