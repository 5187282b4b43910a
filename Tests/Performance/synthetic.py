#!/usr/bin/env python3
"""Prompts and two models' outputs, as long as AlpacaEval's are on average: 165, 1500 and 2050 characters.

    synthetic.py DIR COUNT
"""
import json
import random
import sys
from pathlib import Path


def main(folder, count):
    chance = random.Random(count)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(2000)]

    def text(length):
        return " ".join(chance.choices(words, k=chance.randint(1, 2 * round(length / 6.5))))

    folder.mkdir()
    prompts = [{"dataset": "synthetic", "instruction": f"{number}: {text(165)}"} for number in range(count)]
    save(folder / "prompts.json", prompts)
    for name, length in (("outputs", 1500), ("baseline", 2050)):
        save(folder / f"{name}.json", [{**prompt, "output": text(length), "generator": name} for prompt in prompts])


def save(path, rows):
    path.write_text(json.dumps(rows))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]))
