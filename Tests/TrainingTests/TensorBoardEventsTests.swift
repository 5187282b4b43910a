import Foundation
import TestSupport
import Testing
import Training

struct TensorBoardEventsTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(firstStep: Int = 1) throws -> TensorBoardEvents {
        try TensorBoardEvents(
            folder: folder.path, wallTime: 1_700_000_000.75, host: "here", processID: 42, firstStep: firstStep)
    }

    private func bytes() throws -> [UInt8] {
        let name = "events.out.tfevents.1700000000.here.42.0"
        #expect(SharedData.names(folder.path) == [name])
        return Array(try SharedData.contents("\(folder.path)/\(name)"))
    }

    /// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    @Test func `The checksum gives the published values`() {
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
        #expect(CRC32C.checksum([]) == 0)
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum(0..<32) == 0x46DD_794E)
        #expect(CRC32C.checksum((0..<32).reversed()) == 0x113F_DB5C)
    }

    /// tensorboard 2.21.0 wrote the same events with `RecordWriter` and the generated classes.
    @Test func `A file is the one that TensorBoard's own writer makes`() throws {
        let events = try open(firstStep: 6)
        try events.append([("train/loss", 0.5), ("eval/é", .nan)], step: 300, wallTime: 1_700_000_001.25)
        #expect(Digits.hex(try bytes()) == expectedFile)
    }

    @Test func `Every frame holds its sums and what was told`() throws {
        do {
            let events = try open()
            try events.append([("train/loss", 1.25), ("train/kl", -.infinity)], step: 1, wallTime: 2.5)
            // A reader sees a step at once.
            #expect(try Event.all(in: try bytes()).count == 3)
            try events.append([], step: Int(Int32.max) + 5, wallTime: 3.5)
        }
        try open(firstStep: 9).append([("x", 1e300), ("y", 0.1)], step: 9, wallTime: 4)
        let events = try Event.all(in: try bytes())
        try #require(events.map(\.version) == ["brain.Event:2", nil, nil, nil, nil, nil])
        #expect(events.map(\.startsSession) == [false, true, false, false, true, false])
        #expect(events.map(\.step) == [0, 1, 1, 2_147_483_652, 9, 9])
        #expect(events.map(\.wallTime) == [1_700_000_000.75, 1_700_000_000.75, 2.5, 3.5, 1_700_000_000.75, 4])
        #expect(events[2].scalars.map(\.tag) == ["train/loss", "train/kl"])
        #expect(events[2].scalars.map(\.value) == [1.25, -.infinity])
        #expect(events[5].scalars.map(\.value) == [.infinity, Float(0.1)])
    }

    @Test func `A folder that is not there is a sentence`() throws {
        let error = try #require(throws: TrainingError.self) {
            try TensorBoardEvents(folder: "\(folder.path)/absent", wallTime: 1, host: "h", processID: 1, firstStep: 1)
        }
        #expect(error.description.contains("absent/events.out.tfevents.1.h.1.0 cannot be created: No such file"))
        #expect(!TensorBoardEvents.hostName.isEmpty)
    }
}

private enum Digits {
    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// An event decoded from its frame, bit by bit and by no table.
struct Event {
    var wallTime = 0.0
    var step = 0
    var version: String?
    var startsSession = false
    var scalars: [(tag: String, value: Float)] = []

    struct Damage: Error { var place: Int }

    static func all(in file: [UInt8]) throws -> [Event] {
        var events: [Event] = []
        var place = 0
        while place < file.count {
            guard place + 12 <= file.count else { throw Damage(place: place) }
            let length = Int(integer(file[place..<place + 8]))
            guard place + 16 + length <= file.count,
                integer(file[place + 8..<place + 12]) == masked(file[place..<place + 8]),
                integer(file[place + 12 + length..<place + 16 + length])
                    == masked(file[place + 12..<place + 12 + length])
            else { throw Damage(place: place) }
            events.append(try Event(file[place + 12..<place + 12 + length]))
            place += 16 + length
        }
        return events
    }

    private init(_ message: ArraySlice<UInt8>) throws {
        for field in try Field.all(in: message) {
            switch (field.number, field.content) {
            case (1, .fixed64(let bits)): wallTime = Double(bitPattern: bits)
            case (2, .varint(let value)): step = Int(value)
            case (3, .bytes(let bytes)): version = String(decoding: bytes, as: UTF8.self)
            case (5, .bytes(let summary)): scalars = try Field.all(in: summary).map(Event.scalar)
            case (7, .bytes(let log)):
                let fields = try Field.all(in: log)
                guard fields.count == 1, fields[0].number == 1, case .varint(1) = fields[0].content else {
                    throw Damage(place: log.startIndex)
                }
                startsSession = true
            default: throw Damage(place: message.startIndex)
            }
        }
    }

    private static func scalar(_ field: Field) throws -> (tag: String, value: Float) {
        guard field.number == 1, case .bytes(let value) = field.content else { throw Damage(place: 0) }
        let fields = try Field.all(in: value)
        guard fields.map(\.number) == [1, 2], case .bytes(let tag) = fields[0].content,
            case .fixed32(let bits) = fields[1].content
        else { throw Damage(place: value.startIndex) }
        return (String(decoding: tag, as: UTF8.self), Float(bitPattern: bits))
    }

    private static func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The remainder of a polynomial division, a bit at a time.
    private static func masked(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            for bit in 0..<8 {
                let isOdd = (crc ^ UInt32(byte >> bit)) & 1 == 1
                crc = isOdd ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1
            }
        }
        crc = ~crc
        return UInt64((crc >> 15 | crc << 17) &+ 0xA282_EAD8)
    }

    private struct Field {
        enum Content {
            case varint(UInt64)
            case fixed64(UInt64)
            case bytes(ArraySlice<UInt8>)
            case fixed32(UInt32)
        }

        var number: Int
        var content: Content

        static func all(in message: ArraySlice<UInt8>) throws -> [Field] {
            var rest = message
            func take(_ count: Int) throws -> ArraySlice<UInt8> {
                guard count <= rest.count else { throw Damage(place: rest.startIndex) }
                defer { rest = rest.dropFirst(count) }
                return rest.prefix(count)
            }
            func varint() throws -> UInt64 {
                var value: UInt64 = 0
                for shift in stride(from: UInt64(0), to: 64, by: 7) {
                    let byte = try take(1).first!
                    value |= UInt64(byte & 0x7F) << shift
                    if byte < 0x80 { return value }
                }
                throw Damage(place: rest.startIndex)
            }
            var fields: [Field] = []
            while !rest.isEmpty {
                let key = try varint()
                let content: Content =
                    switch key & 7 {
                    case 0: .varint(try varint())
                    case 1: .fixed64(integer(try take(8)))
                    case 2: .bytes(try take(Int(try varint())))
                    case 5: .fixed32(UInt32(integer(try take(4))))
                    default: throw Damage(place: rest.startIndex)
                    }
                fields.append(Field(number: Int(key >> 3), content: content))
            }
            return fields
        }
    }
}

private let expectedFile =
    "1800000000000000a37f4b220900003040fc54d9411a0d627261696e2e4576656e743a32f4d592720f000000000000006d53"
    + "2b090900003040fc54d94110063a0208018a2d7d0e31000000000000009d8383e90900005040fc54d94110ac022a230a110a"
    + "0a747261696e2f6c6f7373150000003f0a0e0a076576616c2fc3a9150000c07f7b2d6d9a"
