#!/usr/bin/env bash
# Trains the same recipes natively and with `--engine trl` in two processes, and compares the two logs step by step:
# the largest relative difference of losses and gradient norms, and failure above 1e-4. An adapter is merged and stored
# in bf16 on the way.
#
#     PYTHON=PATH trl.sh      a Python that has TRL and PEFT (Performance/peers/train_trl.txt)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/../.."
swift build -c release --product evalharness >&2
program=$PWD/.build/release/evalharness
cp -r recipes/letters/{base,task.py} "$work"
cd "$work"
export XDG_CACHE_HOME=$work/cache

python3 task.py data data
head -n 64 data/sft.jsonl >train.jsonl
"$python" - <<'END'
import json
for line in open("train.jsonl"):
    prompt, answer = json.loads(line)["messages"]
    worse = answer | {"content": answer["content"][::-1] + " " + answer["content"][:3]}
    print(json.dumps({"prompt": [prompt], "chosen": [answer], "rejected": [worse]}), file=open("pairs.jsonl", "a"))
END
train() { # output, recipe, then flags
    "$program" train "$2" --output "$1" --no-progress "${@:3}" >$1.out 2>$1.log || { tail -n 20 $1.log; exit 1; }
}
recipe() { # name, model, data, further lines
    printf '%s\n' "learning_rate: 1.0e-4" "model_name_or_path: $2" "train_files: $3" "bf16: false" \
        "per_device_train_batch_size: 4" "gradient_accumulation_steps: 2" "max_steps: 5" "logging_steps: 1" \
        "warmup_ratio: 0.1" "${@:4}" >$1.yaml
}
both() { # name
    train $1-ours $1.yaml
    train $1-trl $1.yaml --engine trl --python "$python" --processes 2
    "$python" - $1 <<'END'
import json, sys
ours, theirs = ([json.loads(line) for line in open(f"{sys.argv[1]}-{side}/metrics.jsonl")] for side in ("ours", "trl"))
assert [line["step"] for line in ours] == [line["step"] for line in theirs] == [1, 2, 3, 4, 5], (ours, theirs)
worst = [max(abs(a[name] - b[name]) / abs(b[name]) for a, b in zip(ours, theirs)) for name in ("loss", "grad_norm")]
print(f"{sys.argv[1]}: losses differ by {worst[0]:.1e} at most, gradient norms by {worst[1]:.1e}", flush=True)
sys.exit(max(worst) > 1e-4)
END
}

recipe start base train.jsonl "method: sft" "random_initialization: 1"
train start start.yaml
recipe sft start train.jsonl "method: sft"
recipe simpo start pairs.jsonl "method: simpo" "beta: 2.0" "gamma_beta_ratio: 0.5"
recipe cpo start pairs.jsonl "method: cpo"
recipe dpo start pairs.jsonl "method: dpo"
recipe ipo start pairs.jsonl "method: ipo" "tau: 0.5"
recipe kto start pairs.jsonl "method: kto"
recipe orpo start pairs.jsonl "method: orpo" "likelihood: prompt_and_response"
recipe merged start pairs.jsonl "method: simpo" "beta: 2.0" "lora: {r: 4, lora_alpha: 8}" "merge_adapter: true" \
    "save_dtype: bfloat16"
for name in sft simpo cpo dpo ipo kto orpo merged; do both $name; done
for side in ours trl; do
    "$program" models inspect merged-$side >inspected
    grep -qi bf16 inspected || { echo "merged-$side is not in bf16"; exit 1; }
    [ ! -e merged-$side/adapter_config.json ] || { echo "merged-$side is an adapter"; exit 1; }
done
echo "adapters merged, and stored in bf16, by both"
