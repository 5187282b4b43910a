#!/usr/bin/env python3
"""Times whole processes against each other: wall clock, CPU, peak memory.

    measure.py [--runs N] --case NAME OURS PEER [--case ...] [--keep DIR]

OURS and PEER are command lines. The two run in turn, A B A B, so that a change of the machine's pace meets both, after
one unmeasured run each. Prints medians and the ratio peer / ours. --keep leaves the last standard output of each.
"""
import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

Cost = namedtuple("Cost", "wall cpu memory")   # seconds, seconds, MiB
sides = ("ours", "peer")


def main():
    options = arguments()
    print(f"{'':30} {'wall s':>9} {'CPU s':>9} {'peak MiB':>9}   median of {options.runs}")
    for name, *commands in options.case:
        ours, peer = compare(name, commands, options.runs, options.keep)
        print(row(name + ": ours", ours), row(name + ": peer", peer), ratios(ours, peer), sep="\n", flush=True)
    print(f"a process that does nothing: {cost(['true'], subprocess.DEVNULL).memory:.1f} MiB (the least this can see)")


def compare(name, commands, runs, keep):
    """The median cost of each command over alternating runs."""
    costs = [[], []]
    for run in range(runs + 1):
        for side, command in enumerate(commands):
            with open(keep / f"{name} {sides[side]}.out".replace(" ", "_"), "wb") as output:
                spent = cost(shlex.split(command), output)
            if run > 0:
                costs[side].append(spent)
    return [median(side) for side in costs]


def cost(command, output):
    """Runs a command to its end. Memory is the largest resident set of it or of any child that it waited for."""
    with tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
            sys.exit(f"{shlex.join(command)[:300]}\nexit {process.returncode}\n{said}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(costs):
    return Cost(*map(statistics.median, zip(*costs)))


def row(name, spent):
    return f"{name:30} {spent.wall:9.3f} {spent.cpu:9.3f} {spent.memory:9.1f}"


def ratios(ours, peer):
    return f"{'peer / ours':>30} " + " ".join(f"{theirs / mine:8.1f}x" for mine, theirs in zip(ours, peer))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--case", nargs=3, action="append", required=True, metavar=("NAME", "OURS", "PEER"))
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    main()
