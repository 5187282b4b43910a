#!/usr/bin/env python3
"""Twelve prompts of our own and two models' outputs, with what trips template filling and JSON: twelve_prompts.py DIR"""
import json
import sys
from pathlib import Path

# instruction, the model's output, the baseline's output
cases = [
    ("Name three primary colours.", "Red, yellow and blue.", "Red and blue."),
    ("What is 12 + 30?", "42", "12 + 30 = 42."),
    ("Write a haiku about rain.", "Grey drops on the roof\ncount the hours until the sun\nforgets to be late", "Rain falls."),
    ("Say \"hello\" in JSON.", '{"greeting": "hello"}', "```json\n{\"greeting\": \"hello\"}\n```"),
    ("Explain the placeholder {output_1} in a template.", "It stands for the first {output_1}.", "See {instruction}."),
    ("Übersetze: good morning", "Guten Morgen ☀️", "Guten Tag 👋🏽"),
    ("日本の首都はどこですか。", "東京です。", "京都です。"),
    ("What does <|im_end|> mean?", "It ends a message: <|im_end|>", "<|im_start|>assistant\nIt ends a message."),
    ("Repeat the word 'go' often.", "go " * 200, "go go go"),
    ("Which is larger, 9.9 or 9.11?", "9.9 is larger.\r\n", "9.11 is larger."),
    ("Give a path on Windows.", "C:\\Users\\me\\\"notes\".txt", "C:/Users/me/notes.txt"),
    ("Answer with nothing.", "", "There is nothing to say."),
]


def main(folder):
    prompts = [{"dataset": "own", "instruction": instruction} for instruction, _, _ in cases]
    save(folder / "prompts.json", prompts)
    for generator, column in (("model", 1), ("baseline", 2)):
        rows = [{**prompt, "output": case[column], "generator": generator} for prompt, case in zip(prompts, cases)]
        save(folder / f"{generator}.json", rows)


def save(path, rows):
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
