#!/usr/bin/env python3
"""Asks a server what evalharness asked it, without evalharness, and compares the preferences.

    check_preferences.py ANNOTATIONS.json TEMPLATE.txt BASE_URL MODEL ANSWERED

Expects ANSWERED rows with a preference and the rest without; prints a line, and exits 1 where it is not so.
"""
import json
import math
import random
import re
import sys
import urllib.request
from pathlib import Path

# The server's own arithmetic depends on what it has cached and batches, so a repeated call differs a little.
tolerance = 1e-3


def main(annotations, template, address, model, answered):
    rows = json.loads(Path(annotations).read_bytes())
    given = [row for row in rows if row["preference"] is not None]
    differences = [abs(row["preference"] - preference(row, template, address, model)) for row in given]
    worst = max(differences, default=0)
    print(f"{len(given)} answered, {len(rows) - len(given)} missing, largest difference from our own call {worst:.1g}")
    if len(given) != int(answered) or len(rows) != 12 or not worst < tolerance:
        sys.exit(f"expected {answered} answered of 12, within {tolerance}")


def preference(row, template, address, model):
    """1 where the baseline (output_1) is surely better, 2 where the model (output_2) is."""
    switched = random.Random("is_switched_outputs" + row["instruction"] + "0").choices([False, True])[0]
    shown = dict(row, output_1=row["output_2"], output_2=row["output_1"]) if switched else row
    logprobs = first_logprobs(messages(Path(template).read_text(), shown), address, model)
    m, M = (math.exp(logprobs.get(token, -math.inf)) for token in "mM")
    raw = 2 - m / (m + M)
    return 3 - raw if switched else raw


def messages(template, row):
    """Chat messages: the template is split before it is filled, so that no output can end a message."""
    blocks = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", template, re.DOTALL)
    fill = lambda text: re.sub(r"\{(instruction|output_1|output_2)\}", lambda slot: row[slot[1]], text)
    return [{"role": role, "content": fill(content.strip())} for role, content in blocks]


def first_logprobs(messages, address, model):
    body = dict(
        model=model, messages=messages, max_tokens=1, temperature=1, top_p=1.0, logprobs=True, top_logprobs=5
    )   # fmt: skip
    request = urllib.request.Request(
        address + "/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as reply:
        token = json.load(reply)["choices"][0]["logprobs"]["content"][0]
    return {entry["token"]: entry["logprob"] for entry in token["top_logprobs"]}


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
