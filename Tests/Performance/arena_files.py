#!/usr/bin/env python3
"""Writes seeded random judgments of Arena-Hard v0.1 in upstream's layout.

    arena_files.py FOLDER MODELS PROMPTS
"""
import json
import random
import sys
from pathlib import Path

folder, models, prompts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random.seed(7)
bench = folder / "data/arena-hard-v0.1"
judgments = bench / "model_judgment/gpt-4-1106-preview"
answers = bench / "model_answer"
for path in (judgments, answers):
    path.mkdir(parents=True)

def style():
    return {"token_len": random.randint(60, 1400), "header_count": {f"h{i}": random.randint(0, 3) for i in range(1, 7)},
            "list_count": {"ordered": random.randint(0, 9), "unordered": random.randint(0, 9)},
            "bold_count": {"**": random.randint(0, 12), "__": 0}}

def answer(name, prompt):
    return {"question_id": f"q{prompt:04}", "model_id": name,
            "choices": [{"index": 0, "turns": [{"content": "an answer " * 150, "token_len": 300}]}],
            "conv_metadata": style()}

def label(strength):
    """From the model's side, in the first game where it is B."""
    value = random.gauss(strength, 1)
    return "B>>A" if value > 1.2 else "B>A" if value > 0.2 else "A=B" if value > -0.2 else "A>B" if value > -1.2 else "A>>B"

swapped = {"B>>A": "A>>B", "B>A": "A>B", "A=B": "A=B", "A>B": "B>A", "A>>B": "B>>A"}
for number in range(models + 1):
    name = "gpt-4-0314" if number == models else f"model-{number:02}"
    with open(answers / f"{name}.jsonl", "w") as file:
        for prompt in range(prompts):
            file.write(json.dumps(answer(name, prompt)) + "\n")
    if number == models:
        continue
    with open(judgments / f"{name}.jsonl", "w") as file:
        for prompt in range(prompts):
            strength = (number - models / 2) / models * 3 + random.gauss(0, 0.5)
            games = [{"user_prompt": "p", "judgment": "j " * 800, "score": score}
                     for score in (label(strength), swapped[label(strength)])]
            file.write(json.dumps({"question_id": f"q{prompt:04}", "model": name, "judge": "gpt-4-1106-preview",
                                   "games": games}) + "\n")
