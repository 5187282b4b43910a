#!/usr/bin/env python3
"""The official metrics of some models in one process, by the real alpaca_eval: the peer of `evalharness score`.

    CALIBRATION=DIR alpaca_eval_metrics.py DEV_DIR MODEL...

DEV_DIR/MODEL holds annotations.json and model_outputs.json; DIR holds df_gamed.csv and instruction_difficulty.csv.
RESAMPLES=k adds what the package does not offer and a user writes around it: the spread of the length-controlled win
rate over k refits on resampled prompts, and the CPU seconds that one of them takes.
"""
import json
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning)

import calibration

alpaca_eval = calibration.from_folder(os.environ["CALIBRATION"])

from alpaca_eval.metrics import get_length_controlled_winrate


def main(dev, models):
    scores = {model: score(dev / model) for model in models}
    json.dump(scores, sys.stdout, indent=2)
    print()


def score(folder):
    annotations = json.loads((folder / "annotations.json").read_bytes())
    outputs = alpaca_eval.utils.load_or_convert_to_dataframe(folder / "model_outputs.json")
    metrics = get_length_controlled_winrate(annotations, save_weights_dir=None)
    metrics["avg_length"] = int(outputs["output"].str.len().mean())
    if resamples := int(os.environ.get("RESAMPLES", 0)):
        started = time.process_time()
        metrics["lc_refit_se"] = refit_error(annotations, resamples)
        metrics["refit_cpu_seconds"] = (time.process_time() - started) / resamples
    return {name: float(value) for name, value in metrics.items()}


def refit_error(annotations, resamples):
    """Standard error of the length-controlled win rate over refits, in points.

    A resampled row keeps its label, by which the package finds the difficulty of its prompt.
    """
    frame = alpaca_eval.utils.convert_to_dataframe(annotations)
    draws = (frame.sample(len(frame), replace=True, random_state=seed) for seed in range(resamples))
    rates = [get_length_controlled_winrate(draw, save_weights_dir=None)["length_controlled_winrate"] for draw in draws]
    return statistics.stdev(rates)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
