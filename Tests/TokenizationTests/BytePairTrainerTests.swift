import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

/// A vocabulary learned here, beside the one that the tokenizers library learns from the same texts.
@Suite struct BytePairTrainerTests {
    private static let special = ["<s>", "</s>", "<|user|>"]

    private func trained(_ texts: [String], _ size: Int) throws -> BytePairTrainer {
        try BytePairTrainer(texts, vocabularySize: size, specialTokens: Self.special)
    }

    @Test func `Merges are those of the tokenizers library`() throws {
        let path = "\(SharedData.packageRoot)/Tests/TokenizationTests/Fixtures/byte_pair_trainer.json"
        let golden = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: path)))
        for run in try #require(golden["runs"]?.array) {
            let texts = try #require(run["texts"]?.array).compactMap(\.string)
            let trainer = try trained(texts, try #require(run["vocabulary_size"]?.integer))
            #expect(trainer.json["model"]?["merges"] == run["merges"])
            let vocabulary = try #require(run["vocab"]?.object)
            let ours = try #require(trainer.json["model"]?["vocab"]?.object)
            #expect(ours.members.count == vocabulary.members.count)
            for member in vocabulary.members { #expect(ours[member.key] == member.value, "\(member.key)") }
        }
    }

    @Test func `What was learned is a tokenizer that gives every text back`() throws {
        let texts = ["low lower lowest", "new newer newest", "a1b22c333 \u{1F600} \u{E9}\n\n  x"]
        let trainer = try trained(texts, 300)
        let tokenizer = try Tokenizer(bytes: trainer.json.serialized(), path: "tokenizer.json")
        #expect(tokenizer.vocabularySize == trainer.vocabularySize)
        for text in texts + ["never seen: \u{4E2D} 42"] {
            let ids = tokenizer.encode(text, addSpecialTokens: false)
            #expect(tokenizer.decode(ids, skipSpecialTokens: true) == text)
        }
        #expect(tokenizer.encode("<s>low</s>", addSpecialTokens: false).first == 0)
    }

    @Test func `It ends where no pair stands twice`() throws {
        #expect(try trained(["abc"], 400).vocabularySize == 256 + Self.special.count)
        #expect(try trained(["abab"], 400).vocabularySize == 256 + Self.special.count + 1)
    }
}
