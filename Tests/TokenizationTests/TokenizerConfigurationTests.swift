import Chat
import Foundation
import TestSupport
import Testing
import Tokenization

struct TokenizerConfigurationTests {
    @Test func `A folder without files configures nothing`() throws {
        let folder = try TemporaryFolder()
        let configuration = try TokenizerConfiguration(folder: folder.path)
        #expect(configuration.beginToken == nil)
        #expect(configuration.chatTemplate == nil)
        #expect(configuration.addBeginToken == nil)
        #expect(configuration.templateVariables == [:])
    }

    @Test func `Tokens are strings or objects, and the map fills in what the configuration lacks`() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            """
            {"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "unk_token": null,
             "add_bos_token": true, "add_eos_token": false, "model_max_length": 4096,
             "additional_special_tokens": ["<x>", {"content": "<y>"}]}
            """, "tokenizer_config.json")
        try folder.write(
            #"{"bos_token": "other", "unk_token": {"content": "<unk>"}, "pad_token": "<pad>"}"#,
            "special_tokens_map.json")
        let configuration = try TokenizerConfiguration(folder: folder.path)
        #expect(configuration.beginToken == "<s>")
        #expect(configuration.endToken == "</s>")
        #expect(configuration.unknownToken == "<unk>")
        #expect(configuration.padToken == "<pad>")
        #expect(configuration.addBeginToken == true)
        #expect(configuration.addEndToken == false)
        #expect(configuration.modelMaxLength == 4096)
        #expect(
            configuration.templateVariables == [
                "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
                "additional_special_tokens": ["<x>", "<y>"],
            ])
    }

    @Test func `A length beyond every model is no length`() throws {
        let folder = try TemporaryFolder()
        try folder.write(#"{"model_max_length": 1000000000000000019884624838656}"#, "tokenizer_config.json")
        #expect(try TokenizerConfiguration(folder: folder.path).modelMaxLength == nil)
    }

    @Test func `A template file replaces the one in the configuration, and named ones are found`() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            #"{"chat_template": [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "T"}]}"#,
            "tokenizer_config.json")
        var configuration = try TokenizerConfiguration(folder: folder.path)
        #expect(configuration.chatTemplate?.source == "A")
        #expect(try configuration.template(withTools: true)?.source == "T")
        #expect(try configuration.template(withTools: false)?.source == "A")
        try folder.write("B", "chat_template.jinja")
        try folder.write("R", "additional_chat_templates/rag.jinja")
        configuration = try TokenizerConfiguration(folder: folder.path)
        #expect(configuration.chatTemplate?.source == "B")
        #expect(try configuration.template(named: "rag")?.source == "R")
        #expect(configuration.templateSources.keys.sorted() == ["default", "rag", "tool_use"])
    }

    @Test(arguments: [
        ("[]", "an object"), ("{", "JSON"), (#"{"bos_token": 3}"#, "bos_token"),
        (#"{"add_bos_token": "yes"}"#, "add_bos_token"),
        (#"{"chat_template": 3}"#, "chat_template"), (#"{"chat_template": [{"name": "x"}]}"#, "template"),
        (#"{"model_max_length": "long"}"#, "model_max_length"), (#"{"chat_template": "{% if %}"}"#, "line 1"),
    ])
    func `A file of the wrong kind is an error that names it`(_ content: String, _ word: String) throws {
        let folder = try TemporaryFolder()
        try folder.write(content, "tokenizer_config.json")
        let error = try #require(throws: TemplateError.self) { try TokenizerConfiguration(folder: folder.path) }
        #expect(error.description.contains(word), "\(error)")
        #expect(error.description.contains(folder.path), "\(error)")
    }

    @Test func `A folder that is not there is an error`() throws {
        #expect(throws: TemplateError.self) { try TokenizerConfiguration(folder: "/no/such/folder") }
    }
}
