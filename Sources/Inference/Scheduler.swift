internal import LanguageModel

/// Decides what each forward pass computes: a token of every row that decodes, then as much of waiting prompts as fits.
///
/// Requests are served in their order of arrival. When pages run out, prefixes that nobody uses go first, then the
/// youngest request, which is computed again later: with the same result, since a row's result depends on it alone.
struct Scheduler {
    let cache: KVCache
    let contextLength: Int
    /// The most rows of a forward pass.
    let rowLimit: Int
    private(set) var active: [EngineRequest] = []
    private(set) var waiting: [EngineRequest] = []
    private var prefixes = PrefixIndex()

    init(cache: KVCache, contextLength: Int, rowLimit: Int) {
        self.cache = cache
        self.contextLength = contextLength
        self.rowLimit = rowLimit
    }

    /// A pass: its rows, and of each request whose logits it gives, where the rows of those are.
    struct Pass {
        var batch = Batch()
        var ready: [(request: EngineRequest, rows: [Int])] = []
        /// The numbers of the requests that have rows in it.
        var members: Set<Int> = []
        /// The pages whose computing it begins.
        var begun: Set<PrefixIndex.Key> = []
        /// A request that does not fit into the cache though it is alone there.
        var misfit: EngineRequest?
    }

    var isIdle: Bool { active.isEmpty && waiting.isEmpty }

    mutating func add(_ request: EngineRequest) { waiting.append(request) }

    mutating func remove(_ request: EngineRequest) {
        request.release(to: cache)
        active.removeAll { $0 === request }
        waiting.removeAll { $0 === request }
    }

    mutating func pack() -> Pass {
        var pass = Pass()
        // Rows that decode come before prompts, wherever they are in the queue.
        for request in active where request.isDecoding { pack(request, into: &pass) }
        for request in active where !request.isDecoding { pack(request, into: &pass) }
        while pass.misfit == nil, pass.batch.rowCount < rowLimit, let request = waiting.first {
            let needed = request.rows.reduce(0) { $0 + pageCount($1.tokens.count) }
            if !active.isEmpty, needed > cache.freePageCount, !reclaim(needed) { break }
            waiting.removeFirst()
            active.append(request)
            pack(request, into: &pass)
        }
        return pass
    }

    /// After the pass: its full pages can be found.
    mutating func commit(_ pass: Pass) {
        for request in active where pass.members.contains(request.number) {
            for index in request.rows.indices { register(&request.rows[index]) }
        }
    }

    // MARK: Packing

    private mutating func pack(_ request: EngineRequest, into pass: inout Pass) {
        guard active.contains(where: { $0 === request }) else { return }
        if request.isDecoding { packDecode(request, into: &pass) } else { packPrefill(request, into: &pass) }
    }

    /// All rows of a request advance together, or none.
    private mutating func packDecode(_ request: EngineRequest, into pass: inout Pass) {
        guard pass.batch.rowCount + request.rows.count <= rowLimit else { return }
        for index in request.rows.indices {
            guard reservePages(upTo: request.rows[index].tokens.count, of: request, index, &pass) else { return }
        }
        pass.ready.append((request, request.rows.indices.map { append(request, $0, 1, to: &pass) }))
    }

    /// As many of the tokens that are not computed yet as fit. Of several rows each leaves its last token, with which
    /// they decode together.
    private mutating func packPrefill(_ request: EngineRequest, into pass: inout Pass) {
        let left = request.rows.count > 1 ? 1 : 0
        for index in request.rows.indices where request.rows[index].pending > left {
            share(request, index)
            let count = min(request.rows[index].pending - left, rowLimit - pass.batch.rowCount)
            if count <= 0 { continue }
            if let key = nextKey(request.rows[index]), !pass.begun.insert(key).inserted {
                // Another prompt of this pass computes the same page: wait for it, and share.
                continue
            }
            let end = request.rows[index].computed + count
            guard reservePages(upTo: end, of: request, index, &pass) else { return }
            let first = append(request, index, count, to: &pass)
            if left == 0, request.rows[index].pending == 0 { pass.ready.append((request, [first + count - 1])) }
        }
    }

    /// - Returns: the row of the first token.
    private func append(_ request: EngineRequest, _ index: Int, _ count: Int, to pass: inout Pass) -> Int {
        let start = request.rows[index].computed
        request.rows[index].computed += count
        pass.members.insert(request.number)
        let row = request.rows[index]
        return pass.batch.append(row.tokens[start..<start + count], firstPosition: start, pages: row.pages)
    }

    // MARK: Prefixes

    /// Takes over computed pages for the tokens that come next; one token is left to give logits.
    private mutating func share(_ request: EngineRequest, _ index: Int) {
        while request.rows[index].computed % KVCache.pageSize == 0,
            request.rows[index].pages.count == request.rows[index].computed / KVCache.pageSize,
            request.rows[index].computed + KVCache.pageSize < request.rows[index].tokens.count,
            let key = nextKey(request.rows[index]), let found = prefixes.find(key, in: cache)
        {
            request.rows[index].pages.append(found.page)
            request.rows[index].serial = found.serial
            request.rows[index].registered += 1
            request.rows[index].computed += KVCache.pageSize
            request.sharedTokens += KVCache.pageSize
        }
    }

    /// The key of the page that starts at the next token to compute, when there are tokens to fill it.
    private func nextKey(_ row: Row) -> PrefixIndex.Key? {
        let end = row.computed + KVCache.pageSize
        guard row.computed % KVCache.pageSize == 0, end <= row.tokens.count else { return nil }
        return PrefixIndex.Key(parent: row.serial, tokens: Array(row.tokens[row.computed..<end]))
    }

    /// Makes the pages that became full since the last pass known.
    private mutating func register(_ row: inout Row) {
        while row.registered < row.computed / KVCache.pageSize {
            let start = row.registered * KVCache.pageSize
            let key = PrefixIndex.Key(
                parent: row.serial, tokens: Array(row.tokens[start..<start + KVCache.pageSize]))
            row.serial = prefixes.insert(row.pages[row.registered], for: key, in: cache)
            row.registered += 1
        }
    }

    // MARK: Memory

    private func pageCount(_ tokens: Int) -> Int { (tokens + KVCache.pageSize - 1) / KVCache.pageSize }

    /// Gives a row pages of its own for positions up to `end`; false when there are none, now.
    private mutating func reservePages(
        upTo end: Int, of request: EngineRequest, _ index: Int, _ pass: inout Pass
    ) -> Bool {
        let first = request.rows[index].computed / KVCache.pageSize
        if first < request.rows[index].pages.count, cache.isShared(request.rows[index].pages[first]) {
            guard let page = allocate(for: request, &pass) else { return false }
            let shared = request.rows[index].pages[first]
            cache.copy(shared, to: page)
            cache.release(shared)
            request.rows[index].pages[first] = page
        }
        while request.rows[index].pages.count < pageCount(end) {
            guard let page = allocate(for: request, &pass) else { return false }
            request.rows[index].pages.append(page)
        }
        return true
    }

    private mutating func allocate(for request: EngineRequest, _ pass: inout Pass) -> Int32? {
        while true {
            if let page = cache.allocate() { return page }
            if prefixes.evict(from: cache) { continue }
            // The youngest request without rows in this pass goes back to wait, at last the asking one itself.
            guard let victim = active.last(where: { !pass.members.contains($0.number) }) else { return nil }
            if victim === request, active.count == 1 { pass.misfit = request }
            preempt(victim)
            if victim === request { return nil }
        }
    }

    private mutating func preempt(_ request: EngineRequest) {
        request.release(to: cache)
        active.removeAll { $0 === request }
        let place = waiting.firstIndex { $0.number > request.number } ?? waiting.endIndex
        waiting.insert(request, at: place)
    }

    /// A page for a purpose of the engine's own, at the cost of prefixes alone.
    mutating func allocatePage() -> Int32? {
        while true {
            if let page = cache.allocate() { return page }
            if !prefixes.evict(from: cache) { return nil }
        }
    }

    private mutating func reclaim(_ needed: Int) -> Bool {
        while cache.freePageCount < needed, prefixes.evict(from: cache) {}
        return cache.freePageCount >= needed
    }
}
