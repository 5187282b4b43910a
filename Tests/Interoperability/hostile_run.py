#!/usr/bin/env python3
"""Writes prompts, outputs and annotations of 805 prompts whose every text tries to become more than text.

    hostile_run.py FOLDER
"""
import json
import sys
from pathlib import Path

SCRIPTS = [
    "<script>document.title='ran'</script>", "<img src=x onerror=\"document.title='ran'\">",
    "<svg onload=\"document.title='ran'\">", "<iframe src=https://evil.example></iframe>",
    "<link rel=stylesheet href=https://evil.example/a.css>", "<a href=\"javascript:document.title='ran'\">x</a>",
    "<details open ontoggle=\"document.title='ran'\">", "<style>@import 'https://evil.example/a.css';</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>", "<base href=https://evil.example/>",
]
EXITS = ["", "\">", "</pre>", "</title></style>", "-->", "]]>", "</summary></details>", "\u202e", "\x1b[31m", "\x00"]


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    payloads = [end + script for end in EXITS for script in SCRIPTS]
    prompts, outputs, annotations = [], [], []
    for index in range(805):
        text = payloads[index % len(payloads)]
        prompt, own, other = f"{index} {text}", text + "x" * (index % 900), text + "y" * (index % 700)
        prompts.append({"dataset": text, "instruction": prompt, "output": other, "generator": payloads[3]})
        outputs.append({"instruction": prompt, "output": own, "generator": payloads[1]})
        annotations.append({
            "instruction": prompt, "output_1": other, "generator_1": payloads[3], "output_2": own,
            "generator_2": payloads[1], "annotator": payloads[0], "preference": None if index % 50 == 0 else 1 + index % 11 / 10,
            "raw_completion": text})
    for name, rows in [("prompts", prompts), ("outputs", outputs), ("annotations", annotations)]:
        (folder / f"{name}.json").write_text(json.dumps(rows))


main(Path(sys.argv[1]))
