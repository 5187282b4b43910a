import Chat
import Evaluation
import Evidence

/// A judge whose model can be asked, and what it may spend.
struct OpenJudge: Sendable {
    let judge: Judge
    /// Nil where the prices of its model are unknown.
    let spending: Spending?

    /// The definition's own model, or the one that `--judge-model` names, behind the evidence in `store`.
    ///
    /// - Parameter template: in place of the file of the definition's folder; a definition whose template is a
    ///   benchmark's needs it.
    init(
        _ definition: JudgeDefinition, template: PromptTemplate? = nil, store: EvidenceStore, options: AskingOptions,
        budget: Budget
    ) async throws {
        let template = try template ?? Self.template(definition)
        let named = try options.judgeModel.map { try ModelSource($0) }
        guard let source = named ?? definition.model else {
            throw EvaluationError.configuration(
                "The judge \(definition.id) needs a model: name one with --judge-model.")
        }
        let model: any ChatModel
        var priced = definition
        if case .replay(let path) = source {
            model = try await OpenModel.replay(path, ownModel: definition.model, options: options)
            spending = nil
        } else {
            var limits = options
            limits.concurrency = options.concurrency ?? definition.limits.concurrency
            let opened = try OpenModel.open(source, role: .judge(definition.limits), options: limits)
            // The definition's prices are those of its own model; another one's stand in the price file, or nowhere.
            let known = definition.model?.fingerprint == opened.fingerprint ? definition.prices : nil
            priced.prices = try options.price(of: opened, known: known)
            spending = try options.spending(on: opened, of: budget, known: known)
            model = OpenModel.recorded(opened, store: store, spending: spending, options: options)
        }
        judge = Judge(
            definition: priced, template: template, model: model,
            isOwnModel: definition.model?.fingerprint == model.fingerprint, retries: options.retryUnparsable)
    }

    private static func template(_ definition: JudgeDefinition) throws -> PromptTemplate {
        guard case .file(let path) = definition.template else {
            throw EvaluationError.configuration(
                "The template of the judge \(definition.id) is part of a benchmark's data and cannot be had here. Name "
                    + "a judge with a template of its own.")
        }
        return try PromptTemplate(text: try Files.readText(path, asked: "The judge's template"), name: path)
    }
}
