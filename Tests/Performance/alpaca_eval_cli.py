#!/usr/bin/env python3
"""alpaca_eval's own command line, with its calibration files from the folder $CALIBRATION instead of the network."""
import os

import calibration

calibration.from_folder(os.environ["CALIBRATION"])

from alpaca_eval.main import main

main()
