#!/usr/bin/env python3
"""Unpacks recorded AlpacaEval judgements into the files that alpaca_eval and evalharness read.

    prepare_dev.py DATA_DIR OUT_DIR

DATA_DIR/dev/MODEL holds model_outputs.json.zst and the judgements: the original annotations.json.zst, or
annotations.compact.jsonl.zst, from which the annotations are rebuilt with the baseline's and the model's outputs.
OUT_DIR/MODEL receives model_outputs.json and annotations.json. Texts whose length is not the recorded one are
reported on stderr: their row scores differently from the original.
"""
import json
import subprocess
import sys
from pathlib import Path


def main(data, out):
    baseline = by_instruction(unpack(data / "baseline/gpt4_1106_preview.model_outputs.json.zst"))
    instructions = [row["instruction"] for row in json.loads((data / "baseline/eval_set.json").read_bytes())]
    for folder in sorted(path for path in (data / "dev").iterdir() if path.is_dir()):
        outputs = unpack(folder / "model_outputs.json.zst")
        header, *verdicts = unpack_lines(folder / "annotations.compact.jsonl.zst")
        rebuilt = annotations(header, verdicts, instructions, baseline, by_instruction(outputs))
        original = folder / "annotations.json.zst"
        rows = unpack(original) if original.exists() else rebuilt
        report(folder.name, verdicts, rows, rebuilt)
        write(out / folder.name / "model_outputs.json", outputs)
        write(out / folder.name / "annotations.json", rows)


def annotations(header, verdicts, instructions, baseline, outputs):
    """The rows of annotations.json, in the order in which they were judged."""
    return [annotation(header, verdict, baseline[instructions[verdict["b"]]], outputs) for verdict in verdicts]


def annotation(header, verdict, reference, outputs):
    return {
        "dataset": reference["dataset"],
        "instruction": reference["instruction"],
        "output_1": reference["output"],
        "generator_1": header["generator_1"],
        "output_2": outputs[reference["instruction"]]["output"],
        "generator_2": header["generator_2"],
        "annotator": header["annotator"],
        "preference": verdict["preference"],
    }


def report(model, verdicts, rows, rebuilt):
    """Says which rows are not what was judged: by recorded length, and by text where the original is at hand."""
    if len(rows) != len(verdicts):
        print(f"{model}: {len(rows)} annotations for {len(verdicts)} verdicts", file=sys.stderr)
    for verdict, row, again in zip(verdicts, rows, rebuilt):
        where = f"{model} row {verdict['i']} (prompt {verdict['b']})"
        for side in "12":
            wanted, found = verdict["len_" + side], len(row["output_" + side])
            if wanted != found:
                print(f"{where}: output_{side} has {found} scalars, {wanted} were judged", file=sys.stderr)
            if row["output_" + side] != again["output_" + side]:
                lengths = f"{len(row['output_' + side])} and {len(again['output_' + side])} scalars"
                print(f"{where}: output_{side} differs from the file of outputs ({lengths})", file=sys.stderr)
        for key in ("instruction", "preference", "generator_1", "generator_2"):
            if row[key] != again[key]:
                print(f"{where}: {key} is {row[key]!r}, rebuilt {again[key]!r}", file=sys.stderr)


def by_instruction(rows):
    return {row["instruction"]: row for row in rows}


def unpack(path):
    return json.loads(subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout)


def unpack_lines(path):
    text = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout
    return [json.loads(line) for line in text.splitlines() if line]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
