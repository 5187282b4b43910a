"""Prints the rows of training.sh as one table: ours as medians over its runs, and what the comparison comes to."""
import json, statistics, sys

NAMES = {"autocast": "bf16 autocast", "bf16": "bf16", "f32": "f32"}


def main():
    rows = [json.loads(line) for line in open(sys.argv[1])]
    machine = next(row for row in rows if "limits" in row)
    ours, peers = {}, {}
    for row in rows:
        if row.get("engine") == "evalharness":
            key = (row["method"], row["precision"], row["recomputed"], row["gradients"], row["reference_in_memory"])
            ours.setdefault(key, []).append(row)
        elif "engine" in row:
            peers[row["method"], row["precision"]] = row
    ours = {key: merged(runs) for key, runs in ours.items()}

    print("| engine | method | precision | pairs/s | s a step (least to most) | tokens a step | peak MB | GFLOP/s "
          "| of the limit |\n|---|---|---|---|---|---|---|---|---|")
    for (method, *mode, in_memory), row in ours.items():
        method += ", reference in memory" if in_memory else ""
        print("| " + " | ".join(["evalharness", method, named(mode), *cells(row, machine)]) + " |")
    for (method, precision), row in peers.items():
        print("| " + " | ".join(["TRL", method, NAMES[precision], *cells(row, machine)]) + " |")
    versions = next((row["engine"] for row in peers.values() if "error" not in row), None)
    limits = machine["limits"]
    print(f"\nThe limits, {limits['f32']:.0f} GFLOP/s in f32 and {limits['bf16']:.0f} in bf16, are multiply-adds in a register "
          f"loop on {machine['threads']} threads; the load average before all was {machine['load']}. GFLOP/s count "
          "every product of the tokens a step once, the head at targets alone, and the reference model's forward pass "
          "for DPO; padding and what is computed twice do not count. "
          "Ours runs a pair's prompt once, and where DPO's reference model is asked before the first step, its seconds have "
          "their share of that." + (f" {versions}." if versions else ""))
    print()
    for line in comparisons(ours, peers):
        print(line)


def named(mode):
    precision, recomputed, gradients = mode
    return (precision + (f", {recomputed} recomputed" if recomputed != "none" else "")
            + (f", gradients in {gradients}" if gradients != "f32" else ""))


def merged(runs):
    row = dict(runs[0])
    for key in ("step_s_median", "gflops"):
        row[key] = statistics.median(run[key] for run in runs)
    # The reference model's pass comes before the steps.
    row["step_s_min"] = min(run["step_s_min"] + run["reference_s_a_step"] for run in runs)
    row["step_s_max"] = max(run["step_s_max"] + run["reference_s_a_step"] for run in runs)
    row["peak_rss_mb"] = max(run["peak_rss_mb"] for run in runs)
    row["runs"] = len(runs)
    return row


def speed(row):
    return row["pairs"] / row["step_s_median"]


def cells(row, machine):
    if "error" in row:
        return [row["error"]] + ["-"] * 5
    limit = machine["limits"]["f32" if row["precision"] == "f32" else "bf16"]
    count = f"{row['steps']} step{'s' if row['steps'] > 1 else ''}"
    if "runs" in row:
        count += f" x {row['runs']}"
    less, more = "", ""
    if row.get("is_bound"):
        count, less, more = "1 step, not done", "< ", "> "
    elif row.get("is_cut"):
        count += ", cut"
    tokens = f"{row['tokens_step']}"
    if "padded_tokens_step" in row:
        tokens += f" (padded {row['padded_tokens_step']})"
    return [f"{less}{speed(row):.4f}",
            f"{more}{row['step_s_median']:.2f} ({row['step_s_min']:.2f} to {row['step_s_max']:.2f}; {count})", tokens,
            f"{more}{row['peak_rss_mb']}", f"{less}{row['gflops']:.1f}", f"{less}{100 * row['gflops'] / limit:.0f} %"]


def comparisons(ours, peers):
    """Ours in bf16, and for f32 in f32 too, over each precision of the peer's; then SimPO against DPO."""
    for (method, precision), peer in peers.items():
        if "error" in peer:
            yield f"- {method}, TRL in {NAMES[precision]}: {peer['error']}"
            continue
        least, most = ("more than ", "at most ") if peer.get("is_bound") else ("", "")
        for (own_method, *mode, in_memory), own in ours.items():
            if own_method != method or in_memory or mode[0] == "f32" and precision != "f32":
                continue
            yield (f"- {method}, {named(mode)}, over TRL in {NAMES[precision]}: "
                   f"{least}{speed(own) / speed(peer):.1f} times the pairs a second, "
                   f"{most}{own['peak_rss_mb'] / peer['peak_rss_mb']:.3f} of the memory")
    for (method, *mode, in_memory), dpo in ours.items():
        if method == "dpo":
            name = f"ours in {named(mode)}, DPO's reference {'in memory' if in_memory else 'before the first step'}"
            yield saving(name, ours["simpo", *mode, False], dpo)
    for precision in NAMES:
        simpo, dpo = peers.get(("simpo", precision)), peers.get(("dpo", precision))
        if all(row and "error" not in row and not row.get("is_bound") for row in (simpo, dpo)):
            yield saving(f"TRL in {NAMES[precision]}", simpo, dpo)


def saving(name, simpo, dpo):
    return (f"- SimPO against DPO, {name}: {100 * (1 - simpo['step_s_median'] / dpo['step_s_median']):.0f} % less time a "
            f"step, {100 * (1 - simpo['peak_rss_mb'] / dpo['peak_rss_mb']):.1f} % less memory")


main()
