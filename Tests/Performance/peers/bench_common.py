"""What every peer is given: the same checkpoint directory, the same 64 prompts of 128 token ids, the same counts; and what it reports."""
import argparse, json, os, random, sys, time
HERE = os.environ["PEERS"]
T0 = float(os.environ.get("T0", time.time()))  # when the process was started, set by run_peers.py

def args(kinds):
    p = argparse.ArgumentParser()
    p.add_argument("shape"); p.add_argument("weights", choices=kinds); p.add_argument("--batch", type=int, default=64); p.add_argument("--prompt", type=int, default=128)
    p.add_argument("--new1", type=int, default=256, help="new tokens of the run with one prompt"); p.add_argument("--new", type=int, default=256, help="new tokens a prompt of the batch run")
    p.add_argument("--threads", type=int, default=2); p.add_argument("--budget", type=float, default=300, help="seconds a batch run may take before it is cut (transformers)")
    a = p.parse_args(); a.dir = f"{HERE}/ckpt/{a.shape}"; a.config = json.load(open(a.dir + "/config.json")); return a

def prompts(a):
    """64 x 128 ids in 1000 ..< 40000 (tiny: up to 2000): no special token, no filler; random.Random(0).randrange in row order"""
    rng = random.Random(0); hi = min(40000, a.config["vocab_size"] - 48)
    return [[rng.randrange(min(1000, hi // 2), hi) for _ in range(a.prompt)] for _ in range(a.batch)]

def report(**row): print("PEER " + json.dumps({k: (round(v, 3) if isinstance(v, float) else v) for k, v in row.items()}), flush=True)

def rates(a, b, first, one, pre_one, many, pre_many, new_many=None, **more):
    """seconds -> rates; decode leaves the first token out (it belongs to the prefill): B (n - 1) / (wall - prefill)"""
    n = new_many or a.new
    def decode(count, wall, pre): return count / (wall - pre) if wall - pre > 0.2 * wall else None  # shorter than that, the difference is noise
    report(b1_decode_tok_s=decode(a.new1 - 1, one, pre_one), b1_prefill_tok_s=a.prompt / pre_one, batch=b, new1=a.new1, new=n,
           b64_decode_tok_s=decode(b * (n - 1), many, pre_many), b64_total_tok_s=b * n / many, b64_prefill_tok_s=b * a.prompt / pre_many, first_token_s=first, **more)
