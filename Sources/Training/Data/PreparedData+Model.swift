package import LanguageModel

extension PreparedData {
    /// Holds the rows against the model that is to read them.
    ///
    /// - Parameter folder: the model's, for the sentence.
    /// - Throws: `TrainingError.badData` for the first token that the model does not have, or row beyond its positions.
    package func check(for model: ModelConfiguration, in folder: String) throws(TrainingError) {
        for (pair, line) in zip(pairs, lines) {
            for ids in pair.rows.map(\.ids) {
                if let id = ids.first(where: { $0 < 0 || $0 >= model.vocabularySize }) {
                    throw .badData(
                        "\(line) has the token \(id), and \(folder)/config.json says vocab_size \(model.vocabularySize): "
                            + "the tokenizer has tokens that the model does not. Use the model's own tokenizer")
                }
                if let limit = model.positionLimit, ids.count > limit {
                    throw .badData(
                        "\(line) has \(ids.count) tokens, and the positions of \(folder) hold for \(limit). Set "
                            + "max_length to \(limit) or less")
                }
            }
        }
    }
}
