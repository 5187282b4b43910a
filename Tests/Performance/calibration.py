"""Lets alpaca_eval read its calibration files from a folder: no network, and no change to the installed package."""
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


def from_folder(folder):
    """The package, with `df_gamed.csv` and `instruction_difficulty.csv` taken from `folder`."""
    import alpaca_eval
    from alpaca_eval.metrics import glm_winrate

    glm_winrate.hf_hub_download = lambda filename, **_: str(Path(folder) / filename)
    return alpaca_eval
