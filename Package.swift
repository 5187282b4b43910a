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
                "Endpoints", "Evidence", "Reporting", "Evaluation", "Statistics", "Chat",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),

        .target(name: "Endpoints", dependencies: ["Chat", "CCurl"], swiftSettings: strict),
        .target(
            name: "Evidence", dependencies: ["Chat", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),
        .target(name: "Reporting", dependencies: ["Evaluation", "Chat", "Statistics"], swiftSettings: strict),

        .target(
            name: "Evaluation", dependencies: ["Chat", "Statistics", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict),

        .target(name: "Chat", dependencies: ["CCrypto"], swiftSettings: strict),
        .target(name: "Statistics", swiftSettings: strict),

        .testTarget(name: "EndToEndTests", dependencies: ["evalharness", "Chat", "LoopbackServer", "TestSupport"]),
        .testTarget(name: "EndpointsTests", dependencies: ["Endpoints", "Chat", "LoopbackServer"]),
        .testTarget(name: "EvidenceTests", dependencies: ["Evidence", "Chat", "TestSupport"]),
        .testTarget(name: "ReportingTests", dependencies: ["Reporting", "Evaluation", "Chat"]),
        .testTarget(name: "EvaluationTests", dependencies: ["Evaluation", "Statistics", "Chat", "TestSupport"]),
        .testTarget(name: "StatisticsTests", dependencies: ["Statistics", "TestSupport"], exclude: ["Fixtures"]),
        .testTarget(name: "ChatTests", dependencies: ["Chat"]),
        .target(name: "LoopbackServer", path: "Tests/LoopbackServer"),
        .target(name: "TestSupport", path: "Tests/TestSupport"),

        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    ],
    swiftLanguageModes: [.v6],
    cLanguageStandard: .gnu17
)
