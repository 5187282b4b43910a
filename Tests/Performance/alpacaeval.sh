#!/usr/bin/env bash
# `evalharness score alpacaeval` beside alpaca_eval, whole processes on the same files in the same run.
#
#     alpacaeval.sh DATA_DIR [MODEL]
#
# DATA_DIR holds dev/, baseline/ and import/ (the calibration files); MODEL is the one of dev/ that is scored alone.
#   EVALHARNESS   the program; default .build/release/evalharness
#   PEER_PYTHON   a Python with the packages of peers.txt; default: an environment of its own in the user's cache
#   RUNS          measured runs of each, default 5
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/peers.sh"

data=$(realpath "${1:?DATA_DIR}")
model=${2:-gemma-2b-it}
ours=$(realpath "${EVALHARNESS:-$here/../../.build/release/evalharness}")
peer=${PEER_PYTHON:-$(environment alpaca_eval "$here/peers.txt")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$here/prepare_dev.py" "$data" "$work/dev"
export XDG_CACHE_HOME="$work/cache" CALIBRATION="$data/import"
"$ours" dataset import alpacaeval --from "$data/import" --unverified >"$work/import.log" 2>&1 || { cat "$work/import.log"; exit 1; }

files() { printf -- '--annotations %q --outputs %q ' "$work/dev/$1/annotations.json" "$work/dev/$1/model_outputs.json"; }
score() { printf '%q score alpacaeval %s --json' "$ours" "$*"; }
official() { printf '%q ' "$peer" "$here/alpaca_eval_metrics.py" "$work/dev" "$@"; }

mapfile -t models < <(ls "$work/dev")
all=$(for each in "${models[@]}"; do files "$each"; done)
mkdir "$work/out"
# The package has no interval: in (b) ours computes one and the peer does what it did in (a).
"$here/measure.py" --runs "${RUNS:-5}" --keep "$work/out" \
    --case "(a) one model" "$(score "$(files "$model")" --resamples 0)" "$(official "$model")" \
    --case "(b) and its interval" "$(score "$(files "$model")" --resamples 1000)" "$(official "$model")" \
    --case "(c) ${#models[@]} models" "$(score "$all" --resamples 0)" "$(official "${models[@]}")"
RESAMPLES=10 $(official "$model") | python3 -c 'import json, sys
[scores] = json.load(sys.stdin).values()
print("an interval by refits of the peer: %.0f s CPU for 1000 (scaled from 10)" % (1000 * scores["refit_cpu_seconds"]))'
"$here/agreement.py" "$work"/out/*models_ours.out "$work"/out/*models_peer.out

"$ours" --version | sed 's/^/ours: /'
peer_versions "$peer" alpaca_eval scikit-learn numpy pandas
echo "machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
