#!/usr/bin/env bash
# The engine beside its peers on one random-weight checkpoint, in one run, as a table.
#
#     PEERS=FOLDER generation.sh 135m|1b [NEW TOKENS]
#
# FOLDER holds what peers/setup_venvs.sh and peers/build_llamacpp.sh made; without it ours runs alone on CHECKPOINT.
#   ONLY    a pattern of peers, default 'llama-bf16|openvino-bf16|transformers-f32|vllm-f32'
# Ours runs before, between and after the peers: the spread of its rows tells how quiet the machine was.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
shape=${1:?135m or 1b}
new=${2:-$([ "$shape" = 1b ] && echo 48 || echo 256)}
checkpoint=${CHECKPOINT:-${PEERS:?or CHECKPOINT}/ckpt/$shape}
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT

cd "$here/../.."
swift build -c release --product GenerationBenchmark >&2
[ -f "$checkpoint/model.safetensors" ] || "$PEERS/venv-hf/bin/python" "$here/peers/make_checkpoint.py" "$shape" >&2

ours() {
    for batch in 1 64; do
        .build/release/GenerationBenchmark "$checkpoint" --batch $batch --prompts $batch --new "$new" --dtype "$1" >>"$rows"
    done
}

ours bf16
for peer in $([ -z "${PEERS:-}" ] || tr '|' ' ' <<<"${ONLY:-llama-bf16|openvino-bf16|transformers-f32|vllm-f32}"); do
    python3 "$here/peers/run_peers.py" "$shape" --new "$new" --new1 "$new" --only "^$peer\$" >>"$rows"
    ours bf16
done
ours w8a8
python3 "$here/generation_table.py" "$rows"
