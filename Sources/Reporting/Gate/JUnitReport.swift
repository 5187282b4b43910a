internal import Chat
internal import Statistics

/// A gate as JUnit XML, in the subset that both the xUnit plugin of Jenkins and the older schema of Ant accept: a
/// testsuite of the benchmark, a testcase a rule; `failure` is a proved regression, `skipped` an open question, `error` a
/// fault of integrity.
package struct JUnitReport: Sendable {
    private let gate: Gate
    private let timestamp: String

    /// - Parameter timestamp: `2026-01-31T12:00:00`.
    package init(_ gate: Gate, timestamp: String) {
        self.gate = gate
        self.timestamp = timestamp
    }

    package var xml: [UInt8] {
        let xml = XMLWriter()
        let failures = gate.rulings.count { isFailure($0.verdict) } + open.count { _ in isFailure(.inconclusive) }
        let skipped = gate.rulings.count { isSkipped($0.verdict) } + open.count { _ in isSkipped(.inconclusive) }
        xml.element("testsuites") {
            xml.element(
                "testsuite",
                [
                    "name": "evalharness \(gate.policy.benchmark)", "package": "evalharness", "id": "0",
                    "tests": "\(gate.rulings.count + open.count + 1)", "failures": "\(failures)",
                    "errors": "\(gate.faults.isEmpty ? 0 : 1)", "skipped": "\(skipped)", "time": "0",
                    "timestamp": timestamp, "hostname": "localhost",
                ]
            ) {
                xml.element("properties") { writeProperties(xml) }
                writeIntegrity(xml)
                for ruling in gate.rulings { write(ruling.rule, ruling.verdict, GateReport.sentence(ruling), xml) }
                for rule in open { write(rule, .inconclusive, "There are too few verdicts to say anything.", xml) }
                xml.element("system-out", text: GateReport(gate).table.text)
                xml.element("system-err")
            }
        }
        return xml.finish()
    }

    /// Rules for which there was too little to say anything.
    private var open: [GatePolicy.Rule] {
        gate.faults.isEmpty ? gate.policy.rules.filter { rule in !gate.rulings.contains { $0.rule == rule } } : []
    }

    private func isFailure(_ verdict: Gate.Verdict) -> Bool {
        verdict == .regression || verdict == .inconclusive && gate.policy.inconclusive == .fail
    }

    private func isSkipped(_ verdict: Gate.Verdict) -> Bool {
        verdict == .inconclusive && gate.policy.inconclusive == .report
    }

    private func writeProperties(_ xml: XMLWriter) {
        var properties = [("candidate", gate.candidate.name), ("baseline", gate.baseline.name)]
        properties += gate.candidate.provenance.keys.map { ($0, gate.candidate.fact($0) ?? "") }
        for (name, value) in properties { xml.element("property", ["name": name, "value": value]) }
    }

    private var suite: String { "evalharness.\(gate.policy.benchmark)" }

    private func writeIntegrity(_ xml: XMLWriter) {
        xml.element("testcase", ["name": "integrity", "classname": suite, "time": "0"]) {
            if let first = gate.faults.first {
                xml.element(
                    "error", ["type": "integrity", "message": first],
                    text: gate.faults.joined(separator: "\n"))
            }
        }
    }

    private func name(_ rule: GatePolicy.Rule) -> String {
        "\(rule.metric.rawValue): no regression beyond \(TextTable.decimal(rule.margin))"
    }

    private func write(_ rule: GatePolicy.Rule, _ verdict: Gate.Verdict, _ sentence: String, _ xml: XMLWriter) {
        xml.element("testcase", ["name": name(rule), "classname": suite, "time": "0"]) {
            if isFailure(verdict) {
                xml.element("failure", ["type": verdict.rawValue, "message": sentence], text: sentence)
            } else if isSkipped(verdict) {
                xml.element("skipped", ["message": sentence])
            }
        }
    }
}
