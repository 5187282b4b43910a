"""Prints the rows of generation.sh as one table: rates of ours as medians over its runs, every ratio to ours in bf16."""
import json, statistics, sys

rows = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
ours = {}
for row in rows:
    if row.get("engine") == "evalharness":
        ours.setdefault((row["dtype"], row["batch"]), []).append(row)

def median(dtype, batch, key):
    return statistics.median(row[key] for row in ours[dtype, batch])

table = []
for dtype in dict.fromkeys(dtype for dtype, _ in ours):
    table.append((f"evalharness {dtype}", median(dtype, 1, "decode_tok_s"), median(dtype, 64, "decode_tok_s"),
                  median(dtype, 64, "tok_s"), median(dtype, 64, "prefill_tok_s"), median(dtype, 64, "first_token_s"),
                  max(row["peak_rss_mb"] for row in ours[dtype, 64])))
for row in rows:
    if "peer" in row:
        name = f"{row['peer']} {row['weights']}"
        if "error" in row:
            print(f"{name}: {row['error']}", file=sys.stderr)
            continue
        table.append((name, row.get("b1_decode_tok_s"), row.get("b64_decode_tok_s"), row.get("b64_total_tok_s"),
                      row.get("b64_prefill_tok_s"), row.get("first_token_s"), row.get("peak_rss_mb")))

print("| engine | decode, 1 | decode, 64 | whole, 64 | prefill | first token s | peak MB |\n|---|---|---|---|---|---|---|")
base = table[0]
for name, *values in table:
    cells = []
    for place, value in enumerate(values):
        if not value:
            cells.append("-")
            continue
        ratio = value / base[1 + place] if place >= 4 else base[1 + place] / value
        cells.append(f"{value:.4g}" + ("" if name == base[0] else f" ({ratio:.2f}x)"))
    print(f"| {name} | " + " | ".join(cells) + " |")
spread = [row["decode_tok_s"] for row in ours["bf16", 64]]
print(f"\nIn brackets, how many times better ours in bf16 is. Ours at 64, least and most of {len(spread)} runs: "
      f"{min(spread):.1f} to {max(spread):.1f} tokens a second.")
