#!/usr/bin/env python3
"""transformers on CPU, one static batch (equal lengths: no padding), greedy, SDPA.  bench_hf.py SHAPE bf16|f32"""
from bench_common import *
a = args(["bf16", "f32", "f16"])
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria
torch.set_num_threads(a.threads)
dt = dict(bf16=torch.bfloat16, f32=torch.float32, f16=torch.float16)[a.weights]
tok = AutoTokenizer.from_pretrained(a.dir); m = AutoModelForCausalLM.from_pretrained(a.dir, dtype=dt, attn_implementation="sdpa").eval()
m.generation_config.eos_token_id = None
ps = prompts(a)
class Clock(StoppingCriteria):
    def __init__(self, limit): self.t, self.limit = [], limit
    def __call__(self, ids, scores, **kw):
        self.t.append(time.time()); return torch.full((ids.shape[0],), len(self.t) > 1 and self.t[-1] - self.start > self.limit, dtype=torch.bool)
def run(rows, new, limit=1e9):
    x = torch.tensor(rows); c = Clock(limit); c.start = time.time()
    with torch.inference_mode(): m.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=new, min_new_tokens=new, do_sample=False, stopping_criteria=[c])
    return c
c = run(ps[:1], 1); first = c.t[0] - T0
run(ps[:1], 8)
c = run(ps[:1], a.new1, a.budget); one, pre1 = c.t[-1] - c.start, c.t[0] - c.start; a.new1 = len(c.t)
b = a.batch
while b > 1 and pre1 * b > a.budget: b //= 2  # what the budget cannot hold is measured at a smaller batch, and says so
run(ps[:b], 2, 0) if pre1 * b < a.budget / 4 else None
c = run(ps[:b], a.new, a.budget)
rates(a, b, first, one, pre1, c.t[-1] - c.start, c.t[0] - c.start, len(c.t), peer=f"transformers {transformers.__version__} torch {torch.__version__}")
