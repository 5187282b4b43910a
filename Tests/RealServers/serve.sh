#!/usr/bin/env bash
# `evalharness serve` through OpenAI's own Python client.
#
#     serve.sh CHECKPOINT
#
# CHECKPOINT is a folder with a chat template.
#   EVALHARNESS     the program; default .build/release/evalharness
#   OPENAI_VENV     a folder for a Python environment with the packages of openai.txt, made where it does not exist;
#                   default: one in the user's cache
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../Performance/peers.sh"

checkpoint=$(realpath "${1:?CHECKPOINT}")
ours=$(realpath "${EVALHARNESS:-$here/../../.build/release/evalharness}")
work=$(mktemp -d)
server=
trap 'kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

main() {
    python=$(client)
    "$ours" serve "local:$checkpoint" --port 0 --served-model-name org/served >"$work/address" 2>"$work/log" &
    server=$!
    for _ in $(seq 240); do
        [ -s "$work/address" ] && break
        kill -0 "$server" 2>/dev/null || { cat "$work/log"; exit 1; }
        sleep 0.5
    done
    address=$(cat "$work/address")
    "$python" "$here/openai_client.py" "$address" org/served
    peer_versions "$python" openai

    status=0
    kill -INT "$server"
    wait "$server" || status=$?
    echo "after an interrupt: exit $status"
    [ "$status" = 130 ]
}

client() {
    [ -n "${OPENAI_VENV:-}" ] || { environment openai "$here/openai.txt"; return; }
    if [ ! -x "$OPENAI_VENV/bin/python" ]; then
        python3 -m venv "$OPENAI_VENV" && "$OPENAI_VENV/bin/pip" install --quiet -r "$here/openai.txt" >&2
    fi
    echo "$OPENAI_VENV/bin/python"
}

main
