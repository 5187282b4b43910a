import Chat
import Endpoints
import Foundation
import Testing

@Suite struct ExecChatModelTests {
    private static let passedOn = ["PATH", "HOME", "LANG", "TMPDIR"]
    private let folder: Folder

    init() throws { folder = try Folder() }

    /// A program that reads request lines; `body` sees the line as $line and its id as $id. The shell is named, because a
    /// file just written cannot be executed while another test's child still holds it open.
    private func program(_ body: String) throws -> String {
        try "/bin/sh "
            + folder.write(
                """
                #!/bin/sh
                while read -r line; do
                    id=${line#*'"id":'}; id=${id%%,*}
                    \(body)
                done
                """, "judge.sh", mode: 0o755)
    }

    @Test func `A program answers line by line`() async throws {
        let path = try program(
            #"""
            printf '%s\n' "$line" >>"$0.log"
            printf '{"id":%s,"text":"m","finish_reason":"length","logprobs":[{"token":"m","logprob":-0.5,"top":[{"token":"M","logprob":-1}]}]}\n' "$id"
            """#)
        let model = try ExecChatModel(program: path)
        let completion = try await model.complete(.hello)
        #expect(completion.text == "m")
        #expect(completion.finishReason == .length)
        #expect(completion.tokens == [.init(text: "m", logprob: -0.5, top: [.init(text: "M", logprob: -1)])])
        _ = try await model.complete(.hello)
        let log = try #require(folder.bytes("judge.sh.log"))
        let lines = try JSONValue.parseLines(Array(log))
        #expect(lines.count == 2)
        #expect(lines[0].object?.keys == ["id", "messages", "max_tokens", "temperature", "top_logprobs"])
        #expect(lines[0]["messages"]?[1]?["content"]?.string == "Hello")
        let shell = Digest.sha256(try #require(FileManager.default.contents(atPath: "/bin/sh")))
        let script = Digest.sha256(try #require(folder.bytes("judge.sh")))
        #expect(model.fingerprint == "exec:\(path)@sha256:\(shell)@sha256:\(script)")
    }

    @Test func `Replies may come in any order`() async throws {
        let path = try program(
            #"""
            first=$id; text=${line##*'"content":"'}; one=${text%%'"'*}
            read -r line; id=${line#*'"id":'}; id=${id%%,*}; text=${line##*'"content":"'}
            printf '{"id":%s,"text":"%s"}\n{"id":%s,"text":"%s"}\n' "$id" "${text%%'"'*}" "$first" "$one"
            """#)
        let model = try ExecChatModel(program: path, maxConcurrentRequests: 2)
        func ask(_ text: String) async throws -> String {
            let request = ChatRequest(messages: [.user(text)], decoding: .greedy, maxTokens: 9)
            return try await model.complete(request).text
        }
        async let one = ask("a")
        async let two = ask("b")
        #expect(try await [one, two] == ["a", "b"])
    }

    @Test func `A program sees no key and no more of the environment than it needs`() async throws {
        try #require(ProcessInfo.processInfo.environment.keys.contains { !Self.passedOn.contains($0) })
        let path = try program(#"printf '{"id":%s,"text":"%s"}\n' "$id" "$(env | cut -d= -f1 | sort | tr '\n' ' ')""#)
        let seen = try await ExecChatModel(program: path).complete(.hello).text.split(separator: " ").map(String.init)
        #expect(Set(seen).isSubset(of: Self.passedOn + ["PWD", "OLDPWD", "SHLVL", "_"]))  // the shell's own
    }

    @Test func `A program inherits no file and no socket`() async throws {
        let stage = try Stage(answer)
        _ = try await stage.endpoint.complete(.hello)  // leaves a connection open
        let listing = "ls -l /proc/$$/fd | grep -v ' 2 -> ' | grep -c socket"
        let path = try program(#"open=$(\#(listing)); printf '{"id":%s,"text":"%s"}\n' "$id" "$open""#)
        #expect(try await ExecChatModel(program: path).complete(.hello).text == "0")
        withExtendedLifetime(stage) {}
    }

    @Test func `A program's own error fails its request alone`() async throws {
        let path = try program(
            #"[ "$id" = 1 ] && printf '{"id":1,"error":"too long"}\n' || printf '{"id":%s,"text":"x"}\n' "$id""#)
        let model = try ExecChatModel(program: path)
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await model.complete(.hello) })
        #expect("\(failure)".contains("too long"))
        #expect(try await model.complete(.hello).text == "x")
    }

    @Test(arguments: ["exit 3", "echo garbage", #"echo '{"id":99,"text":"x"}'"#, #"echo '{"id":1,"id":1,"text":"x"}'"#])
    func `Death and garbage fail what is in flight, and not for ever`(fault: String) async throws {
        let path = try program(fault)
        let model = try ExecChatModel(program: path)
        for _ in 0..<4 {
            let failure = await #expect(throws: ModelFailure.self) { try await model.complete(.hello) }
            guard case .requestFailed(let text) = failure else { return unexpected() }
            if fault == "exit 3" { #expect(text.contains("exited with status 3")) }
        }
        let failure = await #expect(throws: ModelFailure.self) { try await model.complete(.hello) }
        guard case .providerRefuses = failure else { return unexpected() }
    }

    @Test func `A program that died once is started again`() async throws {
        let path = try program(
            #"[ -e "$0.died" ] || { : >"$0.died"; exit 1; }; printf '{"id":%s,"text":"x"}\n' "$id""#)
        let model = try ExecChatModel(program: path)
        await #expect(throws: ModelFailure.self) { try await model.complete(.hello) }
        #expect(try await model.complete(.hello).text == "x")
    }

    @Test func `A program that hangs is killed after the timeout, its children with it`() async throws {
        let path = try program(
            #"""
            case $line in *hang*) wait ;; esac
            sleep 1000 & echo $! >>"$0.pids"; printf '{"id":%s,"text":"x"}\n' "$id"
            """#)
        let model = try ExecChatModel(program: path, timeout: .seconds(2))
        #expect(try await model.complete(.hello).text == "x")
        let hang = ChatRequest(messages: [.user("hang")], decoding: .greedy, maxTokens: 9)
        let failure = try #require(await #expect(throws: ModelFailure.self) { try await model.complete(hang) })
        #expect("\(failure)".contains("did not answer within 2.0 s"))
        #expect(try await model.complete(.hello).text == "x")  // by a second program
        let pids = String(decoding: try #require(folder.bytes("judge.sh.pids")), as: UTF8.self).split(separator: "\n")
        let status = FileManager.default.contents(atPath: "/proc/\(pids[0])/stat")
        #expect(status.map { String(decoding: $0, as: UTF8.self).contains(") Z ") } ?? true)
    }

    @Test func `A line without end is cut off`() async throws {
        let path = try program("tr '\\0' a </dev/zero")
        let failure = try #require(
            await #expect(throws: ModelFailure.self) { try await ExecChatModel(program: path).complete(.hello) })
        #expect("\(failure)".contains("a line of more than 8388608 bytes"))
    }

    @Test func `Cancelling and closing end what waits`() async throws {
        let model = try ExecChatModel(program: try program(": >\"$0.asked\""))
        let task = Task { try await model.complete(.hello) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        let other = Task { try await model.complete(.hello) }
        model.close()
        await #expect(throws: ModelFailure.self) { try await other.value }
        await #expect(throws: ModelFailure.self) { try await model.complete(.hello) }
    }

    @Test func `No shell reads the arguments`() async throws {
        let path = try program(#"printf '{"id":%s,"text":"x"}\n' "$id""#)
        let model = try ExecChatModel(program: "\(path) ;touch \(folder.file("owned")) $(id)")
        _ = try await model.complete(.hello)
        #expect(try folder.names == ["judge.sh"])
    }

    @Test func `A program that is not there is refused at once`() {
        #expect(throws: ModelFailure.self) { try ExecChatModel(program: "/no/such/program --flag") }
        #expect(throws: ModelFailure.self) { try ExecChatModel(program: "") }
    }
}
