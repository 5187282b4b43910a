package import Chat
internal import GRDB
internal import Glibc

/// Every request that cost time or money, with what came back, in one SQLite file.
///
/// A request is known by the SHA-256 of its canonical text, so an answer is never taken for another request's. Its
/// intent is on the disk before it is sent; a request with an intent and no reply has an unknown fate, and is asked
/// again.
package final class EvidenceStore: Sendable {
    package let path: String
    private let pool: DatabasePool
    private let writer: EvidenceWriter

    private static let applicationID = 0x4556_4844  // "EVHD"
    private static let schemaVersion = 1

    /// Opens the store at `path`, or makes it.
    ///
    /// - Throws: `EvidenceError` where the file is no evidence store, is of a newer version, or cannot be written.
    package init(path: String) throws(EvidenceError) {
        self.path = path
        var configuration = Configuration()
        configuration.busyMode = .timeout(30)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            pool = try DatabasePool(path: path, configuration: configuration)
            try EvidenceStore.migrate(pool, path)
        } catch {
            throw EvidenceError(error, path: path)
        }
        writer = EvidenceWriter(pool: pool, path: path)
    }

    /// The recorded answer to the request with this key, or nil.
    package func completion(forKey key: String) async throws(EvidenceError) -> Completion? {
        do {
            let text = try await pool.read { database in
                try String.fetchOne(
                    database.cachedStatement(sql: "SELECT completion FROM reply WHERE key = ?"), arguments: [key])
            }
            return try text.map { try Completion(recordedText: $0) }
        } catch {
            throw EvidenceError(error, path: path)
        }
    }

    /// Returns when the intent is on the disk: only then may the request be sent.
    package func recordIntent(key: String, request: String, model: String) async throws(EvidenceError) {
        try await writer.write(.intent(key: key, request: request, model: model))
    }

    /// Returns when the reply is on the disk. The first reply to a request stays.
    package func recordReply(key: String, completion: Completion) async throws(EvidenceError) {
        try await writer.write(.reply(key: key, completion: completion.recordedText))
    }

    package func recordFailure(key: String, reason: String) async throws(EvidenceError) {
        try await writer.write(.failure(key: key, reason: reason))
    }

    package struct Counts: Hashable, Sendable {
        package var requests, replies, failures: Int
        /// Asked, and neither answered nor failed: the process ended in between. They may have been billed.
        package var unknownFate: Int
        package var models: [String: Int]
    }

    package func counts() async throws(EvidenceError) -> Counts {
        do {
            return try await pool.read { database in
                func count(_ sql: String) throws -> Int { try Int.fetchOne(database, sql: sql) ?? 0 }
                let models = try Row.fetchAll(
                    database,
                    sql: "SELECT model, COUNT(*) AS n FROM request JOIN reply USING (key) GROUP BY model ORDER BY "
                        + "model")
                return Counts(
                    requests: try count("SELECT COUNT(*) FROM request"),
                    replies: try count(
                        "SELECT COUNT(*) FROM "
                            + "reply"),
                    failures: try count("SELECT COUNT(*) FROM failure"),
                    unknownFate: try count(
                        "SELECT COUNT(*) FROM request WHERE key NOT IN (SELECT key FROM reply) AND key NOT IN "
                            + "(SELECT key FROM failure)"
                    ),
                    models: Dictionary(uniqueKeysWithValues: models.map { ($0["model"], $0["n"]) }))
            }
        } catch {
            throw EvidenceError(error, path: path)
        }
    }

    /// Every answered request as one line of JSON, ordered by key: the same evidence gives the same bytes.
    package func exportLines(_ line: (String) throws -> Void) throws {
        do {
            try pool.read { database in
                let rows = try Row.fetchCursor(
                    database,
                    sql: "SELECT key, model, request, completion FROM request JOIN reply USING (key) ORDER BY key")
                while let row = try rows.next() { try line(EvidenceRecord(row).line) }
            }
        } catch let error as DatabaseError {
            throw EvidenceError(error, path: path)
        }
    }

    /// Takes records of an export; each is checked against its hashes first, and nothing is taken when one of them is
    /// wrong.
    ///
    /// - Returns: how many were new.
    /// - Throws: `EvidenceError` naming the line.
    package func importLines(_ lines: [JSONValue]) async throws(EvidenceError) -> Int {
        var records: [EvidenceRecord] = []
        for (index, line) in lines.enumerated() { records.append(try EvidenceRecord(line, number: index + 1)) }
        do {
            return try await pool.write { [records] database in
                var new = 0
                for record in records {
                    try record.insert(database)
                    new += database.changesCount
                }
                return new
            }
        } catch {
            throw EvidenceError(error, path: path)
        }
    }

    /// Checks every key and reply against its hash, and the file's own structure.
    ///
    /// - Returns: how many answered requests are sound.
    /// - Throws: `EvidenceError` naming the first that is not.
    package func verify() async throws(EvidenceError) -> Int {
        do {
            return try await pool.read { database in
                let integrity = try String.fetchOne(database, sql: "PRAGMA integrity_check")
                guard integrity == "ok" else {
                    throw EvidenceError.damaged(
                        integrity ?? "no answer from "
                            + "integrity_check")
                }
                var sound = 0
                let rows = try Row.fetchCursor(
                    database,
                    sql: "SELECT key, model, request, completion, sha256 FROM request JOIN reply USING (key) ORDER "
                        + "BY key")
                while let row = try rows.next() {
                    try EvidenceRecord(row).check(replyHash: row["sha256"])
                    sound += 1
                }
                return sound
            }
        } catch {
            throw EvidenceError(error, path: path)
        }
    }

    private static func migrate(_ pool: DatabasePool, _ path: String) throws {
        try pool.write { database in
            let application = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            let tables = try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM sqlite_master") ?? 0
            if tables > 0, application != applicationID { throw EvidenceError.notEvidence(path) }
            if version > schemaVersion { throw EvidenceError.newer(path, version: version) }
            if version == schemaVersion { return }
            try database.execute(
                sql: """
                    PRAGMA application_id = \(applicationID);
                    PRAGMA user_version = \(schemaVersion);
                    CREATE TABLE request (
                        key TEXT PRIMARY KEY NOT NULL,      -- SHA-256 of request
                        model TEXT NOT NULL,                -- fingerprint of who is asked
                        request TEXT NOT NULL               -- canonical JSON
                    ) STRICT;
                    CREATE TABLE reply (
                        key TEXT PRIMARY KEY NOT NULL REFERENCES request (key),
                        completion TEXT NOT NULL,           -- JSON, the raw reply in it
                        sha256 TEXT NOT NULL                -- of completion
                    ) STRICT;
                    CREATE TABLE failure (
                        id INTEGER PRIMARY KEY,
                        key TEXT NOT NULL REFERENCES request (key),
                        reason TEXT NOT NULL,
                        at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
                    ) STRICT;
                    CREATE INDEX failure_key ON failure (key);
                    """)
        }
    }
}

/// The one who writes: what arrives while a commit is under way shares the next one, so a sync serves many calls.
private actor EvidenceWriter {
    enum Entry: Sendable {
        case intent(key: String, request: String, model: String)
        case reply(key: String, completion: String)
        case failure(key: String, reason: String)
    }

    private typealias Waiter = CheckedContinuation<Result<Void, EvidenceError>, Never>

    private let pool: DatabasePool
    private let path: String
    private var pending: [(Entry, Waiter)] = []
    private var isDraining = false

    init(pool: DatabasePool, path: String) {
        self.pool = pool
        self.path = path
    }

    func write(_ entry: Entry) async throws(EvidenceError) {
        let result = await withCheckedContinuation { waiter in
            pending.append((entry, waiter))
            if !isDraining {
                isDraining = true
                Task { await drain() }
            }
        }
        try result.get()
    }

    private func drain() async {
        while !pending.isEmpty {
            let batch = pending
            pending = []
            let result = await commit(batch.map(\.0))
            for (_, waiter) in batch { waiter.resume(returning: result) }
        }
        isDraining = false
    }

    private func commit(_ entries: [Entry]) async -> Result<Void, EvidenceError> {
        do {
            try await pool.write { database in
                for entry in entries { try entry.insert(database) }
            }
            return .success(())
        } catch {
            return .failure(EvidenceError(error, path: path))
        }
    }
}

extension EvidenceWriter.Entry {
    fileprivate func insert(_ database: Database) throws {
        switch self {
        case .intent(let key, let request, let model):
            try database.cachedStatement(sql: "INSERT OR IGNORE INTO request (key, model, request) VALUES (?, ?, ?)")
                .execute(arguments: [key, model, request])
        case .reply(let key, let completion):
            try database.cachedStatement(sql: "INSERT OR IGNORE INTO reply (key, completion, sha256) VALUES (?, ?, ?)")
                .execute(arguments: [key, completion, Digest.sha256(completion)])
        case .failure(let key, let reason):
            try database.cachedStatement(sql: "INSERT INTO failure (key, reason) VALUES (?, ?)")
                .execute(arguments: [key, reason])
        }
    }
}
