import Foundation
import Synchronization

/// A program run to its end.
package final class Command: @unchecked Sendable {
    // Unchecked: a process is started by one test and awaited by it.
    package struct Output: Sendable {
        package var status: Int32
        package var standardOutput: Data
        package var standardError: Data

        package var text: String { String(decoding: standardOutput, as: UTF8.self) }
        package var outputText: String { String(decoding: standardOutput, as: UTF8.self) }
        package var errorText: String { String(decoding: standardError, as: UTF8.self) }
    }

    private let process = Process()
    private let output = Pipe()
    private let error = Pipe()

    /// - Parameter environment: all that the program sees; nil passes on this process's.
    package init(_ program: String, _ arguments: [String], environment: [String: String]? = nil, folder: String? = nil)
    {
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        if let environment { process.environment = environment }
        if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = error
    }

    package func start() throws { try process.run() }

    package var processID: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }

    /// Whether something waits to be read from standard error.
    package var hasSaidOnStandardError: Bool {
        var polled = pollfd(fd: error.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
        return poll(&polled, 1, 100) > 0
    }

    /// Waits without holding one of the few threads that all tests share.
    package func finish() async -> Output {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: self.finishBlocking()) }
        }
    }

    package func run() async throws -> Output {
        try start()
        return await finish()
    }

    /// Kills the program once `reached` says so, unless it has ended by itself.
    ///
    /// All of it happens on a thread of its own: a task of a test can wait for many seconds for its turn.
    package func run(killedOnce reached: @escaping @Sendable () -> Bool) async throws -> Output {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                do { try self.start() } catch { return continuation.resume(throwing: error) }
                while self.isRunning, !reached() { usleep(1_000) }
                if self.isRunning { kill(self.processID, SIGKILL) }
                continuation.resume(returning: self.finishBlocking())
            }
        }
    }

    package func runBlocking() throws -> Output {
        try start()
        return finishBlocking()
    }

    private func finishBlocking() -> Output {
        // Both pipes are drained at once, or a full one would block the program.
        let errors = Mutex(Data())
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [error] in
            let data = error.fileHandleForReading.readDataToEndOfFile()
            errors.withLock { $0 = data }
            done.signal()
        }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        done.wait()
        process.waitUntilExit()
        let status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        return Output(status: status, standardOutput: data, standardError: errors.withLock { $0 })
    }
}
