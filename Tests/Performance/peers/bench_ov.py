#!/usr/bin/env python3
"""OpenVINO GenAI, continuous batching, greedy.  bench_ov.py SHAPE f32|f16|bf16|int8    (ov/SHAPE-WEIGHTS is made by export_ov.py)"""
from bench_common import *
a = args(["f32", "f16", "bf16", "int8"])
import numpy as np, openvino as ov, openvino_genai as g
sc = g.SchedulerConfig(); sc.cache_size = 3; sc.max_num_seqs = a.batch; sc.max_num_batched_tokens = 4096; sc.enable_prefix_caching = False; sc.dynamic_split_fuse = True
props = {"INFERENCE_NUM_THREADS": a.threads, "PERFORMANCE_HINT": "LATENCY"}
if os.environ.get("KV"): props["KV_CACHE_PRECISION"] = os.environ["KV"]
pipe = g.ContinuousBatchingPipeline(f"{HERE}/ov/{a.shape}-{a.weights}", sc, "CPU", props, {})
ps = prompts(a)
def gen(rows, n):
    c = g.GenerationConfig(); c.max_new_tokens = n; c.min_new_tokens = n; c.ignore_eos = True; c.eos_token_id = -1
    t = time.time(); o = pipe.generate([ov.Tensor(np.array([x], dtype=np.int64)) for x in rows], [c] * len(rows))
    assert all(len(x.m_generation_ids[0]) == n for x in o); return time.time() - t
gen(ps[:1], 1); first = time.time() - T0
gen(ps[:4], 8)
pre1 = min(gen(ps[:1], 1) for _ in range(3)); one = gen(ps[:1], a.new1); pre = min(gen(ps, 1) for _ in range(2)); many = gen(ps, a.new)
rates(a, a.batch, first, one, pre1, many, pre, peer=f"openvino-genai {g.__version__}")
