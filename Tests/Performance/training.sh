#!/usr/bin/env bash
# Training steps of the engine beside TRL's, on the same random rows and shape, in one run, as a table.
#
#     PEERS=FOLDER training.sh [135m|tiny]
#
# FOLDER/venv-trl is a Python environment with peers/train_trl.txt; without PEERS ours runs alone.
#   ONLY            a pattern of the peer's runs, default all: 'simpo-f32|simpo-autocast|simpo-bf16|dpo-f32|...'
#   STEPS           of each run, the first of which is not counted; default 4
#   BF16_STEPS      those of the peer's runs in bf16, default STEPS: a CPU that does not multiply bf16 takes minutes a
#                   step; of 1 step, that one is counted
#   SECONDS_A_RUN   a peer's run is cut after that much training, default 300; it counts with the steps that it has done,
#                   or as a bound where it has done none
#   TOGETHER        yes runs the peer's autocast and bf16 of a method at once: where a CPU does not multiply bf16, each of
#                   them keeps one core busy
# Ours runs before, between and after the peer's methods, with activations kept, and with the MLP's or the whole layers'
# computed again with gradients in bf16; DPO also with its reference model in memory. f32 and the other ways to save
# memory run only before. The spread of its rows tells how quiet the machine was.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
shape=${1:-135m}
steps=${STEPS:-4}
threads=$(nproc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$here/../.."
load=$(cut -d' ' -f1 /proc/loadavg) # before the build
swift build -c release --product TrainingBenchmark >&2
cp .build/release/TrainingBenchmark "$work/ours" # a build that comes in between changes nothing
"${CC:-clang}" -std=gnu17 -O2 "$here/fma.c" -lpthread -o "$work/fma"
read -r f32 bf16 < <("$work/fma" "$threads")
echo "{\"limits\": {\"f32\": $f32, \"bf16\": $bf16}, \"threads\": $threads, \"load\": $load}" >>"$work/rows"

ours() { # format, what is computed again, what gradients are summed up in
    for run in "simpo" "dpo" "dpo --reference memory"; do
        "$work/ours" --shape "$shape" --dtype "$1" --recompute "$2" --gradients "$3" --steps "$steps" \
            --threads "$threads" --method $run | tee -a "$work/rows" >&2
    done
}

peer() { # method, precision
    local count=$([ "$2" = f32 ] && echo "$steps" || echo "${BF16_STEPS:-$steps}")
    [[ $1-$2 =~ ^(${ONLY:-.*})$ ]] || return 0
    "$PEERS/venv-trl/bin/python" "$here/peers/train_trl.py" --method "$1" --precision "$2" --shape "$shape" \
        --steps "$count" --threads "$threads" --seconds "${SECONDS_A_RUN:-300}" >"$work/$1-$2" 2>"$work/$1-$2.log" ||
        tail -n 20 "$work/$1-$2.log" >&2
    grep '^{"engine"' "$work/$1-$2" | tee -a "$work/rows" >&2 ||
        echo "{\"engine\": \"TRL\", \"method\": \"$1\", \"precision\": \"$2\", \"error\": \"ended without a result\"}" |
        tee -a "$work/rows" >&2
}

both() {
    ours bf16 none f32
    ours bf16 mlp bf16
    ours bf16 layers bf16
}

ours f32 none f32
ours bf16 layers f32
ours bf16 segments bf16
both
if [ -n "${PEERS:-}" ]; then
    for method in simpo dpo; do
        peer $method f32
        if [ "${TOGETHER:-no}" = yes ]; then
            peer $method autocast &
            peer $method bf16
            wait
        else
            peer $method autocast
            peer $method bf16
        fi
        both
    done
fi
python3 "$here/training_table.py" "$work/rows"
