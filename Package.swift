// swift-tools-version: 6.2
import PackageDescription

// The target graph is the architecture: a target imports only from rows below its own (docs/architecture.md).
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "evalharness",
    products: [.executable(name: "evalharness", targets: ["evalharness"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    ],
    targets: [
        .executableTarget(
            name: "evalharness",
            dependencies: [
                "Serving", "Inference", "Training", "Endpoints", "Evidence", "Reporting", "StarterTasks",
                "LanguageModel", "Evaluation", "Tokenization", "Statistics", "Chat",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),

        .target(
            name: "Inference", dependencies: ["LanguageModel", "Tokenization", "Chat", "Statistics"],
            swiftSettings: strict),
        .target(
            name: "Training", dependencies: ["LanguageModel", "Tokenization", "Chat", "Statistics", "CKernels"],
            swiftSettings: strict),
        .target(name: "Serving", dependencies: ["Chat"], swiftSettings: strict),
        .target(name: "Endpoints", dependencies: ["Chat", "CCurl"], swiftSettings: strict),
        .target(
            name: "Evidence", dependencies: ["Chat", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),
        .target(
            name: "Reporting", dependencies: ["Evaluation", "Chat", "Statistics", "CXML2"], swiftSettings: strict),

        .target(name: "StarterTasks", dependencies: ["Evaluation", "Statistics", "Chat"], swiftSettings: strict),

        .target(
            name: "Evaluation", dependencies: ["Chat", "Statistics", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict),

        .target(
            name: "LanguageModel", dependencies: ["Tokenization", "Chat", "CKernels"], swiftSettings: strict),

        .target(name: "Tokenization", dependencies: ["Chat"], swiftSettings: strict),
        .target(name: "Chat", dependencies: ["CCrypto"], swiftSettings: strict),
        .target(name: "Statistics", swiftSettings: strict),

        .testTarget(name: "EndToEndTests", dependencies: ["evalharness", "Chat", "LoopbackServer", "TestSupport"]),
        .testTarget(
            name: "InferenceTests", dependencies: ["Inference", "LanguageModel", "Chat", "Statistics", "TestSupport"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "TrainingTests",
            dependencies: ["Training", "LanguageModel", "Tokenization", "Chat", "Statistics", "TestSupport"]),
        .testTarget(name: "EndpointsTests", dependencies: ["Endpoints", "Chat", "LoopbackServer"]),
        .testTarget(name: "ServingTests", dependencies: ["Serving", "Chat"]),
        .testTarget(name: "EvidenceTests", dependencies: ["Evidence", "Chat", "TestSupport"]),
        .testTarget(
            name: "ReportingTests", dependencies: ["Reporting", "Evaluation", "Statistics", "Chat", "TestSupport"]),
        .testTarget(
            name: "StarterTasksTests", dependencies: ["StarterTasks", "Evaluation", "Chat", "TestSupport"]),
        .testTarget(name: "EvaluationTests", dependencies: ["Evaluation", "Statistics", "Chat", "TestSupport"]),
        .testTarget(name: "StatisticsTests", dependencies: ["Statistics", "TestSupport"], exclude: ["Fixtures"]),
        .testTarget(name: "ChatTests", dependencies: ["Chat"]),
        .testTarget(name: "LanguageModelTests", dependencies: ["LanguageModel", "Chat", "CKernels", "TestSupport"]),
        .testTarget(
            name: "TokenizationTests", dependencies: ["Tokenization", "Chat", "TestSupport"], exclude: ["Fixtures"]),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels", "TileEmulation"]),
        .executableTarget(
            name: "GenerationBenchmark", dependencies: ["Inference", "LanguageModel"],
            path: "Tests/Performance/GenerationBenchmark"),
        .executableTarget(
            name: "TrainingBenchmark", dependencies: ["Training", "LanguageModel", "Chat"],
            path: "Tests/Performance/TrainingBenchmark"),
        .executableTarget(
            name: "CoverageSimulation", dependencies: ["Statistics"], path: "Tests/Performance/CoverageSimulation"),
        .target(name: "TileEmulation", dependencies: ["CKernels"], path: "Tests/TileEmulation"),
        .target(name: "LoopbackServer", path: "Tests/LoopbackServer"),
        .target(name: "TestSupport", path: "Tests/TestSupport"),

        .target(name: "CKernels"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CXML2", pkgConfig: "libxml-2.0", providers: [.apt(["libxml2-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17
)
