#!/usr/bin/env bash
# Trains a tiny checkpoint, whole and by an adapter, loads what is left in transformers and PEFT, and compares the
# log-probabilities of random rows with our engine's, served: the largest difference of each, and failure above 1e-4.
#
#     PYTHON=PATH train.sh      a Python that has transformers and peft (Performance/peers/train_trl.txt)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"; [ -z "${server:-}" ] || kill "$server"' EXIT
cd "$here/../.."
swift build -c release --product evalharness >&2
program=$PWD/.build/release/evalharness
cp -r recipes/letters/{base,task.py} "$work"
cd "$work"
export XDG_CACHE_HOME=$work/cache

python3 task.py data data
for split in train:200 held-out:40; do head -n "${split#*:}" data/sft.jsonl >"${split%:*}.jsonl"; done
recipe() { # name, model, further lines
    printf '%s\n' "method: sft" "learning_rate: 1.0e-3" "model_name_or_path: $2" "train_files: train.jsonl" \
        "eval_files: held-out.jsonl" "per_device_train_batch_size: 8" "gradient_accumulation_steps: 1" \
        "num_train_epochs: 2" "bf16: false" "output_dir: $1" "${@:3}" >$1.yaml
    "$program" train $1.yaml --no-progress >/dev/null 2>$1.log || { cat $1.log; exit 1; }
}
lora='lora: {r: 8, lora_alpha: 16, target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}'
recipe whole base "random_initialization: 1"
recipe adapter whole "$lora"
recipe merged whole "$lora" "merge_adapter: true"

python3 -c '
import json, random
rng = random.Random(3)
for n in range(20): print(json.dumps({"ids": [256] + [rng.randrange(300) for _ in range(rng.randint(2, 60))]}))
' >rows.jsonl
ours() { # folder
    mkfifo address
    "$program" serve "$1" --port 0 --dtype f32 >address 2>served.log &
    server=$!
    read -r address <address
    rm address
    "$python" "$here/served.py" "$address" <rows.jsonl
    kill "$server"
    wait "$server" || true
    server=
}
compare() { # label, then what load.py takes
    "$python" "$here/load.py" "${@:2}" <rows.jsonl >theirs.jsonl
    "$python" - "$1" <<'END'
import json, sys
ours, theirs = ([json.loads(line)["logprobs"] for line in open(f"{name}.jsonl")] for name in ("ours", "theirs"))
assert [len(row) for row in ours] == [len(row) for row in theirs] and len(ours) == 20
worst = max(abs(a - b) for rows in zip(ours, theirs) for a, b in zip(*rows))
print(f"{sys.argv[1]}: {sum(map(len, ours))} log-probabilities, the largest difference {worst:.1e}")
sys.exit(worst > 1e-4)
END
}
ours whole >ours.jsonl
compare "transformers, all weights trained" whole
ours merged >ours.jsonl
compare "transformers, an adapter merged" merged
compare "PEFT, the same adapter by itself" whole adapter
if compare "(without its adapter, which must differ)" whole; then exit 1; fi
