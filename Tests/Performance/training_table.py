"""Prints the rows of training.sh as one table: ours as medians over its runs, and what the comparison comes to."""
import json, statistics, sys

NAMES = {"autocast": "bf16 autocast", "bf16": "bf16", "f32": "f32"}


def main():
    rows = [json.loads(line) for line in open(sys.argv[1])]
    machine = next(row for row in rows if "limit_gflops" in row)
    ours, peers = {}, {}
    for row in rows:
        if row.get("engine") == "evalharness":
            ours.setdefault((row["method"], row["precision"]), []).append(row)
        elif "engine" in row:
            peers[row["method"], row["precision"]] = row
    ours = {key: merged(runs) for key, runs in ours.items()}

    print("| engine | method | precision | pairs/s | s a step (least to most) | tokens a step | peak MB | GFLOP/s "
          "| of the limit |\n|---|---|---|---|---|---|---|---|---|")
    for engine, table in (("evalharness", ours), ("TRL", peers)):
        for (method, precision), row in table.items():
            print("| " + " | ".join([engine, method, NAMES[precision], *cells(row, machine["limit_gflops"])]) + " |")
    versions = next((row["engine"] for row in peers.values() if "error" not in row), None)
    print(f"\nThe limit, {machine['limit_gflops']:.0f} GFLOP/s, is f32 multiply-adds in a register loop on "
          f"{machine['threads']} threads; the load average before all was {machine['load']}. GFLOP/s count "
          "every product of the tokens a step once, the head at targets alone, and the reference model's forward pass "
          "for DPO; padding and what is computed twice do not count. "
          "Ours runs a pair's prompt once, and its seconds have their share of the reference model's pass."
          + (f" {versions}." if versions else ""))
    print()
    for line in comparisons(ours, peers):
        print(line)


def merged(runs):
    row = dict(runs[0])
    for key in ("step_s_median", "pairs_s", "gflops"):
        row[key] = statistics.median(run[key] for run in runs)
    # The reference model's pass comes before the steps.
    row["step_s_min"] = min(run["step_s_min"] + run["reference_s_a_step"] for run in runs)
    row["step_s_max"] = max(run["step_s_max"] + run["reference_s_a_step"] for run in runs)
    row["peak_rss_mb"] = max(run["peak_rss_mb"] for run in runs)
    row["runs"] = len(runs)
    return row


def cells(row, limit):
    if "error" in row:
        return [row["error"]] + ["-"] * 5
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
    return [f"{less}{row['pairs_s']:.3f}",
            f"{more}{row['step_s_median']:.2f} ({row['step_s_min']:.2f} to {row['step_s_max']:.2f}; {count})", tokens,
            f"{more}{row['peak_rss_mb']}", f"{less}{row['gflops']:.1f}", f"{less}{100 * row['gflops'] / limit:.0f} %"]


def comparisons(ours, peers):
    """Ours in bf16, and for f32 in f32 too, over each precision of the peer's."""
    for precision, name in NAMES.items():
        found = []
        for method in ("simpo", "dpo"):
            peer = peers.get((method, precision), {"error": "not run"})
            if "error" in peer:
                found.append(f"{method} {peer['error']}")
                continue
            for format in ("bf16", "f32") if precision == "f32" else ("bf16",):
                own = ours[method, format]
                (least, most) = ("more than ", "at most ") if peer.get("is_bound") else ("", "")
                found.append(f"{method} {format}: {least}{own['pairs_s'] / peer['pairs_s']:.2f} times the pairs a second, "
                             f"{most}{own['peak_rss_mb'] / peer['peak_rss_mb']:.2f} of the memory")
        if peers:
            yield f"- ours over TRL in {name}: " + "; ".join(found)
    for engine, table in (("ours", ours), ("TRL", peers)):
        for precision in NAMES:
            simpo, dpo = table.get(("simpo", precision)), table.get(("dpo", precision))
            if all(row and "error" not in row and not row.get("is_bound") for row in (simpo, dpo)):
                yield (f"- SimPO against DPO, {engine} in {NAMES[precision]}: "
                       f"{100 * (1 - simpo['step_s_median'] / dpo['step_s_median']):.0f} % less time a step, "
                       f"{100 * (1 - simpo['peak_rss_mb'] / dpo['peak_rss_mb']):.0f} % less memory")


main()
