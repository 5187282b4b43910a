#!/usr/bin/env python3
"""What a judge call costs the caller, `evalharness judge` beside alpaca_eval on one mock endpoint: endpoint.sh runs it.

    endpoint.py --ours PROGRAM --peer PYTHON --mock PROGRAM --calibration DIR --work DIR
"""
import argparse
import json
import os
import subprocess
import urllib.request
from pathlib import Path

from measure import cost, median

calls, concurrency, delay = 4_025, 64, 0.020   # prompts, requests in flight, seconds
peer_calls = (20, 100)   # the second less the first is what a call costs without the process around it
here = Path(__file__).parent


def main():
    options = arguments()
    mock = subprocess.Popen([options.mock, str(1000 * delay)], stdout=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{int(mock.stdout.readline())}"
        compare(options, address, mock.pid)
    finally:
        mock.kill()


def compare(options, address, mock):
    print(f"{calls} calls of {1000 * delay:.0f} ms, {concurrency} at a time: at most {concurrency / delay:.0f} a second")
    print(f"{'whole process':32} {'calls':>6} {'calls/s':>8} {'CPU us/call':>12} {'peak MiB':>9}")
    used, before = processor_time(mock), stats(address)["requests"]
    ours = median([judge(options, address, run) for run in range(options.runs)])
    answered = stats(address)["requests"] - before
    row("evalharness", calls, ours)
    peers = [(n, official(options, address, n)) for n in peer_calls]
    for n, spent in peers:
        row("alpaca_eval", n, spent)
    (few, first), (many, second) = peers
    marginal = (second.cpu - first.cpu) / (many - few)
    print(f"{'alpaca_eval, each further call':32} {'':6} {'':8} {1e6 * marginal:12.0f}")
    print(f"share of the limit: {calls / ours.wall / (concurrency / delay):.1%}")
    print(f"CPU per call, peer / ours: {second.cpu / many / (ours.cpu / calls):.0f}x whole, {marginal / (ours.cpu / calls):.0f}x further")
    print(f"endpoint: {answered / options.runs:.0f} requests a run (at most {stats(address)['most_in_flight']} in flight), "
          f"{1e6 * (processor_time(mock) - used) / (answered + sum(peer_calls)):.0f} us CPU each")


def judge(options, address, run):
    data = synthetic(options.work / "many", calls)
    folder = options.work / f"ours-{run}"
    command = [
        options.ours, "judge", "alpacaeval", "--prompts", data / "prompts.json",
        "--model", f"outputs:{data / 'outputs.json'}", "--baseline", f"outputs:{data / 'baseline.json'}",
        "--judge", "weighted_alpaca_eval_gpt4_turbo", "--judge-model", f"openai-compatible:mock@{address}/v1",
        "--concurrency", concurrency, "--results-dir", folder, "--evidence", folder / "e.sqlite", "--no-progress", "--resamples", 0,
    ]   # fmt: skip
    folder.mkdir()
    return spend(command, folder / "out")


def official(options, address, n):
    data = synthetic(options.work / f"peer-{n}", n)
    os.environ.update(
        OPENAI_API_BASE=f"{address}/v1", OPENAI_API_KEY="none", OPENAI_MAX_CONCURRENCY=str(concurrency),
        CALIBRATION=str(options.calibration),
    )   # fmt: skip
    command = [
        options.peer, here / "alpaca_eval_cli.py", "--model_outputs", data / "outputs.json",
        "--reference_outputs", data / "baseline.json", "--output_path", data, "--caching_path", "None",
        "--is_cache_leaderboard", "False",
    ]   # fmt: skip
    return spend(command, data / "out")


def synthetic(folder, count):
    """Made by a process of its own: what this one holds would count into the memory of those that it starts."""
    if not folder.exists():
        subprocess.run([here / "synthetic.py", folder, str(count)], check=True)
    return folder


def spend(command, output):
    with open(output, "wb") as file:
        return cost([str(word) for word in command], file)


def row(name, count, spent):
    print(f"{name:32} {count:6} {count / spent.wall:8.0f} {1e6 * spent.cpu / count:12.0f} {spent.memory:9.1f}", flush=True)


def stats(address):
    return json.load(urllib.request.urlopen(address + "/stats"))


def processor_time(process):
    """Seconds of CPU that a running process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("ours", "peer", "mock"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("calibration", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
