import Foundation
import Statistics
import Testing

/// The vector functions against glibc, whose own error is below 1 ulp.
@Suite("Vector mathematics")
struct StableMathTests {
    @Test("exp is within 2 ulp from −700 to 700, and finite beyond")
    func exponential() {
        for x in stride(from: -700, through: 700, by: 0.0837) {
            let expected = exp(x)
            #expect(abs(Lanes.exp(Lanes(repeating: x))[3] - expected) <= 2 * expected.ulp, "exp(\(x))")
        }
        #expect(Lanes.exp(Lanes(repeating: 0)) == Lanes(repeating: 1))
        #expect(Lanes.exp(Lanes(repeating: 1e6))[0].isFinite)
        #expect(Lanes.exp(Lanes(repeating: -.infinity))[0] < 1e-300)
    }

    @Test("log is within 2 ulp")
    func logarithm() {
        for power in stride(from: -300.0, through: 300, by: 0.0517) {
            let x = pow(10, power)
            #expect(abs(Lanes.log(Lanes(repeating: x))[5] - log(x)) <= 2 * log(x).ulp, "log(\(x))")
        }
        for i in 0..<1000 {
            let x = 1 + Double(i) * 1e-3
            #expect(abs(Lanes.log(Lanes(repeating: x))[0] - log(x)) <= 2 * log(x).ulp, "log(\(x))")
        }
    }

    @Test("tanh is within 1e-15 and saturates")
    func hyperbolicTangent() {
        for x in stride(from: -25.0, through: 25, by: 0.0137) {
            #expect(abs(Lanes.tanh(Lanes(repeating: x))[0] - tanh(x)) <= 1e-15, "tanh(\(x))")
        }
        #expect(Lanes.tanh(Lanes(repeating: .infinity)) == Lanes(repeating: 1))
        #expect(Lanes.tanh(Lanes(repeating: -.infinity)) == Lanes(repeating: -1))
    }

    @Test("Lanes do not mix")
    func lanes() {
        var x = Lanes()
        for i in x.indices { x[i] = Double(i) - 3.3 }
        for i in x.indices { #expect(abs(Lanes.exp(x)[i] - exp(x[i])) <= 2 * exp(x[i]).ulp) }
    }
}
