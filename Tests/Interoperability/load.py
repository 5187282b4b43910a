#!/usr/bin/env python3
"""Loads what the trainer leaves with transformers, and an adapter with PEFT, and prints log-probabilities as JSON.

    load.py CHECKPOINT_FOLDER [ADAPTER_FOLDER] < ROWS.jsonl

A row is {"ids": [...], "targets": [[first, end], ...]}, as for the trainer; without targets every token but the first
is one. For each row in f32: {"sum": Σ log π in nats, "count": ..., "logprobs": [each target's]}.
"""
import json, os, sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoModelForCausalLM


def main(checkpoint, adapter=None):
    model, problems = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    # Weights that a file lacks are drawn at random: that must not pass for a checkpoint that loads.
    found = {name: sorted(map(str, names)) for name, names in problems.items() if names}
    if found:
        sys.exit(f"{checkpoint} does not fit its configuration: {json.dumps(found)}")
    if adapter:
        model = with_adapter(model, adapter)
    model.eval()
    for line in sys.stdin:
        print(json.dumps(score(model, json.loads(line))))


def with_adapter(model, adapter):
    import warnings
    from peft import PeftModel
    with warnings.catch_warnings():
        # PEFT only warns of adapter weights that a file lacks.
        warnings.filterwarnings("error", message=".*missing adapter keys.*")
        try:
            return PeftModel.from_pretrained(model, adapter)
        except UserWarning as warning:
            sys.exit(f"{adapter} does not fit its configuration: {warning}")


@torch.no_grad()
def score(model, row):
    ids = torch.tensor(row["ids"])
    logprobs = model(ids[None]).logits[0].log_softmax(-1)
    ranges = row.get("targets", [[1, len(ids)]])
    targets = [logprobs[place - 1, ids[place]].item() for first, end in ranges for place in range(max(first, 1), end)]
    return {"sum": sum(targets), "count": len(targets), "logprobs": targets}


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
