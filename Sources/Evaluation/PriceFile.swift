internal import Chat

/// What models cost, as a dated file says it; a model that is not in it has an unknown price.
package struct PriceFile: Hashable, Sendable {
    private let prices: [String: JudgeDefinition.Prices]
    /// Of prices without one of their own.
    package let date: String

    /// - Throws: `missingInput`, or `configuration` naming the model whose price is none.
    package init(path: String) throws(EvaluationError) {
        var fields = try Fields(yamlFile: path)
        let date = try fields.requiredString("as_of")
        let models = fields.value("models")?.object ?? JSONObject()
        try fields.refuseUnknown()
        var prices: [String: JudgeDefinition.Prices] = [:]
        for member in models.members {
            var own = try Fields(member.value, place: "\(path): \(member.key)")
            let input = try own.number("input_per_million")
            let output = try own.number("output_per_million")
            let ownDate = try own.string("date")
            try own.refuseUnknown()
            let price = JudgeDefinition.Prices(
                inputPerMillion: try own.required("input_per_million", input),
                outputPerMillion: try own.required("output_per_million", output), date: ownDate ?? date)
            guard price.inputPerMillion >= 0, price.outputPerMillion >= 0 else {
                throw own.unusable("input_per_million", "should be 0 or more dollars, as output_per_million")
            }
            prices[member.key] = price
        }
        self.prices = prices
        self.date = date
    }

    /// - Parameter fingerprint: of the model: a provider's name behind another address is another model.
    package subscript(fingerprint: String) -> JudgeDefinition.Prices? { prices[fingerprint] }
}
