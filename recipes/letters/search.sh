#!/usr/bin/env bash
# Tries learning rates and betas for the recipes beside it, each model against the fine-tuned one on prompts that nothing
# else uses; run.sh must have run in the folder. The recipes have the settings with the highest win rate.
#
#     recipes/letters/search.sh [FOLDER]      ten minutes on 2 cores
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m "${1:-$here/work}")
program=${EVALHARNESS:-evalharness}
cd "$work"
export XDG_CACHE_HOME=$work/cache XDG_STATE_HOME=$work/state EVALHARNESS_HOME=${EVALHARNESS_HOME:-$here/../..}
python3 task.py others >data/others.json

outputs() { # model, name
    "$program" generate alpacaeval --prompts data/others.json --model "$1" --name "$2" --temperature 1 --seed 7 \
        --max-tokens 80 --results-dir search/outputs --no-progress >/dev/null
}
try() { # recipe, beta, learning rate
    local name=$1-beta-$2-rate-$3
    sed -e "s/^beta:.*/beta: $2/" -e "s/^learning_rate:.*/learning_rate: $3/" $1.yaml >$name.yaml
    "$program" train $name.yaml --output search/$name --no-progress >/dev/null 2>search/log
    outputs search/$name $name
    "$program" judge alpacaeval --prompts data/others.json \
        --model "outputs:search/outputs/alpacaeval/$name/model_outputs.json" \
        --baseline outputs:search/outputs/alpacaeval/sft/model_outputs.json --judge ./judge \
        --judge-model "exec:python3 task.py judge" --name "$name" --results-dir search/judged --no-progress
}

mkdir -p search
outputs models/sft sft
for rate in 1.0e-5 3.0e-5 1.0e-4 3.0e-4; do
    for beta in 1.0 2.0 4.0; do try simpo $beta $rate; done
    for beta in 0.03 0.1 0.3 1.0; do try dpo $beta $rate; done
    for beta in 0.1 0.3 1.0; do try simpo-sum $beta $rate; done
done
