internal import Glibc
package import LanguageModel
internal import Synchronization

/// Generates for many requests at once with one model: admit, pack, forward, advance, retire.
///
/// One thread of its own runs the passes; requests come from any task. The tokens of a request depend on the
/// checkpoint, the request and its seed alone, not on what else is in flight.
package final class Engine: @unchecked Sendable {
    // The scheduler and the model belong to the engine's thread; what it shares with others is in `shared`.
    package struct Settings: Sendable {
        /// Memory for keys and values; nil takes half of what the machine has free.
        package var cacheBytes: Int?
        /// The most rows of a forward pass.
        package var rowLimit = 512

        package init() {}
    }

    /// What has been done so far.
    package struct Counts: Hashable, Sendable {
        package var passes = 0
        package var promptTokens = 0
        package var generatedTokens = 0
        package var peakRows = 0
    }

    package let model: DecoderModel
    package let pageCount: Int
    private let shared = Shared()
    private var scheduler: Scheduler
    private var thread = pthread_t()

    package init(model: DecoderModel, settings: Settings = Settings()) {
        self.model = model
        let configuration = model.configuration
        let bytes = settings.cacheBytes ?? Engine.freeMemory / 2
        let pageBytes = KVCache.pageBytes(configuration, model.cacheFormat)
        pageCount = max(4, min(bytes / pageBytes, 1 << 20))
        let cache = KVCache(configuration, format: model.cacheFormat, pageCount: pageCount)
        scheduler = Scheduler(
            cache: cache, contextLength: configuration.contextLength, rowLimit: max(256, settings.rowLimit))
        let status = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Engine>.fromOpaque(argument!).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        precondition(status == 0, "a thread could not be started: \(status)")
    }

    deinit {
        shared.stop()
        pthread_join(thread, nil)
    }

    package var counts: Counts { shared.counts }

    /// Generates what follows `prompt` by the strategy of `parameters`.
    ///
    /// - Parameter onToken: called on the engine's thread with each token of a request of one row.
    /// - Throws: `InferenceError`, or `CancellationError` when the task is cancelled.
    package func generate(
        _ parameters: DecodingParameters, onToken: (@Sendable (Int32) -> Void)? = nil
    ) async throws -> Generation {
        let strategy = try parameters.strategy(vocabularySize: model.configuration.vocabularySize)
        if parameters.prompt.isEmpty { throw InferenceError.emptyPrompt }
        let handle = Mutex<EngineRequest?>(nil)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let request = shared.submit {
                    EngineRequest(number: $0, prompt: parameters.prompt, strategy: strategy, onToken: onToken) {
                        continuation.resume(with: $0)
                    }
                }
                handle.withLock { $0 = request }
                if Task.isCancelled { shared.cancel(request) }
            }
        } onCancel: {
            if let request = handle.withLock({ $0 }) { shared.cancel(request) }
        }
    }

    /// The log-probability of each token but the first, given those before it (tokens.count - 1, nats).
    package func logprobs(of tokens: [Int32]) async throws -> [Float] {
        let configuration = model.configuration
        guard tokens.count > 1 else { return [] }
        guard tokens.count <= configuration.contextLength else {
            throw InferenceError.setting(
                "the length of the text to score", value: "\(tokens.count) tokens",
                expected: "within the context of \(configuration.contextLength)")
        }
        if let wrong = tokens.first(where: { $0 < 0 || Int($0) >= configuration.vocabularySize }) {
            throw InferenceError.setting(
                "a token to score", value: "\(wrong)", expected: "in 0..<\(configuration.vocabularySize)")
        }
        return try await withCheckedThrowingContinuation { continuation in
            shared.submit(ScoringRequest(tokens: tokens) { continuation.resume(with: $0) })
        }
    }

    // MARK: The loop

    private func run() {
        while shared.waitForWork(unless: { !scheduler.isIdle }) {
            let (requests, scorings) = shared.take()
            for request in requests { admit(request) }
            for scoring in scorings { scoring.finish(score(scoring.tokens)) }
            dropCancelled()
            if !scheduler.isIdle { step() }
        }
        for request in scheduler.active + scheduler.waiting { request.finish(.failure(CancellationError())) }
        let (requests, scorings) = shared.take()
        for request in requests { request.finish(.failure(CancellationError())) }
        for scoring in scorings { scoring.finish(.failure(CancellationError())) }
    }

    private func admit(_ request: EngineRequest) {
        if request.prompt.count > model.configuration.contextLength {
            request.resolve(.outOfContext)
        } else {
            scheduler.add(request)
        }
    }

    private func step() {
        let pass = scheduler.pack()
        if let misfit = pass.misfit {
            scheduler.remove(misfit)
            misfit.finish(
                .failure(
                    InferenceError.cacheTooSmall(
                        pages: pageCount, tokens: misfit.rows.reduce(0) { $0 + $1.tokens.count })))
        }
        if pass.batch.rowCount == 0 { return }
        model.forward(pass.batch, cache: scheduler.cache)
        scheduler.commit(pass)
        if !pass.ready.isEmpty { advance(pass) }
        shared.count(rows: pass.batch.rowCount, generated: pass.ready.count)
    }

    private func advance(_ pass: Scheduler.Pass) {
        let logits = model.logits(rows: pass.ready.flatMap(\.rows))
        let vocabulary = model.configuration.vocabularySize
        var first = 0
        var slices: [UnsafeBufferPointer<Float>] = []
        for (_, rows) in pass.ready {
            slices.append(UnsafeBufferPointer(rebasing: logits[first * vocabulary..<(first + rows.count) * vocabulary]))
            first += rows.count
        }
        model.kernels.pool.run(pass.ready.count) { index in
            let request = pass.ready[index].request
            do throws(InferenceError) {
                request.continuations = try request.strategy.advance(slices[index])
            } catch {
                request.failure = error
            }
        }
        for (request, _) in pass.ready { settle(request) }
    }

    /// Goes on with a request as its strategy says.
    private func settle(_ request: EngineRequest) {
        if let failure = request.failure {
            scheduler.remove(request)
            request.finish(.failure(failure))
            return
        }
        if let onToken = request.onToken, let token = request.strategy.hypotheses.first?.tokens.last { onToken(token) }
        if request.continuations.isEmpty {
            scheduler.remove(request)
            request.resolve(.finished)
            return
        }
        request.fork(in: scheduler.cache)
        if request.rows.contains(where: { $0.tokens.count > model.configuration.contextLength }) {
            scheduler.remove(request)
            request.resolve(.outOfContext)
        }
    }

    private func dropCancelled() {
        for request in scheduler.active + scheduler.waiting where request.isCancelled.load(ordering: .relaxed) {
            scheduler.remove(request)
            request.finish(.failure(CancellationError()))
        }
    }

    private func score(_ tokens: [Int32]) -> Result<[Float], any Error> {
        let size = KVCache.pageSize
        var pages: [Int32] = []
        defer { for page in pages { scheduler.cache.release(page) } }
        while pages.count * size < tokens.count {
            guard let page = scheduler.allocatePage() else {
                return .failure(InferenceError.cacheTooSmall(pages: pageCount, tokens: tokens.count))
            }
            pages.append(page)
        }
        var logprobs: [Float] = []
        for start in stride(from: 0, to: tokens.count - 1, by: scheduler.rowLimit) {
            let end = min(start + scheduler.rowLimit, tokens.count - 1)
            var batch = Batch()
            batch.append(tokens[start..<end], firstPosition: start, pages: pages)
            model.forward(batch, cache: scheduler.cache)
            for first in stride(from: start, to: end, by: 64) {
                logprobs += targets(tokens, first..<min(first + 64, end), firstRow: first - start)
            }
        }
        return .success(logprobs)
    }

    /// The log-probabilities of the tokens behind some rows of the last pass.
    private func targets(_ tokens: [Int32], _ positions: Range<Int>, firstRow: Int) -> [Float] {
        let vocabulary = model.configuration.vocabularySize
        let logits = model.logits(rows: Array(firstRow..<firstRow + positions.count))
        var result = [Float](repeating: 0, count: positions.count)
        result.withUnsafeMutableBufferPointer { result in
            let target = result.baseAddress!
            model.kernels.pool.run(positions.count) { place in
                let row = logits.baseAddress! + place * vocabulary
                let token = Int(tokens[positions.lowerBound + place + 1])
                target[place] = row[token] - model.logSumExp(row)
            }
        }
        return result
    }

    /// Memory that processes can take without swapping, in bytes.
    private static var freeMemory: Int {
        let fallback = 4 << 30
        guard let file = fopen("/proc/meminfo", "r") else { return fallback }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("MemAvailable:"), let kilobytes = Int(text.split(separator: " ")[1]) {
                return kilobytes << 10
            }
        }
        return fallback
    }
}

private struct ScoringRequest: Sendable {
    var tokens: [Int32]
    var finish: @Sendable (Result<[Float], any Error>) -> Void
}

/// What tasks and the engine's thread share.
private final class Shared: @unchecked Sendable {
    // Everything is guarded by `mutex`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var requests: [EngineRequest] = []
    private var scorings: [ScoringRequest] = []
    private var nextNumber = 0
    private var isStopping = false
    private var totals = Engine.Counts()

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    private func locked<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    func submit(_ make: (Int) -> EngineRequest) -> EngineRequest {
        locked {
            let request = make(nextNumber)
            nextNumber += 1
            requests.append(request)
            pthread_cond_signal(condition)
            return request
        }
    }

    func submit(_ scoring: ScoringRequest) {
        locked {
            scorings.append(scoring)
            pthread_cond_signal(condition)
        }
    }

    func cancel(_ request: EngineRequest) {
        request.isCancelled.store(true, ordering: .relaxed)
        locked { _ = pthread_cond_signal(condition) }
    }

    func stop() {
        locked {
            isStopping = true
            pthread_cond_signal(condition)
        }
    }

    /// Sleeps until there is something to do; false when the engine stops.
    func waitForWork(unless isBusy: () -> Bool) -> Bool {
        locked {
            while !isStopping, requests.isEmpty, scorings.isEmpty, !isBusy() { pthread_cond_wait(condition, mutex) }
            return !isStopping
        }
    }

    func take() -> ([EngineRequest], [ScoringRequest]) {
        locked {
            defer {
                requests = []
                scorings = []
            }
            return (requests, scorings)
        }
    }

    func count(rows: Int, generated: Int) {
        locked {
            totals.passes += 1
            totals.promptTokens += rows - generated
            totals.generatedTokens += generated
            totals.peakRows = max(totals.peakRows, rows)
        }
    }

    var counts: Engine.Counts { locked { totals } }
}
