#!/usr/bin/env bash
# Known truths: what intervals cover, how often gates err, how many prompts sequential ones take (docs/deciding.md).
#
#     Tests/Performance/simulation.sh [REPEATS]          # 2000 when left out
set -euo pipefail
cd "$(dirname "$0")/../.."
swift build -c release --product CoverageSimulation
.build/release/CoverageSimulation "${1:-2000}"
