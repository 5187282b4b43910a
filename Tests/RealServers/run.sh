#!/usr/bin/env bash
# `evalharness judge` through servers that others wrote: llama.cpp's (llama-cpp-python), LiteLLM, and one behind the other.
#
#     run.sh DATA_DIR
#
# DATA_DIR/import holds what `evalharness dataset import alpacaeval` takes: the judge's template is among it.
#   EVALHARNESS      the program; default .build/release/evalharness
#   LITELLM_PYTHON   a Python with the packages of litellm.txt, and
#   LLAMA_PYTHON     one with those of llama_cpp.txt (C++, built on this machine: minutes); default: environments of
#                    their own in the user's cache
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../Performance/peers.sh"

data=$(realpath "${1:?DATA_DIR}")
ours=$(realpath "${EVALHARNESS:-$here/../../.build/release/evalharness}")
litellm=${LITELLM_PYTHON:-$(environment litellm "$here/litellm.txt")}
llama=${LLAMA_PYTHON:-$(CMAKE_ARGS=-DLLAVA_BUILD=OFF environment llama_cpp "$here/llama_cpp.txt")}
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

main() {
    "$here/twelve_prompts.py" "$work"
    "$llama" "$here/make_tiny_gguf.py" "$work/tiny.gguf" 2>"$work/gguf.log"
    export XDG_CACHE_HOME="$work/cache"
    "$ours" dataset import alpacaeval --from "$data/import" --unverified >"$work/import.log" 2>&1 || { cat "$work/import.log"; exit 1; }

    llama_port=$(free_port)
    start llama.cpp "$llama_port" "$llama" -m llama_cpp.server --model "$work/tiny.gguf" --model_alias tiny \
        --host 127.0.0.1 --port "$llama_port" --n_ctx 8192 --logits_all true
    litellm_port=$(free_port)
    litellm_models >"$work/litellm.yaml"
    LITELLM_LOCAL_MODEL_COST_MAP=True start LiteLLM "$litellm_port" "$(dirname "$litellm")/litellm" \
        --config "$work/litellm.yaml" --host 127.0.0.1 --port "$litellm_port" --telemetry False

    # name, address, model, exit status, answered. LiteLLM's canned reply carries no logprobs: missing, never scored.
    judge "llama.cpp" "http://127.0.0.1:$llama_port/v1" tiny 0 12
    judge "LiteLLM before llama.cpp" "http://127.0.0.1:$litellm_port/v1" tiny 0 12
    judge "LiteLLM without logprobs" "http://127.0.0.1:$litellm_port/v1" canned 3 0
    peer_versions "$llama" llama-cpp-python
    peer_versions "$litellm" litellm
}

litellm_models() {
    cat <<YAML
model_list:
  - model_name: canned
    litellm_params: {model: openai/canned, api_key: none, mock_response: "m"}
  - model_name: tiny
    litellm_params: {model: openai/tiny, api_key: none, api_base: "http://127.0.0.1:$llama_port/v1"}
YAML
}

# start NAME PORT COMMAND...: runs a server in the background and waits until it lists its models.
start() {
    local name=$1 port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 &
    servers+=($!)
    for _ in $(seq 240); do
        curl --silent --fail --output /dev/null "http://127.0.0.1:$port/v1/models" && return
        kill -0 $! 2>/dev/null || break
        sleep 0.5
    done
    tail -n 20 "$work/$name.log"
    echo "$name did not start"
    exit 1
}

# judge NAME ADDRESS MODEL STATUS ANSWERED
judge() {
    local name=$1 address=$2 model=$3 wanted=$4 answered=$5 results="$work/results $1" status=0
    mkdir "$results"
    "$ours" judge alpacaeval --prompts "$work/prompts.json" --model "outputs:$work/model.json" \
        --baseline "outputs:$work/baseline.json" --judge weighted_alpaca_eval_gpt4_turbo \
        --judge-model "openai-compatible:$model@$address" --concurrency 4 --results-dir "$results" \
        --evidence "$results/e.sqlite" --no-progress >"$work/judge.log" 2>&1 || status=$?
    printf '%s: exit %s, ' "$name" "$status"
    annotations=$(find "$results" -name annotations.json | head -n 1)
    if [ "$status" != "$wanted" ] || [ -z "$annotations" ]; then
        printf 'expected %s and annotations.json\n' "$wanted"
        cat "$work/judge.log"
        exit 1
    fi
    "$here/check_preferences.py" "$annotations" "$data/import/alpaca_eval_clf.txt" "$address" "$model" "$answered"
}

main
