#!/usr/bin/env bash
# Fine-tunes a tiny model on half-wrong demonstrations, prefers its own better samples by SimPO, DPO and SimPO without
# length normalization, and says what came out, with intervals.
#
#     recipes/letters/run.sh [FOLDER]      the folder for data, models and results; a few minutes on 2 cores
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m "${1:-$here/work}")
program=${EVALHARNESS:-evalharness}
mkdir -p "$work"
cp -r "$here"/{base,judge,*.yaml,task.py} "$work"
cd "$work"
export XDG_CACHE_HOME=$work/cache XDG_STATE_HOME=$work/state EVALHARNESS_HOME=${EVALHARNESS_HOME:-$here/../..}

python3 task.py data data
"$program" train sft.yaml --no-progress

# Pairs from the fine-tuned model's own samples; every tenth prompt is held out.
"$program" train prepare --model models/sft --prompts data/prompts.jsonl --scorer "exec:python3 task.py score" \
    --max-tokens 80 --temperature 1.0 --top-p 1.0 --output data/all-pairs.jsonl --no-progress
awk 'NR % 10 != 0' data/all-pairs.jsonl >data/pairs.jsonl
awk 'NR % 10 == 0' data/all-pairs.jsonl >data/held-out-pairs.jsonl

for name in simpo dpo simpo-sum; do
    "$program" train $name.yaml --no-progress
done

# Held-out prompts, sampled: each model against the fine-tuned one.
outputs() {
    "$program" generate alpacaeval --prompts data/held-out.json --model "models/$1" --name "$1" --temperature 1 --seed 7 \
        --max-tokens 80 --results-dir results --no-progress >/dev/null
}
for name in sft simpo dpo simpo-sum; do outputs $name; done
for name in simpo dpo simpo-sum; do
    "$program" judge alpacaeval --prompts data/held-out.json --model "outputs:results/alpacaeval/$name/model_outputs.json" \
        --baseline outputs:results/alpacaeval/sft/model_outputs.json --judge ./judge --judge-model "exec:python3 task.py judge" \
        --name "$name" --results-dir judged --no-progress
done
python3 task.py report results/alpacaeval/{sft,simpo,dpo,simpo-sum}/model_outputs.json
for name in simpo dpo simpo-sum; do
    echo "== $name"
    "$program" analyze $name.yaml
done
