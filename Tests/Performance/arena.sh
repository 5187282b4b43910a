#!/usr/bin/env bash
# `evalharness score arena-hard` beside arena-hard-auto v0.1's show_result.py, whole processes on the same files in one run.
#
#     UPSTREAM=CHECKOUT arena.sh
#
# CHECKOUT is lmarena/arena-hard-auto at 0489bf3, where show_result.py still takes --style-control.
#   EVALHARNESS   the program; default .build/release/evalharness
#   PEER_PYTHON   a Python with the packages of arena.txt; default: an environment of its own in the user's cache
#   MODELS PROMPTS RUNS   default 20, 500, 3
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/peers.sh"
upstream=$(realpath "${UPSTREAM:?a checkout of arena-hard-auto at 0489bf3}")
ours=$(realpath "${EVALHARNESS:-$here/../../.build/release/evalharness}")
peer=${PEER_PYTHON:-$(environment arena_hard "$here/arena.txt")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$here/arena_files.py" "$work" "${MODELS:-20}" "${PROMPTS:-500}"
cp "$upstream"/*.py "$work"
bench=$work/data/arena-hard-v0.1
score() { printf '%q score arena-hard --judgments %q --answers %q %s' "$ours" "$bench/model_judgment/gpt-4-1106-preview" "$bench/model_answer" "$*"; }
official() { printf 'env -C %q %q show_result.py %s' "$work" "$peer" "$*"; }

peer_versions "$peer" numpy pandas scikit-learn
mkdir "$work/out"
"$here/measure.py" --runs "${RUNS:-3}" --keep "$work/out" \
    --case "(a) ratings" "$(score --resamples 0)" "$(official)" \
    --case "(b) style control" "$(score --resamples 0 --style-control)" "$(official --style-control)" \
    --case "(c) and 1000 by prompt" "$(score --resamples 1000 --style-control)" "$(official --style-control)"
for file in "$work"/out/*; do
    echo "== $(basename "$file")"
    grep -E "model-(00|10|19)" "$file" | head -3
done
