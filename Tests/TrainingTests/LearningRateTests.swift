import Chat
import TestSupport
import Testing
import Training

@Suite struct LearningRateTests {
    @Test func `Rates are those of transformers' schedulers`() throws {
        // transformers 4.57.6, peak 1e-6, 6 steps of which 0.1 warm up.
        let cosine = try LearningRate(peak: 1e-6, shape: .cosine, warmUp: .ratio(0.1), totalSteps: 6)
        #expect(cosine.warmUpSteps == 1)
        let expected = [0, 1e-6, 9.04508497e-07, 6.54508497e-07, 3.45491503e-07, 9.54915028e-08]
        #expect(agree(rates(cosine), expected))
        let linear = try LearningRate(peak: 1e-6, shape: .linear, warmUp: .steps(2), totalSteps: 5)
        #expect(agree(rates(linear), [0, 5e-7, 1e-6, 6.66666667e-07, 3.33333333e-07]))
        let constant = try LearningRate(peak: 1e-6, shape: .constant, warmUp: .steps(0), totalSteps: 3)
        #expect(rates(constant) == [1e-6, 1e-6, 1e-6])
    }

    @Test(.enabled(if: SharedData.exists("\(SharedData.fixtures)/misc/schedules.json")))
    func `Rates are those of the golden schedules`() throws {
        let shapes: [String: LearningRate.Shape] = [
            "constant": .constant, "constant_with_warmup": .constantWithWarmUp, "linear": .linear, "cosine": .cosine,
        ]
        let file = try JSONValue(parsing: SharedData.contents("\(SharedData.fixtures)/misc/schedules.json"))
        var found: Set<String> = []
        for golden in try #require(file["cases"]?.array) {
            // The others are schedules that a recipe cannot ask for.
            guard let name = golden["name"]?.string, let shape = shapes[name] else { continue }
            found.insert(name)
            let schedule = try LearningRate(
                peak: #require(golden["base_lr"]?.number), shape: shape,
                warmUp: .ratio(#require(golden["warmup_ratio"]?.number)),
                totalSteps: #require(golden["total_steps"]?.integer))
            // transformers' `constant` ignores a warm-up.
            if name != "constant" { #expect(schedule.warmUpSteps == golden["warmup_steps"]?.integer) }
            let expected = try #require(golden["lr_used_at_step"]?.array).compactMap(\.number)
            #expect(agree(rates(schedule), expected), "\(golden.text()): \(rates(schedule))")
        }
        #expect(found.count == shapes.count)
    }

    @Test func `A warm-up as long as the run or longer never reaches the peak`() throws {
        let whole = try LearningRate(peak: 1, shape: .cosine, warmUp: .ratio(1), totalSteps: 4)
        #expect(rates(whole) == [0, 0.25, 0.5, 0.75])
        let longer = try LearningRate(peak: 1, shape: .linear, warmUp: .steps(8), totalSteps: 4)
        #expect(rates(longer) == [0, 0.125, 0.25, 0.375])
    }

    @Test func `A warm-up ratio of steps is rounded up`() throws {
        let counts = try [10, 11, 20, 478].map {
            try LearningRate(peak: 1, shape: .cosine, warmUp: .ratio(0.1), totalSteps: $0).warmUpSteps
        }
        #expect(counts == [1, 2, 2, 48])
    }

    @Test func `A rate or a warm-up that makes no sense is refused`() {
        let refused: [(Double, LearningRate.WarmUp, String)] = [
            (0, .steps(0), "the learning rate is 0.0"), (.nan, .steps(0), "the learning rate is nan"),
            (1, .steps(-1), "the warm-up is -1 steps"), (1, .ratio(1.5), "the warm-up is 1.5 of all steps"),
            (1, .ratio(-0.1), "the warm-up is -0.1 of all steps"), (1, .ratio(.nan), "the warm-up is nan of all steps"),
        ]
        for (peak, warmUp, sentence) in refused {
            let error = #expect(throws: TrainingError.self) {
                try LearningRate(peak: peak, shape: .cosine, warmUp: warmUp, totalSteps: 10)
            }
            #expect(error?.description.hasPrefix(sentence) == true, "\(error?.description ?? "nothing")")
        }
    }

    private func rates(_ schedule: LearningRate) -> [Double] {
        (0..<schedule.totalSteps).map(schedule.rate(at:))
    }

    /// The golden values have nine digits.
    private func agree(_ found: [Double], _ expected: [Double]) -> Bool {
        found.count == expected.count && zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-8 * abs($1) + 1e-20 }
    }
}
