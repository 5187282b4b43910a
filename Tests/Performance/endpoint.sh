#!/usr/bin/env bash
# The cost of a judge call to the caller, `evalharness judge` beside alpaca_eval, against a mock endpoint on loopback.
#
#     endpoint.sh DATA_DIR
#
# DATA_DIR/import holds what `evalharness dataset import alpacaeval` takes.
#   EVALHARNESS, PEER_PYTHON   as for alpacaeval.sh
#   RUNS                       measured runs of ours, default 3
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/peers.sh"

data=$(realpath "${1:?DATA_DIR}")
ours=$(realpath "${EVALHARNESS:-$here/../../.build/release/evalharness}")
peer=${PEER_PYTHON:-$(environment alpaca_eval "$here/peers.txt")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc -O2 -o "$work/mock_endpoint" "$here/mock_endpoint.c" -lm
export XDG_CACHE_HOME="$work/cache"
"$ours" dataset import alpacaeval --from "$data/import" --unverified >"$work/import.log" 2>&1 || { cat "$work/import.log"; exit 1; }
"$here/endpoint.py" --ours "$ours" --peer "$peer" --mock "$work/mock_endpoint" --calibration "$data/import" \
    --work "$work" --runs "${RUNS:-3}"

"$ours" --version | sed 's/^/ours: /'
peer_versions "$peer" alpaca_eval openai
