#!/usr/bin/env python3
"""How far the scores of `evalharness score --json` are from alpaca_eval's for the same models in the same order.

    agreement.py OURS.json PEER.json
"""
import json
import sys
from pathlib import Path

# alpaca_eval's name of a metric, and where it stands in ours.
places = {
    "length_controlled_winrate": ("length_controlled_winrate", "value"),
    "lc_standard_error": ("length_controlled_winrate", "official_se"),
    "win_rate": ("win_rate", "value"),
    "standard_error": ("win_rate", "official_se"),
    "discrete_win_rate": ("discrete_win_rate", "value"),
    "n_wins": ("n_wins",),
    "n_wins_base": ("n_wins_base",),
    "n_draws": ("n_draws",),
    "n_total": ("n_total",),
    "avg_length": ("avg_length",),
}


def main(ours, peer):
    ours, peer = list(metrics(values(ours.read_text()))), json.loads(peer.read_text())
    if len(ours) != len(peer):
        sys.exit(f"agreement: {len(ours)} scores of ours, {len(peer)} of the peer")
    differences = [
        (abs(at(mine, path) - theirs[name]), model, name)
        for mine, (model, theirs) in zip(ours, peer.items())
        for name, path in places.items()
    ]
    largest, model, name = max(differences)
    print(f"agreement: {len(differences)} metrics of {len(ours)} models, largest difference {largest:.2g} ({name} of {model})")


def values(text):
    """The JSON values of a text that holds one or several."""
    text, decoder = text.strip(), json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].strip()


def metrics(value):
    """Every "metrics" object inside, in order."""
    if isinstance(value, dict):
        if "metrics" in value:
            yield value["metrics"]
            return
        value = value.values()
    elif isinstance(value, (str, int, float, type(None))):
        return
    for part in value:
        yield from metrics(part)


def at(value, path):
    for key in path:
        value = value[key]
    return value


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
