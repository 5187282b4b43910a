import Foundation
import LoopbackServer
import TestSupport
import Testing

/// Upstream's files come by their hash or not at all.
@Suite struct DatasetTests {
    @Test("A mirror's wrong file is refused with 3, an absent one with 69, and neither is kept")
    func pulling() async throws {
        let space = try Workspace()
        let wrong = LoopbackServer { _, connection in connection.reply(200, [:], "[]") }
        let refused = try await space.run("dataset", "pull", "alpacaeval", environment: ["HF_ENDPOINT": wrong.url])
        #expect(refused.status == 3, "\(refused.errorText)")
        #expect(refused.errorText.contains("SHA-256"))
        let empty = LoopbackServer { _, connection in connection.reply(404, [:], "") }
        let absent = try await space.run("dataset", "pull", "alpacaeval", environment: ["HF_ENDPOINT": empty.url])
        #expect(absent.status == 69, "\(absent.errorText)")
        #expect(
            SharedData.names(space.path("cache/evalharness/datasets/alpacaeval")).allSatisfy { !$0.hasSuffix(".json") })
    }

    @Test("A file whose hash is not the pinned one is refused, or taken knowingly and named")
    func importing() async throws {
        let space = try Workspace()
        try space.folder.write("index,instruction_difficulty\n0,1.5\n", "from/instruction_difficulty.csv")
        let refused = try await space.run("dataset", "import", "alpacaeval", "--from", "from")
        #expect(refused.status == 3)
        #expect(refused.errorText.contains("--unverified"))
        let taken = try await space.run("dataset", "import", "alpacaeval", "--from", "from", "--unverified")
        #expect(taken.status == 0)
        #expect(taken.text.contains("not the official file"))
        #expect(try await space.run("dataset", "verify", "alpacaeval").status == 3)
        #expect(try await space.run("dataset", "import", "alpacaeval", "--from", ".").status == 66)
        #expect(try await space.run("dataset", "list").text.contains("absent"))
    }
}
