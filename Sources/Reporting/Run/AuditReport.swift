package import Chat
package import Evaluation

/// What audits of several files found.
package struct AuditReport: Sendable {
    private let audits: [(path: String, audit: Audit)]

    package init(_ audits: [(path: String, audit: Audit)]) { self.audits = audits }

    package var table: TextTable {
        TextTable(
            ["outputs", "n", "distinct", "prompt words", "found", "where", "what"],
            audits.flatMap { path, audit in
                let start = [
                    TextTable.printable(path), "\(audit.count)", TextTable.decimal(audit.uniqueRatio, 3),
                    TextTable.decimal(audit.promptOverlap, 3),
                ]
                if audit.findings.isEmpty { return [start + ["nothing", "", ""]] }
                return audit.findings.map { finding in
                    start + [
                        "\(finding.isFlag ? "FLAG" : "remark") \(finding.check.rawValue)",
                        TextTable.printable(finding.examples.joined(separator: ", ")), finding.sentence,
                    ]
                }
            })
    }

    package static func json(_ audits: [(path: String, audit: Audit)]) -> JSONValue {
        [
            "schema": "evalharness.audit/1",
            "audits": .array(
                audits.map { path, audit in
                    [
                        "outputs": .string(path), "n": .integer(audit.count),
                        "unique_ratio": .number(audit.uniqueRatio),
                        "prompt_overlap": JSONValue(audit.promptOverlap),
                        "findings": .array(audit.findings.map(finding)),
                        "flags": .array(audit.flags.map { .string($0.check.rawValue) }),
                    ]
                }),
        ]
    }

    private static func finding(_ finding: Audit.Finding) -> JSONValue {
        [
            "check": .string(finding.check.rawValue), "flag": .bool(finding.isFlag), "count": .integer(finding.count),
            "of": .integer(finding.total), "what": .string(finding.sentence),
            "examples": .array(finding.examples.map(JSONValue.string)),
        ]
    }
}
