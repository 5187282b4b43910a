package import Chat

/// What a model wrote for one prompt.
package struct ModelOutput: Hashable, Sendable {
    package var prompt: Prompt
    /// One for each of the prompt's.
    package var turns: [String]
    package var generator: String

    package init(prompt: Prompt, turns: [String], generator: String) {
        precondition(turns.count == prompt.turns.count, "\(turns.count) outputs to \(prompt.turns.count) turns")
        self.prompt = prompt
        self.turns = turns
        self.generator = generator
    }

    package init(prompt: Prompt, output: String, generator: String) {
        self.init(prompt: prompt, turns: [output], generator: generator)
    }

    /// Of the first turn.
    package var output: String { turns[0] }

    /// In Unicode scalars, as upstream counts: neither graphemes nor UTF-16 units.
    package var length: Int {
        var text = output
        return text.withUTF8 { utf8 in
            // Continuation bytes (10……) are not counted; eight at a time, then the rest.
            let bytes = UnsafeRawBufferPointer(utf8)
            let whole = bytes.count & ~7
            var continuations = 0
            for offset in stride(from: 0, to: whole, by: 8) {
                let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                continuations += (word >> 7 & ~(word >> 6) & 0x0101_0101_0101_0101).nonzeroBitCount
            }
            for byte in bytes[whole...] where byte & 0xC0 == 0x80 { continuations += 1 }
            return bytes.count - continuations
        }
    }
}

/// A model's outputs, at most one a prompt.
package struct ModelOutputs: Hashable, Sendable {
    package var name: String
    package var outputs: [ModelOutput]
    package var sha256: String
    private var places: [Int: Int]

    package init(name: String, outputs: [ModelOutput], sha256: String) {
        self.name = name
        self.outputs = outputs
        self.sha256 = sha256
        places = Dictionary(uniqueKeysWithValues: outputs.enumerated().map { ($1.prompt.index, $0) })
    }

    /// Reads a file of outputs in the form that its prompts' benchmark has.
    ///
    /// - Parameter name: what the board calls the model; nil takes what the file says.
    /// - Throws: `badData` naming the record.
    package init(bytes: [UInt8], path: String, prompts: PromptSet, name: String?) throws(EvaluationError) {
        self =
            prompts.hasIDs
            ? try ModelOutputs(conversations: bytes, path: path, prompts: prompts, name: name)
            : try ModelOutputs(instructions: bytes, path: path, prompts: prompts, name: name)
    }

    package subscript(prompt: Prompt) -> ModelOutput? { places[prompt.index].map { outputs[$0] } }

    /// Upstream truncates the mean length over the file's records.
    package var averageLength: Int {
        outputs.isEmpty ? 0 : outputs.reduce(0) { $0 + $1.length } / outputs.count
    }

    /// Those of some of the prompts.
    package func of(_ prompts: [Prompt]) -> ModelOutputs {
        let indices = Set(prompts.map(\.index))
        return ModelOutputs(
            name: name, outputs: outputs.filter { indices.contains($0.prompt.index) }, sha256: sha256)
    }
}

// MARK: - alpaca_eval's files

extension ModelOutputs {
    /// Reads alpaca_eval's `model_outputs.json`. Records may stand in any order; a prompt may lack one.
    ///
    /// - Throws: `badData` for wrong fields, an instruction that is no prompt of the set, two outputs for one prompt, or
    ///   several generators and no name.
    private init(
        instructions bytes: [UInt8], path: String, prompts: PromptSet, name: String?
    ) throws(EvaluationError) {
        let records = try Records.read(bytes, path: path, asked: "The model's outputs")
        let sha256 = Digest.sha256(bytes)
        var outputs: [ModelOutput] = []
        var seen: [Int: Int] = [:]
        var strangers = 0
        var firstStranger: Int?
        for (index, record) in records.enumerated() {
            let instruction = try Records.string("instruction", of: record, index, path)
            let output = try Records.string("output", of: record, index, path)
            guard let place = prompts.index(of: instruction) else {
                strangers += 1
                firstStranger = firstStranger ?? index
                continue
            }
            if let earlier = seen[place] {
                throw .badData(
                    "\(path), record \(index): the prompt already has an output in record \(earlier). Keep one of "
                        + "the two.")
            }
            seen[place] = index
            // A name that was given goes before the file's; without any, two files must not share one.
            let generator = name ?? record["generator"]?.string ?? "model-\(sha256.prefix(8))"
            outputs.append(ModelOutput(prompt: prompts.prompts[place], output: output, generator: generator))
        }
        if outputs.isEmpty {
            throw .badData(
                "\(path) answers none of the \(prompts.prompts.count) prompts (\(records.count) records). It "
                    + "belongs to another "
                    + "prompt set: name that one with --prompts.")
        }
        if let firstStranger {
            throw .badData(
                "\(path), record \(firstStranger): its instruction is none of the \(prompts.prompts.count) prompts "
                    + "(\(strangers) such records). Remove them, or name the prompt set they belong to with --prompts.")
        }
        let generators = Set(outputs.map(\.generator))
        guard let name = name ?? (generators.count == 1 ? generators.first : nil) else {
            throw .badData(
                "\(path) holds outputs of \(generators.count) generators. Say which model this is with "
                    + "--name.")
        }
        self.init(name: name, outputs: outputs, sha256: sha256)
    }

    /// The records of alpaca_eval's `model_outputs.json`.
    package var records: some Collection<JSONValue> {
        outputs.lazy.map { output in
            var record = JSONObject()
            if let category = output.prompt.category { record["dataset"] = .string(category) }
            record["instruction"] = .string(output.prompt.instruction)
            record["output"] = .string(output.output)
            record["generator"] = .string(output.generator)
            return .object(record)
        }
    }
}
